//! Coordinates from left to right: everything in a row keeps its distance, and arrows become short and straight.

use super::order::{Order, Step, Thing};
use super::ports::{Ports, onward};
use super::rank::Rows;
use super::{End, Graph};

/// The width of a lane where it has no label.
const BEND: f64 = 6.0;
/// The distance between two things in a row.
const GAP: f64 = 18.0;
/// The distance between a superstate's border and what is next to it, on either side.
const PAD: f64 = 16.0;
/// How long an arrow from a superstate's side is before its label.
const STUB: f64 = 34.0;
/// How often everything is moved.
const ROUNDS: usize = 300;
/// How often everything moves at last where there is room, pushing nothing.
const SETTLING: usize = 100;

/// One thing stands left of another, with at least this distance from middle to middle.
#[derive(Debug, Clone, Copy)]
struct Apart {
    left: usize,
    right: usize,
    distance: f64,
}

/// Where something stands that is next to a superstate's border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    LeftOutside,
    LeftInside,
    RightInside,
    RightOutside,
}

/// The place of everything; one number per step of the sequence.
#[derive(Debug, Clone)]
pub(super) struct Places {
    x: Vec<f64>,
    /// By the right one.
    apart: Vec<Apart>,
    /// The step of each thing in the sequence.
    pub nodes: Vec<usize>,
    pub lanes: Vec<usize>,
    pub dots: Vec<usize>,
    pub groups: Vec<(usize, usize)>,
}

impl Places {
    /// Everything as far to the left as it can be.
    pub fn packed(graph: &Graph, rows: &Rows, sequence: &[Step]) -> Self {
        let mut places = Places {
            x: vec![0.0; sequence.len()],
            apart: Vec::new(),
            nodes: vec![0; graph.nodes.len()],
            lanes: vec![0; graph.edges.len()],
            dots: vec![0; graph.starts.len()],
            groups: vec![(0, 0); graph.groups.len()],
        };
        // The last thing in each row, with half of its width.
        let mut last: Vec<Option<(usize, Step, f64)>> = vec![None; rows.count];
        for (at, step) in sequence.iter().enumerate() {
            let (first_row, last_row) = match *step {
                Step::Item(Thing::Node(node)) => {
                    places.nodes[node] = at;
                    (rows.nodes[node], rows.nodes[node])
                }
                Step::Item(Thing::Lane(lane)) => {
                    places.lanes[lane] = at;
                    (rows.lanes[lane].first, rows.lanes[lane].last)
                }
                Step::Item(Thing::Dot(dot)) => {
                    places.dots[dot] = at;
                    (rows.dots[dot].0, rows.dots[dot].0)
                }
                Step::Left(group) => {
                    places.groups[group].0 = at;
                    rows.groups[group]
                }
                Step::Right(group) => {
                    places.groups[group].1 = at;
                    places.apart.push(Apart {
                        left: places.groups[group].0,
                        right: at,
                        // Wide enough for the title beside an arrow that comes in from above.
                        distance: 2.0 * graph.groups[group].title_width + 2.0 * PAD,
                    });
                    rows.groups[group]
                }
                Step::Item(Thing::Group(_)) => continue,
            };
            for (row, last) in last
                .iter_mut()
                .enumerate()
                .take(last_row + 1)
                .skip(first_row)
            {
                let half = width(graph, rows, *step, row) / 2.0;
                if let Some((left, before, other)) = *last {
                    places.apart.push(Apart {
                        left,
                        right: at,
                        distance: other + gap(rows, before, *step) + half,
                    });
                }
                *last = Some((at, *step, half));
            }
        }
        places.push_right();
        places
    }

    /// Moves things to the right until all distances are kept.
    fn push_right(&mut self) {
        for apart in &self.apart {
            let least = self.x[apart.left] + apart.distance;
            self.x[apart.right] = self.x[apart.right].max(least);
        }
    }

    /// Moves things to the left until all distances are kept.
    fn push_left(&mut self, by_left: &[Apart]) {
        for apart in by_left {
            let most = self.x[apart.right] - apart.distance;
            self.x[apart.left] = self.x[apart.left].min(most);
        }
    }

    /// Moves one thing after the other to where it wants to be, as far as there is room.
    fn settle(&mut self, wanted: &[f64]) {
        let mut least = vec![f64::NEG_INFINITY; self.x.len()];
        for (at, wanted) in wanted.iter().enumerate() {
            let room = |apart: &&Apart| apart.left == at;
            let most = (self.apart.iter().filter(room))
                .map(|apart| self.x[apart.right] - apart.distance)
                .fold(f64::INFINITY, f64::min);
            self.x[at] = wanted.min(most).max(least[at]);
            for apart in self.apart.iter().filter(room) {
                least[apart.right] = least[apart.right].max(self.x[at] + apart.distance);
            }
        }
    }

    pub fn width(&self) -> f64 {
        self.x.iter().copied().fold(0.0, f64::max)
    }

    pub fn node(&self, node: usize) -> f64 {
        self.x[self.nodes[node]]
    }

    pub fn lane(&self, lane: usize) -> f64 {
        self.x[self.lanes[lane]]
    }

    pub fn dot(&self, dot: usize) -> f64 {
        self.x[self.dots[dot]]
    }

    pub fn group(&self, group: usize) -> (f64, f64) {
        let (left, right) = self.groups[group];
        (self.x[left], self.x[right])
    }

    /// On which side of which border a lane stands that comes from a superstate's side.
    pub fn side(&self, lane: usize, group: usize) -> Side {
        let (at, (left, right)) = (self.lanes[lane], self.groups[group]);
        if at < left {
            Side::LeftOutside
        } else if at > right {
            Side::RightOutside
        } else if at - left < right - at {
            // It stands next to its border, with nothing but others of its kind between.
            Side::LeftInside
        } else {
            Side::RightInside
        }
    }

    /// How far outside of a superstate's sides a place is.
    pub fn beside(&self, group: usize, x: f64) -> f64 {
        let (left, right) = self.group(group);
        (left - x).max(x - right).max(0.0)
    }
}

fn width(graph: &Graph, rows: &Rows, step: Step, row: usize) -> f64 {
    match step {
        Step::Item(Thing::Node(node)) => graph.nodes[node].width,
        Step::Item(Thing::Lane(lane)) if rows.lanes[lane].label == row => graph.edges[lane].width,
        Step::Item(Thing::Lane(_) | Thing::Dot(_)) => BEND,
        Step::Item(Thing::Group(_)) | Step::Left(_) | Step::Right(_) => 0.0,
    }
}

fn gap(rows: &Rows, left: Step, right: Step) -> f64 {
    let from_side = |step: Step, border: usize| match step {
        Step::Item(Thing::Lane(lane)) => rows.lanes[lane].side == Some(border),
        _ => false,
    };
    match (left, right) {
        (Step::Left(group), lane) if from_side(lane, group) => STUB,
        (lane, Step::Right(group)) if from_side(lane, group) => STUB,
        (Step::Item(_), Step::Item(_)) => GAP,
        _ => PAD,
    }
}

/// Where everything is, and where arrows meet their states.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub places: Places,
    pub ports: Ports,
}

/// Something that pulls: a lane or a dot wants to be straight above or below its port.
struct Pull {
    node: usize,
    other: usize,
    /// The port, seen from the middle of the node.
    port: f64,
    weight: f64,
}

/// Finds the places for an order.
pub(super) fn place(graph: &Graph, rows: &Rows, order: &Order) -> Placed {
    let sequence = order.sequence(rows);
    let mut places = Places::packed(graph, rows, &sequence);
    let ports = Ports::new(graph, rows, &places);
    let pulls = pulls(graph, rows, &places, &ports);
    let mut by_left = places.apart.clone();
    by_left.sort_by_key(|apart| std::cmp::Reverse(apart.left));
    for _ in 0..ROUNDS {
        let wanted = wanted(graph, rows, &places, &pulls);
        let mut pushed = places.clone();
        pushed.x = wanted;
        let mut other = pushed.clone();
        pushed.push_right();
        other.push_left(&by_left);
        // The distances are kept in both, and so halfway between them.
        for (x, (a, b)) in places.x.iter_mut().zip(pushed.x.iter().zip(&other.x)) {
            *x = (a + b) / 2.0;
        }
        tighten(&mut places);
    }
    for _ in 0..SETTLING {
        let wanted = wanted(graph, rows, &places, &pulls);
        places.settle(&wanted);
        tighten(&mut places);
    }
    let left = places.x.iter().copied().fold(f64::INFINITY, f64::min);
    for x in &mut places.x {
        *x -= left;
    }
    Placed { places, ports }
}

/// Draws the borders of superstates close around what is in them.
fn tighten(places: &mut Places) {
    let mut borders = places.groups.clone();
    // Inner superstates have higher numbers.
    borders.reverse();
    for (left, right) in borders {
        let inner = (places.apart.iter())
            .filter(|apart| apart.left == left)
            .map(|apart| places.x[apart.right] - apart.distance);
        places.x[left] = inner.fold(f64::INFINITY, f64::min);
        let inner = (places.apart.iter())
            .filter(|apart| apart.right == right)
            .map(|apart| places.x[apart.left] + apart.distance);
        places.x[right] = inner.fold(f64::NEG_INFINITY, f64::max);
    }
}

fn pulls(graph: &Graph, rows: &Rows, places: &Places, ports: &Ports) -> Vec<Pull> {
    let mut pulls = Vec::new();
    for (number, (edge, lane)) in graph.edges.iter().zip(&rows.lanes).enumerate() {
        // Short ways are to be straight; long ones may bend at their ends. The way of a normal life comes first.
        let weight = match (edge.to, lane.last - lane.first) {
            (None, _) => 0.02,
            (_, 0) if onward(edge) => 1.0,
            (_, 0) => 0.2,
            _ => 0.05,
        };
        let mut pull = |node: usize, port| {
            pulls.push(Pull {
                node: places.nodes[node],
                other: places.lanes[number],
                port,
                weight,
            });
        };
        if let Some(to) = edge.to {
            pull(to, ports.arrives[number].offset);
        }
        if let End::Node(node) = edge.from {
            pull(node, ports.leaves[number].offset);
        }
    }
    for (dot, start) in graph.starts.iter().enumerate() {
        pulls.push(Pull {
            node: places.nodes[*start],
            other: places.dots[dot],
            port: ports.begins[dot].offset,
            weight: 0.01,
        });
    }
    pulls
}

/// Where everything would be if it had its way: in the middle of what pulls at it.
fn wanted(graph: &Graph, rows: &Rows, places: &Places, pulls: &[Pull]) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); places.x.len()];
    let mut pull = |at: usize, to: f64, weight: f64| {
        sums[at].0 += weight * to;
        sums[at].1 += weight;
    };
    for one in pulls {
        // A lane comes to its state; a state comes to a lane only if it is near.
        let away = places.x[one.node] + one.port - places.x[one.other];
        pull(
            one.node,
            places.x[one.other] - one.port,
            one.weight / (1.0 + away.abs() / 20.0),
        );
        pull(one.other, places.x[one.node] + one.port, 1.0);
    }
    for (number, (edge, lane)) in graph.edges.iter().zip(&rows.lanes).enumerate() {
        if let (End::Group(group), None) = (edge.from, lane.side) {
            let (left, right) = places.group(group);
            let at = places.lane(number);
            pull(places.lanes[number], at.clamp(left + PAD, right - PAD), 1.0);
        }
    }
    (places.x.iter().zip(sums))
        .map(|(x, (sum, weight))| {
            if weight > 0.0 {
                x + 0.6 * (sum / weight - x)
            } else {
                *x
            }
        })
        .collect()
}
