//! Connections and channels, over real sockets on loopback, and between network namespaces.
#![allow(clippy::unwrap_used)]

#[path = "rtc/between.rs"]
mod between;
#[path = "rtc/closing.rs"]
mod closing;
#[path = "relay/coturn.rs"]
mod coturn;
#[path = "rtc/descriptions.rs"]
mod descriptions;
#[path = "rtc/messages.rs"]
mod messages;
#[path = "rtc/moving.rs"]
mod moving;
#[allow(dead_code)]
#[path = "support/namespace.rs"]
mod namespace;
#[path = "rtc/pair.rs"]
mod pair;
#[path = "rtc/plane.rs"]
mod plane;
#[allow(dead_code)]
#[path = "support/program.rs"]
mod program;
#[path = "rtc/restart.rs"]
mod restart;
#[path = "rtc/setup.rs"]
mod setup;
#[path = "rtc/side.rs"]
mod side;
#[path = "rtc/traffic.rs"]
mod traffic;
