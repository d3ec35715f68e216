//! The memory store with a seam for planted bugs: what is appended and what the shard reads may be falsified.
//!
//! Without a mutation it is `store::MemoryStore`. The simulator's own checks read the truth, past the seam.

use std::sync::Arc;

use asl::timestamp::Timestamp;
use engine::map_run::{ChildStatus, MapRunEvent, MapRunEventKind};
use engine::{DefinitionHash, Event};
use store::{
    Batch, Committed, ExecutionCursor, ExecutionKey, ExecutionRow, ExecutionStatus, ExecutionsQuery, Fault,
    HistoryQuery, JournalTurn, Keys, MapRunItem, MapRunItemWrite, MapRunItemsQuery, MemoryStore,
    OpenExecution, Page, Quarantined, Reader, RegistryKey, RegistryKind, RegistryQuery, RegistryRecord,
    Scope, Store, StoreError,
};

use crate::Mutation;

/// A store that may lie.
pub(crate) struct FaultyStore {
    inner: MemoryStore,
    mutation: Option<Mutation>,
    appends: u64,
    /// Text of the newest definition.
    pub(crate) newest: Option<Arc<str>>,
}

impl FaultyStore {
    pub(crate) fn new(mutation: Option<Mutation>) -> FaultyStore {
        FaultyStore { inner: MemoryStore::new(), mutation, appends: 0, newest: None }
    }

    /// What a restarted process finds.
    pub(crate) fn reopen(&mut self) {
        self.inner = self.inner.reopen();
    }

    pub(crate) fn inject(&self, fault: Fault) {
        self.inner.inject(fault);
    }

    pub(crate) fn keys(&self) -> Keys {
        self.inner.keys()
    }

    /// What is stored, as it is.
    pub(crate) fn truth(&self) -> &MemoryStore {
        &self.inner
    }

    /// What the shard reads.
    pub(crate) fn reader(&self) -> Arc<dyn Reader> {
        match self.mutation {
            None => self.inner.reader(),
            Some(mutation) => {
                let inner = self.inner.reader();
                Arc::new(LyingReader { inner, mutation, newest: self.newest.clone() })
            }
        }
    }

    pub(crate) fn append(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        self.appends += 1;
        match self.mutation {
            Some(Mutation::LoseTail) if self.appends.is_multiple_of(5) => Ok(Committed::default()),
            Some(Mutation::TearTurns) => {
                let mut torn = batch.clone();
                for turn in torn.turns.iter_mut().filter(|turn| turn.events.len() > 1) {
                    let half = turn.events.len().div_ceil(2);
                    turn.events = turn.events[..half].into();
                }
                self.inner.append(&torn)
            }
            Some(Mutation::LoseMapRunEvents) if self.appends.is_multiple_of(5) => {
                self.inner.append(&Batch { map_runs: Vec::new(), ..batch.clone() })
            }
            Some(Mutation::MiscountChildren) => {
                let mut miscounted = batch.clone();
                for turn in &mut miscounted.map_runs {
                    turn.events = turn.events.iter().map(miscounted_event).collect();
                }
                self.inner.append(&miscounted)
            }
            Some(Mutation::LoseEndsInRows) => {
                let is_end = |write: &MapRunItemWrite| matches!(write, MapRunItemWrite::Ended { .. });
                let mut lost = batch.clone();
                lost.items.retain(|write| !is_end(write));
                self.inner.append(&lost)
            }
            Some(Mutation::LoseChildRows) => self.inner.append(&Batch { items: Vec::new(), ..batch.clone() }),
            Some(Mutation::DropParkedDue) => {
                let mut dropped = batch.clone();
                for parked in dropped.parked.iter_mut().filter(|parked| !parked.owes_tasks) {
                    parked.due = None;
                }
                self.inner.append(&dropped)
            }
            _ => self.inner.append(batch),
        }
    }
}

fn miscounted_event(event: &MapRunEvent) -> MapRunEvent {
    let mut event = event.clone();
    if let MapRunEventKind::ChildEnded { status, .. } = &mut event.kind {
        *status = ChildStatus::Failed;
    }
    event
}

struct LyingReader {
    inner: Arc<dyn Reader>,
    mutation: Mutation,
    newest: Option<Arc<str>>,
}

impl LyingReader {
    fn row(&self, row: Option<ExecutionRow>) -> Option<ExecutionRow> {
        row.map(|row| match self.mutation {
            Mutation::StaleRow => ExecutionRow { status: ExecutionStatus::Running, stop: None, ..row },
            _ => row,
        })
    }
}

impl Reader for LyingReader {
    fn execution(&self, arn: &str) -> Result<Option<ExecutionRow>, StoreError> {
        Ok(self.row(self.inner.execution(arn)?))
    }
    fn execution_by_key(&self, key: ExecutionKey) -> Result<Option<ExecutionRow>, StoreError> {
        Ok(self.row(self.inner.execution_by_key(key)?))
    }
    fn events(&self, key: ExecutionKey) -> Result<Vec<Event>, StoreError> {
        let mut events = self.inner.events(key)?;
        if self.mutation == Mutation::LoseLastEventOnLoad && events.len() > 1 {
            events.pop();
        }
        Ok(events)
    }
    fn history(&self, query: &HistoryQuery) -> Result<Page<Event, u64>, StoreError> {
        self.inner.history(query)
    }
    fn executions(&self, query: &ExecutionsQuery) -> Result<Page<ExecutionRow, ExecutionCursor>, StoreError> {
        self.inner.executions(query)
    }
    fn open(
        &self,
        after: Option<ExecutionKey>,
        due_until: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<OpenExecution>, StoreError> {
        self.inner.open(after, due_until, limit)
    }
    fn definition(&self, scope: &Scope, hash: DefinitionHash) -> Result<Option<Arc<str>>, StoreError> {
        match &self.newest {
            Some(newest) if self.mutation == Mutation::LatestDefinition => Ok(Some(Arc::clone(newest))),
            _ => self.inner.definition(scope, hash),
        }
    }
    fn registry(&self, key: &RegistryKey) -> Result<Option<RegistryRecord>, StoreError> {
        self.inner.registry(key)
    }
    fn registry_count(&self, scope: &Scope, kind: RegistryKind) -> Result<u64, StoreError> {
        self.inner.registry_count(scope, kind)
    }
    fn registry_page(&self, query: &RegistryQuery) -> Result<Page<RegistryRecord, Arc<str>>, StoreError> {
        self.inner.registry_page(query)
    }
    fn journal(&self, after: u64, limit: u32) -> Result<Vec<JournalTurn>, StoreError> {
        self.inner.journal(after, limit)
    }
    fn cursor(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.inner.cursor(name)
    }
    fn map_run_events(&self, map_run_arn: &str) -> Result<Vec<MapRunEvent>, StoreError> {
        self.inner.map_run_events(map_run_arn)
    }
    fn map_run_items(&self, query: &MapRunItemsQuery) -> Result<Vec<MapRunItem>, StoreError> {
        self.inner.map_run_items(query)
    }
    fn quarantined(&self, after: Option<ExecutionKey>, limit: u32) -> Result<Vec<Quarantined>, StoreError> {
        self.inner.quarantined(after, limit)
    }
}
