//! What Passo remembers: the journal of turns, definitions, the registry, and the rows derived from them.
//!
//! Invariants: only this crate writes the journal; one [`Store::append`] is one transaction, and what it returned
//! `Ok` for survives a crash and a power cut; everything derived is written in the same transaction by the same
//! functions that [`Store::verify`] rebuilds with. It does not know `Program`, steps nothing and decides nothing.
//! The bytes are described in `FORMAT.md`. Names of executions are unique a state machine because the transaction
//! says so: a start whose name is taken comes back in [`Committed::conflicts`], and nothing of that turn is written.

mod batch;
mod error;
mod keys;
pub mod map_run_turn;
mod memory;
mod port;
mod registry;
mod row;
mod sqlite;
pub mod turn;
mod verify;

pub use batch::{
    Batch, Committed, Conflict, CursorMove, Definition, InputIn, MapRunItem, MapRunItemWrite, MapRunTurn,
    Parked, QuarantineWrite, Quarantined, RegistryWrite, Standing, TurnRecord,
};
pub use error::StoreError;
pub use keys::{ExecutionKey, Keys, Scope, ScopeId};
pub use memory::{Fault, MemoryStore};
pub use port::{
    Direction, ExecutionCursor, ExecutionsQuery, HistoryQuery, JournalTurn, ListBy, MapRunItemsQuery,
    OpenExecution, PAGE_BYTES_MAX, Page, Reader, RegistryQuery, Store, WhichItems,
};
pub use registry::{
    ActivityRecord, AliasRecord, RegistryKey, RegistryKind, RegistryRecord, Route, StateMachineRecord,
    StateMachineStatus, TagsRecord, VersionRecord,
};
pub use row::{ExecutionRow, ExecutionStatus};
pub use sqlite::{Durability, SqliteOptions, SqliteStore};
pub use verify::Difference;
