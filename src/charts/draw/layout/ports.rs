//! Where arrows meet their states.

use super::place::Places;
use super::rank::Rows;
use super::{Edge, End, Graph};

/// The distance between two arrows at the same side of a state.
const PORT: f64 = 20.0;
/// Whether an arrow leads from one state to the next in the order of a normal life.
pub(super) fn onward(edge: &Edge) -> bool {
    (edge.to).is_some_and(|to| to > 0 && edge.from == End::Node(to - 1))
}

/// What meets a state at one side, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meeting {
    Leaves(usize),
    Arrives(usize),
    Begins(usize),
}

/// The arrows and dots at one side of a state, from left to right, each with its distance from the state's middle.
fn meetings(
    graph: &Graph,
    rows: &Rows,
    places: &Places,
    node: usize,
    below: bool,
) -> Vec<(Meeting, Port)> {
    let mut here = Vec::new();
    for (number, (edge, lane)) in graph.edges.iter().zip(&rows.lanes).enumerate() {
        if edge.from == End::Node(node) && lane.upward != below {
            here.push((places.lanes[number], Meeting::Leaves(number)));
        }
        if edge.to == Some(node) && lane.upward == below {
            here.push((places.lanes[number], Meeting::Arrives(number)));
        }
    }
    for (dot, start) in graph.starts.iter().enumerate() {
        if *start == node && !below {
            here.push((places.dots[dot], Meeting::Begins(dot)));
        }
    }
    here.sort_by_key(|(at, _)| *at);
    // The way of a normal life meets the state in the middle.
    let main = here.iter().position(|(_, meeting)| match *meeting {
        Meeting::Leaves(edge) | Meeting::Arrives(edge) => onward(&graph.edges[edge]),
        Meeting::Begins(_) => true,
    });
    let half = graph.nodes[node].width / 2.0 - 12.0;
    let (middle, side) = match main {
        Some(main) => (main as f64, main.max(here.len() - 1 - main) as f64),
        None => {
            let middle = (here.len() as f64 - 1.0) / 2.0;
            (middle, middle)
        }
    };
    let step = PORT.min(half / side.max(0.5));
    (here.into_iter().enumerate())
        .map(|(number, (_, meeting))| {
            let port = Port {
                offset: (number as f64 - middle) * step,
                slack: (step / 3.0).min(6.0),
            };
            (meeting, port)
        })
        .collect()
}

/// Where an arrow meets a state.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Port {
    /// The distance from the middle of the state.
    pub offset: f64,
    /// How far it can be moved without coming too close to the next one.
    slack: f64,
}

impl Port {
    /// The place at a state whose middle is known: straight above or below the lane, if that is near.
    pub fn meet(&self, middle: f64, lane: f64) -> f64 {
        let x = middle + self.offset;
        if (x - lane).abs() < self.slack {
            lane
        } else {
            x
        }
    }
}

/// Where arrows and dots meet their states.
#[derive(Debug, Clone)]
pub(super) struct Ports {
    pub leaves: Vec<Port>,
    pub arrives: Vec<Port>,
    pub begins: Vec<Port>,
}

impl Ports {
    pub fn new(graph: &Graph, rows: &Rows, places: &Places) -> Self {
        let mut ports = Ports {
            leaves: vec![Port::default(); graph.edges.len()],
            arrives: vec![Port::default(); graph.edges.len()],
            begins: vec![Port::default(); graph.starts.len()],
        };
        for node in 0..graph.nodes.len() {
            for below in [false, true] {
                for (meeting, port) in meetings(graph, rows, places, node, below) {
                    match meeting {
                        Meeting::Leaves(edge) => ports.leaves[edge] = port,
                        Meeting::Arrives(edge) => ports.arrives[edge] = port,
                        Meeting::Begins(dot) => ports.begins[dot] = port,
                    }
                }
            }
        }
        ports
    }
}
