//! `MapRun`: a distributed Map at work, an aggregate of its own beside the executions that it starts.
//!
//! Its state is bounded by MaxConcurrency, never by the number of items: the reader's cursor, counters by status, the live
//! children. Items live only in the children's start; the outcome of each ended child is in one event, from which the store
//! keeps a row that ResultWriter reads in pages. As with an execution, only events change it, and what the world owes is
//! computed from it. It does not run states, read objects or write results.

mod event;
mod items;
mod state;
mod step;

pub use event::{ChildResult, MapRunEvent, MapRunEventKind, MapRunStart, MapRunStatus, Thresholds};
pub use state::{Cursor, MapRun, MapRunCounts};
pub use step::{
    MapRunEffect, MapRunInput, MapRunInputKind, MapRunOutcome, MapRunStep, ReadItems, WriteResults, step,
};
