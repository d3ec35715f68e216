//! A definition drawn: what the graph view of AWS's console shows, as SVG or Mermaid.
//!
//! Invariant: the same definition and statuses give the same bytes; boxes never overlap, every state is drawn once, and
//! every edge begins and ends at its boxes. It reads definitions leniently, since a drawing helps most while a definition
//! is being written; it does not validate them, and does no I/O.

mod badge;
mod chart;
mod condition;
mod glyphs;
mod layered;
mod mermaid;
mod place;
mod polyline;
mod status;
mod style;
mod svg;
mod text;

pub use badge::Badge;
pub use chart::{Chart, ChartError, Edge, Ending, Kind, Lane, Scope, State};
pub use mermaid::mermaid;
pub use place::{Curve, Drawing, Label, Shape, ShapeKind};
pub use status::{Status, Statuses};
pub use style::Theme;
pub use svg::svg;
