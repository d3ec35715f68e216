//! The port through which tasks leave: [`Dispatch`].
//!
//! Invariant: a call is made only after the commit that asked for it, and again after a crash under the same
//! [`TaskCall::invocation_id`], so the far side can recognise it. The port says what happened, never what follows from it:
//! retries by the definition, timeouts and histories are the core's.

use std::sync::Arc;

use asl::payload::Payload;
use asl::program::Resource;
use engine::map_run::{Item, ReadItems, WriteResults};
use engine::{Failure, Stage, Start, TaskId};
use serde_json::Value;
use store::{ExecutionRow, MapRunItem};

use crate::clock::BoxFuture;
use crate::mocks::{Mocks, TestCaseCall};
use crate::shell::map_runs::MapRunChildren;

/// One task to be done, with what the far side may need to know about who asks.
#[derive(Clone, Debug)]
pub struct TaskCall {
    /// The execution.
    pub execution_arn: Arc<str>,
    /// Its name.
    pub execution_name: Arc<str>,
    /// The machine, unqualified.
    pub state_machine_arn: Arc<str>,
    /// Role of the execution, or of the task's `Credentials`.
    pub role_arn: Arc<str>,
    /// Account of the execution.
    pub account: Arc<str>,
    /// Region of the execution.
    pub region: Arc<str>,
    /// The task within the execution.
    pub task: TaskId,
    /// The same at every delivery of this task: ARN, task, and the redrive's number if there was one.
    pub invocation_id: Arc<str>,
    /// What to call.
    pub resource: Resource,
    /// With what.
    pub arguments: Payload,
    /// Token of a `.waitForTaskToken` task.
    pub token: Option<Arc<str>>,
    /// `X-Amzn-Trace-Id` of the execution.
    pub trace_header: Option<Arc<str>>,
    /// Set by [`Dispatch::run`]'s caller in a test case of the mock configuration.
    pub test_case: Option<TestCaseCall>,
}

/// How a call ended.
#[derive(Clone, Debug)]
pub enum TaskReport {
    /// The task is done.
    Succeeded {
        /// Its result.
        output: Payload,
    },
    /// The job runs (`.sync`) or the token is on its way (`.waitForTaskToken`).
    Submitted {
        /// The answer of the service.
        output: Payload,
        /// What is needed to watch and to stop it; `null` where there is nothing to watch.
        handle: Payload,
    },
    /// The task failed.
    Failed {
        /// With which error.
        failure: Failure,
        /// How far it got.
        stage: Stage,
    },
}

/// What an HTTP Task sent and got, for who tests its state: objects with AWS's members.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskTrace {
    /// The request.
    pub request: Value,
    /// The answer, if there was one.
    pub response: Option<Value>,
}

/// Whether a trace shows what a connection adds to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// As it was sent.
    Shown,
    /// Without it.
    Omitted,
}

/// How a cancellation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelReport {
    /// Nothing of the task runs any more.
    Done,
    /// It may still run; try again later.
    Retry {
        /// Why, for the log.
        reason: String,
    },
}

/// Items of a Map Run, from a cursor on.
#[derive(Clone, Debug)]
pub struct ItemsReport {
    /// The items.
    pub items: Vec<Item>,
    /// Where to read on after them.
    pub position: Option<Payload>,
    /// Version of the object that was read.
    pub version: Option<Arc<str>>,
    /// Whether nothing follows.
    pub end: bool,
}

/// A child of a Map Run that ended.
#[derive(Clone, Debug)]
pub struct MapRunChild {
    /// How it ended.
    pub item: MapRunItem,
    /// Its row; an Express execution has none.
    pub row: Option<ExecutionRow>,
    /// Its input, where it is known still.
    pub input: Option<Payload>,
}

/// Does tasks. Implemented by the binary over crate `integrations`, and by scripts in tests.
///
/// A call takes as long as the task does; dropping its future abandons it. Activities are not seen here: workers fetch them.
pub trait Dispatch: Send + Sync + 'static {
    /// Why a task with these arguments cannot even be scheduled, in AWS's words; the state fails with `States.Runtime` then.
    /// Asked while a turn is stepped: answers at once and calls nobody.
    fn check(&self, resource: &Resource, arguments: &Payload) -> Result<(), String> {
        let _ = (resource, arguments);
        Ok(())
    }
    /// The mock configuration, if there is one.
    fn mocks(&self) -> Option<&dyn Mocks> {
        None
    }
    /// Reads items of a Map Run of this execution. Without an implementation the ItemReader fails.
    fn read_items(&self, parent: Arc<Start>, read: ReadItems) -> BoxFuture<'_, Result<ItemsReport, Failure>> {
        let _ = (parent, read);
        let failure =
            Failure::new("States.ItemReaderFailed", "Reading items from a service is not supported yet.");
        Box::pin(async move { Err(failure) })
    }
    /// Writes the results of a Map Run of this execution; the answer is the Map's result. Without an implementation the
    /// ResultWriter fails.
    fn write_results(
        &self,
        parent: Arc<Start>,
        write: WriteResults,
        children: MapRunChildren,
    ) -> BoxFuture<'_, Result<Payload, Failure>> {
        let _ = (parent, write, children);
        let failure =
            Failure::new("States.ResultWriterFailed", "Writing results to a service is not supported yet.");
        Box::pin(async move { Err(failure) })
    }
    /// Starts the task, and waits for its end unless the pattern says otherwise.
    fn run(&self, call: TaskCall) -> BoxFuture<'_, TaskReport>;
    /// As [`Dispatch::run`], and tells what an HTTP Task sent and got.
    fn run_traced(&self, call: TaskCall, secrets: Secrets) -> BoxFuture<'_, (TaskReport, Option<TaskTrace>)> {
        let _ = secrets;
        Box::pin(async move { (self.run(call).await, None) })
    }
    /// Waits for the end of a submitted `.sync` job. [`TaskReport::Submitted`] is not an answer.
    fn observe(&self, call: TaskCall, handle: Payload) -> BoxFuture<'_, TaskReport>;
    /// Stops what [`Dispatch::run`] began. Without a handle (crash between start and commit) the job is found by the
    /// invocation id, or there is none.
    fn cancel(&self, call: TaskCall, handle: Option<Payload>) -> BoxFuture<'_, CancelReport>;
}
