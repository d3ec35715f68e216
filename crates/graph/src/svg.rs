//! The drawing as SVG: one file, no scripts, no references; titles tell screen readers and mice what is meant.

use std::fmt::Write;

use crate::badge::{Badge, Glyph};
use crate::chart::Lane;
use crate::layered::Point;
use crate::place::{BADGE, Curve, Drawing, Label, NAME_LINE, PADDING, Shape, ShapeKind, TITLE_LINE};
use crate::polyline::{path_data, until_shared};
use crate::status::{Status, Statuses};
use crate::style::{Theme, sheet};
use crate::{glyphs, style};

/// Writes the drawing; with statuses, states and edges are coloured as the console does.
pub fn svg(drawing: &Drawing<'_>, statuses: Option<&Statuses>, theme: style::Theme) -> String {
    let mut writer = Writer { out: String::new(), statuses };
    writer.head(drawing, theme);
    writer.curves(drawing);
    drawing.shapes.iter().for_each(|shape| writer.shape(shape));
    drawing.curves.iter().for_each(|curve| writer.label(curve));
    writer.out.push_str("</svg>\n");
    writer.out
}

/// A coordinate, with at most one digit after the point.
pub(crate) fn number(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    // Minus zero is zero.
    format!("{}", rounded + 0.0)
}

struct Writer<'a> {
    out: String,
    statuses: Option<&'a Statuses>,
}

macro_rules! put {
    ($writer:expr, $($words:tt)*) => {
        // Writing to a String cannot fail.
        let _ = writeln!($writer.out, $($words)*);
    };
}

impl Writer<'_> {
    fn head(&mut self, drawing: &Drawing<'_>, theme: Theme) {
        let (width, height) = (number(drawing.width.ceil()), number(drawing.height.ceil()));
        put!(
            self,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">"
        );
        let title = drawing.chart.comment.as_deref().unwrap_or("State machine");
        put!(self, "<title>{}</title>", escaped(title));
        put!(self, "<style>{}</style>", sheet(theme));
        put!(
            self,
            "<defs><pattern id=\"dots\" width=\"16\" height=\"16\" patternUnits=\"userSpaceOnUse\">\
             <circle class=\"dot\" cx=\"8\" cy=\"8\" r=\"1\"/></pattern></defs>"
        );
        put!(
            self,
            "<rect class=\"canvas\" x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"12\"/>",
            number(drawing.width.ceil() - 1.0),
            number(drawing.height.ceil() - 1.0)
        );
        put!(self, "<rect width=\"{width}\" height=\"{height}\" rx=\"12\" fill=\"url(#dots)\"/>");
    }

    /// Edges in the background; boxes around scopes lie below them.
    fn curves(&mut self, drawing: &Drawing<'_>) {
        for shape in drawing.shapes.iter().filter(|shape| shape.height > shape.head) {
            self.around(shape);
        }
        let mut drawn: Vec<(&Curve, Vec<Point>)> = Vec::new();
        let mut arrows: Vec<(i64, i64, Lane)> = Vec::new();
        let (taken, other): (Vec<&Curve>, Vec<&Curve>) =
            drawing.curves.iter().partition(|curve| self.taken(curve));
        for curve in other.into_iter().chain(taken) {
            let points: Vec<Point> = curve.points.iter().map(|(x, y)| Point { x: *x, y: *y }).collect();
            let mut line = points.clone();
            let taken = self.taken(curve);
            if curve.lane == Lane::Catch && !taken {
                let beside =
                    drawn.iter().filter(|(other, _)| other.lane == curve.lane && other.to == curve.to);
                for (_, other) in beside {
                    let cut = until_shared(&points, other);
                    if length(&cut) < length(&line) {
                        line = cut;
                    }
                }
            }
            self.edge(curve, &line, taken);
            let end = points.last().copied().unwrap_or_default();
            let spot = ((end.x * 10.0) as i64, (end.y * 10.0) as i64, curve.lane);
            if taken || !arrows.contains(&spot) {
                self.arrow(curve, end, taken);
                arrows.push(spot);
            }
            drawn.push((curve, points));
        }
    }

    fn taken(&self, curve: &Curve) -> bool {
        let pair = (curve.from.clone(), curve.to.clone());
        self.statuses.is_some_and(|statuses| statuses.taken.contains(&pair))
    }

    fn edge(&mut self, curve: &Curve, points: &[Point], taken: bool) {
        let class = classes("edge", curve.lane, taken);
        // The line ends inside its arrow.
        let mut points = points.to_vec();
        if let (Some(last), Some((_, end))) = (points.last_mut(), curve.points.last())
            && (last.y - end).abs() < 0.01
        {
            last.y -= 4.0;
        }
        put!(self, "<path class=\"{class}\" d=\"{}\"/>", path_data(&points));
    }

    fn arrow(&mut self, curve: &Curve, end: Point, taken: bool) {
        let (x, y) = (end.x, end.y);
        let class = classes("arrow", curve.lane, taken);
        put!(
            self,
            "<path class=\"{class}\" d=\"M{} {}L{} {}L{} {}z\"/>",
            number(x),
            number(y),
            number(x - 4.5),
            number(y - 8.5),
            number(x + 4.5),
            number(y - 8.5)
        );
    }

    fn around(&mut self, shape: &Shape<'_>) {
        let aside = shape.stacked();
        for step in [aside, aside / 2.0].into_iter().filter(|step| *step > 0.0) {
            rect(&mut self.out, "behind", shape, step, 10.0);
        }
        rect(&mut self.out, "around", shape, 0.0, 10.0);
        let (x, y, right) = (shape.x, shape.y, shape.x + shape.width);
        let bottom = y + shape.head;
        put!(
            self,
            "<path class=\"head\" d=\"M{left} {bottom}V{round}Q{left} {top} {inner} {top}H{outer}Q{right} {top} \
             {right} {round}V{bottom}z\"/><path class=\"rule\" d=\"M{left} {bottom}H{right}\"/>",
            left = number(x),
            bottom = number(bottom),
            round = number(y + 10.0),
            top = number(y),
            inner = number(x + 10.0),
            outer = number(right - 10.0),
            right = number(right)
        );
        let class = format!("frame{}", self.status(shape).map_or(String::new(), seen));
        rect(&mut self.out, &class, shape, 0.0, 10.0);
    }

    fn status(&self, shape: &Shape<'_>) -> Option<Status> {
        let ShapeKind::State(state) = shape.kind else { return None };
        self.statuses?.states.get(&state.name).copied()
    }

    fn shape(&mut self, shape: &Shape<'_>) {
        let ShapeKind::State(state) = shape.kind else { return self.terminal(shape) };
        let status = self.status(shape);
        put!(self, "<g>");
        let comment = state.comment.as_deref().map(|text| format!("\n{text}")).unwrap_or_default();
        let word = status.map(|status| format!(" · {}", status.word())).unwrap_or_default();
        put!(self, "<title>{}</title>", escaped(&format!("{} · {}{word}{comment}", state.name, state.title)));
        if shape.height <= shape.head {
            put!(
                self,
                "<rect class=\"shadow\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"8\" opacity=\".08\"/>",
                number(shape.x),
                number(shape.y + 2.0),
                number(shape.width),
                number(shape.height)
            );
            let class = format!("state{}", status.map_or(String::new(), seen));
            rect(&mut self.out, &class, shape, 0.0, 8.0);
        }
        let badge_y = shape.y + (shape.head - BADGE) / 2.0;
        self.badge(&state.badge, shape.x + PADDING, badge_y);
        let (x, text) = (shape.x + BADGE + 2.0 * PADDING, TITLE_LINE + NAME_LINE * shape.name.len() as f64);
        let top = shape.y + (shape.head - text) / 2.0;
        put!(
            self,
            "<text class=\"title\" x=\"{}\" y=\"{}\">{}</text>",
            number(x),
            number(top + 11.0),
            escaped(&state.title)
        );
        for (index, line) in shape.name.iter().enumerate() {
            let y = top + TITLE_LINE + NAME_LINE * index as f64 + 13.5;
            put!(
                self,
                "<text class=\"name\" x=\"{}\" y=\"{}\">{}</text>",
                number(x),
                number(y),
                escaped(line)
            );
        }
        if let Some(status) = status {
            self.mark(status, shape.x + shape.width - 2.0, shape.y + 2.0);
        }
        put!(self, "</g>");
    }

    fn badge(&mut self, badge: &Badge, x: f64, y: f64) {
        put!(
            self,
            "<rect x=\"{}\" y=\"{}\" width=\"{BADGE}\" height=\"{BADGE}\" rx=\"7\" fill=\"{}\"/>",
            number(x),
            number(y),
            badge.colour
        );
        match &badge.glyph {
            Glyph::Drawn(name) => {
                let at = (number(x + 6.0), number(y + 6.0));
                put!(
                    self,
                    "<path class=\"glyph\" transform=\"translate({} {})\" d=\"{}\"/>",
                    at.0,
                    at.1,
                    glyphs::strokes(name)
                );
            }
            Glyph::Letters(letters) => {
                let at = (number(x + BADGE / 2.0), number(y + BADGE / 2.0 + 5.0));
                put!(
                    self,
                    "<text class=\"letters\" x=\"{}\" y=\"{}\">{}</text>",
                    at.0,
                    at.1,
                    escaped(letters)
                );
            }
        }
    }

    /// The status in a circle at the corner of a box.
    fn mark(&mut self, status: Status, x: f64, y: f64) {
        let drawing = match status {
            Status::Succeeded => "M-3.8 .4L-1 3.2L4 -3",
            Status::InProgress => "M0 -4V0L2.8 2",
            Status::Aborted => "M-3.6 0H3.6",
            Status::CaughtError => "M0 -4.2V.6M0 3.8V4",
            Status::Failed => "M-3 -3L3 3M3 -3L-3 3",
        };
        put!(
            self,
            "<g transform=\"translate({} {})\"><circle class=\"disc {}\" r=\"9\"/>\
             <path class=\"mark\" d=\"{drawing}\"/></g>",
            number(x),
            number(y),
            status.class()
        );
    }

    fn terminal(&mut self, shape: &Shape<'_>) {
        let word = if matches!(shape.kind, ShapeKind::Start) { "Start" } else { "End" };
        rect(&mut self.out, "terminal", shape, 0.0, shape.height / 2.0);
        put!(
            self,
            "<text class=\"end\" x=\"{}\" y=\"{}\">{word}</text>",
            number(shape.x + shape.width / 2.0),
            number(shape.y + shape.height / 2.0 + 4.3)
        );
    }

    fn label(&mut self, curve: &Curve) {
        let Some(Label { text, x, y, width, height }) = &curve.label else { return };
        let catch = if curve.lane == Lane::Catch { " catch" } else { "" };
        let detail = curve.detail.as_deref().unwrap_or(text);
        put!(
            self,
            "<g><title>{}</title><rect class=\"plate{catch}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" \
             rx=\"10\"/><text class=\"label{catch}\" x=\"{}\" y=\"{}\">{}</text></g>",
            escaped(detail),
            number(*x),
            number(*y),
            number(*width),
            number(*height),
            number(x + width / 2.0),
            number(y + height / 2.0 + 3.8),
            escaped(text)
        );
    }
}

fn rect(out: &mut String, class: &str, shape: &Shape<'_>, aside: f64, radius: f64) {
    let _ = writeln!(
        out,
        "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{}\"/>",
        number(shape.x + aside),
        number(shape.y + aside),
        number(shape.width),
        number(shape.height),
        number(radius)
    );
}

fn classes(name: &str, lane: Lane, taken: bool) -> String {
    let catch = if lane == Lane::Catch { " catch" } else { "" };
    let taken = if taken { " taken" } else { "" };
    format!("{name}{catch}{taken}")
}

fn seen(status: Status) -> String {
    format!(" seen {}", status.class())
}

fn length(points: &[Point]) -> f64 {
    points.windows(2).map(|pair| (pair[0].x - pair[1].x).abs() + (pair[0].y - pair[1].y).abs()).sum()
}

/// Text inside an element; what XML cannot hold is shown as a replacement.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(letter),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                out.push('\u{fffd}')
            }
            letter => out.push(letter),
        }
    }
    out
}
