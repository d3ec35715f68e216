//! Fewer bends than the average of alignments leaves: a box moves in line with what it follows, and pushes aside what is
//! in its way, if the whole becomes straighter.
//!
//! A chain of bends moves as one, so it stays straight. Distances within ranks are kept at every step.

use std::collections::BTreeMap;

use super::coordinate::distance;
use super::{Input, Layers};
use crate::chart::Lane;

/// Larger drawings are left as they are: each trial looks at all links.
const VERTICES_MAX: usize = 1_500;
const ROUNDS: usize = 4;
/// What a bend costs, in pixels of a way sideways.
const BEND: f64 = 60.0;

/// A link between neighbouring ranks.
struct Strand {
    upper: usize,
    lower: usize,
    /// What a pixel sideways costs.
    weight: f64,
    /// What a bend costs.
    bend: f64,
}

/// Moves centres.
pub(super) fn straighten(input: &Input, layers: &Layers, x: &mut Vec<f64>) {
    if layers.ranks.iter().map(Vec::len).sum::<usize>() > VERTICES_MAX {
        return;
    }
    let table = Table::new(input, layers);
    let mut cost = table.cost(x);
    for _ in 0..ROUNDS {
        let mut better = false;
        for strand in &table.strands {
            for (moved, fixed) in [(strand.lower, strand.upper), (strand.upper, strand.lower)] {
                let by = x[fixed] - x[moved];
                if by.abs() < 0.5 {
                    continue;
                }
                // Alone, or with what hangs straight on it.
                for all in [false, true] {
                    let trial = table.moved(x, table.hanging(x, moved, fixed, all), by);
                    let now = table.cost(&trial);
                    if now < cost - 0.5 {
                        (*x, cost, better) = (trial, now, true);
                        break;
                    }
                }
            }
        }
        if !better {
            break;
        }
    }
}

struct Table<'a> {
    layers: &'a Layers,
    strands: Vec<Strand>,
    /// Which vertices move together: a box alone, the bends of a chain as one.
    block: Vec<usize>,
    members: BTreeMap<usize, Vec<usize>>,
    position: Vec<usize>,
}

impl<'a> Table<'a> {
    fn new(input: &Input, layers: &'a Layers) -> Table<'a> {
        let mut block: Vec<usize> = (0..layers.vertices.len()).collect();
        let is_bend = |vertex: usize| layers.vertices[vertex].node.is_none();
        let mut strands = Vec::new();
        for rank in &layers.ranks {
            for upper in rank {
                for (lower, lane) in &layers.down[*upper] {
                    if is_bend(*upper) && is_bend(*lower) && layers.up[*lower].len() == 1 {
                        block[*lower] = block[*upper];
                    }
                    let links = &layers.vertices[if is_bend(*lower) { *lower } else { *upper }].links;
                    let link = links.first().map(|link| &input.links[*link]);
                    let rank = |node: usize| layers.vertices[node].rank;
                    let to_end = link.is_some_and(|link| Some(link.to) == input.last);
                    let long = link.is_some_and(|link| rank(link.to) > rank(link.from) + 2);
                    // What catches stands aside where something else goes on, so it is never straight there.
                    let aside = |others: &[(usize, Lane)]| others.iter().any(|(_, other)| *other != *lane);
                    let aside = aside(&layers.down[*upper]) || aside(&layers.up[*lower]);
                    let (weight, bend) = match lane {
                        Lane::Flow if to_end && long => (0.5, BEND / 2.0),
                        Lane::Flow if to_end => (1.0, BEND),
                        Lane::Flow => (3.0, 5.0 * BEND),
                        Lane::Catch if aside => (0.3, 0.0),
                        Lane::Catch => (1.0, BEND),
                    };
                    strands.push(Strand { upper: *upper, lower: *lower, weight, bend });
                }
            }
        }
        let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut position = vec![0; layers.vertices.len()];
        for rank in &layers.ranks {
            for (index, vertex) in rank.iter().enumerate() {
                members.entry(block[*vertex]).or_default().push(*vertex);
                position[*vertex] = index;
            }
        }
        Table { layers, strands, block, members, position }
    }

    fn cost(&self, x: &[f64]) -> f64 {
        let of = |strand: &Strand| {
            let aside = (x[strand.upper] - x[strand.lower]).abs();
            if aside < 0.5 { 0.0 } else { strand.bend + strand.weight * aside }
        };
        let (low, high) =
            self.layers.ranks.iter().flatten().fold((0.0_f64, 0.0_f64), |(low, high), vertex| {
                let half = self.layers.vertices[*vertex].size.width / 2.0;
                (low.min(x[*vertex] - half), high.max(x[*vertex] + half))
            });
        // A wider drawing must be worth it.
        self.strands.iter().map(of).sum::<f64>() + 0.5 * (high - low)
    }

    /// The block of a vertex; with `all`, those that straight lines join to it on the side away from `fixed`.
    fn hanging(&self, x: &[f64], vertex: usize, fixed: usize, all: bool) -> Vec<usize> {
        let mut blocks = vec![self.block[vertex]];
        if !all {
            return blocks;
        }
        let rank = |vertex: usize| self.layers.vertices[vertex].rank;
        let down = rank(vertex) > rank(fixed);
        let mut waiting = vec![vertex];
        while let Some(vertex) = waiting.pop() {
            let beyond = if down { &self.layers.down[vertex] } else { &self.layers.up[vertex] };
            for (other, _) in beyond.iter().filter(|(other, _)| (x[*other] - x[vertex]).abs() < 0.5) {
                if !blocks.contains(&self.block[*other]) {
                    blocks.push(self.block[*other]);
                }
                waiting.push(*other);
            }
        }
        blocks
    }

    /// All centres after blocks have moved and pushed others aside.
    fn moved(&self, x: &[f64], blocks: Vec<usize>, by: f64) -> Vec<f64> {
        let before = x;
        let mut x = x.to_vec();
        let mut waiting: Vec<(usize, f64)> = blocks.into_iter().map(|block| (block, by)).collect();
        // Chains that cross may push each other for ever: then nothing moves.
        let mut steps = 4 * self.members.len();
        while let Some((block, by)) = waiting.pop() {
            if steps == 0 {
                return before.to_vec();
            }
            steps -= 1;
            let Some(members) = self.members.get(&block) else { continue };
            members.iter().for_each(|vertex| x[*vertex] += by);
            for vertex in members {
                let rank = &self.layers.ranks[self.layers.vertices[*vertex].rank];
                let at = self.position[*vertex];
                let beside = if by > 0.0 { rank.get(at + 1) } else { at.checked_sub(1).map(|at| &rank[at]) };
                let Some(beside) = beside else { continue };
                let vertices = &self.layers.vertices;
                let apart = distance(&vertices[*vertex], &vertices[*beside]).floor();
                let lack =
                    if by > 0.0 { x[*vertex] + apart - x[*beside] } else { x[*beside] + apart - x[*vertex] };
                if lack > 0.01 {
                    waiting.push((self.block[*beside], lack * by.signum()));
                }
            }
        }
        x
    }
}
