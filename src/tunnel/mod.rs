//! Connections that outlive the network they began on.
//!
//! * [`network`] tells what becomes of this machine's network.

pub mod network;
