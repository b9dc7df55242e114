//! **Carry**: the only place that names the WebRTC stack.
//!
//! A [`Connection`] is one peer connection, a [`Channel`] one ordered, reliable data channel on it. Signalling is
//! vanilla ICE: a description leaves here complete, with every candidate in it. Candidates that a peer trickles are
//! taken all the same, and to a peer that takes them they are trickled: see [`RtcConfig::trickle`].
//!
//! A connection whose addresses change can be kept: see [`Connection::restart_offer`].
//!
//! Of the servers that a hub names, `stun:` and `turn:` are used, by UDP. Neither TLS nor TCP towards a TURN server is
//! supported; [`usable_servers`] leaves such addresses out.
//!
//! The work is done on the [`DataPlane`], a runtime of its own, so that an actor that blocks its thread never
//! freezes a connection. Every function here may be awaited from any tokio runtime.
//!
//! Back-pressure goes all the way through: [`Channel::send_binary`] waits while the send buffer is full, and a
//! consumer that stops calling [`Channel::recv`] closes the SCTP window of the sender.

mod channel;
mod config;
mod connection;
mod error;
mod event;
mod flight;
mod gathering;
mod negotiation;
mod nudge;
mod pacing;
mod path;
mod plane;
mod sdp;
mod selected;
mod servers;
mod shared;
mod stack;
mod stun;
mod tuning;

pub use channel::{CHUNK_BYTES, Channel, Incoming, MAX_MESSAGE_BYTES};
pub use config::{IceServer, RtcConfig};
pub use connection::Connection;
pub use error::RtcError;
pub use event::{IceState, RtcEvent, Side};
pub use plane::DataPlane;
pub use selected::{CandidateKind, Path, PathEnd};
pub use servers::usable_servers;
pub use stack::MAX_CHANNELS;
pub use stun::{StunServer, mapped_addresses, stun_servers};
pub use tuning::check_socket_buffers;
