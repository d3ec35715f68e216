//! A chart laid out: where each box stands and how each edge runs, scope within scope.
//!
//! A Parallel or Map is laid out from the inside: its scopes first, then its box around them. The start and the end of
//! the state machine are boxes, too; a nested scope begins at the head of the box around it.

use crate::chart::{Chart, ChartError, Ending, Kind, Lane, Scope, State};
use crate::layered::{self, Input, Laid, Link, Point, Size};
use crate::text::{LABEL, NAME, TITLE, width, wrapped};

/// A box around one state.
pub(crate) const BADGE: f64 = 36.0;
pub(crate) const PADDING: f64 = 10.0;
pub(crate) const NAME_LINE: f64 = 17.0;
pub(crate) const TITLE_LINE: f64 = 15.0;
const STATE_WIDTH: f64 = 172.0;
const TEXT_WIDTH_MAX: f64 = 200.0;
const CONTAINER_PADDING: f64 = 22.0;
const BETWEEN_BRANCHES: f64 = 26.0;
/// Behind a Map's box stand two more.
const STACKED: f64 = 8.0;
const TERMINAL: Size = Size { width: 64.0, height: 28.0 };
const LABEL_HEIGHT: f64 = 20.0;
const MARGIN: f64 = 28.0;

/// Everything with its place.
#[derive(Clone, Debug)]
pub struct Drawing<'a> {
    /// Width of the canvas.
    pub width: f64,
    /// Height of the canvas.
    pub height: f64,
    /// Boxes; a box comes before those inside it.
    pub shapes: Vec<Shape<'a>>,
    /// Edges.
    pub curves: Vec<Curve>,
    /// What is drawn.
    pub chart: &'a Chart,
}

/// A box.
#[derive(Clone, Debug)]
pub struct Shape<'a> {
    /// What it stands for.
    pub kind: ShapeKind<'a>,
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// Height of the part with the name; the rest holds the scopes.
    pub head: f64,
    /// The name in lines.
    pub name: Vec<String>,
}

/// What a box stands for.
#[derive(Clone, Copy, Debug)]
pub enum ShapeKind<'a> {
    /// Where the execution starts.
    Start,
    /// Where it ends.
    End,
    /// A state.
    State(&'a State),
}

/// An edge.
#[derive(Clone, Debug)]
pub struct Curve {
    /// The source's name; empty for the start and for the head of a box around a scope.
    pub from: String,
    /// The target's name; empty for the end.
    pub to: String,
    /// What it stands for.
    pub lane: Lane,
    /// Corners, from the border of the source to that of the target.
    pub points: Vec<(f64, f64)>,
    /// What is written on it.
    pub label: Option<Label>,
    /// The whole text of what is written.
    pub detail: Option<String>,
}

/// A text on an edge.
#[derive(Clone, Debug)]
pub struct Label {
    /// The text.
    pub text: String,
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Chart {
    /// Finds a place for everything.
    pub fn draw(&self) -> Result<Drawing<'_>, ChartError> {
        let mut drawing =
            Drawing { width: 0.0, height: 0.0, shapes: Vec::new(), curves: Vec::new(), chart: self };
        let block = Block::of(&self.root, true)?;
        drawing.width = block.size.width + 2.0 * MARGIN;
        drawing.height = block.size.height + 2.0 * MARGIN;
        block.put(Point { x: MARGIN, y: MARGIN }, &mut drawing);
        Ok(drawing)
    }
}

/// A scope laid out by itself.
struct Block<'a> {
    scope: &'a Scope,
    root: bool,
    size: Size,
    laid: Laid,
    links: Vec<Connection>,
    bodies: Vec<Body<'a>>,
}

/// A link as the chart knows it.
struct Connection {
    from: String,
    to: String,
    lane: Lane,
    label: Option<String>,
    detail: Option<String>,
}

/// A state's box, and what is in it.
struct Body<'a> {
    state: &'a State,
    name: Vec<String>,
    size: Size,
    head: f64,
    inside: Vec<(Point, Block<'a>)>,
}

impl<'a> Block<'a> {
    fn of(scope: &'a Scope, root: bool) -> Result<Block<'a>, ChartError> {
        let mut bodies = scope.states.iter().map(Body::of).collect::<Result<Vec<_>, _>>()?;
        // Plain boxes of a scope are equally wide.
        let widest = bodies.iter().filter(|body| body.inside.is_empty()).map(|body| body.size.width);
        let widest = widest.fold(0.0, f64::max);
        bodies.iter_mut().for_each(|body| body.size.width = body.size.width.max(widest));
        let (input, links) = input(scope, root, &bodies);
        let laid = layered::layout(&input).ok_or(ChartError::TooLarge)?;
        Ok(Block { scope, root, size: laid.size, laid, links, bodies })
    }

    fn put(self, at: Point, drawing: &mut Drawing<'a>) {
        let terminal = |kind, node: usize, drawing: &mut Drawing<'a>| {
            let (x, y) = (at.x + self.laid.nodes[node].x, at.y + self.laid.nodes[node].y);
            let (width, height) = (TERMINAL.width, TERMINAL.height);
            drawing.shapes.push(Shape { kind, x, y, width, height, head: height, name: Vec::new() });
        };
        let first = self.scope.states.len();
        if self.root {
            terminal(ShapeKind::Start, first, drawing);
        }
        for (link, route) in self.links.into_iter().zip(&self.laid.routes) {
            let label = link.label.zip(route.label).map(|(text, centre)| {
                let size = label_size(&text);
                let (x, y) = (at.x + centre.x - size.width / 2.0, at.y + centre.y - size.height / 2.0);
                Label { text, x, y, width: size.width, height: size.height }
            });
            let points = route.points.iter().map(|point| (at.x + point.x, at.y + point.y)).collect();
            let (from, to, lane, detail) = (link.from, link.to, link.lane, link.detail);
            drawing.curves.push(Curve { from, to, lane, points, label, detail });
        }
        for (node, body) in self.bodies.into_iter().enumerate() {
            let place = self.laid.nodes[node];
            body.put(Point { x: at.x + place.x, y: at.y + place.y }, drawing);
        }
        if self.root {
            terminal(ShapeKind::End, first + 1, drawing);
        }
    }
}

/// The states are boxes 0 to n-1, the start is box n, the end box n+1.
fn input(scope: &Scope, root: bool, bodies: &[Body<'_>]) -> (Input, Vec<Connection>) {
    let (first, last) = (bodies.len(), bodies.len() + 1);
    let mut nodes: Vec<Size> = bodies.iter().map(|body| body.size).collect();
    nodes.push(if root { TERMINAL } else { Size::default() });
    let mut links = vec![Link { from: first, to: scope.start_at, lane: Lane::Flow, label: None }];
    let name = |state: usize| scope.states[state].name.clone();
    let plain =
        |from: String, to: String| Connection { from, to, lane: Lane::Flow, label: None, detail: None };
    let mut connections = vec![plain(String::new(), name(scope.start_at))];
    for edge in &scope.edges {
        let label = edge.label.as_deref().map(label_size);
        links.push(Link { from: edge.from, to: edge.to, lane: edge.lane, label });
        connections.push(Connection {
            from: name(edge.from),
            to: name(edge.to),
            lane: edge.lane,
            label: edge.label.clone(),
            detail: edge.detail.clone(),
        });
    }
    if root {
        nodes.push(TERMINAL);
        for (index, state) in scope.states.iter().enumerate() {
            if state.ending != Ending::None {
                links.push(Link { from: index, to: last, lane: Lane::Flow, label: None });
                connections.push(plain(state.name.clone(), String::new()));
            }
        }
    }
    (Input { nodes, links, first, last: root.then_some(last) }, connections)
}

fn label_size(text: &str) -> Size {
    Size { width: (width(text, LABEL) + 16.0).ceil(), height: LABEL_HEIGHT }
}

impl<'a> Body<'a> {
    fn of(state: &'a State) -> Result<Body<'a>, ChartError> {
        let name = wrapped(&state.name, NAME, TEXT_WIDTH_MAX);
        let text = name.iter().map(|line| width(line, NAME)).chain([width(&state.title, TITLE)]);
        let text = text.fold(0.0, f64::max);
        let own = Size {
            width: (text + BADGE + 3.0 * PADDING + 6.0).max(STATE_WIDTH).ceil(),
            height: (TITLE_LINE + NAME_LINE * name.len() as f64).max(BADGE) + 2.0 * PADDING,
        };
        let mut body = Body { state, name, size: own, head: own.height, inside: Vec::new() };
        if !state.scopes.is_empty() {
            body.surround()?;
        }
        Ok(body)
    }

    /// The box around the scopes, side by side.
    fn surround(&mut self) -> Result<(), ChartError> {
        let blocks =
            self.state.scopes.iter().map(|scope| Block::of(scope, false)).collect::<Result<Vec<_>, _>>()?;
        let gaps = BETWEEN_BRANCHES * (blocks.len() - 1) as f64;
        let all = blocks.iter().map(|block| block.size.width).sum::<f64>() + gaps;
        let width = self.size.width.max(all + 2.0 * CONTAINER_PADDING);
        let height = blocks.iter().map(|block| block.size.height).fold(0.0, f64::max);
        let mut x = ((width - all) / 2.0).round();
        for block in blocks {
            let next = x + block.size.width + BETWEEN_BRANCHES;
            self.inside.push((Point { x, y: self.head }, block));
            x = next;
        }
        self.size = Size { width, height: self.head + height + CONTAINER_PADDING };
        Ok(())
    }

    fn put(self, at: Point, drawing: &mut Drawing<'a>) {
        drawing.shapes.push(Shape {
            kind: ShapeKind::State(self.state),
            x: at.x,
            y: at.y,
            width: self.size.width,
            height: self.size.height,
            head: self.head,
            name: self.name,
        });
        for (place, block) in self.inside {
            block.put(Point { x: at.x + place.x, y: at.y + place.y }, drawing);
        }
    }
}

impl Shape<'_> {
    /// How far the cards behind a Map reach out of its box.
    pub(crate) fn stacked(&self) -> f64 {
        match self.kind {
            ShapeKind::State(state) if state.kind == Kind::Map && !state.scopes.is_empty() => STACKED,
            _ => 0.0,
        }
    }
}
