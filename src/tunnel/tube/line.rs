//! What the words and files of a job go over.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::Tube;
use crate::rtc::{CHUNK_BYTES, Channel, Incoming, RtcError};

/// What the words and files of a job go over: between two Loaners a tube, which outlives its connections, and to a foreign
/// peer a channel. Clones are the same one.
#[derive(Debug, Clone)]
pub enum Line {
    /// A channel of one connection.
    Channel(Channel),
    /// A tube.
    Tube(Tube),
}

impl Line {
    /// Sends a text message; waits while too much is on its way.
    ///
    /// # Errors
    /// As [`Channel::send_text`] and [`Tube::send_text`].
    pub async fn send_text(&self, text: &str) -> Result<(), RtcError> {
        match self {
            Line::Channel(channel) => channel.send_text(text).await,
            Line::Tube(tube) => tube.send_text(text).await,
        }
    }

    /// Sends a text message to which nothing is added any more. Over a tube it is left for a client that is away.
    ///
    /// # Errors
    /// As [`Channel::send_text`] and [`Tube::leave_text`].
    pub async fn leave_text(&self, text: &str) -> Result<(), RtcError> {
        match self {
            Line::Channel(channel) => channel.send_text(text).await,
            Line::Tube(tube) => tube.leave_text(text).await,
        }
    }

    /// Sends a binary message; waits while too much is on its way.
    ///
    /// # Errors
    /// As [`Channel::send_binary`] and [`Tube::send_binary`].
    pub async fn send_binary(&self, data: Bytes) -> Result<(), RtcError> {
        match self {
            Line::Channel(channel) => channel.send_binary(data).await,
            Line::Tube(tube) => tube.send_binary(data).await,
        }
    }

    /// The next message; `None` once it is closed and everything was taken that came before. For one consumer. Dropping the
    /// future loses nothing.
    pub async fn recv(&self) -> Option<Incoming> {
        match self {
            Line::Channel(channel) => channel.recv().await,
            Line::Tube(tube) => tube.recv().await,
        }
    }

    /// Waits until the other side has everything that was sent.
    ///
    /// # Errors
    /// [`RtcError::Closed`] when it was closed first.
    pub async fn drained(&self) -> Result<(), RtcError> {
        match self {
            Line::Channel(channel) => channel.drained().await,
            Line::Tube(tube) => tube.drained().await,
        }
    }

    /// Waits until senders are held, for the other side is away, or are not; a channel's never are.
    pub async fn held(&self, held: bool) {
        match self {
            Line::Channel(_) if held => std::future::pending().await,
            Line::Channel(_) => {}
            Line::Tube(tube) => tube.held(held).await,
        }
    }

    /// Waits until the other side was there for so long without a break.
    pub async fn was_there(&self, time: Duration) {
        loop {
            self.held(false).await;
            if timeout(time, self.held(true)).await.is_err() {
                return;
            }
        }
    }

    /// Whether messages can be sent, now or later.
    pub fn is_open(&self) -> bool {
        match self {
            Line::Channel(channel) => channel.is_open(),
            Line::Tube(tube) => !tube.is_closed(),
        }
    }

    /// The size of the pieces in which a file is best sent, bytes: [`CHUNK_BYTES`] or a divisor of it.
    pub fn piece_bytes(&self) -> usize {
        match self {
            Line::Channel(channel) => channel.piece_bytes(),
            Line::Tube(_) => CHUNK_BYTES,
        }
    }
}
