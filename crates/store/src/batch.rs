//! What one transaction writes, and what comes back.
//!
//! Invariant: a batch is all or nothing, except for starts whose name is taken. Derived rows are not in it: the store
//! derives them from the events. What only the interpreter knows (is anything owed? when is it due?) comes along.

use std::sync::Arc;

use engine::map_run::MapRunEvent;
use engine::{DefinitionHash, Event, Payload, Timestamp};

use crate::{ExecutionKey, ExecutionRow, ExecutionStatus, RegistryKey, RegistryRecord, Scope};

/// One transaction.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Turns, in an order in which those of one execution follow each other.
    pub turns: Vec<TurnRecord>,
    /// Executions dropped from memory: when to load them again.
    pub parked: Vec<Parked>,
    /// New definitions; one already there is left alone.
    pub definitions: Vec<Definition>,
    /// Changes of the registry, in order.
    pub registry: Vec<RegistryWrite>,
    /// Turns of Map Runs, in an order in which those of one Map Run follow each other.
    pub map_runs: Vec<MapRunTurn>,
    /// Children of Map Runs.
    pub items: Vec<MapRunItemWrite>,
    /// Where observers have got to.
    pub cursors: Vec<CursorMove>,
    /// Executions taken out of service, or given back.
    pub quarantine: Vec<QuarantineWrite>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
            && self.parked.is_empty()
            && self.definitions.is_empty()
            && self.registry.is_empty()
            && self.map_runs.is_empty()
            && self.items.is_empty()
            && self.cursors.is_empty()
            && self.quarantine.is_empty()
    }
}

/// The events of one turn.
#[derive(Clone, Debug)]
pub struct TurnRecord {
    /// Whose.
    pub execution: ExecutionKey,
    /// At least one, with consecutive `seq`; the first turn begins with `ExecutionStarted` at seq 1.
    pub events: Arc<[Event]>,
    /// How the execution stands after them.
    pub standing: Standing,
}

/// Whether recovery must look at an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It goes on, or has ended and still owes a cancellation.
    Open,
    /// It has ended and owes nothing.
    Settled,
}

/// An execution dropped from memory, or loaded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Which.
    pub execution: ExecutionKey,
    /// Its next timer; `None` if it waits for somebody's word only, or is in memory again (then `owes_tasks`).
    pub due: Option<Timestamp>,
    /// Whether recovery must load it whatever the time: tasks to send or observe again.
    pub owes_tasks: bool,
}

/// The text of a definition.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Account and region.
    pub scope: Scope,
    /// SHA-256 of the text.
    pub hash: DefinitionHash,
    /// As it was given.
    pub text: Arc<str>,
}

/// A change of the registry.
#[derive(Clone, Debug)]
pub enum RegistryWrite {
    /// Adds or replaces.
    Put(RegistryRecord),
    /// Removes; nothing happens if it is not there.
    Delete(RegistryKey),
}

/// The events of a turn of a Map Run.
#[derive(Clone, Debug)]
pub struct MapRunTurn {
    /// Whose.
    pub map_run_arn: Arc<str>,
    /// At least one, with consecutive `seq`. A checkpoint stands alone and replaces all that was written before.
    pub events: Arc<[MapRunEvent]>,
}

/// A child of a Map Run.
#[derive(Clone, Debug, PartialEq)]
pub struct MapRunItem {
    /// The map run.
    pub map_run_arn: Arc<str>,
    /// Index of the item, or of its batch.
    pub index: u64,
    /// The child.
    pub execution_arn: Arc<str>,
    /// How it stands, as far as the Map Run knows.
    pub status: ExecutionStatus,
    /// Its output, or `{"Error": …, "Cause": …}`.
    pub output: Option<Payload>,
    /// How many items it takes.
    pub items: u64,
    /// Its input, unless its own journal has it.
    pub input: Option<Payload>,
    /// When it was owed to the world.
    pub start: Option<Timestamp>,
    /// When its end was known.
    pub stop: Option<Timestamp>,
    /// How often it was redriven. One that is redriven before it ever began is not.
    pub redrive_count: u32,
}

/// A change of a child's row.
#[derive(Clone, Debug, PartialEq)]
pub enum MapRunItemWrite {
    /// It is owed to the world.
    Scheduled(MapRunItem),
    /// It goes on.
    Redriven {
        /// The Map Run.
        map_run_arn: Arc<str>,
        /// Which child.
        index: u64,
        /// How often, with this one.
        redrive_count: u32,
    },
    /// It ended.
    Ended {
        /// The Map Run.
        map_run_arn: Arc<str>,
        /// Which child.
        index: u64,
        /// When.
        at: Timestamp,
        /// How.
        status: ExecutionStatus,
        /// Its output, or `{"Error": …, "Cause": …}`.
        output: Option<Payload>,
        /// What becomes of its input.
        input: InputIn,
    },
}

impl MapRunItemWrite {
    /// The Map Run and the index.
    pub fn key(&self) -> (&Arc<str>, u64) {
        match self {
            MapRunItemWrite::Scheduled(item) => (&item.map_run_arn, item.index),
            MapRunItemWrite::Redriven { map_run_arn, index, .. }
            | MapRunItemWrite::Ended { map_run_arn, index, .. } => (map_run_arn, *index),
        }
    }
}

/// Where the input of a child is once it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputIn {
    /// In the child's own journal.
    Journal,
    /// In the row only.
    Row,
}

/// An observer has durably dealt with everything up to a position.
#[derive(Clone, Debug)]
pub struct CursorMove {
    /// The observer.
    pub name: Arc<str>,
    /// `None` ends the observer: retention no longer waits for it.
    pub position: Option<u64>,
}

/// A change of the quarantine.
#[derive(Clone, Debug)]
pub enum QuarantineWrite {
    /// Out of service until a newer binary or an operator tries again.
    Put(Quarantined),
    /// Back in service.
    Release(ExecutionKey),
}

/// Why an execution is out of service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Which.
    pub execution: ExecutionKey,
    /// The event after which it broke.
    pub seq: u64,
    /// Version of the binary that gave up.
    pub version: Arc<str>,
    /// What it said.
    pub reason: Arc<str>,
}

/// A batch is on disk.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// Position of the last turn in the journal, this batch included.
    pub position: u64,
    /// Starts whose name was taken. Neither these turns nor later ones of their keys are written: drop the executions.
    pub conflicts: Vec<Conflict>,
}

/// A start whose name is taken.
#[derive(Clone, Debug)]
pub struct Conflict {
    /// The key that the refused execution had.
    pub execution: ExecutionKey,
    /// Who has the name.
    pub existing: Arc<ExecutionRow>,
}
