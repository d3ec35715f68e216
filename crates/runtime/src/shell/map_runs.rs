//! Drives Map Runs: the engine's second aggregate, with ordinary executions as its children.
//!
//! Invariant: a child is started once for each index, and its end is on disk before the Map Run hears of it. The aggregate
//! itself is not journalled: after a crash the parent asks again, the Map Run begins anew over the same pinned items, and
//! children that are on disk are found by their index instead of started. Messages between parent, Map Run and children are
//! at least once. What UpdateMapRun changed is lost with the process, and so is the description of a Map Run that has ended.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use asl::program::{Program, StateMachineType};
use engine::map_run::{
    ChildResult, MapRun, MapRunEffect, MapRunInput, MapRunInputKind, MapRunStart, MapRunStatus,
};
use engine::{EventKind, Failure, InputKind, MapRunResult, Start, StartMapRun, StopMapRun, TaskId};
use store::{
    Batch, Direction, ExecutionRow, ExecutionStatus, ExecutionsQuery, HistoryQuery, ListBy, MapRunItem,
    Reader, Scope, StoreError,
};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::Core;
use super::express;
use crate::dispatch::{ItemsReport, MapRunChild};
use crate::error::Error;
use crate::executions::{ExecutionResult, result_of};
use crate::failpoint;
use crate::shard::{Answer, Naming};

/// Ended Map Runs kept for DescribeMapRun.
const ENDED_MAX: usize = 1_000;

/// How often a child is asked to stop whose start has not arrived.
const STOP_ATTEMPTS_MAX: usize = 100;

/// Rows of a page.
const PAGE: u32 = 1_000;

/// The Map Runs of this process.
#[derive(Default)]
pub(crate) struct MapRuns {
    runs: Mutex<HashMap<Arc<str>, Arc<Run>>>,
}

/// One Map Run.
pub(crate) struct Run {
    pub(crate) parent: Arc<Start>,
    pub(crate) redrive_count: u32,
    task: TaskId,
    inbox: mpsc::UnboundedSender<MapRunInputKind>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    map_run: MapRun,
    known: Known,
    /// Children that run, and their tasks if they are Express.
    children: HashMap<u64, (Arc<str>, Option<AbortHandle>)>,
    /// The parent gave it up and waits for the acknowledgement.
    cancelled: bool,
    ended: bool,
}

/// Children that are on disk already.
#[derive(Default)]
struct Known {
    ended: HashMap<u64, ChildResult>,
    begun: HashMap<u64, ExecutionRow>,
}

impl Run {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it stands.
    pub(crate) fn snapshot(&self) -> MapRun {
        self.lock().map_run.clone()
    }

    /// News for it; false if it has ended.
    pub(crate) fn tell(&self, kind: MapRunInputKind) -> bool {
        !self.lock().ended && self.inbox.send(kind).is_ok()
    }
}

impl MapRuns {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Run>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A Map Run of this process.
    pub(crate) fn find(&self, arn: &str) -> Option<Arc<Run>> {
        self.lock().get(arn).cloned()
    }

    /// The parent owes a Map Run: begins it, unless it is under way.
    pub(crate) fn start(&self, core: &Arc<Core>, parent: &Arc<Start>, effect: StartMapRun) {
        let mut runs = self.lock();
        let arn = Arc::clone(&effect.map_run_arn);
        if runs.get(&arn).is_some_and(|run| !run.lock().ended) {
            return;
        }
        if runs.len() > ENDED_MAX {
            runs.retain(|_, run| !run.lock().ended);
        }
        let (inbox, messages) = mpsc::unbounded_channel();
        let run = Arc::new(Run {
            parent: Arc::clone(parent),
            redrive_count: effect.redrive,
            task: effect.task,
            inbox,
            state: Mutex::default(),
        });
        runs.insert(arn, Arc::clone(&run));
        drop(runs);
        tokio::spawn(begin(Arc::clone(core), run, effect, messages));
    }

    /// The parent gave a Map Run up.
    pub(crate) fn stop(&self, core: &Arc<Core>, parent: &Arc<Start>, effect: StopMapRun) {
        if let Some(run) = self.find(&effect.map_run_arn) {
            let mut state = run.lock();
            if !state.ended {
                state.cancelled = true;
                drop(state);
                run.tell(MapRunInputKind::StopRequested);
                return;
            }
        }
        let (core, parent) = (Arc::clone(core), Arc::clone(parent));
        tokio::spawn(async move {
            if stop_children(&core, &effect.map_run_arn).await.is_ok() {
                core.input(&parent.execution_arn, InputKind::TaskCancelled { task: effect.task });
            }
        });
    }
}

/// After a crash there may be children without a Map Run: they are ended.
async fn stop_children(core: &Arc<Core>, map_run_arn: &Arc<str>) -> Result<(), Error> {
    loop {
        let by = ListBy::MapRun(Arc::clone(map_run_arn));
        let status = Some(ExecutionStatus::Running);
        let query = ExecutionsQuery { by, status, redriven: None, after: None, limit: PAGE };
        let running = core.read(move |reader| reader.executions(&query)).await?.items;
        if running.is_empty() {
            return Ok(());
        }
        for child in running {
            core.ask_inside(&child.arn, InputKind::StopRequested { failure: Failure::default() }).await?;
        }
    }
}

async fn begin(
    core: Arc<Core>,
    run: Arc<Run>,
    effect: StartMapRun,
    messages: mpsc::UnboundedReceiver<MapRunInputKind>,
) {
    let (arn, redrive) = (Arc::clone(&effect.map_run_arn), effect.redrive);
    let scope = Scope { account: Arc::clone(&run.parent.account), region: Arc::clone(&run.parent.region) };
    let (programs, definition) = (Arc::clone(&core.programs), run.parent.definition);
    let found = core.read(move |reader| {
        let known = Known::read(reader, &arn, redrive > 0)?;
        Ok((known, programs.get(&scope, definition)))
    });
    let Ok((known, program)) = found.await else { return };
    let program = match program {
        Ok(program) => program,
        Err(error) => {
            tracing::error!(%error, "a Map Run cannot begin");
            return end(
                &core,
                &run,
                MapRunResult::Failed(Failure::runtime("The definition cannot be read.")),
            );
        }
    };
    run.lock().known = known;
    let label =
        effect.map_run_arn.split('/').nth(1).and_then(|rest| rest.split(':').next()).unwrap_or_default();
    let start = MapRunStart {
        label: label.into(),
        map_run_arn: effect.map_run_arn,
        task: effect.task,
        parent: Arc::clone(&run.parent),
        state: effect.state,
        items: effect.items,
        input: effect.input,
        context: effect.context,
        variables: effect.variables,
    };
    run.tell(MapRunInputKind::Started(Arc::new(start)));
    drive(&core, &run, &program, messages).await;
}

async fn drive(
    core: &Arc<Core>,
    run: &Arc<Run>,
    program: &Arc<Program>,
    mut messages: mpsc::UnboundedReceiver<MapRunInputKind>,
) {
    while let Some(kind) = messages.recv().await {
        if core.is_closing() {
            return;
        }
        let input = MapRunInput { at: core.clock.now(), entropy: core.draw(), kind };
        let budget = core.config.shard.budget;
        let stepped = {
            let mut state = run.lock();
            let map_run = &mut state.map_run;
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                engine::map_run::step(program, map_run, input, budget)
            }))
        };
        let Ok(step) = stepped else {
            tracing::error!(arn = %run.parent.execution_arn, "a Map Run broke");
            return end(core, run, MapRunResult::Failed(Failure::runtime("The Map Run failed internally.")));
        };
        for effect in step.effects {
            if let MapRunEffect::Ended { result, .. } = effect {
                return end(core, run, result);
            }
            carry_out(core, run, program, effect);
        }
        if step.more {
            run.tell(MapRunInputKind::Resumed);
        }
        tokio::task::yield_now().await;
    }
}

/// Tells the parent, at least once: it asks again after a crash.
fn end(core: &Arc<Core>, run: &Arc<Run>, result: MapRunResult) {
    let cancelled = {
        let mut state = run.lock();
        state.ended = true;
        state.cancelled
    };
    failpoint!("parent.tell.before");
    core.input(&run.parent.execution_arn, InputKind::MapRunEnded { task: run.task, result });
    if cancelled {
        core.input(&run.parent.execution_arn, InputKind::TaskCancelled { task: run.task });
    }
    failpoint!("parent.tell.after");
}

fn carry_out(core: &Arc<Core>, run: &Arc<Run>, program: &Arc<Program>, effect: MapRunEffect) {
    let (core, run) = (Arc::clone(core), Arc::clone(run));
    match effect {
        MapRunEffect::StartChild { index, start } => {
            start_child(core, run, Arc::clone(program), index, start)
        }
        MapRunEffect::StopChild { index, .. } => {
            tokio::spawn(async move { stop_child(&core, &run, index).await });
        }
        MapRunEffect::ReadItems(read) => {
            tokio::spawn(async move {
                let from = read.cursor.next_item;
                let dispatch = Arc::clone(&core.dispatch);
                let report = dispatch.read_items(Arc::clone(&run.parent), *read).await;
                run.tell(match report {
                    Ok(ItemsReport { items, position, version, end }) => {
                        MapRunInputKind::ItemsRead { from, items, position, version, end }
                    }
                    Err(failure) => MapRunInputKind::ReadFailed(failure),
                });
            });
        }
        MapRunEffect::WriteResults(write) => {
            tokio::spawn(async move {
                let arn = Arc::clone(&write.map_run_arn);
                let result = if write.writer.is_none() {
                    let Ok(items) = core.read(move |reader| all_items(reader, &arn)).await else { return };
                    gather(&items)
                } else {
                    let Ok(children) = core.read(move |reader| all_children(reader, &arn)).await else {
                        return;
                    };
                    let dispatch = Arc::clone(&core.dispatch);
                    dispatch.write_results(Arc::clone(&run.parent), *write, children).await
                };
                run.tell(MapRunInputKind::ResultsWritten(result));
            });
        }
        MapRunEffect::Ended { .. } => {}
    }
}

fn start_child(core: Arc<Core>, run: Arc<Run>, program: Arc<Program>, index: u64, start: Arc<Start>) {
    let express = start.machine_type == StateMachineType::Express;
    let mut state = run.lock();
    if let Some(result) = state.known.ended.remove(&index) {
        drop(state);
        run.tell(MapRunInputKind::ChildStarted { index });
        run.tell(MapRunInputKind::ChildEnded { index, result });
        return;
    }
    let begun = state.known.begun.remove(&index);
    let arn = begun.as_ref().map_or_else(|| Arc::clone(&start.execution_arn), |row| Arc::clone(&row.arn));
    let child = {
        let run = Arc::clone(&run);
        tokio::spawn(async move {
            if let Err(error) = run_child(&core, &run, &program, index, &start, begun).await {
                tracing::warn!(arn = %start.execution_arn, %error, "a child of a Map Run waits for the next start");
            }
        })
    };
    state.children.insert(index, (arn, express.then(|| child.abort_handle())));
}

/// Runs a child to its end, or waits for the end of one that is on disk already.
async fn run_child(
    core: &Arc<Core>,
    run: &Arc<Run>,
    program: &Arc<Program>,
    index: u64,
    start: &Arc<Start>,
    begun: Option<ExecutionRow>,
) -> Result<(), Error> {
    let mut arn = Arc::clone(&start.execution_arn);
    let result = if start.machine_type == StateMachineType::Express {
        run.tell(MapRunInputKind::ChildStarted { index });
        let ended = express::run(core, program, start).await?;
        core.express_ended(start, &ended).await;
        ended.last().and_then(|event| result_of(&event.kind))
    } else {
        match begun {
            Some(row) => {
                arn = row.arn;
                // A redrive goes on with the children that did not succeed, each of them once.
                let unsuccessful =
                    !matches!(row.status, ExecutionStatus::Running | ExecutionStatus::Succeeded);
                if unsuccessful && run.redrive_count > row.redrive_count {
                    core.ask_inside(&arn, InputKind::Redriven).await?;
                }
            }
            None => {
                failpoint!("child.start.before");
                core.begin_inside(Arc::clone(start), Arc::clone(program), Naming::Generated).await?;
                failpoint!("child.start.after");
            }
        }
        run.tell(MapRunInputKind::ChildStarted { index });
        let row = core.wait_for_end(&arn).await?;
        core.result(&row).await?
    };
    let result = child_result(result);
    core.commit(Batch { items: vec![item(run, index, arn, &result)], ..Batch::default() }).await?;
    run.lock().children.remove(&index);
    run.tell(MapRunInputKind::ChildEnded { index, result });
    Ok(())
}

async fn stop_child(core: &Arc<Core>, run: &Arc<Run>, index: u64) {
    let child = run.lock().children.get(&index).cloned();
    match child {
        // Its own task tells the end. Its start may be on its way still, then it is asked again.
        Some((arn, None)) => {
            for _ in 0..STOP_ATTEMPTS_MAX {
                let stop = InputKind::StopRequested { failure: Failure::default() };
                match core.ask_inside(&arn, stop).await {
                    Ok(Answer::Unknown) => {
                        let soon = core.clock.now().plus(Duration::from_millis(50));
                        core.clock.sleep_until(soon).await;
                    }
                    Ok(_) | Err(_) => return,
                }
            }
        }
        Some((_, Some(abort))) => {
            abort.abort();
            run.tell(MapRunInputKind::ChildEnded { index, result: ChildResult::Aborted });
        }
        None => {
            run.tell(MapRunInputKind::ChildEnded { index, result: ChildResult::Aborted });
        }
    }
}

impl Known {
    /// For a redrive only what succeeded counts as done.
    fn read(reader: &dyn Reader, map_run_arn: &Arc<str>, redrive: bool) -> Result<Known, StoreError> {
        let mut known = Known::default();
        for item in all_items(reader, map_run_arn)? {
            if !redrive || item.status == ExecutionStatus::Succeeded {
                known.ended.insert(item.index, result_of_item(&item));
            }
        }
        let by = ListBy::MapRun(Arc::clone(map_run_arn));
        let mut query = ExecutionsQuery { by, status: None, redriven: None, after: None, limit: PAGE };
        let mut seen = HashSet::new();
        loop {
            let page = reader.executions(&query)?;
            for row in page.items {
                let Some((_, index)) = row.map_run else { continue };
                if seen.insert(index) {
                    known.begun.insert(index, row);
                }
            }
            query.after = page.next;
            if query.after.is_none() {
                return Ok(known);
            }
        }
    }
}

fn all_items(reader: &dyn Reader, map_run_arn: &str) -> Result<Vec<MapRunItem>, StoreError> {
    let mut items: Vec<MapRunItem> = Vec::new();
    loop {
        let after = items.last().map(|item| item.index);
        let page = reader.map_run_items(map_run_arn, after, PAGE)?;
        if page.is_empty() {
            return Ok(items);
        }
        items.extend(page);
    }
}

/// The children as a ResultWriter tells them. Of an Express execution only its end is known.
fn all_children(reader: &dyn Reader, map_run_arn: &str) -> Result<Vec<MapRunChild>, StoreError> {
    let child = |item: MapRunItem| {
        let row = reader.execution(&item.execution_arn)?;
        let first = match &row {
            Some(row) => {
                let (execution, direction) = (row.key, Direction::Forward);
                reader.history(&HistoryQuery { execution, from: None, direction, limit: 1 })?.items.pop()
            }
            None => None,
        };
        let input = first.and_then(|event| match event.kind {
            EventKind::ExecutionStarted { start, .. } => Some(start.input.clone()),
            _ => None,
        });
        Ok(MapRunChild { item, row, input })
    };
    all_items(reader, map_run_arn)?.into_iter().map(child).collect()
}

/// Without a ResultWriter the result is the array of the outputs, in the order of the items.
fn gather(items: &[MapRunItem]) -> Result<asl::payload::Payload, Failure> {
    let succeeded = items.iter().filter(|item| item.status == ExecutionStatus::Succeeded);
    let outputs: Vec<&str> =
        succeeded.map(|item| item.output.as_ref().map_or("null", |output| output.text())).collect();
    let text = format!("[{}]", outputs.join(","));
    asl::payload::Payload::parse(text)
        .map_err(|_| Failure::runtime("The outputs of the children cannot be read."))
}

fn child_result(result: Option<(ExecutionStatus, ExecutionResult)>) -> ChildResult {
    match result {
        Some((_, ExecutionResult::Succeeded(output))) => ChildResult::Succeeded(output),
        Some((ExecutionStatus::TimedOut, ExecutionResult::Failed(failure))) => ChildResult::TimedOut(failure),
        Some((ExecutionStatus::Failed, ExecutionResult::Failed(failure))) => ChildResult::Failed(failure),
        Some((_, ExecutionResult::Failed(_))) | None => ChildResult::Aborted,
    }
}

fn item(run: &Run, index: u64, execution_arn: Arc<str>, result: &ChildResult) -> MapRunItem {
    let failed = |failure: &Failure| {
        let fields = [("Error", &failure.error), ("Cause", &failure.cause)];
        let fields = fields.into_iter().filter_map(|(name, text)| {
            text.as_ref().map(|text| (name.to_owned(), serde_json::Value::from(text.to_string())))
        });
        asl::payload::Payload::from_value(serde_json::Value::Object(fields.collect()))
    };
    let (status, output) = match result {
        ChildResult::Succeeded(output) => (ExecutionStatus::Succeeded, Some(output.clone())),
        ChildResult::Failed(failure) => (ExecutionStatus::Failed, Some(failed(failure))),
        ChildResult::TimedOut(failure) => (ExecutionStatus::TimedOut, Some(failed(failure))),
        ChildResult::Aborted => (ExecutionStatus::Aborted, None),
    };
    let map_run_arn = run.lock().map_run.start().map(|start| Arc::clone(&start.map_run_arn));
    MapRunItem { map_run_arn: map_run_arn.unwrap_or_default(), index, execution_arn, status, output }
}

fn result_of_item(item: &MapRunItem) -> ChildResult {
    let text = |name: &str| {
        let output = item.output.as_ref()?.value().get(name)?.as_str()?;
        Some(Arc::from(output))
    };
    let failure = || Failure { error: text("Error"), cause: text("Cause") };
    match item.status {
        ExecutionStatus::Succeeded => ChildResult::Succeeded(item.output.clone().unwrap_or_default()),
        ExecutionStatus::Failed => ChildResult::Failed(failure()),
        ExecutionStatus::TimedOut => ChildResult::TimedOut(failure()),
        ExecutionStatus::Running | ExecutionStatus::Aborted | ExecutionStatus::PendingRedrive => {
            ChildResult::Aborted
        }
    }
}

/// Whether a status is an end.
pub(crate) fn is_over(status: MapRunStatus) -> bool {
    status != MapRunStatus::Running
}
