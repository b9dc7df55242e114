//! What was seen of a chart, as text: the material of tables and pictures.

use std::fmt;
use std::time::Duration;

use crate::charts::machine::{Chart, Effect, StateSpec, words};

/// An effect in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A timer is started. Where its length varies, from the shortest to the longest that was seen.
    Start {
        /// Which timer.
        timer: String,
        /// The shortest time.
        least: Duration,
        /// The longest time.
        most: Duration,
    },
    /// A timer is stopped.
    Stop {
        /// Which timer.
        timer: String,
    },
    /// An effect of the chart's own.
    Act(String),
}

impl Deed {
    pub(super) fn of<C: Chart>(effect: &Effect<C::Timer, C::Act>) -> Deed {
        match effect {
            Effect::Arm(timer, after) => Deed::Start {
                timer: words(&format!("{timer:?}")),
                least: *after,
                most: *after,
            },
            Effect::Cancel(timer) => Deed::Stop {
                timer: words(&format!("{timer:?}")),
            },
            Effect::Act(act) => Deed::Act(C::act_name(act)),
        }
    }

    /// Whether it is the same thing, whatever the time.
    pub(in crate::charts) fn is_like(&self, other: &Deed) -> bool {
        match (self, other) {
            (Deed::Start { timer, .. }, Deed::Start { timer: same, .. }) => timer == same,
            _ => self == other,
        }
    }

    pub(in crate::charts) fn widen(&mut self, other: &Deed) {
        if let (
            Deed::Start { least, most, .. },
            Deed::Start {
                least: shorter,
                most: longer,
                ..
            },
        ) = (self, other)
        {
            *least = (*least).min(*shorter);
            *most = (*most).max(*longer);
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::Start { timer, least, most } => {
                write!(f, "start {timer} {}", span(*least, *most))
            }
            Deed::Stop { timer } => write!(f, "stop {timer}"),
            Deed::Act(act) => f.write_str(act),
        }
    }
}

/// What one event does in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The state.
    pub state: &'static str,
    /// The event in words.
    pub event: String,
    /// Whether the event is a timer's firing.
    pub timed: bool,
    /// What a guard sees in the event; empty where no guard looks.
    pub guard: &'static str,
    /// The state or superstate that decided.
    pub decided_by: &'static str,
    /// The next state; none if the chart stays where it is.
    pub target: Option<&'static str>,
    /// The effects, in order; those of leaving and entering states among them.
    pub effects: Vec<Deed>,
    /// Why the event is ignored, if it is.
    pub ignored: Option<&'static str>,
}

impl Row {
    /// Whether both say the same, but for the length of a timer.
    pub(super) fn is_like(&self, other: &Row) -> bool {
        self.guard == other.guard
            && self.target == other.target
            && self.ignored == other.ignored
            && self.decided_by == other.decided_by
            && self.effects.len() == other.effects.len()
            && (self.effects.iter().zip(&other.effects)).all(|(a, b)| a.is_like(b))
    }

    pub(super) fn widen(&mut self, other: &Row) {
        for (mine, theirs) in self.effects.iter_mut().zip(&other.effects) {
            mine.widen(theirs);
        }
    }
}

/// What was seen of one state.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What the chart says of it.
    pub spec: StateSpec,
    /// Its superstates, innermost first; empty if it was never reached.
    pub ancestors: Vec<&'static str>,
    /// The timers that can be armed in it, in words.
    pub timers: Vec<String>,
}

impl Seen {
    pub(super) fn of(spec: &StateSpec) -> Self {
        Seen {
            spec: *spec,
            ancestors: Vec::new(),
            timers: Vec::new(),
        }
    }
}

/// What was seen of one timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerUse {
    /// Its name in the chart's code, as in [`Bound::Timer`](crate::charts::Bound::Timer).
    pub id: String,
    /// Its name in words.
    pub name: String,
    /// The shortest and the longest time that it was armed for; none if it never was.
    pub bounds: Option<(Duration, Duration)>,
}

impl TimerUse {
    pub(super) fn of(timer: &impl fmt::Debug) -> Self {
        let id = format!("{timer:?}");
        TimerUse {
            name: words(&id),
            id,
            bounds: None,
        }
    }
}

/// A length of time as a person writes it: `15 s`, `500 ms`, `1.5 s`, `5 min`, `2 h`.
pub fn time(length: Duration) -> String {
    let (ms, s) = (length.as_millis(), length.as_secs());
    if ms % 1000 != 0 {
        if ms < 1000 {
            format!("{ms} ms")
        } else {
            format!("{} s", ms as f64 / 1000.0)
        }
    } else if s >= 7200 && s.is_multiple_of(3600) {
        format!("{} h", s / 3600)
    } else if s >= 120 && s.is_multiple_of(60) {
        format!("{} min", s / 60)
    } else {
        format!("{s} s")
    }
}

/// One length of time, or the range from the shortest to the longest.
pub fn span(least: Duration, most: Duration) -> String {
    if least == most {
        time(least)
    } else {
        format!("{} to {}", time(least), time(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_a_person_writes_them() {
        let ms = Duration::from_millis;
        assert_eq!(time(ms(500)), "500 ms");
        assert_eq!(time(ms(1500)), "1.5 s");
        assert_eq!(time(ms(90_000)), "90 s");
        assert_eq!(time(ms(300_000)), "5 min");
        assert_eq!(time(ms(7_200_000)), "2 h");
        assert_eq!(time(ms(0)), "0 s");
        assert_eq!(span(ms(500), ms(60_000)), "500 ms to 60 s");
        assert_eq!(span(ms(1000), ms(1000)), "1 s");
    }
}
