//! `availability`: who may use the worker. The one owner of the worker's status (worker-state.md; reading.md 1 to 5).

use std::time::Duration;

use statig::prelude::*;

use super::ids::{JobId, PeerId};
use super::machine::{self, Bound, Chart, chart_core, statechart, words};

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
    /// The worker is to end.
    Shutdown,
    /// A timer fired.
    Fired(Timer),
}

impl Input {
    fn from(&self) -> Option<&PeerId> {
        match self {
            Input::JobRequested { from, .. }
            | Input::JobAssigned { from, .. }
            | Input::Offer { from }
            | Input::PackageAnnounced { from }
            | Input::JobBegun { from, .. }
            | Input::PeerLost { from } => Some(from),
            Input::JobEnded { .. } | Input::Shutdown | Input::Fired(_) => None,
        }
    }
}

/// The timers of this chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Until a reservation ends.
    Lease,
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
    },
    /// The lease ran out: close what its holder has open.
    ReleaseHolder {
        /// Whose.
        holder: PeerId,
    },
}

type Out = machine::Out<Timer, Act>;

#[derive(Debug, Clone, PartialEq, Default)]
struct Rules;

statechart! {
    /// The availability of one worker.
    Availability of Rules {
        Available "available", Bound::Open("a free worker waits for as long as nobody comes"), "Free for whoever comes first.";
        Reserved "reserved", Bound::Timer("Lease"), "Kept for its holder, for the length of the lease.";
        Busy "busy", Bound::Open("the job chart bounds every stage of a job and reports its end"), "At work for its holder.";
        ShuttingDown "shutting_down", Bound::Final, "The worker ends; nothing else counts.";
    }
    under {
        Serving "serving";
        Held "held";
    }
}

// A state names all of its storage, also what only its superstate reads.
#[allow(unused_variables)]
#[state_machine(
    initial = "State::available()",
    before_dispatch = "Self::note",
    visibility = "pub(super)",
    state(derive(Debug, Clone, PartialEq))
)]
impl Rules {
    #[superstate]
    fn serving(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Shutdown => Transition(State::shutting_down()),
            Input::JobRequested { .. }
            | Input::JobAssigned { .. }
            | Input::Offer { .. }
            | Input::PackageAnnounced { .. }
            | Input::JobBegun { .. }
            | Input::JobEnded { .. }
            | Input::PeerLost { .. }
            | Input::Fired(_) => context.undecided(),
        }
    }

    #[state(superstate = "serving")]
    fn available(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::JobRequested {
                from,
                job,
                fits: true,
            } => {
                context.act(Act::AcceptJob {
                    to: from.clone(),
                    job: job.clone(),
                });
                reserve(context, from, Some(job))
            }
            Input::JobRequested {
                from,
                job,
                fits: false,
            } => {
                context.act(Act::RejectJob {
                    to: from.clone(),
                    job: job.clone(),
                    reason: "incompatible",
                });
                Handled
            }
            Input::Offer { from } => {
                let outcome = reserve(context, from, None);
                context.act(Act::AcceptOffer { from: from.clone() });
                outcome
            }
            Input::PackageAnnounced { from } => {
                let outcome = reserve(context, from, None);
                context.act(Act::AdmitPackage { from: from.clone() });
                outcome
            }
            Input::JobAssigned { .. } => {
                context.ignore("an assignment counts only from the holder of a lease")
            }
            Input::JobBegun { .. } => context.ignore("a job begins only under a lease"),
            Input::JobEnded { .. } => context.ignore("no job is under way"),
            Input::PeerLost { .. } => context.ignore("nobody holds the worker"),
            Input::Fired(Timer::Lease) => context.ignore("there is no lease"),
            Input::Shutdown => Super,
        }
    }

    /// What reserved and busy have in common: one peer holds the worker, and every other is told so.
    #[superstate(superstate = "serving")]
    fn held(
        holder: &mut PeerId,
        status: &mut Status,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            Input::JobRequested { from, job, .. } => {
                context.act(Act::RejectJob {
                    to: from.clone(),
                    job: job.clone(),
                    reason: "busy",
                });
                Handled
            }
            Input::Offer { from } if from == holder => {
                context.act(Act::AcceptOffer { from: from.clone() });
                Handled
            }
            Input::Offer { from } => {
                context.act(Act::RefuseOffer {
                    to: from.clone(),
                    status: *status,
                });
                Handled
            }
            Input::PackageAnnounced { from } if from == holder => {
                context.act(Act::AdmitPackage { from: from.clone() });
                Handled
            }
            Input::PackageAnnounced { from } => {
                context.act(Act::RefusePackage { from: from.clone() });
                Handled
            }
            Input::Shutdown => Super,
            Input::JobAssigned { .. }
            | Input::JobBegun { .. }
            | Input::JobEnded { .. }
            | Input::PeerLost { .. }
            | Input::Fired(_) => context.undecided(),
        }
    }

    #[action]
    fn start_lease(context: &mut Out) {
        context.arm(Timer::Lease, LEASE);
    }

    #[action]
    fn end_lease(context: &mut Out) {
        context.cancel(Timer::Lease);
    }

    #[state(
        superstate = "held",
        entry_action = "start_lease",
        exit_action = "end_lease"
    )]
    fn reserved(
        holder: &mut PeerId,
        status: &mut Status,
        job: &mut Option<JobId>,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            Input::JobAssigned {
                from,
                job: assigned,
            } if from == holder && job.as_ref().is_none_or(|pending| pending == assigned) => {
                context.act(Act::ExpectJob {
                    from: from.clone(),
                    job: assigned.clone(),
                });
                engage(context, from, assigned)
            }
            Input::JobAssigned { .. } => context.ignore(
                "an assignment counts only from the holder, and for the job that was reserved",
            ),
            Input::JobBegun { from, job } if from == holder => engage(context, from, job),
            Input::JobBegun { .. } => context.ignore("a job begins only for the holder"),
            Input::JobEnded { .. } => context.ignore("no job is under way"),
            Input::PeerLost { from } if from == holder => free(context),
            Input::PeerLost { .. } => context.ignore("somebody else was lost, not the holder"),
            Input::Fired(Timer::Lease) => {
                context.act(Act::ReleaseHolder {
                    holder: holder.clone(),
                });
                free(context)
            }
            Input::JobRequested { .. }
            | Input::Offer { .. }
            | Input::PackageAnnounced { .. }
            | Input::Shutdown => Super,
        }
    }

    #[state(superstate = "held")]
    fn busy(
        holder: &mut PeerId,
        status: &mut Status,
        job: &mut JobId,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            Input::JobEnded { job: ended } if ended == job => free(context),
            Input::JobEnded { .. } => context.ignore("another job ended, not the current one"),
            Input::JobAssigned { .. } => context.ignore("a worker has one job at a time"),
            Input::JobBegun { .. } => context.ignore("busy is what that means"),
            Input::PeerLost { .. } => context.ignore("the job chart ends the job, and reports it"),
            Input::Fired(Timer::Lease) => context.ignore("the lease ended with the assignment"),
            Input::JobRequested { .. }
            | Input::Offer { .. }
            | Input::PackageAnnounced { .. }
            | Input::Shutdown => Super,
        }
    }

    #[state]
    fn shutting_down(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::JobRequested { .. }
            | Input::JobAssigned { .. }
            | Input::Offer { .. }
            | Input::PackageAnnounced { .. }
            | Input::JobBegun { .. }
            | Input::JobEnded { .. }
            | Input::PeerLost { .. }
            | Input::Shutdown => context.ignore("nothing but the end follows a shutdown"),
            Input::Fired(Timer::Lease) => context.ignore("the lease was cancelled"),
        }
    }
}

fn reserve(out: &mut Out, holder: &PeerId, job: Option<&JobId>) -> Outcome<State> {
    out.act(Act::Publish {
        status: Status::Reserved,
        job: job.cloned(),
    });
    Transition(State::reserved(
        holder.clone(),
        Status::Reserved,
        job.cloned(),
    ))
}

fn engage(out: &mut Out, holder: &PeerId, job: &JobId) -> Outcome<State> {
    out.act(Act::Publish {
        status: Status::Busy,
        job: Some(job.clone()),
    });
    Transition(State::busy(holder.clone(), Status::Busy, job.clone()))
}

fn free(out: &mut Out) -> Outcome<State> {
    out.act(Act::Publish {
        status: Status::Available,
        job: None,
    });
    Transition(State::available())
}

impl Availability {
    /// A free worker.
    pub fn new() -> Self {
        Self::with(Rules)
    }

    /// The status that the hub is to show; a worker that shuts down is not to be chosen any more.
    pub fn status(&self) -> Status {
        match self.0.state() {
            State::Available {} => Status::Available,
            State::Reserved { .. } => Status::Reserved,
            State::Busy { .. } | State::ShuttingDown {} => Status::Busy,
        }
    }

    /// Who holds the worker.
    pub fn holder(&self) -> Option<&PeerId> {
        match self.0.state() {
            State::Reserved { holder, .. } | State::Busy { holder, .. } => Some(holder),
            State::Available {} | State::ShuttingDown {} => None,
        }
    }

    /// The pending or current job.
    pub fn job(&self) -> Option<&JobId> {
        match self.0.state() {
            State::Reserved { job, .. } => job.as_ref(),
            State::Busy { job, .. } => Some(job),
            State::Available {} | State::ShuttingDown {} => None,
        }
    }
}

impl Default for Availability {
    fn default() -> Self {
        Self::new()
    }
}

impl Chart for Availability {
    const NAME: &'static str = "availability";
    const ABOUT: &'static str = "Who may use the worker: the one owner of its status. A reservation is a lease; \
        only its holder is listened to.";
    chart_core!();

    fn starts() -> Vec<Self> {
        vec![Self::new()]
    }

    fn alphabet() -> Vec<Input> {
        let peers = [PeerId::from("ann"), PeerId::from("ben")];
        let jobs = [JobId::from("j1"), JobId::from("j2")];
        let mut events = Vec::new();
        for from in &peers {
            for job in &jobs {
                for fits in [true, false] {
                    events.push(Input::JobRequested {
                        from: from.clone(),
                        job: job.clone(),
                        fits,
                    });
                }
                events.push(Input::JobAssigned {
                    from: from.clone(),
                    job: job.clone(),
                });
                events.push(Input::JobBegun {
                    from: from.clone(),
                    job: job.clone(),
                });
            }
            events.push(Input::Offer { from: from.clone() });
            events.push(Input::PackageAnnounced { from: from.clone() });
            events.push(Input::PeerLost { from: from.clone() });
        }
        events.extend(jobs.map(|job| Input::JobEnded { job }));
        events.push(Input::Shutdown);
        events
    }

    fn timers() -> Vec<Timer> {
        vec![Timer::Lease]
    }

    fn guard(&self, event: &Input) -> &'static str {
        if let (Input::JobRequested { fits, .. }, None) = (event, self.holder()) {
            return if *fits {
                "the machine can do it"
            } else {
                "the machine cannot do it"
            };
        }
        match (self.holder(), event.from()) {
            (Some(holder), Some(from)) if holder != from => "from another peer",
            (Some(_), Some(_)) => match (self.job(), event) {
                (Some(own), Input::JobAssigned { job, .. }) if own != job => {
                    "from the holder, another job"
                }
                _ => "from the holder",
            },
            (Some(_), None) => match (self.job(), event) {
                (Some(own), Input::JobEnded { job }) if own == job => "the current job",
                (Some(_), Input::JobEnded { .. }) => "another job",
                _ => "",
            },
            (None, _) => "",
        }
    }

    fn act_name(act: &Act) -> String {
        match act {
            Act::Publish { status, .. } => format!("publish {}", status.as_str()),
            Act::RejectJob { reason, .. } => format!("reject job: {reason}"),
            other => words(other.as_ref()),
        }
    }
}
