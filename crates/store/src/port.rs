//! The port: what the runtime asks of a store, whatever it is made of.
//!
//! Invariant: a reader sees committed state only, each call one consistent state. Pages are bounded by the caller's
//! `limit`, which is capped at [`LIMIT_MAX`]. Many nodes will add a fence to `append`; one server owns its directory.

use std::sync::Arc;

use engine::map_run::MapRunEvent;
use engine::{DefinitionHash, Event, Timestamp};

use crate::{
    Batch, Committed, Difference, ExecutionKey, ExecutionRow, ExecutionStatus, Keys, MapRunItem, Quarantined,
    RegistryKey, RegistryKind, RegistryRecord, Scope, StoreError,
};

/// The largest page.
pub(crate) const LIMIT_MAX: u32 = 10_000;

/// A page whose rows hold payloads ends after so many bytes of them.
pub const PAGE_BYTES_MAX: usize = 1 << 20;

/// The one writer.
pub trait Store: Send {
    /// Writes a batch in one transaction; `Ok` means that it is on disk.
    fn append(&mut self, batch: &Batch) -> Result<Committed, StoreError>;
    /// A handle for reading from any thread.
    fn reader(&self) -> Arc<dyn Reader>;
    /// Draws the keys of new executions.
    fn keys(&self) -> Keys;
    /// Moves what the log of the database holds into its file; for a quiet moment, at most a few milliseconds' work.
    fn checkpoint(&mut self) -> Result<(), StoreError>;
    /// Rebuilds everything derived from the journal and says where the stored rows differ (at most 100 places).
    fn verify(&self) -> Result<Vec<Difference>, StoreError>;
}

/// Reads committed state.
pub trait Reader: Send + Sync {
    /// The row of an execution by its ARN.
    fn execution(&self, arn: &str) -> Result<Option<ExecutionRow>, StoreError>;
    /// The row of an execution by its key.
    fn execution_by_key(&self, key: ExecutionKey) -> Result<Option<ExecutionRow>, StoreError>;
    /// All events of an execution, for replay; empty if there is none.
    fn events(&self, key: ExecutionKey) -> Result<Vec<Event>, StoreError>;
    /// A page of the public events.
    fn history(&self, query: &HistoryQuery) -> Result<Page<Event, u64>, StoreError>;
    /// A page of ListExecutions, the most recently started first.
    fn executions(&self, query: &ExecutionsQuery) -> Result<Page<ExecutionRow, ExecutionCursor>, StoreError>;
    /// Executions that are not settled, by key: for recovery and for waking parked ones.
    /// With `due_until`: those that owe tasks or are due by then.
    fn open(
        &self,
        after: Option<ExecutionKey>,
        due_until: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<OpenExecution>, StoreError>;
    /// The text of a definition.
    fn definition(&self, scope: &Scope, hash: DefinitionHash) -> Result<Option<Arc<str>>, StoreError>;
    /// A record of the registry.
    fn registry(&self, key: &RegistryKey) -> Result<Option<RegistryRecord>, StoreError>;
    /// How many records of a kind an account has in a region.
    fn registry_count(&self, scope: &Scope, kind: RegistryKind) -> Result<u64, StoreError>;
    /// A page of the registry.
    fn registry_page(&self, query: &RegistryQuery) -> Result<Page<RegistryRecord, Arc<str>>, StoreError>;
    /// Turns after a position in commit order, for observers.
    fn journal(&self, after: u64, limit: u32) -> Result<Vec<JournalTurn>, StoreError>;
    /// Position of an observer.
    fn cursor(&self, name: &str) -> Result<Option<u64>, StoreError>;
    /// What a Map Run is replayed from: everything since its last checkpoint; empty if it has no journal.
    fn map_run_events(&self, map_run_arn: &str) -> Result<Vec<MapRunEvent>, StoreError>;
    /// Children of a Map Run, by index. A page also ends after about [`PAGE_BYTES_MAX`]; only an empty one is the last.
    fn map_run_items(&self, query: &MapRunItemsQuery) -> Result<Vec<MapRunItem>, StoreError>;
    /// Executions out of service, by key.
    fn quarantined(&self, after: Option<ExecutionKey>, limit: u32) -> Result<Vec<Quarantined>, StoreError>;
}

/// Some of many.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T, C> {
    /// These.
    pub items: Vec<T>,
    /// Where the next page begins (`after` or `from` of the next query); `None` at the end.
    pub next: Option<C>,
}

/// Oldest or newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Direction {
    /// Oldest first.
    #[default]
    Forward,
    /// Newest first.
    Backward,
}

/// Which public events.
#[derive(Clone, Copy, Debug)]
pub struct HistoryQuery {
    /// Of which execution.
    pub execution: ExecutionKey,
    /// The `seq` to begin with (it need not be a public event's); `None`: at the end that the direction begins at.
    pub from: Option<u64>,
    /// Which way.
    pub direction: Direction,
    /// How many at most.
    pub limit: u32,
}

/// Which executions.
#[derive(Clone, Debug)]
pub struct ExecutionsQuery {
    /// Whose.
    pub by: ListBy,
    /// Only these.
    pub status: Option<ExecutionStatus>,
    /// Only those that were (not) redriven.
    pub redriven: Option<bool>,
    /// From the page before.
    pub after: Option<ExecutionCursor>,
    /// How many at most.
    pub limit: u32,
}

/// Which children of a Map Run.
#[derive(Clone, Debug)]
pub struct MapRunItemsQuery {
    /// Whose.
    pub map_run_arn: Arc<str>,
    /// Index of the first one.
    pub from: u64,
    /// Which of them.
    pub which: WhichItems,
    /// How many at most.
    pub limit: u32,
}

/// Which children of a Map Run, by how they ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichItems {
    /// All.
    All,
    /// Those that ended without success.
    Unsuccessful,
}

/// What ListExecutions lists by. Version and alias ARNs list by their state machine; filter by the row's ARNs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListBy {
    /// A state machine's own executions.
    StateMachine(Arc<str>),
    /// The children of a map run.
    MapRun(Arc<str>),
}

impl ListBy {
    pub(crate) fn arn(&self) -> &Arc<str> {
        match self {
            ListBy::StateMachine(arn) | ListBy::MapRun(arn) => arn,
        }
    }
}

/// A place in a list of executions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecutionCursor {
    /// Start of the last one shown.
    pub start: Timestamp,
    /// Its number.
    pub number: u64,
}

/// An execution that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenExecution {
    /// Which.
    pub execution: ExecutionKey,
    /// Its next timer, if it was parked.
    pub due: Option<Timestamp>,
    /// It owes tasks, or was in memory when the server ended.
    pub owes_tasks: bool,
}

/// Which records of the registry.
#[derive(Clone, Debug)]
pub struct RegistryQuery {
    /// Account and region.
    pub scope: Scope,
    /// Which kind.
    pub kind: RegistryKind,
    /// Only names that begin so: `machine:` for the versions or aliases of a machine.
    pub prefix: Arc<str>,
    /// From the page before.
    pub after: Option<Arc<str>>,
    /// By name, forward or backward (newest version first).
    pub direction: Direction,
    /// How many at most.
    pub limit: u32,
}

/// A turn as observers read it.
#[derive(Clone, Debug)]
pub struct JournalTurn {
    /// Its place in the journal.
    pub position: u64,
    /// Whose.
    pub execution: ExecutionKey,
    /// What happened.
    pub events: Vec<Event>,
}
