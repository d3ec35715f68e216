//! From ranks and centres to places and routes: heights of ranks and of the room between them, ports, polylines.

use std::collections::BTreeMap;

use super::tracks::{Net, tracks};
use super::{Input, Laid, Layers, Point, Route, Size};
use crate::chart::Lane;

/// From a box down to the first line sideways.
const LEAVE: f64 = 16.0;
/// From the last line sideways down to a box: an arrow and a round corner.
const ARRIVE: f64 = 22.0;
/// Between lines sideways.
const TRACK: f64 = 12.0;
/// Between a line sideways and a label.
const BESIDE_LABEL: f64 = 10.0;
/// Boxes are at least this far apart from one rank to the next.
const BETWEEN_MIN: f64 = 46.0;
/// Where what catches leaves a box, beside what goes on.
const PORT_ASIDE: f64 = 44.0;

/// Which links share a line between two ranks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum NetKey {
    /// Those that leave a box.
    From(usize, Lane),
    /// Those that enter a box or a bend.
    To(usize, Lane),
}

/// The room between a rank and the next.
#[derive(Default)]
struct Channel {
    keys: BTreeMap<NetKey, usize>,
    nets: Vec<Net>,
    track: Vec<usize>,
    tracks: usize,
    /// Height of the first line.
    y: f64,
}

/// Everything with its place.
pub(super) fn laid(input: &Input, layers: &Layers, x: Vec<f64>) -> Laid {
    let mut router =
        Router { input, layers, x, channels: Vec::new(), top: vec![0.0; layers.ranks.len() + 1] };
    router.fill_channels();
    router.heights();
    router.finish()
}

struct Router<'a> {
    input: &'a Input,
    layers: &'a Layers,
    x: Vec<f64>,
    channels: Vec<Channel>,
    /// Upper edge of each rank.
    top: Vec<f64>,
}

/// One passage of a link from a rank to a neighbouring one (or, where it turns, back to the same).
struct Step {
    channel: usize,
    key: NetKey,
    from: f64,
    to: f64,
    from_above: bool,
    to_below: bool,
}

impl Router<'_> {
    /// Where a box's links of a lane leave (or enter) it.
    fn port(&self, node: usize, lane: Lane, leaving: bool) -> f64 {
        let centre = self.x[node];
        let neighbours = if leaving { &self.layers.down[node] } else { &self.layers.up[node] };
        let both = neighbours.iter().any(|(_, other)| *other != lane);
        let room = self.layers.vertices[node].size.width / 4.0;
        if lane == Lane::Flow || !both || room < 20.0 {
            return centre;
        }
        let mean = |lane: Lane| {
            let found: Vec<f64> =
                neighbours.iter().filter(|n| n.1 == lane).map(|(other, _)| self.x[*other]).collect();
            found.iter().sum::<f64>() / found.len().max(1) as f64
        };
        let aside = PORT_ASIDE.min(room);
        if mean(Lane::Catch) < mean(Lane::Flow) { centre - aside } else { centre + aside }
    }

    /// The steps of a link from its source to its target.
    fn steps(&self, link: usize) -> Vec<Step> {
        let (path, lane) = (&self.layers.paths[link], self.input.links[link].lane);
        let end = path.len() - 1;
        let at = |index: usize| match index {
            0 => self.port(path[0], lane, true),
            _ if index == end => self.port(path[end], lane, false),
            _ => self.x[path[index]],
        };
        let rank = |index: usize| self.layers.vertices[path[index]].rank;
        let climbing = self.layers.climbing[link];
        (0..end)
            .map(|index| {
                let (from, to) = (at(index), at(index + 1));
                let key = match index {
                    0 => NetKey::From(path[0], lane),
                    _ => NetKey::To(path[index + 1], lane),
                };
                let (channel, from_above, to_below) = match (climbing, index) {
                    (false, _) => (rank(index), true, true),
                    (true, 0) => (rank(0), true, false),
                    (true, _) if index + 1 == end => (rank(end) - 1, false, true),
                    (true, _) => (rank(index + 1), false, false),
                };
                Step { channel, key, from, to, from_above, to_below }
            })
            .collect()
    }

    fn fill_channels(&mut self) {
        let mut channels: Vec<Channel> = self.layers.ranks.iter().map(|_| Channel::default()).collect();
        for link in 0..self.input.links.len() {
            for step in self.steps(link) {
                let channel = &mut channels[step.channel];
                let fresh = channel.nets.len();
                let net = *channel.keys.entry(step.key).or_insert(fresh);
                if net == fresh {
                    channel.nets.push(Net::default());
                }
                let net = &mut channel.nets[net];
                // A line that climbs comes from below and goes on above.
                let (from, to) = match (step.from_above, step.to_below) {
                    (false, false) => (step.to, step.from),
                    _ => (step.from, step.to),
                };
                let both_ways = step.from_above == step.to_below;
                if both_ways || step.from_above { &mut net.tops } else { &mut net.bottoms }.push(from);
                if both_ways || step.to_below { &mut net.bottoms } else { &mut net.tops }.push(to);
            }
        }
        for channel in &mut channels {
            (channel.track, channel.tracks) = tracks(&channel.nets);
        }
        self.channels = channels;
    }

    /// Ranks from top to bottom; the room between them is what its lines need.
    fn heights(&mut self) {
        let mut y = 0.0;
        for rank in 0..self.layers.ranks.len() {
            self.top[rank] = y;
            let heights =
                self.layers.ranks[rank].iter().map(|vertex| self.layers.vertices[*vertex].size.height);
            let height = heights.fold(0.0, f64::max);
            y += height;
            let more = self.layers.ranks.get(rank + 1).is_some_and(|next| !next.is_empty());
            let below =
                self.layers.ranks.get(rank + 1..).is_some_and(|ranks| ranks.iter().any(|r| !r.is_empty()));
            let channel = &mut self.channels[rank];
            let lines = channel.tracks.saturating_sub(1) as f64 * TRACK;
            let sideways = channel.tracks > 0;
            if rank % 2 == 0 {
                channel.y = y + LEAVE;
                y += match (sideways, more) {
                    (true, _) => LEAVE + lines + BESIDE_LABEL,
                    (false, true) => LEAVE,
                    (false, false) => 0.0,
                };
            } else if below {
                let room = if sideways && height > 0.0 { BESIDE_LABEL } else { 0.0 };
                let least = self.top[rank - 1] + self.rank_height(rank - 1) + BETWEEN_MIN;
                let end = (y + room + lines + ARRIVE).max(least);
                let channel = &mut self.channels[rank];
                channel.y = end - ARRIVE - lines;
                y = end;
            }
        }
        let last = self.top.len() - 1;
        self.top[last] = y;
    }

    fn rank_height(&self, rank: usize) -> f64 {
        let heights = self.layers.ranks[rank].iter().map(|vertex| self.layers.vertices[*vertex].size.height);
        heights.fold(0.0, f64::max)
    }

    fn finish(&self) -> Laid {
        let alive = || self.layers.ranks.iter().flatten();
        let half = |vertex: usize| self.layers.vertices[vertex].size.width / 2.0;
        let left = alive().map(|v| self.x[*v] - half(*v)).fold(f64::INFINITY, f64::min);
        let right = alive().map(|v| self.x[*v] + half(*v)).fold(f64::NEG_INFINITY, f64::max);
        let nodes = (0..self.input.nodes.len())
            .map(|node| Point {
                x: self.x[node] - half(node) - left,
                y: self.top[self.layers.vertices[node].rank],
            })
            .collect();
        let routes = (0..self.input.links.len()).map(|link| self.route(link, left)).collect();
        let height = self.top.last().copied().unwrap_or(0.0);
        Laid { size: Size { width: right - left, height }, nodes, routes }
    }

    fn route(&self, link: usize, left: f64) -> Route {
        let (path, steps) = (&self.layers.paths[link], self.steps(link));
        let edge = |node: usize| self.top[self.layers.vertices[node].rank];
        let source = edge(path[0]) + self.layers.vertices[path[0]].size.height;
        let mut points = vec![Point { x: steps[0].from - left, y: source }];
        for step in &steps {
            if (step.from - step.to).abs() < 0.01 {
                continue;
            }
            let channel = &self.channels[step.channel];
            let track = channel.keys.get(&step.key).map_or(0, |net| channel.track[*net]);
            let y = channel.y + track as f64 * TRACK;
            points.extend([Point { x: step.from - left, y }, Point { x: step.to - left, y }]);
        }
        let last = path[path.len() - 1];
        points.push(Point { x: steps[steps.len() - 1].to - left, y: edge(last) });
        let label = self.input.links[link].label.map(|size| Point {
            x: self.x[path[1]] - left,
            y: self.top[self.layers.vertices[path[1]].rank] + size.height / 2.0,
        });
        Route { points: crate::polyline::simplified(points), label }
    }
}
