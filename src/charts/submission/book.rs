//! What the rules of `submission` decide in more than one state: the choice of a worker, reports out of turn, and the end.

use statig::prelude::*;

use super::{Act, Input, Out, Rules, State, Why, any};

impl Rules {
    /// One of ours is asked first; any other is connected to at once.
    pub(super) fn chosen(&mut self, negotiates: bool) -> Outcome<State> {
        self.negotiates = negotiates;
        Transition(if negotiates {
            State::requesting()
        } else {
            State::dialling(1)
        })
    }

    /// Fails before the job has begun: one of ours need not wait for it.
    pub(super) fn release(&self, out: &mut Out, why: Why) -> Outcome<State> {
        if self.negotiates {
            out.act(Act::ReleaseWorker);
        }
        fail(out, why)
    }
}

/// What no stage takes that the submission is in.
pub(super) fn out_of_turn(out: &mut Out, event: &Input) -> Outcome<State> {
    match event {
        Input::Interrupt => fail(out, Why::Interrupted),
        Input::Start => out.ignore("it has begun already"),
        Input::WorkersFound | Input::NoWorker => {
            out.ignore("nothing was asked of the hub: a late answer")
        }
        Input::WorkerChosen { .. } => {
            out.ignore("the worker is chosen already, or not to be chosen yet")
        }
        Input::JobAccepted | Input::JobRejected => out.ignore("no request is open: a late answer"),
        Input::WorkerBusy => {
            out.ignore("the worker is ours; a late answer to an attempt that was given up")
        }
        Input::WorkerLeft => {
            out.ignore("none is chosen yet, or the connection to it needs no hub any more")
        }
        Input::ChannelOpen | Input::DialFailed => out.ignore("no connection is being set up"),
        Input::PackageSent | Input::SendFailed => {
            out.ignore("the package is no longer on its way, or not yet")
        }
        Input::FileFound | Input::FileMissing => {
            out.ignore("no file of the worker was asked for, or it has answered already")
        }
        Input::CommandsDone { .. } => out.ignore("the commands are done already, or not begun"),
        Input::ResultsAnnounced => out.ignore("results are taken once, after the package was sent"),
        Input::ResultsReceived | Input::ReceiveFailed => out.ignore("no results are on their way"),
        Input::JobOver { .. } | Input::JobCancelled => out.ignore("no job was sent yet"),
        Input::LinkLost => out.ignore("there is no connection to lose"),
        Input::Fired(_) => out.ignore("the timer belongs to another state"),
    }
}

/// Nothing counts after the end.
pub(super) fn over(out: &mut Out, event: &Input) -> Outcome<State> {
    match event {
        any![
            Start, WorkersFound, NoWorker, WorkerChosen, JobAccepted, JobRejected, WorkerBusy,
            WorkerLeft, ChannelOpen, DialFailed, PackageSent, SendFailed, CommandsDone,
            ResultsAnnounced, ResultsReceived, ReceiveFailed, JobOver, LinkLost, Interrupt,
            JobCancelled, FileFound, FileMissing, Fired
        ] => out.ignore("the submission is over"),
    }
}

pub(super) fn fail(out: &mut Out, why: Why) -> Outcome<State> {
    out.act(Act::ReportFailed(why));
    Transition(State::failed())
}

/// Fails where a file may be on its way.
pub(super) fn break_off(out: &mut Out, why: Why) -> Outcome<State> {
    out.act(Act::StopStreams);
    fail(out, why)
}

/// Nothing comes back from a job on the worker's own files.
pub(super) fn stays(out: &mut Out) -> Outcome<State> {
    out.ignore("the results of a package at the worker stay there")
}

pub(super) fn done(out: &mut Out) -> Outcome<State> {
    out.act(Act::ReportDone);
    Transition(State::done())
}
