//! Coordinates from top to bottom.

use super::place::Placed;
use super::rank::Rows;
use super::{End, Graph};

/// Between two rows.
const GAP: f64 = 22.0;
/// Room for a superstate's title, above what is in it.
const TITLE: f64 = 30.0;
/// Below what is in a superstate.
const FOOT: f64 = 14.0;
/// The size of an initial dot.
pub(super) const DOT: f64 = 12.0;

/// The top and the bottom of each row and of each superstate.
pub(super) struct Heights {
    pub rows: Vec<(f64, f64)>,
    /// The rows, with the borders of superstates above and below them. Between these, arrows bend.
    pub reach: Vec<(f64, f64)>,
    pub groups: Vec<(f64, f64)>,
}

/// Stacks the rows, with room between them for bends and for the borders of superstates.
pub(super) fn heights(graph: &Graph, rows: &Rows, placed: &Placed) -> Heights {
    let mut high = vec![0.0_f64; rows.count];
    for (node, row) in rows.nodes.iter().enumerate() {
        high[*row] = high[*row].max(graph.nodes[node].height);
    }
    for (edge, lane) in graph.edges.iter().zip(&rows.lanes) {
        high[lane.label] = high[lane.label].max(edge.height);
    }
    for (row, _) in &rows.dots {
        high[*row] = high[*row].max(DOT);
    }
    // Superstates within each other that begin or end together need room for one border after the other.
    let mut heads = vec![TITLE; graph.groups.len()];
    let mut feet = vec![FOOT; graph.groups.len()];
    for (group, spec) in graph.groups.iter().enumerate().rev() {
        if let Some(parent) = spec.parent {
            if rows.groups[parent].0 == rows.groups[group].0 {
                heads[parent] = heads[parent].max(heads[group] + TITLE);
            }
            if rows.groups[parent].1 == rows.groups[group].1 {
                feet[parent] = feet[parent].max(feet[group] + FOOT);
            }
        }
    }
    let sway = sway(graph, rows, placed);
    let mut y = 0.0;
    let mut tops = Vec::new();
    let mut reach = Vec::new();
    for row in 0..rows.count {
        let begun = y;
        let starting = (0..heads.len()).filter(|group| rows.groups[*group].0 == row);
        y += starting.map(|group| heads[group]).fold(0.0, f64::max);
        tops.push((y, y + high[row]));
        y += high[row];
        let ending = (0..feet.len()).filter(|group| rows.groups[*group].1 == row);
        y += ending.map(|group| feet[group]).fold(0.0, f64::max);
        reach.push((begun, y));
        // A wide bend needs height to look like a bend.
        let bare = high[row] == 0.0 || high.get(row + 1).is_none_or(|next| *next == 0.0);
        y += if bare { 6.0 } else { GAP } + (sway[row] * 0.12).min(50.0);
    }
    Heights {
        groups: (0..graph.groups.len())
            .map(|group| {
                let (first, last) = rows.groups[group];
                (tops[first].0 - heads[group], tops[last].1 + feet[group])
            })
            .collect(),
        rows: tops,
        reach,
    }
}

/// How far arrows go sideways below each row.
fn sway(graph: &Graph, rows: &Rows, placed: &Placed) -> Vec<f64> {
    let mut sway = vec![0.0_f64; rows.count];
    for (number, (edge, lane)) in graph.edges.iter().zip(&rows.lanes).enumerate() {
        let x = placed.places.lane(number);
        let mut note = |at_top: bool, distance: f64| {
            let gap = if at_top { lane.first - 1 } else { lane.last };
            sway[gap] = sway[gap].max(distance);
        };
        if let Some(to) = edge.to {
            let to = placed.places.node(to) + placed.ports.arrives[number].offset;
            note(lane.upward, (x - to).abs());
        }
        match edge.from {
            End::Node(node) => {
                let from = placed.places.node(node) + placed.ports.leaves[number].offset;
                note(!lane.upward, (x - from).abs());
            }
            End::Group(group) if lane.side.is_none() => {
                note(!lane.upward, placed.places.beside(group, x));
            }
            End::Group(_) => {}
        }
    }
    sway
}
