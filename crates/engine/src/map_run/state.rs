//! The state of a Map Run and what each event does to it. `apply` copies facts.

use std::collections::BTreeMap;
use std::sync::Arc;

use asl::payload::Payload;
use asl::timestamp::Timestamp;

use crate::map_run::event::{
    ChildResult, MapRunEvent, MapRunEventKind, MapRunStart, MapRunStatus, Thresholds,
};
use crate::map_run::step::{MapRunEffect, ReadItems, WriteResults};
use crate::record::{Decoder, Encoder, Record, RecordError, record_struct};
use crate::start::{Failure, Start};

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
}

record_struct!(MapRunCounts { running, succeeded, failed, timed_out, aborted, total, results_written });

/// A child that has not ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Child {
    pub execution_arn: Arc<str>,
    pub items: u64,
    /// Kept until the child is journalled.
    pub start: Option<Arc<Start>>,
}

record_struct!(Child { execution_arn, items, start });

/// One Map Run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MapRun {
    pub(crate) start: Option<Arc<MapRunStart>>,
    pub(crate) seq: u64,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) thresholds: Option<Thresholds>,
    pub(crate) reader: Option<Payload>,
    pub(crate) writer: Option<Payload>,
    pub(crate) cursor: Cursor,
    pub(crate) exhausted: bool,
    pub(crate) next_child: u64,
    pub(crate) live: BTreeMap<u64, Child>,
    pub(crate) executions: MapRunCounts,
    pub(crate) items: MapRunCounts,
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

    /// What it was started with.
    pub fn start(&self) -> Option<&Arc<MapRunStart>> {
        self.start.as_ref()
    }

    /// Where it stands.
    pub fn status(&self) -> MapRunStatus {
        self.status
    }

    /// Counters of children and of items, with `itemCounts` and `executionCounts` of DescribeMapRun.
    pub fn counts(&self) -> (MapRunCounts, MapRunCounts) {
        (self.executions, self.items)
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
        for (index, child) in &self.live {
            effects.extend(self.child_effect(*index, child));
        }
        effects.extend(self.write_effect());
        effects
    }

    pub(crate) fn child_effect(&self, index: u64, child: &Child) -> Option<MapRunEffect> {
        match (&self.stopping, &child.start) {
            (Some(_), _) => {
                Some(MapRunEffect::StopChild { index, execution_arn: Arc::clone(&child.execution_arn) })
            }
            (None, Some(start)) => Some(MapRunEffect::StartChild { index, start: Arc::clone(start) }),
            (None, None) => None,
        }
    }

    pub(crate) fn read_effect(&self) -> Option<MapRunEffect> {
        let (reader, start) = (self.reader.as_ref()?, self.start.as_ref()?);
        if self.exhausted || !self.has_room() {
            return None;
        }
        Some(MapRunEffect::ReadItems(Box::new(ReadItems {
            map_run_arn: Arc::clone(&start.map_run_arn),
            reader: reader.clone(),
            cursor: self.cursor.clone(),
        })))
    }

    pub(crate) fn write_effect(&self) -> Option<MapRunEffect> {
        let start =
            self.start.as_ref().filter(|_| self.collecting && self.status == MapRunStatus::Running)?;
        Some(MapRunEffect::WriteResults(Box::new(WriteResults {
            map_run_arn: Arc::clone(&start.map_run_arn),
            writer: self.writer.clone(),
        })))
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
        self.seq = event.seq;
        match &event.kind {
            MapRunEventKind::Began { start, thresholds, reader, writer } => {
                self.started_at = event.at;
                self.start = Some(Arc::clone(start));
                self.thresholds = Some(thresholds.clone());
                self.reader = reader.clone();
                self.writer = writer.clone();
            }
            MapRunEventKind::ChildScheduled { index, start, items, cursor } => {
                let execution_arn = Arc::clone(&start.execution_arn);
                self.live
                    .insert(*index, Child { execution_arn, items: *items, start: Some(Arc::clone(start)) });
                self.next_child = index + 1;
                self.cursor = cursor.clone();
                for (counts, number) in [(&mut self.executions, 1), (&mut self.items, *items)] {
                    counts.total += number;
                    counts.running += number;
                }
            }
            MapRunEventKind::ChildStarted { index } => {
                if let Some(child) = self.live.get_mut(index) {
                    child.start = None;
                }
            }
            MapRunEventKind::ChildEnded { index, result } => self.child_ended(*index, result),
            MapRunEventKind::ItemsExhausted {} => self.exhausted = true,
            MapRunEventKind::Updated { thresholds } => self.thresholds = Some(thresholds.clone()),
            MapRunEventKind::Stopping { status, failure } => self.stopping = Some((*status, failure.clone())),
            MapRunEventKind::Collecting {} => self.collecting = true,
            MapRunEventKind::Ended { status, output, failure } => {
                self.ended_at = Some(event.at);
                self.status = *status;
                self.output = output.clone();
                self.failure = failure.clone();
                if output.is_some() {
                    self.executions.results_written = self.executions.total;
                    self.items.results_written = self.items.total;
                }
            }
            MapRunEventKind::Checkpoint { state } => {
                *self = MapRun::clone(state);
                self.seq = event.seq;
            }
        }
    }

    fn child_ended(&mut self, index: u64, result: &ChildResult) {
        let Some(child) = self.live.remove(&index) else { return };
        for (counts, number) in [(&mut self.executions, 1), (&mut self.items, child.items)] {
            counts.running -= number;
            let counter = match result {
                ChildResult::Succeeded(_) => &mut counts.succeeded,
                ChildResult::Failed(_) => &mut counts.failed,
                ChildResult::TimedOut(_) => &mut counts.timed_out,
                ChildResult::Aborted => &mut counts.aborted,
            };
            *counter += number;
        }
    }
}

/// A checkpoint: the fields in this order, which is the format.
impl Record for MapRun {
    fn encode(&self, encoder: &mut Encoder) {
        (self.start.clone(), self.seq).encode(encoder);
        (self.started_at, self.ended_at).encode(encoder);
        self.thresholds.encode(encoder);
        (self.reader.clone(), self.writer.clone()).encode(encoder);
        (self.cursor.clone(), self.exhausted).encode(encoder);
        self.next_child.encode(encoder);
        let live: Vec<_> = self.live.iter().map(|(index, child)| (*index, child.clone())).collect();
        live.encode(encoder);
        (self.executions, self.items).encode(encoder);
        (self.stopping.clone(), self.collecting).encode(encoder);
        (self.status, self.output.clone()).encode(encoder);
        self.failure.encode(encoder);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        let (start, seq) = Record::decode(decoder)?;
        let (started_at, ended_at) = Record::decode(decoder)?;
        let thresholds = Record::decode(decoder)?;
        let (reader, writer) = Record::decode(decoder)?;
        let (cursor, exhausted) = Record::decode(decoder)?;
        let next_child = Record::decode(decoder)?;
        let live: Vec<(u64, Child)> = Record::decode(decoder)?;
        let (executions, items) = Record::decode(decoder)?;
        let (stopping, collecting) = Record::decode(decoder)?;
        let (status, output) = Record::decode(decoder)?;
        let failure = Record::decode(decoder)?;
        let live = live.into_iter().collect();
        Ok(MapRun {
            start,
            seq,
            started_at,
            ended_at,
            thresholds,
            reader,
            writer,
            cursor,
            exhausted,
            next_child,
            live,
            executions,
            items,
            stopping,
            collecting,
            status,
            output,
            failure,
        })
    }
}
