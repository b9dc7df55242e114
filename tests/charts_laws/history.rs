//! Random histories of a chart, on a clock of their own: armed timers have deadlines, time passes, and due timers fire.

mod past;

use std::collections::BTreeMap;
use std::time::Duration;

use loaner::charts::{Chart, Effect, Out};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;

pub use past::Moment;

/// How often the next timer fires, beside the weights of the events.
const TIMER: u32 = 6;

/// A chart as the histories need it.
pub trait Subject: Chart {
    /// How often an event comes, beside the others. What ends everything comes seldom, or little would be seen.
    fn weight(event: &Self::Input) -> u32 {
        let _ = event;
        4
    }

    /// Normal lives: a history begins with as much of one as chance will have, and so comes to see its later stages too.
    fn lives() -> Vec<Vec<Self::Input>> {
        vec![Vec::new()]
    }

    /// Sets the fields of an event that the alphabet leaves at one value.
    fn vary(event: Self::Input, dice: u8) -> Self::Input {
        let _ = dice;
        event
    }

    /// The same, where a field depends on what has happened so far.
    fn fill(history: &History<Self>, event: Self::Input, dice: u8) -> Self::Input {
        let _ = history;
        Self::vary(event, dice)
    }

    /// What comes of an effect at once, in whatever state the history is.
    fn answer(history: &History<Self>, act: &Self::Act) -> Option<Self::Input> {
        let (_, _) = (history, act);
        None
    }
}

/// What happened to one chart.
#[derive(Clone)]
pub struct History<C: Chart> {
    /// Which of the chart's starts it began from.
    pub start: usize,
    /// Every event, in order.
    pub moments: Vec<Moment<C>>,
    /// The present.
    pub now: Duration,
    chart: C,
    due: BTreeMap<C::Timer, Due>,
    armed: u64,
    /// Which of two timers that are due at the same moment fires first: the one armed last, or the one armed first.
    last_first: bool,
}

#[derive(Debug, Clone, Copy)]
struct Due {
    at: Duration,
    order: u64,
}

impl<C: Subject> History<C> {
    fn new(start: Index, last_first: bool) -> Self {
        let mut starts = C::starts();
        let start = start.index(starts.len());
        let mut history = History {
            start,
            moments: Vec::new(),
            now: Duration::ZERO,
            chart: starts.swap_remove(start),
            due: BTreeMap::new(),
            armed: 0,
            last_first,
        };
        history.happens(None);
        history
    }

    fn happens(&mut self, event: Option<C::Input>) {
        let from = self.chart.state();
        let mut out = Out::default();
        match &event {
            None => self.chart.begin(&mut out),
            Some(event) => self.chart.dispatch(event, &mut out),
        }
        for effect in out.effects() {
            match effect {
                Effect::Arm(timer, after) => {
                    self.armed += 1;
                    let due = Due {
                        at: self.now + *after,
                        order: self.armed,
                    };
                    self.due.insert(*timer, due);
                }
                Effect::Cancel(timer) => {
                    self.due.remove(timer);
                }
                Effect::Act(_) => {}
            }
        }
        self.moments.push(Moment {
            at: self.now,
            event,
            from,
            to: self.chart.state(),
            effects: out.effects().to_vec(),
            ignored: out.ignored(),
            undecided: out.is_undecided(),
            chart: self.chart.clone(),
            running: self
                .due
                .iter()
                .map(|(timer, due)| (*timer, due.at))
                .collect(),
        });
        let acts: Vec<C::Act> = self
            .moments
            .iter()
            .last()
            .map_or(Vec::new(), |moment| moment.acts().cloned().collect());
        for act in acts {
            if let Some(answer) = C::answer(self, &act) {
                self.happens(Some(answer));
            }
        }
    }

    /// The timer that fires next.
    fn next(&self) -> Option<(C::Timer, Duration)> {
        let order = |due: &Due| {
            if self.last_first {
                u64::MAX - due.order
            } else {
                due.order
            }
        };
        self.due
            .iter()
            .min_by_key(|(_, due)| (due.at, order(due)))
            .map(|(timer, due)| (*timer, due.at))
    }

    /// Lets time pass; what is due on the way fires.
    fn pass_until(&mut self, until: Duration) {
        while let Some((timer, at)) = self.next().filter(|(_, at)| *at <= until) {
            self.now = at;
            self.due.remove(&timer);
            self.happens(Some(C::fired(timer)));
        }
        self.now = until;
    }

    /// One of these events, by weight.
    fn choose(events: Vec<C::Input>, dice: u16) -> Option<C::Input> {
        let total: u32 = events.iter().map(C::weight).sum();
        let mut left = u32::from(dice).checked_rem(total)?;
        for event in events {
            let weight = C::weight(&event);
            if left < weight {
                return Some(event);
            }
            left -= weight;
        }
        None
    }

    /// The events that the chart does not ignore now.
    fn heard(&self) -> Vec<C::Input> {
        let counts = |event: &C::Input| {
            let mut out = Out::default();
            self.chart.clone().dispatch(event, &mut out);
            out.ignored().is_none()
        };
        C::alphabet().into_iter().filter(counts).collect()
    }

    fn tell(&mut self, events: Vec<C::Input>, dice: u16, vary: u8) {
        if let Some(event) = Self::choose(events, dice) {
            let event = C::fill(self, event, vary);
            self.happens(Some(event));
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Tell(dice, vary) => self.tell(C::alphabet(), dice, vary),
            Step::Advance(dice, vary) => {
                let heard = self.heard();
                let total: u32 = heard.iter().map(C::weight).sum();
                if self.next().is_some() && u32::from(dice) % (total + TIMER) >= total {
                    self.step(&Step::ToTimer);
                } else {
                    self.tell(heard, dice, vary);
                }
            }
            Step::ToTimer => {
                if let Some((_, at)) = self.next() {
                    self.pass_until(at);
                }
            }
            Step::Wait(millis) => self.pass_until(self.now + Duration::from_millis(millis)),
            Step::JustBeforeTimer(millis) => {
                if let Some((_, at)) = self.next() {
                    self.now = self
                        .now
                        .max(at.saturating_sub(Duration::from_millis(millis)));
                }
            }
        }
    }

    /// Lets time pass, and then this come.
    pub fn then(&mut self, after: Duration, event: C::Input) {
        self.pass_until(self.now + after);
        self.happens(Some(event));
    }

    /// The same history, with nothing but time after it.
    pub fn left_alone(&self, time: Duration) -> Self {
        let mut alone = self.clone();
        alone.pass_until(alone.now + time);
        alone
    }
}

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    /// Any event.
    Tell(u16, u8),
    /// An event that the present state does not ignore, or the next timer.
    Advance(u16, u8),
    /// Time passes, in milliseconds.
    Wait(u64),
    /// The next timer fires.
    ToTimer,
    /// Time passes until so many milliseconds before the next timer fires; with 0, the timer is due and has not fired yet.
    JustBeforeTimer(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u16>(), any::<u8>()).prop_map(|(dice, vary)| Step::Tell(dice, vary)),
        10 => (any::<u16>(), any::<u8>()).prop_map(|(dice, vary)| Step::Advance(dice, vary)),
        2 => (0..2_000_u64).prop_map(Step::Wait),
        1 => (0..120_000_u64).prop_map(Step::Wait),
        2 => Just(Step::ToTimer),
        2 => (0..=2_u64).prop_map(Step::JustBeforeTimer),
    ]
}

/// Random histories of a chart.
pub fn histories<C: Subject>() -> impl Strategy<Value = History<C>> {
    let life = (any::<Index>(), any::<Index>());
    let steps = prop::collection::vec(step(), 0..80);
    (any::<Index>(), life, any::<bool>(), steps).prop_map(
        |(start, (life, lived), last_first, steps)| {
            let mut history = History::new(start, last_first);
            let lives = C::lives();
            let life = life.get(&lives);
            for event in life.iter().take(lived.index(life.len() + 1)) {
                history.happens(Some(event.clone()));
            }
            for step in &steps {
                history.step(step);
            }
            history
        },
    )
}

/// Where counter-examples are kept, and how many histories a law is tried with: twice `PROPTEST_CASES` (256).
pub fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases * 2,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource(
            "proptest-regressions",
        ))),
        ..default
    }
}
