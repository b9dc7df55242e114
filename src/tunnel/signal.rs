//! What the manager of a tube says to its program: signals (websocket-integration-guide.md, "Signal Handler Integration").
//!
//! Those that are [for the peer](SignalKind::is_for_peer) have to reach its registry, as they are, by whatever way the
//! program has: [`Signal::to_json`] is a message as [`super::registry::Registry::receive`] takes it. The others are for the
//! program itself.

use serde::Serialize;
use serde_json::Value;

/// What a signal is about.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    strum::AsRefStr,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum SignalKind {
    /// The state is another one; the data is its name, such as `connected`.
    ConnectionStateChanged,
    /// A change of the network or of the path was noticed; the data is its type, such as `ip_change`.
    NetworkChangeDetected,
    /// Nothing went over the tube for long; its pings keep it alive. There is no data.
    Keepalive,
    /// For the peer: a candidate of the description of this generation, as its line without `a=`.
    #[serde(rename = "icecandidate")]
    #[strum(serialize = "icecandidate")]
    IceCandidate,
    /// For the peer: the offer of a new connection, as SDP.
    Offer,
    /// For the peer: the offer of an ICE restart, as SDP.
    IceRestartOffer,
    /// For the peer: the answer to the offer of this generation, as SDP.
    Answer,
    /// For the peer: please offer; the data says what would help, `ice_restart` or `new_connection`.
    IceRestartRequest,
}

impl SignalKind {
    /// Whether it has to reach the peer.
    pub fn is_for_peer(self) -> bool {
        match self {
            SignalKind::IceCandidate
            | SignalKind::Offer
            | SignalKind::IceRestartOffer
            | SignalKind::Answer
            | SignalKind::IceRestartRequest => true,
            SignalKind::ConnectionStateChanged
            | SignalKind::NetworkChangeDetected
            | SignalKind::Keepalive => false,
        }
    }
}

/// A signal of one manager. Each is said once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signal {
    /// Which tube.
    pub tube_id: String,
    /// What it is about.
    pub kind: SignalKind,
    /// Always text; what it is depends on the kind.
    pub data: String,
    /// The conversation that the manager was made with.
    pub conversation_id: String,
    /// Counts the signals of this manager, from `1`.
    pub signal_id: String,
    /// Which path a signal for the peer belongs to: they are counted from 1, restarted or new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

impl Signal {
    /// As a JSON text: one object.
    pub fn to_json(&self) -> String {
        self.to_value().to_string()
    }

    /// As a JSON object.
    pub fn to_value(&self) -> Value {
        // Plain data: there is nothing in it that JSON does not have.
        serde_json::to_value(self).unwrap_or_default()
    }
}
