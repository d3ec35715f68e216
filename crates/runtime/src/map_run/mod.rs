//! A Map Run in memory: driven, like a shard, by a synchronous state machine without threads, async or a clock of its own.
//!
//! `offer` news, `take_batch`, commit it, then `committed` releases what may leave. Invariants: nothing is released before its
//! batch is committed (L6); at most one batch is in commit; the state is replay(journal + batch in commit), and the journal is
//! cut at a checkpoint before it grows beyond a bound. It never reads, starts, waits or writes.

mod rows;
mod window;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use asl::program::Program;
use asl::timestamp::Timestamp;
use engine::Start;
use engine::map_run::{
    ChildChange, MapRun, MapRunEffect, MapRunEvent, MapRunInput, MapRunInputKind, MapRunStart, MapRunStatus,
    ReadItems, Source, step,
};
use engine::{Failure, map_run};
use store::{Batch, MapRunItemWrite, MapRunTurn};

use crate::dispatch::ItemsReport;
use crate::shard::{Answer, Ticket};
use window::{Served, Window};

/// Events after which a checkpoint takes their place.
const CHECKPOINT_EVENTS: usize = 1_000;
/// Turns after which a checkpoint takes their place: a turn may hold a cursor of a kilobyte.
const CHECKPOINT_TURNS: usize = 256;
/// Most inputs of a batch.
const INPUTS_MAX: usize = 1_024;

/// What a Map Run makes children from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The definition, compiled.
    pub program: Arc<Program>,
    /// What the Map state knew.
    pub start: Arc<MapRunStart>,
}

/// One Map Run in memory.
#[derive(Debug)]
pub struct ResidentMapRun {
    arn: Arc<str>,
    origin: Option<Origin>,
    map_run: MapRun,
    /// Events and turns since the last checkpoint.
    since: (usize, usize),
    window: Window,
    offers: VecDeque<(MapRunInputKind, Option<Ticket>)>,
    in_commit: Option<MapRunReleased>,
    /// Children that a format without journals of Map Runs left: their ARNs by index.
    adopted: HashMap<u64, Arc<str>>,
}

/// What may leave after a commit.
#[derive(Debug, Default)]
pub struct MapRunReleased {
    /// Answers to offers.
    pub answers: Vec<(Ticket, Answer)>,
    /// What is asked of the world, in order. Reading items is asked for by `read` instead.
    pub effects: Vec<MapRunEffect>,
    /// Starts of the children that are to run for the first time, by index.
    pub starts: HashMap<u64, Arc<Start>>,
}

impl ResidentMapRun {
    /// From its journal, which is empty for a new one. Without an origin it can only be stopped.
    pub fn new(arn: Arc<str>, events: &[MapRunEvent], origin: Option<Origin>) -> ResidentMapRun {
        ResidentMapRun {
            arn,
            origin,
            map_run: MapRun::replay(events),
            since: (events.len(), events.len().min(CHECKPOINT_TURNS - 1)),
            window: Window::default(),
            offers: VecDeque::new(),
            in_commit: None,
            adopted: HashMap::new(),
        }
    }

    /// Children that are on disk already, of a Map Run that has no journal yet.
    pub fn adopt(&mut self, children: HashMap<u64, Arc<str>>) {
        self.adopted = children;
    }

    /// The execution that waits for it asks again, or redrives it.
    pub fn set_origin(&mut self, origin: Origin) {
        self.origin = Some(origin);
    }

    /// What it makes children from.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Its state, with what is in commit.
    pub fn state(&self) -> &MapRun {
        &self.map_run
    }

    /// Takes news in. Nothing happens before [`ResidentMapRun::take_batch`].
    pub fn offer(&mut self, kind: MapRunInputKind, ticket: Option<Ticket>) {
        self.offers.push_back((kind, ticket));
    }

    /// Whether [`ResidentMapRun::take_batch`] has something to do.
    pub fn is_ready(&self) -> bool {
        self.in_commit.is_none() && !self.offers.is_empty()
    }

    /// Steps what waits. The batch may be empty; it is acknowledged all the same, without the disk.
    ///
    /// # Panics
    /// On a broken invariant of the core. Nothing of the batch may be written then.
    pub fn take_batch(
        &mut self,
        now: Timestamp,
        draw: &mut dyn FnMut() -> u64,
        budget: u32,
    ) -> Option<Batch> {
        if !self.is_ready() {
            return None;
        }
        let mut released = MapRunReleased::default();
        let (mut events, mut changes) = (Vec::new(), Vec::new());
        for _ in 0..INPUTS_MAX {
            let Some((kind, ticket)) = self.offers.pop_front() else { break };
            let source = self.origin.as_ref();
            let source = source.map(|origin| Source { program: &origin.program, start: &origin.start });
            let stepped =
                step(source, &mut self.map_run, MapRunInput { at: now, entropy: draw(), kind }, budget);
            events.extend(stepped.events);
            changes.extend(stepped.children);
            released.effects.extend(stepped.effects);
            released.answers.extend(ticket.map(|ticket| match stepped.outcome {
                Ok(()) => (ticket, Answer::Accepted { at: now }),
                Err(reason) => (ticket, Answer::Ignored(reason)),
            }));
            if stepped.more {
                self.offers.push_front((MapRunInputKind::Resumed, None));
            }
            if events.len() >= budget as usize {
                break;
            }
        }
        let batch = self.batch(now, events, changes, &mut released.starts);
        keep_last_read(&mut released.effects, &self.map_run);
        self.in_commit = Some(released);
        Some(batch)
    }

    fn batch(
        &mut self,
        now: Timestamp,
        events: Vec<MapRunEvent>,
        changes: Vec<ChildChange>,
        starts: &mut HashMap<u64, Arc<Start>>,
    ) -> Batch {
        if events.is_empty() {
            return Batch::default();
        }
        self.since.0 += events.len();
        self.since.1 += 1;
        let over = self.map_run.status() != MapRunStatus::Running;
        let events: Arc<[MapRunEvent]> =
            if over || self.since.0 >= CHECKPOINT_EVENTS || self.since.1 >= CHECKPOINT_TURNS {
                self.since = (0, 0);
                Arc::from([self.map_run.checkpoint(now)])
            } else {
                events.into()
            };
        let (changes, express) = (changes.into_iter(), self.map_run.is_express());
        let mut items: Vec<_> =
            changes.map(|change| rows::write(&self.arn, express, now, change, starts)).collect();
        items.iter_mut().for_each(|write| self.adopt_child(write));
        let map_runs = vec![MapRunTurn { map_run_arn: Arc::clone(&self.arn), events }];
        Batch { map_runs, items, ..Batch::default() }
    }

    /// A child that is on disk already keeps its ARN, and is looked for instead of started.
    fn adopt_child(&self, write: &mut MapRunItemWrite) {
        let MapRunItemWrite::Scheduled(item) = write else { return };
        if let (Some(arn), Some(origin)) = (self.adopted.get(&item.index), &self.origin) {
            item.execution_arn = Arc::clone(arn);
            item.redrive_count = origin.start.redrive;
        }
    }

    /// The batch is on disk: its answers and effects may leave.
    pub fn committed(&mut self) -> MapRunReleased {
        let mut released = self.in_commit.take().unwrap_or_default();
        released.starts.retain(|index, _| !self.adopted.contains_key(index));
        released
    }

    /// Asks the window for the items that are owed: either they are offered at once, or the answer must be fetched and given
    /// to [`ResidentMapRun::page`].
    pub fn read(&mut self, read: &ReadItems) -> Option<ReadItems> {
        match self.window.serve(read, self.map_run.room()) {
            Served::Items(kind) => {
                self.offer(kind, None);
                None
            }
            Served::Fetch(read) => Some(read),
            Served::UnderWay => None,
        }
    }

    /// A page of items, or why there is none; returns the next page to fetch, if another one is needed.
    pub fn page(&mut self, page: Result<ItemsReport, Failure>) -> Option<ReadItems> {
        match page {
            Ok(page) => self.window.fill(page),
            Err(failure) => {
                self.window = Window::default();
                self.offer(MapRunInputKind::ReadFailed(failure), None);
                return None;
            }
        }
        let owed = self.map_run.outstanding().into_iter().find_map(|effect| match effect {
            MapRunEffect::ReadItems(read) => Some(read),
            _ => None,
        });
        owed.and_then(|read| self.read(&read))
    }
}

/// Of several reads only the last one is still owed, if any is.
fn keep_last_read(effects: &mut Vec<MapRunEffect>, map_run: &MapRun) {
    let is_read = |effect: &MapRunEffect| {
        matches!(effect, MapRunEffect::ReadItems(_) | MapRunEffect::FindUnsuccessful(_))
    };
    let Some(last) = effects.iter().rposition(is_read) else { return };
    let last = effects.remove(last);
    effects.retain(|effect| !is_read(effect));
    if map_run.owes(&last) {
        effects.push(last);
    }
}

/// The start of a child as its row knows it.
pub(crate) fn start_of(origin: &Origin, item: &store::MapRunItem) -> Start {
    let input = item.input.clone().unwrap_or_default();
    map_run::child_start(&origin.program, &origin.start, item.index, Arc::clone(&item.execution_arn), input)
}

pub(crate) use rows::status_of;
