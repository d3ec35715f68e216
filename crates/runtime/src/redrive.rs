//! RedriveExecution: who may be redriven, and AWS's idempotency by client token.
//!
//! Invariant: the last ten client tokens of successful redrives of an execution give the same answer for 15 minutes. They
//! are kept in memory: a repetition across a restart finds the execution running and is refused.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use asl::timestamp::Timestamp;
use engine::{Ignored, InputKind};
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

type Tokens = HashMap<Arc<str>, VecDeque<(Arc<str>, Timestamp)>>;

/// Client tokens of recent redrives.
#[derive(Debug, Default)]
pub(crate) struct RedriveTokens(Mutex<Tokens>);

impl RedriveTokens {
    fn find(&self, arn: &str, token: &str, now: Timestamp) -> Option<Timestamp> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, tokens| {
            tokens.retain(|(_, at)| now.since(*at) < TOKEN_LIFETIME);
            !tokens.is_empty()
        });
        let (_, at) = all.get(arn)?.iter().find(|(known, _)| &**known == token)?;
        Some(*at)
    }

    fn keep(&self, arn: &Arc<str>, token: Arc<str>, at: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = all.entry(Arc::clone(arn)).or_default();
        tokens.push_back((token, at));
        if tokens.len() > TOKENS_MAX {
            tokens.pop_front();
        }
    }
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
        if let Some(token) = &client_token
            && let Some(at) = self.redrives.find(&row.arn, token, now)
        {
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
        match self.core.ask(&row.arn, InputKind::Redriven).await? {
            Answer::Accepted { at } | Answer::Started { start_date: at } => {
                if let Some(token) = client_token {
                    self.redrives.keep(&row.arn, token, at);
                }
                Ok(at)
            }
            Answer::Ignored(Ignored::NotRedrivable(reason)) => {
                Err(Error::ExecutionNotRedrivable(reason.to_owned()))
            }
            Answer::Ignored(_) => {
                Err(Error::ExecutionNotRedrivable("Execution is RUNNING and cannot be redriven".to_owned()))
            }
            Answer::Unknown | Answer::NameTaken => Err(Error::ExecutionDoesNotExist(row.arn)),
            Answer::Quarantined => Err(Error::Internal),
        }
    }
}
