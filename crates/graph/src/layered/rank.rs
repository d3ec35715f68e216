//! Which rank each box stands in, and which links close loops.
//!
//! The rank of a box is the longest way to it, so every link that closes no loop runs down.

use super::Input;

/// Ranks of the boxes, and for each link whether it climbs.
pub(super) fn ranks(input: &Input) -> (Vec<usize>, Vec<bool>) {
    let outgoing = outgoing(input);
    let climbing = climbing(input, &outgoing);
    let mut ranks: Vec<usize> = (0..input.nodes.len()).map(|node| usize::from(node != input.first)).collect();
    for node in topological(input, &outgoing, &climbing) {
        for link in outgoing[node].iter().filter(|link| !climbing[**link]) {
            let to = input.links[*link].to;
            ranks[to] = ranks[to].max(ranks[node] + 1);
        }
    }
    if let Some(last) = input.last {
        let others = (0..ranks.len()).filter(|node| *node != last).map(|node| ranks[node]).max();
        ranks[last] = others.unwrap_or(0) + 1;
    }
    (ranks, climbing)
}

fn outgoing(input: &Input) -> Vec<Vec<usize>> {
    let mut outgoing = vec![Vec::new(); input.nodes.len()];
    for (index, link) in input.links.iter().enumerate() {
        outgoing[link.from].push(index);
    }
    outgoing
}

/// A link climbs if it leads to a box that a walk in depth is still inside of.
fn climbing(input: &Input, outgoing: &[Vec<usize>]) -> Vec<bool> {
    let mut climbing = vec![false; input.links.len()];
    // 0: not met, 1: inside, 2: left.
    let mut met = vec![0_u8; input.nodes.len()];
    let starts = std::iter::once(input.first).chain(0..input.nodes.len());
    for start in starts {
        if met[start] != 0 {
            continue;
        }
        met[start] = 1;
        let mut walk = vec![(start, 0)];
        while let Some((node, next)) = walk.last_mut() {
            let Some(link) = outgoing[*node].get(*next).copied() else {
                met[*node] = 2;
                walk.pop();
                continue;
            };
            *next += 1;
            let to = input.links[link].to;
            match met[to] {
                0 => {
                    met[to] = 1;
                    walk.push((to, 0));
                }
                1 => climbing[link] = true,
                _ => {}
            }
        }
    }
    climbing
}

fn topological(input: &Input, outgoing: &[Vec<usize>], climbing: &[bool]) -> Vec<usize> {
    let mut waiting = vec![0; input.nodes.len()];
    for (index, link) in input.links.iter().enumerate() {
        waiting[link.to] += usize::from(!climbing[index]);
    }
    let mut order: Vec<usize> = (0..input.nodes.len()).filter(|node| waiting[*node] == 0).collect();
    let mut at = 0;
    while let Some(node) = order.get(at).copied() {
        at += 1;
        for link in outgoing[node].iter().filter(|link| !climbing[**link]) {
            let to = input.links[*link].to;
            waiting[to] -= 1;
            if waiting[to] == 0 {
                order.push(to);
            }
        }
    }
    order
}
