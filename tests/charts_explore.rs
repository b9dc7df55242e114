//! The explorer finds what is wrong with a chart, one flaw at a time, and finds nothing wrong with the real ones.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use loaner::charts::explore::{Exploration, Finding, LIMIT, explore, explore_up_to};
use loaner::charts::machine::{Bound, Chart, Out, StateSpec};
use loaner::charts::{ChartVisitor, visit_all};

#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
enum Input {
    Start,
    Stop,
    Fired(Timer),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    Deadline,
    Spare,
}

#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
enum Act {
    Shout,
}

type Effects = Out<Timer, Act>;

/// What a state does with an event: it returns the next state.
fn sound(state: &'static str, count: &mut u64, event: &Input, out: &mut Effects) -> &'static str {
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

const OFF: StateSpec = StateSpec {
    name: "off",
    about: "Not begun.",
    bound: Bound::Open("nobody waits for it"),
};
const ON: StateSpec = StateSpec {
    name: "on",
    about: "At work.",
    bound: Bound::Timer("Deadline"),
};
const DONE: StateSpec = StateSpec {
    name: "done",
    about: "Over.",
    bound: Bound::Final,
};

/// A sound little chart (off, on, done), of which a flaw replaces one part.
trait Flaw: Clone + 'static {
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
struct Toy<F> {
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

fn only(exploration: &Exploration, expected: Finding) {
    assert_eq!(exploration.findings, [expected]);
}

fn findings<F: Flaw>() -> Exploration {
    explore::<Toy<F>>()
}

#[test]
fn a_sound_chart_has_no_findings_and_its_table_is_complete() {
    flaw!(Sound, |_s, _c, _e, _o| None);
    let seen = findings::<Sound>();
    assert_eq!(seen.findings, []);
    assert_eq!(seen.ambiguities(), Vec::<String>::new());
    assert_eq!(seen.configurations, 3);
    assert_eq!(seen.tried, 9);
    assert_eq!(seen.starts, ["off"]);
    let second = Duration::from_secs(5);
    assert_eq!(seen.timers[0].bounds, Some((second, second)));
    let acting: Vec<String> = seen
        .rows
        .iter()
        .filter(|row| row.ignored.is_none())
        .map(|row| {
            format!(
                "{} {} {:?} {}",
                row.state,
                row.event,
                row.target,
                words(row)
            )
        })
        .collect();
    assert_eq!(
        acting,
        [
            "off start Some(\"on\") start deadline 5 s",
            "on stop Some(\"done\") stop deadline",
            "on deadline fires Some(\"done\") shout",
        ]
    );
    assert_eq!(seen.rows.len(), 9);
}

fn words(row: &loaner::charts::explore::Row) -> String {
    let words: Vec<String> = row.effects.iter().map(ToString::to_string).collect();
    words.join(", ")
}

#[test]
fn an_undecided_pair() {
    flaw!(Undecided, |state, _c, event, out| {
        (state == "off" && *event == Input::Stop).then(|| {
            let _: statig::Outcome<()> = out.undecided();
            state
        })
    });
    let seen = findings::<Undecided>();
    let finding = Finding::Undecided {
        state: "off",
        event: "stop".to_owned(),
        guard: "",
    };
    assert_eq!(finding.to_string(), "off: nobody decides \"stop\"");
    only(&seen, finding);
}

#[test]
fn an_event_that_vanishes_without_a_reason() {
    flaw!(Silent, |state, _c, event, _o| {
        (state == "off" && *event == Input::Stop).then_some(state)
    });
    only(
        &findings::<Silent>(),
        Finding::Silent {
            state: "off",
            event: "stop".to_owned(),
            guard: "",
        },
    );
}

#[test]
fn an_ignored_event_that_acts() {
    flaw!(IgnoredActs, |state, _c, event, out| {
        (state == "off" && *event == Input::Stop).then(|| {
            out.act(Act::Shout);
            let _: statig::Outcome<()> = out.ignore("nobody hears it");
            state
        })
    });
    only(
        &findings::<IgnoredActs>(),
        Finding::IgnoredActs {
            state: "off",
            event: "stop".to_owned(),
        },
    );
}

#[test]
fn a_state_that_nothing_leads_to() {
    const ISLAND: StateSpec = StateSpec {
        name: "island",
        about: "Far away.",
        bound: Bound::Open("nobody is there"),
    };
    flaw!(Unreached, STATES = &[OFF, ON, ISLAND, DONE]; |_s, _c, _e, _o| None);
    only(
        &findings::<Unreached>(),
        Finding::Unreached { state: "island" },
    );
}

#[test]
fn a_state_that_is_not_in_the_list() {
    flaw!(Unlisted, STATES = &[OFF, DONE]; |_s, _c, _e, _o| None);
    only(
        &findings::<Unlisted>(),
        Finding::UnlistedState { state: "on" },
    );
}

#[test]
fn a_timer_that_is_not_in_the_list_and_one_that_is_never_armed() {
    flaw!(UnlistedTimer, TIMERS = &[Timer::Spare]; |_s, _c, _e, _o| None);
    assert_eq!(
        findings::<UnlistedTimer>().findings,
        [
            Finding::UnlistedTimer {
                timer: "Deadline".to_owned()
            },
            Finding::NeverArmed {
                timer: "Spare".to_owned()
            },
        ]
    );
}

#[test]
fn a_timer_that_runs_on_where_nobody_listens_to_it() {
    const WORKING: StateSpec = StateSpec {
        bound: Bound::Open("nobody waits"),
        ..OFF
    };
    flaw!(Deaf, STATES = &[WORKING, ON, DONE]; |state, _c, event, out| {
        (state == "on" && *event == Input::Start).then(|| {
            out.act(Act::Shout);
            "off"
        })
    });
    only(
        &findings::<Deaf>(),
        Finding::DeafTimer {
            state: "off",
            timer: "Deadline".to_owned(),
        },
    );
}

#[test]
fn the_firing_of_a_timer_that_is_not_armed() {
    flaw!(Stray, |state, _c, event, out| {
        (state == "off" && *event == Input::Fired(Timer::Deadline)).then(|| {
            out.act(Act::Shout);
            state
        })
    });
    only(
        &findings::<Stray>(),
        Finding::StrayTimer {
            state: "off",
            timer: "Deadline".to_owned(),
        },
    );
}

#[test]
fn a_timer_that_outlives_the_chart() {
    flaw!(Leak, |state, _c, event, out| {
        (state == "on" && *event == Input::Stop).then(|| {
            out.act(Act::Shout);
            "done"
        })
    });
    let leaked = "Deadline".to_owned();
    assert_eq!(
        findings::<Leak>().findings,
        [
            Finding::LeakedTimer {
                state: "done",
                timer: leaked.clone()
            },
            Finding::DeafTimer {
                state: "done",
                timer: leaked
            },
        ]
    );
}

#[test]
fn a_state_without_the_deadline_that_it_promises() {
    flaw!(Late, |state, _c, event, out| {
        (state == "on" && *event == Input::Fired(Timer::Deadline)).then(|| {
            // Said, and not armed again.
            out.act(Act::Shout);
            state
        })
    });
    assert_eq!(
        findings::<Late>().findings,
        [
            Finding::NoDeadline {
                state: "on",
                timer: "Deadline",
            },
            Finding::StrayTimer {
                state: "on",
                timer: "Deadline".to_owned(),
            },
        ]
    );
}

#[test]
fn a_final_state_that_acts() {
    flaw!(Restless, |state, _c, event, out| {
        (state == "done" && *event == Input::Start).then(|| {
            out.act(Act::Shout);
            state
        })
    });
    only(
        &findings::<Restless>(),
        Finding::FinalActs {
            state: "done",
            event: "start".to_owned(),
        },
    );
}

#[test]
fn a_final_state_that_remembers_is_not_at_rest_either() {
    flaw!(Counting, |state, count, event, out| {
        (state == "done" && *event == Input::Start && *count == 0).then(|| {
            *count += 1;
            let _: statig::Outcome<()> = out.ignore("only counted");
            state
        })
    });
    only(
        &findings::<Counting>(),
        Finding::FinalActs {
            state: "done",
            event: "start".to_owned(),
        },
    );
}

#[test]
fn a_point_from_which_there_is_no_end() {
    const STUCK: StateSpec = StateSpec {
        name: "stuck",
        about: "No way out.",
        bound: Bound::Open("forgotten"),
    };
    flaw!(Stuck, STATES = &[OFF, ON, STUCK, DONE]; |state, _c, event, _o| {
        (state == "off" && *event == Input::Stop).then_some("stuck")
    });
    only(&findings::<Stuck>(), Finding::DeadEnd { state: "stuck" });
}

#[test]
fn a_chart_without_final_states_has_no_dead_ends() {
    const OVER: StateSpec = StateSpec {
        bound: Bound::Open("it may rest here for ever"),
        ..DONE
    };
    flaw!(Endless, STATES = &[OFF, ON, OVER]; |_s, _c, _e, _o| None);
    assert_eq!(findings::<Endless>().findings, []);
}

#[test]
fn an_event_that_counts_nowhere() {
    flaw!(DeadEvent, |state, _c, event, out| {
        (state == "on" && *event == Input::Stop).then(|| {
            let _: statig::Outcome<()> = out.ignore("not now");
            state
        })
    });
    only(
        &findings::<DeadEvent>(),
        Finding::DeadEvent {
            event: "stop".to_owned(),
        },
    );
}

#[test]
fn a_chart_that_grows_without_bound() {
    flaw!(Growing, |state, count, event, out| {
        (state == "off" && *event == Input::Stop).then(|| {
            *count += 1;
            out.act(Act::Shout);
            state
        })
    });
    only(
        &explore_up_to::<Toy<Growing>>(1000),
        Finding::TooLarge { limit: 1000 },
    );
}

#[test]
fn two_outcomes_that_no_guard_tells_apart() {
    flaw!(Fickle, |state, count, event, out| {
        match (state, event) {
            ("off", Input::Stop) if *count == 0 => {
                *count = 1;
                out.act(Act::Shout);
                Some("off")
            }
            _ => None,
        }
    });
    assert_eq!(
        findings::<Fickle>().ambiguities(),
        ["off: \"stop\" [] has two outcomes: stays (shout) and ignored (it does not matter here)"]
    );
}

struct Sound {
    seen: Vec<Exploration>,
}

impl ChartVisitor for Sound {
    fn visit<C: Chart>(&mut self) {
        self.seen.push(explore::<C>());
    }
}

fn all() -> Vec<Exploration> {
    let mut visitor = Sound { seen: Vec::new() };
    visit_all(&mut visitor);
    visitor.seen
}

#[test]
fn nothing_is_wrong_with_the_real_charts() {
    let begun = Instant::now();
    let charts = all();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "exploring took {took:?}");
    let wrong: Vec<String> = charts
        .iter()
        .flat_map(|seen| (seen.findings.iter()).map(|finding| format!("{}: {finding}", seen.name)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for seen in charts {
        assert!(seen.configurations >= seen.states.len() && seen.configurations < LIMIT);
    }
}

#[test]
fn the_guards_of_the_real_charts_tell_every_outcome_apart() {
    let unclear: Vec<String> = all()
        .iter()
        .flat_map(|seen| {
            (seen.ambiguities().into_iter()).map(|text| format!("{}: {text}", seen.name))
        })
        .collect();
    assert!(unclear.is_empty(), "{}", unclear.join("\n"));
}
