//! The order from left to right, of states, lanes, dots and superstates.

use super::place::Places;
use super::rank::Rows;
use super::{End, Graph};

/// How wide everything may be, from middle to middle, before each crossing is worth a narrower picture.
const PAGE: f64 = 1000.0;

/// Something that has one place from left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    Node(usize),
    /// The arrow of an edge.
    Lane(usize),
    /// The initial dot of a start.
    Dot(usize),
    Group(usize),
}

/// One step in the sequence of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Item(Thing),
    Left(usize),
    Right(usize),
}

/// The children of each superstate from left to right; those outside of any come last.
#[derive(Debug, Clone)]
pub(super) struct Order {
    children: Vec<Vec<Thing>>,
}

impl Order {
    fn first(graph: &Graph, rows: &Rows) -> Self {
        let top = graph.groups.len();
        let mut children = vec![Vec::new(); top + 1];
        let mut add = |group: Option<usize>, thing| children[group.unwrap_or(top)].push(thing);
        for (group, spec) in graph.groups.iter().enumerate() {
            add(spec.parent, Thing::Group(group));
        }
        for (dot, (_, group)) in rows.dots.iter().enumerate() {
            add(*group, Thing::Dot(dot));
        }
        for (node, spec) in graph.nodes.iter().enumerate() {
            add(spec.group, Thing::Node(node));
        }
        for (edge, lane) in rows.lanes.iter().enumerate() {
            add(lane.group, Thing::Lane(edge));
        }
        Order { children }
    }

    /// Everything from left to right, superstates as brackets around what is in them.
    pub fn sequence(&self, rows: &Rows) -> Vec<Step> {
        let mut steps = Vec::new();
        self.walk(self.children.len() - 1, rows, &mut steps);
        steps
    }

    fn walk(&self, group: usize, rows: &Rows, steps: &mut Vec<Step>) {
        let children = &self.children[group];
        // A lane from a superstate's side stands at that side: to the left if it is in the left half of the order.
        let at_side = |place: usize, thing: &Thing| match thing {
            Thing::Lane(edge) if rows.lanes[*edge].side == Some(group) => {
                Some(2 * place >= children.len())
            }
            _ => None,
        };
        let mut emit = |wanted: Option<bool>| {
            for (place, thing) in children.iter().enumerate() {
                if at_side(place, thing) != wanted {
                    continue;
                }
                match thing {
                    Thing::Group(inner) => {
                        steps.push(Step::Left(*inner));
                        self.walk(*inner, rows, steps);
                        steps.push(Step::Right(*inner));
                    }
                    item => steps.push(Step::Item(*item)),
                }
            }
        };
        emit(Some(false));
        emit(None);
        emit(Some(true));
    }
}

/// Looks for a good order, and for a narrow one where the best is wider than a page.
pub(super) fn search(graph: &Graph, rows: &Rows) -> Order {
    let best = search_within(graph, rows, f64::INFINITY);
    let width = Places::packed(graph, rows, &best.sequence(rows)).width();
    if width <= PAGE {
        best
    } else {
        search_within(graph, rows, PAGE)
    }
}

/// From several beginnings, by moving one thing at a time for as long as the picture gets better.
fn search_within(graph: &Graph, rows: &Rows, page: f64) -> Order {
    let first = Order::first(graph, rows);
    let mut backward = first.clone();
    let mut lanes_first = first.clone();
    let mut split = first.clone();
    backward.children.iter_mut().for_each(|here| here.reverse());
    for here in &mut lanes_first.children {
        here.sort_by_key(|thing| !matches!(thing, Thing::Lane(_)));
    }
    for here in &mut split.children {
        here.sort_by_key(|thing| match thing {
            Thing::Lane(lane) if lane.is_multiple_of(2) => 0,
            Thing::Lane(_) => 2,
            _ => 1,
        });
    }
    let (mut best, mut cost) = climb(graph, rows, page, first);
    for other in [backward, lanes_first, split] {
        let (other, cheaper) = climb(graph, rows, page, other);
        if cheaper < cost {
            (best, cost) = (other, cheaper);
        }
    }
    best
}

/// Makes an order better until no single move does; returns its cost as well.
fn climb(graph: &Graph, rows: &Rows, page: f64, mut best: Order) -> (Order, f64) {
    let mut cost = judge(graph, rows, page, &best);
    for _ in 0..6 {
        let before = cost;
        for group in 0..best.children.len() {
            for number in 0..best.children[group].len() {
                improve(graph, rows, page, &mut best, &mut cost, group, number);
            }
        }
        if cost >= before {
            break;
        }
    }
    (best, cost)
}

/// Tries every place for one thing, and keeps the best.
fn improve(
    graph: &Graph,
    rows: &Rows,
    page: f64,
    best: &mut Order,
    cost: &mut f64,
    group: usize,
    number: usize,
) {
    let mut found = None;
    for place in 0..best.children[group].len() {
        if place == number {
            continue;
        }
        let thing = best.children[group].remove(number);
        best.children[group].insert(place, thing);
        let other = judge(graph, rows, page, best);
        if other < *cost {
            *cost = other;
            found = Some(place);
        }
        let thing = best.children[group].remove(place);
        best.children[group].insert(number, thing);
    }
    if let Some(place) = found {
        let thing = best.children[group].remove(number);
        best.children[group].insert(place, thing);
    }
}

/// A stretch between two neighbouring rows, from one place in the sequence to another.
struct Stretch {
    from: usize,
    to: usize,
}

/// How bad an order is: crossings, superstates that are run through, long ways, and width.
fn judge(graph: &Graph, rows: &Rows, page: f64, order: &Order) -> f64 {
    let sequence = order.sequence(rows);
    let places = Places::packed(graph, rows, &sequence);
    let mut gaps: Vec<Vec<Stretch>> = Vec::new();
    gaps.resize_with(rows.count, Vec::new);
    let width = places.width();
    let mut cost = width / 40.0 + (width - page).max(0.0) / 2.0;
    for (number, (edge, lane)) in graph.edges.iter().zip(&rows.lanes).enumerate() {
        let at = places.lanes[number];
        for gap in gaps.iter_mut().take(lane.last).skip(lane.first) {
            gap.push(Stretch { from: at, to: at });
        }
        let mut connect = |end: usize, above: bool| {
            if above {
                gaps[lane.first - 1].push(Stretch { from: end, to: at });
            } else {
                gaps[lane.last].push(Stretch { from: at, to: end });
            }
        };
        if let Some(to) = edge.to {
            connect(places.nodes[to], lane.upward);
            cost += (places.lane(number) - places.node(to)).abs() / 30.0;
        }
        match edge.from {
            End::Node(node) => {
                connect(places.nodes[node], !lane.upward);
                cost += (places.lane(number) - places.node(node)).abs() / 30.0;
            }
            End::Group(group) if lane.side.is_none() => {
                let (left, right) = places.groups[group];
                connect(at.clamp(left, right), !lane.upward);
                cost += places.beside(group, places.lane(number)) / 30.0;
            }
            End::Group(_) => {}
        }
    }
    for (gap, stretches) in gaps.iter().enumerate() {
        for (number, a) in stretches.iter().enumerate() {
            for b in &stretches[number + 1..] {
                let crossed = (a.from < b.from && a.to > b.to) || (a.from > b.from && a.to < b.to);
                cost += if crossed { 10.0 } else { 0.0 };
            }
            for (group, (first, last)) in rows.groups.iter().enumerate() {
                let (left, right) = places.groups[group];
                let (low, high) = (a.from.min(a.to), a.from.max(a.to));
                if *first <= gap && gap < *last && low < left && right < high {
                    cost += 25.0;
                }
            }
        }
    }
    cost
}
