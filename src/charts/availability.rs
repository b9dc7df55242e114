//! `availability`: who may use the worker. The one owner of the worker's status (worker-state.md; reading.md 1 to 5).

mod chart;
mod vocabulary;
mod ways;

use statig::prelude::*;

use super::ids::{JobId, PeerId};
use super::machine::{self, Bound, any, statechart};
use super::peer::LINGER;

pub use vocabulary::{Act, Input, LEASE, Status, Timer};
use ways::{Then, free, lease_ends, leave, publish, refuse, reserve};

type Out = machine::Out<Timer, Act>;

#[derive(Debug, Clone, PartialEq, Default)]
struct Rules;

statechart! {
    /// The availability of one worker.
    Availability of Rules {
        Available "available", Bound::Open("a free worker waits for as long as nobody comes"), "Free for whoever comes first.";
        Reserved "reserved", Bound::Timer("Lease"), "Kept for its holder, for the length of the lease.";
        Busy "busy", Bound::Open("the job chart bounds every stage of a job and reports its end"), "At work for its holder.";
        DrainingReserved "draining_reserved", Bound::Timer("Lease"), "Kept for its last holder; nobody comes after.";
        DrainingBusy "draining_busy", Bound::Open("the job chart bounds every stage of a job and reports its end"), "At its last job.";
        Leaving "leaving", Bound::Timer("HangUp"), "Nobody holds it, nor will; the last connections close.";
        ShuttingDown "shutting_down", Bound::Final, "The worker ends; nothing else counts.";
    }
    under {
        Serving "serving";
        Held "held";
        Leased "leased";
        Working "working";
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
            any![
                JobRequested, JobAssigned, Offer, PackageAnnounced, JobBegun, JobEnded, PeerLost,
                ConnectionsGone, Drain, Fired
            ] => context.undecided(),
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
            Input::ConnectionsGone => context.ignore("others may come"),
            Input::Fired(Timer::Lease) => context.ignore("there is no lease"),
            Input::Fired(Timer::HangUp) => context.ignore("the timer belongs to another state"),
            Input::Drain => leave(context),
            Input::Shutdown => Super,
        }
    }

    /// What reserved and busy have in common, also for the last time: one peer holds the worker, and every other is told so.
    #[superstate(superstate = "serving")]
    fn held(holder: &mut PeerId, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Offer { from } if from == holder => {
                context.act(Act::AcceptOffer { from: from.clone() });
                Handled
            }
            Input::PackageAnnounced { from } if from == holder => {
                context.act(Act::AdmitPackage { from: from.clone() });
                Handled
            }
            any![JobRequested, Offer, PackageAnnounced] => refuse(context, event, Status::Busy),
            Input::ConnectionsGone => {
                context.ignore("its holder may come back, or has yet to come")
            }
            Input::Fired(Timer::HangUp) => context.ignore("the timer belongs to another state"),
            Input::Shutdown => Super,
            any![JobAssigned, JobBegun, JobEnded, PeerLost, Drain, Fired] => context.undecided(),
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

    /// Reserved, whether or not somebody may come after: a drain leaves the lease as it is.
    #[superstate(
        superstate = "held",
        entry_action = "start_lease",
        exit_action = "end_lease"
    )]
    fn leased(
        holder: &mut PeerId,
        job: &mut Option<JobId>,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            Input::JobAssigned { .. } => context.ignore(
                "an assignment counts only from the holder, and for the job that was reserved",
            ),
            Input::JobBegun { .. } => context.ignore("a job begins only for the holder"),
            Input::JobEnded { .. } => context.ignore("no job is under way"),
            Input::PeerLost { .. } => context.ignore("somebody else was lost, not the holder"),
            any![
                JobRequested, Offer, PackageAnnounced, ConnectionsGone, Drain, Shutdown, Fired
            ] => Super,
        }
    }

    #[state(superstate = "leased")]
    fn reserved(
        holder: &mut PeerId,
        job: &mut Option<JobId>,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match (lease_ends(context, event, holder, job.as_ref()), event) {
            (Some(Then::Work(job)), _) => {
                publish(context, Status::Busy, Some(job), false);
                Transition(State::busy(holder.clone(), job.clone()))
            }
            (Some(Then::Nothing), _) => free(context),
            (None, Input::Offer { from }) if from != holder => {
                refuse(context, event, Status::Reserved)
            }
            (None, Input::Drain) => {
                publish(context, Status::Reserved, job.as_ref(), true);
                Transition(State::draining_reserved(holder.clone(), job.clone()))
            }
            (
                None,
                any![
                    JobRequested, JobAssigned, Offer, PackageAnnounced, JobBegun, JobEnded,
                    PeerLost, ConnectionsGone, Shutdown, Fired
                ],
            ) => Super,
        }
    }

    #[state(superstate = "leased")]
    fn draining_reserved(
        holder: &mut PeerId,
        job: &mut Option<JobId>,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match (lease_ends(context, event, holder, job.as_ref()), event) {
            (Some(Then::Work(job)), _) => {
                publish(context, Status::Busy, Some(job), true);
                Transition(State::draining_busy(holder.clone(), job.clone()))
            }
            (Some(Then::Nothing), _) => leave(context),
            (None, Input::Drain) => context.ignore("it drains already"),
            (
                None,
                any![
                    JobRequested, JobAssigned, Offer, PackageAnnounced, JobBegun, JobEnded,
                    PeerLost, ConnectionsGone, Shutdown, Fired
                ],
            ) => Super,
        }
    }

    /// At work, whether or not somebody may come after.
    #[superstate(superstate = "held")]
    fn working(
        holder: &mut PeerId,
        job: &mut JobId,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            Input::JobEnded { .. } => context.ignore("another job ended, not the current one"),
            Input::JobAssigned { .. } => context.ignore("a worker has one job at a time"),
            Input::JobBegun { .. } => context.ignore("busy is what that means"),
            Input::PeerLost { .. } => context.ignore("the job chart ends the job, and reports it"),
            Input::Fired(Timer::Lease) => context.ignore("the lease ended with the assignment"),
            any![
                JobRequested, Offer, PackageAnnounced, ConnectionsGone, Drain, Shutdown, Fired
            ] => Super,
        }
    }

    #[state(superstate = "working")]
    fn busy(
        holder: &mut PeerId,
        job: &mut JobId,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            Input::JobEnded { job: ended } if ended == job => free(context),
            Input::Drain => {
                publish(context, Status::Busy, Some(job), true);
                Transition(State::draining_busy(holder.clone(), job.clone()))
            }
            any![
                JobRequested, JobAssigned, Offer, PackageAnnounced, JobBegun, JobEnded, PeerLost,
                ConnectionsGone, Shutdown, Fired
            ] => Super,
        }
    }

    #[state(superstate = "working")]
    fn draining_busy(
        holder: &mut PeerId,
        job: &mut JobId,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            Input::JobEnded { job: ended } if ended == job => leave(context),
            Input::Drain => context.ignore("it drains already"),
            any![
                JobRequested, JobAssigned, Offer, PackageAnnounced, JobBegun, JobEnded, PeerLost,
                ConnectionsGone, Shutdown, Fired
            ] => Super,
        }
    }

    /// Who is connected still has as long as after any job.
    #[action]
    fn start_leaving(context: &mut Out) {
        context.arm(Timer::HangUp, LINGER);
    }

    #[action]
    fn end_leaving(context: &mut Out) {
        context.cancel(Timer::HangUp);
    }

    #[state(
        superstate = "serving",
        entry_action = "start_leaving",
        exit_action = "end_leaving"
    )]
    fn leaving(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::ConnectionsGone => {
                context.act(Act::Leave);
                Transition(State::shutting_down())
            }
            Input::Fired(Timer::HangUp) => {
                context.act(Act::HangUp);
                context.arm(Timer::HangUp, LINGER);
                Handled
            }
            any![JobRequested, Offer, PackageAnnounced] => refuse(context, event, Status::Busy),
            any![JobAssigned, JobBegun] => context.ignore("nobody holds a worker that leaves"),
            Input::JobEnded { .. } => context.ignore("no job is under way"),
            Input::PeerLost { .. } => context.ignore("nobody holds the worker"),
            Input::Fired(Timer::Lease) => context.ignore("there is no lease"),
            Input::Drain => context.ignore("it drains already"),
            Input::Shutdown => Super,
        }
    }

    #[state]
    fn shutting_down(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            any![
                JobRequested, JobAssigned, Offer, PackageAnnounced, JobBegun, JobEnded, PeerLost,
                ConnectionsGone, Drain, Shutdown
            ] => context.ignore("nothing but the end follows a shutdown"),
            Input::Fired(_) => context.ignore("the timer was cancelled"),
        }
    }
}

impl Availability {
    /// A free worker.
    pub fn new() -> Self {
        Self::with(Rules)
    }

    /// The status that counts; a worker that shuts down is not to be chosen any more.
    pub fn status(&self) -> Status {
        match self.0.state() {
            State::Available {} => Status::Available,
            State::Reserved { .. } | State::DrainingReserved { .. } => Status::Reserved,
            State::Busy { .. }
            | State::DrainingBusy { .. }
            | State::Leaving {}
            | State::ShuttingDown {} => Status::Busy,
        }
    }

    /// Whether nobody comes after whom the worker has.
    pub fn draining(&self) -> bool {
        match self.0.state() {
            State::Available {} | State::Reserved { .. } | State::Busy { .. } => false,
            State::DrainingReserved { .. }
            | State::DrainingBusy { .. }
            | State::Leaving {}
            | State::ShuttingDown {} => true,
        }
    }

    /// Who holds the worker.
    pub fn holder(&self) -> Option<&PeerId> {
        match self.0.state() {
            State::Reserved { holder, .. }
            | State::DrainingReserved { holder, .. }
            | State::Busy { holder, .. }
            | State::DrainingBusy { holder, .. } => Some(holder),
            State::Available {} | State::Leaving {} | State::ShuttingDown {} => None,
        }
    }

    /// The pending or current job.
    pub fn job(&self) -> Option<&JobId> {
        match self.0.state() {
            State::Reserved { job, .. } | State::DrainingReserved { job, .. } => job.as_ref(),
            State::Busy { job, .. } | State::DrainingBusy { job, .. } => Some(job),
            State::Available {} | State::Leaving {} | State::ShuttingDown {} => None,
        }
    }
}

impl Default for Availability {
    fn default() -> Self {
        Self::new()
    }
}
