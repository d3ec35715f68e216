//! "Run a job" (`.sync`, `.sync:2`): what to watch after the start, when it is done, and how to stop it.
//!
//! Only jobs of services listed in [`SUPPORTED`] can be waited for; the catalog refuses others by name at create time.

use asl::program::{Pattern, ResourceKind};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::naming::from_native;
use crate::optimized::STARTED_BY;
use crate::task::{Call, Integrations, Plan, Report, Stage, attempt_uuid, pascal_keys, plan};

/// Services whose jobs can be waited for.
pub(crate) const SUPPORTED: [&str; 2] = ["ecs", "states"];

/// What a look at a job showed.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// Still running: look again later.
    Running,
    /// Ended.
    Ended(Report),
}

/// What observing and cancelling will need, from the answer to the start.
pub(crate) fn handle(service: &str, parameters: &Value, output: &Value) -> Result<Value, Failure> {
    match service {
        "ecs" => {
            let tasks: Vec<&Value> =
                output["Tasks"].as_array().into_iter().flatten().map(|task| &task["TaskArn"]).collect();
            if tasks.is_empty() {
                return Err(Failure::new("AmazonECS.Unknown", output.to_string()));
            }
            Ok(json!({ "cluster": parameters["cluster"], "tasks": tasks }))
        }
        _ => Ok(json!({ "executionArn": output["ExecutionArn"] })),
    }
}

pub(crate) async fn observe(integrations: &Integrations, call: &Call, handle: &Value) -> Observation {
    let ResourceKind::Service { service, pattern, .. } = &call.resource.kind else {
        return Observation::Running;
    };
    match &**service {
        "ecs" => observe_tasks(integrations, call, handle).await,
        _ => observe_execution(integrations, call, handle, *pattern).await,
    }
}

async fn observe_tasks(integrations: &Integrations, call: &Call, handle: &Value) -> Observation {
    let parameters = without_nulls(json!({ "cluster": handle["cluster"], "tasks": handle["tasks"] }));
    let described = match look(integrations, call, "describeTasks", &parameters).await {
        Ok(described) => described,
        Err(failure) => return unseen(failure),
    };
    let tasks = described["Tasks"].as_array().cloned().unwrap_or_default();
    if tasks.is_empty() {
        return failed(described.to_string());
    }
    if tasks.iter().any(|task| task["LastStatus"] != "STOPPED") {
        return Observation::Running;
    }
    // AWS answers with the one task, not with the list, when one was started.
    let failing = tasks.iter().find(|task| !succeeded(task));
    match failing {
        Some(task) => failed(task.to_string()),
        None => Observation::Ended(Report::Succeeded(tasks.into_iter().next().unwrap_or_default())),
    }
}

/// A task did its work when every container that ran ended with 0.
fn succeeded(task: &Value) -> bool {
    let containers = task["Containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    !containers.is_empty() && containers.iter().all(|container| container["ExitCode"].as_i64() == Some(0))
}

async fn observe_execution(
    integrations: &Integrations,
    call: &Call,
    handle: &Value,
    pattern: Pattern,
) -> Observation {
    let parameters = json!({ "executionArn": handle["executionArn"] });
    let described = match look(integrations, call, "describeExecution", &parameters).await {
        Ok(described) => described,
        Err(failure) => return unseen(failure),
    };
    let status = described["Status"].as_str().unwrap_or_default();
    if matches!(status, "RUNNING" | "PENDING_REDRIVE") {
        return Observation::Running;
    }
    let description = nested_description(&described, pattern);
    match status {
        "SUCCEEDED" => Observation::Ended(Report::Succeeded(description)),
        _ => failed(description.to_string()),
    }
}

/// The members that a nested execution's result shows (recorded); `.sync:2` has its input and output as JSON.
fn nested_description(described: &Value, pattern: Pattern) -> Value {
    const SHOWN: [&str; 12] = [
        "Cause",
        "Error",
        "ExecutionArn",
        "Input",
        "InputDetails",
        "Name",
        "Output",
        "OutputDetails",
        "StartDate",
        "StateMachineArn",
        "Status",
        "StopDate",
    ];
    let members = SHOWN.iter().filter_map(|name| {
        let value = described.get(*name)?;
        let parsed =
            value.as_str().filter(|_| pattern == Pattern::Sync2 && matches!(*name, "Input" | "Output"));
        let parsed = parsed.and_then(|text| serde_json::from_str(text).ok());
        Some((name.to_string(), parsed.unwrap_or_else(|| value.clone())))
    });
    pascal_keys(Value::Object(members.collect()))
}

/// One call about the job in Step Functions' spelling.
async fn look(
    integrations: &Integrations,
    call: &Call,
    action: &str,
    parameters: &Value,
) -> Result<Value, Failure> {
    let missing = || Failure::new("States.Runtime", format!("{action} is not in the service's model"));
    let plan = sibling(call, action).ok_or_else(missing)?;
    let (native, _) = integrations.exchange(call, &plan, parameters).await?;
    Ok(from_native(plan.operation.output().ok_or_else(missing)?, native))
}

/// A look that did not come through is repeated, unless the role may not look at all: that would be waiting for ever.
fn unseen(failure: Failure) -> Observation {
    let denied = failure.cause.as_deref().is_some_and(|cause| cause.contains("Error Code: AccessDenied"));
    if denied { Observation::Ended(Report::Failed(failure, Stage::Run)) } else { Observation::Running }
}

/// Another operation of the call's service.
fn sibling(call: &Call, action: &str) -> Option<Plan> {
    let ResourceKind::Service { service, action: started, .. } = &call.resource.kind else { return None };
    let started = plan(service, started)?;
    Some(Plan { operation: started.operation.service.action(action)?, ..started })
}

pub(crate) async fn cancel(integrations: &Integrations, call: &Call, handle: Option<&Value>) {
    let ResourceKind::Service { service, pattern, .. } = &call.resource.kind else { return };
    if !matches!(pattern, Pattern::Sync | Pattern::Sync2) || !SUPPORTED.contains(&&**service) {
        return;
    }
    let handle = match handle {
        Some(handle) => handle.clone(),
        None if &**service == "ecs" => find_tasks(integrations, call).await,
        None => find_execution(call),
    };
    if &**service != "ecs" {
        let parameters = json!({ "executionArn": handle["executionArn"] });
        // A best effort, as on AWS: the job may have ended, or the role may not stop it.
        let _ = look(integrations, call, "stopExecution", &parameters).await;
        return;
    }
    for task in handle["tasks"].as_array().into_iter().flatten() {
        let parameters =
            json!({ "cluster": handle["cluster"], "task": task, "reason": "The execution was stopped" });
        let _ = look(integrations, call, "stopTask", &without_nulls(parameters)).await;
    }
}

/// The nested execution that this attempt starts: by the name given, or by the one that the attempt's id makes.
fn find_execution(call: &Call) -> Value {
    let arguments = call.arguments.value();
    let made = attempt_uuid(&call.identity.invocation_id);
    let name = arguments["Name"].as_str().unwrap_or(&made);
    json!({ "executionArn": nested_execution_arn(arguments["StateMachineArn"].as_str().unwrap_or_default(), name) })
}

/// ARN of a machine's execution with this name; none for what is no machine.
pub(crate) fn nested_execution_arn(machine: &str, name: &str) -> Option<String> {
    let (head, tail) = machine.split_once(":stateMachine:")?;
    let machine = tail.split(':').next()?;
    Some(format!("{head}:execution:{machine}:{name}"))
}

/// Running tasks that this attempt started: embedded ECS shows the id of the invocation among a task's attributes.
async fn find_tasks(integrations: &Integrations, call: &Call) -> Value {
    let cluster = &call.arguments.value()["Cluster"];
    let parameters = without_nulls(json!({ "cluster": cluster, "startedBy": STARTED_BY }));
    let listed = look(integrations, call, "listTasks", &parameters).await.unwrap_or_default();
    let parameters = without_nulls(json!({ "cluster": cluster, "tasks": listed["TaskArns"] }));
    let described = look(integrations, call, "describeTasks", &parameters).await.unwrap_or_default();
    let ours = |task: &&Value| {
        task["Attributes"].as_array().into_iter().flatten().any(|attribute| {
            attribute["Name"] == "passo.invocation-id" && attribute["Value"] == *call.identity.invocation_id
        })
    };
    let tasks = described["Tasks"].as_array().into_iter().flatten().filter(ours);
    let tasks: Vec<&Value> = tasks.map(|task| &task["TaskArn"]).collect();
    json!({ "cluster": cluster, "tasks": tasks })
}

fn without_nulls(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, member| !member.is_null());
    }
    value
}

fn failed(cause: String) -> Observation {
    Observation::Ended(Report::Failed(Failure::new("States.TaskFailed", cause), Stage::Run))
}
