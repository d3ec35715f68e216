//! The state of a Map Run and what each event does to it. `apply` copies facts.

use std::collections::BTreeMap;
use std::sync::Arc;

use asl::payload::Payload;
use asl::timestamp::Timestamp;

use crate::ids::TaskId;
use crate::input::MapRunResult;
use crate::map_run::event::{ChildStatus, MapRunEvent, MapRunEventKind, MapRunStatus, Thresholds};
use crate::map_run::step::{FindUnsuccessful, MapRunEffect, ReadItems, WriteResults};
use crate::record::{Decoder, Encoder, Record, RecordError, record_struct};
use crate::start::Failure;

/// How far the items were taken.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Cursor {
    /// Index of the next item.
    pub next_item: u64,
    /// Where the reader may begin to read, as it told; `None`: at the beginning.
    pub position: Option<Payload>,
    /// Version of the object (ETag), checked when reading on.
    pub version: Option<Arc<str>>,
}

record_struct!(Cursor { next_item, position, version });

/// Counters by status, of children and of items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MapRunCounts {
    /// Begun and not ended.
    pub running: u64,
    /// SUCCEEDED.
    pub succeeded: u64,
    /// FAILED.
    pub failed: u64,
    /// TIMED_OUT.
    pub timed_out: u64,
    /// ABORTED.
    pub aborted: u64,
    /// All of them so far.
    pub total: u64,
    /// Written by the ResultWriter, or gathered.
    pub results_written: u64,
    /// Ended without success, and still to go on in this redrive. Not among the failed, timed out and aborted.
    pub pending_redrive: u64,
}

record_struct!(MapRunCounts {
    running,
    succeeded,
    failed,
    timed_out,
    aborted,
    total,
    results_written,
    pending_redrive
});

impl MapRunCounts {
    fn of(&mut self, status: ChildStatus) -> &mut u64 {
        match status {
            ChildStatus::Succeeded => &mut self.succeeded,
            ChildStatus::Failed => &mut self.failed,
            ChildStatus::TimedOut => &mut self.timed_out,
            ChildStatus::Aborted => &mut self.aborted,
        }
    }

    fn unsuccessful(&self) -> MapRunCounts {
        MapRunCounts {
            failed: self.failed,
            timed_out: self.timed_out,
            aborted: self.aborted,
            ..MapRunCounts::default()
        }
    }

    /// Without those that are still to go on.
    fn awaiting(mut self, awaited: &MapRunCounts) -> MapRunCounts {
        self.failed -= awaited.failed;
        self.timed_out -= awaited.timed_out;
        self.aborted -= awaited.aborted;
        self.pending_redrive = awaited.failed + awaited.timed_out + awaited.aborted;
        self
    }
}

/// A child that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LiveChild {
    /// Items it takes.
    pub items: u64,
    /// How often it was redriven: its end is told with at least this number, an earlier end with a lower one.
    pub redrives: u32,
}

record_struct!(LiveChild { items, redrives });

/// A redrive on its way through the children that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Redriving {
    /// Children before this index have been looked at.
    pub next: u64,
    /// Children that are still to go on, by how they had ended.
    pub executions: MapRunCounts,
    /// Their items.
    pub items: MapRunCounts,
}

record_struct!(Redriving { next, executions, items });

/// One Map Run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MapRun {
    pub(crate) map_run_arn: Arc<str>,
    pub(crate) execution_arn: Arc<str>,
    pub(crate) task: TaskId,
    pub(crate) redrive: u32,
    pub(crate) express: bool,
    pub(crate) seq: u64,
    pub(crate) started_at: Timestamp,
    pub(crate) redriven_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) thresholds: Option<Thresholds>,
    pub(crate) reader: Option<Payload>,
    pub(crate) writer: Option<Payload>,
    pub(crate) items_total: Option<u64>,
    pub(crate) items_per_child: u64,
    pub(crate) cursor: Cursor,
    pub(crate) exhausted: bool,
    pub(crate) next_child: u64,
    /// Children that have not ended.
    pub(crate) live: BTreeMap<u64, LiveChild>,
    pub(crate) executions: MapRunCounts,
    pub(crate) items: MapRunCounts,
    pub(crate) redriving: Option<Redriving>,
    pub(crate) stopping: Option<(MapRunStatus, Failure)>,
    pub(crate) collecting: bool,
    pub(crate) status: MapRunStatus,
    pub(crate) output: Option<Payload>,
    pub(crate) failure: Failure,
}

impl MapRun {
    /// The state that these events lead to.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a MapRunEvent>) -> MapRun {
        let mut map_run = MapRun::default();
        for event in events {
            map_run.apply(event);
        }
        map_run
    }

    /// Whether it has begun: before, it has nothing to tell.
    pub fn has_begun(&self) -> bool {
        self.thresholds.is_some()
    }

    /// Its ARN.
    pub fn map_run_arn(&self) -> &Arc<str> {
        &self.map_run_arn
    }

    /// The execution that waits for it.
    pub fn execution_arn(&self) -> &Arc<str> {
        &self.execution_arn
    }

    /// Whether its children are Express executions, which have no journal of their own.
    pub fn is_express(&self) -> bool {
        self.express
    }

    /// How often it was redriven, and when last.
    pub fn redrives(&self) -> (u32, Option<Timestamp>) {
        (self.redrive, self.redriven_at)
    }

    /// Where it stands.
    pub fn status(&self) -> MapRunStatus {
        self.status
    }

    /// Counters of children and of items, with `itemCounts` and `executionCounts` of DescribeMapRun.
    pub fn counts(&self) -> (MapRunCounts, MapRunCounts) {
        match self.redriving {
            Some(redriving) => {
                (self.executions.awaiting(&redriving.executions), self.items.awaiting(&redriving.items))
            }
            None => (self.executions, self.items),
        }
    }

    /// Counters as the rows of the children have them: those still to be redriven count as they ended.
    pub fn all_counts(&self) -> (MapRunCounts, MapRunCounts) {
        (self.executions, self.items)
    }

    /// How many children may begin now.
    pub fn room(&self) -> u64 {
        if !self.has_room() {
            return 0;
        }
        let max_concurrency = self.thresholds.as_ref().map_or(0, |thresholds| thresholds.max_concurrency);
        max_concurrency - self.live.len() as u64
    }

    /// Indexes of the children that have not ended.
    pub fn live(&self) -> impl Iterator<Item = u64> {
        self.live.keys().copied()
    }

    /// What UpdateMapRun can change.
    pub fn thresholds(&self) -> Option<&Thresholds> {
        self.thresholds.as_ref()
    }

    /// When it began and ended.
    pub fn times(&self) -> (Timestamp, Option<Timestamp>) {
        (self.started_at, self.ended_at)
    }

    /// `seq` of its last event.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// All effects still owed.
    pub fn outstanding(&self) -> Vec<MapRunEffect> {
        let mut effects: Vec<_> = self.read_effect().into_iter().collect();
        effects.extend(self.child_effects());
        effects.extend(self.write_effect());
        effects.extend(self.end_effect());
        effects
    }

    /// Whether an effect is still owed.
    pub fn owes(&self, effect: &MapRunEffect) -> bool {
        match effect {
            MapRunEffect::ReadItems(_) | MapRunEffect::FindUnsuccessful(_) => {
                self.read_effect().as_ref() == Some(effect)
            }
            MapRunEffect::RunChild { index, .. } | MapRunEffect::StopChild { index, .. } => {
                self.live.get(index).is_some_and(|child| self.child_effect(*index, *child) == *effect)
            }
            MapRunEffect::WriteResults(_) => self.write_effect().as_ref() == Some(effect),
            MapRunEffect::Ended { .. } => self.end_effect().as_ref() == Some(effect),
        }
    }

    /// The event that stands for all before it; the state has taken it in.
    pub fn checkpoint(&mut self, at: Timestamp) -> MapRunEvent {
        let state = Box::new(self.clone());
        let event = MapRunEvent { seq: self.seq + 1, at, kind: MapRunEventKind::Checkpoint { state } };
        self.apply(&event);
        event
    }

    fn child_effect(&self, index: u64, LiveChild { redrives, .. }: LiveChild) -> MapRunEffect {
        match self.stopping {
            Some(_) => MapRunEffect::StopChild { index, redrives },
            None => MapRunEffect::RunChild { index, redrives },
        }
    }

    /// What is owed to the children that have not ended.
    pub(crate) fn child_effects(&self) -> impl Iterator<Item = MapRunEffect> {
        self.live.iter().map(|(index, child)| self.child_effect(*index, *child))
    }

    /// What it needs to find more to do.
    pub(crate) fn read_effect(&self) -> Option<MapRunEffect> {
        if !self.has_room() {
            return None;
        }
        if let Some(redriving) = &self.redriving {
            let map_run_arn = Arc::clone(&self.map_run_arn);
            return Some(MapRunEffect::FindUnsuccessful(FindUnsuccessful {
                map_run_arn,
                redrive: self.redrive,
                from: redriving.next,
            }));
        }
        let reader = self.reader.as_ref().filter(|_| !self.exhausted)?;
        Some(MapRunEffect::ReadItems(Box::new(ReadItems {
            map_run_arn: Arc::clone(&self.map_run_arn),
            reader: reader.clone(),
            cursor: self.cursor.clone(),
            at_least: self.items_per_child,
        })))
    }

    pub(crate) fn write_effect(&self) -> Option<MapRunEffect> {
        (self.collecting && self.status == MapRunStatus::Running).then(|| {
            MapRunEffect::WriteResults(Box::new(WriteResults {
                map_run_arn: Arc::clone(&self.map_run_arn),
                redrive: self.redrive,
                writer: self.writer.clone(),
            }))
        })
    }

    pub(crate) fn end_effect(&self) -> Option<MapRunEffect> {
        let result = match (self.status, &self.output) {
            (MapRunStatus::Running, _) => return None,
            (MapRunStatus::Succeeded, Some(output)) => MapRunResult::Succeeded(output.clone()),
            (MapRunStatus::Aborted, _) => MapRunResult::Aborted,
            (MapRunStatus::Succeeded | MapRunStatus::Failed, _) => MapRunResult::Failed(self.failure.clone()),
        };
        let execution_arn = Arc::clone(&self.execution_arn);
        Some(MapRunEffect::Ended { execution_arn, task: self.task, result })
    }

    /// Whether it failed with children whose results are to be written to a service.
    pub(crate) fn owes_export(&self) -> bool {
        let failed = matches!(self.stopping, Some((MapRunStatus::Failed, _)));
        let exports = self.writer.as_ref().is_some_and(|writer| !writer.value()["Arguments"].is_null());
        failed && exports && self.executions.total > 0
    }

    pub(crate) fn has_room(&self) -> bool {
        let max_concurrency = self.thresholds.as_ref().map_or(0, |thresholds| thresholds.max_concurrency);
        self.stopping.is_none()
            && self.status == MapRunStatus::Running
            && (self.live.len() as u64) < max_concurrency
    }

    /// Takes in one event. Total; evaluates nothing.
    pub fn apply(&mut self, event: &MapRunEvent) {
        match &event.kind {
            MapRunEventKind::Began { .. } => self.began(event),
            MapRunEventKind::ChildScheduled { index, items, cursor } => {
                self.live.insert(*index, LiveChild { items: *items, redrives: 0 });
                self.next_child = index + 1;
                self.cursor = cursor.clone();
                for (counts, number) in [(&mut self.executions, 1), (&mut self.items, *items)] {
                    counts.total += number;
                    counts.running += number;
                }
            }
            MapRunEventKind::ChildEnded { index, status } => self.child_ended(*index, *status),
            MapRunEventKind::ItemsExhausted {} => self.exhausted = true,
            MapRunEventKind::Updated { thresholds } => self.thresholds = Some(thresholds.clone()),
            MapRunEventKind::Stopping { status, failure } => self.stopping = Some((*status, failure.clone())),
            MapRunEventKind::Collecting {} => self.collecting = true,
            MapRunEventKind::Ended { status, output, failure } => {
                self.ended_at = Some(event.at);
                self.status = *status;
                self.output = output.clone();
                self.failure = failure.clone();
                self.redriving = None;
                if output.is_some() {
                    self.executions.results_written = self.executions.total;
                    self.items.results_written = self.items.total;
                }
            }
            MapRunEventKind::Redriven { task, redrive } => self.redriven(*task, *redrive, event.at),
            MapRunEventKind::ChildRedriven { index, items, was, redrives } => {
                self.child_redriven(*index, LiveChild { items: *items, redrives: *redrives }, *was);
            }
            MapRunEventKind::RedriveExhausted {} => self.redriving = None,
            MapRunEventKind::Checkpoint { state } => *self = MapRun::clone(state),
        }
        self.seq = event.seq;
    }

    fn began(&mut self, event: &MapRunEvent) {
        let MapRunEventKind::Began {
            map_run_arn,
            execution_arn,
            task,
            redrive,
            express,
            thresholds,
            reader,
            writer,
            items_total,
            items_per_child,
        } = &event.kind
        else {
            return;
        };
        self.map_run_arn = Arc::clone(map_run_arn);
        self.execution_arn = Arc::clone(execution_arn);
        (self.task, self.redrive, self.express) = (*task, *redrive, *express);
        if !self.has_begun() {
            self.started_at = event.at;
        }
        (self.cursor, self.exhausted) = (Cursor::default(), false);
        self.thresholds = Some(thresholds.clone());
        self.reader.clone_from(reader);
        self.writer.clone_from(writer);
        (self.items_total, self.items_per_child) = (*items_total, *items_per_child);
    }

    fn child_ended(&mut self, index: u64, status: ChildStatus) {
        let Some(LiveChild { items, .. }) = self.live.remove(&index) else { return };
        for (counts, number) in [(&mut self.executions, 1), (&mut self.items, items)] {
            counts.running -= number;
            *counts.of(status) += number;
        }
    }

    fn redriven(&mut self, task: TaskId, redrive: u32, at: Timestamp) {
        (self.task, self.redrive) = (task, redrive);
        (self.redriven_at, self.ended_at) = (Some(at), None);
        self.status = MapRunStatus::Running;
        (self.stopping, self.collecting) = (None, false);
        (self.output, self.failure) = (None, Failure::default());
        let (executions, items) = (self.executions.unsuccessful(), self.items.unsuccessful());
        self.redriving = Some(Redriving { next: 0, executions, items });
    }

    fn child_redriven(&mut self, index: u64, child: LiveChild, was: ChildStatus) {
        let items = child.items;
        self.live.insert(index, child);
        let counted = [(&mut self.executions, 1), (&mut self.items, items)];
        for (counts, number) in counted {
            *counts.of(was) -= number;
            counts.running += number;
        }
        if let Some(redriving) = &mut self.redriving {
            redriving.next = index + 1;
            *redriving.executions.of(was) -= 1;
            *redriving.items.of(was) -= items;
        }
    }
}

/// A checkpoint: the fields in this order, which is the format.
impl Record for MapRun {
    fn encode(&self, encoder: &mut Encoder) {
        self.map_run_arn.encode(encoder);
        self.execution_arn.encode(encoder);
        (self.task, self.redrive).encode(encoder);
        self.express.encode(encoder);
        (self.seq, self.started_at).encode(encoder);
        (self.redriven_at, self.ended_at).encode(encoder);
        self.thresholds.encode(encoder);
        (self.reader.clone(), self.writer.clone()).encode(encoder);
        (self.items_total, self.items_per_child).encode(encoder);
        (self.cursor.clone(), self.exhausted).encode(encoder);
        self.next_child.encode(encoder);
        let live: Vec<_> = self.live.iter().map(|(index, child)| (*index, *child)).collect();
        live.encode(encoder);
        (self.executions, self.items).encode(encoder);
        self.redriving.encode(encoder);
        (self.stopping.clone(), self.collecting).encode(encoder);
        (self.status, self.output.clone()).encode(encoder);
        self.failure.encode(encoder);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        let (map_run_arn, execution_arn) = (Record::decode(decoder)?, Record::decode(decoder)?);
        let (task, redrive) = Record::decode(decoder)?;
        let express = Record::decode(decoder)?;
        let (seq, started_at) = Record::decode(decoder)?;
        let (redriven_at, ended_at) = Record::decode(decoder)?;
        let thresholds = Record::decode(decoder)?;
        let (reader, writer) = Record::decode(decoder)?;
        let (items_total, items_per_child) = Record::decode(decoder)?;
        let (cursor, exhausted) = Record::decode(decoder)?;
        let next_child = Record::decode(decoder)?;
        let live: Vec<(u64, LiveChild)> = Record::decode(decoder)?;
        let (executions, items) = Record::decode(decoder)?;
        let redriving = Record::decode(decoder)?;
        let (stopping, collecting) = Record::decode(decoder)?;
        let (status, output) = Record::decode(decoder)?;
        let failure = Record::decode(decoder)?;
        let live = live.into_iter().collect();
        Ok(MapRun {
            map_run_arn,
            execution_arn,
            task,
            redrive,
            express,
            seq,
            started_at,
            redriven_at,
            ended_at,
            thresholds,
            reader,
            writer,
            items_total,
            items_per_child,
            cursor,
            exhausted,
            next_child,
            live,
            executions,
            items,
            redriving,
            stopping,
            collecting,
            status,
            output,
            failure,
        })
    }
}
