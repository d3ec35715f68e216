//! Task: work that the world does.
//!
//! Scheduling writes all that the world needs into one event; what comes back is checked in `crate::step`. Timeouts of
//! services and Lambda functions count from the same turn, those of activities from the hand-out.

use std::sync::Arc;
use std::time::Duration;

use asl::dynamic;
use asl::entropy::Entropy;
use asl::payload::Payload;
use asl::program::{Dynamic, Pattern, Resource, ResourceKind, Task};

use crate::context::Moment;
use crate::data_flow::Sight;
use crate::event::{EventKind, TaskFamily, TaskLabel, TaskScheduled};
use crate::fault::Fault;
use crate::frame::TaskWork;
use crate::ids::TaskId;
use crate::input::Stage;
use crate::retry_catch::HEARTBEAT_TIMEOUT;
use crate::start::Failure;
use crate::step::PlannedTask;
use crate::turn::{Site, Turn};

pub(crate) fn begin<'a>(turn: &mut Turn<'a>, site: Site<'a>, task: &'a Task) -> Result<(), Fault> {
    let nonce = has_token(&task.resource).then(|| turn.entropy.next_u64());
    let moment = Moment { nonce, item: None };
    let effective = turn.effective_input(site)?;
    let parameters = turn.arguments(site, &effective, moment)?;
    turn.check_size(&parameters, &site.state.name)?;
    let sight = Sight { moment, ..Sight::of(&effective) };
    let mut seconds = |dynamic: &'a Option<Dynamic<u64>>, field: &'static str| match dynamic {
        None => Ok(None),
        Some(dynamic) => turn
            .look(site, dynamic, sight, |view, entropy| dynamic::integer(dynamic, field, view, entropy))
            .map(|seconds| Some(Duration::from_secs(seconds))),
    };
    let timeout = seconds(&task.timeout_seconds, "TimeoutSeconds")?;
    let heartbeat = seconds(&task.heartbeat_seconds, "HeartbeatSeconds")?;
    let credentials_role = match &task.credentials {
        None => None,
        Some(template) => {
            let credentials = turn.template(site, template, sight)?;
            credentials.value().get("RoleArn").and_then(|role| role.as_str()).map(Arc::from)
        }
    };
    let planned = PlannedTask {
        start: turn.start(),
        state: &site.state.name,
        resource: &task.resource,
        parameters: &parameters,
    };
    turn.preconditions.check(&planned).map_err(Fault::Runtime)?;
    let label = label_of(&task.resource);
    let scheduled = TaskScheduled {
        label: label.clone(),
        resource: task.resource.clone(),
        region: Arc::clone(&turn.start().region),
        parameters,
        timeout,
        heartbeat,
        credentials_role,
        nonce,
    };
    turn.emit(site.frame, EventKind::TaskScheduled { task: Box::new(scheduled) });
    if label.family() != TaskFamily::Activity {
        let task = TaskId(turn.execution.seq());
        turn.emit(site.frame, EventKind::TaskStarted { task, label, worker_name: None });
    }
    Ok(())
}

/// The result came.
pub(crate) fn succeeded<'a>(
    turn: &mut Turn<'a>,
    site: Site<'a>,
    work: &TaskWork,
    output: Payload,
) -> Result<(), Fault> {
    let what = match &work.label {
        TaskLabel::Service { resource_type, .. } => resource_type,
        TaskLabel::Lambda | TaskLabel::Activity => &work.resource.arn,
    };
    if let Err(Fault::Bare(failure)) = turn.check_size(&output, what) {
        failed(turn, site, work, failure, Stage::Run);
        return Ok(());
    }
    let kind =
        EventKind::TaskSucceeded { task: work.task, label: work.label.clone(), output: output.clone() };
    turn.emit(site.frame, kind);
    turn.finish(site, output)
}

/// The task failed.
pub(crate) fn failed<'a>(
    turn: &mut Turn<'a>,
    site: Site<'a>,
    work: &TaskWork,
    failure: Failure,
    stage: Stage,
) {
    let label = work.label.clone();
    let kind = EventKind::TaskFailed { task: work.task, label, failure: failure.clone(), stage };
    turn.emit(site.frame, kind);
    turn.fail(site.frame, failure, None);
}

/// `TimeoutSeconds` or `HeartbeatSeconds` passed. AWS's event says `States.Timeout` for both.
pub(crate) fn timed_out<'a>(turn: &mut Turn<'a>, site: Site<'a>, work: &TaskWork, heartbeat: bool) {
    let failure = Failure::named("States.Timeout");
    let kind =
        EventKind::TaskTimedOut { task: work.task, label: work.label.clone(), failure: failure.clone() };
    turn.emit(site.frame, kind);
    turn.fail(site.frame, failure, heartbeat.then_some(HEARTBEAT_TIMEOUT));
}

/// Whether somebody is given a token to answer with.
fn has_token(resource: &Resource) -> bool {
    match &resource.kind {
        ResourceKind::Activity => true,
        ResourceKind::Lambda => false,
        ResourceKind::Service { pattern, .. } => match pattern {
            Pattern::RequestResponse => false,
            Pattern::Sync | Pattern::Sync2 | Pattern::WaitForTaskToken => true,
        },
    }
}

fn label_of(resource: &Resource) -> TaskLabel {
    match &resource.kind {
        ResourceKind::Lambda => TaskLabel::Lambda,
        ResourceKind::Activity => TaskLabel::Activity,
        ResourceKind::Service { service, action, pattern } => TaskLabel::Service {
            resource_type: Arc::clone(service),
            resource: match pattern {
                Pattern::RequestResponse => Arc::clone(action),
                pattern => format!("{action}{}", pattern.suffix()).into(),
            },
        },
    }
}
