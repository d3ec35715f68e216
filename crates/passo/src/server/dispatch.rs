//! Tasks: the runtime's calls carried out by the integrations.

use std::sync::Arc;
use std::time::Duration;

use asl::payload::Payload;
use asl::program::Resource;
use engine::Failure;
use integrations::mock::{self, FieldValidation};
use integrations::{Call, Identity, Integrations, Observation, Report, Stage};
use runtime::{BoxFuture, CancelReport, Dispatch, TaskCall, TaskReport};
use serde_json::Value;

/// A job is looked at again after this time, doubled up to the bound.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(1);

/// Tasks over [`Integrations`].
pub(super) struct Tasks {
    integrations: Integrations,
}

impl Tasks {
    pub fn new(integrations: Integrations) -> Tasks {
        Tasks { integrations }
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

fn task_report(report: Report) -> TaskReport {
    match report {
        Report::Succeeded(output) => TaskReport::Succeeded { output: Payload::from_value(output) },
        Report::Submitted { output, handle } => {
            TaskReport::Submitted { output: Payload::from_value(output), handle: Payload::from_value(handle) }
        }
        Report::Failed(failure, stage) => TaskReport::Failed {
            failure: Failure { error: failure.error.map(Arc::from), cause: failure.cause.map(Arc::from) },
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
    fn check(&self, resource: &Resource, arguments: &Payload) -> Result<(), String> {
        self.integrations.check(resource, arguments)
    }

    fn run(&self, call: TaskCall) -> BoxFuture<'_, TaskReport> {
        Box::pin(async move { task_report(self.integrations.run(&call_of(call)).await) })
    }

    fn observe(&self, call: TaskCall, handle: Payload) -> BoxFuture<'_, TaskReport> {
        Box::pin(self.watch(call_of(call), handle))
    }

    fn cancel(&self, call: TaskCall, handle: Option<Payload>) -> BoxFuture<'_, CancelReport> {
        Box::pin(async move {
            let handle = handle.as_ref().map(Payload::value).filter(|handle| !handle.is_null());
            self.integrations.cancel(&call_of(call), handle).await;
            CancelReport::Done
        })
    }
}
