//! A chart as tables and pictures show it: what a superstate decides stands once, with the superstate.

use crate::charts::explore::{Deed, Exploration, Row};
use crate::charts::machine::Bound;

/// A superstate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub name: &'static str,
    /// The number of the superstate around it.
    pub parent: Option<usize>,
}

/// What the deciding state or superstate does with one event.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// The state or superstate that decides.
    pub source: &'static str,
    pub event: String,
    pub timed: bool,
    pub guard: &'static str,
    pub target: Option<&'static str>,
    /// What happens wherever it comes from.
    pub effects: Vec<Deed>,
    /// What happens besides, by the state that it comes from.
    pub besides: Vec<(&'static str, Vec<Deed>)>,
}

impl Rule {
    /// The timers that are stopped when one of their states is left, if that is all that differs between the states.
    pub fn stopped(&self) -> Option<Vec<&str>> {
        let mut timers = Vec::new();
        for deed in self.besides.iter().flat_map(|(_, deeds)| deeds) {
            match deed {
                Deed::Stop { timer } => {
                    if !timers.contains(&timer.as_str()) {
                        timers.push(timer.as_str());
                    }
                }
                Deed::Start { .. } | Deed::Act(_) => return None,
            }
        }
        Some(timers)
    }
}

/// One event of an arrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cause<'a> {
    pub event: &'a str,
    pub timed: bool,
    /// Empty where every case of the event leads to the same state.
    pub guard: &'static str,
}

/// Everything that leads from one state or superstate to one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrow<'a> {
    pub source: &'static str,
    pub target: &'static str,
    pub causes: Vec<Cause<'a>>,
}

/// The chart.
pub(super) struct Model<'a> {
    pub seen: &'a Exploration,
    /// Outer superstates before inner ones.
    pub groups: Vec<Group>,
    /// By source: each superstate before its first state, each state in the chart's order.
    pub rules: Vec<Rule>,
}

impl<'a> Model<'a> {
    pub fn of(seen: &'a Exploration) -> Self {
        let mut model = Model {
            seen,
            groups: Vec::new(),
            rules: Vec::new(),
        };
        let mut sources = Vec::new();
        for state in &seen.states {
            let mut parent = None;
            for name in state.ancestors.iter().rev() {
                let known = model.groups.iter().position(|group| group.name == *name);
                parent = Some(known.unwrap_or_else(|| {
                    sources.push(*name);
                    model.groups.push(Group { name, parent });
                    model.groups.len() - 1
                }));
            }
            sources.push(state.spec.name);
        }
        for source in sources {
            let rows = seen.rows.iter().filter(|row| row.ignored.is_none());
            model.add_rules(rows.filter(|row| row.decided_by == source).collect());
        }
        model
    }

    /// Adds the rules of one source.
    fn add_rules(&mut self, rows: Vec<&Row>) {
        let mut left = rows;
        while let Some(first) = left.first().copied() {
            let (alike, others): (Vec<&Row>, Vec<&Row>) = left.into_iter().partition(|row| {
                row.event == first.event && row.guard == first.guard && row.target == first.target
            });
            left = others;
            let common = |deed: &&Deed| {
                (alike.iter()).all(|row| row.effects.iter().any(|other| other.is_like(deed)))
            };
            let mut effects: Vec<Deed> = first.effects.iter().filter(common).cloned().collect();
            let mut besides = Vec::new();
            for row in &alike {
                for deed in &row.effects {
                    if let Some(mine) = effects.iter_mut().find(|mine| mine.is_like(deed)) {
                        mine.widen(deed);
                    }
                }
                let more: Vec<Deed> = (row.effects.iter())
                    .filter(|deed| !effects.iter().any(|mine| mine.is_like(deed)))
                    .cloned()
                    .collect();
                if !more.is_empty() {
                    besides.push((row.state, more));
                }
            }
            self.rules.push(Rule {
                source: first.decided_by,
                event: first.event.clone(),
                timed: first.timed,
                guard: first.guard,
                target: first.target,
                effects,
                besides,
            });
        }
    }

    /// The superstate of this name, by number.
    pub fn group(&self, name: &str) -> Option<usize> {
        self.groups.iter().position(|group| group.name == name)
    }

    /// The innermost superstate of a state, by number.
    pub fn group_of(&self, state: &str) -> Option<usize> {
        let seen = (self.seen.states.iter()).find(|seen| seen.spec.name == state)?;
        self.group(seen.ancestors.first()?)
    }

    /// Whether the state is in the superstate, however deep.
    pub fn is_within(&self, state: &str, group: &str) -> bool {
        (self.seen.states.iter())
            .any(|seen| seen.spec.name == state && seen.ancestors.contains(&group))
    }

    /// Whether a state is final.
    pub fn is_final(&self, state: &str) -> bool {
        (self.seen.states.iter())
            .any(|seen| seen.spec.name == state && seen.spec.bound == Bound::Final)
    }

    /// Whether the event leads to the rule's target whatever a guard sees, wherever the rule's source decides it.
    fn always(&self, rule: &Rule) -> bool {
        let rows = || self.seen.rows.iter().filter(|row| row.event == rule.event);
        rows()
            .filter(|row| row.decided_by == rule.source && row.ignored.is_none())
            .flat_map(|decided| rows().filter(|row| row.state == decided.state))
            .all(|row| row.target == rule.target)
    }

    /// What leads from one place to another; events that share both ends share an arrow.
    pub fn arrows(&self) -> Vec<Arrow<'_>> {
        let mut arrows: Vec<Arrow> = Vec::new();
        for rule in &self.rules {
            let Some(target) = rule.target else {
                continue;
            };
            let always = self.always(rule);
            let cause = Cause {
                event: &rule.event,
                timed: rule.timed,
                guard: if always { "" } else { rule.guard },
            };
            let known = (arrows.iter_mut()).find(|a| a.source == rule.source && a.target == target);
            match known {
                Some(arrow) if arrow.causes.contains(&cause) => {}
                Some(arrow) => arrow.causes.push(cause),
                None => arrows.push(Arrow {
                    source: rule.source,
                    target,
                    causes: vec![cause],
                }),
            }
        }
        arrows
    }
}
