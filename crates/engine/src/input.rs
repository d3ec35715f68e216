//! `Input`: the only door for time, chance and news from the world.
//!
//! Inputs are delivered at least once and in any order: one that no longer fits the state is [`Ignored`] and leaves no event.

use std::sync::Arc;

use asl::payload::Payload;
use asl::timestamp::Timestamp;

use crate::ids::{TaskId, TimerId};
use crate::start::{Failure, Start};

/// One thing that happened, stamped by the shell.
#[derive(Clone, Debug)]
pub struct Input {
    /// When the shell took it in. Never read from a clock in here.
    pub at: Timestamp,
    /// Seed of all chance in this turn: jitter, UUIDs, nonces.
    pub entropy: u64,
    /// What happened.
    pub kind: InputKind,
}

/// The inputs there are.
#[derive(Clone, Debug)]
pub enum InputKind {
    /// The execution begins; accepted once.
    Started(Arc<Start>),
    /// GetActivityTask handed the task out.
    TaskStarted {
        /// The task.
        task: TaskId,
        /// Name that the worker gave.
        worker_name: Option<Arc<str>>,
    },
    /// The start call of a `.sync` or `.waitForTaskToken` task returned.
    TaskSubmitted {
        /// The task.
        task: TaskId,
        /// What to observe and cancel it by.
        handle: Payload,
        /// What the call answered.
        output: Payload,
    },
    /// A task's result.
    TaskSucceeded {
        /// The task.
        task: TaskId,
        /// From a task token; `None` when our own dispatcher reports.
        nonce: Option<u64>,
        /// The result.
        output: Payload,
    },
    /// A task's failure.
    TaskFailed {
        /// The task.
        task: TaskId,
        /// From a task token; `None` when our own dispatcher reports.
        nonce: Option<u64>,
        /// The error.
        failure: Failure,
        /// How far it had come.
        stage: Stage,
    },
    /// SendTaskHeartbeat: moves the deadline, leaves no event.
    TaskHeartbeat {
        /// The task.
        task: TaskId,
        /// From the task token.
        nonce: Option<u64>,
    },
    /// The world acknowledged an `Effect::CancelTask`.
    TaskCancelled {
        /// The task.
        task: TaskId,
    },
    /// A timer is due. Early, late and double firing are harmless.
    TimerElapsed {
        /// The timer.
        timer: TimerId,
    },
    /// A Map Run that this execution waits for has ended.
    MapRunEnded {
        /// The task id of the Map Run: `seq` of its `MapRunStarted`.
        task: TaskId,
        /// How it ended.
        result: MapRunResult,
    },
    /// StopExecution.
    StopRequested {
        /// Its `error` and `cause`.
        failure: Failure,
    },
    /// RedriveExecution.
    Redriven {
        /// Its `clientToken`.
        client_token: Option<Arc<str>>,
    },
    /// A turn that ran out of budget goes on (`Step::more`).
    Resumed,
}

/// How a Map Run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum MapRunResult {
    /// Its result: the children's outputs, or the ResultWriter's answer.
    Succeeded(Payload),
    /// The threshold was exceeded, or reading or writing failed.
    Failed(Failure),
    /// It was stopped.
    Aborted,
}

/// How far a task had come when it failed; decides the event's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `…ScheduleFailed`.
    Schedule,
    /// `…StartFailed`.
    Start,
    /// `TaskSubmitFailed`.
    Submit,
    /// `…Failed`.
    Run,
}

/// What became of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It moved the execution.
    Accepted,
    /// It did not, and left no event.
    Ignored(Ignored),
}

/// Why an input was ignored; `api` turns it into AWS's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// No such task, or a wrong nonce: InvalidToken.
    TaskUnknown,
    /// The task has ended or timed out: TaskTimedOut.
    TaskClosed,
    /// The execution has ended.
    ExecutionClosed,
    /// Seen before.
    Duplicate,
    /// Overtaken: a timer that was moved, a report for something that is over.
    Stale,
    /// RedriveExecution cannot be done, with AWS's reason.
    NotRedrivable(&'static str),
}
