//! Connections and channels, over real sockets on loopback.
#![allow(clippy::unwrap_used)]

#[path = "rtc/between.rs"]
mod between;
#[path = "rtc/closing.rs"]
mod closing;
#[path = "rtc/descriptions.rs"]
mod descriptions;
#[path = "rtc/messages.rs"]
mod messages;
#[path = "rtc/pair.rs"]
mod pair;
#[path = "rtc/plane.rs"]
mod plane;
#[path = "rtc/restart.rs"]
mod restart;
#[path = "rtc/setup.rs"]
mod setup;
#[path = "rtc/traffic.rs"]
mod traffic;
