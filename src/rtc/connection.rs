//! One peer connection.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::mpsc;
use webrtc::peer_connection::{PeerConnection, RTCIceCandidateInit, RTCSessionDescription};

use super::shared::{Shared, lock};
use super::tuning::window_bytes;
use super::{
    Channel, DataPlane, IceServer, IceState, RtcConfig, RtcError, RtcEvent, path, sdp, stack,
};

/// How long closing a connection lets the peer acknowledge what was sent.
const CLOSE_DRAIN: Duration = Duration::from_secs(1);

/// A peer whose sockets take so many bytes at once is sent a whole window at once: the usual default of Linux.
const MUCH_ROOM: u32 = 200_000;

/// One peer connection. Clones are the same connection; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    stack: Arc<dyn PeerConnection>,
    shared: Arc<Shared>,
    plane: DataPlane,
    trickle: Mutex<Trickle>,
    /// Whether the peer takes candidates after an offer.
    takes_trickle: bool,
}

/// The candidates of the peer so far.
#[derive(Default)]
struct Trickle {
    count: usize,
    described: bool,
    /// Those that came before the description that they belong to.
    early: Vec<RTCIceCandidateInit>,
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
        let connection = Connection {
            inner: Arc::new(Inner {
                stack,
                shared,
                plane: plane.clone(),
                trickle: Mutex::default(),
                takes_trickle: config.trickle,
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
        let offer = self.inner.stack.create_offer(None).await?;
        self.inner.shared.gathering().begin();
        self.inner.stack.set_local_description(offer).await?;
        self.gathered(self.inner.takes_trickle).await
    }

    /// Takes the peer's answer to our offer; the connection is then made in the background.
    ///
    /// # Errors
    /// [`RtcError::Description`] when the answer cannot be used.
    pub async fn accept_answer(&self, sdp: &str) -> Result<(), RtcError> {
        let (sdp, candidates) = sdp::tidy(sdp)?;
        let answer = RTCSessionDescription::answer(sdp).map_err(unusable)?;
        self.inner.shared.negotiated();
        let taken = self.remote(answer, candidates).await;
        if taken.is_err() {
            self.inner.shared.not_negotiated();
        }
        taken
    }

    /// Takes the peer's offer and makes the answer: complete, as the offer; or at once, when the offer says that others
    /// may follow.
    ///
    /// # Errors
    /// [`RtcError::Description`] when the offer cannot be used.
    pub async fn answer(&self, offer_sdp: &str) -> Result<String, RtcError> {
        let (sdp, candidates) = sdp::tidy(offer_sdp)?;
        let offer = RTCSessionDescription::offer(sdp).map_err(unusable)?;
        self.remote(offer, candidates).await?;
        let answer = self
            .inner
            .stack
            .create_answer(None)
            .await
            .map_err(unusable)?;
        self.inner.shared.negotiated();
        self.inner.shared.gathering().begin();
        self.inner.stack.set_local_description(answer).await?;
        self.gathered(sdp::takes_trickle(offer_sdp)).await
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
        if !sdp::usable(candidate) {
            tracing::debug!("a candidate that cannot be used was passed over");
            return Ok(());
        }
        if let Some(relay) = sdp::relay_of(candidate) {
            self.inner.shared.relays.add(relay);
        }
        let candidate = RTCIceCandidateInit {
            candidate: candidate.to_owned(),
            sdp_mid: mid,
            sdp_mline_index: mline,
            ..RTCIceCandidateInit::default()
        };
        {
            let mut trickle = self.trickle();
            if trickle.count >= sdp::MAX_CANDIDATES {
                return Ok(());
            }
            trickle.count += 1;
            if !trickle.described {
                trickle.early.push(candidate);
                return Ok(());
            }
        }
        Ok(self.inner.stack.add_ice_candidate(candidate).await?)
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

    fn trickle(&self) -> MutexGuard<'_, Trickle> {
        lock(&self.inner.trickle)
    }

    /// Applies the peer's description, then the candidates that came before it.
    async fn remote(
        &self,
        description: RTCSessionDescription,
        candidates: usize,
    ) -> Result<(), RtcError> {
        let burst = sdp::burst_bytes(&description.sdp).unwrap_or(0);
        let little_room = burst < MUCH_ROOM;
        let shared = &self.inner.shared;
        shared.little_room.store(little_room, Ordering::Relaxed);
        for relay in sdp::relays(&description.sdp) {
            shared.relays.add(relay);
        }
        self.inner
            .stack
            .set_remote_description(description)
            .await
            .map_err(unusable)?;
        let early = {
            let mut trickle = self.trickle();
            trickle.described = true;
            trickle.count += candidates;
            std::mem::take(&mut trickle.early)
        };
        for candidate in early {
            if let Err(error) = self.inner.stack.add_ice_candidate(candidate).await {
                tracing::debug!(%error, "an early candidate cannot be used");
            }
        }
        Ok(())
    }

    /// Our description, once it need not wait for further candidates.
    async fn gathered(&self, trickle: bool) -> Result<String, RtcError> {
        let shared = &self.inner.shared;
        shared.gathering().enough(shared, trickle).await?;
        let description = self.inner.stack.local_description().await;
        let sdp = description.ok_or(RtcError::Closed)?.sdp;
        let sdp = sdp::with_burst(sdp, window_bytes());
        let sdp = if trickle { sdp::trickling(sdp) } else { sdp };
        // Without servers, nothing follows our own addresses.
        let more = trickle && shared.gathering().has_servers();
        Ok(if more { sdp } else { sdp::complete(sdp) })
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

fn unusable(error: webrtc::error::Error) -> RtcError {
    match RtcError::from(error) {
        RtcError::Stack(reason) => RtcError::Description(reason),
        other => other,
    }
}
