//! The hub: the signalling server, assembled.
