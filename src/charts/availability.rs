//! `availability`: who may use the worker. The one owner of the worker's status (worker-state.md; reading.md 1 to 5).

mod chart;
mod vocabulary;

use statig::prelude::*;

use super::ids::{JobId, PeerId};
use super::machine::{self, Bound, any, statechart};

pub use vocabulary::{Act, Input, LEASE, Status, Timer};

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
            any![
                JobRequested, JobAssigned, Offer, PackageAnnounced, JobBegun, JobEnded, PeerLost,
                Fired
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
            any![JobAssigned, JobBegun, JobEnded, PeerLost, Fired] => context.undecided(),
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
            any![JobRequested, Offer, PackageAnnounced, Shutdown] => Super,
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
            any![JobRequested, Offer, PackageAnnounced, Shutdown] => Super,
        }
    }

    #[state]
    fn shutting_down(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            any![
                JobRequested, JobAssigned, Offer, PackageAnnounced, JobBegun, JobEnded, PeerLost,
                Shutdown
            ] => context.ignore("nothing but the end follows a shutdown"),
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
