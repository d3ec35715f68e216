//! Where vertices stand within their ranks (after Brandes and Köpf): chains of bends become straight lines, boxes stand
//! above the middle of what they lead to.
//!
//! Four alignments, each packed to one side, are averaged. Each keeps the distances within a rank, so the average does,
//! too.

use std::collections::HashSet;

use super::{Layers, Vertex};
use crate::chart::Lane;

/// Free room beside a box; two boxes are twice as far apart.
const BESIDE_BOX: f64 = 15.0;
/// Free room beside a bend or a label.
const BESIDE_BEND: f64 = 8.0;

/// Centres of all vertices.
pub(super) fn coordinates(layers: &Layers) -> Vec<f64> {
    let conflicts = conflicts(layers);
    let mut all: Vec<Vec<f64>> = Vec::new();
    for (upwards, rightwards) in [(true, false), (true, true), (false, false), (false, true)] {
        let view = View::new(layers, upwards, rightwards);
        let root = view.align(&conflicts);
        let mut x = view.pack(&root);
        if rightwards {
            x.iter_mut().for_each(|x| *x = -*x);
        }
        all.push(x);
    }
    balanced(layers, all)
}

/// Distance that two neighbours of a rank keep.
pub(super) fn distance(one: &Vertex, other: &Vertex) -> f64 {
    let beside = |vertex: &Vertex| {
        vertex.size.width / 2.0 + if vertex.node.is_some() { BESIDE_BOX } else { BESIDE_BEND }
    };
    beside(one) + beside(other)
}

/// Links that must not be made straight: those that cross a chain of bends, and those that catch where another link
/// goes on, so that the main way is the straight one.
fn conflicts(layers: &Layers) -> HashSet<(usize, usize)> {
    let mut found = HashSet::new();
    let is_bend = |vertex: usize| layers.vertices[vertex].node.is_none();
    let mut position = vec![0; layers.vertices.len()];
    for rank in &layers.ranks {
        rank.iter().enumerate().for_each(|(index, vertex)| position[*vertex] = index);
    }
    for pair in layers.ranks.windows(2) {
        // The chain to the left and the next chain to the right bound where other links may begin.
        let mut left = 0;
        let mut scanned = 0;
        for (index, lower) in pair[1].iter().enumerate() {
            let chain = if is_bend(*lower) {
                layers.up[*lower].iter().map(|(upper, _)| *upper).find(|upper| is_bend(*upper))
            } else {
                None
            };
            if chain.is_none() && index + 1 < pair[1].len() {
                continue;
            }
            let right = chain.map_or(pair[0].len(), |upper| position[upper]);
            for other in &pair[1][scanned..=index] {
                for (upper, _) in &layers.up[*other] {
                    let at = position[*upper];
                    let inner = is_bend(*other) && is_bend(*upper);
                    if (at < left || at > right) && !inner {
                        found.insert((*upper, *other));
                    }
                }
            }
            (left, scanned) = (right.min(pair[0].len().saturating_sub(1)), index + 1);
        }
    }
    for upper in 0..layers.vertices.len() {
        let goes_on = layers.down[upper].iter().any(|(_, lane)| *lane == Lane::Flow);
        for (lower, lane) in &layers.down[upper] {
            let comes_on = layers.up[*lower].iter().any(|(_, lane)| *lane == Lane::Flow);
            if *lane == Lane::Catch && (goes_on || comes_on) {
                found.insert((upper, *lower));
            }
        }
    }
    found
}

/// The ranks as one of the four passes sees them.
struct View<'a> {
    layers: &'a Layers,
    ranks: Vec<Vec<usize>>,
    position: Vec<usize>,
    upwards: bool,
}

impl<'a> View<'a> {
    fn new(layers: &'a Layers, upwards: bool, rightwards: bool) -> View<'a> {
        let mut ranks = layers.ranks.clone();
        if !upwards {
            ranks.reverse();
        }
        if rightwards {
            ranks.iter_mut().for_each(|rank| rank.reverse());
        }
        let mut position = vec![0; layers.vertices.len()];
        for rank in &ranks {
            rank.iter().enumerate().for_each(|(index, vertex)| position[*vertex] = index);
        }
        View { layers, ranks, position, upwards }
    }

    /// The root of the block that each vertex belongs to: it is joined with its middle neighbour in the rank before.
    fn align(&self, conflicts: &HashSet<(usize, usize)>) -> Vec<usize> {
        let count = self.layers.vertices.len();
        let mut root: Vec<usize> = (0..count).collect();
        let mut next: Vec<usize> = (0..count).collect();
        for rank in &self.ranks {
            let mut free_from = 0;
            for vertex in rank {
                for neighbour in self.middle(*vertex, conflicts) {
                    let taken = next[*vertex] != *vertex;
                    if taken || self.position[neighbour] < free_from {
                        continue;
                    }
                    next[neighbour] = *vertex;
                    root[*vertex] = root[neighbour];
                    next[*vertex] = root[*vertex];
                    free_from = self.position[neighbour] + 1;
                }
            }
        }
        root
    }

    /// The one or two neighbours in the middle.
    fn middle(&self, vertex: usize, conflicts: &HashSet<(usize, usize)>) -> Vec<usize> {
        let all = if self.upwards { &self.layers.up[vertex] } else { &self.layers.down[vertex] };
        let free = |other: &usize| {
            let pair = if self.upwards { (*other, vertex) } else { (vertex, *other) };
            !conflicts.contains(&pair)
        };
        let mut found: Vec<usize> = all.iter().map(|(other, _)| *other).filter(free).collect();
        found.sort_by_key(|other| self.position[*other]);
        found.dedup();
        match found.len() {
            0 => Vec::new(),
            count if count % 2 == 1 => vec![found[count / 2]],
            count => vec![found[count / 2 - 1], found[count / 2]],
        }
    }

    /// Blocks as far left as they can go, then drawn right to what they hold on to.
    fn pack(&self, root: &[usize]) -> Vec<f64> {
        let count = root.len();
        let mut before: Vec<Vec<(usize, f64)>> = vec![Vec::new(); count];
        let mut after: Vec<Vec<(usize, f64)>> = vec![Vec::new(); count];
        for pair in self.ranks.iter().flat_map(|rank| rank.windows(2)) {
            let (left, right) = (root[pair[0]], root[pair[1]]);
            let vertices = &self.layers.vertices;
            let apart = distance(&vertices[pair[0]], &vertices[pair[1]]);
            before[right].push((left, apart));
            after[left].push((right, apart));
        }
        let order = blocks_in_order(root, &before, &after);
        let mut x = vec![0.0_f64; count];
        for block in &order {
            let packed = before[*block].iter().map(|(left, apart)| x[*left] + apart);
            x[*block] = packed.fold(0.0, f64::max);
        }
        for block in order.iter().rev() {
            let room = after[*block].iter().map(|(right, apart)| x[*right] - apart);
            let room = room.fold(f64::INFINITY, f64::min);
            if room.is_finite() {
                x[*block] = x[*block].max(room);
            }
        }
        (0..count).map(|vertex| x[root[vertex]]).collect()
    }
}

/// Blocks so that each comes after all that stand left of it.
fn blocks_in_order(root: &[usize], before: &[Vec<(usize, f64)>], after: &[Vec<(usize, f64)>]) -> Vec<usize> {
    let mut waiting: Vec<usize> = before.iter().map(Vec::len).collect();
    let is_root = |vertex: &usize| root[*vertex] == *vertex;
    let mut order: Vec<usize> =
        (0..root.len()).filter(is_root).filter(|block| waiting[*block] == 0).collect();
    let mut at = 0;
    while let Some(block) = order.get(at).copied() {
        at += 1;
        for (right, _) in &after[block] {
            waiting[*right] -= 1;
            if waiting[*right] == 0 {
                order.push(*right);
            }
        }
    }
    order
}

/// The mean of the two middle ones of the four, after all were moved to the narrowest; then a last look at distances.
fn balanced(layers: &Layers, mut all: Vec<Vec<f64>>) -> Vec<f64> {
    let alive: Vec<usize> = layers.ranks.iter().flatten().copied().collect();
    let bounds = |x: &[f64]| {
        alive.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), vertex| {
            let half = layers.vertices[*vertex].size.width / 2.0;
            (low.min(x[*vertex] - half), high.max(x[*vertex] + half))
        })
    };
    let of = |x: &Vec<f64>| bounds(x);
    let narrowest = all.iter().map(of).min_by(|one, other| (one.1 - one.0).total_cmp(&(other.1 - other.0)));
    let Some((low, high)) = narrowest else { return Vec::new() };
    for (index, x) in all.iter_mut().enumerate() {
        let (own_low, own_high) = bounds(x);
        let shift = if index % 2 == 0 { low - own_low } else { high - own_high };
        x.iter_mut().for_each(|x| *x += shift);
    }
    let mut x: Vec<f64> = (0..layers.vertices.len())
        .map(|vertex| {
            let mut four: Vec<f64> = all.iter().map(|x| x[vertex]).collect();
            four.sort_by(f64::total_cmp);
            ((four[1] + four[2]) / 2.0).round()
        })
        .collect();
    for pair in layers.ranks.iter().flat_map(|rank| rank.windows(2)) {
        let apart = distance(&layers.vertices[pair[0]], &layers.vertices[pair[1]]);
        x[pair[1]] = x[pair[1]].max(x[pair[0]] + apart.floor());
    }
    x
}
