//! Rows: which state stands above which, and through which rows an arrow passes.

use super::{End, Graph};

/// The row of each state, counted in ranks from the top.
pub(super) fn ranks(graph: &Graph) -> Vec<usize> {
    let order = life(graph);
    let place = |node: usize| order.iter().position(|other| *other == node);
    let mut above = Vec::new();
    for edge in &graph.edges {
        let Some(to) = edge.to else {
            continue;
        };
        let sources: Vec<usize> = match edge.from {
            End::Node(node) => vec![node],
            End::Group(group) if graph.holds(group, graph.nodes[to].group) => Vec::new(),
            End::Group(group) => graph.members(group).collect(),
        };
        for source in sources {
            // An arrow back to an earlier state leads upward.
            if place(source) < place(to) {
                above.push((source, to));
            } else {
                above.push((to, source));
            }
        }
    }
    let mut ranks = vec![0; graph.nodes.len()];
    for &node in &order {
        for (upper, _) in above.iter().filter(|(_, lower)| *lower == node) {
            ranks[node] = ranks[node].max(ranks[*upper] + 1);
        }
    }
    // What only leads onward stands close to where it leads.
    for &node in order.iter().rev() {
        let into = above.iter().filter(|(_, lower)| *lower == node).count();
        let out = above.iter().filter(|(upper, _)| *upper == node);
        if into < out.clone().count()
            && !graph.starts.contains(&node)
            && let Some(next) = out.map(|(_, lower)| ranks[*lower]).min()
        {
            ranks[node] = ranks[node].max(next - 1);
        }
    }
    let lowest = ranks.iter().copied().max().unwrap_or(0);
    for (node, rank) in ranks.iter_mut().enumerate() {
        if graph.nodes[node].last && !above.iter().any(|(upper, _)| *upper == node) {
            *rank = lowest;
        }
    }
    ranks
}

/// The order of the states, changed where a state would stand among those that a superstate leaves for it.
fn life(graph: &Graph) -> Vec<usize> {
    let mut order: Vec<usize> = (0..graph.nodes.len()).collect();
    for _ in 0..graph.nodes.len() {
        let before = order.clone();
        for edge in &graph.edges {
            let (End::Group(group), Some(to)) = (edge.from, edge.to) else {
                continue;
            };
            if graph.holds(group, graph.nodes[to].group) {
                continue;
            }
            let place = |node: usize| order.iter().position(|other| *other == node);
            let first = graph.members(group).map(place).min();
            let last = graph.members(group).map(place).max();
            let (Some(at), Some(Some(first)), Some(Some(last))) = (place(to), first, last) else {
                continue;
            };
            if first < at && at < last {
                order.remove(at);
                order.insert(last, to);
            }
        }
        if order == before {
            break;
        }
    }
    order
}

/// How an arrow runs through the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lane {
    /// The first and the last row between its ends; the label's row is among them.
    pub first: usize,
    pub last: usize,
    /// The row of its label.
    pub label: usize,
    /// The superstate in which it runs.
    pub group: Option<usize>,
    /// Whether it leads upward.
    pub upward: bool,
    /// It comes from the side of this superstate, straight to its label.
    pub side: Option<usize>,
}

/// States stand in the odd rows; labels, and the dots where a chart begins, in the even ones.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub count: usize,
    /// The row of each state.
    pub nodes: Vec<usize>,
    /// The first and the last row of each superstate.
    pub groups: Vec<(usize, usize)>,
    /// One per edge.
    pub lanes: Vec<Lane>,
    /// One per initial dot: the row, and the superstate around it.
    pub dots: Vec<(usize, Option<usize>)>,
}

impl Rows {
    pub fn new(graph: &Graph, ranks: &[usize]) -> Self {
        let nodes: Vec<usize> = ranks.iter().map(|rank| 2 * rank + 1).collect();
        let mut groups: Vec<(usize, usize)> = (0..graph.groups.len())
            .map(|group| {
                let rows = || graph.members(group).map(|node| nodes[node]);
                (rows().min().unwrap_or(1), rows().max().unwrap_or(1))
            })
            .collect();
        let mut lanes: Vec<Lane> = Vec::new();
        let mut load = vec![0.0; 2 * ranks.iter().max().unwrap_or(&0) + 3];
        for edge in &graph.edges {
            let mut lane = lane(graph, &nodes, &mut groups, &lanes, edge);
            let near = if lane.upward { lane.last } else { lane.first };
            // The label stands near its source, unless there is much more room farther on.
            let crowding = |row: &usize| load[*row] + 60.0 * row.abs_diff(near) as f64;
            lane.label = (lane.first..=lane.last)
                .filter(|row| row.is_multiple_of(2))
                .min_by(|a, b| crowding(a).total_cmp(&crowding(b)))
                .unwrap_or(near);
            load[lane.label] += edge.width;
            lanes.push(lane);
        }
        let dots = (graph.starts.iter())
            .map(|node| {
                let row = nodes[*node] - 1;
                (row, around(graph, &groups, graph.nodes[*node].group, row))
            })
            .collect();
        Rows {
            count: load.len(),
            nodes,
            groups,
            lanes,
            dots,
        }
    }
}

/// The innermost superstate that reaches to a row, from this one outward.
fn around(
    graph: &Graph,
    spans: &[(usize, usize)],
    mut group: Option<usize>,
    row: usize,
) -> Option<usize> {
    while let Some(inner) = group
        && !(spans[inner].0..=spans[inner].1).contains(&row)
    {
        group = graph.groups[inner].parent;
    }
    group
}

/// The rows of one arrow; its label's row is still open.
fn lane(
    graph: &Graph,
    nodes: &[usize],
    groups: &mut [(usize, usize)],
    others: &[Lane],
    edge: &super::Edge,
) -> Lane {
    let Some(target) = edge.to else {
        let (row, group) = match edge.from {
            End::Node(node) => (nodes[node] + 1, graph.nodes[node].group),
            End::Group(group) => (groups[group].1 + 1, graph.groups[group].parent),
        };
        return Lane {
            first: row,
            last: row,
            label: row,
            group: around(graph, groups, group, row),
            upward: false,
            side: None,
        };
    };
    let to = nodes[target];
    let target = graph.nodes[target].group;
    let between = |from: (usize, usize), group| {
        let upward = from.0 > to;
        Lane {
            first: if upward { to + 1 } else { from.1 + 1 },
            last: if upward { from.0 - 1 } else { to - 1 },
            label: 0,
            group,
            upward,
            side: None,
        }
    };
    match edge.from {
        End::Node(node) => between(
            (nodes[node], nodes[node]),
            graph.shared(graph.nodes[node].group, target),
        ),
        End::Group(group) => {
            let span = groups[group];
            if !(span.0..=span.1).contains(&to) {
                return between(span, graph.shared(graph.groups[group].parent, target));
            }
            let inside = graph.holds(group, target);
            // Above its target, unless that is above the superstate, or another one comes from the side there.
            let taken =
                |row| (others.iter()).any(|lane| lane.side == Some(group) && lane.label == row);
            let row = if to < span.1 && (to == span.0 || taken(to - 1)) {
                to + 1
            } else {
                to - 1
            };
            if inside {
                let mut around = Some(group);
                while let Some(outer) = around {
                    groups[outer].0 = groups[outer].0.min(row);
                    around = graph.groups[outer].parent;
                }
            }
            Lane {
                first: row,
                last: row,
                label: row,
                group: if inside {
                    Some(group)
                } else {
                    graph.shared(graph.groups[group].parent, target)
                },
                upward: row > to,
                side: Some(group),
            }
        }
    }
}
