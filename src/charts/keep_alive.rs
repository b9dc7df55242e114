//! `keep_alive`: a beat on one data channel every 15 s, from the moment it is open until it closes
//! (worker-connection.md, Keep-Alive Mechanism).

use std::time::Duration;

use statig::prelude::*;

use super::machine::{self, Bound, Chart, chart_core, statechart};

/// Time between two beats.
pub const BEAT: Duration = Duration::from_secs(15);

/// What happens to the channel.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Input {
    /// The channel is open, or was open before anyone looked.
    ChannelOpen,
    /// The channel closed.
    ChannelClosed,
    /// A timer fired.
    Fired(Timer),
}

/// The timers of this chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Until the next beat.
    Beat,
}

/// What the chart asks for.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Act {
    /// Send `KEEP_ALIVE` as a binary message.
    SendKeepAlive,
}

type Out = machine::Out<Timer, Act>;

#[derive(Debug, Clone, PartialEq, Default)]
struct Rules;

statechart! {
    /// The keep-alive of one channel.
    KeepAlive of Rules {
        Silent "silent", Bound::Open("the channel is not open yet; the peer chart bounds how long that may take"),
            "The channel is not open yet.";
        Beating "beating", Bound::Timer("Beat"), "The channel is open: one beat every 15 s.";
        Ended "ended", Bound::Final, "The channel has closed; it never opens again.";
    }
}

#[state_machine(
    initial = "State::silent()",
    before_dispatch = "Self::note",
    visibility = "pub(super)",
    state(derive(Debug, Clone, PartialEq))
)]
impl Rules {
    #[state]
    fn silent(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::ChannelOpen => Transition(State::beating()),
            Input::ChannelClosed => Transition(State::ended()),
            Input::Fired(Timer::Beat) => {
                context.ignore("no beat is armed before the channel is open")
            }
        }
    }

    #[action]
    fn start_beating(context: &mut Out) {
        context.arm(Timer::Beat, BEAT);
    }

    #[action]
    fn stop_beating(context: &mut Out) {
        context.cancel(Timer::Beat);
    }

    #[state(entry_action = "start_beating", exit_action = "stop_beating")]
    fn beating(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::ChannelOpen => {
                context.ignore("it is open already: two beats would be one too many")
            }
            Input::ChannelClosed => Transition(State::ended()),
            Input::Fired(Timer::Beat) => {
                context.act(Act::SendKeepAlive);
                context.arm(Timer::Beat, BEAT);
                Handled
            }
        }
    }

    #[state]
    fn ended(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::ChannelOpen | Input::ChannelClosed => {
                context.ignore("a closed channel stays closed")
            }
            Input::Fired(Timer::Beat) => context.ignore("the beat was cancelled with the channel"),
        }
    }
}

impl KeepAlive {
    /// The keep-alive of a channel that is not open yet.
    pub fn new() -> Self {
        Self::with(Rules)
    }
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self::new()
    }
}

impl Chart for KeepAlive {
    const NAME: &'static str = "keep_alive";
    const ABOUT: &'static str = "A binary KEEP_ALIVE on an open channel every 15 s, so that the path stays open in every NAT on the way.";
    chart_core!();

    fn starts() -> Vec<Self> {
        vec![Self::new()]
    }

    fn alphabet() -> Vec<Input> {
        vec![Input::ChannelOpen, Input::ChannelClosed]
    }

    fn timers() -> Vec<Timer> {
        vec![Timer::Beat]
    }

    fn guard(&self, _event: &Input) -> &'static str {
        ""
    }
}
