//! Events through the charts, and the charts explored.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Instant;

use loaner::charts::explore::explore;
use loaner::charts::{Chart, ChartVisitor, Effect, Out, visit_all};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::report::{Figure, Reach, median};

/// Events that each chart is timed over.
const EVENTS: usize = 4096;
/// The longest life before a new one begins.
const LIFE: usize = 64;
/// How often an event that would be ignored is exchanged for another: most of what happens to an actor counts.
const CHOOSY: usize = 8;
/// How often the events are gone through for one sample.
const PASSES: u32 = 20;
const SAMPLES: usize = 9;
const EXPLORATIONS: usize = 5;

/// One event through the slowest chart, each chart for the record, and all of them explored.
pub fn measure() -> Vec<Figure> {
    let mut timed = Timed(Vec::new());
    visit_all(&mut timed);
    let mut samples = vec![Vec::new(); timed.0.len()];
    for _ in 0..SAMPLES {
        for (chart, samples) in timed.0.iter_mut().zip(&mut samples) {
            samples.push((chart.pass)());
        }
    }
    let mut exploring = Vec::new();
    for _ in 0..EXPLORATIONS {
        let began = Instant::now();
        visit_all(&mut Explored);
        exploring.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let mut charts: Vec<_> = timed
        .0
        .iter()
        .map(|chart| chart.name)
        .zip(samples)
        .collect();
    charts.sort_by(|a, b| f64::total_cmp(&middle(&b.1), &middle(&a.1)));
    let mut figures = Vec::new();
    if let Some((name, samples)) = charts.first() {
        let what = format!("one event, slowest chart ({name})");
        figures.push(Figure::median(
            &what,
            "ns",
            Reach::AtMost(1000.0),
            samples.clone(),
        ));
    }
    for (name, samples) in charts {
        figures.push(Figure::median(
            &format!("  {name}"),
            "ns",
            Reach::Nothing,
            samples,
        ));
    }
    figures.push(Figure::median(
        "exploring all charts",
        "ms",
        Reach::AtMost(2000.0),
        exploring,
    ));
    figures
}

fn middle(samples: &[f64]) -> f64 {
    median(samples).unwrap_or_default()
}

struct Explored;

impl ChartVisitor for Explored {
    fn visit<C: Chart>(&mut self) {
        black_box(explore::<C>());
    }
}

struct TimedChart {
    name: &'static str,
    /// Goes through all lives; nanoseconds per event.
    pass: Box<dyn FnMut() -> f64>,
}

struct Timed(Vec<TimedChart>);

impl ChartVisitor for Timed {
    fn visit<C: Chart>(&mut self) {
        let lives = lives::<C>();
        let events: usize = lives.iter().map(|life| life.events.len()).sum();
        let mut out = Out::default();
        self.0.push(TimedChart {
            name: C::NAME,
            pass: Box::new(move || {
                let began = Instant::now();
                for _ in 0..PASSES {
                    for life in &lives {
                        life.live(&mut out);
                    }
                }
                began.elapsed().as_secs_f64() * 1e9 / (events as f64 * f64::from(PASSES))
            }),
        });
    }
}

/// A chart from its beginning, and what happens to it.
struct Life<C: Chart> {
    start: C,
    events: Vec<C::Input>,
}

impl<C: Chart> Life<C> {
    fn live(&self, out: &mut Out<C::Timer, C::Act>) {
        let mut chart = self.start.clone();
        chart.begin(out);
        out.reset();
        for event in &self.events {
            chart.dispatch(black_box(event), out);
            black_box(out.effects());
            out.reset();
        }
    }
}

/// Lives as they may happen: timers fire only when they are armed, and few events are ignored.
fn lives<C: Chart>() -> Vec<Life<C>> {
    let mut random = StdRng::seed_from_u64(1);
    let (alphabet, starts) = (C::alphabet(), C::starts());
    let mut lives = Vec::new();
    let mut left = EVENTS;
    while left > 0 {
        let start = starts[lives.len() % starts.len()].clone();
        let mut out = Out::default();
        let mut chart = start.clone();
        let mut armed = BTreeSet::new();
        chart.begin(&mut out);
        note_timers(&mut out, &mut armed);
        let mut events = Vec::new();
        while left > 0 && events.len() < LIFE && !chart.is_final() {
            let mut next = (chart.clone(), alphabet[0].clone());
            for _ in 0..CHOOSY {
                let which = random.random_range(0..alphabet.len() + armed.len());
                let event = match alphabet.get(which) {
                    Some(event) => event.clone(),
                    None => armed
                        .iter()
                        .nth(which - alphabet.len())
                        .map_or_else(|| alphabet[0].clone(), |timer| C::fired(*timer)),
                };
                next = (chart.clone(), event);
                out.reset();
                next.0.dispatch(&next.1, &mut out);
                if out.ignored().is_none() {
                    break;
                }
            }
            if let Some(timer) = C::timer_of(&next.1) {
                armed.remove(&timer);
            }
            note_timers(&mut out, &mut armed);
            chart = next.0;
            events.push(next.1);
            left -= 1;
        }
        lives.push(Life { start, events });
    }
    lives
}

fn note_timers<T: Copy + Ord, A>(out: &mut Out<T, A>, armed: &mut BTreeSet<T>) {
    for effect in out.drain() {
        match effect {
            Effect::Arm(timer, _) => {
                armed.insert(timer);
            }
            Effect::Cancel(timer) => {
                armed.remove(&timer);
            }
            Effect::Act(_) => {}
        }
    }
    out.reset();
}
