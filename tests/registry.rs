//! The registry of connection managers, for programs that bring their own signalling: two programs in one process, with real
//! connections between their tubes, and messages that are passed from hand to hand.
#![allow(clippy::unwrap_used)]

#[cfg(target_os = "linux")]
#[path = "registry/alone.rs"]
mod alone;
#[cfg(target_os = "linux")]
#[path = "registry/cleanup.rs"]
mod cleanup;
#[cfg(target_os = "linux")]
#[path = "network/inside.rs"]
#[allow(dead_code)]
mod inside;
#[path = "registry/life.rs"]
mod life;
#[path = "registry/messages.rs"]
mod messages;
#[cfg(target_os = "linux")]
#[allow(dead_code)]
#[path = "support/namespace.rs"]
mod namespace;
#[cfg(target_os = "linux")]
#[path = "registry/network.rs"]
mod network;
#[cfg(target_os = "linux")]
#[allow(dead_code)]
#[path = "support/program.rs"]
mod program;
#[path = "registry/two.rs"]
mod two;
