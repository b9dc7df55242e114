//! The walk itself.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use super::{Deed, Exploration, Finding, Row, Seen, TimerUse};
use crate::charts::machine::{Bound, Chart, Effect, Out, words};

/// Explores a chart of at most `limit` configurations; a larger one is a [`Finding::TooLarge`].
pub fn explore_up_to<C: Chart>(limit: usize) -> Exploration {
    let mut walk = Walk::<C>::new(limit);
    for mut chart in C::starts() {
        let mut out = Out::default();
        chart.begin(&mut out);
        let mut armed = Vec::new();
        walk.apply(&mut armed, &out);
        walk.identify(&chart, &armed);
        if !walk.starts.contains(&chart.state()) {
            walk.starts.push(chart.state());
        }
        walk.arrive(&chart, armed);
    }
    while let Some(at) = walk.queue.pop_front() {
        walk.try_everything(&at);
        if walk.too_large {
            break;
        }
    }
    walk.conclude()
}

/// One event that is tried, with what does not depend on the state.
struct Probe<C: Chart> {
    event: C::Input,
    timer: Option<C::Timer>,
    /// Events that differ only in their fields have one name, and one place in the tables.
    name: usize,
}

struct Config<C: Chart> {
    id: usize,
    chart: C,
    armed: Vec<C::Timer>,
    key: String,
}

/// What is remembered of a configuration after it was left.
struct Trace {
    state: usize,
    is_final: bool,
}

struct Walk<C: Chart> {
    limit: usize,
    too_large: bool,
    tried: usize,
    probes: Vec<Probe<C>>,
    names: Vec<String>,
    timers: Vec<C::Timer>,
    uses: Vec<TimerUse>,
    /// States by number: the listed ones first, in their order.
    states: Vec<&'static str>,
    seen: Vec<Seen>,
    starts: Vec<&'static str>,
    known: HashMap<String, usize>,
    traces: Vec<Trace>,
    steps: Vec<(usize, usize)>,
    queue: VecDeque<Config<C>>,
    /// By state, then by name of the event.
    rows: Vec<Vec<Vec<Row>>>,
    /// Names of events that did something somewhere.
    lively: Vec<bool>,
    findings: Vec<Finding>,
    /// The text by which the configuration at hand is known.
    key: String,
}

impl<C: Chart> Walk<C> {
    fn new(limit: usize) -> Self {
        let timers = C::timers();
        let firings = timers.iter().map(|timer| (C::fired(*timer), Some(*timer)));
        let mut names = Vec::new();
        let mut probes = Vec::new();
        for (event, timer) in C::alphabet().into_iter().map(|e| (e, None)).chain(firings) {
            let name = C::event_name(&event);
            let name = match names.iter().position(|known| *known == name) {
                Some(known) => known,
                None => {
                    names.push(name);
                    names.len() - 1
                }
            };
            probes.push(Probe { event, timer, name });
        }
        let uses = timers.iter().map(TimerUse::of).collect();
        let seen: Vec<Seen> = C::states().iter().map(Seen::of).collect();
        Walk {
            limit,
            too_large: false,
            tried: 0,
            rows: vec![vec![Vec::new(); names.len()]; seen.len()],
            lively: vec![false; names.len()],
            states: C::states().iter().map(|spec| spec.name).collect(),
            probes,
            names,
            timers,
            uses,
            seen,
            starts: Vec::new(),
            known: HashMap::new(),
            traces: Vec::new(),
            steps: Vec::new(),
            queue: VecDeque::new(),
            findings: Vec::new(),
            key: String::new(),
        }
    }

    fn find(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Leaves in `self.key` the text by which a configuration is known.
    fn identify(&mut self, chart: &C, armed: &[C::Timer]) {
        self.key.clear();
        // Writing to a string does not fail.
        let _ = write!(self.key, "{chart:?} | {armed:?}");
    }

    /// Keeps the set of armed timers.
    fn apply(&mut self, armed: &mut Vec<C::Timer>, out: &Out<C::Timer, C::Act>) {
        for effect in out.effects() {
            match effect {
                Effect::Arm(timer, after) => {
                    if let Err(place) = armed.binary_search(timer) {
                        armed.insert(place, *timer);
                    }
                    self.note_use(*timer, *after);
                }
                Effect::Cancel(timer) => armed.retain(|other| other != timer),
                Effect::Act(_) => {}
            }
        }
    }

    fn note_use(&mut self, timer: C::Timer, after: Duration) {
        let place = self.timers.iter().position(|known| *known == timer);
        match place.and_then(|place| self.uses.get_mut(place)) {
            Some(seen) => {
                let (least, most) = seen.bounds.unwrap_or((after, after));
                seen.bounds = Some((least.min(after), most.max(after)));
            }
            None => self.find(Finding::UnlistedTimer {
                timer: format!("{timer:?}"),
            }),
        }
    }

    /// The number of the configuration that `self.key` names; a new one is checked and put in the queue.
    fn arrive(&mut self, chart: &C, armed: Vec<C::Timer>) -> usize {
        if let Some(id) = self.known.get(self.key.as_str()) {
            return *id;
        }
        let id = self.traces.len();
        let state = self.state_number(chart.state());
        let is_final = chart.is_final();
        self.traces.push(Trace { state, is_final });
        self.check_timers(chart, state, &armed);
        if id >= self.limit {
            self.too_large = true;
        }
        self.known.insert(self.key.clone(), id);
        self.queue.push_back(Config {
            id,
            chart: chart.clone(),
            armed,
            key: self.key.clone(),
        });
        id
    }

    fn state_number(&mut self, name: &'static str) -> usize {
        if let Some(number) = self.states.iter().position(|known| *known == name) {
            return number;
        }
        self.find(Finding::UnlistedState { state: name });
        self.states.push(name);
        self.rows.push(vec![Vec::new(); self.names.len()]);
        self.states.len() - 1
    }

    fn check_timers(&mut self, chart: &C, number: usize, armed: &[C::Timer]) {
        let state = chart.state();
        let in_words: Vec<String> = armed.iter().map(|t| words(&format!("{t:?}"))).collect();
        let mut bound = None;
        if let Some(seen) = self.seen.get_mut(number) {
            seen.ancestors = chart.ancestors();
            for timer in in_words {
                if !seen.timers.contains(&timer) {
                    seen.timers.push(timer);
                }
            }
            bound = Some(seen.spec.bound);
        }
        match bound {
            Some(Bound::Timer(timer)) => {
                if !armed.iter().any(|other| format!("{other:?}") == timer) {
                    self.find(Finding::NoDeadline { state, timer });
                }
            }
            Some(Bound::Final) => {
                for timer in armed {
                    let timer = format!("{timer:?}");
                    self.find(Finding::LeakedTimer { state, timer });
                }
            }
            Some(Bound::Open(_)) | None => {}
        }
    }

    fn try_everything(&mut self, at: &Config<C>) {
        let mut out = Out::default();
        // A copy that an event has left as it was serves for the next event too.
        let mut spare: Option<C> = None;
        for probe in 0..self.probes.len() {
            let mut chart = spare.take().unwrap_or_else(|| at.chart.clone());
            let mut armed = at.armed.clone();
            let timer = self.probes[probe].timer;
            let running = timer.is_some_and(|timer| armed.contains(&timer));
            armed.retain(|other| Some(*other) != timer);
            out.reset();
            chart.dispatch(&self.probes[probe].event, &mut out);
            self.tried += 1;
            self.apply(&mut armed, &out);
            self.identify(&chart, &at.armed);
            let changed = self.key != at.key;
            self.judge(at, probe, running, changed, &chart, &out);
            if timer.is_none() || running {
                self.identify(&chart, &armed);
                let next = self.arrive(&chart, armed);
                self.steps.push((at.id, next));
            }
            if !changed {
                spare = Some(chart);
            }
        }
    }

    /// Checks one decision, and keeps it as a row.
    fn judge(
        &mut self,
        at: &Config<C>,
        probe: usize,
        running: bool,
        changed: bool,
        next: &C,
        out: &Out<C::Timer, C::Act>,
    ) {
        let Probe { event, timer, name } = &self.probes[probe];
        let (timer, name) = (*timer, *name);
        let state = at.chart.state();
        let guard = at.chart.guard(event);
        let event = self.names[name].clone();
        let acts = changed || !out.effects().is_empty();
        let ignored = out.ignored().is_some();
        if out.is_undecided() {
            let finding = Finding::Undecided {
                state,
                event,
                guard,
            };
            return self.find(finding);
        }
        if !ignored {
            self.lively[name] = true;
        }
        if self.traces[at.id].is_final && (acts || !ignored) {
            self.find(Finding::FinalActs {
                state,
                event: event.clone(),
            });
        } else if ignored && acts {
            self.find(Finding::IgnoredActs {
                state,
                event: event.clone(),
            });
        } else if !ignored && !acts {
            self.find(Finding::Silent {
                state,
                event: event.clone(),
                guard,
            });
        }
        if let Some(timer) = timer {
            let timer = format!("{timer:?}");
            if running && ignored {
                self.find(Finding::DeafTimer { state, timer });
            } else if !running && !ignored {
                self.find(Finding::StrayTimer { state, timer });
                return;
            }
        }
        let row = Row {
            state,
            event,
            timed: timer.is_some(),
            guard,
            decided_by: Some(out.decided_by())
                .filter(|name| !name.is_empty())
                .unwrap_or(state),
            target: Some(next.state()).filter(|target| *target != state),
            effects: out.effects().iter().map(Deed::of::<C>).collect(),
            ignored: out.ignored(),
        };
        let rows = &mut self.rows[self.traces[at.id].state][name];
        match rows.iter_mut().find(|known| known.is_like(&row)) {
            Some(known) => known.widen(&row),
            None => rows.push(row),
        }
    }

    fn conclude(mut self) -> Exploration {
        if self.too_large {
            self.find(Finding::TooLarge { limit: self.limit });
        } else {
            self.check_whole();
        }
        Exploration {
            name: C::NAME,
            about: C::ABOUT,
            starts: self.starts,
            states: self.seen,
            timers: self.uses,
            rows: self.rows.into_iter().flatten().flatten().collect(),
            findings: self.findings,
            configurations: self.traces.len(),
            tried: self.tried,
        }
    }

    /// What shows only when everything was seen.
    fn check_whole(&mut self) {
        for number in 0..self.seen.len() {
            if !self.traces.iter().any(|trace| trace.state == number) {
                let state = self.states[number];
                self.find(Finding::Unreached { state });
            }
        }
        let never: Vec<String> = (self.uses.iter())
            .filter(|seen| seen.bounds.is_none())
            .map(|seen| seen.id.clone())
            .collect();
        for timer in never {
            self.find(Finding::NeverArmed { timer });
        }
        for probe in 0..self.probes.len() {
            let Probe { timer, name, .. } = self.probes[probe];
            if timer.is_none() && !self.lively[name] {
                let event = self.names[name].clone();
                self.find(Finding::DeadEvent { event });
            }
        }
        if C::states().iter().any(|spec| spec.bound == Bound::Final) {
            self.check_ends();
        }
    }

    /// Walks back from the final configurations; what is not met is a dead end.
    fn check_ends(&mut self) {
        let mut before = vec![Vec::new(); self.traces.len()];
        for (from, to) in &self.steps {
            before[*to].push(*from);
        }
        let mut ends: Vec<bool> = self.traces.iter().map(|trace| trace.is_final).collect();
        let mut todo: Vec<usize> = (0..ends.len()).filter(|id| ends[*id]).collect();
        while let Some(id) = todo.pop() {
            for &from in &before[id] {
                if !ends[from] {
                    ends[from] = true;
                    todo.push(from);
                }
            }
        }
        for (id, ends) in ends.into_iter().enumerate() {
            if !ends {
                let state = self.states[self.traces[id].state];
                self.find(Finding::DeadEnd { state });
            }
        }
    }
}
