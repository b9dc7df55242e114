//! The hub over real sockets: signalling-server.md, sections 1a and 2a to 2d, its golden transcript (5), and each of its
//! weaknesses (4) as a test that ours does not have it.
#![allow(clippy::unwrap_used)]

#[path = "hub/discovery.rs"]
mod discovery;
#[path = "hub/framing.rs"]
mod framing;
#[path = "hub/http.rs"]
mod http;
#[path = "hub/identity.rs"]
mod identity;
#[path = "hub/lifecycle.rs"]
mod lifecycle;
#[path = "hub/notices.rs"]
mod notices;
#[path = "hub/origins.rs"]
mod origins;
#[path = "hub/registration.rs"]
mod registration;
#[path = "hub/relay.rs"]
mod relay;
#[path = "hub/renewal.rs"]
mod renewal;
#[path = "hub/support.rs"]
mod support;
#[path = "hub/time_zone.rs"]
mod time_zone;
