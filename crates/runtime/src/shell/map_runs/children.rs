//! The children of a Map Run: started, found again after a crash, redriven, stopped.
//!
//! Invariant: a Standard child is started once, since its ARN is on disk before and names it; its end is told by the shard that
//! committed it, or found in its row. An Express child runs again from its input until its end is on disk.

use std::sync::Arc;

use asl::program::{Program, StateMachineType};
use engine::map_run::{ChildResult, FindUnsuccessful, MapRunInputKind, Unsuccessful};
use engine::{Failure, InputKind, Start};
use store::{
    Direction, ExecutionRow, ExecutionStatus, ExecutionsQuery, HistoryQuery, ListBy, MapRunItem,
    MapRunItemsQuery, Reader, StoreError, WhichItems,
};

use super::{Run, lock};
use crate::error::Error;
use crate::executions::{ExecutionResult, result_of};
use crate::failpoint;
use crate::map_run::{Origin, start_of, status_of};
use crate::shard::{Answer, Naming};
use crate::shell::{Core, express, recovery};

/// Children looked at together.
const PAGE: u32 = 256;

/// Which child, and how often it was redriven.
type Child = (u64, u32);

/// Starts a child that was never started.
pub(super) fn start(
    core: &Arc<Core>,
    run: &Arc<Run>,
    program: &Arc<Program>,
    start: Arc<Start>,
    (index, redrives): Child,
) {
    let (core, program) = (Arc::clone(core), Arc::clone(program));
    if start.machine_type == StateMachineType::Express {
        return start_express(core, Arc::clone(run), program, start, (index, redrives));
    }
    let run = Arc::clone(run);
    tokio::spawn(async move {
        failpoint!("child.start.before");
        let started = core.begin_inside(start, program, Naming::Generated).await;
        failpoint!("child.start.after");
        match started {
            Ok(Answer::Started { .. }) => {}
            // It broke in its first turn: there is nothing on disk that could end.
            Ok(_) => run.child_ended(index, Some(redrives), broken()),
            Err(error) => tracing::debug!(%error, "a child of a Map Run waits for the next start"),
        }
    });
}

fn broken() -> ChildResult {
    ChildResult::Failed(Failure::runtime("The execution failed internally."))
}

fn start_express(
    core: Arc<Core>,
    run: Arc<Run>,
    program: Arc<Program>,
    start: Arc<Start>,
    (index, redrives): Child,
) {
    // The task must find its handle there, to take it away.
    let mut express = lock(&run.express);
    let child = {
        let run = Arc::clone(&run);
        tokio::spawn(async move {
            failpoint!("child.start.before");
            let result = match express::run(&core, &program, &start).await {
                Ok(ended) => {
                    core.express_ended(&start, &ended).await;
                    child_result(ended.last().and_then(|event| result_of(&event.kind)))
                }
                Err(_) => broken(),
            };
            failpoint!("child.start.after");
            lock(&run.express).remove(&index);
            run.child_ended(index, Some(redrives), result);
        })
    };
    if let Some(earlier) = express.insert(index, child.abort_handle()) {
        earlier.abort();
    }
}

/// What is to be done about a child that may have been started.
enum Standing {
    /// Its start is not on disk.
    Owed(Arc<Start>),
    /// It goes on; its end will be told.
    Runs,
    /// It ended, and is to go on.
    Redrive(Arc<str>, ChildResult),
    /// It ended.
    Ended(ChildResult),
}

/// Children that a process before this one, or a redrive, left: as their rows say.
pub(super) fn run_again(core: &Arc<Core>, run: &Arc<Run>, origin: Origin, indexes: Vec<u64>) {
    let (core, run) = (Arc::clone(core), Arc::clone(run));
    tokio::spawn(async move {
        for chunk in indexes.chunks(PAGE as usize) {
            let (chunk, arn, known) = (chunk.to_vec(), Arc::clone(&run.arn), origin.clone());
            let found = core.read(move |reader| standings(reader, &arn, &known, &chunk)).await;
            let Ok(found) = found else { return };
            for (child, standing) in found {
                if carry_on(&core, &run, &origin, child, standing).await.is_err() {
                    return;
                }
            }
        }
    });
}

async fn carry_on(
    core: &Arc<Core>,
    run: &Arc<Run>,
    origin: &Origin,
    (index, redrives): Child,
    standing: Standing,
) -> Result<(), Error> {
    match standing {
        Standing::Owed(owed) => start(core, run, &origin.program, owed, (index, redrives)),
        Standing::Runs => {}
        Standing::Ended(result) => run.child_ended(index, Some(redrives), result),
        Standing::Redrive(arn, result) => {
            let again = InputKind::Redriven { client_token: None };
            if matches!(core.ask_inside(&arn, again).await?, Answer::Accepted { .. }) {
                return Ok(());
            }
            // One that cannot be redriven stays as it ended, unless it was redriven already and tells its end itself.
            let row = core.read(move |reader| reader.execution(&arn)).await?;
            if row.is_some_and(|row| row.redrive_count < redrives) {
                run.child_ended(index, Some(redrives), result);
            }
        }
    }
    Ok(())
}

fn standings(
    reader: &dyn Reader,
    map_run_arn: &Arc<str>,
    origin: &Origin,
    indexes: &[u64],
) -> Result<Vec<(Child, Standing)>, StoreError> {
    let mut found = Vec::with_capacity(indexes.len());
    for index in indexes {
        let Some(item) = item(reader, map_run_arn, *index)? else { continue };
        found.push(((*index, item.redrive_count), standing(reader, origin, &item)?));
    }
    Ok(found)
}

fn standing(reader: &dyn Reader, origin: &Origin, item: &MapRunItem) -> Result<Standing, StoreError> {
    let row = reader.execution(&item.execution_arn)?;
    let Some(row) = row else { return Ok(Standing::Owed(Arc::new(start_of(origin, item)))) };
    if row.status == ExecutionStatus::Running {
        return Ok(Standing::Runs);
    }
    let result = child_result(result(reader, &row)?);
    if row.status != ExecutionStatus::Succeeded && item.redrive_count > row.redrive_count {
        return Ok(Standing::Redrive(row.arn, result));
    }
    Ok(Standing::Ended(result))
}

fn item(reader: &dyn Reader, map_run_arn: &Arc<str>, index: u64) -> Result<Option<MapRunItem>, StoreError> {
    let map_run_arn = Arc::clone(map_run_arn);
    let query = MapRunItemsQuery { map_run_arn, from: index, which: WhichItems::All, limit: 1 };
    Ok(reader.map_run_items(&query)?.pop().filter(|item| item.index == index))
}

/// What an execution that has ended ended with.
fn result(
    reader: &dyn Reader,
    row: &ExecutionRow,
) -> Result<Option<(ExecutionStatus, ExecutionResult)>, StoreError> {
    let query = HistoryQuery { execution: row.key, from: None, direction: Direction::Backward, limit: 1 };
    Ok(reader.history(&query)?.items.pop().and_then(|event| result_of(&event.kind)))
}

/// Stops children, or sees that they never start.
pub(super) fn stop(core: &Arc<Core>, run: &Arc<Run>, children: Vec<Child>) {
    let (core, run) = (Arc::clone(core), Arc::clone(run));
    tokio::spawn(async move {
        for child in children {
            if stop_child(&core, &run, child).await.is_err() {
                return;
            }
        }
    });
}

async fn stop_child(core: &Arc<Core>, run: &Arc<Run>, (index, redrives): Child) -> Result<(), Error> {
    let aborted = |redrives| run.child_ended(index, redrives, ChildResult::Aborted);
    if let Some(express) = lock(&run.express).remove(&index) {
        express.abort();
        aborted(Some(redrives));
        return Ok(());
    }
    let arn = Arc::clone(&run.arn);
    let Some(child) = core.read(move |reader| item(reader, &arn, index)).await? else {
        aborted(None);
        return Ok(());
    };
    if recovery::is_express(&child.execution_arn) {
        aborted(Some(redrives));
        return Ok(());
    }
    // Its start was told to the same shard before, if it was told at all.
    match core
        .ask_inside(&child.execution_arn, InputKind::StopRequested { failure: Failure::default() })
        .await?
    {
        Answer::Accepted { .. } | Answer::Started { .. } => {}
        Answer::Unknown | Answer::NameTaken | Answer::Quarantined => aborted(None),
        Answer::Ignored(_) => {
            let ended = core.read(move |reader| {
                let Some(row) = reader.execution(&child.execution_arn)? else { return Ok((None, None)) };
                // One that was to be redriven, and was not any more, is stopped before it began again.
                let redrives = Some(row.redrive_count).filter(|count| *count >= redrives);
                Ok((redrives, result(reader, &row)?))
            });
            let (redrives, ended) = ended.await?;
            run.child_ended(index, redrives, child_result(ended));
        }
    }
    Ok(())
}

/// Ends the children of a Map Run that has no journal: a server before format 2 left them.
pub(super) async fn stop_all(core: &Arc<Core>, map_run_arn: &Arc<str>) -> Result<(), Error> {
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

/// Looks for children that a redrive has to let go on.
pub(super) fn find_unsuccessful(core: &Arc<Core>, run: &Arc<Run>, find: FindUnsuccessful) {
    let FindUnsuccessful { map_run_arn, redrive, from } = find;
    let (core, run) = (Arc::clone(core), Arc::clone(run));
    tokio::spawn(async move {
        let Ok(children) = core.read(move |reader| unsuccessful(reader, map_run_arn, from)).await else {
            return;
        };
        let end = children.is_empty();
        run.tell(MapRunInputKind::UnsuccessfulFound { redrive, from, children, end });
    });
}

fn unsuccessful(
    reader: &dyn Reader,
    map_run_arn: Arc<str>,
    from: u64,
) -> Result<Vec<Unsuccessful>, StoreError> {
    let query = MapRunItemsQuery { map_run_arn, from, which: WhichItems::Unsuccessful, limit: PAGE };
    let mut found = Vec::new();
    for item in reader.map_run_items(&query)? {
        let Some(status) = status_of(item.status) else { continue };
        let redrives = if recovery::is_express(&item.execution_arn) {
            item.redrive_count + 1
        } else {
            // One that was stopped before it began is not redriven but begins.
            reader.execution(&item.execution_arn)?.map_or(0, |row| row.redrive_count + 1)
        };
        found.push(Unsuccessful { index: item.index, items: item.items, status, redrives });
    }
    Ok(found)
}

fn child_result(result: Option<(ExecutionStatus, ExecutionResult)>) -> ChildResult {
    match result {
        Some((_, ExecutionResult::Succeeded(output))) => ChildResult::Succeeded(output),
        Some((ExecutionStatus::TimedOut, ExecutionResult::Failed(failure))) => ChildResult::TimedOut(failure),
        Some((ExecutionStatus::Failed, ExecutionResult::Failed(failure))) => ChildResult::Failed(failure),
        Some((_, ExecutionResult::Failed(_))) | None => ChildResult::Aborted,
    }
}
