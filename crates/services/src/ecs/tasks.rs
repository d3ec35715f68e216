//! DescribeTasks, ListTasks, StopTask.

use super::api::{Call, invalid, no_cluster, page};
use super::catalog::TaskCell;
use super::task::{Status, Task};
use crate::wire::ServiceError;
use serde_json::{Value, json};
use std::sync::Arc;

const DESCRIBED_MAX: usize = 100;

pub(super) fn describe(call: &Call<'_>) -> Result<Value, ServiceError> {
    let cluster = call.cluster();
    if call.inner.catalog.cluster(&call.context.account, &call.context.region, &cluster)?.is_none() {
        return Err(no_cluster());
    }
    let named = call.list("tasks");
    if named.is_empty() {
        return Err(invalid("Tasks cannot be empty."));
    }
    if named.len() > DESCRIBED_MAX {
        return Err(invalid("Tasks can have at most 100 items."));
    }
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for named in named {
        match find(call, &cluster, &named) {
            Some(cell) => tasks.push(cell.get().shape(call.includes("TAGS"))),
            None => failures.push(json!({"arn": arn(call, &cluster, &named), "reason": "MISSING"})),
        }
    }
    Ok(json!({"tasks": tasks, "failures": failures}))
}

pub(super) fn list(call: &Call<'_>) -> Result<Value, ServiceError> {
    let cluster = call.cluster();
    if call.inner.catalog.cluster(&call.context.account, &call.context.region, &cluster)?.is_none() {
        return Err(no_cluster());
    }
    let wants_stopped = call.text("desiredStatus") == Some("STOPPED");
    let matches = |task: &Task| {
        let stopping = task.stop_requested || task.status >= Status::Deprovisioning;
        task.account == call.context.account
            && task.region == call.context.region
            && task.cluster == cluster
            && stopping == wants_stopped
            && call.text("family").is_none_or(|family| task.definition["family"] == family)
            && call.text("startedBy").is_none_or(|started_by| task.started_by.as_deref() == Some(started_by))
            && call.text("launchType").is_none_or(|launch_type| task.launch_type == launch_type)
    };
    let tasks = call.inner.catalog.tasks().into_iter().map(|cell| cell.get());
    let arns = tasks.filter(|task| matches(task)).map(|task| task.arn.clone()).collect();
    let (arns, next) = page(call, arns);
    Ok(json!({"taskArns": arns, "nextToken": next}))
}

/// The wish to stop is on disk before the answer; the task's driver, or that of the next server, carries it out.
pub(super) async fn stop(call: &Call<'_>) -> Result<Value, ServiceError> {
    let cluster = call.cluster();
    if call.inner.catalog.cluster(&call.context.account, &call.context.region, &cluster)?.is_none() {
        return Err(no_cluster());
    }
    let named = call.text("task").ok_or_else(|| invalid("Task can not be blank."))?;
    let cell = find(call, &cluster, named).ok_or_else(|| invalid("The referenced task was not found."))?;
    let reason = call.text("reason").unwrap_or("Task stopped by user").to_owned();
    let now = call.inner.environment.now().as_millisecond();
    let change = |task: &mut Task| {
        // A second stop, or one that comes while the task is ending by itself, changes nothing.
        if !task.stop_requested && task.status < Status::Deprovisioning {
            task.stop_requested = true;
            task.stop_code = Some("UserInitiated".to_owned());
            task.stopped_reason = Some(reason);
            task.stopping_ms = Some(now);
        }
    };
    let task = call.inner.catalog.change(&cell, change).await?;
    Ok(json!({"task": task.shape(true)}))
}

pub(super) fn find(call: &Call<'_>, cluster: &str, named: &str) -> Option<Arc<TaskCell>> {
    let cell = call.inner.catalog.task(&arn(call, cluster, named))?;
    let task = cell.get();
    (task.account == call.context.account && task.cluster == cluster).then_some(cell)
}

fn arn(call: &Call<'_>, cluster: &str, named: &str) -> String {
    if named.starts_with("arn:") {
        named.to_owned()
    } else {
        call.context.arn("ecs", &format!("task/{cluster}/{named}"))
    }
}
