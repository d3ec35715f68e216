//! Observers: readers of the committed journal, each at its own pace.
//!
//! Invariant: an observer sees every committed turn at least once and in order. Its cursor is written only after it has
//! dealt with a page; the write waits for other news to share its transaction with, so a crash repeats at most
//! [`CURSOR_EVERY`] of a busy journal. Observers are never waited for by executions.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use asl::timestamp::Timestamp;
use engine::{Event, EventKind, Start, StateMachineType};
use store::{Batch, CursorMove, ExecutionKey, JournalTurn, Reader, Store, StoreError};

use super::Core;
use super::express::ExpressEnd;
use crate::clock::BoxFuture;
use crate::error::Error;
use crate::failpoint;

/// Turns of a page.
const PAGE: u32 = 256;

/// How long a cursor may lag behind what its observer has done.
const CURSOR_EVERY: Duration = Duration::from_secs(1);

/// Starts kept for the meta data of events.
const STARTS_MAX: usize = 4_096;

/// A committed event, with what is known of its execution.
#[derive(Clone, Debug)]
pub struct CommittedEvent {
    /// Place of its turn in the journal; the events of a turn share it. With `event.seq` it tells repetitions. 0: Express.
    pub position: u64,
    /// What the execution was started with: ARNs, names, role, input.
    pub start: Arc<Start>,
    /// When it was started.
    pub start_date: Timestamp,
    /// How often it had been redriven.
    pub redrive_count: u32,
    /// When it was last redriven.
    pub redrive_date: Option<Timestamp>,
    /// What happened.
    pub event: Event,
}

/// Whoever follows all executions: logs, metrics, status events.
pub trait Observer: Send + Sync + 'static {
    /// The name of its cursor; it stays the same from start to start.
    fn name(&self) -> &str;
    /// Whether one that has no cursor yet begins with what comes from now on, and not with the whole journal.
    fn begins_now(&self) -> bool {
        false
    }
    /// Deals with a page of the journal. An error is logged and the page comes again, so it has to be idempotent.
    fn observe(&self, events: Vec<CommittedEvent>) -> BoxFuture<'_, Result<(), String>>;
    /// Deals with all events of an Express execution that has ended; they are in no journal and come once at most.
    fn observe_express(&self, events: Vec<CommittedEvent>) -> BoxFuture<'_, Result<(), String>>;
}

/// Starts of executions by key, so that events can be told whose they are.
#[derive(Default)]
struct Starts(HashMap<ExecutionKey, Known>);

#[derive(Clone)]
struct Known {
    start: Arc<Start>,
    start_date: Timestamp,
    redrive_count: u32,
    redrive_date: Option<Timestamp>,
}

/// Gives those that begin now, and are new, their cursors at the journal's end, before anything can be added to it.
pub(crate) fn begin(store: &mut dyn Store, observers: &[Arc<dyn Observer>]) -> Result<(), StoreError> {
    let reader = store.reader();
    for observer in observers.iter().filter(|observer| observer.begins_now()) {
        if reader.cursor(observer.name())?.is_none() {
            let position = Some(store.append(&Batch::default())?.position);
            let cursors = vec![CursorMove { name: observer.name().into(), position }];
            store.append(&Batch { cursors, ..Batch::default() })?;
        }
    }
    Ok(())
}

/// Drives one observer until the runtime ends.
pub(crate) async fn drive(core: Arc<Core>, observer: Arc<dyn Observer>) {
    let name: Arc<str> = observer.name().into();
    let mut changes = core.position.clone();
    let asked = Arc::clone(&name);
    let Ok(cursor) = core.read(move |reader| reader.cursor(&asked)).await else { return };
    let (mut cursor, mut written) = (cursor.unwrap_or(0), cursor);
    let mut written_at = core.clock.now();
    let mut starts = Starts::default();
    let mut delay = Duration::from_millis(100);
    loop {
        changes.mark_unchanged();
        let Ok((page, returned)) = next_page(&core, cursor, starts).await else { return };
        starts = returned;
        let Some((position, events)) = page else {
            // Nothing to do: wait for news, and after a while write down how far we are.
            let unwritten = written != Some(cursor);
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    return;
                },
                () = core.clock.sleep_until(written_at.plus(CURSOR_EVERY)), if unwritten => {
                    if move_cursor(&core, &name, cursor).await.is_err() {
                        return;
                    }
                    written = Some(cursor);
                    written_at = core.clock.now();
                }
            }
            continue;
        };
        failpoint!("observer.before");
        if let Err(reason) = observer.observe(events).await {
            tracing::warn!(observer = %name, reason, "an observer failed; it is shown the same page again");
            core.clock.sleep_until(core.clock.now().plus(delay)).await;
            delay = (delay * 2).min(Duration::from_secs(30));
            continue;
        }
        failpoint!("observer.after");
        delay = Duration::from_millis(100);
        cursor = position;
        if core.clock.now().since(written_at) >= CURSOR_EVERY {
            if move_cursor(&core, &name, cursor).await.is_err() {
                return;
            }
            written = Some(cursor);
            written_at = core.clock.now();
        }
    }
}

async fn move_cursor(core: &Core, name: &Arc<str>, position: u64) -> Result<(), Error> {
    let cursors = vec![CursorMove { name: Arc::clone(name), position: Some(position) }];
    core.commit(Batch { cursors, ..Batch::default() }).await?;
    failpoint!("cursor.after");
    Ok(())
}

type EventPage = Option<(u64, Vec<CommittedEvent>)>;

async fn next_page(core: &Core, after: u64, starts: Starts) -> Result<(EventPage, Starts), Error> {
    core.read(move |reader| {
        let mut starts = starts;
        let turns = reader.journal(after, PAGE)?;
        let Some(position) = turns.last().map(|turn| turn.position) else { return Ok((None, starts)) };
        let mut events = Vec::new();
        for turn in turns {
            starts.name(reader, turn, &mut events)?;
        }
        Ok((Some((position, events)), starts))
    })
    .await
}

impl Starts {
    fn name(
        &mut self,
        reader: &dyn Reader,
        turn: JournalTurn,
        events: &mut Vec<CommittedEvent>,
    ) -> Result<(), StoreError> {
        if self.0.len() > STARTS_MAX {
            self.0.clear();
        }
        for event in turn.events {
            if let EventKind::ExecutionStarted { start, .. } = &event.kind {
                self.0.insert(turn.execution, Known::started(start, event.at));
            }
            let Some(known) = self.find(reader, turn.execution, event.seq)? else { continue };
            if let EventKind::ExecutionRedriven { count, .. } = &event.kind {
                known.redriven(*count, event.at);
            }
            // Of these only start and end are journalled; all their events are shown when they have ended.
            if known.start.machine_type == StateMachineType::Express {
                continue;
            }
            let known = known.clone();
            events.push(CommittedEvent {
                position: turn.position,
                start: known.start,
                start_date: known.start_date,
                redrive_count: known.redrive_count,
                redrive_date: known.redrive_date,
                event,
            });
        }
        Ok(())
    }

    /// From memory, or from the journal up to the event in question.
    fn find(
        &mut self,
        reader: &dyn Reader,
        execution: ExecutionKey,
        seq: u64,
    ) -> Result<Option<&mut Known>, StoreError> {
        let known = match self.0.entry(execution) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => match Known::read(reader, execution, seq)? {
                Some(known) => vacant.insert(known),
                None => return Ok(None),
            },
        };
        Ok(Some(known))
    }
}

impl Known {
    fn started(start: &Arc<Start>, at: Timestamp) -> Known {
        Known { start: Arc::clone(start), start_date: at, redrive_count: 0, redrive_date: None }
    }

    fn redriven(&mut self, count: u32, at: Timestamp) {
        self.redrive_count = count;
        self.redrive_date = Some(at);
    }

    /// What was known of an execution at one of its events.
    fn read(reader: &dyn Reader, execution: ExecutionKey, seq: u64) -> Result<Option<Known>, StoreError> {
        let mut known: Option<Known> = None;
        for event in reader.events(execution)?.into_iter().take_while(|event| event.seq <= seq) {
            match (&event.kind, &mut known) {
                (EventKind::ExecutionStarted { start, .. }, _) => {
                    known = Some(Known::started(start, event.at));
                }
                (EventKind::ExecutionRedriven { count, .. }, Some(known)) => known.redriven(*count, event.at),
                _ => {}
            }
        }
        Ok(known)
    }
}

impl Core {
    /// Shows the observers an Express execution that has ended.
    pub(crate) async fn express_ended(&self, start: &Arc<Start>, ended: &ExpressEnd) {
        for observer in &self.observers {
            let events = ended.events.iter().map(|event| CommittedEvent {
                position: 0,
                start: Arc::clone(start),
                start_date: ended.started_at,
                redrive_count: 0,
                redrive_date: None,
                event: event.clone(),
            });
            if let Err(reason) = observer.observe_express(events.collect()).await {
                tracing::warn!(
                    observer = observer.name(),
                    reason,
                    "an observer lost the events of an Express execution"
                );
            }
        }
    }
}
