//! The curves, the titles, and the frame.

use super::height::{DOT, Heights, heights};
use super::place::{Placed, Side};
use super::rank::Rows;
use super::{End, Graph, Layout, Path, Piece, Point, Rect, Route};

/// Around the picture.
const MARGIN: f64 = 20.0;
/// The height of a title.
const TITLE_HEIGHT: f64 = 18.0;

/// Draws the curves of a layout whose places are known.
pub(super) fn route(graph: &Graph, rows: &Rows, placed: &Placed) -> Layout {
    let heights = heights(graph, rows, placed);
    let at = |x: f64, y: f64| Point { x, y };
    let mut layout = Layout::default();
    for (node, spec) in graph.nodes.iter().enumerate() {
        let (top, bottom) = heights.rows[rows.nodes[node]];
        layout.nodes.push(Rect {
            x: placed.places.node(node) - spec.width / 2.0,
            y: (top + bottom - spec.height) / 2.0,
            width: spec.width,
            height: spec.height,
        });
    }
    for (group, (top, bottom)) in heights.groups.iter().enumerate() {
        let (left, right) = placed.places.group(group);
        layout.groups.push(Rect {
            x: left,
            y: *top,
            width: right - left,
            height: bottom - top,
        });
    }
    for number in 0..graph.edges.len() {
        let route = arrow(graph, rows, placed, &heights, &layout, number);
        layout.routes.push(route);
    }
    for (dot, node) in graph.starts.iter().enumerate() {
        let (top, bottom) = heights.rows[rows.dots[dot].0];
        let from = at(placed.places.dot(dot), (top + bottom) / 2.0);
        let to = layout.nodes[*node];
        let mut way = Pen::new(at(from.x, from.y + DOT / 2.0));
        way.line(heights.reach[rows.dots[dot].0].1);
        way.curve(
            placed.ports.begins[dot].meet(to.middle(), from.x),
            heights.reach[rows.nodes[*node]].0,
        );
        way.line(to.y);
        layout.dots.push((from, way.path));
    }
    titles(graph, &mut layout);
    frame(&mut layout);
    layout
}

/// Draws lines that leave and arrive upright.
struct Pen {
    path: Path,
    at: Point,
}

impl Pen {
    fn new(from: Point) -> Self {
        Pen {
            path: Path {
                from,
                pieces: Vec::new(),
            },
            at: from,
        }
    }

    /// Straight up or down.
    fn line(&mut self, y: f64) {
        if (y - self.at.y).abs() > 0.01 {
            self.at.y = y;
            self.path.pieces.push(Piece::Line(self.at));
        }
    }

    /// Sideways on the way up or down.
    fn curve(&mut self, x: f64, y: f64) {
        if (x - self.at.x).abs() < 0.5 {
            self.at.x = x;
            return self.line(y);
        }
        let middle = (self.at.y + y) / 2.0;
        let to = Point { x, y };
        let first = Point {
            x: self.at.x,
            y: middle,
        };
        let second = Point { x, y: middle };
        self.path.pieces.push(Piece::Curve(first, second, to));
        self.at = to;
    }
}

fn arrow(
    graph: &Graph,
    rows: &Rows,
    placed: &Placed,
    heights: &Heights,
    layout: &Layout,
    number: usize,
) -> Route {
    let (edge, lane) = (&graph.edges[number], &rows.lanes[number]);
    let x = placed.places.lane(number);
    let (top, bottom) = heights.rows[lane.label];
    let label = Rect {
        x: x - edge.width / 2.0,
        y: (top + bottom - edge.height) / 2.0,
        width: edge.width,
        height: edge.height,
    };
    // The near and the far side of a row, of a label and of a box, on the way down or up.
    let near = |(top, bottom): (f64, f64)| if lane.upward { bottom } else { top };
    let far = |(top, bottom): (f64, f64)| if lane.upward { top } else { bottom };
    let sides = |rect: &Rect| (rect.y, rect.bottom());
    let (first, last) = if lane.upward {
        (lane.last, lane.first)
    } else {
        (lane.first, lane.last)
    };

    let mut before = match (edge.from, lane.side) {
        (End::Node(node), _) => {
            let rect = &layout.nodes[node];
            let mut pen = Pen::new(Point {
                x: placed.ports.leaves[number].meet(rect.middle(), x),
                y: far(sides(rect)),
            });
            pen.line(far(heights.reach[rows.nodes[node]]));
            pen
        }
        (End::Group(group), None) => {
            let rect = &layout.groups[group];
            // Others that leave the same border keep their order.
            let beside = |left: bool| {
                let others = (graph.edges.iter().zip(&rows.lanes).enumerate())
                    .filter(|(_, (other, way))| {
                        other.from == edge.from && way.upward == lane.upward && way.side.is_none()
                    })
                    .filter(|(other, _)| {
                        let (it, me) = (placed.places.lanes[*other], placed.places.lanes[number]);
                        if left { it < me } else { it > me }
                    });
                14.0 + 16.0 * others.count() as f64
            };
            let mut pen = Pen::new(Point {
                x: x.min(rect.right() - beside(false))
                    .max(rect.x + beside(true)),
                y: far(sides(rect)),
            });
            let row = if lane.upward {
                rows.groups[group].0
            } else {
                rows.groups[group].1
            };
            pen.line(far(heights.reach[row]));
            pen
        }
        (End::Group(_), Some(group)) => {
            let rect = &layout.groups[group];
            let y = label.y + label.height / 2.0;
            let (from, to) = match placed.places.side(number, group) {
                Side::LeftOutside => (rect.x, label.right()),
                Side::LeftInside => (rect.x, label.x),
                Side::RightInside => (rect.right(), label.right()),
                Side::RightOutside => (rect.right(), label.x),
            };
            let mut pen = Pen::new(Point { x: from, y });
            pen.path.pieces.push(Piece::Line(Point { x: to, y }));
            pen
        }
    };
    if lane.side.is_none() {
        before.curve(x, near(heights.reach[first]));
        before.line(near(sides(&label)));
    }
    let mut after = Pen::new(Point {
        x,
        y: far(sides(&label)),
    });
    if let Some(to) = edge.to {
        let target = &layout.nodes[to];
        after.line(far(heights.reach[last]));
        after.curve(
            placed.ports.arrives[number].meet(target.middle(), x),
            near(heights.reach[rows.nodes[to]]),
        );
        after.line(near(sides(target)));
    }
    Route {
        before: before.path,
        label,
        after: after.path,
    }
}

impl Path {
    /// Points along the way, close enough to each other for every purpose here.
    pub fn points(&self) -> Vec<Point> {
        let mut points = vec![self.from];
        let mut at = self.from;
        for piece in &self.pieces {
            for step in 1..=24 {
                let t = f64::from(step) / 24.0;
                let u = 1.0 - t;
                points.push(match *piece {
                    Piece::Line(to) => Point {
                        x: u * at.x + t * to.x,
                        y: u * at.y + t * to.y,
                    },
                    Piece::Curve(a, b, to) => Point {
                        x: u * u * u * at.x
                            + 3.0 * u * u * t * a.x
                            + 3.0 * u * t * t * b.x
                            + t * t * t * to.x,
                        y: u * u * u * at.y
                            + 3.0 * u * u * t * a.y
                            + 3.0 * u * t * t * b.y
                            + t * t * t * to.y,
                    },
                });
            }
            at = match *piece {
                Piece::Line(to) | Piece::Curve(_, _, to) => to,
            };
        }
        points
    }
}

/// Puts the title of each superstate where no arrow comes through.
fn titles(graph: &Graph, layout: &mut Layout) {
    let points: Vec<Point> = (layout.routes.iter())
        .flat_map(|route| [&route.before, &route.after])
        .chain(layout.dots.iter().map(|(_, path)| path))
        .flat_map(Path::points)
        .collect();
    for (group, spec) in graph.groups.iter().enumerate() {
        let rect = layout.groups[group];
        let mut title = Rect {
            x: rect.x + 10.0,
            y: rect.y + 4.0,
            width: spec.title_width,
            height: TITLE_HEIGHT,
        };
        let home = title.x;
        let crossed = |title: &Rect| {
            points.iter().any(|point| {
                (title.x - 6.0..title.right() + 6.0).contains(&point.x)
                    && (title.y - 3.0..title.bottom() + 3.0).contains(&point.y)
            })
        };
        while crossed(&title) && title.right() + 14.0 < rect.right() {
            title.x += 4.0;
        }
        if crossed(&title) {
            title.x = home;
        }
        layout.titles.push(title);
    }
}

/// Moves everything so that the picture begins at its margin, and measures it.
fn frame(layout: &mut Layout) {
    let boxes = || {
        (layout.nodes.iter())
            .chain(&layout.groups)
            .chain(layout.routes.iter().map(|route| &route.label))
    };
    let left = boxes().map(|rect| rect.x).fold(f64::INFINITY, f64::min) - MARGIN;
    let top = boxes().map(|rect| rect.y).fold(f64::INFINITY, f64::min);
    let dots = layout.dots.iter().map(|(dot, _)| dot.y - DOT / 2.0);
    let top = dots.fold(top, f64::min) - MARGIN;
    layout.width = (boxes().map(Rect::right).fold(0.0, f64::max) + MARGIN - left).ceil();
    layout.height = (boxes().map(Rect::bottom).fold(0.0, f64::max) + MARGIN - top).ceil();
    let point = |point: &mut Point| {
        point.x -= left;
        point.y -= top;
    };
    let rect = |rect: &mut Rect| {
        rect.x -= left;
        rect.y -= top;
    };
    let path = |path: &mut Path| {
        point(&mut path.from);
        for piece in &mut path.pieces {
            match piece {
                Piece::Line(to) => point(to),
                Piece::Curve(a, b, to) => [a, b, to].into_iter().for_each(point),
            }
        }
    };
    layout.nodes.iter_mut().for_each(rect);
    layout.groups.iter_mut().for_each(rect);
    layout.titles.iter_mut().for_each(rect);
    for route in &mut layout.routes {
        path(&mut route.before);
        rect(&mut route.label);
        path(&mut route.after);
    }
    for (dot, way) in &mut layout.dots {
        point(dot);
        path(way);
    }
}
