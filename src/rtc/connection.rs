//! One peer connection.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, mpsc};
use webrtc::peer_connection::PeerConnection;

use super::negotiation::{Agreed, Negotiation};
use super::shared::Shared;
use super::{
    Channel, DataPlane, IceServer, IceState, Path, RtcConfig, RtcError, RtcEvent, path, selected,
    stack,
};

/// How long closing a connection lets the peer acknowledge what was sent.
const CLOSE_DRAIN: Duration = Duration::from_secs(1);

/// How long a description may take: twice what it waits for servers.
const DESCRIBE: Duration = Duration::from_secs(6);

/// One peer connection. Clones are the same connection; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    stack: Arc<dyn PeerConnection>,
    shared: Arc<Shared>,
    plane: DataPlane,
    negotiation: Arc<Negotiation>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("ice", &self.ice_state())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let closing = shut(self.stack.clone(), self.shared.clone());
        // This may be the last holder of the data plane, which must live until the peer has been told.
        let plane = self.plane.clone();
        self.plane.spawn(async move {
            closing.await;
            drop(plane);
        });
    }
}

impl Connection {
    /// A new connection with its sockets bound, and its events.
    ///
    /// # Errors
    /// [`RtcError::Stack`] when no socket can be bound, [`RtcError::PlaneGone`].
    pub async fn open(
        plane: &DataPlane,
        config: &RtcConfig,
    ) -> Result<(Connection, mpsc::Receiver<RtcEvent>), RtcError> {
        Self::build(plane, config, None).await
    }

    /// As [`Connection::open`], to answer this offer. On a network of our own, packets are as large as it takes; that
    /// must be known before, and so only the side that answers can do it.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open_for(
        plane: &DataPlane,
        config: &RtcConfig,
        offer_sdp: &str,
    ) -> Result<(Connection, mpsc::Receiver<RtcEvent>), RtcError> {
        // What goes through a relay leaves our network.
        let relayed = config.ice_servers.iter().any(IceServer::relays);
        let packets = if relayed {
            None
        } else {
            path::packet_bytes(offer_sdp)
        };
        Self::build(plane, config, packets).await
    }

    async fn build(
        plane: &DataPlane,
        config: &RtcConfig,
        packets: Option<u32>,
    ) -> Result<(Connection, mpsc::Receiver<RtcEvent>), RtcError> {
        let building = stack::build(plane.handle().clone(), config.clone(), packets);
        let built = plane.spawn(building).await;
        let (stack, shared, events) = built.unwrap_or(Err(RtcError::PlaneGone))?;
        let negotiation = Negotiation::new(stack.clone(), shared.clone(), config.trickle, packets);
        let connection = Connection {
            inner: Arc::new(Inner {
                stack,
                shared,
                plane: plane.clone(),
                negotiation: Arc::new(negotiation),
            }),
        };
        Ok((connection, events))
    }

    /// Creates a channel, ordered and reliable. The first one must be created before the offer. Waits up to half a
    /// second when another one was closed just before.
    ///
    /// # Errors
    /// [`RtcError::Closed`], or [`RtcError::Stack`] for a label that is too long.
    pub async fn create_channel(&self, label: &str) -> Result<Channel, RtcError> {
        self.inner.shared.may_create().await;
        let stack = self.inner.stack.create_data_channel(label, None).await?;
        Ok(Channel::new(
            label.to_owned(),
            stack,
            self.inner.shared.clone(),
        ))
    }

    /// Makes the offer: complete, with every candidate in it that is found within 3 s; or at once, when others may
    /// follow it ([`RtcConfig::trickle`]).
    ///
    /// # Errors
    /// [`RtcError::Closed`], or [`RtcError::Stack`].
    pub async fn offer(&self) -> Result<String, RtcError> {
        let (negotiation, mut agreed) = self.exchange().await;
        self.whole(async move { negotiation.offer(&mut agreed).await })
            .await
    }

    /// Makes the offer of an ICE restart, for a connection whose way to the peer is gone or about to go: with new
    /// credentials, sockets at the addresses that this host has now, and every candidate that is found within 3 s. DTLS
    /// and the channels stay, with what is in them; data moves again after the peer's [`answer`](Self::answer) was taken.
    ///
    /// Until then nothing moves, also on a connection that was well. An offer whose answer never comes may be made again;
    /// the earlier one is void then. Only one side should offer: of two offers that cross, each takes back the other.
    ///
    /// SCTP sends again only when its timer says so, 1, 3, 7, 15 or 31 s after the loss, and never when the loss was over
    /// 31 s ago with data under way: whether the restart has helped is to be seen by the data, not by
    /// [`ice_state`](Self::ice_state).
    ///
    /// # Errors
    /// [`RtcError::Restart`] before the first exchange of descriptions, [`RtcError::Slow`] after 6 s,
    /// [`RtcError::Closed`], or [`RtcError::Stack`].
    pub async fn restart_offer(&self) -> Result<String, RtcError> {
        let (negotiation, mut agreed) = self.exchange().await;
        self.whole(async move { negotiation.restart_offer(&mut agreed).await })
            .await
    }

    /// Takes the peer's answer to our offer; the connection is then made in the background, or goes on.
    ///
    /// # Errors
    /// [`RtcError::Description`] when the answer cannot be used. On a connection that was made: [`RtcError::Stale`] for an
    /// answer that is not for the latest restart, or came before, or when there was none; [`RtcError::Restart`] when the
    /// connection cannot go that way.
    pub async fn accept_answer(&self, sdp: &str) -> Result<(), RtcError> {
        let (negotiation, mut agreed) = self.exchange().await;
        let sdp = sdp.to_owned();
        self.whole(async move { negotiation.accept_answer(&mut agreed, &sdp).await })
            .await
    }

    /// Takes the peer's offer and makes the answer: complete, as the offer; or at once, when the offer says that others
    /// may follow. On a connection that was made, the offer is of an ICE restart, which is done on this side too; an
    /// offer of our own that has no answer is void then.
    ///
    /// # Errors
    /// [`RtcError::Description`] when the offer cannot be used. On a connection that was made: [`RtcError::Stale`] for an
    /// offer that is no restart; [`RtcError::Restart`] when the connection cannot go that way.
    pub async fn answer(&self, offer_sdp: &str) -> Result<String, RtcError> {
        let (negotiation, mut agreed) = self.exchange().await;
        let offer = offer_sdp.to_owned();
        self.whole(async move { negotiation.answer(&mut agreed, &offer).await })
            .await
    }

    /// Takes a candidate that the peer trickles, before or after its description. One that cannot be used (TCP,
    /// an mDNS name), the empty one that ends them, and those past a bound of 64 are passed over.
    ///
    /// # Errors
    /// [`RtcError::Stack`] when it cannot be read.
    pub async fn add_candidate(
        &self,
        candidate: &str,
        mid: Option<String>,
        mline: Option<u16>,
    ) -> Result<(), RtcError> {
        let negotiation = &self.inner.negotiation;
        negotiation.add_candidate(candidate, mid, mline).await
    }

    /// Why no TURN server gave a relay, once that is clear (3 s after the description was begun, at most), for a person
    /// to read; `None` when one did, when there is none, or the connection has ended.
    pub async fn without_relay(&self) -> Option<String> {
        let shared = &self.inner.shared;
        shared.gathering().without_relay(shared).await
    }

    /// The latest known state of ICE.
    pub fn ice_state(&self) -> IceState {
        self.inner.shared.ice_state()
    }

    /// The way that it takes; `None` while there is none: before it is made, during a restart, and after its end.
    pub async fn path(&self) -> Option<Path> {
        selected::path(&*self.inner.stack).await
    }

    /// Closes the connection and all its channels, and tells the peer. What was sent before goes out first, if the
    /// peer acknowledges it within a second. Closing twice is nothing.
    ///
    /// As with [`Channel::close`], what the peer has not read by then may be lost.
    pub async fn close(&self) {
        let closing = shut(self.inner.stack.clone(), self.inner.shared.clone());
        if self.inner.plane.spawn(closing).await.is_err() {
            tracing::debug!("the data plane went before the connection");
        }
    }

    /// Waits until there is no exchange under way, and begins one. What is given up while it waits is not begun.
    async fn exchange(&self) -> (Arc<Negotiation>, OwnedMutexGuard<Agreed>) {
        let negotiation = self.inner.negotiation.clone();
        let agreed = negotiation.begin().await;
        (negotiation, agreed)
    }

    /// Does a part of an exchange on the data plane, and to its end: half of it leaves a connection that can do nothing.
    async fn whole<T: Send + 'static>(
        &self,
        part: impl Future<Output = Result<T, RtcError>> + Send + 'static,
    ) -> Result<T, RtcError> {
        let part = async { tokio::time::timeout(DESCRIBE, part).await };
        match self.inner.plane.spawn(part).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(RtcError::Restart(format!(
                "it takes more than {DESCRIBE:?}"
            ))),
            Err(_) => Err(RtcError::PlaneGone),
        }
    }
}

async fn shut(stack: Arc<dyn PeerConnection>, shared: Arc<Shared>) {
    let _ = tokio::time::timeout(CLOSE_DRAIN, shared.drain()).await;
    // The stack waits a little for its driver, by a timer that must not be cut short.
    shared.setup_over();
    if let Err(error) = stack.close().await {
        tracing::debug!(%error, "closing a connection");
    }
}
