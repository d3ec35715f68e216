//! Lines with right angles: made shorter, cut where another line goes on, and written with round corners.

use crate::layered::Point;

/// Radius of a corner, where there is room for it.
const CORNER: f64 = 8.0;

/// Without points that change nothing.
pub(crate) fn simplified(points: Vec<Point>) -> Vec<Point> {
    let mut kept: Vec<Point> = Vec::new();
    for point in points {
        if kept.last().is_some_and(|last| same(*last, point)) {
            continue;
        }
        if let [.., one, two] = kept.as_slice() {
            let upright = (one.x - two.x).abs() < 0.01 && (two.x - point.x).abs() < 0.01;
            let level = (one.y - two.y).abs() < 0.01 && (two.y - point.y).abs() < 0.01;
            if upright || level {
                kept.pop();
            }
        }
        kept.push(point);
    }
    kept
}

fn same(one: Point, other: Point) -> bool {
    (one.x - other.x).abs() < 0.01 && (one.y - other.y).abs() < 0.01
}

/// `line` up to where the rest of it lies on `other`, with a corner's length more; the whole line if they never meet.
/// Dashes drawn twice with different beginnings would look like a full line.
pub(crate) fn until_shared(line: &[Point], other: &[Point]) -> Vec<Point> {
    let (Some(end), Some(other_end)) = (line.last(), other.last()) else { return line.to_vec() };
    if !same(*end, *other_end) {
        return line.to_vec();
    }
    // Common points, from the end.
    let common = line.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| same(**a, **b)).count();
    if common == line.len() || common == other.len() {
        return line.to_vec();
    }
    let last_own = line[line.len() - common - 1];
    let last_other = other[other.len() - common - 1];
    let joint = line[line.len() - common];
    let (own_way, other_way) = (direction(joint, last_own), direction(joint, last_other));
    let mut kept = line[..line.len() - common].to_vec();
    if own_way == other_way {
        let distance = |point: Point| (point.x - joint.x).abs() + (point.y - joint.y).abs();
        if distance(last_other) > distance(last_own) {
            // The other line comes from further away along the same way: ours ends with its own corner.
            kept.push(toward(last_own, joint, CORNER));
            return kept;
        }
        kept.push(toward(last_other, joint, CORNER));
        return kept;
    }
    kept.push(joint);
    if let Some(next) = line.get(line.len() - common + 1) {
        kept.push(toward(joint, *next, CORNER));
    }
    kept
}

fn direction(from: Point, to: Point) -> (i8, i8) {
    let sign = |value: f64| {
        if value > 0.01 {
            1
        } else if value < -0.01 {
            -1
        } else {
            0
        }
    };
    (sign(to.x - from.x), sign(to.y - from.y))
}

fn toward(from: Point, to: Point, length: f64) -> Point {
    let all = (to.x - from.x).abs() + (to.y - from.y).abs();
    let part = if all > 0.0 { (length / all).min(1.0) } else { 0.0 };
    Point { x: from.x + (to.x - from.x) * part, y: from.y + (to.y - from.y) * part }
}

/// The `d` of an SVG path.
pub(crate) fn path_data(points: &[Point]) -> String {
    let mut data = String::new();
    let number = |value: f64| crate::svg::number(value);
    for (index, point) in points.iter().enumerate() {
        let (before, after) = (index.checked_sub(1).and_then(|at| points.get(at)), points.get(index + 1));
        match (before, after) {
            (None, _) => data.push_str(&format!("M{} {}", number(point.x), number(point.y))),
            (Some(_), None) => data.push_str(&format!("L{} {}", number(point.x), number(point.y))),
            (Some(before), Some(after)) => {
                let length = |a: &Point, b: &Point| (a.x - b.x).abs() + (a.y - b.y).abs();
                let radius = CORNER.min(length(before, point) / 2.0).min(length(point, after) / 2.0);
                let (into, out) = (toward(*point, *before, radius), toward(*point, *after, radius));
                data.push_str(&format!(
                    "L{} {}Q{} {} {} {}",
                    number(into.x),
                    number(into.y),
                    number(point.x),
                    number(point.y),
                    number(out.x),
                    number(out.y)
                ));
            }
        }
    }
    data
}
