//! `submission`: the client's side of a job, from finding a worker to having its results, or knowing why not.

mod book;
mod chart;
mod results;
mod vocabulary;

use statig::prelude::*;

use super::machine::{self, Bound, any, statechart};

use book::{break_off, done, fail, out_of_turn, over};
pub use vocabulary::{
    ANSWER, Act, CANCEL, DIAL, DIALS, Input, RESULTS, Timer, VALIDATION, VERDICT, Why,
};

type Out = machine::Out<Timer, Act>;

#[derive(Debug, Clone, PartialEq, Default)]
struct Rules {
    /// The worker negotiates and sends a terminal message: one of ours.
    negotiates: bool,
    /// The package is at the worker: it is named instead of sent, and its results stay there.
    named: bool,
}

statechart! {
    /// One submission of a client.
    Submission of Rules {
        Idle "idle", Bound::Open("the actor starts it at once"), "Nothing has begun.";
        Discovering "discovering", Bound::Timer("Answer"), "The hub is asked for workers.";
        Choosing "choosing", Bound::Open("a person may take their time; Ctrl+C ends it"), "One of several workers is being chosen.";
        Requesting "requesting", Bound::Timer("Answer"), "The worker is asked for the job.";
        Dialling "dialling", Bound::Timer("Dial"), "A connection to the worker is being set up.";
        Validating "validating", Bound::Timer("Validation"), "The worker is asked for a file of its own.";
        Sending "sending", Bound::Open("the transfer chart gives a stalled file up"), "The package is on its way.";
        Watching "watching", Bound::Open("a training takes as long as it takes; Ctrl+C or a lost link ends it"),
            "The job runs; its output is shown.";
        Awaiting "awaiting", Bound::Timer("Results"), "The commands are done; results or verdict come next.";
        Fetching "fetching", Bound::Open("the transfer chart gives a stalled file up"), "The results are on their way.";
        Concluding "concluding", Bound::Timer("Verdict"), "The results are here; the worker's verdict is not.";
        Cancelling "cancelling", Bound::Timer("Cancel"), "The worker was asked to cancel the job.";
        Done "done", Bound::Final, "The job is complete, and what it returned is here.";
        Failed "failed", Bound::Final, "There is no result, and the reason was given.";
    }
    under {
        Alive "alive";
        Engaged "engaged";
    }
}

// A state names all of its arguments, also what only its entry action or a superstate reads.
#[allow(unused_variables)]
#[state_machine(
    initial = "State::idle()",
    before_dispatch = "Self::note",
    visibility = "pub(super)",
    state(derive(Debug, Clone, PartialEq))
)]
impl Rules {
    /// Reports of stages that the submission is not in.
    #[superstate]
    fn alive(context: &mut Out, event: &Input) -> Outcome<State> {
        out_of_turn(context, event)
    }

    #[state(superstate = "alive")]
    fn idle(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Start => Transition(State::discovering()),
            any![
                WorkersFound, NoWorker, WorkerChosen, JobAccepted, JobRejected, WorkerBusy,
                WorkerLeft, ChannelOpen, DialFailed, PackageSent, SendFailed, CommandsDone,
                ResultsAnnounced, ResultsReceived, ReceiveFailed, JobOver, LinkLost, Interrupt,
                JobCancelled, FileFound, FileMissing, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_discovering(context: &mut Out) {
        context.arm(Timer::Answer, ANSWER);
        context.act(Act::Discover);
    }

    #[action]
    fn end_answer(context: &mut Out) {
        context.cancel(Timer::Answer);
    }

    #[state(
        superstate = "alive",
        entry_action = "enter_discovering",
        exit_action = "end_answer"
    )]
    fn discovering(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::WorkersFound => Transition(State::choosing()),
            Input::NoWorker => fail(context, Why::NoWorker),
            Input::WorkerChosen { negotiates } => self.chosen(*negotiates),
            Input::Fired(Timer::Answer) => fail(context, Why::NoAnswer),
            any![
                Start, JobAccepted, JobRejected, WorkerBusy, WorkerLeft, ChannelOpen, DialFailed,
                PackageSent, SendFailed, CommandsDone, ResultsAnnounced, ResultsReceived,
                ReceiveFailed, JobOver, LinkLost, Interrupt, JobCancelled, FileFound, FileMissing,
                Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_choosing(context: &mut Out) {
        context.act(Act::Choose);
    }

    #[state(superstate = "alive", entry_action = "enter_choosing")]
    fn choosing(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::WorkerChosen { negotiates } => self.chosen(*negotiates),
            Input::NoWorker => fail(context, Why::NoWorker),
            any![
                Start, WorkersFound, JobAccepted, JobRejected, WorkerBusy, WorkerLeft, ChannelOpen,
                DialFailed, PackageSent, SendFailed, CommandsDone, ResultsAnnounced,
                ResultsReceived, ReceiveFailed, JobOver, LinkLost, Interrupt, JobCancelled,
                FileFound, FileMissing, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_requesting(context: &mut Out) {
        context.arm(Timer::Answer, ANSWER);
        context.act(Act::SendJobRequest);
    }

    #[state(
        superstate = "alive",
        entry_action = "enter_requesting",
        exit_action = "end_answer"
    )]
    fn requesting(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::JobAccepted => {
                context.act(Act::SendJobAssignment);
                Transition(State::dialling(1))
            }
            Input::JobRejected | Input::WorkerLeft => fail(context, Why::Rejected),
            Input::Fired(Timer::Answer) => fail(context, Why::NoAnswer),
            any![
                Start, WorkersFound, NoWorker, WorkerChosen, WorkerBusy, ChannelOpen, DialFailed,
                PackageSent, SendFailed, CommandsDone, ResultsAnnounced, ResultsReceived,
                ReceiveFailed, JobOver, LinkLost, Interrupt, JobCancelled, FileFound, FileMissing,
                Fired
            ] => Super,
        }
    }

    /// The worker is ours: what ends the submission is told to it.
    #[superstate(superstate = "alive")]
    fn engaged(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Interrupt if self.negotiates => {
                context.act(Act::StopStreams);
                Transition(State::cancelling())
            }
            Input::Interrupt => break_off(context, Why::Interrupted),
            Input::LinkLost => break_off(context, Why::LinkLost),
            Input::JobOver { ok: false } | Input::JobCancelled => {
                break_off(context, Why::JobFailed)
            }
            Input::JobOver { ok: true } => context.ignore("no package was sent or named yet"),
            any![
                Start, WorkersFound, NoWorker, WorkerChosen, JobAccepted, JobRejected, WorkerBusy,
                WorkerLeft, ChannelOpen, DialFailed, PackageSent, SendFailed, CommandsDone,
                ResultsAnnounced, ResultsReceived, ReceiveFailed, FileFound, FileMissing, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_dialling(context: &mut Out) {
        context.arm(Timer::Dial, DIAL);
        context.act(Act::Dial);
    }

    #[action]
    fn end_dial(context: &mut Out) {
        context.cancel(Timer::Dial);
    }

    #[state(
        superstate = "engaged",
        entry_action = "enter_dialling",
        exit_action = "end_dial"
    )]
    fn dialling(&mut self, attempt: &mut u8, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::ChannelOpen if self.named => Transition(State::validating()),
            Input::ChannelOpen => Transition(State::sending()),
            Input::DialFailed | Input::LinkLost | Input::Fired(Timer::Dial) => {
                context.act(Act::DropConnection);
                if *attempt < DIALS {
                    Transition(State::dialling(*attempt + 1))
                } else {
                    fail(context, Why::NotConnected)
                }
            }
            Input::WorkerBusy | Input::WorkerLeft => {
                context.act(Act::DropConnection);
                fail(context, Why::Rejected)
            }
            any![
                Start, WorkersFound, NoWorker, WorkerChosen, JobAccepted, JobRejected, PackageSent,
                SendFailed, CommandsDone, ResultsAnnounced, ResultsReceived, ReceiveFailed,
                JobOver, Interrupt, JobCancelled, FileFound, FileMissing, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_validating(context: &mut Out) {
        context.arm(Timer::Validation, VALIDATION);
        context.act(Act::NameFile);
    }

    #[action]
    fn end_validating(context: &mut Out) {
        context.cancel(Timer::Validation);
    }

    #[state(
        superstate = "engaged",
        entry_action = "enter_validating",
        exit_action = "end_validating"
    )]
    fn validating(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::FileFound => Transition(State::watching()),
            Input::FileMissing => self.release(context, Why::NoFile),
            Input::Fired(Timer::Validation) => self.release(context, Why::NotValidated),
            any![
                Start, WorkersFound, NoWorker, WorkerChosen, JobAccepted, JobRejected, WorkerBusy,
                WorkerLeft, ChannelOpen, DialFailed, PackageSent, SendFailed, CommandsDone,
                ResultsAnnounced, ResultsReceived, ReceiveFailed, JobOver, LinkLost, Interrupt,
                JobCancelled, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_sending(context: &mut Out) {
        context.act(Act::SendPackage);
    }

    #[state(superstate = "engaged", entry_action = "enter_sending")]
    fn sending(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::PackageSent => Transition(State::watching()),
            Input::SendFailed => fail(context, Why::NotSent),
            // A quick job is over before its package is acknowledged to the last byte.
            Input::CommandsDone { ok } => Transition(State::awaiting(*ok)),
            Input::ResultsAnnounced => Transition(State::fetching(true, false)),
            Input::JobOver { ok: true } => done(context),
            any![
                Start, WorkersFound, NoWorker, WorkerChosen, JobAccepted, JobRejected, WorkerBusy,
                WorkerLeft, ChannelOpen, DialFailed, ResultsReceived, ReceiveFailed, LinkLost,
                Interrupt, JobCancelled, FileFound, FileMissing, Fired
            ]
            | Input::JobOver { ok: false } => Super,
        }
    }

    #[state(superstate = "engaged")]
    fn watching(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        results::watching(self, context, event)
    }

    #[action]
    fn enter_awaiting(context: &mut Out) {
        context.arm(Timer::Results, RESULTS);
    }

    #[action]
    fn end_awaiting(context: &mut Out) {
        context.cancel(Timer::Results);
    }

    #[state(
        superstate = "engaged",
        entry_action = "enter_awaiting",
        exit_action = "end_awaiting"
    )]
    fn awaiting(&mut self, ok: &mut bool, context: &mut Out, event: &Input) -> Outcome<State> {
        results::awaiting(self, *ok, context, event)
    }

    #[action]
    fn enter_fetching(context: &mut Out) {
        context.act(Act::ReceiveResults);
    }

    #[state(superstate = "engaged", entry_action = "enter_fetching")]
    fn fetching(
        &mut self,
        ok: &mut bool,
        complete: &mut bool,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        results::fetching(self, *ok, complete, context, event)
    }

    #[action]
    fn enter_concluding(context: &mut Out) {
        context.arm(Timer::Verdict, VERDICT);
    }

    #[action]
    fn end_concluding(context: &mut Out) {
        context.cancel(Timer::Verdict);
    }

    #[state(
        superstate = "engaged",
        entry_action = "enter_concluding",
        exit_action = "end_concluding"
    )]
    fn concluding(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        results::concluding(context, event)
    }

    #[action]
    fn enter_cancelling(context: &mut Out) {
        context.arm(Timer::Cancel, CANCEL);
        context.act(Act::SendJobCancel);
    }

    #[action]
    fn end_cancelling(context: &mut Out) {
        context.cancel(Timer::Cancel);
    }

    #[state(
        superstate = "alive",
        entry_action = "enter_cancelling",
        exit_action = "end_cancelling"
    )]
    fn cancelling(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::JobCancelled | Input::JobOver { .. } | Input::Fired(Timer::Cancel) => {
                fail(context, Why::Interrupted)
            }
            Input::LinkLost => context.ignore("the acknowledgement may still come through the hub"),
            any![
                Start, WorkersFound, NoWorker, WorkerChosen, JobAccepted, JobRejected, WorkerBusy,
                WorkerLeft, ChannelOpen, DialFailed, PackageSent, SendFailed, CommandsDone,
                ResultsAnnounced, ResultsReceived, ReceiveFailed, Interrupt, FileFound,
                FileMissing, Fired
            ] => Super,
        }
    }

    #[state]
    fn done(context: &mut Out, event: &Input) -> Outcome<State> {
        over(context, event)
    }

    #[state]
    fn failed(context: &mut Out, event: &Input) -> Outcome<State> {
        over(context, event)
    }
}

impl Submission {
    /// A submission of a package that is sent; it has not begun.
    pub fn new() -> Self {
        Self::with(Rules::default())
    }

    /// A submission of a package that is at the worker; it has not begun.
    pub fn named() -> Self {
        Self::with(Rules {
            named: true,
            ..Rules::default()
        })
    }
}

impl Default for Submission {
    fn default() -> Self {
        Self::new()
    }
}
