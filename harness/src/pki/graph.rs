//! `seaworthy pki graph`: the trust graph for Graphviz, as JSON, and as a picture that needs no program.

use std::collections::HashMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use seaworthy_checks::pki::graph::{EdgeKind, Graph, Node, NodeKind};

use super::expiry::pretty;

pub(super) fn json(graph: &Graph) -> String {
    serde_json::to_value(graph).map(|value| pretty(&value)).unwrap_or_default()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

pub(super) fn dot(graph: &Graph) -> String {
    let mut out = "digraph pki {\n  rankdir=LR;\n  node [fontname=\"sans-serif\", fontsize=11];\n".to_owned();
    for node in &graph.nodes {
        let shape = match node.kind {
            NodeKind::Authority => "box, style=bold",
            NodeKind::Certificate => "box",
            NodeKind::Holder => "ellipse",
        };
        let until = node.not_after.map(|until| format!("\\n{}", until.strftime("%Y-%m-%d"))).unwrap_or_default();
        let label = quoted(&node.label);
        // Writing to a string does not fail.
        let _ = writeln!(out, "  {} [shape={shape}, label={}{until}\"];", quoted(&node.id), &label[..label.len() - 1]);
    }
    for edge in &graph.edges {
        let style = match edge.kind {
            EdgeKind::Signs => "style=bold".to_owned(),
            EdgeKind::Shows => format!("label={}", quoted(&edge.role)),
            EdgeKind::Trusts => format!("style=dashed, label={}", quoted(&edge.role)),
        };
        let _ = writeln!(out, "  {} -> {} [{style}];", quoted(&edge.from), quoted(&edge.to));
    }
    for why in &graph.missing {
        let _ = writeln!(out, "  // missing: {}", why.replace('\n', " "));
    }
    out + "}\n"
}

const WIDTH: usize = 260;
const HEIGHT: usize = 46;
const GAP: usize = 18;
const MARGIN: usize = 20;
const LINE: usize = 16;
/// Where the columns of CAs, certificates and holders begin.
const COLUMNS: [usize; 3] = [MARGIN, MARGIN + 420, MARGIN + 840];

/// A picture in three columns: CAs, what they signed, who shows it. What a holder trusts is a dashed line.
pub(super) fn svg(graph: &Graph, now: Timestamp) -> String {
    let column = |node: &Node| match node.kind {
        NodeKind::Authority => 0,
        NodeKind::Certificate => 1,
        NodeKind::Holder => 2,
    };
    let mut filled = [0_usize; 3];
    let mut places: HashMap<&str, (usize, usize)> = HashMap::new();
    for node in &graph.nodes {
        let column = column(node);
        places.insert(&node.id, (COLUMNS[column], MARGIN + 30 + filled[column] * (HEIGHT + GAP)));
        filled[column] += 1;
    }
    let rows = filled.into_iter().max().unwrap_or(0);
    let below = MARGIN + 30 + rows * (HEIGHT + GAP);
    let (width, height) = (COLUMNS[2] + WIDTH + MARGIN, below + MARGIN + graph.missing.len() * LINE);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"system-ui, sans-serif\" font-size=\"12\" role=\"img\" aria-label=\"Who \
         signed what, who shows it and who trusts it\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (x, title) in COLUMNS.iter().zip(["CAs", "certificates", "who shows them; dashed: whom they trust"]) {
        // Writing to a string does not fail.
        let _ = writeln!(out, "<text x=\"{x}\" y=\"{}\" fill=\"#555\">{title}</text>", MARGIN + 10);
    }
    for edge in &graph.edges {
        let (Some(&from), Some(&to)) = (places.get(edge.from.as_str()), places.get(edge.to.as_str())) else { continue };
        let (color, dash) = match edge.kind {
            EdgeKind::Signs => ("#2563a8", ""),
            EdgeKind::Shows => ("#4a7a4a", ""),
            EdgeKind::Trusts => ("#999", " stroke-dasharray=\"4 4\""),
        };
        let middle = |(_, y): (usize, usize)| y + HEIGHT / 2;
        // From the right side of the left one to the left side of the right one.
        let (left, right) = if from.0 <= to.0 { (from, to) } else { (to, from) };
        let (x1, x2) = (left.0 + WIDTH, if left.0 == right.0 { right.0 + WIDTH } else { right.0 });
        let (y1, y2) = (middle(left), middle(right));
        let bend = if left.0 == right.0 { x1 + 60 } else { (x1 + x2) / 2 };
        let _ = writeln!(
            out,
            "<path d=\"M{x1} {y1} C{bend} {y1} {bend} {y2} {x2} {y2}\" fill=\"none\" \
             stroke=\"{color}\"{dash}><title>{}</title></path>",
            escape(&edge.role)
        );
    }
    for node in &graph.nodes {
        let (x, y) = places[node.id.as_str()];
        let over = node.not_after.is_some_and(|until| until < now);
        let (fill, stroke) = match node.kind {
            _ if over => ("#fde8e8", "#b42318"),
            NodeKind::Authority => ("#e8f0fb", "#2563a8"),
            NodeKind::Certificate => ("#f6f6f6", "#777"),
            NodeKind::Holder => ("#eaf5ea", "#4a7a4a"),
        };
        let second = node.not_after.map(|until| {
            let key = if node.has_key { "" } else { ", key elsewhere" };
            format!("until {}{key}", until.strftime("%Y-%m-%d"))
        });
        let _ = writeln!(
            out,
            "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"5\" \
             fill=\"{fill}\" stroke=\"{stroke}\"/><text x=\"{}\" y=\"{}\">{}</text><text x=\"{}\" y=\"{}\" \
             fill=\"#555\" font-size=\"11\">{}</text></g>",
            escape(&node.files.join("\n")),
            x + 10,
            y + 19,
            escape(&shortened(&node.label, 36)),
            x + 10,
            y + 36,
            escape(&second.unwrap_or_default())
        );
    }
    for (number, why) in graph.missing.iter().enumerate() {
        let why = escape(&shortened(why, 150));
        let _ = writeln!(
            out,
            "<text x=\"{MARGIN}\" y=\"{}\" fill=\"#b42318\">Missing: {why}</text>",
            below + number * LINE
        );
    }
    out + "</svg>\n"
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
