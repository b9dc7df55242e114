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

/// An event that is ignored by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ignored<'a> {
    /// The state or superstate that ignores it.
    pub source: &'static str,
    pub event: &'a str,
    /// Empty where every case of the event is ignored for this reason.
    pub guard: &'static str,
    pub reason: &'static str,
}

/// A state, or a superstate with what is in it, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Child {
    State(usize),
    Group(usize),
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
        model.forget_guards();
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

    /// The states in a superstate, however deep.
    pub fn members(&self, group: &str) -> impl Iterator<Item = &'static str> {
        (self.seen.states.iter())
            .filter(move |seen| seen.ancestors.contains(&group))
            .map(|seen| seen.spec.name)
    }

    /// What is directly in a superstate, or outside of any, in the chart's order.
    pub fn children(&self, parent: Option<usize>) -> Vec<Child> {
        let mut children = Vec::new();
        for (number, state) in self.seen.states.iter().enumerate() {
            let mut child = Child::State(number);
            let mut around = self.group_of(state.spec.name);
            while around != parent
                && let Some(group) = around
            {
                child = Child::Group(group);
                around = self.groups[group].parent;
            }
            if around == parent && !children.contains(&child) {
                children.push(child);
            }
        }
        children
    }

    /// What is ignored, in the order of the states.
    pub fn ignored(&self) -> Vec<Ignored<'_>> {
        let mut all = Vec::new();
        for row in &self.seen.rows {
            let Some(reason) = row.ignored else {
                continue;
            };
            let always = (self.seen.rows.iter())
                .filter(|other| other.decided_by == row.decided_by && other.event == row.event)
                .all(|other| other.ignored == Some(reason));
            let ignored = Ignored {
                source: row.decided_by,
                event: &row.event,
                guard: if always { "" } else { row.guard },
                reason,
            };
            if !all.contains(&ignored) {
                all.push(ignored);
            }
        }
        all
    }

    /// Whether a state is final.
    pub fn is_final(&self, state: &str) -> bool {
        (self.seen.states.iter())
            .any(|seen| seen.spec.name == state && seen.spec.bound == Bound::Final)
    }

    /// Whether all cases of the rule's event are alike in this, wherever the rule's source decides it.
    fn always(&self, rule: &Rule, alike: impl Fn(&Row) -> bool) -> bool {
        let rows = || self.seen.rows.iter().filter(|row| row.event == rule.event);
        rows()
            .filter(|row| row.decided_by == rule.source && row.ignored.is_none())
            .flat_map(|decided| rows().filter(|row| row.state == decided.state))
            .all(alike)
    }

    /// Takes guards away that make no difference.
    fn forget_guards(&mut self) {
        for number in 0..self.rules.len() {
            let rule = &self.rules[number];
            let same = |other: &&Rule| {
                other.target == rule.target
                    && other.effects == rule.effects
                    && other.besides == rule.besides
            };
            let decided = self.always(rule, |row| {
                row.ignored.is_none() && row.decided_by == rule.source
            });
            if decided && self.cases(rule).all(|other| same(&other)) {
                self.rules[number].guard = "";
            }
        }
        let rules = std::mem::take(&mut self.rules);
        for rule in rules {
            let known = self
                .cases(&rule)
                .any(|other| other.guard == rule.guard && other.target == rule.target);
            if !known {
                self.rules.push(rule);
            }
        }
    }

    /// The rules of the same source for the same event.
    fn cases(&self, rule: &Rule) -> impl Iterator<Item = &Rule> {
        (self.rules.iter())
            .filter(move |other| other.source == rule.source && other.event == rule.event)
    }

    /// What leads from one place to another; events that share both ends share an arrow.
    pub fn arrows(&self) -> Vec<Arrow<'_>> {
        let mut arrows: Vec<Arrow> = Vec::new();
        for rule in &self.rules {
            let Some(target) = rule.target else {
                continue;
            };
            let always = self.always(rule, |row| row.target == rule.target);
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
