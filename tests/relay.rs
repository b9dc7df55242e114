//! Peers that can only meet by relay: hub and coturn in one network namespace, worker and client in two others that have
//! no route to each other (`tests/relay/in-namespaces`). And TURN servers that refuse, or never answer.
//!
//! Where the system allows no namespace, or coturn (`turnserver`, Debian's package `coturn`) is not installed, the tests
//! say so and are skipped. `make test` installs it where it can.
#![allow(clippy::unwrap_used)]

#[path = "relay/coturn.rs"]
mod coturn;
#[path = "relay/credentials.rs"]
mod credentials;
#[path = "relay/meeting.rs"]
mod meeting;
#[allow(dead_code)]
#[path = "support/namespace.rs"]
mod namespace;
#[allow(dead_code)]
#[path = "support/program.rs"]
mod program;
#[path = "relay/scene.rs"]
mod scene;
#[path = "relay/silent.rs"]
mod silent;
