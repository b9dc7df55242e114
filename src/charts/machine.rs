//! What every chart has in common: the trait, the collector of effects, and the glue to statig.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

/// One thing that a chart asks for. Timers are the same for every chart; the rest is the chart's own `Act`.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect<T, A> {
    /// Start the timer; if it is running already, start it anew.
    Arm(T, Duration),
    /// Stop the timer; its event no longer comes.
    Cancel(T),
    /// Anything else, for the chart's own actor.
    Act(A),
}

/// How long a state may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// While in the state, the timer of this name is armed, and its firing is not ignored.
    Timer(&'static str),
    /// There is no deadline, and this is why.
    Open(&'static str),
    /// Nothing comes after this state.
    Final,
}

/// What the documentation says of one state.
#[derive(Debug, Clone, Copy)]
pub struct StateSpec {
    /// The name, as in logs and pages.
    pub name: &'static str,
    /// What it means, in one sentence.
    pub about: &'static str,
    /// How long it may last.
    pub bound: Bound,
}

/// A pure statechart.
pub trait Chart: Clone + Debug + 'static {
    /// The chart's name, as in file names, logs and pages.
    const NAME: &'static str;
    /// What it drives, in a sentence or two.
    const ABOUT: &'static str;
    /// An event.
    type Input: Clone + Debug + AsRef<str> + Send;
    /// Its timers.
    type Timer: Copy + Eq + Ord + Hash + Debug + Unpin;
    /// Its effects other than timers.
    type Act: Clone + Debug + PartialEq + AsRef<str> + Unpin;

    /// Enters the initial state: its entry actions may arm a timer. Called once, before the first event.
    fn begin(&mut self, out: &mut Out<Self::Timer, Self::Act>);
    /// Handles one event. Effects, and what was decided, are left in `out`.
    fn dispatch(&mut self, event: &Self::Input, out: &mut Out<Self::Timer, Self::Act>);
    /// The name of the present state.
    fn state(&self) -> &'static str;
    /// The superstates of the present state, innermost first.
    fn ancestors(&self) -> Vec<&'static str>;
    /// Every state, in the order of a normal life.
    fn states() -> &'static [StateSpec];

    /// The charts that exploration begins with.
    fn starts() -> Vec<Self>;
    /// Every event but the timers', in every variation that a guard tells apart.
    fn alphabet() -> Vec<Self::Input>;
    /// Every timer.
    fn timers() -> Vec<Self::Timer>;
    /// The event of a timer that fired.
    fn fired(timer: Self::Timer) -> Self::Input;
    /// The timer, if the event is the firing of one.
    fn timer_of(event: &Self::Input) -> Option<Self::Timer>;
    /// What a guard sees in this event in the present state ("from the holder"); empty where no guard looks.
    fn guard(&self, event: &Self::Input) -> &'static str;

    /// The event in words, without its fields.
    fn event_name(event: &Self::Input) -> String {
        match Self::timer_of(event) {
            Some(timer) => format!("{} fires", words(&format!("{timer:?}"))),
            None => words(event.as_ref()),
        }
    }

    /// The effect in words, without ids.
    fn act_name(act: &Self::Act) -> String {
        words(act.as_ref())
    }

    /// Whether the present state is final.
    fn is_final(&self) -> bool {
        let name = self.state();
        Self::states()
            .iter()
            .any(|spec| spec.name == name && spec.bound == Bound::Final)
    }
}

/// Collects what a chart decides on one event.
#[derive(Debug, Clone)]
pub struct Out<T, A> {
    effects: Vec<Effect<T, A>>,
    decided_by: &'static str,
    ignored: Option<&'static str>,
    undecided: bool,
}

impl<T, A> Default for Out<T, A> {
    fn default() -> Self {
        Out {
            effects: Vec::new(),
            decided_by: "",
            ignored: None,
            undecided: false,
        }
    }
}

impl<T, A> Out<T, A> {
    /// Asks for an effect of the chart's own.
    pub fn act(&mut self, act: A) {
        self.effects.push(Effect::Act(act));
    }

    /// Starts a timer, anew if it runs.
    pub fn arm(&mut self, timer: T, after: Duration) {
        self.effects.push(Effect::Arm(timer, after));
    }

    /// Stops a timer.
    pub fn cancel(&mut self, timer: T) {
        self.effects.push(Effect::Cancel(timer));
    }

    /// Ignores the event, by name and for a reason.
    pub fn ignore<S>(&mut self, reason: &'static str) -> statig::Outcome<S> {
        self.ignored = Some(reason);
        statig::Outcome::Handled
    }

    /// Says that no state has decided this event. The explorer fails on it.
    pub fn undecided<S>(&mut self) -> statig::Outcome<S> {
        self.undecided = true;
        statig::Outcome::Handled
    }

    /// Remembers which state or superstate is deciding: the last one asked.
    pub fn deciding(&mut self, name: &'static str) {
        self.decided_by = name;
    }

    /// The effects, in order.
    pub fn effects(&self) -> &[Effect<T, A>] {
        &self.effects
    }

    /// Takes the effects out.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect<T, A>> {
        self.effects.drain(..)
    }

    /// The state or superstate that decided the event.
    pub fn decided_by(&self) -> &'static str {
        self.decided_by
    }

    /// Why the event was ignored, if it was.
    pub fn ignored(&self) -> Option<&'static str> {
        self.ignored
    }

    /// Whether nobody decided the event.
    pub fn is_undecided(&self) -> bool {
        self.undecided
    }

    /// Makes it ready for the next event.
    pub fn reset(&mut self) {
        self.effects.clear();
        self.decided_by = "";
        self.ignored = None;
        self.undecided = false;
    }
}

/// Any of these events, whatever their fields: `any![Start, Fired]` is `Input::Start { .. } | Input::Fired { .. }`.
/// The events are still named one by one: the compiler finds the one that is missing.
macro_rules! any {
    ($($event:ident),+ $(,)?) => { $(Input::$event { .. })|+ };
}
pub(crate) use any;

/// Implements the part of [`Chart`] that only statig knows, and the hook that records who decided an event.
///
/// `$chart` is a newtype around the statig machine of `$rules`; the module has statig's `State` in scope.
macro_rules! statechart {
    (
        $(#[$doc:meta])*
        $chart:ident of $rules:ident {
            $( $variant:ident $name:literal, $bound:expr, $about:literal; )+
        }
        $( under { $( $sup:ident $sup_name:literal; )+ } )?
    ) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $chart(::statig::blocking::StateMachine<$rules>);

        impl ::std::fmt::Debug for $chart {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                write!(f, "{:?} {:?}", self.0.state(), self.0.inner())
            }
        }

        impl $chart {
            fn with(rules: $rules) -> Self {
                use ::statig::blocking::IntoStateMachineExt as _;
                $chart(rules.state_machine())
            }

            #[allow(clippy::redundant_closure_call)]
            fn ancestors_of(state: &State) -> Vec<&'static str> {
                use ::statig::blocking::State as _;
                #[allow(unused_mut, unused_variables)]
                let mut names = Vec::new();
                let mut state = state.clone();
                if let Some(_superstate) = state.superstate() {
                    $( $crate::charts::machine::climb!(_superstate, names, $( $sup $sup_name ),+); )?
                }
                names
            }

            const STATES: &'static [$crate::charts::StateSpec] = &[
                $( $crate::charts::StateSpec { name: $name, about: $about, bound: $bound } ),+
            ];

            fn name_of(state: &State) -> &'static str {
                match state { $( State::$variant { .. } => $name ),+ }
            }
        }

        impl $rules {
            fn note(
                &mut self,
                at: ::statig::StateOrSuperstate<
                    '_,
                    State,
                    <$rules as ::statig::blocking::IntoStateMachine>::Superstate<'_>,
                >,
                _event: &Input,
                out: &mut Out,
            ) {
                match at {
                    ::statig::StateOrSuperstate::State(state) => out.deciding($chart::name_of(state)),
                    ::statig::StateOrSuperstate::Superstate(_superstate) => {
                        $( match _superstate { $( Superstate::$sup { .. } => out.deciding($sup_name) ),+ } )?
                    }
                }
            }
        }
    };
}
pub(crate) use statechart;

/// Pushes the names of a superstate and of its superstates.
macro_rules! climb {
    ($superstate:ident, $names:ident, $( $sup:ident $sup_name:literal ),+) => {{
        fn climb(mut at: Superstate, names: &mut Vec<&'static str>) {
            use ::statig::blocking::Superstate as _;
            names.push(match at { $( Superstate::$sup { .. } => $sup_name ),+ });
            if let Some(parent) = at.superstate() {
                climb(parent, names);
            }
        }
        climb($superstate, &mut $names);
    }};
}
pub(crate) use climb;

/// The methods of [`Chart`] that are the same for every chart made by [`statechart`].
macro_rules! chart_core {
    () => {
        type Input = Input;
        type Timer = Timer;
        type Act = Act;

        fn begin(&mut self, out: &mut Out) {
            self.0.init_with_context(out);
        }

        fn dispatch(&mut self, event: &Input, out: &mut Out) {
            self.0.handle_with_context(event, out);
        }

        fn state(&self) -> &'static str {
            Self::name_of(self.0.state())
        }

        fn ancestors(&self) -> Vec<&'static str> {
            Self::ancestors_of(self.0.state())
        }

        fn states() -> &'static [$crate::charts::StateSpec] {
            Self::STATES
        }

        fn fired(timer: Timer) -> Input {
            Input::Fired(timer)
        }

        fn timer_of(event: &Input) -> Option<Timer> {
            match event {
                Input::Fired(timer) => Some(*timer),
                _ => None,
            }
        }
    };
}
pub(crate) use chart_core;

/// `SendKeepAlive` becomes `send keep alive`.
pub fn words(camel: &str) -> String {
    let mut text = String::with_capacity(camel.len() + 8);
    for c in camel.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}
