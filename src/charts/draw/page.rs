//! The page of a chart, and the index of all pages.

use super::close_codes::CLOSE_CODES;
use super::model::{Ignored, Model, Rule};
use super::{MARK, mermaid};
use crate::charts::explore::{Deed, Exploration, span};
use crate::charts::machine::Bound;

/// A table in Markdown.
pub(super) struct Table {
    pub(super) text: String,
}

impl Table {
    pub(super) fn new(heads: &[&str]) -> Self {
        let mut text = format!("| {} |\n|", heads.join(" | "));
        text.push_str(&" --- |".repeat(heads.len()));
        text.push('\n');
        Table { text }
    }

    pub(super) fn row(&mut self, cells: &[String]) {
        self.text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
}

/// Escapes what has a meaning in a table's cell.
pub(super) fn cell(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '|' | '*' | '`' | '[' | ']' | '\\' | '_' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

pub(super) fn code(name: &str) -> String {
    format!("`{name}`")
}

fn codes(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| code(name)).collect();
    names.join(", ")
}

/// The page of one chart.
pub(super) fn page(model: &Model) -> String {
    let seen = model.seen;
    let mut page = format!(
        "<!-- {MARK} -->\n\n# {name}\n\n{about}\n\n![The states of {name}, and what leads from one to another]({file}.svg)\n\n\
         [How to read this page](README.md#how-to-read-a-page). It was made from `src/charts/{file}.rs`, by trying {tried} \
         events in {configurations} configurations.\n",
        name = cell(seen.name),
        file = seen.name,
        about = cell(seen.about),
        tried = seen.tried,
        configurations = seen.configurations,
    );
    if !seen.findings.is_empty() {
        section(&mut page, "What is wrong with it", &findings(seen));
    }
    section(&mut page, "States", &states(model));
    if !seen.timers.is_empty() {
        section(&mut page, "Timers", &timers(seen));
    }
    section(&mut page, "Transitions and effects", &rules(model));
    let ignored = model.ignored();
    if !ignored.is_empty() {
        section(&mut page, "Ignored, and why", &ignored_table(&ignored));
    }
    let text = format!("```mermaid\n{}```\n", mermaid::mermaid(model));
    section(&mut page, "As Mermaid", &text);
    page
}

pub(super) fn section(page: &mut String, title: &str, text: &str) {
    page.push_str(&format!("\n## {title}\n\n{text}"));
}

fn findings(seen: &Exploration) -> String {
    (seen.findings.iter())
        .map(|finding| format!("* {}\n", cell(&finding.to_string())))
        .collect()
}

fn states(model: &Model) -> String {
    let nested = !model.groups.is_empty();
    let mut heads = vec!["State", "Meaning", "Lasts at most"];
    if nested {
        heads.insert(1, "In");
    }
    let mut table = Table::new(&heads);
    for state in &model.seen.states {
        let bound = match state.spec.bound {
            Bound::Timer(id) => (model.seen.timers.iter())
                .find(|timer| timer.id == id)
                .and_then(|timer| Some((timer, timer.bounds?)))
                .map_or(cell(id), |(timer, (least, most))| {
                    format!("**{}** ({})", span(least, most), cell(&timer.name))
                }),
            Bound::Open(reason) => format!("no deadline: {}", cell(reason)),
            Bound::Final => "final".to_owned(),
        };
        let mut cells = vec![code(state.spec.name), cell(state.spec.about), bound];
        if nested {
            let outer: Vec<&str> = state.ancestors.iter().rev().copied().collect();
            cells.insert(1, codes(&outer));
        }
        table.row(&cells);
    }
    table.text
}

fn timers(seen: &Exploration) -> String {
    let mut table = Table::new(&["Timer", "Fires after", "Can run in"]);
    for timer in &seen.timers {
        let runs: Vec<&str> = (seen.states.iter())
            .filter(|state| state.timers.contains(&timer.name))
            .map(|state| state.spec.name)
            .collect();
        let bounds = timer.bounds.map(|(least, most)| span(least, most));
        table.row(&[
            cell(&timer.name),
            bounds.unwrap_or_else(|| "never started".to_owned()),
            codes(&runs),
        ]);
    }
    table.text
}

fn rules(model: &Model) -> String {
    let mut table = Table::new(&["State", "Event", "Next", "Effects"]);
    let mut last = "";
    for rule in &model.rules {
        // A name is written once, above all that belongs to it.
        let source = if rule.source == last {
            String::new()
        } else if model.group(rule.source).is_some() {
            let members: Vec<&str> = model.members(rule.source).collect();
            format!("any in *{}*: {}", cell(rule.source), codes(&members))
        } else {
            code(rule.source)
        };
        last = rule.source;
        let next = rule
            .target
            .map_or("stays".to_owned(), |to| format!("→ {}", code(to)));
        table.row(&[source, event(&rule.event, rule.guard), next, effects(rule)]);
    }
    table.text
}

fn event(event: &str, guard: &str) -> String {
    if guard.is_empty() {
        cell(event)
    } else {
        format!("{} *\\[{}\\]*", cell(event), cell(guard))
    }
}

fn effects(rule: &Rule) -> String {
    let mut words: Vec<String> = rule
        .effects
        .iter()
        .map(|deed| cell(&deed.to_string()))
        .collect();
    match rule.stopped() {
        Some(timers) => {
            words.extend((timers.iter()).map(|timer| format!("stop {} if it runs", cell(timer))))
        }
        None => words.extend(rule.besides.iter().map(|(state, deeds)| {
            let deeds: Vec<String> = deeds.iter().map(Deed::to_string).collect();
            format!("from {}: {}", code(state), cell(&deeds.join(", ")))
        })),
    }
    words.join(", ")
}

/// By reason; states that ignore the same events for the same reason stand together.
fn ignored_table(ignored: &[Ignored]) -> String {
    let mut table = Table::new(&["Why", "Which events, and where"]);
    let mut reasons: Vec<&str> = Vec::new();
    for one in ignored {
        if !reasons.contains(&one.reason) {
            reasons.push(one.reason);
        }
    }
    for reason in reasons {
        let here = || ignored.iter().filter(|one| one.reason == reason);
        let mut places: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
        let mut sources: Vec<&str> = here().map(|one| one.source).collect();
        sources.dedup();
        for source in sources {
            let events: Vec<String> = here()
                .filter(|one| one.source == source)
                .map(|one| event(one.event, one.guard))
                .collect();
            match places.iter_mut().find(|(_, same)| *same == events) {
                Some((states, _)) if states.contains(&source) => {}
                Some((states, _)) => states.push(source),
                None => places.push((vec![source], events)),
            }
        }
        let places: Vec<String> = places
            .iter()
            .map(|(states, events)| format!("{}: {}", codes(states), events.join(", ")))
            .collect();
        table.row(&[cell(reason), places.join("<br>")]);
    }
    table.text
}

const GUIDE: &str = "\
## How to read a page

**In the picture** a box is a state, and a box with a double border a final one. The amber time in a state is its
deadline: the chart never stays longer without something happening. Below a line in the box stands what the state does
without being left, as *event / effect*. A dashed box is a superstate: an arrow that begins with a dot on its border
holds for every state in it. The black dot shows where the chart begins.

An arrow is labelled with the events that lead along it, each with its guard in brackets where only some cases of the
event do; amber ones are timers. A small box at the end of a label is a shortcut to the state of that name, instead of
one more long arrow.

**In the tables** a superstate's rows stand once, for all of its states; what a state decides itself comes first. *stays* means that the event has effects but
does not change the state. Effects are in the order in which they are performed, with the timers that leaving and
entering states stop and start. A timer that several states share is stopped *if it runs*. A state without a deadline
says why it needs none, and an event that is ignored says why it may be: there is no pair of state and event that is
not decided by name.

## How these pages are made

`loaner charts` writes them from the charts in `src/charts`, which are the very ones that run. Nothing here is written
by hand; `loaner charts --check` fails when a page is not what the code says. `loaner charts --format mermaid`,
`--format scxml` and `--format svg` print the other forms.
";

/// The index of all pages.
pub(super) fn index(all: &[Exploration]) -> String {
    let mut table = Table::new(&["Chart", "What it drives", "States", "Timers"]);
    for seen in all {
        table.row(&[
            format!("[{}]({}.md)", cell(seen.name), seen.name),
            cell(seen.about),
            seen.states.len().to_string(),
            seen.timers.len().to_string(),
        ]);
    }
    format!(
        "<!-- {MARK} -->\n\n# The statecharts\n\nEverything in Loaner that has a life of its own is driven by one of these charts. \
         What the pictures show is what runs.\n\n{}\nA socket that the hub closes is told why: \
         [the close codes]({CLOSE_CODES}).\n\n{GUIDE}",
        table.text
    )
}
