//! The words of `availability`: its events, timers and effects, and how long its timers run.

use std::time::Duration;

use crate::charts::machine::any;
use crate::charts::{JobId, PeerId};

/// How long a reservation lasts unless it becomes an assignment.
pub const LEASE: Duration = Duration::from_secs(60);

/// The status that the hub shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Status {
    /// Free for whoever comes.
    Available,
    /// Kept for one peer.
    Reserved,
    /// At work for one peer.
    Busy,
}

impl Status {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What peers and the worker's own jobs report.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Input {
    /// A peer asks for a job; `fits` says whether the machine can do it.
    JobRequested {
        /// Who asks.
        from: PeerId,
        /// For which job.
        job: JobId,
        /// Whether the machine meets the requirements.
        fits: bool,
    },
    /// A peer assigns a job.
    JobAssigned {
        /// Who assigns.
        from: PeerId,
        /// Which job.
        job: JobId,
    },
    /// A peer offers a connection.
    Offer {
        /// Who offers.
        from: PeerId,
    },
    /// A peer announces a package on a channel that is open.
    PackageAnnounced {
        /// Who sends it.
        from: PeerId,
    },
    /// A job began to work for its peer.
    JobBegun {
        /// For whom.
        from: PeerId,
        /// Which job.
        job: JobId,
    },
    /// A job is over: its terminal message is out, its processes and its directory are gone.
    JobEnded {
        /// Which job.
        job: JobId,
    },
    /// The last connection of a peer is gone for good.
    PeerLost {
        /// Whose.
        from: PeerId,
    },
    /// The last connection of all is gone, or there is none.
    ConnectionsGone,
    /// The worker is to take nobody else, and to leave after whom it has.
    Drain,
    /// The worker is to end.
    Shutdown,
    /// A timer fired.
    Fired(Timer),
}

impl Input {
    pub(super) fn from(&self) -> Option<&PeerId> {
        match self {
            Input::JobRequested { from, .. }
            | Input::JobAssigned { from, .. }
            | Input::Offer { from }
            | Input::PackageAnnounced { from }
            | Input::JobBegun { from, .. }
            | Input::PeerLost { from } => Some(from),
            any![JobEnded, ConnectionsGone, Drain, Shutdown, Fired] => None,
        }
    }
}

/// The timers of this chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Until a reservation ends.
    Lease,
    /// Until a worker that leaves closes what its clients did not.
    HangUp,
}

/// What the chart asks for.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Act {
    /// Answer a job request with yes.
    AcceptJob {
        /// Who asked.
        to: PeerId,
        /// For which job.
        job: JobId,
    },
    /// Answer a job request with no.
    RejectJob {
        /// Who asked.
        to: PeerId,
        /// For which job.
        job: JobId,
        /// `busy` or `incompatible`.
        reason: &'static str,
    },
    /// Answer an offer; the connection is a new one of its own.
    AcceptOffer {
        /// Who offered.
        from: PeerId,
    },
    /// Answer an offer with `worker_busy`.
    RefuseOffer {
        /// Who offered.
        to: PeerId,
        /// What the worker is at.
        status: Status,
    },
    /// Let the announced package in.
    AdmitPackage {
        /// Whose.
        from: PeerId,
    },
    /// Turn the announced package away.
    RefusePackage {
        /// Whose.
        from: PeerId,
    },
    /// Wait for the job that was assigned.
    ExpectJob {
        /// Whose.
        from: PeerId,
        /// Which job.
        job: JobId,
    },
    /// Tell the hub the status, with the job that it is about.
    Publish {
        /// The new status.
        status: Status,
        /// The pending or current job.
        job: Option<JobId>,
        /// Whether it is the last one.
        draining: bool,
    },
    /// The lease ran out: close what its holder has open.
    ReleaseHolder {
        /// Whose.
        holder: PeerId,
    },
    /// The last one who held the worker is done with it: only connections are left to wait for.
    Drained,
    /// Close what is connected still.
    HangUp,
    /// Nobody is left to wait for: the worker may end.
    Leave,
}
