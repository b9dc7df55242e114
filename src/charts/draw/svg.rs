//! A picture as SVG.

use std::fmt::Write as _;

use super::MARK;
use super::layout::{self, End, Path, Piece, Rect};
use super::model::Model;
use super::picture::{LINE, PILL, Picture, SPACE, TEXT_SIZE};
use super::text::{width, xml};

const STYLE: &str = "\
text{font-family:'DejaVu Sans',Verdana,'Segoe UI',Helvetica,Arial,sans-serif;font-size:11px;fill:#1f2933}\
.name{font-size:13px;font-weight:bold}\
.group{font-size:12px;font-style:italic;fill:#52606d}\
.inner{fill:#52606d}\
.time{fill:#9c4a00}\
.guard{fill:#52606d;font-style:italic}\
.state{fill:#eaf2fb;stroke:#34618f;stroke-width:1.4}\
.final{fill:#f2efe9;stroke:#6b5f4b;stroke-width:1.4}\
.ring{fill:none;stroke:#6b5f4b;stroke-width:1}\
.rule{stroke:#b4c7db;stroke-width:1}\
.super{fill:#52606d;fill-opacity:.045;stroke:#7b8794;stroke-width:1.2;stroke-dasharray:6 4}\
.edge{fill:none;stroke:#3e4c59;stroke-width:1.3}\
.clock{fill:none;stroke:#9c4a00;stroke-width:1.2}";

/// A number as short as it can be.
fn n(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

fn path(way: &Path) -> String {
    let mut data = format!("M{} {}", n(way.from.x), n(way.from.y));
    for piece in &way.pieces {
        // Writing to a string does not fail.
        let _ = match piece {
            Piece::Line(to) => write!(data, "L{} {}", n(to.x), n(to.y)),
            Piece::Curve(a, b, to) => write!(
                data,
                "C{} {} {} {} {} {}",
                n(a.x),
                n(a.y),
                n(b.x),
                n(b.y),
                n(to.x),
                n(to.y)
            ),
        };
    }
    data
}

fn rect(class: &str, at: Rect, round: f64) -> String {
    format!(
        "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{}\"/>\n",
        n(at.x),
        n(at.y),
        n(at.width),
        n(at.height),
        n(round)
    )
}

fn text(class: &str, anchor: &str, x: f64, y: f64, content: &str) -> String {
    let class = if class.is_empty() {
        String::new()
    } else {
        format!(" class=\"{class}\"")
    };
    format!(
        "<text{class} x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{content}</text>\n",
        n(x),
        n(y)
    )
}

/// Draws the chart as an SVG document.
pub(super) fn svg(model: &Model) -> String {
    let picture = Picture::of(model);
    let layout = &picture.layout;
    let (width, height) = (n(layout.width), n(layout.height));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <!-- {MARK} -->\n<title>{}</title>\n<desc>{}</desc>\n<style>{STYLE}</style>\n\
         <defs><marker id=\"arrow\" markerUnits=\"userSpaceOnUse\" markerWidth=\"10\" markerHeight=\"8\" refX=\"9\" \
         refY=\"4\" orient=\"auto\"><path d=\"M0 0L10 4L0 8L2.5 4z\" fill=\"#3e4c59\"/></marker></defs>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#ffffff\"/>\n",
        xml(model.seen.name),
        xml(model.seen.about),
    );
    for at in &layout.groups {
        svg.push_str(&rect("super", *at, 12.0));
    }
    for (route, edge) in layout.routes.iter().zip(&picture.graph.edges) {
        svg.push_str(&format!(
            "<path class=\"edge\" d=\"{}\"/>\n",
            path(&route.before)
        ));
        if edge.to.is_some() {
            svg.push_str(&format!(
                "<path class=\"edge\" d=\"{}\" marker-end=\"url(#arrow)\"/>\n",
                path(&route.after)
            ));
        }
        if let End::Group(_) = edge.from {
            let layout::Point { x, y } = route.before.from;
            svg.push_str(&format!(
                "<circle cx=\"{}\" cy=\"{}\" r=\"3\" fill=\"#3e4c59\"/>\n",
                n(x),
                n(y)
            ));
        }
    }
    for (dot, way) in &layout.dots {
        svg.push_str(&format!(
            "<circle cx=\"{}\" cy=\"{}\" r=\"6\" fill=\"#1f2933\"/>\n\
             <path class=\"edge\" d=\"{}\" marker-end=\"url(#arrow)\"/>\n",
            n(dot.x),
            n(dot.y),
            path(way)
        ));
    }
    for (group, title) in model.groups.iter().zip(&layout.titles) {
        svg.push_str(&text(
            "group",
            "start",
            title.x + 2.0,
            title.y + 13.0,
            &xml(group.name),
        ));
    }
    for (number, at) in layout.nodes.iter().enumerate() {
        svg.push_str(&state(model, &picture, number, *at));
    }
    for (number, (route, lines)) in layout.routes.iter().zip(&picture.labels).enumerate() {
        let mut y = route.label.y + LINE - 1.0;
        for line in lines {
            let class = if line.timed { "time" } else { "" };
            let guard = match (line.event.as_str(), line.guard.as_str()) {
                (_, "") => String::new(),
                ("", guard) => format!("<tspan class=\"guard\">{}</tspan>", xml(guard)),
                (_, guard) => format!(
                    "<tspan class=\"guard\" dx=\"{}\">{}</tspan>",
                    n(SPACE),
                    xml(guard)
                ),
            };
            let content = xml(&line.event) + &guard;
            svg.push_str(&text(class, "middle", route.label.middle(), y, &content));
            y += LINE;
        }
        if picture.graph.edges[number].to.is_none() {
            svg.push_str(&shortcut(
                model, picture.arrows[number].target, &route.label,
            ));
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// A small box at the foot of a label, which names the state that the arrow leads to.
fn shortcut(model: &Model, target: &str, label: &Rect) -> String {
    let wide = width(target, TEXT_SIZE) + 16.0;
    let pill = Rect {
        x: label.middle() - wide / 2.0,
        y: label.bottom() - PILL,
        width: wide,
        height: PILL,
    };
    let class = if model.is_final(target) {
        "final"
    } else {
        "state"
    };
    let mut svg = format!(
        "<path class=\"edge\" d=\"M{x} {}L{x} {}\" marker-end=\"url(#arrow)\"/>\n",
        n(pill.y - 10.0),
        n(pill.y),
        x = n(label.middle()),
    );
    svg.push_str(&rect(class, pill, PILL / 2.0));
    svg.push_str(&text(
        "",
        "middle",
        label.middle(),
        pill.y + 12.5,
        &xml(target),
    ));
    svg
}

fn state(model: &Model, picture: &Picture, number: usize, at: Rect) -> String {
    let name = model.seen.states[number].spec.name;
    let is_final = model.is_final(name);
    let mut svg = rect(if is_final { "final" } else { "state" }, at, 9.0);
    if is_final {
        let ring = Rect {
            x: at.x + 3.0,
            y: at.y + 3.0,
            width: at.width - 6.0,
            height: at.height - 6.0,
        };
        svg.push_str(&rect("ring", ring, 6.5));
    }
    let (deadline, inner) = &picture.states[number];
    let mut y = at.y + 20.5;
    svg.push_str(&text("name", "middle", at.middle(), y, &xml(name)));
    if let Some(deadline) = deadline {
        y += LINE + 1.0;
        let left = at.middle() - (width(deadline, TEXT_SIZE) + 14.0) / 2.0;
        svg.push_str(&format!(
            "<path class=\"clock\" d=\"M{x} {y}m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0m4.5 -2.8v2.8h2.2\"/>\n",
            x = n(left + 4.5),
            y = n(y - 4.0)
        ));
        svg.push_str(&text("time", "start", left + 13.0, y, &xml(deadline)));
    }
    if !inner.is_empty() {
        y += 7.0;
        svg.push_str(&format!(
            "<path class=\"rule\" d=\"M{} {y}H{}\"/>\n",
            n(at.x),
            n(at.right()),
            y = n(y)
        ));
        for line in inner {
            y += LINE;
            svg.push_str(&text("inner", "middle", at.middle(), y, &xml(line)));
        }
    }
    svg
}
