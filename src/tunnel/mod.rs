//! **Tunnels**: connections that outlive the network they began on, and what goes over them beside jobs.
//!
//! * [`network`] tells what becomes of this machine's network.
//! * [`tube`] is a stream of messages that goes on over another connection when one is lost.
//! * [`manage`] is what the manager of a tube is told.
//! * [`registry`] keeps the managers of programs that bring their own signalling, by [`message`] and [`signal`].
//! * [`signalled`] makes their connections.
//! * [`forward`] carries TCP streams.

pub mod forward;
pub mod manage;
pub mod message;
pub mod network;
pub mod registry;
pub mod signal;
pub mod signalled;
pub mod tube;
