//! `job`: one job at the worker, from its assignment to exactly one terminal message (worker-peer-messaging.md, Job
//! Status Updates and Job Cancellation Handling; reading.md 7, 8 and 10).

use std::time::Duration;

use statig::prelude::*;

use super::machine::{self, Bound, Chart, chart_core, statechart};

/// How long an assigned job waits for its package.
pub const ASSIGNMENT: Duration = Duration::from_secs(60);
/// How long a process group has between SIGTERM and SIGKILL, and between one SIGKILL and the next look.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long the job's directory may take to disappear.
pub const CLEANING: Duration = Duration::from_secs(60);

/// Why a job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::AsRefStr)]
pub enum Why {
    /// The package never came.
    NoPackage,
    /// The package did not arrive whole.
    NotReceived,
    /// The package cannot be run.
    NotPrepared,
    /// A command failed.
    CommandFailed,
    /// The results could not be packed.
    NotPacked,
    /// The results could not be sent.
    NotReturned,
    /// The connection to the client is lost for good.
    LinkLost,
    /// The worker is shutting down.
    Shutdown,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every command succeeded, and the results were returned.
    Completed,
    /// It failed.
    Failed(Why),
    /// The holder cancelled it.
    Cancelled,
}

/// What the transfer, the processes, the client and the worker report.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Input {
    /// A package was announced and let in.
    PackageAnnounced,
    /// It arrived whole.
    PackageReceived,
    /// It did not.
    PackageBroken,
    /// It is unpacked, and there is a plan.
    Prepared,
    /// It cannot be run.
    PrepareFailed,
    /// One command of the plan started.
    StepStarted,
    /// One command ended.
    StepEnded {
        /// Whether with exit code 0.
        ok: bool,
    },
    /// The last command ended.
    RunEnded {
        /// Whether all ended with exit code 0.
        ok: bool,
    },
    /// The results are packed.
    Packed,
    /// There is nothing to return.
    NothingToReturn,
    /// The results could not be packed.
    PackFailed,
    /// The results have left.
    ResultsSent,
    /// The results could not be sent.
    SendFailed,
    /// The holder cancels.
    CancelRequested,
    /// The connection to the holder is lost for good.
    LinkLost,
    /// The worker is to end.
    Shutdown,
    /// What was under way has stopped: transfer, unpacking, packing, or the whole process group.
    WorkGone,
    /// The job's directory is gone.
    ScratchGone,
    /// A timer fired.
    Fired(Timer),
}

/// The timers of this chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Until an assigned job without a package is given up.
    Assignment,
    /// Until the process group is killed.
    Grace,
    /// Until the directory is taken for gone.
    Cleaning,
}

/// What the chart asks for.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Act {
    /// The job begins: say so.
    ReportBegun,
    /// Unpack the package and make a plan.
    Prepare,
    /// Run the plan.
    Run,
    /// Tell the holder that a command starts.
    SendStarting,
    /// Tell the holder that a command succeeded.
    SendStepDone,
    /// Pack the results.
    Pack,
    /// Send the results.
    ReturnResults,
    /// Stop what is under way; a process group gets SIGTERM.
    StopWork,
    /// Kill the process group.
    KillWork,
    /// Remove the job's directory.
    RemoveScratch,
    /// Send the one terminal message.
    SendTerminal(Outcome),
    /// The job is over: say so.
    ReportEnded,
}

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
        Running "running", Bound::Open("a training takes as long as it takes; cancelling it or losing the link ends it"),
            "Its commands run, one after the other.";
        Packing "packing", Bound::Open("bounded by what the job wrote; cancelling it or losing the link ends it"), "The results are packed.";
        Returning "returning", Bound::Open("the transfer chart gives a stalled file up"), "The results are on their way.";
        Stopping "stopping", Bound::Timer("Grace"), "What was under way is being stopped: SIGTERM, 10 s, SIGKILL.";
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
            Input::StepStarted | Input::StepEnded { .. } | Input::RunEnded { .. } => {
                context.ignore("nothing runs")
            }
            Input::Packed | Input::NothingToReturn | Input::PackFailed => {
                context.ignore("nothing is being packed")
            }
            Input::ResultsSent | Input::SendFailed => context.ignore("no results are on their way"),
            Input::WorkGone => context.ignore("nothing was asked to stop"),
            Input::ScratchGone => context.ignore("nothing was asked to be removed"),
            Input::Fired(_) => context.ignore("the timer belongs to another state"),
            Input::CancelRequested | Input::LinkLost | Input::Shutdown => context.undecided(),
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
            Input::CancelRequested => Transition(State::cleaning(Outcome::Cancelled)),
            Input::LinkLost => Transition(State::cleaning(Outcome::Failed(Why::LinkLost))),
            Input::Shutdown => Transition(State::cleaning(Outcome::Failed(Why::Shutdown))),
            Input::PackageReceived
            | Input::PackageBroken
            | Input::Prepared
            | Input::PrepareFailed
            | Input::StepStarted
            | Input::StepEnded { .. }
            | Input::RunEnded { .. }
            | Input::Packed
            | Input::NothingToReturn
            | Input::PackFailed
            | Input::ResultsSent
            | Input::SendFailed
            | Input::WorkGone
            | Input::ScratchGone
            | Input::Fired(_) => Super,
        }
    }

    /// Something is under way: whatever ends the job stops that first.
    #[superstate(superstate = "alive")]
    fn working(context: &mut Out, event: &Input) -> Next {
        match event {
            Input::CancelRequested => Transition(State::stopping(Outcome::Cancelled)),
            Input::LinkLost => Transition(State::stopping(Outcome::Failed(Why::LinkLost))),
            Input::Shutdown => Transition(State::stopping(Outcome::Failed(Why::Shutdown))),
            Input::PackageAnnounced
            | Input::PackageReceived
            | Input::PackageBroken
            | Input::Prepared
            | Input::PrepareFailed
            | Input::StepStarted
            | Input::StepEnded { .. }
            | Input::RunEnded { .. }
            | Input::Packed
            | Input::NothingToReturn
            | Input::PackFailed
            | Input::ResultsSent
            | Input::SendFailed
            | Input::WorkGone
            | Input::ScratchGone
            | Input::Fired(_) => Super,
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
            Input::PackageAnnounced
            | Input::Prepared
            | Input::PrepareFailed
            | Input::StepStarted
            | Input::StepEnded { .. }
            | Input::RunEnded { .. }
            | Input::Packed
            | Input::NothingToReturn
            | Input::PackFailed
            | Input::ResultsSent
            | Input::SendFailed
            | Input::CancelRequested
            | Input::LinkLost
            | Input::Shutdown
            | Input::WorkGone
            | Input::ScratchGone
            | Input::Fired(_) => Super,
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
            Input::PackageAnnounced
            | Input::PackageReceived
            | Input::PackageBroken
            | Input::StepStarted
            | Input::StepEnded { .. }
            | Input::RunEnded { .. }
            | Input::Packed
            | Input::NothingToReturn
            | Input::PackFailed
            | Input::ResultsSent
            | Input::SendFailed
            | Input::CancelRequested
            | Input::LinkLost
            | Input::Shutdown
            | Input::WorkGone
            | Input::ScratchGone
            | Input::Fired(_) => Super,
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
            Input::PackageAnnounced
            | Input::PackageReceived
            | Input::PackageBroken
            | Input::Prepared
            | Input::PrepareFailed
            | Input::Packed
            | Input::NothingToReturn
            | Input::PackFailed
            | Input::ResultsSent
            | Input::SendFailed
            | Input::CancelRequested
            | Input::LinkLost
            | Input::Shutdown
            | Input::WorkGone
            | Input::ScratchGone
            | Input::Fired(_) => Super,
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
            Input::PackageAnnounced
            | Input::PackageReceived
            | Input::PackageBroken
            | Input::Prepared
            | Input::PrepareFailed
            | Input::StepStarted
            | Input::StepEnded { .. }
            | Input::RunEnded { .. }
            | Input::ResultsSent
            | Input::SendFailed
            | Input::CancelRequested
            | Input::LinkLost
            | Input::Shutdown
            | Input::WorkGone
            | Input::ScratchGone
            | Input::Fired(_) => Super,
        }
    }

    #[state(superstate = "working")]
    fn returning(outcome: &mut Outcome, context: &mut Out, event: &Input) -> Next {
        match event {
            Input::ResultsSent => Transition(State::cleaning(*outcome)),
            Input::SendFailed => Transition(State::cleaning(worse(*outcome, Why::NotReturned))),
            Input::PackageAnnounced
            | Input::PackageReceived
            | Input::PackageBroken
            | Input::Prepared
            | Input::PrepareFailed
            | Input::StepStarted
            | Input::StepEnded { .. }
            | Input::RunEnded { .. }
            | Input::Packed
            | Input::NothingToReturn
            | Input::PackFailed
            | Input::CancelRequested
            | Input::LinkLost
            | Input::Shutdown
            | Input::WorkGone
            | Input::ScratchGone
            | Input::Fired(_) => Super,
        }
    }

    #[action]
    fn enter_stopping(context: &mut Out) {
        context.arm(Timer::Grace, GRACE);
        context.act(Act::StopWork);
    }

    #[action]
    fn leave_stopping(context: &mut Out) {
        context.cancel(Timer::Grace);
    }

    #[state(
        superstate = "alive",
        entry_action = "enter_stopping",
        exit_action = "leave_stopping"
    )]
    fn stopping(outcome: &mut Outcome, context: &mut Out, event: &Input) -> Next {
        match event {
            Input::WorkGone => Transition(State::cleaning(*outcome)),
            Input::Fired(Timer::Grace) => {
                context.act(Act::KillWork);
                context.arm(Timer::Grace, GRACE);
                Handled
            }
            Input::CancelRequested | Input::LinkLost | Input::Shutdown => {
                context.ignore("it is stopping already")
            }
            Input::PackageAnnounced
            | Input::PackageReceived
            | Input::PackageBroken
            | Input::Prepared
            | Input::PrepareFailed
            | Input::StepStarted
            | Input::StepEnded { .. }
            | Input::RunEnded { .. }
            | Input::Packed
            | Input::NothingToReturn
            | Input::PackFailed
            | Input::ResultsSent
            | Input::SendFailed
            | Input::ScratchGone
            | Input::Fired(_) => Super,
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
            Input::CancelRequested | Input::LinkLost | Input::Shutdown => {
                context.ignore("how it ended is settled")
            }
            Input::PackageAnnounced
            | Input::PackageReceived
            | Input::PackageBroken
            | Input::Prepared
            | Input::PrepareFailed
            | Input::StepStarted
            | Input::StepEnded { .. }
            | Input::RunEnded { .. }
            | Input::Packed
            | Input::NothingToReturn
            | Input::PackFailed
            | Input::ResultsSent
            | Input::SendFailed
            | Input::WorkGone
            | Input::Fired(_) => Super,
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

fn over(out: &mut Out, event: &Input) -> Next {
    match event {
        Input::PackageAnnounced
        | Input::PackageReceived
        | Input::PackageBroken
        | Input::Prepared
        | Input::PrepareFailed
        | Input::StepStarted
        | Input::StepEnded { .. }
        | Input::RunEnded { .. }
        | Input::Packed
        | Input::NothingToReturn
        | Input::PackFailed
        | Input::ResultsSent
        | Input::SendFailed
        | Input::CancelRequested
        | Input::LinkLost
        | Input::Shutdown
        | Input::WorkGone
        | Input::ScratchGone
        | Input::Fired(_) => out.ignore("the one terminal message is out"),
    }
}

fn settle(ok: bool) -> Outcome {
    if ok {
        Outcome::Completed
    } else {
        Outcome::Failed(Why::CommandFailed)
    }
}

/// A job that had failed keeps its first reason.
fn worse(outcome: Outcome, why: Why) -> Outcome {
    match outcome {
        Outcome::Completed => Outcome::Failed(why),
        settled @ (Outcome::Failed(_) | Outcome::Cancelled) => settled,
    }
}

impl Job {
    /// A job that was promised to its holder.
    pub fn new() -> Self {
        Self::with(Rules)
    }
}

impl Default for Job {
    fn default() -> Self {
        Self::new()
    }
}

impl Chart for Job {
    const NAME: &'static str = "job";
    const ABOUT: &'static str = "One job at the worker: receive, prepare, run, pack, return, clean up, and exactly one \
        terminal message, whatever happens on the way.";
    chart_core!();

    fn starts() -> Vec<Self> {
        vec![Self::new()]
    }

    fn alphabet() -> Vec<Input> {
        vec![
            Input::PackageAnnounced,
            Input::PackageReceived,
            Input::PackageBroken,
            Input::Prepared,
            Input::PrepareFailed,
            Input::StepStarted,
            Input::StepEnded { ok: true },
            Input::StepEnded { ok: false },
            Input::RunEnded { ok: true },
            Input::RunEnded { ok: false },
            Input::Packed,
            Input::NothingToReturn,
            Input::PackFailed,
            Input::ResultsSent,
            Input::SendFailed,
            Input::CancelRequested,
            Input::LinkLost,
            Input::Shutdown,
            Input::WorkGone,
            Input::ScratchGone,
        ]
    }

    fn timers() -> Vec<Timer> {
        vec![Timer::Assignment, Timer::Grace, Timer::Cleaning]
    }

    fn guard(&self, event: &Input) -> &'static str {
        match (self.0.state(), event) {
            (State::Running {}, Input::StepEnded { ok: true } | Input::RunEnded { ok: true }) => {
                "all went well"
            }
            (State::Running {}, Input::StepEnded { ok: false } | Input::RunEnded { ok: false }) => {
                "it failed"
            }
            (
                State::Cleaning { outcome, .. },
                Input::ScratchGone | Input::Fired(Timer::Cleaning),
            ) => match outcome {
                Outcome::Completed => "it succeeded",
                Outcome::Failed(_) => "it failed",
                Outcome::Cancelled => "it was cancelled",
            },
            _ => "",
        }
    }

    fn act_name(act: &Act) -> String {
        match act {
            Act::SendTerminal(Outcome::Completed) => "send job_complete".to_owned(),
            Act::SendTerminal(Outcome::Failed(_)) => "send job_failed".to_owned(),
            Act::SendTerminal(Outcome::Cancelled) => "send job_cancelled".to_owned(),
            other => machine::words(other.as_ref()),
        }
    }
}
