//! **Tunnels**: connections that outlive the network they began on, and what goes over them beside jobs.
//!
//! * [`network`] tells what becomes of this machine's network.
//! * [`tube`] is a stream of messages that goes on over another connection when one is lost.
//! * [`manage`] is what the manager of a tube is told.
//! * [`forward`] carries TCP streams.

pub mod forward;
pub mod manage;
pub mod network;
pub mod tube;
