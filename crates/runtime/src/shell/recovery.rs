//! After a start: brings back what was open when the process before us ended.
//!
//! Invariant: whatever owes a task or was in memory is loaded and asks again for what it is owed; whatever only waits for a
//! timer is woken when that is due. One page at a time, each answered before the next, so memory and the rate at which tasks
//! are sent again are bounded; requests are served meanwhile.

use std::sync::Arc;

use store::{ExecutionKey, ExecutionRow, ExecutionStatus, OpenExecution, Reader, StoreError};
use tokio::sync::oneshot;

use super::Core;
use super::driver::Ask;
use crate::error::Error;

/// Brings everything back; returns how many executions were open.
pub(crate) async fn recover(core: &Arc<Core>) -> Result<usize, Error> {
    let mut after: Option<ExecutionKey> = None;
    let mut count = 0;
    let limit = core.config.recovery_page.clamp(1, 10_000);
    loop {
        let page = core.read(move |reader| page(reader, after, limit)).await?;
        let Some((last, _)) = page.last() else { return Ok(count) };
        after = Some(last.execution);
        count += page.len();
        let mut answers = Vec::new();
        for (open, row) in page {
            let Some(row) = row else { continue };
            count_open(core, &row);
            match open.due {
                _ if is_express(&row.arn) => super::express::rerun(core, row).await?,
                Some(due) if !open.owes_tasks => core.tell(&row.arn, Ask::WakeAt(Arc::clone(&row.arn), due)),
                None if !open.owes_tasks => {}
                Some(_) | None => {
                    let (reply, answer) = oneshot::channel();
                    core.tell(&row.arn, Ask::Recover(Arc::clone(&row.arn), Some(reply)));
                    answers.push(answer);
                }
            }
        }
        for answer in answers {
            answer.await.map_err(|_| Error::Stopping)?;
        }
    }
}

/// A Standard execution that runs and is no child.
fn count_open(core: &Core, row: &ExecutionRow) {
    if row.status == ExecutionStatus::Running
        && row.map_run.is_none()
        && !is_express(&row.arn)
        && let Some(scope) = core.keys.scope(row.key.scope)
    {
        core.open_executions.opened(&scope.account, &scope.region, &row.arn);
    }
}

type Found = Vec<(OpenExecution, Option<ExecutionRow>)>;

fn page(reader: &dyn Reader, after: Option<ExecutionKey>, limit: u32) -> Result<Found, StoreError> {
    let open = reader.open(after, None, limit)?;
    open.into_iter().map(|open| Ok((open, reader.execution_by_key(open.execution)?))).collect()
}

pub(crate) fn is_express(arn: &str) -> bool {
    arn.split(':').nth(5) == Some("express")
}
