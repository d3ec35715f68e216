//! Tasks: the runtime's calls carried out by the integrations.

use std::sync::Arc;
use std::time::Duration;

use asl::payload::Payload;
use asl::program::{Pattern, Resource, ResourceKind};
use engine::map_run::{Item, ReadItems, WriteResults};
use engine::{Failure, Start};
use integrations::items::{self, ChildPages, ChildRecord, ItemReaders, Place};
use integrations::mock::{self, FieldValidation};
use integrations::{
    Call, HttpTrace, Identity, Integrations, Observation, Report, Secrets, Stage, TransportError,
};
use runtime::{
    BoxFuture, CancelReport, Dispatch, ItemsReport, MapRunChild, MapRunChildren, Mocks, TaskCall, TaskReport,
    TaskTrace,
};
use serde_json::{Value, json};

use crate::mocks::{MockFile, Response};

use super::endpoints::ANSWER_WAIT;

/// A job is looked at again after this time, doubled up to the bound.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(1);

/// Tasks over [`Integrations`].
pub(super) struct Tasks {
    integrations: Integrations,
    readers: ItemReaders,
    mocks: Option<Arc<MockFile>>,
}

/// Marks the handle of a mocked job or callback; beside it stands the result. No service has such a handle.
const MOCKED: &str = "MockedResponse";

impl Tasks {
    pub fn new(integrations: Integrations, mocks: Option<Arc<MockFile>>) -> Tasks {
        let readers = ItemReaders::new(Arc::clone(integrations.transport()));
        Tasks { integrations, readers, mocks }
    }

    /// The answer to a call of a test case, unless its state calls the service.
    fn mocked(&self, call: &TaskCall) -> Option<TaskReport> {
        let test_case = call.test_case.as_ref()?;
        let response = match &self.mocks {
            Some(mocks) => mocks.response(test_case),
            None => Err(format!(
                "The test case {} cannot go on: the server runs without a mock configuration.",
                test_case.test_case
            )),
        };
        let failed = |failure| TaskReport::Failed { failure, stage: engine::Stage::Run };
        Some(match response {
            Ok(None) => return None,
            Ok(Some(Response::Return(result))) => returned(&call.resource, result),
            Ok(Some(Response::Throw { error, cause })) => {
                failed(Failure { error: Some(error.into()), cause: cause.map(Arc::from) })
            }
            Err(cause) => failed(Failure::runtime(cause)),
        })
    }

    async fn watch(&self, call: Call, handle: Payload) -> TaskReport {
        let mut pause = LOOK_AGAIN;
        loop {
            match self.integrations.observe(&call, handle.value()).await {
                Observation::Ended(report) => return task_report(report),
                // Jobs are polled, as AWS polls them: not every service can tell when one has ended.
                Observation::Running => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(LOOK_AGAIN_MAX);
        }
    }
}

/// A mocked result. A job, and a callback, is submitted first, as its history shows on AWS.
fn returned(resource: &Resource, result: Value) -> TaskReport {
    let waits = match &resource.kind {
        ResourceKind::Lambda | ResourceKind::Activity => false,
        ResourceKind::Service { pattern, .. } => match pattern {
            Pattern::RequestResponse => false,
            Pattern::Sync | Pattern::Sync2 | Pattern::WaitForTaskToken => true,
        },
    };
    let output = Payload::from_value(result.clone());
    match waits {
        true => TaskReport::Submitted { output, handle: Payload::from_value(json!({ MOCKED: result })) },
        false => TaskReport::Succeeded { output },
    }
}

fn call_of(call: TaskCall) -> Call {
    Call {
        identity: Identity {
            role_arn: call.role_arn,
            session_name: call.execution_name,
            account: call.account,
            region: call.region,
            invocation_id: call.invocation_id,
        },
        execution_arn: call.execution_arn,
        state_machine_arn: call.state_machine_arn,
        resource: call.resource,
        arguments: call.arguments,
    }
}

/// Carries a call out; an HTTP Task ends after AWS's time for it, tokens and second attempts included.
async fn in_time<T>(call: &Call, run: impl Future<Output = T>, late: impl FnOnce(TaskReport) -> T) -> T {
    let ResourceKind::Service { service, .. } = &call.resource.kind else { return run.await };
    if &**service != "http" {
        return run.await;
    }
    match tokio::time::timeout(ANSWER_WAIT, run).await {
        Ok(report) => report,
        Err(_) => {
            let cause = TransportError::TimedOut.to_string();
            let failure = Failure::new("States.Http.Socket", cause);
            late(TaskReport::Failed { failure, stage: engine::Stage::Run })
        }
    }
}

/// On whose behalf the objects of a Map Run are read and written.
fn identity_of(parent: &Start, map_run_arn: &Arc<str>) -> Identity {
    Identity {
        role_arn: Arc::clone(&parent.role_arn),
        session_name: Arc::clone(&parent.name),
        account: Arc::clone(&parent.account),
        region: Arc::clone(&parent.region),
        invocation_id: Arc::clone(map_run_arn),
    }
}

fn child_record(child: MapRunChild) -> ChildRecord {
    ChildRecord {
        execution_arn: child.item.execution_arn,
        status: child.item.status.as_str().into(),
        input: child.input,
        output: child.item.output,
        times: match (&child.row, child.item.start) {
            (Some(row), _) => Some((row.start, row.stop)),
            (None, start) => start.map(|start| (start, child.item.stop)),
        },
        redrive_count: child.row.map_or(child.item.redrive_count, |row| row.redrive_count),
    }
}

/// The children of a Map Run as the ResultWriter reads them.
struct Children(MapRunChildren);

impl ChildPages for Children {
    fn next_page(&mut self) -> BoxFuture<'_, Result<Vec<ChildRecord>, String>> {
        Box::pin(async move {
            let page = self.0.next_page().await.map_err(|error| error.to_string())?;
            Ok(page.into_iter().map(child_record).collect())
        })
    }
}

fn failure_of(failure: integrations::Failure) -> Failure {
    Failure { error: failure.error.map(Arc::from), cause: failure.cause.map(Arc::from) }
}

fn task_report(report: Report) -> TaskReport {
    match report {
        Report::Succeeded(output) => TaskReport::Succeeded { output: Payload::from_value(output) },
        Report::Submitted { output, handle } => {
            TaskReport::Submitted { output: Payload::from_value(output), handle: Payload::from_value(handle) }
        }
        Report::Failed(failure, stage) => TaskReport::Failed {
            failure: failure_of(failure),
            stage: match stage {
                Stage::Start => engine::Stage::Start,
                Stage::Submit => engine::Stage::Submit,
                Stage::Run => engine::Stage::Run,
            },
        },
    }
}

/// A mocked result against the model of its resource.
pub(super) fn check_mock(
    resource: &Resource,
    result: &Value,
    mode: api::MockValidation,
) -> Result<(), String> {
    let mode = match mode {
        api::MockValidation::Strict => FieldValidation::Strict,
        api::MockValidation::Present => FieldValidation::Present,
    };
    mock::check(resource, result, mode)
}

impl Dispatch for Tasks {
    fn mocks(&self) -> Option<&dyn Mocks> {
        self.mocks.as_deref().map(|mocks| mocks as &dyn Mocks)
    }

    fn check(&self, resource: &Resource, arguments: &Payload) -> Result<(), String> {
        self.integrations.check(resource, arguments)
    }

    fn read_items(&self, parent: Arc<Start>, read: ReadItems) -> BoxFuture<'_, Result<ItemsReport, Failure>> {
        Box::pin(async move {
            let identity = identity_of(&parent, &read.map_run_arn);
            let place = Place {
                next_item: read.cursor.next_item,
                position: read.cursor.position.as_ref().map(|position| position.value().clone()),
                version: read.cursor.version,
            };
            let read = self.readers.read(&identity, &read.map_run_arn, read.reader.value(), &place).await;
            let page = read.map_err(failure_of)?;
            let position = Some(Payload::from_value(page.position));
            let item = |items::Item { value, source }| Item { value, source };
            let items = page.items.into_iter().map(item).collect();
            Ok(ItemsReport { items, position, version: page.version, end: page.end })
        })
    }

    fn write_results(
        &self,
        parent: Arc<Start>,
        write: WriteResults,
        children: MapRunChildren,
    ) -> BoxFuture<'_, Result<Payload, Failure>> {
        Box::pin(async move {
            let identity = identity_of(&parent, &write.map_run_arn);
            let mut children = Children(children);
            let bytes_max = usize::try_from(parent.limits.payload_max).unwrap_or(0);
            let writer = write.writer.unwrap_or_default();
            let transport = self.integrations.transport();
            let (arn, writer) = (&write.map_run_arn, writer.value());
            let results = items::results(transport, &identity, arn, writer, &mut children, bytes_max).await;
            results.map(Payload::from_value).map_err(failure_of)
        })
    }

    fn run(&self, call: TaskCall) -> BoxFuture<'_, TaskReport> {
        Box::pin(async move {
            if let Some(report) = self.mocked(&call) {
                return report;
            }
            let call = call_of(call);
            in_time(&call, async { task_report(self.integrations.run(&call).await) }, |report| report).await
        })
    }

    fn run_traced(
        &self,
        call: TaskCall,
        secrets: runtime::Secrets,
    ) -> BoxFuture<'_, (TaskReport, Option<TaskTrace>)> {
        let secrets = match secrets {
            runtime::Secrets::Shown => Secrets::Shown,
            runtime::Secrets::Omitted => Secrets::Omitted,
        };
        Box::pin(async move {
            let call = call_of(call);
            let run = async {
                let (report, trace) = self.integrations.run_traced(&call, secrets).await;
                let trace = trace.map(|HttpTrace { request, response }| TaskTrace { request, response });
                (task_report(report), trace)
            };
            in_time(&call, run, |report| (report, None)).await
        })
    }

    fn observe(&self, call: TaskCall, handle: Payload) -> BoxFuture<'_, TaskReport> {
        Box::pin(async move {
            match handle.value().get(MOCKED) {
                Some(result) => TaskReport::Succeeded { output: Payload::from_value(result.clone()) },
                None => self.watch(call_of(call), handle).await,
            }
        })
    }

    fn cancel(&self, call: TaskCall, handle: Option<Payload>) -> BoxFuture<'_, CancelReport> {
        Box::pin(async move {
            let handle = handle.as_ref().map(Payload::value).filter(|handle| !handle.is_null());
            if handle.is_some_and(|handle| handle.get(MOCKED).is_some()) {
                return CancelReport::Done;
            }
            self.integrations.cancel(&call_of(call), handle).await;
            CancelReport::Done
        })
    }
}
