//! RunTask: checks in AWS's order, then tasks that are on disk before the answer.
//!
//! The same invocation id or client token gives the same tasks again.

use super::api::{Call, client, invalid, no_cluster};
use super::catalog::{cluster, write_task};
use super::definitions;
use super::task::{Container, Status, Task};
use super::{Inner, life};
use crate::storage::{recall, remember};
use crate::wire::{Access, CallContext, ServiceError};
use serde_json::{Value, json};

const COUNT_MAX: u64 = 10;
/// AWS's bound on `overrides`.
const OVERRIDES_BYTES_MAX: usize = 8192;
/// What a container definition may not ask for, because it would not get it.
const UNSUPPORTED: [&str; 6] =
    ["secrets", "environmentFiles", "dependsOn", "volumesFrom", "mountPoints", "repositoryCredentials"];

/// The permissions: the definition, and the roles that the task is given.
pub(super) fn access(
    inner: &Inner,
    context: &CallContext,
    input: &Value,
    action: String,
    cluster_arn: &str,
) -> Vec<Access> {
    let named = input.get("taskDefinition").and_then(Value::as_str).unwrap_or_default();
    let (family, revision) = definitions::parse(named);
    let stored =
        inner.catalog.definition(&context.account, &context.region, &family, revision).ok().flatten();
    let definition = stored.map(|mut stored| stored["definition"].take()).unwrap_or_default();
    let arn = definition["taskDefinitionArn"].as_str().unwrap_or(named).to_owned();
    let run = Access::new(action, arn).with_condition("ecs:cluster", cluster_arn);
    let roles = ["taskRoleArn", "executionRoleArn"].into_iter().filter_map(|name| {
        let overridden = input.get("overrides").and_then(|overrides| overrides.get(name));
        overridden.or(definition.get(name)).and_then(Value::as_str)
    });
    let roles = roles.map(|role| Access::pass_role(role, "ecs-tasks.amazonaws.com"));
    std::iter::once(run).chain(roles).collect()
}

pub(super) async fn run(call: &Call<'_>) -> Result<Value, ServiceError> {
    let (account, region) = call.place();
    let cluster_name = call.cluster();
    let count = call.input.get("count").and_then(Value::as_u64).unwrap_or(1);
    if !(1..=COUNT_MAX).contains(&count) {
        return Err(invalid("count should be between 1 and 10."));
    }
    let named = call.text("taskDefinition").ok_or_else(|| client("TaskDefinition can not be blank."))?;
    if call.inner.catalog.cluster(&account, &region, &cluster_name)?.is_none() {
        return Err(no_cluster());
    }
    let definition = definitions::find(call, named)?
        .map(|stored| stored["definition"].clone())
        .ok_or_else(|| client("TaskDefinition not found."))?;
    check(call, &definition)?;
    let tasks = build(call, &definition, &cluster_name, count)?;
    let now = call.inner.environment.now();
    let token =
        call.text("clientToken").map(|token| format!("{account}/{region}/{cluster_name} token {token}"));
    let invocation = call.context.invocation_id.as_ref().map(|id| format!("{account} invocation {id}"));
    let request = request_without_token(call.input);
    let written = call.inner.catalog.database.write(move |connection| -> Result<Result<Vec<Task>, Value>, ServiceError> {
        if let Some(known) = recall(connection, invocation.as_deref(), now)? {
            return Ok(Err(serde_json::from_slice(&known).map_err(ServiceError::internal)?));
        }
        if let Some(known) = recall(connection, token.as_deref(), now)? {
            let known: Value = serde_json::from_slice(&known).map_err(ServiceError::internal)?;
            return if known["request"] == request { Ok(Err(known["answer"].clone())) } else { Err(conflict(&known)) };
        }
        if cluster(connection, &account, &region, &cluster_name)?.is_none() {
            return Err(no_cluster());
        }
        let answer = json!({"tasks": tasks.iter().map(|task| task.shape(true)).collect::<Vec<_>>(), "failures": []});
        for task in &tasks {
            write_task(connection, task)?;
        }
        remember(connection, invocation.as_deref(), now, answer.to_string().as_bytes())?;
        let kept = json!({"request": request, "answer": answer}).to_string();
        remember(connection, token.as_deref(), now, kept.as_bytes())?;
        Ok(Ok(tasks))
    });
    match written.await? {
        Ok(tasks) => {
            let shapes: Vec<Value> = tasks.iter().map(|task| task.shape(true)).collect();
            for cell in call.inner.catalog.show(tasks) {
                life::start(call.inner, cell);
            }
            Ok(json!({"tasks": shapes, "failures": []}))
        }
        Err(known) => Ok(known),
    }
}

fn request_without_token(input: &Value) -> Value {
    let mut request = input.clone();
    request.as_object_mut().and_then(|members| members.shift_remove("clientToken"));
    request
}

fn conflict(known: &Value) -> ServiceError {
    let tasks = known["answer"]["tasks"].as_array().into_iter().flatten();
    let arns: Vec<Value> = tasks.map(|task| task["taskArn"].clone()).collect();
    let message = "The RunTask request could not be processed because of conflicts. The provided clientToken is already \
                   in use with a different RunTask request. The resourceIds are the existing task ARNs which are already \
                   associated with the clientToken.";
    ServiceError::client("ConflictException", message).with_field("resourceIds", arns)
}

fn check(call: &Call<'_>, definition: &Value) -> Result<(), ServiceError> {
    if definition["status"] != "ACTIVE" {
        return Err(invalid("TaskDefinition is inactive"));
    }
    let awsvpc = definition["networkMode"] == "awsvpc";
    let network = call.input.pointer("/networkConfiguration/awsvpcConfiguration");
    if awsvpc && network.is_none() {
        return Err(invalid(
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        ));
    }
    if !awsvpc && network.is_some() {
        return Err(invalid(
            "Network Configuration is not valid for the given networkMode of this task definition.",
        ));
    }
    if awsvpc && network.and_then(|network| network["subnets"].as_array()).is_none_or(Vec::is_empty) {
        return Err(invalid("subnets can not be empty."));
    }
    if launch_type(call) == "FARGATE" {
        let fits = definition["compatibilities"]
            .as_array()
            .is_some_and(|list| list.iter().any(|item| item == "FARGATE"));
        if !fits {
            return Err(invalid("Task definition does not support launch_type FARGATE."));
        }
    }
    let overrides = call.input.get("overrides").cloned().unwrap_or_default();
    if overrides.to_string().len() > OVERRIDES_BYTES_MAX {
        return Err(invalid("Container Overrides length must be at most 8192"));
    }
    let containers = definition["containerDefinitions"].as_array().cloned().unwrap_or_default();
    for container in overrides["containerOverrides"].as_array().into_iter().flatten() {
        let name = container["name"].as_str().unwrap_or_default();
        if !containers.iter().any(|defined| defined["name"] == name) {
            return Err(invalid(format!(
                "Override for container named {name} is not a container in the TaskDefinition."
            )));
        }
    }
    for container in containers.iter().chain(overrides["containerOverrides"].as_array().into_iter().flatten())
    {
        let named =
            UNSUPPORTED.iter().find(|name| container[**name].as_array().is_some_and(|list| !list.is_empty()));
        if let Some(name) = named {
            let container = container["name"].as_str().unwrap_or_default();
            return Err(invalid(format!(
                "{name} of container '{container}' is not supported by this server."
            )));
        }
    }
    Ok(())
}

fn launch_type(call: &Call<'_>) -> String {
    let from_strategy = call.input["capacityProviderStrategy"][0]["capacityProvider"].as_str();
    let is_fargate = from_strategy.is_some_and(|provider| provider.starts_with("FARGATE"));
    let default = if is_fargate { "FARGATE" } else { "EC2" };
    call.text("launchType").unwrap_or(default).to_owned()
}

fn build(call: &Call<'_>, definition: &Value, cluster: &str, count: u64) -> Result<Vec<Task>, ServiceError> {
    let (account, region) = call.place();
    let overrides = call.input.get("overrides").cloned().unwrap_or_else(|| json!({}));
    let text = |name: &str| {
        let value = overrides.get(name).or(definition.get(name))?;
        value.as_str().map(str::to_owned)
    };
    let mut tags = call.input["tags"].as_array().cloned().unwrap_or_default();
    if call.text("propagateTags") == Some("TASK_DEFINITION") {
        let arn = definition["taskDefinitionArn"].as_str().unwrap_or_default();
        let stored = definitions::find(call, arn)?.unwrap_or_default();
        tags.extend(stored["tags"].as_array().cloned().unwrap_or_default());
    }
    let family = definition["family"].as_str().unwrap_or_default();
    let now = call.inner.environment.now().as_millisecond();
    let tasks = (0..count).map(|_| {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let containers = definition["containerDefinitions"].as_array().into_iter().flatten();
        Task {
            arn: format!("arn:aws:ecs:{region}:{account}:task/{cluster}/{id}"),
            account: account.clone(),
            region: region.clone(),
            cluster: cluster.to_owned(),
            definition_arn: definition["taskDefinitionArn"].as_str().unwrap_or_default().to_owned(),
            definition: definition.clone(),
            overrides: shown_overrides(&overrides),
            launch_type: launch_type(call),
            group: call.text("group").map_or_else(|| format!("family:{family}"), str::to_owned),
            started_by: call.text("startedBy").map(str::to_owned),
            tags: tags.clone(),
            cpu: text("cpu"),
            memory: text("memory"),
            task_role: text("taskRoleArn"),
            execution_role: text("executionRoleArn"),
            containers: containers
                .map(|container| Container {
                    name: container["name"].as_str().unwrap_or_default().to_owned(),
                    arn: format!(
                        "arn:aws:ecs:{region}:{account}:container/{cluster}/{id}/{}",
                        uuid::Uuid::new_v4()
                    ),
                    image: container["image"].as_str().unwrap_or_default().to_owned(),
                    essential: container["essential"] != false,
                    runtime_id: None,
                    status: Status::Pending,
                    exit_code: None,
                    reason: None,
                })
                .collect(),
            id,
            status: Status::Provisioning,
            stop_requested: false,
            stop_code: None,
            stopped_reason: None,
            mode: None,
            mode_reason: None,
            created_ms: now,
            started_ms: None,
            stopping_ms: None,
            invocation_id: call.context.invocation_id.clone(),
            execution_stopped_ms: None,
            stopped_ms: None,
            version: 1,
        }
    });
    Ok(tasks.collect())
}

/// Overrides as DescribeTasks shows them: the two lists are always there.
fn shown_overrides(overrides: &Value) -> Value {
    let mut shown = json!({"containerOverrides": [], "inferenceAcceleratorOverrides": []});
    for (name, value) in overrides.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        shown[name.as_str()] = value.clone();
    }
    shown
}
