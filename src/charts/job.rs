//! `job`: one job at the worker, from its assignment to exactly one terminal message (worker-peer-messaging.md, Job
//! Status Updates and Job Cancellation Handling; reading.md 7, 8 and 10).

mod chart;
mod vocabulary;
mod ways;

use std::time::Duration;

use statig::prelude::*;

use super::machine::{self, Bound, any, statechart};

pub use vocabulary::{ASSIGNMENT, Act, CLEANING, GRACE, Input, Outcome, Timer, Why};
use ways::{over, settle, worse};

type Out = machine::Out<Timer, Act>;
type Next = statig::Outcome<State>;

#[derive(Debug, Clone, PartialEq, Default)]
struct Rules;

statechart! {
    /// One job at the worker.
    Job of Rules {
        Assigned "assigned", Bound::Timer("Assignment"), "Promised to its holder; the package has not been announced.";
        Receiving "receiving", Bound::Open("the transfer chart gives a stalled file up"), "The package is on its way.";
        Preparing "preparing", Bound::Open("unpacking is bounded by its limits on count, bytes and ratio"),
            "The package is unpacked and read.";
        Running "running", Bound::Open("a training takes as long as it takes; stopping or cancelling it or losing the link ends it"),
            "Its commands run, one after the other.";
        Packing "packing", Bound::Open("bounded by what the job wrote; cancelling it or losing the link ends it"), "The results are packed.";
        Returning "returning", Bound::Open("the transfer chart gives a stalled file up"), "The results are on their way.";
        Stopping "stopping", Bound::Timer("Stop"), "Its command was asked to end, and has a while to save what it has.";
        Terminating "terminating", Bound::Timer("Grace"), "What was under way is being ended: SIGTERM, 10 s, SIGKILL.";
        Cleaning "cleaning", Bound::Timer("Cleaning"), "Its directory is being removed.";
        Completed "completed", Bound::Final, "Everything succeeded, and job_complete was sent.";
        Failed "failed", Bound::Final, "Something failed, and job_failed was sent.";
        Cancelled "cancelled", Bound::Final, "It was cancelled, and job_cancelled was sent.";
    }
    under {
        Alive "alive";
        Working "working";
    }
}

// A state names all of its arguments, also what only its entry action or a superstate reads.
#[allow(unused_variables)]
#[state_machine(
    initial = "State::assigned()",
    before_dispatch = "Self::note",
    visibility = "pub(super)",
    state(derive(Debug, Clone, PartialEq))
)]
impl Rules {
    /// What a job before its last stage ignores: reports of stages that it is not in.
    #[superstate]
    fn alive(context: &mut Out, event: &Input) -> Next {
        match event {
            Input::PackageAnnounced => context.ignore("a job has one package"),
            Input::PackageReceived | Input::PackageBroken => {
                context.ignore("no package is on its way")
            }
            Input::Prepared | Input::PrepareFailed => context.ignore("nothing is being prepared"),
            any![StepStarted, StepEnded, RunEnded] => context.ignore("nothing runs"),
            any![Packed, NothingToReturn, PackFailed] => context.ignore("nothing is being packed"),
            Input::ResultsSent | Input::SendFailed => context.ignore("no results are on their way"),
            Input::WorkGone => context.ignore("nothing was asked to stop"),
            Input::ScratchGone => context.ignore("nothing was asked to be removed"),
            Input::Fired(_) => context.ignore("the timer belongs to another state"),
            any![StopRequested, CancelRequested, LinkLost, Shutdown] => context.undecided(),
        }
    }

    #[action]
    fn enter_assigned(context: &mut Out) {
        context.arm(Timer::Assignment, ASSIGNMENT);
    }

    #[action]
    fn leave_assigned(context: &mut Out) {
        context.cancel(Timer::Assignment);
    }

    #[state(
        superstate = "alive",
        entry_action = "enter_assigned",
        exit_action = "leave_assigned"
    )]
    fn assigned(context: &mut Out, event: &Input) -> Next {
        match event {
            Input::PackageAnnounced => {
                context.act(Act::ReportBegun);
                Transition(State::receiving())
            }
            Input::Fired(Timer::Assignment) => {
                Transition(State::cleaning(Outcome::Failed(Why::NoPackage)))
            }
            Input::StopRequested { .. } | Input::CancelRequested => {
                Transition(State::cleaning(Outcome::Cancelled))
            }
            Input::LinkLost => Transition(State::cleaning(Outcome::Failed(Why::LinkLost))),
            Input::Shutdown => Transition(State::cleaning(Outcome::Failed(Why::Shutdown))),
            any![
                PackageReceived, PackageBroken, Prepared, PrepareFailed, StepStarted, StepEnded,
                RunEnded, Packed, NothingToReturn, PackFailed, ResultsSent, SendFailed, WorkGone,
                ScratchGone, Fired
            ] => Super,
        }
    }

    /// Something is under way: whatever ends the job stops that first.
    #[superstate(superstate = "alive")]
    fn working(context: &mut Out, event: &Input) -> Next {
        match event {
            // Nothing runs that could save something.
            Input::StopRequested { .. } | Input::CancelRequested => {
                Transition(State::terminating(Outcome::Cancelled))
            }
            Input::LinkLost => Transition(State::terminating(Outcome::Failed(Why::LinkLost))),
            Input::Shutdown => Transition(State::terminating(Outcome::Failed(Why::Shutdown))),
            any![
                PackageAnnounced, PackageReceived, PackageBroken, Prepared, PrepareFailed,
                StepStarted, StepEnded, RunEnded, Packed, NothingToReturn, PackFailed, ResultsSent,
                SendFailed, WorkGone, ScratchGone, Fired
            ] => Super,
        }
    }

    #[state(superstate = "working")]
    fn receiving(context: &mut Out, event: &Input) -> Next {
        match event {
            Input::PackageReceived => {
                context.act(Act::Prepare);
                Transition(State::preparing())
            }
            Input::PackageBroken => Transition(State::cleaning(Outcome::Failed(Why::NotReceived))),
            any![
                PackageAnnounced, Prepared, PrepareFailed, StepStarted, StepEnded, RunEnded,
                Packed, NothingToReturn, PackFailed, ResultsSent, SendFailed, StopRequested,
                CancelRequested, LinkLost, Shutdown, WorkGone, ScratchGone, Fired
            ] => Super,
        }
    }

    #[state(superstate = "working")]
    fn preparing(context: &mut Out, event: &Input) -> Next {
        match event {
            Input::Prepared => {
                context.act(Act::Run);
                Transition(State::running())
            }
            Input::PrepareFailed => Transition(State::cleaning(Outcome::Failed(Why::NotPrepared))),
            any![
                PackageAnnounced, PackageReceived, PackageBroken, StepStarted, StepEnded, RunEnded,
                Packed, NothingToReturn, PackFailed, ResultsSent, SendFailed, StopRequested,
                CancelRequested, LinkLost, Shutdown, WorkGone, ScratchGone, Fired
            ] => Super,
        }
    }

    #[state(superstate = "working")]
    fn running(context: &mut Out, event: &Input) -> Next {
        match event {
            Input::StepStarted => {
                context.act(Act::SendStarting);
                Handled
            }
            Input::StepEnded { ok: true } => {
                context.act(Act::SendStepDone);
                Handled
            }
            Input::StepEnded { ok: false } => context.ignore("the end of the run says it, once"),
            Input::RunEnded { ok } => {
                context.act(Act::Pack);
                Transition(State::packing(settle(*ok)))
            }
            Input::StopRequested { deadline } => Transition(State::stopping(*deadline, false)),
            any![
                PackageAnnounced, PackageReceived, PackageBroken, Prepared, PrepareFailed, Packed,
                NothingToReturn, PackFailed, ResultsSent, SendFailed, CancelRequested, LinkLost,
                Shutdown, WorkGone, ScratchGone, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_stopping(deadline: &mut Duration, context: &mut Out) {
        context.arm(Timer::Stop, *deadline);
        context.act(Act::AskToStop);
    }

    #[action]
    fn leave_stopping(context: &mut Out) {
        context.cancel(Timer::Stop);
    }

    #[state(
        superstate = "working",
        entry_action = "enter_stopping",
        exit_action = "leave_stopping"
    )]
    fn stopping(
        deadline: &mut Duration,
        late: &mut bool,
        context: &mut Out,
        event: &Input,
    ) -> Next {
        match event {
            Input::StepEnded { .. } if *late => context.ignore("it was killed"),
            // It ended in its time, which does not run for what is still to be said of it.
            Input::StepEnded { ok } => {
                if *ok {
                    context.act(Act::SendStepDone);
                }
                Transition(State::running())
            }
            Input::RunEnded { .. } if *late => {
                context.act(Act::Pack);
                Transition(State::packing(Outcome::Failed(Why::NotStopped)))
            }
            Input::RunEnded { ok } => {
                context.act(Act::Pack);
                Transition(State::packing(settle(*ok)))
            }
            Input::Fired(Timer::Stop) => {
                *late = true;
                context.act(Act::KillWork);
                context.arm(Timer::Stop, GRACE);
                Handled
            }
            Input::StopRequested { .. } => context.ignore("it was asked already"),
            Input::CancelRequested => Transition(State::terminating(Outcome::Cancelled)),
            any![
                PackageAnnounced, PackageReceived, PackageBroken, Prepared, PrepareFailed,
                StepStarted, Packed, NothingToReturn, PackFailed, ResultsSent, SendFailed,
                LinkLost, Shutdown, WorkGone, ScratchGone, Fired
            ] => Super,
        }
    }

    #[state(superstate = "working")]
    fn packing(outcome: &mut Outcome, context: &mut Out, event: &Input) -> Next {
        match event {
            Input::Packed => {
                context.act(Act::ReturnResults);
                Transition(State::returning(*outcome))
            }
            Input::NothingToReturn => Transition(State::cleaning(*outcome)),
            Input::PackFailed => Transition(State::cleaning(worse(*outcome, Why::NotPacked))),
            Input::StopRequested { .. } => context.ignore("its commands are over"),
            any![
                PackageAnnounced, PackageReceived, PackageBroken, Prepared, PrepareFailed,
                StepStarted, StepEnded, RunEnded, ResultsSent, SendFailed, CancelRequested,
                LinkLost, Shutdown, WorkGone, ScratchGone, Fired
            ] => Super,
        }
    }

    #[state(superstate = "working")]
    fn returning(outcome: &mut Outcome, context: &mut Out, event: &Input) -> Next {
        match event {
            Input::ResultsSent => Transition(State::cleaning(*outcome)),
            Input::SendFailed => Transition(State::cleaning(worse(*outcome, Why::NotReturned))),
            Input::StopRequested { .. } => context.ignore("its commands are over"),
            any![
                PackageAnnounced, PackageReceived, PackageBroken, Prepared, PrepareFailed,
                StepStarted, StepEnded, RunEnded, Packed, NothingToReturn, PackFailed,
                CancelRequested, LinkLost, Shutdown, WorkGone, ScratchGone, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_terminating(context: &mut Out) {
        context.arm(Timer::Grace, GRACE);
        context.act(Act::TerminateWork);
    }

    #[action]
    fn leave_terminating(context: &mut Out) {
        context.cancel(Timer::Grace);
    }

    #[state(
        superstate = "alive",
        entry_action = "enter_terminating",
        exit_action = "leave_terminating"
    )]
    fn terminating(outcome: &mut Outcome, context: &mut Out, event: &Input) -> Next {
        match event {
            Input::WorkGone => Transition(State::cleaning(*outcome)),
            Input::Fired(Timer::Grace) => {
                context.act(Act::KillWork);
                context.arm(Timer::Grace, GRACE);
                Handled
            }
            any![StopRequested, CancelRequested, LinkLost, Shutdown] => {
                context.ignore("it is being ended already")
            }
            any![
                PackageAnnounced, PackageReceived, PackageBroken, Prepared, PrepareFailed,
                StepStarted, StepEnded, RunEnded, Packed, NothingToReturn, PackFailed, ResultsSent,
                SendFailed, ScratchGone, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_cleaning(context: &mut Out) {
        context.arm(Timer::Cleaning, CLEANING);
        context.act(Act::RemoveScratch);
    }

    #[action]
    fn leave_cleaning(context: &mut Out) {
        context.cancel(Timer::Cleaning);
    }

    #[state(
        superstate = "alive",
        entry_action = "enter_cleaning",
        exit_action = "leave_cleaning"
    )]
    fn cleaning(outcome: &mut Outcome, context: &mut Out, event: &Input) -> Next {
        match event {
            Input::ScratchGone | Input::Fired(Timer::Cleaning) => {
                context.act(Act::SendTerminal(*outcome));
                context.act(Act::ReportEnded);
                Transition(match outcome {
                    Outcome::Completed => State::completed(),
                    Outcome::Failed(_) => State::failed(),
                    Outcome::Cancelled => State::cancelled(),
                })
            }
            any![StopRequested, CancelRequested, LinkLost, Shutdown] => {
                context.ignore("how it ended is settled")
            }
            any![
                PackageAnnounced, PackageReceived, PackageBroken, Prepared, PrepareFailed,
                StepStarted, StepEnded, RunEnded, Packed, NothingToReturn, PackFailed, ResultsSent,
                SendFailed, WorkGone, Fired
            ] => Super,
        }
    }

    #[state]
    fn completed(context: &mut Out, event: &Input) -> Next {
        over(context, event)
    }

    #[state]
    fn failed(context: &mut Out, event: &Input) -> Next {
        over(context, event)
    }

    #[state]
    fn cancelled(context: &mut Out, event: &Input) -> Next {
        over(context, event)
    }
}

impl Job {
    /// A job that was promised to its holder.
    pub fn new() -> Self {
        Self::with(Rules)
    }

    /// Whether it still waits for its package.
    pub fn wants_package(&self) -> bool {
        matches!(self.0.state(), State::Assigned {})
    }

    /// Whether what is under way was told to end: how that ends says nothing about the job.
    pub fn terminates(&self) -> bool {
        matches!(self.0.state(), State::Terminating { .. })
    }
}

impl Default for Job {
    fn default() -> Self {
        Self::new()
    }
}
