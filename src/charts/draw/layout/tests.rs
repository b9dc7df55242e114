#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// The laws of a layout; says which is broken.
pub(in crate::charts::draw) fn check(graph: &Graph, layout: &Layout) -> Result<(), String> {
    let boxes: Vec<(String, Rect)> = (layout.nodes.iter().enumerate())
        .map(|(number, rect)| (format!("state {number}"), *rect))
        .chain(
            (layout.routes.iter().enumerate())
                .map(|(number, route)| (format!("label {number}"), route.label)),
        )
        .collect();
    for (number, (name, a)) in boxes.iter().enumerate() {
        if a.x < 0.0 || a.y < 0.0 || a.right() > layout.width || a.bottom() > layout.height {
            return Err(format!("{name} is outside of the picture"));
        }
        for (other, b) in &boxes[number + 1..] {
            if overlap(a, b) {
                return Err(format!("{name} lies on {other}"));
            }
        }
    }
    for (group, rect) in layout.groups.iter().enumerate() {
        for (node, at) in layout.nodes.iter().enumerate() {
            if graph.holds(group, graph.nodes[node].group) != overlap(rect, at) {
                return Err(format!("state {node} and superstate {group}"));
            }
            if overlap(rect, at) && !encloses(rect, at) {
                return Err(format!("state {node} sticks out of superstate {group}"));
            }
        }
        if let Some(parent) = graph.groups[group].parent
            && !encloses(&layout.groups[parent], rect)
        {
            return Err(format!("superstate {group} sticks out of {parent}"));
        }
    }
    for (number, (edge, route)) in graph.edges.iter().zip(&layout.routes).enumerate() {
        let points = [route.before.points(), route.after.points()].concat();
        for (name, rect) in &boxes {
            if points.iter().any(|point| inside(rect, *point)) {
                return Err(format!("arrow {number} runs through {name}"));
            }
        }
        if let End::Node(node) = edge.from
            && !touches(&layout.nodes[node], route.before.from)
        {
            return Err(format!("arrow {number} does not begin at its state"));
        }
        if let Some(node) = edge.to
            && !touches(&layout.nodes[node], *route.after.points().last().unwrap())
        {
            return Err(format!("arrow {number} does not end at its state"));
        }
    }
    for node in 0..graph.nodes.len() {
        let mut ports: Vec<Point> = Vec::new();
        for (edge, route) in graph.edges.iter().zip(&layout.routes) {
            if edge.from == End::Node(node) {
                ports.push(route.before.from);
            }
            if edge.to == Some(node) {
                ports.push(*route.after.points().last().unwrap());
            }
        }
        for (number, a) in ports.iter().enumerate() {
            for b in &ports[number + 1..] {
                if (a.x - b.x).abs() < 2.0 && (a.y - b.y).abs() < 2.0 {
                    return Err(format!("two arrows meet state {node} in one place"));
                }
            }
        }
    }
    Ok(())
}

/// No arrow runs through the title of a superstate.
pub(in crate::charts::draw) fn titles_are_free(layout: &Layout) -> bool {
    let points: Vec<Point> = (layout.routes.iter())
        .flat_map(|route| [route.before.points(), route.after.points()].concat())
        .chain(layout.dots.iter().flat_map(|(_, way)| way.points()))
        .collect();
    !(layout.titles.iter()).any(|title| points.iter().any(|point| inside(title, *point)))
}

fn overlap(a: &Rect, b: &Rect) -> bool {
    a.x < b.right() && b.x < a.right() && a.y < b.bottom() && b.y < a.bottom()
}

fn encloses(outer: &Rect, inner: &Rect) -> bool {
    outer.x <= inner.x
        && outer.y <= inner.y
        && outer.right() >= inner.right()
        && outer.bottom() >= inner.bottom()
}

fn inside(rect: &Rect, point: Point) -> bool {
    (rect.x + 0.5..rect.right() - 0.5).contains(&point.x)
        && (rect.y + 0.5..rect.bottom() - 0.5).contains(&point.y)
}

fn touches(rect: &Rect, point: Point) -> bool {
    (rect.x - 0.1..rect.right() + 0.1).contains(&point.x)
        && ((point.y - rect.y).abs() < 0.1 || (point.y - rect.bottom()).abs() < 0.1)
}

fn node(group: Option<usize>, last: bool) -> Node {
    Node {
        width: 90.0,
        height: 46.0,
        group,
        last,
    }
}

fn group(parent: Option<usize>) -> Group {
    Group {
        parent,
        title_width: 60.0,
    }
}

fn edge(from: End, to: usize) -> Edge {
    Edge {
        from,
        to: Some(to),
        width: 95.0,
        height: 32.0,
    }
}

fn laid_out(graph: &Graph) -> Layout {
    let layout = arrange(graph);
    check(graph, &layout).unwrap();
    assert!(titles_are_free(&layout));
    layout
}

/// assigned, receiving, preparing, running, packing, returning, stopping, cleaning in `alive`, three ends, and a way to
/// stopping from the superstate that it is in.
fn job() -> Graph {
    let mut graph = Graph {
        groups: vec![group(None)],
        starts: vec![0],
        ..Graph::default()
    };
    graph.nodes = (0..11)
        .map(|n| node((n < 8).then_some(0), n >= 8))
        .collect();
    for (from, to) in [
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 5),
        (5, 7),
        (6, 7),
        (7, 8),
        (7, 9),
        (7, 10),
    ] {
        graph.edges.push(edge(End::Node(from), to));
    }
    graph.edges.push(edge(End::Group(0), 6));
    graph
}

#[test]
fn a_chain_with_a_way_out_of_every_state() {
    let layout = laid_out(&job());
    // The arrow from the superstate to a state in it begins at the border, inside.
    let from = layout.routes[10].before.from;
    let alive = layout.groups[0];
    assert!((from.x - alive.x).abs() < 0.1 || (from.x - alive.right()).abs() < 0.1);
    // A normal life leads downward.
    for pair in [0, 1, 2, 3, 4, 5, 7].windows(2) {
        assert!(layout.nodes[pair[0]].bottom() < layout.nodes[pair[1]].y);
    }
}

#[test]
fn the_same_chain_where_each_state_has_its_own_arrow() {
    let mut graph = job();
    graph.edges.pop();
    for from in 0..6 {
        graph.edges.push(edge(End::Node(from), 6));
    }
    laid_out(&graph);
}

/// offline, signing_in, joining_room, connecting, registering, registered, backing_off, closing, closed, failed; the
/// first seven living, five of them online.
#[test]
fn superstates_in_superstates_with_ways_back() {
    let mut graph = Graph {
        groups: vec![group(None), group(Some(0))],
        starts: vec![0],
        ..Graph::default()
    };
    for n in 0..10 {
        let group = match n {
            0 | 6 => Some(0),
            1..=5 => Some(1),
            _ => None,
        };
        graph.nodes.push(node(group, n >= 8));
    }
    for (from, to) in [
        (0, 1),
        (1, 2),
        (1, 3),
        (2, 3),
        (3, 4),
        (4, 5),
        (6, 1),
        (6, 3),
        (7, 8),
        (7, 9),
        (4, 9),
    ] {
        graph.edges.push(edge(End::Node(from), to));
    }
    graph.edges.push(edge(End::Group(1), 6));
    graph.edges.push(edge(End::Group(0), 7));
    let layout = laid_out(&graph);
    assert!(layout.width < 1000.0, "{}", layout.width);
}

#[test]
fn many_long_arrows_to_one_state_become_shortcuts_and_one_remains() {
    let mut graph = Graph {
        nodes: (0..12).map(|n| node(None, n == 11)).collect(),
        starts: vec![0],
        ..Graph::default()
    };
    for from in 0..10 {
        graph.edges.push(edge(End::Node(from), from + 1));
        graph.edges.push(edge(End::Node(from), 11));
    }
    let short = shortcuts(&graph);
    assert_eq!(short.iter().filter(|short| **short).count(), 9);
    assert!(!short[19]);
    for (edge, short) in graph.edges.iter_mut().zip(short) {
        if short {
            edge.to = None;
        }
    }
    laid_out(&graph);
}

#[test]
fn an_empty_graph_and_a_lonely_state() {
    arrange(&Graph::default());
    let graph = Graph {
        nodes: vec![node(None, false)],
        starts: vec![0],
        ..Graph::default()
    };
    laid_out(&graph);
}

fn graphs() -> impl Strategy<Value = Graph> {
    let parents = prop_oneof![Just(vec![]), Just(vec![None]), Just(vec![None, Some(0)])];
    (3..11_usize, parents).prop_flat_map(|(count, parents)| {
        let groups = parents.len();
        let nodes = prop::collection::vec(0..=groups, count);
        let edges = prop::collection::vec((0..count, 0..count), 2..16);
        let outward = prop::collection::vec((0..groups.max(1), 0..count), 0..3);
        (nodes, edges, outward).prop_map(move |(nodes, edges, outward)| {
            let mut graph = Graph {
                nodes: (nodes.iter())
                    .map(|group| node(group.checked_sub(1), false))
                    .collect(),
                groups: parents.iter().map(|parent| group(*parent)).collect(),
                edges: Vec::new(),
                starts: vec![0],
            };
            let mut pairs = edges;
            pairs.sort_unstable();
            pairs.dedup();
            for (from, to) in pairs {
                if from != to {
                    graph.edges.push(edge(End::Node(from), to));
                }
            }
            // An empty superstate is not in any chart.
            let full = |group: usize| graph.members(group).next().is_some();
            if let Some((from, to)) = outward.first()
                && (0..graph.groups.len()).all(full)
                && !graph.groups.is_empty()
            {
                graph.edges.push(edge(End::Group(*from), *to));
            }
            if !(0..graph.groups.len()).all(|group| graph.members(group).next().is_some()) {
                graph.groups.clear();
                graph.nodes.iter_mut().for_each(|node| node.group = None);
            }
            graph
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the chart, nothing lies on anything else, and the same chart gives the same picture.
    #[test]
    fn nothing_overlaps(graph in graphs()) {
        let layout = arrange(&graph);
        if let Err(broken) = check(&graph, &layout) {
            return Err(TestCaseError::fail(broken));
        }
        prop_assert_eq!(&layout, &arrange(&graph));
    }
}
