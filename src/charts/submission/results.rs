//! How a job that was sent comes to its end: its commands, its results, and the worker's verdict, some of which may be late or
//! missing.

use statig::prelude::*;

use super::book::{done, fail, stays};
use super::{Input, Out, Rules, State, Timer, Why, any};

/// Its output is shown until something comes of it.
pub(super) fn watching(rules: &Rules, context: &mut Out, event: &Input) -> Outcome<State> {
    match event {
        Input::CommandsDone { ok } => Transition(State::awaiting(*ok)),
        Input::ResultsAnnounced if rules.named => stays(context),
        Input::ResultsAnnounced => Transition(State::fetching(true, false)),
        Input::JobOver { ok: true } => done(context),
        any![
            Start, WorkersFound, NoWorker, WorkerChosen, JobAccepted, JobRejected, WorkerBusy,
            WorkerLeft, ChannelOpen, DialFailed, PackageSent, SendFailed, ResultsReceived,
            ReceiveFailed, LinkLost, Interrupt, JobCancelled, FileFound, FileMissing, Fired
        ]
        | Input::JobOver { ok: false } => Super,
    }
}

/// The commands are done.
pub(super) fn awaiting(
    rules: &Rules,
    ok: bool,
    context: &mut Out,
    event: &Input,
) -> Outcome<State> {
    match event {
        Input::ResultsAnnounced if rules.named => stays(context),
        Input::ResultsAnnounced => Transition(State::fetching(ok, false)),
        Input::JobOver { ok: true } => done(context),
        Input::Fired(Timer::Results) if ok => fail(context, Why::NotReceived),
        Input::Fired(Timer::Results) => fail(context, Why::JobFailed),
        any![
            Start, WorkersFound, NoWorker, WorkerChosen, JobAccepted, JobRejected, WorkerBusy,
            WorkerLeft, ChannelOpen, DialFailed, PackageSent, SendFailed, CommandsDone,
            ResultsReceived, ReceiveFailed, LinkLost, Interrupt, JobCancelled, FileFound,
            FileMissing, Fired
        ]
        | Input::JobOver { ok: false } => Super,
    }
}

/// Results are on their way: all is well where they and the verdict are here, in whichever order.
pub(super) fn fetching(
    rules: &Rules,
    ok: bool,
    complete: &mut bool,
    context: &mut Out,
    event: &Input,
) -> Outcome<State> {
    match event {
        Input::JobOver { ok: true } if *complete => context.ignore("the verdict is here already"),
        // Right behind the last bytes, the verdict may be here before they are on the disk.
        Input::JobOver { ok: true } => {
            *complete = true;
            Handled
        }
        Input::ResultsReceived if rules.negotiates && *complete => done(context),
        Input::ResultsReceived if rules.negotiates => Transition(State::concluding()),
        Input::ResultsReceived if ok => done(context),
        Input::ResultsReceived => fail(context, Why::JobFailed),
        Input::ReceiveFailed => fail(context, Why::NotReceived),
        any![
            Start, WorkersFound, NoWorker, WorkerChosen, JobAccepted, JobRejected, WorkerBusy,
            WorkerLeft, ChannelOpen, DialFailed, PackageSent, SendFailed, CommandsDone,
            ResultsAnnounced, LinkLost, Interrupt, JobCancelled, FileFound, FileMissing, Fired
        ]
        | Input::JobOver { ok: false } => Super,
    }
}

/// Only the verdict is missing.
pub(super) fn concluding(context: &mut Out, event: &Input) -> Outcome<State> {
    match event {
        Input::JobOver { ok: true } => done(context),
        Input::Fired(Timer::Verdict) => fail(context, Why::NoAnswer),
        any![
            Start, WorkersFound, NoWorker, WorkerChosen, JobAccepted, JobRejected, WorkerBusy,
            WorkerLeft, ChannelOpen, DialFailed, PackageSent, SendFailed, CommandsDone,
            ResultsAnnounced, ResultsReceived, ReceiveFailed, LinkLost, Interrupt, JobCancelled,
            FileFound, FileMissing, Fired
        ]
        | Input::JobOver { ok: false } => Super,
    }
}
