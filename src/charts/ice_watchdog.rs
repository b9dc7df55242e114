//! `ice_watchdog`: how long a connection may stay disconnected before the worker gives it up
//! (worker-connection.md, ICE Connection State Management; reading.md 12).

use std::time::Duration;

use statig::prelude::*;

use super::machine::{self, Bound, Chart, any, chart_core, statechart};

/// How long a disconnected connection is waited for.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// How often the connection's state is looked at meanwhile.
pub const TICK: Duration = Duration::from_secs(1);

/// What the connection reports.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Input {
    /// ICE is connected or completed.
    Connected,
    /// ICE is disconnected: no answer for a few seconds, not given up by the stack.
    Disconnected,
    /// ICE has failed for good.
    Failed,
    /// The connection was closed, by either side: there is nothing left to watch.
    Closed,
    /// A timer fired.
    Fired(Timer),
}

/// The timers of this chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Until the connection's state is looked at again.
    Tick,
    /// Until the connection is given up.
    Patience,
}

/// What the chart asks for.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Act {
    /// Look at the connection's ICE state and report it.
    LookAtIce,
    /// The path is gone for now; say so.
    ReportSuspect,
    /// The path is back; say so.
    ReportRecovered,
    /// The connection is lost for good: reset it.
    ResetConnection,
}

type Out = machine::Out<Timer, Act>;

#[derive(Debug, Clone, PartialEq, Default)]
struct Rules;

statechart! {
    /// The watchdog of one connection.
    IceWatchdog of Rules {
        Quiet "quiet", Bound::Open("a healthy connection may last for ever; the stack reports when it is not"),
            "The connection is healthy, or not up yet.";
        Suspect "suspect", Bound::Timer("Patience"), "ICE is disconnected: looked at every second, for 90 s.";
        Reset "reset", Bound::Final, "The connection was given up.";
        Ended "ended", Bound::Final, "The connection was closed; nothing is watched any more.";
    }
    under {
        Watching "watching";
    }
}

#[state_machine(
    initial = "State::quiet()",
    before_dispatch = "Self::note",
    visibility = "pub(super)",
    state(derive(Debug, Clone, PartialEq))
)]
impl Rules {
    /// What ends the watch, whatever the state of the path.
    #[superstate]
    fn watching(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Failed => {
                context.act(Act::ResetConnection);
                Transition(State::reset())
            }
            Input::Closed => Transition(State::ended()),
            any![Connected, Disconnected, Fired] => context.undecided(),
        }
    }

    #[state(superstate = "watching")]
    fn quiet(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Disconnected => {
                context.act(Act::ReportSuspect);
                Transition(State::suspect())
            }
            Input::Connected => context.ignore("connected is what quiet means"),
            Input::Fired(_) => {
                context.ignore("both timers are cancelled while the path is healthy")
            }
            Input::Failed | Input::Closed => Super,
        }
    }

    #[action]
    fn start_waiting(context: &mut Out) {
        context.arm(Timer::Patience, PATIENCE);
        context.arm(Timer::Tick, TICK);
    }

    #[action]
    fn stop_waiting(context: &mut Out) {
        context.cancel(Timer::Tick);
        context.cancel(Timer::Patience);
    }

    #[state(
        superstate = "watching",
        entry_action = "start_waiting",
        exit_action = "stop_waiting"
    )]
    fn suspect(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Connected => {
                context.act(Act::ReportRecovered);
                Transition(State::quiet())
            }
            Input::Fired(Timer::Tick) => {
                context.act(Act::LookAtIce);
                context.arm(Timer::Tick, TICK);
                Handled
            }
            Input::Fired(Timer::Patience) => {
                context.act(Act::ResetConnection);
                Transition(State::reset())
            }
            Input::Disconnected => context.ignore("the 90 s run from the first disconnection"),
            Input::Failed | Input::Closed => Super,
        }
    }

    #[state]
    fn reset(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            any![Connected, Disconnected, Failed, Closed] => context
                .ignore("the connection was given up; the next one has a watchdog of its own"),
            Input::Fired(_) => context.ignore("both timers were cancelled"),
        }
    }

    #[state]
    fn ended(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            any![Connected, Disconnected, Failed, Closed] => {
                context.ignore("a closed connection is not watched")
            }
            Input::Fired(_) => context.ignore("both timers were cancelled"),
        }
    }
}

impl IceWatchdog {
    /// The watchdog of a connection that is not up yet.
    pub fn new() -> Self {
        Self::with(Rules)
    }

    /// Whether the path is gone for now.
    pub fn is_suspicious(&self) -> bool {
        match self.0.state() {
            State::Suspect {} => true,
            State::Quiet {} | State::Reset {} | State::Ended {} => false,
        }
    }
}

impl Default for IceWatchdog {
    fn default() -> Self {
        Self::new()
    }
}

impl Chart for IceWatchdog {
    const NAME: &'static str = "ice_watchdog";
    const ABOUT: &'static str = "Gives a disconnected connection 90 s to come back, looking every second, and then resets it.";
    chart_core!();

    fn starts() -> Vec<Self> {
        vec![Self::new()]
    }

    fn alphabet() -> Vec<Input> {
        vec![
            Input::Connected,
            Input::Disconnected,
            Input::Failed,
            Input::Closed,
        ]
    }

    fn timers() -> Vec<Timer> {
        vec![Timer::Tick, Timer::Patience]
    }

    fn guard(&self, _event: &Input) -> &'static str {
        ""
    }
}
