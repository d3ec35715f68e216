//! `map_run::step`: one input in, events and effects out, as with executions.

use std::sync::Arc;

use asl::entropy::SeededEntropy;
use asl::payload::Payload;
use asl::program::Program;
use asl::timestamp::Timestamp;
use serde_json::Value;

use crate::ids::TaskId;
use crate::input::{Ignored, MapRunResult};
use crate::map_run::event::{
    ChildResult, MapRunEvent, MapRunEventKind, MapRunStart, MapRunStatus, Thresholds,
};
use crate::map_run::items::MapState;
use crate::map_run::state::{Cursor, MapRun};
use crate::start::{Failure, Start};

/// Inputs between two checkpoints.
const CHECKPOINT_EVERY: u64 = 1_000;

/// One thing that happened to a Map Run.
#[derive(Clone, Debug)]
pub struct MapRunInput {
    /// When the shell took it in.
    pub at: Timestamp,
    /// Seed of all chance in this turn.
    pub entropy: u64,
    /// What happened.
    pub kind: MapRunInputKind,
}

/// The inputs there are.
#[derive(Clone, Debug)]
pub enum MapRunInputKind {
    /// It begins; accepted once.
    Started(Arc<MapRunStart>),
    /// Answer to [`ReadItems`].
    ItemsRead {
        /// `next_item` of the cursor that was read from.
        from: u64,
        /// The items from there on.
        items: Vec<Payload>,
        /// Where to read on after all of them.
        position: Option<Payload>,
        /// Version of the object that was read.
        version: Option<Arc<str>>,
        /// Whether nothing follows.
        end: bool,
    },
    /// The ItemReader failed (`States.ItemReaderFailed`).
    ReadFailed(Failure),
    /// A child's start is journalled.
    ChildStarted {
        /// Its index.
        index: u64,
    },
    /// A child ended; told or asked for, at least once.
    ChildEnded {
        /// Its index.
        index: u64,
        /// How.
        result: ChildResult,
    },
    /// Answer to [`WriteResults`]: the Map's result, or `States.ResultWriterFailed`, or `States.DataLimitExceeded`.
    ResultsWritten(Result<Payload, Failure>),
    /// UpdateMapRun.
    Updated(Thresholds),
    /// The execution that waits for it gave it up.
    StopRequested,
    /// A turn that ran out of budget goes on.
    Resumed,
}

/// One request to the world.
#[derive(Clone, Debug, PartialEq)]
pub enum MapRunEffect {
    /// Read items from a cursor on, as many as convenient; answered by ItemsRead or ReadFailed.
    ReadItems(Box<ReadItems>),
    /// Start a child; idempotent by the Map Run and its index. Answered by ChildStarted, then ChildEnded.
    StartChild {
        /// Its index.
        index: u64,
        /// Its start.
        start: Arc<Start>,
    },
    /// Stop a child, or see that it never starts; answered by ChildEnded.
    StopChild {
        /// Its index.
        index: u64,
        /// Its ARN.
        execution_arn: Arc<str>,
    },
    /// Gather the children's outputs in order, or write them; answered by ResultsWritten.
    WriteResults(Box<WriteResults>),
    /// It ended: tell the execution that waits for it.
    Ended {
        /// That execution.
        execution_arn: Arc<str>,
        /// Its task.
        task: TaskId,
        /// How it ended.
        result: MapRunResult,
    },
}

/// [`MapRunEffect::ReadItems`].
#[derive(Clone, Debug, PartialEq)]
pub struct ReadItems {
    /// The Map Run.
    pub map_run_arn: Arc<str>,
    /// `{Action, Arguments, ReaderConfig, MaxItems}`, evaluated.
    pub reader: Payload,
    /// From where.
    pub cursor: Cursor,
}

/// [`MapRunEffect::WriteResults`].
#[derive(Clone, Debug, PartialEq)]
pub struct WriteResults {
    /// The Map Run.
    pub map_run_arn: Arc<str>,
    /// `{Arguments, WriterConfig}`, evaluated; none: the result is the array of outputs.
    pub writer: Option<Payload>,
}

/// Whether an input fitted.
pub type MapRunOutcome = Result<(), Ignored>;

/// What an input led to. The events were applied already.
#[derive(Clone, Debug)]
pub struct MapRunStep {
    /// Whether the input fitted the state.
    pub outcome: MapRunOutcome,
    /// To be appended to the journal in one commit.
    pub events: Vec<MapRunEvent>,
    /// To be carried out after that commit.
    pub effects: Vec<MapRunEffect>,
    /// The budget is used up: go on with `Resumed`.
    pub more: bool,
}

struct Turn<'a> {
    program: &'a Program,
    map_run: &'a mut MapRun,
    at: Timestamp,
    entropy: SeededEntropy,
    events: Vec<MapRunEvent>,
    effects: Vec<MapRunEffect>,
    /// Items that an input brought and no child took yet. What stays is read again.
    read: Option<Read>,
}

struct Read {
    items: Vec<Payload>,
    taken: usize,
    position: Option<Payload>,
    version: Option<Arc<str>>,
    end: bool,
}

/// Moves a Map Run by one input until it waits for the world again, or about `budget` events were written.
///
/// # Panics
/// On a broken invariant, such as events of another definition.
pub fn step(program: &Program, map_run: &mut MapRun, input: MapRunInput, budget: u32) -> MapRunStep {
    let owed = map_run.read_effect();
    let (at, entropy) = (input.at, SeededEntropy::new(input.entropy));
    let mut turn =
        Turn { program, map_run, at, entropy, events: Vec::new(), effects: Vec::new(), read: None };
    let outcome = turn.accept(input.kind);
    let more = outcome.is_ok() && turn.run(budget as usize);
    if outcome.is_ok()
        && turn.map_run.seq / CHECKPOINT_EVERY
            != (turn.map_run.seq - turn.events.len() as u64) / CHECKPOINT_EVERY
    {
        let state = Box::new(turn.map_run.clone());
        turn.emit(MapRunEventKind::Checkpoint { state });
    }
    let Turn { events, mut effects, .. } = turn;
    effects.extend(map_run.read_effect().filter(|effect| owed.as_ref() != Some(effect)));
    MapRunStep { outcome, events, effects, more }
}

impl Turn<'_> {
    fn emit(&mut self, kind: MapRunEventKind) {
        let event = MapRunEvent { seq: self.map_run.seq + 1, at: self.at, kind };
        self.map_run.apply(&event);
        self.events.push(event);
    }

    fn accept(&mut self, input: MapRunInputKind) -> MapRunOutcome {
        match (&input, self.map_run.start.is_some(), self.map_run.status) {
            (MapRunInputKind::Started(_), true, _) => return Err(Ignored::Duplicate),
            (MapRunInputKind::Started(_), false, _) | (_, true, MapRunStatus::Running) => {}
            (_, false, _) => return Err(Ignored::Stale),
            (_, true, _) => return Err(Ignored::ExecutionClosed),
        }
        match input {
            MapRunInputKind::Started(start) => self.begin(start),
            MapRunInputKind::ItemsRead { from, items, position, version, end } => {
                if from != self.map_run.cursor.next_item || self.map_run.read_effect().is_none() {
                    return Err(Ignored::Stale);
                }
                let end = end || items.is_empty();
                self.read = Some(Read { items, taken: 0, position, version, end });
            }
            MapRunInputKind::ReadFailed(failure) => self.stop(MapRunStatus::Failed, failure),
            MapRunInputKind::ChildStarted { index } => {
                let child = self.map_run.live.get(&index).ok_or(Ignored::Stale)?;
                if child.start.is_none() {
                    return Err(Ignored::Duplicate);
                }
                self.emit(MapRunEventKind::ChildStarted { index });
            }
            MapRunInputKind::ChildEnded { index, result } => {
                if !self.map_run.live.contains_key(&index) {
                    return Err(Ignored::Stale);
                }
                self.emit(MapRunEventKind::ChildEnded { index, result });
            }
            MapRunInputKind::ResultsWritten(result) => {
                if !self.map_run.collecting {
                    return Err(Ignored::Stale);
                }
                // The files of a Map Run that failed are written too; how it ended stays.
                if let Some((status, failure)) = self.map_run.stopping.clone() {
                    self.end(status, None, failure);
                    return Ok(());
                }
                match result {
                    Ok(output) => self.end(MapRunStatus::Succeeded, Some(output), Failure::default()),
                    Err(failure) => self.end(MapRunStatus::Failed, None, failure),
                }
            }
            MapRunInputKind::Updated(thresholds) => self.emit(MapRunEventKind::Updated { thresholds }),
            MapRunInputKind::StopRequested => self.stop(MapRunStatus::Aborted, Failure::default()),
            MapRunInputKind::Resumed => {}
        }
        Ok(())
    }

    fn state(&self, start: &Arc<MapRunStart>) -> MapState<'_> {
        MapState::new(self.program, start, self.at, self.entropy.clone())
    }

    fn begin(&mut self, start: Arc<MapRunStart>) {
        let mut state = self.state(&start);
        let evaluated =
            state.thresholds().and_then(|thresholds| Ok((thresholds, state.reader()?, state.writer()?)));
        self.entropy = state.entropy.clone();
        match evaluated {
            Ok((thresholds, reader, writer)) => {
                self.emit(MapRunEventKind::Began { start, thresholds, reader, writer });
            }
            Err(failure) => {
                let thresholds = Thresholds {
                    max_concurrency: 1,
                    tolerated_failure_count: None,
                    tolerated_failure_millionths: None,
                };
                self.emit(MapRunEventKind::Began { start, thresholds, reader: None, writer: None });
                self.stop(MapRunStatus::Failed, failure);
            }
        }
    }

    /// Advances until it waits for the world. Whether the budget cut it.
    fn run(&mut self, budget: usize) -> bool {
        while self.map_run.status == MapRunStatus::Running && self.advance() {
            if self.events.len() >= budget {
                return self.map_run.status == MapRunStatus::Running && self.read.is_none();
            }
        }
        false
    }

    /// Does the next thing there is to do, if there is one.
    fn advance(&mut self) -> bool {
        if let Some((status, failure)) = &self.map_run.stopping {
            let (status, failure) = (*status, failure.clone());
            let exported = self.map_run.collecting || !self.map_run.owes_export();
            if self.map_run.live.is_empty() && !exported {
                self.emit(MapRunEventKind::Collecting {});
                self.effects.extend(self.map_run.write_effect());
            } else if self.map_run.live.is_empty()
                && (!self.map_run.collecting || status != MapRunStatus::Failed)
            {
                self.end(status, None, failure);
                return true;
            }
            return false;
        }
        if self.is_tolerance_exceeded() {
            let cause = "The specified tolerated failure threshold was exceeded";
            self.stop(MapRunStatus::Failed, Failure::new("States.ExceedToleratedFailureThreshold", cause));
            return true;
        }
        if self.map_run.has_room() && !self.map_run.exhausted {
            if self.schedule_child() {
                return true;
            }
        } else if self.map_run.exhausted && self.map_run.live.is_empty() && !self.map_run.collecting {
            self.emit(MapRunEventKind::Collecting {});
            self.effects.extend(self.map_run.write_effect());
            return true;
        }
        false
    }

    /// Gives items at hand to a child, or finds that there are no more. `false`: they must be read first.
    fn schedule_child(&mut self) -> bool {
        let Some(start) = self.map_run.start.clone() else { return false };
        let first = self.map_run.cursor.next_item;
        let mut state = self.state(&start);
        let most = state.items_at_a_time();
        let pairs;
        let at_hand: Vec<&Value> = match (&start.items, &self.read) {
            (Some(items), _) => match items.value() {
                Value::Array(items) => items.iter().skip(first as usize).take(most).collect(),
                Value::Object(items) => {
                    let pair = |(key, value)| serde_json::json!({ "Key": key, "Value": value });
                    pairs = items.iter().skip(first as usize).take(most).map(pair).collect::<Vec<_>>();
                    pairs.iter().collect()
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
            },
            (None, Some(read)) => read.items[read.taken..].iter().take(most).map(Payload::value).collect(),
            (None, None) => return false,
        };
        if at_hand.is_empty() {
            drop(state);
            if self.read.take().is_none_or(|read| read.end) {
                self.emit(MapRunEventKind::ItemsExhausted {});
                return true;
            }
            return false;
        }
        let index = self.map_run.next_child;
        let batch = state.batch(first, &at_hand);
        let child = batch.map(|batch| (state.child(index, batch.input), batch.items));
        self.entropy = state.entropy.clone();
        match child {
            Err(failure) => self.stop(MapRunStatus::Failed, failure),
            Ok((child, items)) => self.schedule(index, child, items, first),
        }
        true
    }

    fn schedule(&mut self, index: u64, child: Start, items: u64, first: u64) {
        let mut cursor = Cursor { next_item: first + items, ..self.map_run.cursor.clone() };
        if let Some(read) = &mut self.read {
            read.taken += items as usize;
            cursor.version.clone_from(&read.version);
            if read.taken >= read.items.len() {
                cursor.position.clone_from(&read.position);
            }
        }
        let payload_max = child.limits.payload_max;
        if payload_max > 0 && child.input.len() as u64 > payload_max {
            let cause = "The input of a child execution exceeds the maximum number of bytes service limit.";
            return self.stop(MapRunStatus::Failed, Failure::new("States.DataLimitExceeded", cause));
        }
        let start = Arc::new(child);
        self.emit(MapRunEventKind::ChildScheduled { index, start: Arc::clone(&start), items, cursor });
        self.effects.push(MapRunEffect::StartChild { index, start });
    }

    /// Failed and timed out items against both thresholds; without any, none may fail.
    fn is_tolerance_exceeded(&self) -> bool {
        let Some(thresholds) = &self.map_run.thresholds else { return false };
        let failed = self.map_run.items.failed + self.map_run.items.timed_out;
        let count = thresholds.tolerated_failure_count;
        let millionths = thresholds.tolerated_failure_millionths;
        if count.is_none() && millionths.is_none() {
            return failed > 0;
        }
        let total =
            match self.map_run.start.as_ref().and_then(|start| start.items.as_ref()).map(Payload::value) {
                Some(Value::Array(items)) => Some(items.len() as u64),
                Some(Value::Object(items)) => Some(items.len() as u64),
                _ => self.map_run.exhausted.then_some(self.map_run.items.total),
            };
        let share = |millionths: u64, total: u64| {
            u128::from(failed) * 100_000_000 > u128::from(millionths) * u128::from(total)
        };
        count.is_some_and(|count| failed > count)
            || millionths.zip(total).is_some_and(|(millionths, total)| share(millionths, total))
    }

    fn stop(&mut self, status: MapRunStatus, failure: Failure) {
        if self.map_run.stopping.is_some() {
            return;
        }
        self.read = None;
        self.emit(MapRunEventKind::Stopping { status, failure });
        let live = self.map_run.live.iter();
        let stops: Vec<_> =
            live.filter_map(|(index, child)| self.map_run.child_effect(*index, child)).collect();
        // What this very turn wanted to start is to be stopped instead.
        self.effects.retain(|effect| !matches!(effect, MapRunEffect::StartChild { .. }));
        self.effects.extend(stops);
    }

    fn end(&mut self, status: MapRunStatus, output: Option<Payload>, failure: Failure) {
        let result = match (status, &output) {
            (MapRunStatus::Succeeded, Some(output)) => MapRunResult::Succeeded(output.clone()),
            (MapRunStatus::Aborted, _) => MapRunResult::Aborted,
            (_, _) => MapRunResult::Failed(failure.clone()),
        };
        self.emit(MapRunEventKind::Ended { status, output, failure });
        if let Some(start) = &self.map_run.start {
            let execution_arn = Arc::clone(&start.parent.execution_arn);
            self.effects.push(MapRunEffect::Ended { execution_arn, task: start.task, result });
        }
    }
}
