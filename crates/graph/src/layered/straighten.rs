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

/// A link between neighbouring ranks, and what a bend in it costs.
struct Strand {
    upper: usize,
    lower: usize,
    weight: f64,
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
                let trial = table.moved(x, table.block[moved], by);
                let now = table.cost(&trial);
                if now < cost - 0.5 {
                    (*x, cost, better) = (trial, now, true);
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
                    let to_end = links.first().is_some_and(|link| Some(input.links[*link].to) == input.last);
                    let weight = if *lane == Lane::Flow && !to_end { 3.0 } else { 1.0 };
                    strands.push(Strand { upper: *upper, lower: *lower, weight });
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
            strand.weight * if aside < 0.5 { 0.0 } else { BEND + aside }
        };
        let (low, high) =
            self.layers.ranks.iter().flatten().fold((0.0_f64, 0.0_f64), |(low, high), vertex| {
                let half = self.layers.vertices[*vertex].size.width / 2.0;
                (low.min(x[*vertex] - half), high.max(x[*vertex] + half))
            });
        // A wider drawing must be worth it.
        self.strands.iter().map(of).sum::<f64>() + 2.0 * (high - low)
    }

    /// All centres after a block has moved and pushed others aside.
    fn moved(&self, x: &[f64], block: usize, by: f64) -> Vec<f64> {
        let before = x;
        let mut x = x.to_vec();
        let mut waiting = vec![(block, by)];
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
