//! What the explorer and the drawing want to know of `job`.

use std::time::Duration;

use super::{Act, Input, Job, Out, Outcome, State, Timer};
use crate::charts::machine::{self, Chart, chart_core};

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
            Input::StopRequested {
                deadline: Duration::from_secs(60),
            },
            Input::CancelRequested,
            Input::LinkLost,
            Input::Shutdown,
            Input::WorkGone,
            Input::ScratchGone,
        ]
    }

    fn timers() -> Vec<Timer> {
        vec![
            Timer::Assignment,
            Timer::Stop,
            Timer::Grace,
            Timer::Cleaning,
        ]
    }

    fn guard(&self, event: &Input) -> &'static str {
        match (self.0.state(), event) {
            (
                State::Stopping { late: true, .. },
                Input::RunEnded { .. } | Input::StepEnded { .. },
            ) => "it was killed",
            (
                State::Running {} | State::Stopping { .. },
                Input::StepEnded { ok: true } | Input::RunEnded { ok: true },
            ) => "all went well",
            (
                State::Running {} | State::Stopping { .. },
                Input::StepEnded { ok: false } | Input::RunEnded { ok: false },
            ) => "it failed",
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
