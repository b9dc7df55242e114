//! **Tunnels**: connections that heal, and what goes through them.

pub mod tube;
