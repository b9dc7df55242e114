//! How the stack is set up, and what it tells.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use webrtc::data_channel::DataChannel;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceConnectionState, RTCIceGatheringState, RTCPeerConnectionIceEvent, SettingEngine,
    SettingEngineBuilder,
};

use super::gathering::Gathering;
use super::pacing::Relays;
use super::servers;
use super::shared::Shared;
use super::tuning::{OnDrop, TunedRuntime, window_bytes};
use super::{CandidateKind, Channel, IceState, MAX_MESSAGE_BYTES, RtcConfig, RtcError, RtcEvent};

/// The most channels that a connection may have when its peer creates another, which is otherwise closed at once.
pub const MAX_CHANNELS: usize = 16;

/// How many events wait for the owner of a connection.
const EVENT_QUEUE: usize = 64;

/// How many bytes of a channel may be on their way, unacknowledged, before sending waits. As large as the
/// largest window of a peer of our kind, so that it never limits a long path by itself.
const SEND_BUFFER_BYTES: usize = 4 << 20;

/// Silence that makes ICE `disconnected`.
const ICE_DISCONNECTED: Duration = Duration::from_secs(5);

/// Further silence that makes ICE `failed`, which only a restart ends: the stack forgets its candidates then. Not so
/// `disconnected`: keep-alives go on, and the first packet that gets through makes it `connected` again, with nothing lost (a
/// peer frozen for 60 s came back so, twice the stack's own limit of 30 s). A worker waits 90 s for that, so `failed`
/// must come later; whoever wants to give up earlier watches [`RtcEvent::Ice`]. After a long silence of the path
/// itself, data waits for SCTP's next retransmission, up to 60 s more, for which the stack has no setting.
const ICE_FAILED: Duration = Duration::from_secs(100);

/// How often an idle path is checked.
const ICE_KEEPALIVE: Duration = Duration::from_secs(2);

/// Time between the checks of a candidate pair, and how many there are. The number grows as the interval
/// shrinks, or pairs would be given up early.
const ICE_CHECK: Duration = Duration::from_millis(50);
const ICE_CHECKS: u16 = 140;

/// How long a direct path has to be found before a relayed one is taken, which is kept for good. A little more than the
/// stack gives to an address that only shows itself in the checks (1 s).
const RELAY_WAIT: Duration = Duration::from_millis(1200);

/// How often an allocation at a TURN server is refreshed, at least. The stack's own half of the lifetime (5 of 10 min)
/// is too rare: when the server's nonce has run out, it takes the new one but does not ask again.
const RELAY_REFRESH: Duration = Duration::from_secs(60);

/// A connection of the stack, what is known of it, and its events.
pub(super) type Built = (
    Arc<dyn PeerConnection>,
    Arc<Shared>,
    mpsc::Receiver<RtcEvent>,
);

/// Makes a connection, with SCTP packets of at most so many bytes, or as large as the stack thinks right. To be awaited on
/// the data plane, where it leaves its driver.
pub(super) async fn build(
    handle: Handle,
    config: RtcConfig,
    packets: Option<u32>,
) -> Result<Built, RtcError> {
    let (events, receiver) = mpsc::channel(EVENT_QUEUE);
    let gathering = Gathering::new(&config.ice_servers);
    let servers = servers::resolved(&config.ice_servers).await;
    let relays = Relays::new(servers.iter().filter_map(|server| server.relay));
    let shared = Shared::new(handle.clone(), config.setup, gathering, relays);
    let shared = Arc::new(shared);
    // A place in the queue is kept for the last event, so that it is never lost.
    let last = events
        .clone()
        .try_reserve_owned()
        .map_err(|_| RtcError::Closed)?;
    let driver_ended = OnDrop::new({
        let shared = shared.clone();
        move || {
            shared.set_ended();
            last.send(RtcEvent::Ended);
        }
    });
    let stack = PeerConnectionBuilder::new()
        .with_configuration(
            RTCConfigurationBuilder::default()
                .with_ice_servers(servers.into_iter().map(|server| server.stack).collect())
                .build(),
        )
        .with_setting_engine(settings(config.include_loopback, packets))
        .with_data_channel_send_buffer_limit(SEND_BUFFER_BYTES)
        .with_handler(Arc::new(Handler {
            events,
            shared: shared.clone(),
            refused: AtomicBool::new(false),
        }))
        .with_runtime(Arc::new(TunedRuntime::new(
            handle,
            shared.brisk.clone(),
            shared.nudge.clone(),
            shared.relays.clone(),
            driver_ended,
        )))
        .with_udp_addrs(vec![Here {
            include_loopback: config.include_loopback,
            shared: shared.clone(),
        }])
        .build()
        .await?;
    Ok((Arc::new(stack), shared, receiver))
}

fn settings(include_loopback: bool, packets: Option<u32>) -> SettingEngine {
    let settings = SettingEngineBuilder::new()
        // Resolving names by multicast needs a socket that some hosts refuse, and then nothing works.
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_include_loopback_candidate(include_loopback)
        .with_ice_timeouts(
            Some(ICE_DISCONNECTED),
            Some(ICE_FAILED),
            Some(ICE_KEEPALIVE),
        )
        // Without it, a restart goes on with the sockets of before, at addresses that may be gone.
        .with_discard_local_candidates_during_ice_restart(true)
        .with_ice_connection_attempts(Some(ICE_CHECK), Some(ICE_CHECKS))
        .with_relay_acceptance_min_wait(Some(RELAY_WAIT))
        .with_turn_allocation_refresh_interval_cap(RELAY_REFRESH)
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MAX_MESSAGE_BYTES as u32))
        .with_sctp_max_receive_buffer_size(window_bytes());
    match packets {
        Some(bytes) => settings.with_sctp_mtu(bytes).build(),
        None => settings.build(),
    }
}

/// Where this host is whenever the stack binds its sockets: at first, and again for each ICE restart.
struct Here {
    include_loopback: bool,
    shared: Arc<Shared>,
}

impl ToSocketAddrs for Here {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        self.shared.gathering().bound();
        Ok(local_addresses(self.include_loopback).into_iter())
    }
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
    /// Whether a channel was refused before.
    refused: AtomicBool,
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
        if self.shared.set_ice(state) {
            self.tell(RtcEvent::Ice(state));
        }
    }

    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let kind = CandidateKind::from(event.candidate.typ);
        if self.shared.gathering().candidate(kind)
            && let Ok(candidate) = event.candidate.to_json()
        {
            self.tell(RtcEvent::Candidate(candidate.candidate));
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.shared.gathering().complete();
        }
    }

    async fn on_data_channel(&self, stack: Arc<dyn DataChannel>) {
        let Ok(label) = stack.label().await else {
            return;
        };
        if self.shared.live_channels() >= MAX_CHANNELS {
            // Said once, so that a peer cannot flood the log.
            if !self.refused.swap(true, Ordering::Relaxed) {
                tracing::warn!("the peer creates too many channels; they are closed");
            }
            let _ = stack.close().await;
            return;
        }
        self.tell(RtcEvent::Channel(Channel::new(
            label,
            stack,
            self.shared.clone(),
        )));
    }
}
