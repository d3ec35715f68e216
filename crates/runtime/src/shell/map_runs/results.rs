//! What the children gave: gathered as the Map's result, or handed to the ResultWriter page by page.
//!
//! Invariant: at most a page of children is in memory, besides what the result may hold.

use std::sync::Arc;

use asl::payload::Payload;
use engine::map_run::{MapRunInputKind, WriteResults};
use engine::{EventKind, Failure};
use store::{
    Direction, ExecutionRow, ExecutionStatus, HistoryQuery, MapRunItem, MapRunItemsQuery, Reader, StoreError,
    WhichItems,
};

use super::Run;
use crate::dispatch::MapRunChild;
use crate::error::Error;
use crate::failpoint;
use crate::shell::Core;

/// Rows of a page.
const PAGE: u32 = 500;

/// The ended children of a Map Run, in pages, in the order of their indexes.
pub struct MapRunChildren {
    core: Arc<Core>,
    map_run_arn: Arc<str>,
    from: u64,
}

impl MapRunChildren {
    /// The next page; an empty one is the last.
    pub async fn next_page(&mut self) -> Result<Vec<MapRunChild>, Error> {
        let query = MapRunItemsQuery {
            map_run_arn: Arc::clone(&self.map_run_arn),
            from: self.from,
            which: WhichItems::All,
            limit: PAGE,
        };
        let page = self.core.read(move |reader| page(reader, &query)).await?;
        if let Some(last) = page.last() {
            self.from = last.item.index + 1;
        }
        Ok(page)
    }
}

fn page(reader: &dyn Reader, query: &MapRunItemsQuery) -> Result<Vec<MapRunChild>, StoreError> {
    let child = |item: MapRunItem| {
        let row = reader.execution(&item.execution_arn)?;
        let input = match (&item.input, &row) {
            (Some(input), _) => Some(input.clone()),
            (None, Some(row)) => input(reader, row)?,
            (None, None) => None,
        };
        Ok(MapRunChild { item, row, input })
    };
    reader.map_run_items(query)?.into_iter().map(child).collect()
}

fn input(reader: &dyn Reader, row: &ExecutionRow) -> Result<Option<Payload>, StoreError> {
    let query = HistoryQuery { execution: row.key, from: None, direction: Direction::Forward, limit: 1 };
    let first = reader.history(&query)?.items.pop();
    Ok(first.and_then(|event| match event.kind {
        EventKind::ExecutionStarted { start, .. } => Some(start.input.clone()),
        _ => None,
    }))
}

/// Carries out WriteResults; what cannot be read now is owed until the next start.
pub(super) fn write(core: &Arc<Core>, run: &Arc<Run>, write: WriteResults, state: Arc<str>) {
    let (core, run) = (Arc::clone(core), Arc::clone(run));
    tokio::spawn(async move {
        failpoint!("map_run.results.before");
        let redrive = write.redrive;
        let children =
            MapRunChildren { core: Arc::clone(&core), map_run_arn: Arc::clone(&write.map_run_arn), from: 0 };
        let result = if write.writer.is_none() {
            match gather(&core, &run, &state).await {
                Ok(result) => result,
                Err(error) => return tracing::error!(arn = %run.arn, %error, "results cannot be read"),
            }
        } else {
            let dispatch = Arc::clone(&core.dispatch);
            dispatch.write_results(Arc::clone(&run.parent), write, children).await
        };
        failpoint!("map_run.results.after");
        run.tell(MapRunInputKind::ResultsWritten { redrive, result });
    });
}

/// Without a ResultWriter the result is the array of the outputs, in the order of the items.
async fn gather(core: &Arc<Core>, run: &Run, state: &str) -> Result<Result<Payload, Failure>, Error> {
    let payload_max = usize::try_from(run.parent.limits.payload_max).ok().filter(|max| *max > 0);
    let (mut text, mut from) = (String::from("["), 0);
    loop {
        let map_run_arn = Arc::clone(&run.arn);
        let query = MapRunItemsQuery { map_run_arn, from, which: WhichItems::All, limit: PAGE };
        let page = core.read(move |reader| reader.map_run_items(&query)).await?;
        let Some(last) = page.last() else { break };
        from = last.index + 1;
        for item in page.iter().filter(|item| item.status == ExecutionStatus::Succeeded) {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(item.output.as_ref().map_or("null", Payload::text));
        }
        if payload_max.is_some_and(|max| text.len() >= max) {
            return Ok(Err(too_large(state)));
        }
    }
    text.push(']');
    let result = Payload::parse(text);
    Ok(result.map_err(|_| Failure::runtime("The outputs of the children cannot be read.")))
}

fn too_large(state: &str) -> Failure {
    let name = state.rsplit('/').next().unwrap_or_default();
    let cause = format!(
        "The state/task '{name}' returned a result with a size exceeding the maximum number of bytes service limit."
    );
    Failure::new("States.DataLimitExceeded", cause)
}
