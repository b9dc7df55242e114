//! What carries the frames.

use std::future::Future;

use bytes::Bytes;

use crate::rtc::{Channel, Incoming, RtcError};

/// Carries messages, whole and in order, with back-pressure: a data channel. What outlives one connection can take its
/// place, and nothing above this line knows.
pub trait Carrier: Send + Sync + 'static {
    /// Sends a message; waits while too much is on its way.
    ///
    /// # Errors
    /// When it can carry nothing any more.
    fn send(&self, message: Bytes) -> impl Future<Output = Result<(), RtcError>> + Send;

    /// The next message; `None` once there are none any more. For one consumer. Dropping the future loses nothing.
    fn recv(&self) -> impl Future<Output = Option<Incoming>> + Send;

    /// Waits until it can carry nothing any more.
    fn closed(&self) -> impl Future<Output = ()> + Send;
}

impl Carrier for Channel {
    async fn send(&self, message: Bytes) -> Result<(), RtcError> {
        self.send_binary(message).await
    }

    async fn recv(&self) -> Option<Incoming> {
        Channel::recv(self).await
    }

    async fn closed(&self) {
        Channel::closed(self).await;
    }
}
