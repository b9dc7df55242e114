//! What several states of a job have in common.

use super::{Input, Next, Out, Outcome, Why};
use crate::charts::machine::any;

/// What comes after the end counts no more.
pub(super) fn over(out: &mut Out, event: &Input) -> Next {
    match event {
        any![
            PackageAnnounced, PackageReceived, PackageBroken, Prepared, PrepareFailed, StepStarted,
            StepEnded, RunEnded, Packed, NothingToReturn, PackFailed, ResultsSent, SendFailed,
            StopRequested, CancelRequested, LinkLost, Shutdown, WorkGone, ScratchGone, Fired
        ] => out.ignore("the one terminal message is out"),
    }
}

pub(super) fn settle(ok: bool) -> Outcome {
    if ok {
        Outcome::Completed
    } else {
        Outcome::Failed(Why::CommandFailed)
    }
}

/// A job that had failed keeps its first reason.
pub(super) fn worse(outcome: Outcome, why: Why) -> Outcome {
    match outcome {
        Outcome::Completed => Outcome::Failed(why),
        settled @ (Outcome::Failed(_) | Outcome::Cancelled) => settled,
    }
}
