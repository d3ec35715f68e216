//! Carrying out what was accepted: one task a stack, which takes the owed work from the record, has it done, and writes
//! how it ended.
//!
//! A server that is killed in the middle **goes on** at its next start: work is taken away only by the transaction that
//! writes its end, and the maker, asked again, continues from the kept state. It does not roll back for having been
//! interrupted.

use super::events::{self, Happened};
use super::maker::StackEnd;
use super::records::{Record, Task, Work};
use super::{Call, CloudFormation};
use crate::seal::Sealer;
use crate::wire::{CallContext, ServiceError};
use rusqlite::{Connection, params};
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::oneshot;

/// A caller is answered when the work is done, or after this time: AWS's waiters ask again only after half a minute, so a
/// deployment that takes a second would take thirty for somebody who was answered at once.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
const CLOUDFORMATION: &str = "cloudformation.amazonaws.com";

impl CloudFormation {
    /// Does what is owed to a stack; resolves when it is done.
    pub(super) fn carry_out(&self, id: String) -> oneshot::Receiver<()> {
        let (done, waiting) = oneshot::channel();
        let service = self.clone();
        let task = async move {
            while service.next(&id).await {}
            // Whoever asked may have gone.
            let _ = done.send(());
        };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
        waiting
    }

    /// Does it, and gives it a moment.
    pub(super) async fn carry_out_soon(&self, id: String) {
        let waiting = self.carry_out(id);
        // An end, or the end of patience.
        let _ = tokio::time::timeout(ANSWER_WAIT, waiting).await;
    }

    /// Every stack that a killed server left.
    pub(super) fn resume(&self) {
        let owed = self.database.read(|connection| Record::owed(connection, &self.sealer));
        match owed {
            Ok(owed) => owed.into_iter().for_each(|record| drop(self.carry_out(record.id))),
            Err(error) => tracing::error!(%error, "unfinished stacks cannot be read"),
        }
    }

    /// One piece of work; true when there is another.
    async fn next(&self, id: &str) -> bool {
        let found = self.database.read(|connection| by_id(connection, id, &self.sealer));
        let (record, work) = match found {
            Ok(Some((record, work))) => (record, work),
            Ok(None) => return false,
            Err(error) => {
                tracing::error!(%error, id, "the work on a stack cannot be read");
                return false;
            }
        };
        let end = self.done(&record, &work).await;
        let (id, call) = (id.to_owned(), self.call_of(&record.account, &record.region));
        let ended = self.database.write(move |connection| finish(connection, &id, &end, &call)).await;
        ended.unwrap_or_else(|error| {
            tracing::error!(%error, "the end of the work on a stack cannot be written");
            false
        })
    }

    async fn done(&self, record: &Record, work: &Work) -> StackEnd {
        let maker = match self.environment.stack_maker().await {
            Ok(maker) => maker,
            Err(error) => return StackEnd::Failed(error.message),
        };
        let role = work.details.role_arn.as_ref().or(record.details.role_arn.as_ref());
        let principal = match role {
            None => work.caller.clone(),
            Some(role) => {
                let iam = self.environment.iam();
                match iam.role_session_for_service(role, CLOUDFORMATION, "AWSCloudFormation", None) {
                    Ok(session) => session,
                    Err(_) => {
                        return StackEnd::Failed(format!("Role {role} is invalid or cannot be assumed"));
                    }
                }
            }
        };
        let mut caller = CallContext::of(principal, &record.region);
        caller.account.clone_from(&record.account);
        match &work.task {
            Task::Create(order) | Task::Update(order) => maker.deploy(caller, order.clone()).await,
            Task::Delete => maker.delete(caller, record.name.clone()).await,
        }
    }
}

fn by_id(connection: &Connection, id: &str, sealer: &Sealer) -> Result<Option<(Record, Work)>, ServiceError> {
    let owed = Record::owed(connection, sealer)?.into_iter().find(|record| record.id == id);
    Ok(owed.and_then(|record| record.work.clone().map(|work| (record, work))))
}

/// Writes how the work on a stack ended; true when more is owed to it.
fn finish(connection: &Connection, id: &str, end: &StackEnd, call: &Call) -> Result<bool, ServiceError> {
    let Some((mut record, work)) = by_id(connection, id, &call.sealer)? else { return Ok(false) };
    record.work = None;
    let (status, reason) = status_of(&work, end);
    record.status = status.to_owned();
    reason.clone_into(&mut record.reason);
    let is_kept = matches!(work.task, Task::Create(_)) || *end == StackEnd::Complete;
    if is_kept && !matches!(work.task, Task::Delete) {
        record.details = work.details.clone();
    }
    if matches!(work.task, Task::Update(_)) {
        record.updated_ms = Some(call.now_ms);
    }
    let told = Happened::to_stack(&record, status, reason);
    events::write(connection, &record, call.now_ms, &[told])?;
    let is_empty = matches!(end, StackEnd::RolledBack { is_whole: true, .. });
    let deletes_failed = matches!(work.task, Task::Create(_)) && is_empty && work.details.deletes_failed;
    if status == "DELETE_COMPLETE" || deletes_failed {
        record.retire(connection, call)?;
        return Ok(false);
    }
    if let Some(caller) = work.then_delete {
        begin_deletion(connection, &mut record, caller, call)?;
        return Ok(true);
    }
    record.save(connection, &call.sealer)?;
    Ok(false)
}

fn status_of<'a>(work: &Work, end: &'a StackEnd) -> (&'static str, &'a str) {
    match (&work.task, end) {
        (Task::Create(_), StackEnd::Complete) => ("CREATE_COMPLETE", ""),
        (Task::Update(_), StackEnd::Complete) => ("UPDATE_COMPLETE", ""),
        (Task::Delete, StackEnd::Complete) => ("DELETE_COMPLETE", ""),
        (Task::Create(_), StackEnd::RolledBack { reason, is_whole: true }) => ("ROLLBACK_COMPLETE", reason),
        (Task::Create(_), StackEnd::RolledBack { reason, is_whole: false }) => ("ROLLBACK_FAILED", reason),
        (Task::Update(_), StackEnd::RolledBack { reason, is_whole: true }) => {
            ("UPDATE_ROLLBACK_COMPLETE", reason)
        }
        (Task::Update(_), StackEnd::RolledBack { reason, is_whole: false }) => {
            ("UPDATE_ROLLBACK_FAILED", reason)
        }
        (Task::Create(_), StackEnd::Failed(reason)) => ("CREATE_FAILED", reason),
        (Task::Update(_), StackEnd::Failed(reason)) => ("UPDATE_FAILED", reason),
        (Task::Delete, StackEnd::Failed(reason) | StackEnd::RolledBack { reason, .. }) => {
            ("DELETE_FAILED", reason)
        }
    }
}

/// Owes a stack its deletion.
pub(super) fn begin_deletion(
    connection: &Connection,
    record: &mut Record,
    caller: crate::wire::Principal,
    call: &Call,
) -> Result<(), ServiceError> {
    let details = record.details.clone();
    record.work = Some(Work { task: Task::Delete, caller, details, then_delete: None });
    begin(connection, record, "DELETE_IN_PROGRESS", call)
}

/// Writes that work begins.
pub(super) fn begin(
    connection: &Connection,
    record: &mut Record,
    status: &str,
    call: &Call,
) -> Result<(), ServiceError> {
    record.status = status.to_owned();
    record.reason = "User Initiated".to_owned();
    let told = Happened::to_stack(record, status, &record.reason);
    record.save(connection, &call.sealer)?;
    events::write(connection, record, call.now_ms, &[told])
}

/// Notes that a stack that is being worked on shall be deleted.
pub(super) fn delete_later(
    connection: &Connection,
    record: &mut Record,
    caller: crate::wire::Principal,
    sealer: &Sealer,
) -> Result<(), ServiceError> {
    if let Some(work) = &mut record.work
        && work.task != Task::Delete
    {
        work.then_delete = Some(caller);
    }
    record.save(connection, sealer)
}

/// Change sets of a name that is in use, for errors.
pub(super) fn has_state(connection: &Connection, call: &Call, name: &str) -> Result<bool, ServiceError> {
    let sql = "SELECT 1 FROM stacks WHERE account = ?1 AND region = ?2 AND name = ?3";
    Ok(connection.prepare_cached(sql)?.exists(params![call.account, call.region, name])?)
}
