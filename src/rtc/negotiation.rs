//! The exchange of descriptions and candidates: once for a new connection, and again for each restart of ICE.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rtc::peer_connection::configuration::RTCOfferOptions;
use tokio::sync::OwnedMutexGuard;
use webrtc::peer_connection::{PeerConnection, RTCIceCandidateInit, RTCSessionDescription};

use super::gathering::Pass;
use super::sdp::Credentials;
use super::shared::{Shared, lock};
use super::tuning::window_bytes;
use super::{RtcError, path, sdp};

/// A peer whose sockets take so many bytes at once is sent a whole window at once: the usual default of Linux.
const MUCH_ROOM: u32 = 200_000;

/// How often it is looked whether the stack has our own addresses in its description.
const LOOK: Duration = Duration::from_millis(5);
/// And how often: for 3 s.
const LOOKS: u32 = 600;

/// The exchanges of one connection.
pub(super) struct Negotiation {
    stack: Arc<dyn PeerConnection>,
    shared: Arc<Shared>,
    /// Whether the peer takes candidates after an offer.
    takes_trickle: bool,
    /// The largest SCTP packet that was chosen for the way to the peer, bytes.
    packets: Option<u32>,
    trickle: Mutex<Trickle>,
    agreed: Arc<tokio::sync::Mutex<Agreed>>,
}

/// The candidates of the peer so far.
#[derive(Default)]
struct Trickle {
    count: usize,
    described: bool,
    /// Those that came before the description that they belong to.
    early: Vec<RTCIceCandidateInit>,
}

/// What the two sides know of each other. Who has it takes part in an exchange: one at a time.
#[derive(Default)]
pub(super) struct Agreed {
    /// The peer's latest credentials, once both descriptions are known.
    peer: Option<Credentials>,
    /// Ours in the offer that awaits its answer.
    offered: Option<Credentials>,
}

impl Negotiation {
    pub(super) fn new(
        stack: Arc<dyn PeerConnection>,
        shared: Arc<Shared>,
        takes_trickle: bool,
        packets: Option<u32>,
    ) -> Self {
        Negotiation {
            stack,
            shared,
            takes_trickle,
            packets,
            trickle: Mutex::default(),
            agreed: Arc::default(),
        }
    }

    /// Begins a part of an exchange, in the order in which it is asked for.
    pub(super) async fn begin(&self) -> OwnedMutexGuard<Agreed> {
        self.agreed.clone().lock_owned().await
    }

    /// Makes the first offer.
    pub(super) async fn offer(&self, _: &mut Agreed) -> Result<String, RtcError> {
        let offer = self.stack.create_offer(None).await?;
        let pass = self.shared.gathering().begin();
        self.stack.set_local_description(offer).await?;
        self.gathered(pass, self.takes_trickle).await
    }

    /// Makes the offer of a restart; an earlier one that has no answer is void.
    pub(super) async fn restart_offer(&self, agreed: &mut Agreed) -> Result<String, RtcError> {
        if agreed.peer.is_none() {
            let why = "there was no exchange of descriptions yet; offer the connection first";
            return Err(RtcError::Restart(why.to_owned()));
        }
        agreed.offered = None;
        let options = RTCOfferOptions { ice_restart: true };
        let offer = self.stack.create_offer(Some(options)).await?;
        let pass = self.shared.gathering().begin_again();
        self.stack.set_local_description(offer).await?;
        let sdp = self.gathered_again(pass).await?;
        agreed.offered = sdp::credentials(&sdp);
        Ok(sdp)
    }

    /// Takes the answer to the latest offer.
    pub(super) async fn accept_answer(
        &self,
        agreed: &mut Agreed,
        sdp: &str,
    ) -> Result<(), RtcError> {
        let (sdp, candidates) = sdp::tidy(sdp)?;
        let is_restart = agreed.peer.is_some();
        if is_restart {
            let offered = agreed
                .offered
                .as_ref()
                .map(|offered| offered.ufrag.as_str());
            if offered.is_none() || sdp::answers(&sdp) != offered {
                return Err(RtcError::Stale);
            }
            self.fits(&sdp)?;
        }
        let peer = sdp::credentials(&sdp);
        let answer = RTCSessionDescription::answer(sdp).map_err(unusable)?;
        if !is_restart {
            self.shared.negotiated();
        }
        let taken = self.remote(answer, candidates).await;
        if taken.is_ok() {
            *agreed = Agreed {
                peer,
                offered: None,
            };
        } else if !is_restart {
            self.shared.not_negotiated();
        }
        taken
    }

    /// Takes the peer's offer, the first one or that of a restart, and makes the answer.
    pub(super) async fn answer(
        &self,
        agreed: &mut Agreed,
        offer_sdp: &str,
    ) -> Result<String, RtcError> {
        let (sdp, candidates) = sdp::tidy(offer_sdp)?;
        let credentials = sdp::credentials(&sdp);
        if agreed.peer.is_some() {
            return self
                .restart_answer(agreed, sdp, candidates, credentials)
                .await;
        }
        let offer = RTCSessionDescription::offer(sdp).map_err(unusable)?;
        self.remote(offer, candidates).await?;
        let answer = self.stack.create_answer(None).await.map_err(unusable)?;
        self.shared.negotiated();
        let pass = self.shared.gathering().begin();
        self.stack.set_local_description(answer).await?;
        agreed.peer = credentials;
        self.gathered(pass, sdp::takes_trickle(offer_sdp)).await
    }

    async fn restart_answer(
        &self,
        agreed: &mut Agreed,
        sdp: String,
        candidates: usize,
        credentials: Option<Credentials>,
    ) -> Result<String, RtcError> {
        let credentials = credentials
            .filter(|credentials| agreed.peer.as_ref() != Some(credentials))
            .ok_or(RtcError::Stale)?;
        self.fits(&sdp)?;
        let offer = RTCSessionDescription::offer(sdp).map_err(unusable)?;
        if self.stack.pending_local_description().await.is_some() {
            // An offer of our own that has no answer is withdrawn.
            agreed.offered = None;
            let withdrawn = RTCSessionDescription::rollback(None)?;
            self.stack.set_local_description(withdrawn).await?;
        }
        let pass = self.shared.gathering().begin_again();
        self.remote(offer, candidates).await?;
        agreed.peer = Some(credentials.clone());
        let answer = self.stack.create_answer(None).await.map_err(unusable)?;
        self.stack.set_local_description(answer).await?;
        let sdp = self.gathered_again(pass).await?;
        Ok(sdp::answering(sdp, &credentials))
    }

    /// Takes a candidate that the peer trickles.
    pub(super) async fn add_candidate(
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
            self.shared.relays.add(relay);
        }
        let candidate = RTCIceCandidateInit {
            candidate: candidate.to_owned(),
            sdp_mid: mid,
            sdp_mline_index: mline,
            ..RTCIceCandidateInit::default()
        };
        {
            let mut trickle = lock(&self.trickle);
            if trickle.count >= sdp::MAX_CANDIDATES {
                return Ok(());
            }
            trickle.count += 1;
            if !trickle.described {
                trickle.early.push(candidate);
                return Ok(());
            }
        }
        Ok(self.stack.add_ice_candidate(candidate).await?)
    }

    /// Applies the peer's description, then the candidates that came before it.
    async fn remote(
        &self,
        description: RTCSessionDescription,
        candidates: usize,
    ) -> Result<(), RtcError> {
        let burst = sdp::burst_bytes(&description.sdp).unwrap_or(0);
        let little_room = burst < MUCH_ROOM;
        let shared = &self.shared;
        shared.little_room.store(little_room, Ordering::Relaxed);
        let again = lock(&self.trickle).described;
        if again {
            shared.relays.forget_the_peers();
        }
        for relay in sdp::relays(&description.sdp) {
            shared.relays.add(relay);
        }
        self.stack
            .set_remote_description(description)
            .await
            .map_err(unusable)?;
        let early = {
            let mut trickle = lock(&self.trickle);
            trickle.described = true;
            // Those of a restart take the place of those before it.
            trickle.count = candidates + if again { 0 } else { trickle.count };
            std::mem::take(&mut trickle.early)
        };
        for candidate in early {
            if let Err(error) = self.stack.add_ice_candidate(candidate).await {
                tracing::debug!(%error, "an early candidate cannot be used");
            }
        }
        Ok(())
    }

    /// Whether packets as large as ours get to whoever made this description of a restart; their size is for good.
    fn fits(&self, sdp: &str) -> Result<(), RtcError> {
        let fits = |chosen: u32| path::packet_bytes(sdp).is_some_and(|most| most >= chosen);
        if self.packets.is_none_or(fits) {
            return Ok(());
        }
        let why = "the new way may not take packets as large as the old one; make a new connection";
        Err(RtcError::Restart(why.to_owned()))
    }

    /// Our description, once it need not wait for further candidates.
    async fn gathered(&self, pass: Pass, trickle: bool) -> Result<String, RtcError> {
        let shared = &self.shared;
        shared.gathering().enough(shared, pass, trickle).await?;
        let description = self.stack.local_description().await;
        let sdp = description.ok_or(RtcError::Closed)?.sdp;
        let sdp = sdp::with_burst(sdp, window_bytes());
        let sdp = if trickle { sdp::trickling(sdp) } else { sdp };
        // Without servers, nothing follows our own addresses.
        let more = trickle && shared.gathering().has_servers();
        Ok(if more { sdp } else { sdp::complete(sdp) })
    }

    /// As [`Negotiation::gathered`], for a restart: complete, and without candidates of before.
    async fn gathered_again(&self, pass: Pass) -> Result<String, RtcError> {
        for _ in 0..LOOKS {
            let sdp = self.gathered(pass, false).await?;
            let sdp = sdp::only(&sdp, &self.own_candidates().await?);
            if sdp::addresses(&sdp).next().is_some() {
                return Ok(sdp);
            }
            // Where an offer was withdrawn just before, the search is begun twice.
            self.shared.sleep(LOOK).await;
        }
        Err(RtcError::Restart("this machine has no address".to_owned()))
    }

    /// The addresses of our candidates.
    async fn own_candidates(&self) -> Result<Vec<SocketAddr>, RtcError> {
        let sctp = self.stack.sctp().await.ok_or(RtcError::Closed)?;
        let ice = sctp.transport().ice_transport();
        let candidates = ice.get_local_candidates().await?.into_iter();
        let address = |ip: String, port| Some(SocketAddr::new(ip.parse().ok()?, port));
        Ok(candidates
            .filter_map(|candidate| address(candidate.address, candidate.port))
            .collect())
    }
}

fn unusable(error: webrtc::error::Error) -> RtcError {
    match RtcError::from(error) {
        RtcError::Stack(reason) => RtcError::Description(reason),
        other => other,
    }
}
