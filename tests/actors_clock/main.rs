//! The actors on a clock that is steered: the 15 s, 60 s and 90 s of the specifications pass in milliseconds.
//!
//! Tokio's clock is paused: when every task waits, it jumps to the next timer. The charts, the generic actor and the
//! concrete ones are those of the product; steered is only what stands at their edge: a channel, an ICE state, a process.

#![allow(clippy::unwrap_used)]

mod availability;
mod clock;
mod generic;
mod ice_watchdog;
mod keep_alive;
mod records;
mod steered;
mod transfer;
mod tunnel;
mod tunnel_carrier;
mod tunnel_many;
