//! worker-connection.md, scenario by scenario, seen from outside: a real hub and a real worker as processes, and peers
//! that speak the protocol by hand over real sockets and real data channels.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "worker_connection/channel.rs"]
mod channel;
#[path = "worker_connection/life.rs"]
mod life;
#[path = "worker_connection/offers.rs"]
mod offers;
#[path = "worker_connection/path.rs"]
mod path;
#[path = "worker_connection/resume.rs"]
mod resume;
mod support;
