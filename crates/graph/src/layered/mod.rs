//! Layered layout of boxes and links (after Sugiyama): ranks, order within ranks, coordinates, routes.
//!
//! Boxes stand in even ranks, labels in the odd ranks between them; a link that spans ranks is a chain of bends. Links
//! run down; one that closes a loop leaves downwards, climbs beside the boxes and arrives from above. It knows nothing of
//! states, and the same input gives the same numbers.

mod coordinate;
mod order;
mod rank;
mod route;
mod straighten;
mod tracks;

use crate::chart::Lane;

/// Bends of all long links together; what needs more is not drawn.
const VERTICES_MAX: usize = 60_000;

/// What to lay out.
pub(crate) struct Input {
    /// Boxes.
    pub nodes: Vec<Size>,
    /// Links between them.
    pub links: Vec<Link>,
    /// The box above all others.
    pub first: usize,
    /// The box below all others.
    pub last: Option<usize>,
}

/// Width and height.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Size {
    pub width: f64,
    pub height: f64,
}

/// A link from one box to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub from: usize,
    pub to: usize,
    pub lane: Lane,
    pub label: Option<Size>,
}

/// A place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Point {
    pub x: f64,
    pub y: f64,
}

/// Where everything is; the origin is the top left corner.
pub(crate) struct Laid {
    pub size: Size,
    /// Top left corners of the boxes.
    pub nodes: Vec<Point>,
    /// Of the links.
    pub routes: Vec<Route>,
}

/// The way of a link, from the border of one box to that of the other, with right angles only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Route {
    pub points: Vec<Point>,
    /// Centre of the label.
    pub label: Option<Point>,
}

/// A box, a bend, or a place for a label.
#[derive(Clone, Debug)]
struct Vertex {
    rank: usize,
    size: Size,
    /// The box, if it is one.
    node: Option<usize>,
    /// The links that bend here, all to the same box.
    links: Vec<usize>,
}

/// The links as chains between neighbouring ranks.
struct Layers {
    vertices: Vec<Vertex>,
    /// Vertices of each rank from left to right.
    ranks: Vec<Vec<usize>>,
    /// From source to target, with all bends.
    paths: Vec<Vec<usize>>,
    /// Which links climb.
    climbing: Vec<bool>,
    /// Neighbours above, and the lane of the link.
    up: Vec<Vec<(usize, Lane)>>,
    /// Neighbours below.
    down: Vec<Vec<(usize, Lane)>>,
    /// For links that climb: the turns below their source and above their target.
    turns: Vec<Option<(usize, usize)>>,
}

/// Lays out; `None` if it would take too many bends.
pub(crate) fn layout(input: &Input) -> Option<Laid> {
    let (ranks, climbing) = rank::ranks(input);
    let mut layers = Layers::new(input, &ranks, climbing)?;
    order::reduce_crossings(&mut layers);
    layers.join_bends(input);
    let mut x = coordinate::coordinates(&layers);
    straighten::straighten(input, &layers, &mut x);
    Some(route::laid(input, &layers, x))
}

impl Layers {
    fn new(input: &Input, ranks: &[usize], climbing: Vec<bool>) -> Option<Layers> {
        let span = |link: &Link| ranks[link.from].abs_diff(ranks[link.to]) * 2 + 3;
        if input.links.iter().map(span).sum::<usize>() > VERTICES_MAX {
            return None;
        }
        let count = ranks.iter().max().map_or(1, |most| most * 2 + 2);
        let vertices: Vec<Vertex> = input
            .nodes
            .iter()
            .zip(ranks)
            .enumerate()
            .map(|(node, (size, rank))| Vertex {
                rank: rank * 2,
                size: *size,
                node: Some(node),
                links: Vec::new(),
            })
            .collect();
        let mut layers = Layers {
            vertices,
            ranks: vec![Vec::new(); count],
            paths: Vec::new(),
            turns: vec![None; climbing.len()],
            climbing,
            up: Vec::new(),
            down: Vec::new(),
        };
        for (index, link) in input.links.iter().enumerate() {
            layers.chain(index, link);
        }
        layers.connect(input);
        Some(layers)
    }

    fn bend(&mut self, rank: usize, link: usize) -> usize {
        self.vertices.push(Vertex { rank, size: Size::default(), node: None, links: vec![link] });
        self.vertices.len() - 1
    }

    /// The bends of a link. A label stands in the first rank after the source, or beside it if the link climbs.
    fn chain(&mut self, index: usize, link: &Link) {
        let (from, to) = (self.vertices[link.from].rank, self.vertices[link.to].rank);
        let mut path = vec![link.from];
        if self.climbing[index] {
            let below = self.bend(from + 1, index);
            for rank in (to..=from).rev() {
                let bend = self.bend(rank, index);
                path.push(bend);
            }
            let above = self.bend(to - 1, index);
            self.turns[index] = Some((below, above));
        } else {
            for rank in from + 1..to {
                let bend = self.bend(rank, index);
                path.push(bend);
            }
        }
        if let Some(label) = link.label {
            self.vertices[path[1]].size = label;
        }
        path.push(link.to);
        self.paths.push(path);
    }

    /// Neighbours, from the chains.
    fn connect(&mut self, input: &Input) {
        self.up = vec![Vec::new(); self.vertices.len()];
        self.down = vec![Vec::new(); self.vertices.len()];
        for index in 0..self.paths.len() {
            let (path, lane) = (self.paths[index].clone(), input.links[index].lane);
            let Some((below, above)) = self.turns[index] else {
                path.windows(2).for_each(|pair| self.join(pair[0], pair[1], lane));
                continue;
            };
            let bends = &path[1..path.len() - 1];
            bends.windows(2).for_each(|pair| self.join(pair[1], pair[0], lane));
            let (lowest, highest) = (bends[0], bends[bends.len() - 1]);
            self.join(path[0], below, lane);
            self.join(lowest, below, lane);
            self.join(above, highest, lane);
            self.join(above, path[path.len() - 1], lane);
        }
    }

    fn join(&mut self, upper: usize, lower: usize, lane: Lane) {
        if !self.down[upper].contains(&(lower, lane)) {
            self.down[upper].push((lower, lane));
            self.up[lower].push((upper, lane));
        }
    }

    /// Bends side by side that lead to the same box become one: ten links to the end are one line with ten beginnings.
    fn join_bends(&mut self, input: &Input) {
        for rank in 0..self.ranks.len() {
            let mut kept: Vec<usize> = Vec::new();
            for vertex in self.ranks[rank].clone() {
                let left = self.vertices[vertex].node.is_none() && self.vertices[vertex].links.is_empty();
                match kept.last() {
                    _ if left => {}
                    Some(before) if self.joinable(input, *before, vertex) => self.replace(vertex, *before),
                    _ => kept.push(vertex),
                }
            }
            self.ranks[rank] = kept;
        }
        self.connect(input);
    }

    fn joinable(&self, input: &Input, one: usize, other: usize) -> bool {
        let goal = |vertex: usize| {
            let vertex = &self.vertices[vertex];
            let link = *vertex.links.first()?;
            let first = self.paths[link].get(1).is_some_and(|bend| self.vertices[*bend].rank == vertex.rank);
            let free = vertex.node.is_none() && vertex.size == Size::default() && !first;
            (free && !self.climbing[link]).then(|| (input.links[link].to, input.links[link].lane))
        };
        goal(one).is_some() && goal(one) == goal(other)
    }

    /// From here on the links of `gone` run where those of `kept` do.
    fn replace(&mut self, gone: usize, kept: usize) {
        let model = self.vertices[kept].links[0];
        let from = self.paths[model].iter().position(|vertex| *vertex == kept).unwrap_or(0);
        let tail = self.paths[model][from..].to_vec();
        for link in std::mem::take(&mut self.vertices[gone].links) {
            let at = self.paths[link].iter().position(|vertex| *vertex == gone).unwrap_or(0);
            for left in self.paths[link].split_off(at) {
                self.vertices[left].links.retain(|other| *other != link);
            }
            self.paths[link].extend(&tail);
            for vertex in &tail[..tail.len() - 1] {
                self.vertices[*vertex].links.push(link);
            }
        }
    }
}
