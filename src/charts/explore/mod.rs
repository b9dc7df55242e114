//! The explorer: walks every configuration that a chart can come into, and tries every event in each.
//!
//! A configuration is the chart's value together with the timers that are armed. Every event of the alphabet is tried
//! in each one, and the firing of every timer: an armed one is followed, an unarmed one must be ignored. What is wrong
//! becomes a [`Finding`]; what was seen becomes [`Row`]s, of which the [drawing](super::draw) makes tables and pictures.

mod finding;
mod row;
mod walk;

pub use finding::Finding;
pub use row::{Deed, Row, Seen, TimerUse, span, time};
pub use walk::explore_up_to;

use super::machine::Chart;

/// How many configurations a chart may have.
pub const LIMIT: usize = 200_000;

/// All that was seen of a chart.
#[derive(Debug, Clone)]
pub struct Exploration {
    /// The chart's name.
    pub name: &'static str,
    /// What it drives.
    pub about: &'static str,
    /// The states in which it begins.
    pub starts: Vec<&'static str>,
    /// Every state, in the order of a normal life.
    pub states: Vec<Seen>,
    /// Every timer.
    pub timers: Vec<TimerUse>,
    /// What each event does in each state, by state, then by event in the order of the alphabet.
    pub rows: Vec<Row>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How many configurations there are.
    pub configurations: usize,
    /// How many events were tried.
    pub tried: usize,
}

impl Exploration {
    /// Where the guard's words do not tell two outcomes of one event apart: a reader of the table would not either.
    pub fn ambiguities(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (i, a) in self.rows.iter().enumerate() {
            for b in &self.rows[i + 1..] {
                let same = a.state == b.state && a.event == b.event && a.guard == b.guard;
                if same {
                    found.push(format!(
                        "{}: \"{}\" [{}] has two outcomes: {} and {}",
                        a.state,
                        a.event,
                        a.guard,
                        outcome(a),
                        outcome(b),
                    ));
                }
            }
        }
        found
    }
}

fn outcome(row: &Row) -> String {
    let effects: Vec<String> = row.effects.iter().map(Deed::to_string).collect();
    match (row.ignored, row.target) {
        (Some(reason), _) => format!("ignored ({reason})"),
        (None, Some(target)) => format!("-> {target} ({})", effects.join(", ")),
        (None, None) => format!("stays ({})", effects.join(", ")),
    }
}

/// Explores a chart.
pub fn explore<C: Chart>() -> Exploration {
    explore_up_to::<C>(LIMIT)
}
