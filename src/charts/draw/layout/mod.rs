//! The layout of a picture: states in ranks from top to bottom, arrows as lanes between them.
//!
//! 1. [`rank`]: the order of the states tells forward from backward; forward arrows lead downward.
//! 2. [`order`]: every state, and every arrow as one vertical lane, gets a place in one order from left to right; a
//!    search looks for the order with the fewest crossings. A superstate is one piece of that order, so nothing that is
//!    not in it comes to stand in it.
//! 3. [`place`]: coordinates. In each row everything keeps its distance; within that, arrows become short and straight.
//! 4. [`height`]: the rows from top to bottom; [`route`]: the curves. They bend only between two rows, so they never meet a box.
//!
//! A label is a box in its arrow's lane, in a row of its own between two rows of states: nothing can lie on it.

mod height;
mod order;
mod place;
mod ports;
mod rank;
mod route;
#[cfg(test)]
pub(super) mod tests;

/// How many long arrows a picture bears.
const MOST_LONG: usize = 8;
/// How many arrows to one state are many.
const MANY: usize = 4;

/// What is to be laid out. Sizes are in pixels.
#[derive(Debug, Clone, Default)]
pub(super) struct Graph {
    /// The states, in the order of a normal life.
    pub nodes: Vec<Node>,
    /// The superstates, outer ones before inner ones.
    pub groups: Vec<Group>,
    /// The arrows.
    pub edges: Vec<Edge>,
    /// The states in which the chart begins.
    pub starts: Vec<usize>,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub width: f64,
    pub height: f64,
    pub group: Option<usize>,
    /// Whether it stands in the last row.
    pub last: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Group {
    pub parent: Option<usize>,
    pub title_width: f64,
}

/// Where an arrow begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Node(usize),
    Group(usize),
}

#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub from: End,
    /// None for a shortcut: it ends at its label, which names the state that it leads to.
    pub to: Option<usize>,
    pub width: f64,
    pub height: f64,
}

/// A box: its left, its top, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Rect {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Rect {
    pub fn right(&self) -> f64 {
        self.x + self.width
    }

    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }

    pub fn middle(&self) -> f64 {
        self.x + self.width / 2.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub x: f64,
    pub y: f64,
}

/// A piece of a curve, from where the one before it ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Piece {
    Line(Point),
    /// Two control points and the end.
    Curve(Point, Point, Point),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path {
    pub from: Point,
    pub pieces: Vec<Piece>,
}

/// An arrow: to its label, and from there to its end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Route {
    pub before: Path,
    pub label: Rect,
    pub after: Path,
}

/// Where everything is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Layout {
    pub width: f64,
    pub height: f64,
    pub nodes: Vec<Rect>,
    pub groups: Vec<Rect>,
    /// The top left corner of each superstate's title.
    pub titles: Vec<Rect>,
    pub routes: Vec<Route>,
    /// The initial dots, each with the way to its state.
    pub dots: Vec<(Point, Path)>,
}

/// The arrows that are better drawn as shortcuts: where there are many long ones, those of them that leave a state for
/// one to which many others lead as well. One flag per edge.
pub(super) fn shortcuts(graph: &Graph) -> Vec<bool> {
    let ranks = rank::ranks(graph);
    let long = |edge: &Edge| match (edge.from, edge.to) {
        (End::Node(from), Some(to)) => ranks[from].abs_diff(ranks[to]) > 1,
        _ => false,
    };
    if graph.edges.iter().filter(|edge| long(edge)).count() <= MOST_LONG {
        return vec![false; graph.edges.len()];
    }
    let into = |edge: &Edge| {
        graph
            .edges
            .iter()
            .filter(|other| other.to == edge.to)
            .count()
    };
    let mut short: Vec<bool> = (graph.edges.iter())
        .map(|edge| long(edge) && into(edge) >= MANY)
        .collect();
    // One arrow at least leads to the state itself: the last.
    for node in 0..graph.nodes.len() {
        let here = || (0..short.len()).filter(|edge| graph.edges[*edge].to == Some(node));
        if here().all(|edge| short[edge])
            && let Some(last) = here().next_back()
        {
            short[last] = false;
        }
    }
    short
}

/// Lays a graph out. The same graph always gives the same layout.
pub(super) fn arrange(graph: &Graph) -> Layout {
    let ranks = rank::ranks(graph);
    let rows = rank::Rows::new(graph, &ranks);
    let order = order::search(graph, &rows);
    let placed = place::place(graph, &rows, &order);
    route::route(graph, &rows, &placed)
}

impl Graph {
    /// Whether a superstate is the other one, or around it.
    fn holds(&self, outer: usize, inner: Option<usize>) -> bool {
        let mut at = inner;
        while let Some(group) = at {
            if group == outer {
                return true;
            }
            at = self.groups[group].parent;
        }
        false
    }

    /// The innermost superstate that holds both.
    fn shared(&self, a: Option<usize>, b: Option<usize>) -> Option<usize> {
        let mut at = a;
        while let Some(group) = at {
            if self.holds(group, b) {
                return at;
            }
            at = self.groups[group].parent;
        }
        None
    }

    /// The states in a superstate, however deep.
    fn members(&self, group: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(move |node| self.holds(group, self.nodes[*node].group))
    }
}
