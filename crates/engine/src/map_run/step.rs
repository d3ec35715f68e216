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
    ChildChange, ChildResult, ChildStatus, MapRunEvent, MapRunEventKind, MapRunStart, MapRunStatus,
    Thresholds,
};
use crate::map_run::items::{Item, MapState, Seen};
use crate::map_run::state::{Cursor, MapRun};
use crate::start::{Failure, Start};

/// What a Map Run makes children from. Not part of its state: it is pinned by the journal of the execution that waits for it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The definition.
    pub program: &'a Program,
    /// What the Map state knew.
    pub start: &'a Arc<MapRunStart>,
}

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
    Started,
    /// It goes on after its end, with the children that did not succeed; accepted once for each number of the start's redrive.
    Redriven,
    /// Answer to [`ReadItems`].
    ItemsRead {
        /// `next_item` of the cursor that was read from.
        from: u64,
        /// The items from there on. Unless they are the last, so many as were asked for, or as the input of a child can hold.
        items: Vec<Item>,
        /// Where one may begin to read: index of the item there, and the position.
        positions: Vec<(u64, Payload)>,
        /// Version of the object that was read.
        version: Option<Arc<str>>,
        /// Whether nothing follows.
        end: bool,
    },
    /// The ItemReader failed (`States.ItemReaderFailed`).
    ReadFailed(Failure),
    /// Answer to [`FindUnsuccessful`].
    UnsuccessfulFound {
        /// Which redrive looked for them.
        redrive: u32,
        /// Where the search began.
        from: u64,
        /// Children from there on, by index.
        children: Vec<Unsuccessful>,
        /// Whether nothing follows.
        end: bool,
    },
    /// A child ended; told or asked for, at least once.
    ChildEnded {
        /// Its index.
        index: u64,
        /// How often it had been redriven by then; `None`: it was stopped before it began, or
        /// began again.
        redrives: Option<u32>,
        /// How.
        result: ChildResult,
    },
    /// Answer to [`WriteResults`]: the Map's result, or `States.ResultWriterFailed`, or `States.DataLimitExceeded`.
    ResultsWritten {
        /// How often the Map Run had been redriven by then.
        redrive: u32,
        /// The result.
        result: Result<Payload, Failure>,
    },
    /// UpdateMapRun.
    Updated(Thresholds),
    /// The execution that waits for it gave it up.
    StopRequested,
    /// A turn that ran out of budget goes on.
    Resumed,
}

/// A child that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsuccessful {
    /// Its index.
    pub index: u64,
    /// Items it takes.
    pub items: u64,
    /// How it ended.
    pub status: ChildStatus,
    /// How often it will have been redriven once it goes on.
    pub redrives: u32,
}

/// One request to the world.
#[derive(Clone, Debug, PartialEq)]
pub enum MapRunEffect {
    /// Read items from a cursor on; answered by ItemsRead or ReadFailed.
    ReadItems(Box<ReadItems>),
    /// Look for children to redrive; answered by UnsuccessfulFound.
    FindUnsuccessful(FindUnsuccessful),
    /// See that a child runs, as its row says: start it, redrive it, or wait for its end. Idempotent; answered by ChildEnded.
    RunChild {
        /// Its index.
        index: u64,
        /// How often it was redriven.
        redrives: u32,
    },
    /// Stop a child, or see that it never starts; answered by ChildEnded.
    StopChild {
        /// Its index.
        index: u64,
        /// How often it was redriven.
        redrives: u32,
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
    /// How many items a child takes.
    pub at_least: u64,
}

/// [`MapRunEffect::FindUnsuccessful`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindUnsuccessful {
    /// The Map Run.
    pub map_run_arn: Arc<str>,
    /// Which redrive looks for them.
    pub redrive: u32,
    /// Index of the first child to look at.
    pub from: u64,
}

/// [`MapRunEffect::WriteResults`].
#[derive(Clone, Debug, PartialEq)]
pub struct WriteResults {
    /// The Map Run.
    pub map_run_arn: Arc<str>,
    /// How often it was redriven.
    pub redrive: u32,
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
    /// To be written to the rows of the children in the same commit.
    pub children: Vec<ChildChange>,
    /// To be carried out after that commit.
    pub effects: Vec<MapRunEffect>,
    /// The budget is used up: go on with `Resumed`.
    pub more: bool,
}

struct Turn<'a> {
    source: Option<Source<'a>>,
    map_run: &'a mut MapRun,
    at: Timestamp,
    entropy: SeededEntropy,
    events: Vec<MapRunEvent>,
    children: Vec<ChildChange>,
    effects: Vec<MapRunEffect>,
    /// What an input brought and no child took yet. What stays is read again.
    read: Option<Read>,
    found: Option<Found>,
}

struct Read {
    items: Vec<Item>,
    taken: usize,
    positions: Vec<(u64, Payload)>,
    version: Option<Arc<str>>,
    end: bool,
}

struct Found {
    children: std::vec::IntoIter<Unsuccessful>,
    end: bool,
}

/// Moves a Map Run by one input until it waits for the world again, or about `budget` events were written. Without a source no
/// child begins: enough to stop what a process before this one left.
///
/// # Panics
/// On a broken invariant, such as events of another definition.
pub fn step(source: Option<Source<'_>>, map_run: &mut MapRun, input: MapRunInput, budget: u32) -> MapRunStep {
    let owed = map_run.read_effect();
    // Names of children must not come again, even if a process begins with the seed of the one before.
    let (at, entropy) = (input.at, SeededEntropy::new(input.entropy ^ map_run.seq.rotate_left(32)));
    let (events, children, effects) = (Vec::new(), Vec::new(), Vec::new());
    let mut turn = Turn { source, map_run, at, entropy, events, children, effects, read: None, found: None };
    let outcome = turn.accept(input.kind);
    let more = outcome.is_ok() && turn.run(budget as usize);
    let Turn { events, children, mut effects, .. } = turn;
    effects.extend(map_run.read_effect().filter(|effect| owed.as_ref() != Some(effect)));
    MapRunStep { outcome, events, children, effects, more }
}

impl<'a> Turn<'a> {
    fn emit(&mut self, kind: MapRunEventKind) {
        let event = MapRunEvent { seq: self.map_run.seq + 1, at: self.at, kind };
        self.map_run.apply(&event);
        self.events.push(event);
    }

    fn accept(&mut self, input: MapRunInputKind) -> MapRunOutcome {
        match (&input, self.map_run.has_begun(), self.map_run.status) {
            (MapRunInputKind::Started, true, _) => return Err(Ignored::Duplicate),
            (MapRunInputKind::Started, false, _) | (_, true, MapRunStatus::Running) => {}
            (_, false, _) => return Err(Ignored::Stale),
            (MapRunInputKind::Redriven, true, _) => {}
            (_, true, _) => return Err(Ignored::ExecutionClosed),
        }
        match input {
            MapRunInputKind::Started => self.begin()?,
            MapRunInputKind::Redriven => self.redrive()?,
            MapRunInputKind::ItemsRead { from, items, positions, version, end } => {
                let owed = matches!(self.map_run.read_effect(), Some(MapRunEffect::ReadItems(_)));
                if from != self.map_run.cursor.next_item || !owed {
                    return Err(Ignored::Stale);
                }
                let end = end || items.is_empty();
                self.read = Some(Read { items, taken: 0, positions, version, end });
            }
            MapRunInputKind::ReadFailed(failure) => {
                if !matches!(self.map_run.read_effect(), Some(MapRunEffect::ReadItems(_))) {
                    return Err(Ignored::Stale);
                }
                self.stop(MapRunStatus::Failed, failure);
            }
            MapRunInputKind::UnsuccessfulFound { redrive, from, children, end } => {
                let asked = self.map_run.redriving.is_some_and(|redriving| redriving.next == from);
                if !asked || redrive != self.map_run.redrive {
                    return Err(Ignored::Stale);
                }
                let end = end || children.is_empty();
                self.found = Some(Found { children: children.into_iter(), end });
            }
            MapRunInputKind::ChildEnded { index, redrives, result } => {
                if !self.is_end_of(index, redrives) {
                    return Err(Ignored::Stale);
                }
                self.emit(MapRunEventKind::ChildEnded { index, status: result.status() });
                self.children.push(ChildChange::Ended { index, result });
            }
            MapRunInputKind::ResultsWritten { redrive, result } => self.results_written(redrive, result)?,
            MapRunInputKind::Updated(thresholds) => self.emit(MapRunEventKind::Updated { thresholds }),
            MapRunInputKind::StopRequested => self.stop(MapRunStatus::Aborted, Failure::default()),
            MapRunInputKind::Resumed => {}
        }
        Ok(())
    }

    /// Whether a child that is awaited ended, not as it was before a redrive.
    fn is_end_of(&self, index: u64, redrives: Option<u32>) -> bool {
        self.map_run.live.get(&index).is_some_and(|child| match redrives {
            Some(redrives) => redrives >= child.redrives,
            None => self.map_run.stopping.is_some(),
        })
    }

    fn results_written(&mut self, redrive: u32, result: Result<Payload, Failure>) -> MapRunOutcome {
        if !self.map_run.collecting || redrive != self.map_run.redrive {
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
        Ok(())
    }

    fn redrive(&mut self) -> MapRunOutcome {
        let Some(Source { start, .. }) = self.source else { return Err(Ignored::Stale) };
        if self.map_run.status == MapRunStatus::Running || start.redrive <= self.map_run.redrive {
            return Err(Ignored::Duplicate);
        }
        self.emit(MapRunEventKind::Redriven { task: start.task, redrive: start.redrive });
        // Without children it begins anew: what failed may have been its arguments or its reader.
        if self.map_run.next_child == 0 { self.begin() } else { Ok(()) }
    }

    fn state(&self, source: Source<'a>) -> MapState<'a> {
        MapState::new(source.program, source.start, self.at, self.entropy.clone())
    }

    fn begin(&mut self) -> MapRunOutcome {
        let Some(source) = self.source else { return Err(Ignored::Stale) };
        let mut state = self.state(source);
        let evaluated = evaluate(&mut state);
        let state_is_express = state.is_express();
        self.entropy = state.entropy.clone();
        let (evaluated, failure) = match evaluated {
            Ok(evaluated) => (evaluated, None),
            Err(failure) => (Evaluated::nothing(), Some(failure)),
        };
        let start = source.start;
        self.emit(MapRunEventKind::Began {
            map_run_arn: Arc::clone(&start.map_run_arn),
            execution_arn: Arc::clone(&start.parent.execution_arn),
            task: start.task,
            redrive: start.redrive,
            express: state_is_express,
            thresholds: evaluated.thresholds,
            reader: evaluated.reader,
            writer: evaluated.writer,
            items_total: start.items.as_ref().map(|items| match items.value() {
                Value::Array(items) => items.len() as u64,
                Value::Object(items) => items.len() as u64,
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
            }),
            items_per_child: evaluated.items_per_child,
        });
        if let Some(failure) = failure {
            self.stop(MapRunStatus::Failed, failure);
        }
        Ok(())
    }

    /// Advances until it waits for the world. Whether the budget cut it.
    fn run(&mut self, budget: usize) -> bool {
        while self.map_run.status == MapRunStatus::Running && self.advance() {
            if self.events.len() >= budget {
                return self.map_run.status == MapRunStatus::Running
                    && self.read.is_none()
                    && self.found.is_none();
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
        if self.map_run.redriving.is_some() {
            return self.map_run.has_room() && self.redrive_child();
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

    /// Lets a child at hand go on, or finds that there are no more. `false`: they must be looked for first.
    fn redrive_child(&mut self) -> bool {
        let Some(found) = &mut self.found else { return false };
        if let Some(Unsuccessful { index, items, status, redrives }) = found.children.next() {
            self.emit(MapRunEventKind::ChildRedriven { index, items, was: status, redrives });
            self.children.push(ChildChange::Redriven { index, redrives });
            self.effects.push(MapRunEffect::RunChild { index, redrives });
            return true;
        }
        let end = found.end;
        self.found = None;
        if end {
            self.emit(MapRunEventKind::RedriveExhausted {});
        }
        end
    }

    /// Gives items at hand to a child, or finds that there are no more. `false`: they must be read first.
    fn schedule_child(&mut self) -> bool {
        let Some(source) = self.source else { return false };
        let first = self.map_run.cursor.next_item;
        let most = self.map_run.items_per_child;
        let at_hand: Vec<Seen<'_>> = match (&source.start.items, &self.read) {
            (Some(items), _) => match items.value() {
                Value::Array(items) => {
                    items.iter().skip(first as usize).take(most as usize).map(Seen::element).collect()
                }
                Value::Object(items) => {
                    items.iter().skip(first as usize).take(most as usize).map(Seen::member).collect()
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
            },
            (None, Some(read)) => {
                // What is left of a page may be too little for a child; it is read again, with more.
                let left = &read.items[read.taken..];
                if read.taken > 0 && (left.len() as u64) < most && !read.end {
                    self.read = None;
                    return false;
                }
                left.iter().take(most as usize).map(Seen::read).collect()
            }
            (None, None) => return false,
        };
        if at_hand.is_empty() {
            if self.read.take().is_none_or(|read| read.end) {
                self.emit(MapRunEventKind::ItemsExhausted {});
                return true;
            }
            return false;
        }
        let index = self.map_run.next_child;
        let mut state = self.state(source);
        let batch = state.batch(first, most, &at_hand);
        let child = batch.map(|batch| (state.child(index, batch.input), batch.items));
        self.entropy = state.entropy.clone();
        match child {
            Err(failure) => self.stop(MapRunStatus::Failed, failure),
            Ok((child, items)) => self.schedule(index, child, items, first),
        }
        true
    }

    fn schedule(&mut self, index: u64, child: Start, items: u64, first: u64) {
        let next_item = first + items;
        let mut cursor = Cursor { next_item, ..self.map_run.cursor.clone() };
        if let Some(read) = &mut self.read {
            read.taken += items as usize;
            cursor.version.clone_from(&read.version);
            let passed = read.positions.iter().rev().find(|(item, _)| *item <= next_item);
            if let Some((_, position)) = passed {
                cursor.position = Some(position.clone());
            }
        }
        let payload_max = child.limits.payload_max;
        if payload_max > 0 && child.input.len() as u64 > payload_max {
            let cause = "The input of a child execution exceeds the maximum number of bytes service limit.";
            return self.stop(MapRunStatus::Failed, Failure::new("States.DataLimitExceeded", cause));
        }
        self.emit(MapRunEventKind::ChildScheduled { index, items, cursor });
        self.children.push(ChildChange::Scheduled { index, start: Arc::new(child), items });
        self.effects.push(MapRunEffect::RunChild { index, redrives: 0 });
    }

    /// Failed and timed out items against both thresholds; without any, none may fail.
    fn is_tolerance_exceeded(&self) -> bool {
        let Some(thresholds) = &self.map_run.thresholds else { return false };
        let (_, items) = self.map_run.counts();
        let failed = items.failed + items.timed_out;
        let count = thresholds.tolerated_failure_count;
        let millionths = thresholds.tolerated_failure_millionths;
        if count.is_none() && millionths.is_none() {
            return failed > 0;
        }
        let total = self.map_run.items_total.or(self.map_run.exhausted.then_some(items.total));
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
        self.found = None;
        self.emit(MapRunEventKind::Stopping { status, failure });
        // What this very turn wanted to start is to be stopped instead.
        self.effects.retain(|effect| !matches!(effect, MapRunEffect::RunChild { .. }));
        self.effects.extend(self.map_run.child_effects());
    }

    fn end(&mut self, status: MapRunStatus, output: Option<Payload>, failure: Failure) {
        self.emit(MapRunEventKind::Ended { status, output, failure });
        self.effects.extend(self.map_run.end_effect());
    }
}

struct Evaluated {
    thresholds: Thresholds,
    reader: Option<Payload>,
    writer: Option<Payload>,
    items_per_child: u64,
}

impl Evaluated {
    fn nothing() -> Evaluated {
        let thresholds = Thresholds {
            max_concurrency: 1,
            tolerated_failure_count: None,
            tolerated_failure_millionths: None,
        };
        Evaluated { thresholds, reader: None, writer: None, items_per_child: 1 }
    }
}

fn evaluate(state: &mut MapState<'_>) -> Result<Evaluated, Failure> {
    let thresholds = state.thresholds()?;
    let (reader, writer) = (state.reader()?, state.writer()?);
    // They are in every checkpoint, whose size is bounded.
    let payload_max = state.start.parent.limits.payload_max;
    for arguments in [&reader, &writer].into_iter().flatten() {
        if payload_max > 0 && arguments.len() as u64 > payload_max {
            let cause = "The arguments of ItemReader or ResultWriter exceed the maximum number of bytes service limit.";
            return Err(Failure::new("States.DataLimitExceeded", cause));
        }
    }
    Ok(Evaluated { thresholds, reader, writer, items_per_child: state.items_per_child()? })
}
