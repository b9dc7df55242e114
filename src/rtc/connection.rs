//! One peer connection.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use webrtc::data_channel::DataChannel;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceCandidateInit, RTCIceConnectionState, RTCIceGatheringState, RTCIceServer,
    RTCSessionDescription, SettingEngine, SettingEngineBuilder,
};

use super::channel::drain;
use super::nudge::Nudge;
use super::tuning::{OnDrop, TunedRuntime, window_bytes};
use super::{Channel, DataPlane, MAX_MESSAGE_BYTES, RtcConfig, RtcError, sdp};

/// The most channels that a peer may create on one connection; further ones are closed at once.
pub const MAX_CHANNELS: usize = 16;

/// How many events wait for the owner of a connection.
const EVENT_QUEUE: usize = 64;

/// How many bytes of a channel may be on their way, unacknowledged, before sending waits. As large as the
/// largest window of a peer of our kind, so that it never limits a long path by itself.
const SEND_BUFFER_BYTES: usize = 4 << 20;

/// Silence that makes ICE `disconnected`.
const ICE_DISCONNECTED: Duration = Duration::from_secs(5);

/// Further silence that makes ICE `failed`. `failed` is final (the stack forgets its candidates), while
/// `disconnected` heals by itself as soon as packets flow again. So it must come after the 90 s that a worker
/// waits for that; deciding earlier is left to whoever watches [`RtcEvent::Ice`].
const ICE_FAILED: Duration = Duration::from_secs(100);

/// How often an idle path is checked.
const ICE_KEEPALIVE: Duration = Duration::from_secs(2);

/// Time between the checks of a candidate pair, and how many there are. The number grows as the interval
/// shrinks, or pairs would be given up early.
const ICE_CHECK: Duration = Duration::from_millis(50);
const ICE_CHECKS: u16 = 140;

/// How long closing a connection lets the peer acknowledge what was sent.
const CLOSE_DRAIN: Duration = Duration::from_secs(1);

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
    /// The peer has been silent for 105 s, or no pair was ever found. Final.
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
    /// The connection is over, closed from here or broken. Always the last event.
    Ended,
}

/// What a connection, its handler and its channels know in common.
pub(super) struct Shared {
    ice: watch::Sender<IceState>,
    gathered: watch::Sender<bool>,
    ended: watch::Sender<bool>,
    /// When both descriptions became known.
    negotiated: watch::Sender<Option<Instant>>,
    /// Whether the stack's timers are kept short.
    brisk: Arc<AtomicBool>,
    setup: Duration,
    nudge: Arc<Nudge>,
    channels: Mutex<Vec<Weak<dyn DataChannel>>>,
}

impl Shared {
    pub(super) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Waits until the stack's driver has ended.
    pub(super) async fn ended(&self) {
        wait(&self.ended, |ended| *ended).await;
    }

    /// Waits until both descriptions have been known for the whole setup time, which it returns.
    pub(super) async fn setup_expired(&self) -> Duration {
        wait(&self.negotiated, Option::is_some).await;
        let since = *self.negotiated.borrow();
        if let Some(since) = since {
            tokio::time::sleep_until((since + self.setup).into()).await;
        }
        self.setup
    }

    /// A channel is open: setup is over.
    pub(super) fn opened(&self) {
        self.brisk.store(false, Ordering::Relaxed);
    }

    /// Makes the stack look for messages that it left behind.
    pub(super) fn nudge(&self) {
        self.nudge.nudge();
    }

    /// Remembers a channel, to be drained before the connection is closed.
    pub(super) fn add_channel(&self, stack: &Arc<dyn DataChannel>) {
        let mut channels = lock(&self.channels);
        channels.retain(|channel| channel.strong_count() > 0);
        channels.push(Arc::downgrade(stack));
    }

    /// Waits until the peer has acknowledged what was sent on all channels, while it is there to do so.
    async fn drain(&self) {
        let channels: Vec<_> = lock(&self.channels)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        let connected = matches!(
            *self.ice.borrow(),
            IceState::Connected | IceState::Completed
        );
        if connected {
            for channel in channels {
                drain(&*channel).await;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a condition. The sender outlives the wait, so it ends only with the condition.
async fn wait<T>(sender: &watch::Sender<T>, condition: impl FnMut(&T) -> bool) {
    if sender.subscribe().wait_for(condition).await.is_err() {
        std::future::pending().await
    }
}

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
        let building = build(plane.clone(), config.clone());
        plane
            .spawn(building)
            .await
            .unwrap_or(Err(RtcError::PlaneGone))
    }

    /// Creates a channel, ordered and reliable. The first one must be created before the offer.
    ///
    /// # Errors
    /// [`RtcError::Closed`], or [`RtcError::Stack`] for a label that is too long.
    pub async fn create_channel(&self, label: &str) -> Result<Channel, RtcError> {
        let stack = self.inner.stack.create_data_channel(label, None).await?;
        Ok(Channel::new(
            self.inner.plane.handle(),
            label.to_owned(),
            stack,
            self.inner.shared.clone(),
        ))
    }

    /// Makes the offer: complete, with every candidate in it.
    ///
    /// # Errors
    /// [`RtcError::Closed`], or [`RtcError::Stack`].
    pub async fn offer(&self) -> Result<String, RtcError> {
        let offer = self.inner.stack.create_offer(None).await?;
        self.inner.stack.set_local_description(offer).await?;
        self.gathered().await
    }

    /// Takes the peer's answer to our offer; the connection is then made in the background.
    ///
    /// # Errors
    /// [`RtcError::Description`] when the answer cannot be used.
    pub async fn accept_answer(&self, sdp: &str) -> Result<(), RtcError> {
        let (sdp, candidates) = sdp::tidy(sdp)?;
        let answer = RTCSessionDescription::answer(sdp).map_err(unusable)?;
        self.negotiated();
        self.remote(answer, candidates).await
    }

    /// Takes the peer's offer and makes the answer: complete, with every candidate in it.
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
        self.negotiated();
        self.inner.stack.set_local_description(answer).await?;
        self.gathered().await
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

    /// The latest known state of ICE.
    pub fn ice_state(&self) -> IceState {
        *self.inner.shared.ice.borrow()
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

    /// Both descriptions are known (or will be in a moment): setup begins, with short timers for as long as it may
    /// take.
    fn negotiated(&self) {
        let shared = self.inner.shared.clone();
        shared.brisk.store(true, Ordering::Relaxed);
        shared.negotiated.send_replace(Some(Instant::now()));
        self.inner.plane.spawn(async move {
            tokio::select! {
                _ = shared.setup_expired() => shared.brisk.store(false, Ordering::Relaxed),
                () = shared.ended() => {}
            }
        });
    }

    /// Our description, once every candidate is in it.
    async fn gathered(&self) -> Result<String, RtcError> {
        let shared = &self.inner.shared;
        tokio::select! {
            () = wait(&shared.gathered, |done| *done) => {}
            () = tokio::time::sleep(shared.setup) => {
                tracing::warn!("gathering candidates took too long; going on with those at hand");
            }
            () = shared.ended() => return Err(RtcError::Closed),
        }
        let description = self.inner.stack.local_description().await;
        description
            .map(|description| sdp::complete(description.sdp))
            .ok_or(RtcError::Closed)
    }
}

async fn shut(stack: Arc<dyn PeerConnection>, shared: Arc<Shared>) {
    let _ = tokio::time::timeout(CLOSE_DRAIN, shared.drain()).await;
    // The stack waits a little for its driver, by a timer that must not be cut short.
    shared.opened();
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

async fn build(
    plane: DataPlane,
    config: RtcConfig,
) -> Result<(Connection, mpsc::Receiver<RtcEvent>), RtcError> {
    let (events, receiver) = mpsc::channel(EVENT_QUEUE);
    let brisk = Arc::new(AtomicBool::new(false));
    let shared = Arc::new(Shared {
        ice: watch::Sender::new(IceState::New),
        gathered: watch::Sender::new(false),
        ended: watch::Sender::new(false),
        negotiated: watch::Sender::new(None),
        brisk: brisk.clone(),
        setup: config.setup,
        nudge: Arc::default(),
        channels: Mutex::default(),
    });
    // A place in the queue is kept for the last event, so that it is never lost.
    let last = events
        .clone()
        .try_reserve_owned()
        .map_err(|_| RtcError::Closed)?;
    let driver_ended = OnDrop::new({
        let shared = shared.clone();
        move || {
            shared.ice.send_replace(IceState::Closed);
            shared.ended.send_replace(true);
            last.send(RtcEvent::Ended);
        }
    });
    let servers = config.ice_servers.into_iter().map(|server| RTCIceServer {
        urls: server.urls,
        username: server.username,
        credential: server.credential,
    });
    let stack = PeerConnectionBuilder::new()
        .with_configuration(
            RTCConfigurationBuilder::default()
                .with_ice_servers(servers.collect())
                .build(),
        )
        .with_setting_engine(settings(config.include_loopback))
        .with_data_channel_send_buffer_limit(SEND_BUFFER_BYTES)
        .with_handler(Arc::new(Handler {
            events,
            shared: shared.clone(),
            handle: plane.handle().clone(),
            channels: AtomicUsize::new(0),
        }))
        .with_runtime(Arc::new(TunedRuntime::new(
            plane.handle().clone(),
            brisk,
            shared.nudge.clone(),
            driver_ended,
        )))
        .with_udp_addrs(local_addresses(config.include_loopback))
        .build()
        .await?;
    let connection = Connection {
        inner: Arc::new(Inner {
            stack: Arc::new(stack),
            shared,
            plane,
            trickle: Mutex::default(),
        }),
    };
    Ok((connection, receiver))
}

fn settings(include_loopback: bool) -> SettingEngine {
    SettingEngineBuilder::new()
        // Resolving names by multicast needs a socket that some hosts refuse, and then nothing works.
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_include_loopback_candidate(include_loopback)
        .with_ice_timeouts(
            Some(ICE_DISCONNECTED),
            Some(ICE_FAILED),
            Some(ICE_KEEPALIVE),
        )
        .with_ice_connection_attempts(Some(ICE_CHECK), Some(ICE_CHECKS))
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MAX_MESSAGE_BYTES as u32))
        .with_sctp_max_receive_buffer_size(window_bytes())
        .build()
}

/// The IPv4 addresses to gather host candidates from: those of the interfaces there are now, without link-local
/// ones. The stack would expand a wildcard likewise, but never to loopback, and on a host without any other
/// interface it would announce the wildcard itself. An address that goes away before it is bound is skipped there.
fn local_addresses(include_loopback: bool) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    match rtc::shared::ifaces::ifaces() {
        Ok(interfaces) => {
            for ip in interfaces
                .into_iter()
                .filter_map(|interface| interface.addr)
            {
                if let IpAddr::V4(ip) = ip.ip()
                    && !ip.is_loopback()
                    && !ip.is_unspecified()
                    && !ip.is_link_local()
                {
                    addresses.push(SocketAddr::from((ip, 0)));
                }
            }
        }
        Err(error) => tracing::warn!(%error, "the network interfaces cannot be listed"),
    }
    if include_loopback || addresses.is_empty() {
        addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Receives what the stack tells. It runs inside the driver, so nothing here waits for anybody.
struct Handler {
    events: mpsc::Sender<RtcEvent>,
    shared: Arc<Shared>,
    handle: Handle,
    channels: AtomicUsize,
}

impl Handler {
    fn tell(&self, event: RtcEvent) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            tracing::warn!(
                ?event,
                "an event was dropped: the connection's owner does not take them"
            );
        }
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        let state = IceState::from(state);
        if self.shared.ice.send_replace(state) != state {
            self.tell(RtcEvent::Ice(state));
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.shared.gathered.send_replace(true);
        }
    }

    async fn on_data_channel(&self, stack: Arc<dyn DataChannel>) {
        let Ok(label) = stack.label().await else {
            return;
        };
        if self.channels.fetch_add(1, Ordering::Relaxed) >= MAX_CHANNELS {
            tracing::warn!(
                label,
                "the peer creates too many channels; this one is closed"
            );
            let _ = stack.close().await;
            return;
        }
        self.tell(RtcEvent::Channel(Channel::new(
            &self.handle,
            label,
            stack,
            self.shared.clone(),
        )));
    }
}
