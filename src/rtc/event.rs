//! What a connection tells its owner.

use webrtc::peer_connection::RTCIceConnectionState;

use super::Channel;

/// Which end of a connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The one that makes the offer.
    Offerer,
    /// The one that answers it.
    Answerer,
}

/// The state of ICE, as in the W3C's `RTCIceConnectionState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IceState {
    /// Nothing has happened yet.
    New,
    /// Candidate pairs are being tried.
    Checking,
    /// A usable pair was found.
    Connected,
    /// All checks are done, and a pair was found.
    Completed,
    /// The peer has been silent for 5 s. It may come back.
    Disconnected,
    /// The peer has been silent for 105 s, or no pair was ever found. Final, unless ICE is restarted.
    Failed,
    /// The connection is closed.
    Closed,
}

impl From<RTCIceConnectionState> for IceState {
    fn from(state: RTCIceConnectionState) -> Self {
        match state {
            RTCIceConnectionState::Checking => IceState::Checking,
            RTCIceConnectionState::Connected => IceState::Connected,
            RTCIceConnectionState::Completed => IceState::Completed,
            RTCIceConnectionState::Disconnected => IceState::Disconnected,
            RTCIceConnectionState::Failed => IceState::Failed,
            RTCIceConnectionState::Closed => IceState::Closed,
            _ => IceState::New,
        }
    }
}

/// What a connection tells its owner.
#[derive(Debug, Clone)]
pub enum RtcEvent {
    /// The state of ICE changed.
    Ice(IceState),
    /// The peer created a channel.
    Channel(Channel),
    /// A candidate to be sent to the peer, behind the description; see [`RtcConfig::trickle`](super::RtcConfig::trickle).
    Candidate(String),
    /// The connection is over: closed from here, or broken within. Always the last event.
    ///
    /// A peer that leaves does not end it. One that closes, closes its channels; one that vanishes shows as
    /// [`IceState::Disconnected`]. Both are for the owner to draw conclusions from.
    Ended,
}
