//! The registry of connection managers, for programs that bring their own signalling: two programs in one process, with real
//! connections between their tubes, and messages that are passed from hand to hand.
#![allow(clippy::unwrap_used)]

#[path = "registry/life.rs"]
mod life;
#[path = "registry/two.rs"]
mod two;
