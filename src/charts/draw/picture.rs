//! What is in a picture: the words in its boxes and at its arrows, how large they are, and where they stand.

use super::layout::{self, Edge, End, Graph, Group, Layout, Node, arrange};
use super::model::{Arrow, Model};
use super::text::{width, wrap};
use crate::charts::explore::{Deed, span};
use crate::charts::machine::Bound;

const NAME_SIZE: f64 = 13.0;
pub(super) const TEXT_SIZE: f64 = 11.0;
pub(super) const LINE: f64 = 14.0;
/// Between an event and its guard.
pub(super) const SPACE: f64 = 4.0;
/// The height of a shortcut's box.
pub(super) const PILL: f64 = 18.0;
/// How many events an arrow names, and how many inner events a state.
const MOST: usize = 4;
/// How many characters a line of a label has.
const BREAK: usize = 24;
/// The same where the picture would be wider than a page.
const NARROW: usize = 14;
/// How wide a picture is to be at most.
const PAGE: f64 = 1100.0;

/// One line of text in a box.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    pub event: String,
    pub guard: String,
    pub timed: bool,
}

impl Line {
    fn width(&self) -> f64 {
        width(&self.event, TEXT_SIZE) + width(&self.guard, TEXT_SIZE) + SPACE
    }
}

/// The words of the picture, and where everything is.
pub(super) struct Picture<'a> {
    pub arrows: Vec<Arrow<'a>>,
    /// The deadline and the inner events of each state.
    pub states: Vec<(Option<String>, Vec<String>)>,
    /// The label of each arrow.
    pub labels: Vec<Vec<Line>>,
    /// An edge for each arrow; one that leads nowhere ends in a shortcut.
    pub graph: Graph,
    pub layout: Layout,
}

impl<'a> Picture<'a> {
    pub fn of(model: &'a Model) -> Self {
        let picture = Self::with_labels(model, BREAK);
        if picture.layout.width <= PAGE {
            picture
        } else {
            Self::with_labels(model, NARROW)
        }
    }

    /// The picture whose labels have lines of so many characters.
    fn with_labels(model: &'a Model, most: usize) -> Self {
        let arrows = model.arrows();
        let states: Vec<_> = (model.seen.states.iter())
            .map(|seen| {
                (
                    deadline(model, seen.spec.bound),
                    inner(model, seen.spec.name),
                )
            })
            .collect();
        let labels: Vec<_> = arrows.iter().map(|arrow| label(arrow, most)).collect();
        let mut graph = graph(model, &arrows, &states, &labels);
        let shortcuts = layout::shortcuts(&graph);
        for ((edge, arrow), short) in graph.edges.iter_mut().zip(&arrows).zip(shortcuts) {
            if short {
                edge.to = None;
                edge.width = edge.width.max(width(arrow.target, TEXT_SIZE) + 18.0).ceil();
                edge.height += PILL + 12.0;
            }
        }
        for (number, node) in graph.nodes.iter_mut().enumerate() {
            let into = graph.edges.iter().filter(|edge| edge.to == Some(number));
            let out = (graph.edges.iter()).filter(|edge| edge.from == End::Node(number));
            let ports = into.count().max(out.count());
            node.width = node.width.max(18.0 * ports as f64 + 16.0);
        }
        let layout = arrange(&graph);
        Picture {
            arrows,
            states,
            labels,
            graph,
            layout,
        }
    }
}

/// The boxes and arrows of a chart, with their sizes.
fn graph(
    model: &Model,
    arrows: &[Arrow],
    states: &[(Option<String>, Vec<String>)],
    labels: &[Vec<Line>],
) -> Graph {
    let number = |name: &str| {
        (model.seen.states.iter())
            .position(|seen| seen.spec.name == name)
            .unwrap_or(0)
    };
    let nodes = (model.seen.states.iter().zip(states))
        .map(|(seen, (deadline, inner))| {
            let clock = deadline
                .as_deref()
                .map_or(0.0, |d| width(d, TEXT_SIZE) + 18.0);
            let widest = inner
                .iter()
                .map(|text| width(text, TEXT_SIZE))
                .fold(clock, f64::max);
            Node {
                width: (widest.max(width(seen.spec.name, NAME_SIZE) * 1.08) + 28.0)
                    .max(84.0)
                    .ceil(),
                height: 32.0
                    + if deadline.is_some() { LINE + 1.0 } else { 0.0 }
                    + if inner.is_empty() { 0.0 } else { 7.0 }
                    + LINE * inner.len() as f64,
                group: model.group_of(seen.spec.name),
                last: seen.spec.bound == Bound::Final,
            }
        })
        .collect();
    let groups = (model.groups.iter())
        .map(|group| Group {
            parent: group.parent,
            title_width: width(group.name, 12.0).ceil() + 4.0,
        })
        .collect();
    let edges = (arrows.iter().zip(labels))
        .map(|(arrow, lines)| Edge {
            from: match model.group(arrow.source) {
                Some(group) => End::Group(group),
                None => End::Node(number(arrow.source)),
            },
            to: Some(number(arrow.target)),
            width: (lines.iter().map(Line::width).fold(0.0, f64::max) + 8.0).ceil(),
            height: LINE * lines.len() as f64 + 4.0,
        })
        .collect();
    Graph {
        nodes,
        groups,
        edges,
        starts: model.seen.starts.iter().map(|name| number(name)).collect(),
    }
}

/// How long a state lasts at most.
fn deadline(model: &Model, bound: Bound) -> Option<String> {
    let Bound::Timer(id) = bound else {
        return None;
    };
    let timer = model.seen.timers.iter().find(|timer| timer.id == id)?;
    timer.bounds.map(|(least, most)| span(least, most))
}

/// What a state does without being left.
fn inner(model: &Model, state: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for rule in &model.rules {
        if rule.source != state || rule.target.is_some() {
            continue;
        }
        let act = rule.effects.iter().find_map(|deed| match deed {
            Deed::Act(act) => Some(act.as_str()),
            Deed::Start { .. } | Deed::Stop { .. } => None,
        });
        let line = match act {
            Some(act) => format!("{} / {act}", rule.event),
            None => rule.event.clone(),
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    shorten(lines, |more| format!("+{more} more"))
}

fn label(arrow: &Arrow, most: usize) -> Vec<Line> {
    let causes = (arrow.causes.iter())
        .map(|cause| {
            let guard = Some(cause.guard).filter(|guard| !guard.is_empty());
            let guard = guard.map_or(String::new(), |guard| format!("[{guard}]"));
            (cause.event.to_owned(), guard, cause.timed)
        })
        .collect();
    let mut lines = Vec::new();
    for (event, guard, timed) in shorten(causes, |n| (format!("+{n} more"), String::new(), false)) {
        let together = event.chars().count() + guard.chars().count() < most;
        let line = |event: &str, guard: &str| Line {
            event: event.to_owned(),
            guard: guard.to_owned(),
            timed,
        };
        if together {
            lines.push(line(&event, &guard));
        } else {
            lines.extend(wrap(&event, most).iter().map(|part| line(part, "")));
            lines.extend(wrap(&guard, most).iter().map(|part| line("", part)));
        }
    }
    lines
}

/// Keeps the first few, and says how many more there are.
fn shorten<T>(mut all: Vec<T>, more: impl Fn(usize) -> T) -> Vec<T> {
    if all.len() > MOST + 1 {
        let left = all.len() - MOST;
        all.truncate(MOST);
        all.push(more(left));
    }
    all
}
