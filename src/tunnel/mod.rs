//! **Tunnels**: connections that outlive the network they began on, and what goes over them beside jobs.
//!
//! * [`network`] tells what becomes of this machine's network.
//! * [`tube`] is a stream of messages that goes on over another connection when one is lost.

pub mod network;
pub mod tube;
