//! The order within ranks, so that few links cross.
//!
//! The first order is that of a walk in depth: what a definition says first stands left, what catches stands right. It
//! is left only for one with fewer crossings.

use super::Layers;

/// Sweeps over all ranks, half of them down.
const SWEEPS: usize = 16;

/// Fills `ranks`.
pub(super) fn reduce_crossings(layers: &mut Layers) {
    first_order(layers);
    let mut position = vec![0; layers.vertices.len()];
    let mut best = layers.ranks.clone();
    let mut fewest = crossings(layers, &mut position);
    for sweep in 0..SWEEPS {
        if fewest == 0 {
            break;
        }
        sort_by_neighbours(layers, &mut position, sweep);
        exchange(layers, &mut position);
        let now = crossings(layers, &mut position);
        if now < fewest {
            fewest = now;
            best.clone_from(&layers.ranks);
        }
    }
    layers.ranks = best;
}

fn first_order(layers: &mut Layers) {
    let mut met = vec![false; layers.vertices.len()];
    let mut starts: Vec<usize> = (0..layers.vertices.len()).collect();
    starts.sort_by_key(|vertex| layers.vertices[*vertex].rank);
    for start in starts {
        let mut walk = vec![start];
        while let Some(vertex) = walk.pop() {
            if std::mem::replace(&mut met[vertex], true) {
                continue;
            }
            layers.ranks[layers.vertices[vertex].rank].push(vertex);
            let fresh = |(other, _): &(usize, crate::chart::Lane)| (!met[*other]).then_some(*other);
            if layers.vertices[vertex].node.is_none() {
                // Only links that climb have something above a bend that was not met before.
                walk.extend(layers.up[vertex].iter().rev().filter_map(fresh));
            }
            walk.extend(layers.down[vertex].iter().rev().filter_map(fresh));
        }
    }
}

fn place(layers: &Layers, position: &mut [usize]) {
    for rank in &layers.ranks {
        rank.iter().enumerate().for_each(|(index, vertex)| position[*vertex] = index);
    }
}

fn crossings(layers: &Layers, position: &mut [usize]) -> usize {
    place(layers, position);
    layers.ranks.iter().map(|rank| crossings_below(layers, rank, position)).sum()
}

/// Crossings between a rank and the next: pairs of links whose ends are in different orders, counted by a tree of sums.
fn crossings_below(layers: &Layers, rank: &[usize], position: &[usize]) -> usize {
    let mut ends = Vec::new();
    for vertex in rank {
        let mut below: Vec<usize> = layers.down[*vertex].iter().map(|(lower, _)| position[*lower]).collect();
        below.sort_unstable();
        ends.extend(below);
    }
    let size = ends.iter().max().map_or(0, |most| most + 1);
    let mut sums = vec![0_usize; size + 1];
    let mut count = 0;
    for (seen, end) in ends.iter().enumerate() {
        let (mut not_right, mut at) = (0, end + 1);
        while at > 0 {
            not_right += sums[at];
            at &= at - 1;
        }
        count += seen - not_right;
        let mut at = end + 1;
        while at <= size {
            sums[at] += 1;
            at += at & at.wrapping_neg();
        }
    }
    count
}

/// Each vertex goes to the mean of its neighbours in the rank before; those without stay where they are.
fn sort_by_neighbours(layers: &mut Layers, position: &mut [usize], sweep: usize) {
    let count = layers.ranks.len();
    let down = sweep.is_multiple_of(2);
    for step in 1..count {
        let rank = if down { step } else { count - 1 - step };
        let neighbours = if down { &layers.up } else { &layers.down };
        let mean = |vertex: usize| {
            let found = &neighbours[vertex];
            let sum: usize = found.iter().map(|(neighbour, _)| position[*neighbour]).sum();
            if found.is_empty() { position[vertex] as f64 } else { sum as f64 / found.len() as f64 }
        };
        let mut keyed: Vec<(f64, usize)> =
            layers.ranks[rank].iter().map(|vertex| (mean(*vertex), *vertex)).collect();
        if sweep % 4 >= 2 {
            // Ties the other way round find other orders.
            keyed.reverse();
        }
        keyed.sort_by(|one, other| one.0.total_cmp(&other.0));
        let order: Vec<usize> = keyed.into_iter().map(|(_, vertex)| vertex).collect();
        order.iter().enumerate().for_each(|(index, vertex)| position[*vertex] = index);
        layers.ranks[rank] = order;
    }
}

/// Neighbours of a rank change places as long as that removes crossings.
fn exchange(layers: &mut Layers, position: &mut [usize]) {
    const ROUNDS: usize = 4;
    place(layers, position);
    for _ in 0..ROUNDS {
        let mut better = false;
        for rank in 0..layers.ranks.len() {
            for index in 1..layers.ranks[rank].len() {
                let (left, right) = (layers.ranks[rank][index - 1], layers.ranks[rank][index]);
                let now = crossings_of(layers, position, left, right);
                if now > 0 && crossings_of(layers, position, right, left) < now {
                    layers.ranks[rank].swap(index - 1, index);
                    position.swap(left, right);
                    better = true;
                }
            }
        }
        if !better {
            break;
        }
    }
}

/// Crossings among the links of two vertices if `left` stands left of `right`.
fn crossings_of(layers: &Layers, position: &[usize], left: usize, right: usize) -> usize {
    let inverted = |neighbours: &[Vec<(usize, crate::chart::Lane)>]| {
        let of = |vertex: usize| neighbours[vertex].iter().map(|(other, _)| position[*other]);
        of(left).map(|one| of(right).filter(|other| *other < one).count()).sum::<usize>()
    };
    inverted(&layers.up) + inverted(&layers.down)
}
