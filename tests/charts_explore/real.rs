//! The charts of the house.

use std::time::{Duration, Instant};

use loaner::charts::explore::{Exploration, LIMIT, explore};
use loaner::charts::machine::Chart;
use loaner::charts::{ChartVisitor, visit_all};

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
