//! RedriveExecution: who may be redriven, and AWS's idempotency by client token.
//!
//! Invariant: the last ten client tokens of successful redrives of an execution give the same answer for 15 minutes. They
//! are in its journal, so a repetition finds its answer across a restart, too.

use std::sync::Arc;
use std::time::Duration;

use asl::timestamp::Timestamp;
use engine::{Apart, Event, EventKind, Ignored, InputKind};
use store::{ExecutionRow, ExecutionStatus};

use crate::error::Error;
use crate::runtime::Runtime;
use crate::shard::Answer;

/// How long a closed execution can be redriven.
const PERIOD: Duration = Duration::from_secs(14 * 24 * 3_600);

const TOKENS_MAX: usize = 10;
const TOKEN_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// `redriveStatus` with `redriveStatusReason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedriveStatus {
    /// REDRIVABLE
    Redrivable,
    /// REDRIVABLE_BY_MAP_RUN
    RedrivableByMapRun,
    /// NOT_REDRIVABLE, and why.
    NotRedrivable(&'static str),
}

impl RedriveStatus {
    /// Of an execution at a time.
    pub(crate) fn of(row: &ExecutionRow, now: Timestamp) -> RedriveStatus {
        match row.status {
            ExecutionStatus::Running => {
                return RedriveStatus::NotRedrivable("Execution is RUNNING and cannot be redriven");
            }
            ExecutionStatus::Succeeded => {
                return RedriveStatus::NotRedrivable("Execution is SUCCEEDED and cannot be redriven");
            }
            ExecutionStatus::Failed
            | ExecutionStatus::TimedOut
            | ExecutionStatus::Aborted
            | ExecutionStatus::PendingRedrive => {}
        }
        if row.stop.is_some_and(|stop| now.since(stop) > PERIOD) {
            return RedriveStatus::NotRedrivable("Execution redrivable period exceeded");
        }
        match row.map_run {
            Some(_) => RedriveStatus::RedrivableByMapRun,
            None => RedriveStatus::Redrivable,
        }
    }
}

/// When the execution was redriven by this token, if that is remembered still.
fn redriven_by(events: &[Event], token: &str, now: Timestamp) -> Option<Timestamp> {
    let by_token = events.iter().rev().filter_map(|event| match &event.kind {
        EventKind::ExecutionRedriven { client_token: Apart(Some(token)), .. } => Some((token, event.at)),
        _ => None,
    });
    let mut recent = by_token.take(TOKENS_MAX).take_while(|(_, at)| now.since(*at) < TOKEN_LIFETIME);
    recent.find(|(known, _)| &***known == token).map(|(_, at)| at)
}

impl Runtime {
    /// RedriveExecution; returns `redriveDate`.
    pub async fn redrive_execution(
        &self,
        execution_arn: &str,
        client_token: Option<Arc<str>>,
    ) -> Result<Timestamp, Error> {
        let row = self.execution_row(execution_arn).await?;
        let now = self.core.clock.now();
        if let Some(at) = self.redriven_before(&row, client_token.as_deref()).await? {
            return Ok(at);
        }
        match RedriveStatus::of(&row, now) {
            RedriveStatus::Redrivable => {}
            RedriveStatus::RedrivableByMapRun => {
                let reason = "Execution can only be redriven by its Map Run";
                return Err(Error::ExecutionNotRedrivable(reason.to_owned()));
            }
            RedriveStatus::NotRedrivable(reason) => {
                return Err(Error::ExecutionNotRedrivable(reason.to_owned()));
            }
        }
        if let Some(scope) = self.core.keys.scope(row.key.scope) {
            self.core.open_executions.check(
                (&scope.account, &scope.region),
                execution_arn,
                &self.core.config.quotas,
            )?;
        }
        match self.core.ask(&row.arn, InputKind::Redriven { client_token: client_token.clone() }).await? {
            Answer::Accepted { at } | Answer::Started { start_date: at } => Ok(at),
            Answer::Ignored(ignored) => {
                // The same request may have overtaken this one.
                let row = self.execution_row(execution_arn).await?;
                if let Some(at) = self.redriven_before(&row, client_token.as_deref()).await? {
                    return Ok(at);
                }
                let reason = match ignored {
                    Ignored::NotRedrivable(reason) => reason,
                    _ => "Execution is RUNNING and cannot be redriven",
                };
                Err(Error::ExecutionNotRedrivable(reason.to_owned()))
            }
            Answer::Unknown | Answer::NameTaken => Err(Error::ExecutionDoesNotExist(row.arn)),
            Answer::Quarantined => Err(Error::Internal),
        }
    }

    /// The answer to the request that came with this token before.
    async fn redriven_before(
        &self,
        row: &ExecutionRow,
        client_token: Option<&str>,
    ) -> Result<Option<Timestamp>, Error> {
        let Some(token) = client_token.filter(|_| row.redrive_count > 0) else { return Ok(None) };
        let key = row.key;
        let events = self.core.read(move |reader| reader.events(key)).await?;
        Ok(redriven_by(&events, token, self.core.clock.now()))
    }
}
