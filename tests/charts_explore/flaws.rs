//! One flaw at a time, each found for what it is.

use std::time::Duration;

use loaner::charts::explore::{Exploration, Finding, Row, explore, explore_up_to};
use loaner::charts::machine::{Bound, StateSpec};

use crate::toy::{Act, DONE, Effects, Flaw, Input, OFF, ON, Timer, Toy, flaw, sound};

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

fn words(row: &Row) -> String {
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
