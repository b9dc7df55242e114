//! What the explorer and the drawing want to know of `submission`.

use super::{Act, DIALS, Input, Out, State, Submission, Timer};
use crate::charts::machine::{self, Chart, chart_core};

impl Chart for Submission {
    const NAME: &'static str = "submission";
    const ABOUT: &'static str = "The client's side of a job: find a worker, reserve it, connect, send the package or name one that the \
        worker has, watch, fetch the results, and know how it ended.";
    chart_core!();

    fn starts() -> Vec<Self> {
        vec![Self::new(), Self::named()]
    }

    fn alphabet() -> Vec<Input> {
        vec![
            Input::Start,
            Input::WorkersFound,
            Input::NoWorker,
            Input::WorkerChosen { negotiates: true },
            Input::WorkerChosen { negotiates: false },
            Input::JobAccepted,
            Input::JobRejected,
            Input::WorkerBusy,
            Input::WorkerLeft,
            Input::ChannelOpen,
            Input::DialFailed,
            Input::PackageSent,
            Input::SendFailed,
            Input::CommandsDone { ok: true },
            Input::CommandsDone { ok: false },
            Input::ResultsAnnounced,
            Input::ResultsReceived,
            Input::ReceiveFailed,
            Input::JobOver { ok: true },
            Input::JobOver { ok: false },
            Input::LinkLost,
            Input::Interrupt,
            Input::JobCancelled,
            Input::FileFound,
            Input::FileMissing,
        ]
    }

    fn timers() -> Vec<Timer> {
        vec![
            Timer::Answer,
            Timer::Dial,
            Timer::Validation,
            Timer::Results,
            Timer::Verdict,
            Timer::Cancel,
        ]
    }

    fn guard(&self, event: &Input) -> &'static str {
        let ours = self.0.inner().negotiates;
        let named = self.0.inner().named;
        match (self.0.state(), event) {
            (
                State::Discovering {} | State::Choosing {},
                Input::WorkerChosen { negotiates: true },
            ) => "a Loaner worker",
            (
                State::Discovering {} | State::Choosing {},
                Input::WorkerChosen { negotiates: false },
            ) => "a foreign worker",
            (
                State::Dialling { attempt, .. },
                Input::DialFailed | Input::LinkLost | Input::Fired(Timer::Dial),
            ) => {
                if *attempt < DIALS {
                    "attempts are left"
                } else {
                    "the last attempt"
                }
            }
            (State::Dialling { .. }, Input::ChannelOpen)
            | (State::Watching {} | State::Awaiting { .. }, Input::ResultsAnnounced) => match named
            {
                true => "a package at the worker",
                false => "a package that is sent",
            },
            (State::Fetching { complete: true, .. }, Input::JobOver { ok: true }) => "said before",
            (State::Fetching { complete: true, .. }, Input::ResultsReceived) if ours => {
                "a Loaner worker, and its verdict is here"
            }
            (State::Fetching { .. }, Input::ResultsReceived) if ours => "a Loaner worker",
            (State::Fetching { ok: true, .. }, Input::ResultsReceived) => {
                "a foreign worker, all went well"
            }
            (State::Fetching { ok: false, .. }, Input::ResultsReceived) => {
                "a foreign worker, a command failed"
            }
            (State::Awaiting { ok: true, .. }, Input::Fired(Timer::Results)) => "all went well",
            (State::Awaiting { ok: false, .. }, Input::Fired(Timer::Results)) => "a command failed",
            (
                State::Dialling { .. }
                | State::Validating {}
                | State::Sending {}
                | State::Watching {}
                | State::Awaiting { .. }
                | State::Fetching { .. }
                | State::Concluding {},
                event,
            ) => match event {
                Input::Interrupt if ours => "a Loaner worker",
                Input::Interrupt => "a foreign worker",
                Input::JobOver { ok: true } | Input::CommandsDone { ok: true } => "all went well",
                Input::JobOver { ok: false } | Input::CommandsDone { ok: false } => "it failed",
                Input::FileMissing | Input::Fired(Timer::Validation) if ours => "a Loaner worker",
                Input::FileMissing | Input::Fired(Timer::Validation) => "a foreign worker",
                _ => "",
            },
            _ => "",
        }
    }

    fn act_name(act: &Act) -> String {
        match act {
            Act::ReportFailed(why) => {
                format!("report failed: {}", machine::words(&format!("{why:?}")))
            }
            other => machine::words(other.as_ref()),
        }
    }
}
