//! What a person may be told of the way that a connection has found.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use webrtc::peer_connection::{
    PeerConnection, RTCIceCandidate, RTCIceCandidateType, StatsSelector,
};

/// The kind of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CandidateKind {
    /// An address of the host itself.
    Host,
    /// An address as a STUN server sees it.
    ServerReflexive,
    /// An address as the other side sees it, which nobody had told.
    PeerReflexive,
    /// An address of a TURN server.
    Relay,
}

impl From<RTCIceCandidateType> for CandidateKind {
    fn from(kind: RTCIceCandidateType) -> Self {
        match kind {
            RTCIceCandidateType::Relay => CandidateKind::Relay,
            RTCIceCandidateType::Srflx => CandidateKind::ServerReflexive,
            RTCIceCandidateType::Prflx => CandidateKind::PeerReflexive,
            _ => CandidateKind::Host,
        }
    }
}

/// One end of the selected pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PathEnd {
    /// What it is known by.
    pub kind: CandidateKind,
    /// Where it is.
    pub address: SocketAddr,
}

impl PathEnd {
    fn of(candidate: &RTCIceCandidate) -> Option<Self> {
        Some(PathEnd {
            kind: candidate.typ.into(),
            address: SocketAddr::new(candidate.address.parse().ok()?, candidate.port),
        })
    }
}

/// The way that a connection takes: the pair of candidates that ICE has selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// Ours.
    pub local: PathEnd,
    /// The peer's.
    pub remote: PathEnd,
    /// How long the latest check took to the peer and back; `None` before the first has come back.
    pub round_trip: Option<Duration>,
}

impl Path {
    /// Whether a TURN server lies between, at either end; otherwise the way is direct.
    pub fn is_relayed(&self) -> bool {
        [self.local, self.remote]
            .iter()
            .any(|end| end.kind == CandidateKind::Relay)
    }
}

/// The way that a connection of the stack takes now.
pub(super) async fn path(stack: &dyn PeerConnection) -> Option<Path> {
    let ice = stack.sctp().await?.transport().ice_transport();
    let pair = ice.get_selected_candidate_pair().await.ok()??;
    let report = stack.get_stats(Instant::now(), StatsSelector::None).await;
    let known = report.candidate_pairs().find(|known| {
        known.local_candidate_id == pair.local().id && known.remote_candidate_id == pair.remote().id
    });
    let seconds = known.map_or(0.0, |known| known.current_round_trip_time);
    let round_trip = Duration::try_from_secs_f64(seconds).ok();
    Some(Path {
        local: PathEnd::of(pair.local())?,
        remote: PathEnd::of(pair.remote())?,
        round_trip: round_trip.filter(|trip| !trip.is_zero()),
    })
}
