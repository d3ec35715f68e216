//! The row of ListExecutions, derived from events and from nothing else.
//!
//! Invariant (law L9): a stored row equals the fold of its execution's events through [`ExecutionRow::started`] and
//! [`RowChange`]. Both backends and `verify` use these functions. Input and output are not here; the journal has them.

use std::sync::Arc;

use engine::{Event, EventKind, Start, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{ExecutionKey, ListBy};

/// How an execution stands, in AWS's words. The numbers are the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExecutionStatus {
    /// RUNNING
    Running = 1,
    /// SUCCEEDED
    Succeeded = 2,
    /// FAILED
    Failed = 3,
    /// TIMED_OUT
    TimedOut = 4,
    /// ABORTED
    Aborted = 5,
    /// PENDING_REDRIVE: a child that its map run will redrive when there is room.
    PendingRedrive = 6,
}

impl ExecutionStatus {
    const ALL: [ExecutionStatus; 6] = [
        ExecutionStatus::Running,
        ExecutionStatus::Succeeded,
        ExecutionStatus::Failed,
        ExecutionStatus::TimedOut,
        ExecutionStatus::Aborted,
        ExecutionStatus::PendingRedrive,
    ];

    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            ExecutionStatus::Running => "RUNNING",
            ExecutionStatus::Succeeded => "SUCCEEDED",
            ExecutionStatus::Failed => "FAILED",
            ExecutionStatus::TimedOut => "TIMED_OUT",
            ExecutionStatus::Aborted => "ABORTED",
            ExecutionStatus::PendingRedrive => "PENDING_REDRIVE",
        }
    }

    /// From AWS's word.
    pub fn parse(word: &str) -> Option<ExecutionStatus> {
        ExecutionStatus::ALL.into_iter().find(|status| status.as_str() == word)
    }

    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_code(code: u8) -> Option<ExecutionStatus> {
        ExecutionStatus::ALL.into_iter().find(|status| status.code() == code)
    }
}

/// An execution as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionRow {
    /// Its address in the journal.
    pub key: ExecutionKey,
    /// Its ARN.
    pub arn: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The unqualified state machine.
    pub state_machine_arn: Arc<str>,
    /// The version it was started by.
    pub version_arn: Option<Arc<str>>,
    /// The alias it was started by.
    pub alias_arn: Option<Arc<str>>,
    /// The map run it is a child of, and its index there.
    pub map_run: Option<(Arc<str>, u64)>,
    /// How it stands.
    pub status: ExecutionStatus,
    /// When it started.
    pub start: Timestamp,
    /// When it ended.
    pub stop: Option<Timestamp>,
    /// How often it was redriven.
    pub redrive_count: u32,
    /// When it was redriven last.
    pub redrive_date: Option<Timestamp>,
}

impl ExecutionRow {
    /// The row of an execution that has just started.
    pub(crate) fn started(key: ExecutionKey, at: Timestamp, start: &Start) -> ExecutionRow {
        ExecutionRow {
            key,
            arn: start.execution_arn.clone(),
            name: start.name.clone(),
            state_machine_arn: start.state_machine_arn.clone(),
            version_arn: start.version_arn.clone(),
            alias_arn: start.alias_arn.clone(),
            map_run: start.map_run.as_ref().map(|link| (link.map_run_arn.clone(), link.index)),
            status: ExecutionStatus::Running,
            start: at,
            stop: None,
            redrive_count: 0,
            redrive_date: None,
        }
    }

    /// What lists find it by.
    pub(crate) fn list(&self) -> ListBy {
        match &self.map_run {
            Some((map_run_arn, _)) => ListBy::MapRun(map_run_arn.clone()),
            None => ListBy::StateMachine(self.state_machine_arn.clone()),
        }
    }

    /// Brings it up to date.
    pub(crate) fn apply(&mut self, change: &RowChange) {
        self.status = change.status;
        self.stop = change.stop;
        if let Some((count, at)) = change.redriven {
            self.redrive_count = count;
            self.redrive_date = Some(at);
        }
    }
}

/// Splits an execution's ARN into the part that its siblings share and the rest: `…:execution:Machine` and `name`,
/// `…:express:Machine` and `name:uuid`.
pub(crate) fn split_arn(arn: &str) -> Option<(&str, &str)> {
    let (colon, _) = arn.match_indices(':').nth(6)?;
    Some((&arn[..colon], &arn[colon + 1..]))
}

/// What a turn changes in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowChange {
    pub status: ExecutionStatus,
    pub stop: Option<Timestamp>,
    pub redriven: Option<(u32, Timestamp)>,
}

/// The start that a turn begins with.
pub(crate) fn start_of(events: &[Event]) -> Option<(&Arc<Start>, Timestamp)> {
    let first = events.first()?;
    match &first.kind {
        EventKind::ExecutionStarted { start, .. } => Some((start, first.at)),
        _ => None,
    }
}

/// What these events change in the row, if anything.
pub(crate) fn change_of(events: &[Event]) -> Option<RowChange> {
    let mut change: Option<RowChange> = None;
    for event in events {
        let redriven_before = change.and_then(|change| change.redriven);
        change = match milestone(&event.kind) {
            None => continue,
            Some(Milestone::Ended(status)) => {
                Some(RowChange { status, stop: Some(event.at), redriven: redriven_before })
            }
            Some(Milestone::Redriven(count)) => Some(RowChange {
                status: ExecutionStatus::Running,
                stop: None,
                redriven: Some((count, event.at)),
            }),
        };
    }
    change
}

enum Milestone {
    Ended(ExecutionStatus),
    Redriven(u32),
}

/// Exhaustive, so that whoever adds a kind of event says here whether lists must show it.
fn milestone(kind: &EventKind) -> Option<Milestone> {
    match kind {
        EventKind::ExecutionSucceeded { .. } => Some(Milestone::Ended(ExecutionStatus::Succeeded)),
        EventKind::ExecutionFailed { .. } => Some(Milestone::Ended(ExecutionStatus::Failed)),
        EventKind::ExecutionTimedOut { .. } => Some(Milestone::Ended(ExecutionStatus::TimedOut)),
        EventKind::ExecutionAborted { .. } => Some(Milestone::Ended(ExecutionStatus::Aborted)),
        EventKind::ExecutionRedriven { count, .. } => Some(Milestone::Redriven(*count)),
        EventKind::ExecutionStarted { .. }
        | EventKind::StateEntered { .. }
        | EventKind::StateExited { .. }
        | EventKind::StateAborted { .. }
        | EventKind::EvaluationFailed { .. }
        | EventKind::TaskScheduled { .. }
        | EventKind::TaskStarted { .. }
        | EventKind::TaskSubmitted { .. }
        | EventKind::TaskSucceeded { .. }
        | EventKind::TaskFailed { .. }
        | EventKind::TaskTimedOut { .. }
        | EventKind::ParallelStateStarted { .. }
        | EventKind::ParallelStateSucceeded { .. }
        | EventKind::ParallelStateFailed { .. }
        | EventKind::MapStateStarted { .. }
        | EventKind::MapStateSucceeded { .. }
        | EventKind::MapStateFailed { .. }
        | EventKind::MapIterationStarted { .. }
        | EventKind::MapIterationSucceeded { .. }
        | EventKind::MapIterationFailed { .. }
        | EventKind::MapIterationAborted { .. }
        | EventKind::MapRunStarted { .. }
        | EventKind::MapRunSucceeded { .. }
        | EventKind::MapRunFailed { .. }
        | EventKind::MapRunAborted { .. }
        | EventKind::MapRunRedriven { .. }
        | EventKind::BranchStarted { .. }
        | EventKind::WaitScheduled { .. }
        | EventKind::RetryScheduled { .. }
        | EventKind::TaskCancelled { .. } => None,
    }
}
