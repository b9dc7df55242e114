//! What can go wrong between two peers.

use std::time::Duration;

/// An error of a connection or of a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RtcError {
    /// The channel, or the connection under it, is closed.
    #[error("the channel is closed")]
    Closed,
    /// The message has this many bytes, more than the peer takes (at most [`MAX_MESSAGE_BYTES`](super::MAX_MESSAGE_BYTES)).
    #[error("a message of {0} bytes is larger than the peer takes")]
    TooLarge(usize),
    /// The session description cannot be used: malformed, too long, out of order, or without a data channel.
    #[error("unusable session description: {0}")]
    Description(String),
    /// The channel did not open within [`RtcConfig::setup`](super::RtcConfig::setup) of both descriptions being known.
    #[error("the channel did not open within {0:?}")]
    Setup(Duration),
    /// A description of an earlier exchange: an answer to another offer than the latest, or a repeated one. It was not taken,
    /// and changed nothing.
    #[error("stale session description: it is not of the latest exchange")]
    Stale,
    /// ICE cannot be restarted, for this reason.
    #[error("ICE cannot be restarted: {0}")]
    Restart(String),
    /// The stack did not come to a description within this time.
    #[error("no session description within {0:?}")]
    Slow(Duration),
    /// The data plane has shut down.
    #[error("the data plane has shut down")]
    PlaneGone,
    /// The WebRTC stack refused; in its words.
    #[error("WebRTC: {0}")]
    Stack(String),
}

impl From<webrtc::error::Error> for RtcError {
    fn from(error: webrtc::error::Error) -> Self {
        use webrtc::error::Error;
        match error {
            Error::ErrDataChannelClosed | Error::ErrConnectionClosed => RtcError::Closed,
            other => RtcError::Stack(other.to_string()),
        }
    }
}
