//! Task tokens and activities: the customer's side of tasks that somebody else does.
//!
//! Invariant: an answer says what is on disk. A token is read without any table; whether it is still good is decided by
//! the execution it names, and by nothing else.

use std::sync::Arc;

use asl::payload::Payload;
use asl::timestamp::Timestamp;
use engine::token::TaskToken;
use engine::{Failure, Ignored, InputKind, Stage};
use store::{RegistryKey, RegistryKind};

use crate::activities::{Offered, Poll};
use crate::error::Error;
use crate::failpoint;
use crate::runtime::Runtime;
use crate::shard::Answer;

/// What GetActivityTask hands out.
#[derive(Clone, Debug)]
pub struct ActivityHandOut {
    /// `taskToken`
    pub task_token: Arc<str>,
    /// `input`
    pub input: Payload,
}

impl Runtime {
    /// SendTaskSuccess, by a caller of this account.
    pub async fn send_task_success(&self, account: &str, token: &str, output: Payload) -> Result<(), Error> {
        let token = read(account, token)?;
        let kind = InputKind::TaskSucceeded { task: token.task, nonce: Some(token.nonce), output };
        self.answer_for(token, kind).await
    }

    /// SendTaskFailure, by a caller of this account.
    pub async fn send_task_failure(&self, account: &str, token: &str, failure: Failure) -> Result<(), Error> {
        let token = read(account, token)?;
        let nonce = Some(token.nonce);
        let kind = InputKind::TaskFailed { task: token.task, nonce, failure, stage: Stage::Run };
        self.answer_for(token, kind).await
    }

    /// SendTaskHeartbeat, by a caller of this account.
    pub async fn send_task_heartbeat(&self, account: &str, token: &str) -> Result<(), Error> {
        let token = read(account, token)?;
        let kind = InputKind::TaskHeartbeat { task: token.task, nonce: Some(token.nonce) };
        self.answer_for(token, kind).await
    }

    /// Whether a token can be one of this account's at all.
    pub fn check_task_token(&self, account: &str, token: &str) -> Result<(), Error> {
        read(account, token).map(|_| ())
    }

    async fn answer_for(&self, token: TaskToken, kind: InputKind) -> Result<(), Error> {
        let arn: Arc<str> = token.execution_arn.into();
        match self.core.ask(&arn, kind).await? {
            Answer::Accepted { .. } | Answer::Started { .. } => Ok(()),
            Answer::Ignored(Ignored::TaskUnknown) => Err(Error::InvalidToken),
            Answer::Ignored(
                Ignored::TaskClosed
                | Ignored::ExecutionClosed
                | Ignored::Duplicate
                | Ignored::Stale
                | Ignored::NotRedrivable(_),
            ) => Err(Error::TaskTimedOut),
            Answer::Unknown | Answer::NameTaken => Err(Error::TaskDoesNotExist),
            Answer::Quarantined => Err(Error::Internal),
        }
    }

    /// GetActivityTask: waits for a task up to the poll time; `None` when there was none. Dropping the future gives up the
    /// place in the queue.
    pub async fn get_activity_task(
        &self,
        activity_arn: &str,
        worker_name: Option<Arc<str>>,
    ) -> Result<Option<ActivityHandOut>, Error> {
        let key = RegistryKey::of_arn(activity_arn).filter(|key| key.kind == RegistryKind::Activity);
        let key = key.ok_or_else(|| Error::invalid_arn(activity_arn))?;
        let activity: Arc<str> = activity_arn.into();
        if self.core.read(move |reader| reader.registry(&key)).await?.is_none() {
            return Err(Error::ActivityDoesNotExist(activity));
        }
        let deadline = self.core.clock.now().plus(self.core.config.activity_poll);
        loop {
            let Some(offered) = self.next_task(&activity, deadline).await? else { return Ok(None) };
            if let Some(task) = self.hand_out(offered, worker_name.clone()).await? {
                return Ok(Some(task));
            }
        }
    }

    async fn next_task(&self, activity: &Arc<str>, deadline: Timestamp) -> Result<Option<Offered>, Error> {
        match self.core.activities.poll(activity, self.core.config.quotas.activity_workers) {
            Poll::Task(offered) => Ok(Some(offered)),
            Poll::Full => Err(Error::ActivityWorkerLimitExceeded),
            Poll::Wait(place) => tokio::select! {
                offered = place => Ok(offered.ok()),
                () = self.core.clock.sleep_until(deadline) => Ok(None),
                _ = self.core.fatal.raised() => Err(Error::Stopping),
            },
        }
    }

    /// The task is the worker's once its start is on disk; `None` if it has been overtaken by a timeout.
    async fn hand_out(
        &self,
        offered: Offered,
        worker_name: Option<Arc<str>>,
    ) -> Result<Option<ActivityHandOut>, Error> {
        let Some(task) = offered.take() else { return Ok(None) };
        failpoint!("activity.hand_out.before");
        let started = InputKind::TaskStarted { task: task.task, worker_name };
        let answer = match self.core.ask(&task.execution, started).await {
            Ok(answer) => answer,
            Err(refused) => {
                // Not started: it waits for the next worker.
                self.core.activities.schedule(task);
                return Err(refused);
            }
        };
        failpoint!("activity.hand_out.after");
        Ok(match answer {
            Answer::Accepted { .. } => Some(ActivityHandOut { task_token: task.token, input: task.input }),
            Answer::Started { .. }
            | Answer::NameTaken
            | Answer::Ignored(_)
            | Answer::Unknown
            | Answer::Quarantined => None,
        })
    }
}

/// Tokens are good for callers of the execution's account only.
fn read(account: &str, token: &str) -> Result<TaskToken, Error> {
    let token = engine::token::decode(token).ok_or(Error::InvalidToken)?;
    let owner = token.execution_arn.split(':').nth(4);
    if owner == Some(account) { Ok(token) } else { Err(Error::InvalidToken) }
}
