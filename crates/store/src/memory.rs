//! The store in memory: for tests and the simulator, with the same behaviour and the same bytes.
//!
//! Invariant: it passes the conformance suite that SQLite passes. It can be told to fail. [`MemoryStore::reopen`] is
//! what a restart finds: everything acknowledged, and of a batch whose outcome was unknown all or nothing.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use engine::map_run::MapRunEvent;
use engine::{DefinitionHash, Event, Payload, Timestamp};

use crate::port::{LIMIT_MAX, PAGE_BYTES_MAX};
use crate::turn::{self, EncodedTurn, TurnError};
use crate::{
    Batch, Committed, Conflict, Difference, Direction, ExecutionCursor, ExecutionKey, ExecutionRow,
    ExecutionStatus, ExecutionsQuery, HistoryQuery, InputIn, JournalTurn, Keys, ListBy, MapRunItem,
    MapRunItemWrite, MapRunItemsQuery, OpenExecution, Page, QuarantineWrite, Quarantined, Reader,
    RegistryKey, RegistryKind, RegistryQuery, RegistryRecord, RegistryWrite, Scope, ScopeId, Standing, Store,
    StoreError, WhichItems, map_run_turn, row, verify,
};

/// What the next append does instead of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Says that the disk is full and writes nothing.
    Full,
    /// Says `Unknown`; after a restart the batch is not there.
    UnknownLost,
    /// Says `Unknown`; after a restart the batch is there.
    UnknownKept,
}

/// A store in memory. Clones are handles of the same one.
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<RwLock<State>>,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    keys: Keys,
}

#[derive(Default)]
struct State {
    journal: BTreeMap<u64, (ExecutionKey, u64)>,
    turns: BTreeMap<(ExecutionKey, u64), Vec<u8>>,
    payloads: HashMap<(ExecutionKey, u64), Vec<u8>>,
    rows: BTreeMap<ExecutionKey, Arc<ExecutionRow>>,
    names: HashMap<Arc<str>, ExecutionKey>,
    lists: BTreeMap<(Arc<str>, Timestamp, u64), ExecutionKey>,
    open: BTreeMap<ExecutionKey, OpenExecution>,
    definitions: HashMap<(Scope, DefinitionHash), Arc<str>>,
    registry: BTreeMap<RegistryKey, RegistryRecord>,
    items: BTreeMap<(Arc<str>, u64), MapRunItem>,
    map_runs: BTreeMap<(Arc<str>, u64), Vec<u8>>,
    cursors: HashMap<Arc<str>, u64>,
    quarantine: BTreeMap<ExecutionKey, Quarantined>,
    position: u64,
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> MemoryStore {
        MemoryStore { state: Arc::default(), faults: Arc::default(), keys: Keys::new(1, Vec::new()) }
    }

    /// Makes the next append fail; several are taken in order.
    pub fn inject(&self, fault: Fault) {
        self.faults.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push_back(fault);
    }

    /// The store as a restarted server finds it; faults not yet taken are forgotten.
    pub fn reopen(&self) -> MemoryStore {
        MemoryStore { state: self.state.clone(), faults: Arc::default(), keys: self.keys.clone() }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Store for MemoryStore {
    fn append(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        let fault = self.faults.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop_front();
        let unknown = || StoreError::Unknown { reason: "injected".into() };
        match fault {
            Some(Fault::Full) => return Err(StoreError::Full { path: PathBuf::from("memory") }),
            Some(Fault::UnknownLost) => return Err(unknown()),
            Some(Fault::UnknownKept) | None => {}
        }
        let mut state = self.write();
        let prepared = prepare(&state, batch, &self.keys)?;
        let committed = state.apply(batch, prepared);
        if fault == Some(Fault::UnknownKept) { Err(unknown()) } else { Ok(committed) }
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(self.clone())
    }

    fn keys(&self) -> Keys {
        self.keys.clone()
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn verify(&self) -> Result<Vec<Difference>, StoreError> {
        let state = self.read();
        let mut differences = Vec::new();
        let keys: HashSet<ExecutionKey> =
            state.turns.keys().map(|(key, _)| *key).chain(state.rows.keys().copied()).collect();
        for execution in keys {
            let turns = state.turns.range((execution, 0)..=(execution, u64::MAX));
            let stored = verify::Stored {
                execution,
                turns: turns.map(|((_, seq), blob)| (*seq, blob.clone())).collect(),
                row: state.rows.get(&execution).map(|row| ExecutionRow::clone(row)),
                open: state.open.contains_key(&execution),
            };
            differences.extend(verify::compare(&stored, &mut |key, number| Ok(state.payload(key, number)))?);
        }
        differences.extend(state.verify_map_runs(&self.keys)?);
        differences.truncate(verify::DIFFERENCES_MAX);
        Ok(differences)
    }
}

/// Everything that can go wrong, so that applying cannot.
struct Prepared {
    turns: Vec<EncodedTurn>,
    records: Vec<(RegistryKey, Option<RegistryRecord>)>,
    map_runs: Vec<Vec<u8>>,
}

fn prepare(state: &State, batch: &Batch, keys: &Keys) -> Result<Prepared, StoreError> {
    let mut turns = Vec::with_capacity(batch.turns.len());
    let mut seen = HashSet::new();
    for turn in &batch.turns {
        let encoded = turn::encode(turn.execution, &turn.events)?;
        let first_seq = turn.events[0].seq;
        let taken = state.turns.contains_key(&(turn.execution, first_seq));
        if taken || !seen.insert((turn.execution, first_seq)) {
            return Err(StoreError::Refused(format!(
                "a turn of {} at {first_seq} is there already",
                turn.execution
            )));
        }
        if let Some((start, _)) = row::start_of(&turn.events) {
            check_start(turn.execution, &start.execution_arn, keys)?;
        }
        turns.push(encoded);
    }
    let mut records = Vec::with_capacity(batch.registry.len());
    for write in &batch.registry {
        records.push(match write {
            RegistryWrite::Put(record) => {
                let key = record.key()?;
                keys.intern(&key.scope)?;
                let json = record.to_json()?;
                let record = RegistryRecord::from_json(&key, crate::registry::RECORD_VERSION, &json)?;
                (key, Some(record))
            }
            RegistryWrite::Delete(key) => (key.clone(), None),
        });
    }
    for definition in &batch.definitions {
        keys.intern(&definition.scope)?;
    }
    for item in &batch.items {
        keys.intern_arn(item.key().0)?;
    }
    let mut map_runs = Vec::with_capacity(batch.map_runs.len());
    for turn in &batch.map_runs {
        let scope = keys.intern_arn(&turn.map_run_arn)?;
        map_runs.push(map_run_turn::encode(scope, &turn.map_run_arn, &turn.events)?);
    }
    Ok(Prepared { turns, records, map_runs })
}

/// An execution's ARN must have a name, and its key the scope that the ARN names.
pub(crate) fn check_start<'a>(
    execution: ExecutionKey,
    arn: &'a str,
    keys: &Keys,
) -> Result<(&'a str, &'a str), StoreError> {
    let refuse =
        || StoreError::Refused(format!("{arn:?} is not an ARN of an execution in the scope of {execution}"));
    if keys.intern_arn(arn)? != execution.scope {
        return Err(refuse());
    }
    row::split_arn(arn).ok_or_else(refuse)
}

impl State {
    fn apply(&mut self, batch: &Batch, prepared: Prepared) -> Committed {
        let mut conflicts = Vec::new();
        let mut refused = HashSet::new();
        for (turn, encoded) in batch.turns.iter().zip(prepared.turns) {
            let key = turn.execution;
            if refused.contains(&key) {
                continue;
            }
            if let Some(existing) = self.apply_row(key, &turn.events) {
                refused.insert(key);
                conflicts.push(Conflict { execution: key, existing });
                continue;
            }
            self.position += 1;
            self.journal.insert(self.position, (key, turn.events[0].seq));
            self.turns.insert((key, turn.events[0].seq), encoded.blob);
            for (number, payload) in encoded.rows {
                self.payloads.insert((key, number), payload.text().as_bytes().to_vec());
            }
            match turn.standing {
                Standing::Open => {
                    self.open.entry(key).or_insert(OpenExecution {
                        execution: key,
                        due: None,
                        owes_tasks: true,
                    });
                }
                Standing::Settled => drop(self.open.remove(&key)),
            }
        }
        self.apply_rest(batch, prepared.records);
        for (turn, blob) in batch.map_runs.iter().zip(prepared.map_runs) {
            if map_run_turn::is_checkpoint(&turn.events) {
                self.map_runs.retain(|(arn, _), _| *arn != turn.map_run_arn);
            }
            self.map_runs.insert((turn.map_run_arn.clone(), turn.events[0].seq), blob);
        }
        Committed { position: self.position, conflicts }
    }

    /// The row whose name is taken, if so.
    fn apply_row(&mut self, key: ExecutionKey, events: &[Event]) -> Option<Arc<ExecutionRow>> {
        let change = row::change_of(events);
        if let Some((start, at)) = row::start_of(events) {
            if let Some(existing) = self.names.get(&start.execution_arn) {
                return self.rows.get(existing).cloned();
            }
            let mut row = ExecutionRow::started(key, at, start);
            change.iter().for_each(|change| row.apply(change));
            self.names.insert(row.arn.clone(), key);
            self.lists.insert((row.list().arn().clone(), at, key.number), key);
            self.rows.insert(key, Arc::new(row));
        } else if let (Some(change), Some(row)) = (change, self.rows.get_mut(&key)) {
            Arc::make_mut(row).apply(&change);
        }
        None
    }

    fn apply_rest(&mut self, batch: &Batch, records: Vec<(RegistryKey, Option<RegistryRecord>)>) {
        for parked in &batch.parked {
            if let Some(open) = self.open.get_mut(&parked.execution) {
                (open.due, open.owes_tasks) = (parked.due, parked.owes_tasks);
            }
        }
        for definition in &batch.definitions {
            let key = (definition.scope.clone(), definition.hash);
            self.definitions.entry(key).or_insert_with(|| definition.text.clone());
        }
        for (key, record) in records {
            match record {
                Some(record) => drop(self.registry.insert(key, record)),
                None => drop(self.registry.remove(&key)),
            }
        }
        batch.items.iter().for_each(|write| self.apply_item(write));
        for cursor in &batch.cursors {
            match cursor.position {
                Some(position) => drop(self.cursors.insert(cursor.name.clone(), position)),
                None => drop(self.cursors.remove(&cursor.name)),
            }
        }
        for write in &batch.quarantine {
            match write {
                QuarantineWrite::Put(quarantined) => {
                    self.quarantine.insert(quarantined.execution, quarantined.clone());
                }
                QuarantineWrite::Release(key) => drop(self.quarantine.remove(key)),
            }
        }
    }

    fn apply_item(&mut self, write: &MapRunItemWrite) {
        let (arn, index) = write.key();
        let key = (arn.clone(), index);
        match write {
            MapRunItemWrite::Scheduled(item) => drop(self.items.insert(key, item.clone())),
            MapRunItemWrite::Redriven { redrive_count, .. } => {
                if let Some(item) = self.items.get_mut(&key) {
                    item.status = ExecutionStatus::Running;
                    (item.output, item.stop) = (None, None);
                    item.redrive_count = *redrive_count;
                }
            }
            MapRunItemWrite::Ended { at, status, output, input, .. } => {
                if let Some(item) = self.items.get_mut(&key) {
                    (item.status, item.output, item.stop) = (*status, output.clone(), Some(*at));
                    if *input == InputIn::Journal {
                        item.input = None;
                    }
                }
            }
        }
    }

    fn map_run_events(&self, scope: ScopeId, arn: &Arc<str>) -> Result<Vec<MapRunEvent>, StoreError> {
        let mut events: Vec<MapRunEvent> = Vec::new();
        let corrupt = |seq, reason: String| StoreError::Corrupt { arn: arn.clone(), seq, reason };
        for ((_, seq), blob) in self.map_runs.range((arn.clone(), 0)..=(arn.clone(), u64::MAX)) {
            let turn = map_run_turn::decode(scope, arn, blob);
            events.extend(turn.map_err(|error| corrupt(*seq, error.to_string()))?);
        }
        match map_run_turn::gap(&events) {
            None => Ok(events),
            Some(seq) => Err(corrupt(seq, "the event is missing".to_owned())),
        }
    }

    fn verify_map_runs(&self, keys: &Keys) -> Result<Vec<Difference>, StoreError> {
        let mut differences = Vec::new();
        let arns: HashSet<Arc<str>> = self.map_runs.keys().map(|(arn, _)| arn.clone()).collect();
        for arn in arns {
            let scope = keys.intern_arn(&arn)?;
            let mut counted: Vec<(ExecutionStatus, u64, u64)> = Vec::new();
            for (_, item) in self.items.range((arn.clone(), 0)..=(arn.clone(), u64::MAX)) {
                match counted.iter_mut().find(|(status, ..)| *status == item.status) {
                    Some((_, children, items)) => (*children, *items) = (*children + 1, *items + item.items),
                    None => counted.push((item.status, 1, item.items)),
                }
            }
            let events = self.map_run_events(scope, &arn);
            differences.extend(verify::compare_map_run(scope, &arn, &events, &counted));
        }
        Ok(differences)
    }

    fn payload(&self, key: ExecutionKey, number: u64) -> Option<Vec<u8>> {
        self.payloads.get(&(key, number)).cloned()
    }

    fn decode(&self, key: ExecutionKey, seq: u64, blob: &[u8]) -> Result<Vec<Event>, StoreError> {
        match turn::decode(blob, &mut |key, number| Ok(self.payload(key, number))) {
            Ok(turn) => Ok(turn.events),
            Err(TurnError::Store(error)) => Err(error),
            Err(error) => {
                let arn = self.rows.get(&key).map_or_else(|| key.to_string().into(), |row| row.arn.clone());
                Err(StoreError::Corrupt { arn, seq, reason: error.to_string() })
            }
        }
    }
}

impl Reader for MemoryStore {
    fn execution(&self, arn: &str) -> Result<Option<ExecutionRow>, StoreError> {
        let state = self.read();
        let row = state.names.get(arn).and_then(|key| state.rows.get(key));
        Ok(row.map(|row| ExecutionRow::clone(row)))
    }

    fn execution_by_key(&self, key: ExecutionKey) -> Result<Option<ExecutionRow>, StoreError> {
        Ok(self.read().rows.get(&key).map(|row| ExecutionRow::clone(row)))
    }

    fn events(&self, key: ExecutionKey) -> Result<Vec<Event>, StoreError> {
        let state = self.read();
        let mut events = Vec::new();
        for ((_, seq), blob) in state.turns.range((key, 0)..=(key, u64::MAX)) {
            events.extend(state.decode(key, *seq, blob)?);
        }
        Ok(events)
    }

    fn history(&self, query: &HistoryQuery) -> Result<Page<Event, u64>, StoreError> {
        let state = self.read();
        let mut events = Vec::new();
        for ((_, seq), blob) in state.turns.range((query.execution, 0)..=(query.execution, u64::MAX)) {
            events.extend(state.decode(query.execution, *seq, blob)?);
        }
        events.retain(|event| {
            let wanted = match (query.direction, query.from) {
                (_, None) => true,
                (Direction::Forward, Some(from)) => event.seq >= from,
                (Direction::Backward, Some(from)) => event.seq <= from,
            };
            wanted && event.history_id.is_some()
        });
        if query.direction == Direction::Backward {
            events.reverse();
        }
        let limit = query.limit.min(LIMIT_MAX) as usize;
        let next = events.get(limit).map(|event| event.seq);
        events.truncate(limit);
        Ok(Page { items: events, next })
    }

    fn executions(&self, query: &ExecutionsQuery) -> Result<Page<ExecutionRow, ExecutionCursor>, StoreError> {
        let state = self.read();
        let arn = query.by.arn().clone();
        let upper = match query.after {
            Some(cursor) => Bound::Excluded((arn.clone(), cursor.start, cursor.number)),
            None => Bound::Included((arn.clone(), Timestamp::from_epoch_millis(i64::MAX), u64::MAX)),
        };
        let lower = Bound::Included((arn, Timestamp::from_epoch_millis(i64::MIN), 0));
        let rows = state.lists.range((lower, upper)).rev().filter_map(|(_, key)| state.rows.get(key));
        let wanted = rows.filter(|row| {
            query.status.is_none_or(|status| row.status == status)
                && query.redriven.is_none_or(|redriven| (row.redrive_count > 0) == redriven)
                && matches!(query.by, ListBy::MapRun(_)) == row.map_run.is_some()
        });
        let limit = query.limit.min(LIMIT_MAX) as usize;
        let mut items: Vec<ExecutionRow> =
            wanted.take(limit + 1).map(|row| ExecutionRow::clone(row)).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| more);
        let next = last.map(|row| ExecutionCursor { start: row.start, number: row.key.number });
        Ok(Page { items, next })
    }

    fn open(
        &self,
        after: Option<ExecutionKey>,
        due_until: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<OpenExecution>, StoreError> {
        let state = self.read();
        let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
        let open = state.open.range((lower, Bound::Unbounded)).map(|(_, open)| *open);
        let wanted = open.filter(|open| match due_until {
            None => true,
            Some(until) => open.owes_tasks || open.due.is_some_and(|due| due <= until),
        });
        Ok(wanted.take(limit.min(LIMIT_MAX) as usize).collect())
    }

    fn definition(&self, scope: &Scope, hash: DefinitionHash) -> Result<Option<Arc<str>>, StoreError> {
        Ok(self.read().definitions.get(&(scope.clone(), hash)).cloned())
    }

    fn registry(&self, key: &RegistryKey) -> Result<Option<RegistryRecord>, StoreError> {
        Ok(self.read().registry.get(key).cloned())
    }

    fn registry_count(&self, scope: &Scope, kind: RegistryKind) -> Result<u64, StoreError> {
        let state = self.read();
        let of_kind = |key: &&RegistryKey| key.scope == *scope && key.kind == kind;
        Ok(state.registry.keys().filter(of_kind).count() as u64)
    }

    fn registry_page(&self, query: &RegistryQuery) -> Result<Page<RegistryRecord, Arc<str>>, StoreError> {
        let state = self.read();
        let mut found: Vec<(&RegistryKey, &RegistryRecord)> = state
            .registry
            .iter()
            .filter(|(key, _)| key.scope == query.scope && key.kind == query.kind)
            .filter(|(key, _)| key.name.starts_with(&*query.prefix))
            .filter(|(key, _)| match (&query.after, query.direction) {
                (None, _) => true,
                (Some(after), Direction::Forward) => key.name > *after,
                (Some(after), Direction::Backward) => key.name < *after,
            })
            .collect();
        if query.direction == Direction::Backward {
            found.reverse();
        }
        let limit = query.limit.min(LIMIT_MAX) as usize;
        let next = (found.len() > limit && limit > 0).then(|| found[limit - 1].0.name.clone());
        let items = found.into_iter().take(limit).map(|(_, record)| record.clone()).collect();
        Ok(Page { items, next })
    }

    fn journal(&self, after: u64, limit: u32) -> Result<Vec<JournalTurn>, StoreError> {
        let state = self.read();
        let after = state.journal.range((Bound::Excluded(after), Bound::Unbounded));
        let mut turns = Vec::new();
        for (position, (execution, seq)) in after.take(limit.min(LIMIT_MAX) as usize) {
            let blob = state.turns.get(&(*execution, *seq)).map_or(&[][..], |blob| blob);
            let events = state.decode(*execution, *seq, blob)?;
            turns.push(JournalTurn { position: *position, execution: *execution, events });
        }
        Ok(turns)
    }

    fn cursor(&self, name: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.read().cursors.get(name).copied())
    }

    fn map_run_events(&self, map_run_arn: &str) -> Result<Vec<MapRunEvent>, StoreError> {
        let scope = Scope::of_arn(map_run_arn).and_then(|scope| self.keys.find(&scope));
        scope.map_or(Ok(Vec::new()), |scope| self.read().map_run_events(scope, &map_run_arn.into()))
    }

    fn map_run_items(&self, query: &MapRunItemsQuery) -> Result<Vec<MapRunItem>, StoreError> {
        let state = self.read();
        let arn = query.map_run_arn.clone();
        let items = state.items.range((arn.clone(), query.from)..=(arn, u64::MAX)).map(|(_, item)| item);
        let wanted = items.filter(|item| match query.which {
            WhichItems::All => true,
            WhichItems::Unsuccessful => {
                !matches!(item.status, ExecutionStatus::Running | ExecutionStatus::Succeeded)
            }
        });
        let (mut page, mut bytes) = (Vec::new(), 0);
        for item in wanted.take(query.limit.min(LIMIT_MAX) as usize) {
            bytes += [&item.output, &item.input].into_iter().flatten().map(Payload::len).sum::<usize>();
            page.push(item.clone());
            if bytes >= PAGE_BYTES_MAX {
                break;
            }
        }
        Ok(page)
    }

    fn quarantined(&self, after: Option<ExecutionKey>, limit: u32) -> Result<Vec<Quarantined>, StoreError> {
        let state = self.read();
        let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found =
            state.quarantine.range((lower, Bound::Unbounded)).map(|(_, quarantined)| quarantined.clone());
        Ok(found.take(limit.min(LIMIT_MAX) as usize).collect())
    }
}
