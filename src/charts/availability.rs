//! `availability`: who may use the worker. The one owner of the worker's status (worker-state.md; reading.md 1 to 5).

mod chart;
mod vocabulary;
mod ways;

use statig::prelude::*;

use super::ids::{JobId, PeerId};
use super::machine::{self, Bound, any, statechart};

pub use vocabulary::{Act, Input, LEASE, Status, Timer};
use ways::draining;

type Out = machine::Out<Timer, Act>;

#[derive(Debug, Clone, PartialEq, Default)]
struct Rules {
    /// Nobody comes after whom the worker has.
    draining: bool,
}

statechart! {
    /// The availability of one worker.
    Availability of Rules {
        Available "available", Bound::Open("a free worker waits for as long as nobody comes"), "Free for whoever comes first.";
        Reserved "reserved", Bound::Timer("Lease"), "Kept for its holder, for the length of the lease.";
        Busy "busy", Bound::Open("the job chart bounds every stage of a job and reports its end"), "At work for its holder.";
        DrainingReserved "draining_reserved", Bound::Timer("Lease"), "Kept for its last holder; nobody comes after.";
        DrainingBusy "draining_busy", Bound::Open("the job chart bounds every stage of a job and reports its end"), "At its last job.";
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
                Drain, Fired
            ] => context.undecided(),
        }
    }

    #[state(superstate = "serving")]
    fn available(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
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
                self.reserve(context, from, Some(job))
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
                let outcome = self.reserve(context, from, None);
                context.act(Act::AcceptOffer { from: from.clone() });
                outcome
            }
            Input::PackageAnnounced { from } => {
                let outcome = self.reserve(context, from, None);
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
            Input::Drain => self.leave(context),
            Input::Shutdown => Super,
        }
    }

    /// What reserved and busy have in common, also for the last time: one peer holds the worker, and every other is told so.
    #[superstate(superstate = "serving")]
    fn held(
        &mut self,
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
                    status: self.told(*status),
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
        &mut self,
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
                self.engage(context, from, assigned)
            }
            Input::JobAssigned { .. } => context.ignore(
                "an assignment counts only from the holder, and for the job that was reserved",
            ),
            Input::JobBegun { from, job } if from == holder => self.engage(context, from, job),
            Input::JobBegun { .. } => context.ignore("a job begins only for the holder"),
            Input::JobEnded { .. } => context.ignore("no job is under way"),
            Input::PeerLost { from } if from == holder => self.free(context),
            Input::PeerLost { .. } => context.ignore("somebody else was lost, not the holder"),
            Input::Fired(Timer::Lease) => {
                context.act(Act::ReleaseHolder {
                    holder: holder.clone(),
                });
                self.free(context)
            }
            any![JobRequested, Offer, PackageAnnounced, Drain, Shutdown] => Super,
        }
    }

    #[state(superstate = "leased")]
    fn reserved(
        &mut self,
        holder: &mut PeerId,
        status: &mut Status,
        job: &mut Option<JobId>,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            Input::Drain => {
                self.drain(context, *status, job.as_ref());
                Transition(State::draining_reserved(
                    holder.clone(),
                    *status,
                    job.clone(),
                ))
            }
            any![
                JobRequested, JobAssigned, Offer, PackageAnnounced, JobBegun, JobEnded, PeerLost,
                Shutdown, Fired
            ] => Super,
        }
    }

    #[state(superstate = "leased")]
    fn draining_reserved(
        holder: &mut PeerId,
        status: &mut Status,
        job: &mut Option<JobId>,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        draining(context, event)
    }

    /// At work, whether or not somebody may come after.
    #[superstate(superstate = "held")]
    fn working(
        &mut self,
        holder: &mut PeerId,
        status: &mut Status,
        job: &mut JobId,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            Input::JobEnded { job: ended } if ended == job => self.free(context),
            Input::JobEnded { .. } => context.ignore("another job ended, not the current one"),
            Input::JobAssigned { .. } => context.ignore("a worker has one job at a time"),
            Input::JobBegun { .. } => context.ignore("busy is what that means"),
            Input::PeerLost { .. } => context.ignore("the job chart ends the job, and reports it"),
            Input::Fired(Timer::Lease) => context.ignore("the lease ended with the assignment"),
            any![JobRequested, Offer, PackageAnnounced, Drain, Shutdown] => Super,
        }
    }

    #[state(superstate = "working")]
    fn busy(
        &mut self,
        holder: &mut PeerId,
        status: &mut Status,
        job: &mut JobId,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            Input::Drain => {
                self.drain(context, *status, Some(job));
                Transition(State::draining_busy(holder.clone(), *status, job.clone()))
            }
            any![
                JobRequested, JobAssigned, Offer, PackageAnnounced, JobBegun, JobEnded, PeerLost,
                Shutdown, Fired
            ] => Super,
        }
    }

    #[state(superstate = "working")]
    fn draining_busy(
        holder: &mut PeerId,
        status: &mut Status,
        job: &mut JobId,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        draining(context, event)
    }

    #[state]
    fn shutting_down(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            any![
                JobRequested, JobAssigned, Offer, PackageAnnounced, JobBegun, JobEnded, PeerLost,
                Drain, Shutdown
            ] => context.ignore("nothing but the end follows a shutdown"),
            Input::Fired(Timer::Lease) => context.ignore("the lease was cancelled"),
        }
    }
}

impl Availability {
    /// A free worker.
    pub fn new() -> Self {
        Self::with(Rules::default())
    }

    /// The status that counts; a worker that shuts down is not to be chosen any more.
    pub fn status(&self) -> Status {
        match self.0.state() {
            State::Available {} => Status::Available,
            State::Reserved { .. } | State::DrainingReserved { .. } => Status::Reserved,
            State::Busy { .. } | State::DrainingBusy { .. } | State::ShuttingDown {} => {
                Status::Busy
            }
        }
    }

    /// Whether nobody comes after whom the worker has.
    pub fn draining(&self) -> bool {
        self.0.inner().draining
    }

    /// Who holds the worker.
    pub fn holder(&self) -> Option<&PeerId> {
        match self.0.state() {
            State::Reserved { holder, .. }
            | State::DrainingReserved { holder, .. }
            | State::Busy { holder, .. }
            | State::DrainingBusy { holder, .. } => Some(holder),
            State::Available {} | State::ShuttingDown {} => None,
        }
    }

    /// The pending or current job.
    pub fn job(&self) -> Option<&JobId> {
        match self.0.state() {
            State::Reserved { job, .. } | State::DrainingReserved { job, .. } => job.as_ref(),
            State::Busy { job, .. } | State::DrainingBusy { job, .. } => Some(job),
            State::Available {} | State::ShuttingDown {} => None,
        }
    }
}

impl Default for Availability {
    fn default() -> Self {
        Self::new()
    }
}
