//! `transfer`: one file on its way, in either direction (the file messages of the data channel). The bytes run beside
//! the chart, as a stream between channel and disk; it sees milestones only.

use std::time::Duration;

use statig::prelude::*;

use super::machine::{self, Bound, Chart, any, chart_core, statechart};

/// How long a file may make no progress. Longer than the 90 s in which a lost path may come back.
pub const STALL: Duration = Duration::from_secs(120);

/// What the stream reports.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Input {
    /// The first bytes moved.
    Started,
    /// More bytes moved since the last report; at most one report a second.
    Progressed,
    /// The end marker came, or was sent: no byte follows.
    Ended,
    /// Size and storage are right (receiving), or everything has left this side (sending).
    Verified,
    /// The file is cut short or too long, or disk or channel failed. The detail is with the actor.
    Broke,
    /// The transfer is no longer wanted.
    Abort,
    /// A timer fired.
    Fired(Timer),
}

/// The timers of this chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Until a transfer without progress is given up.
    Stall,
}

/// What the chart asks for.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Act {
    /// Stop the stream; what was written of the file goes away with it.
    StopStream,
    /// The file is complete under its final name: say so.
    ReportDone,
    /// There is no file: say so, and why.
    ReportFailed,
}

type Out = machine::Out<Timer, Act>;

#[derive(Debug, Clone, PartialEq, Default)]
struct Rules;

statechart! {
    /// One file, in either direction.
    Transfer of Rules {
        Announced "announced", Bound::Timer("Stall"), "Name and size are known; no byte has moved.";
        Streaming "streaming", Bound::Timer("Stall"), "Bytes move between channel and disk.";
        Verifying "verifying", Bound::Timer("Stall"), "All bytes are here, or sent: size and storage are checked.";
        Done "done", Bound::Final, "The file is complete under its final name.";
        Failed "failed", Bound::Final, "There is no file, and nothing is left of the attempt.";
    }
    under {
        Moving "moving";
    }
}

#[state_machine(
    initial = "State::announced()",
    before_dispatch = "Self::note",
    visibility = "pub(super)",
    state(derive(Debug, Clone, PartialEq))
)]
impl Rules {
    #[action]
    fn watch(context: &mut Out) {
        context.arm(Timer::Stall, STALL);
    }

    #[action]
    fn unwatch(context: &mut Out) {
        context.cancel(Timer::Stall);
    }

    /// What can go wrong at any time.
    #[superstate(entry_action = "watch", exit_action = "unwatch")]
    fn moving(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Broke | Input::Abort | Input::Fired(Timer::Stall) => {
                context.act(Act::StopStream);
                context.act(Act::ReportFailed);
                Transition(State::failed())
            }
            any![Started, Progressed, Ended, Verified] => context.undecided(),
        }
    }

    #[state(superstate = "moving")]
    fn announced(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Started => {
                context.arm(Timer::Stall, STALL);
                Transition(State::streaming())
            }
            // An empty file ends without ever having started.
            Input::Ended => {
                context.arm(Timer::Stall, STALL);
                Transition(State::verifying())
            }
            Input::Progressed => context.ignore("progress begins with the first bytes"),
            Input::Verified => context.ignore("there is nothing to verify yet"),
            any![Broke, Abort, Fired] => Super,
        }
    }

    #[state(superstate = "moving")]
    fn streaming(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Progressed => {
                context.arm(Timer::Stall, STALL);
                Handled
            }
            Input::Ended => {
                context.arm(Timer::Stall, STALL);
                Transition(State::verifying())
            }
            Input::Started => context.ignore("it has started"),
            Input::Verified => context.ignore("the end has not come yet"),
            any![Broke, Abort, Fired] => Super,
        }
    }

    #[state(superstate = "moving")]
    fn verifying(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Verified => {
                context.act(Act::ReportDone);
                Transition(State::done())
            }
            Input::Progressed => {
                context.arm(Timer::Stall, STALL);
                Handled
            }
            Input::Started | Input::Ended => context.ignore("the end has come already"),
            any![Broke, Abort, Fired] => Super,
        }
    }

    #[state]
    fn done(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            any![Started, Progressed, Ended, Verified, Broke, Abort] => {
                context.ignore("the file is complete")
            }
            Input::Fired(_) => context.ignore("the timer was cancelled"),
        }
    }

    #[state]
    fn failed(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            any![Started, Progressed, Ended, Verified, Broke, Abort] => {
                context.ignore("the transfer was given up")
            }
            Input::Fired(_) => context.ignore("the timer was cancelled"),
        }
    }
}

impl Transfer {
    /// A file that was just announced.
    pub fn new() -> Self {
        Self::with(Rules)
    }
}

impl Default for Transfer {
    fn default() -> Self {
        Self::new()
    }
}

impl Chart for Transfer {
    const NAME: &'static str = "transfer";
    const ABOUT: &'static str = "One file, in either direction, from its announcement to its final name, \
        or to nothing at all.";
    chart_core!();

    fn starts() -> Vec<Self> {
        vec![Self::new()]
    }

    fn alphabet() -> Vec<Input> {
        vec![
            Input::Started,
            Input::Progressed,
            Input::Ended,
            Input::Verified,
            Input::Broke,
            Input::Abort,
        ]
    }

    fn timers() -> Vec<Timer> {
        vec![Timer::Stall]
    }

    fn guard(&self, _event: &Input) -> &'static str {
        ""
    }
}
