//! `MapRun`: a distributed Map at work, an aggregate of its own beside the executions that it starts.
//!
//! Its state is bounded by MaxConcurrency, never by the number of items: the reader's cursor, counters by status, the live
//! children. What a child was started with and how it ended is in one row of the store, from which ResultWriter and a redrive
//! read in pages. As with an execution, only events change it, and what the world owes is
//! computed from it. It does not run states, read objects or write results.

mod event;
pub(crate) mod items;
mod state;
mod step;

pub use event::{
    ChildChange, ChildResult, ChildStatus, MapRunEvent, MapRunEventKind, MapRunStart, MapRunStatus,
    Thresholds,
};
pub use items::{Item, child_start};
pub use state::{Cursor, MapRun, MapRunCounts};
pub use step::{
    FindUnsuccessful, MapRunEffect, MapRunInput, MapRunInputKind, MapRunOutcome, MapRunStep, ReadItems,
    Source, Unsuccessful, WriteResults, step,
};
