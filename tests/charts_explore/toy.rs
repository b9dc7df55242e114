//! A small chart to put flaws into.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use loaner::charts::machine::{Bound, Chart, Out, StateSpec};

#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Input {
    Start,
    Stop,
    Fired(Timer),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    Deadline,
    Spare,
}

#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Act {
    Shout,
}

pub type Effects = Out<Timer, Act>;

/// What a state does with an event: it returns the next state.
pub fn sound(
    state: &'static str,
    count: &mut u64,
    event: &Input,
    out: &mut Effects,
) -> &'static str {
    let _ = count;
    out.deciding(state);
    match (state, event) {
        ("off", Input::Start) => {
            out.arm(Timer::Deadline, Duration::from_secs(5));
            "on"
        }
        ("on", Input::Stop) => {
            out.cancel(Timer::Deadline);
            "done"
        }
        ("on", Input::Fired(Timer::Deadline)) => {
            out.act(Act::Shout);
            "done"
        }
        _ => {
            let _: statig::Outcome<()> = out.ignore("it does not matter here");
            state
        }
    }
}

pub const OFF: StateSpec = StateSpec {
    name: "off",
    about: "Not begun.",
    bound: Bound::Open("nobody waits for it"),
};

pub const ON: StateSpec = StateSpec {
    name: "on",
    about: "At work.",
    bound: Bound::Timer("Deadline"),
};

pub const DONE: StateSpec = StateSpec {
    name: "done",
    about: "Over.",
    bound: Bound::Final,
};

/// A sound little chart (off, on, done), of which a flaw replaces one part.
pub trait Flaw: Clone + 'static {
    const STATES: &'static [StateSpec] = &[OFF, ON, DONE];
    const TIMERS: &'static [Timer] = &[Timer::Deadline];

    fn step(
        state: &'static str,
        count: &mut u64,
        event: &Input,
        out: &mut Effects,
    ) -> &'static str {
        sound(state, count, event, out)
    }
}

#[derive(Clone)]
pub struct Toy<F> {
    state: &'static str,
    count: u64,
    flaw: PhantomData<F>,
}

impl<F> fmt::Debug for Toy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.state, self.count)
    }
}

impl<F: Flaw> Chart for Toy<F> {
    const NAME: &'static str = "toy";
    const ABOUT: &'static str = "A toy.";
    type Input = Input;
    type Timer = Timer;
    type Act = Act;

    fn begin(&mut self, _out: &mut Effects) {}

    fn dispatch(&mut self, event: &Input, out: &mut Effects) {
        self.state = F::step(self.state, &mut self.count, event, out);
    }

    fn state(&self) -> &'static str {
        self.state
    }

    fn ancestors(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn states() -> &'static [StateSpec] {
        F::STATES
    }

    fn starts() -> Vec<Self> {
        vec![Toy {
            state: "off",
            count: 0,
            flaw: PhantomData,
        }]
    }

    fn alphabet() -> Vec<Input> {
        vec![Input::Start, Input::Stop]
    }

    fn timers() -> Vec<Timer> {
        F::TIMERS.to_vec()
    }

    fn fired(timer: Timer) -> Input {
        Input::Fired(timer)
    }

    fn timer_of(event: &Input) -> Option<Timer> {
        match event {
            Input::Fired(timer) => Some(*timer),
            Input::Start | Input::Stop => None,
        }
    }

    fn guard(&self, _event: &Input) -> &'static str {
        ""
    }
}

/// A flaw that answers some pairs in its own way: the next state, or nothing to leave the pair as it was.
macro_rules! flaw {
    ($name:ident, $($konst:ident = $value:expr;)* |$state:ident, $count:ident, $event:ident, $out:ident| $body:expr) => {
        #[derive(Clone)]
        struct $name;
        impl Flaw for $name {
            $( flaw!(@const $konst $value); )*
            fn step($state: &'static str, $count: &mut u64, $event: &Input, $out: &mut Effects) -> &'static str {
                let other: Option<&'static str> = $body;
                other.unwrap_or_else(|| sound($state, $count, $event, $out))
            }
        }
    };
    (@const STATES $value:expr) => { const STATES: &'static [StateSpec] = $value; };
    (@const TIMERS $value:expr) => { const TIMERS: &'static [Timer] = $value; };
}
pub(crate) use flaw;
