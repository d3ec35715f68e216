//! ECS: clusters and task definitions.

use serde_json::{Map, Value, json};

use super::tags::{TagChange, pairs, tag_map};
use super::{Context, Made};
use crate::client::{CallResult, json as call};
use crate::stack::StackResource;

async fn ecs(context: &Context<'_>, action: &str, body: Value) -> CallResult<Value> {
    call(context.client, "ecs", &format!("AmazonEC2ContainerServiceV20141113.{action}"), body).await
}

pub(super) async fn create_cluster(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "ClusterName", 255);
    let tags = pairs(&tag_map(properties), "key", "value");
    let answer = ecs(context, "CreateCluster", json!({ "clusterName": name, "tags": tags })).await?;
    Ok(Made::new(name, &[("Arn", answer["cluster"]["clusterArn"].clone())]))
}

pub(super) async fn update_cluster(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let (arn, tags) = (&current.attributes["Arn"], TagChange::of(current, properties));
    if !tags.gone.is_empty() {
        ecs(context, "UntagResource", json!({ "resourceArn": arn, "tagKeys": tags.gone })).await?;
    }
    if !tags.put.is_empty() {
        let body = json!({ "resourceArn": arn, "tags": pairs(&tags.put, "key", "value") });
        ecs(context, "TagResource", body).await?;
    }
    Ok(Made::same(current))
}

pub(super) async fn delete_cluster(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    ecs(context, "DeleteCluster", json!({ "cluster": resource.reference })).await.map(drop)
}

pub(super) async fn locate_cluster(context: &Context<'_>, name: &str) -> CallResult<Option<Made>> {
    let answer = ecs(context, "DescribeClusters", json!({ "clusters": [name] })).await?;
    let is_there = answer["clusters"][0]["status"] == "ACTIVE";
    Ok(is_there.then(|| Made::new(name, &[])))
}

/// The newest revision of the family.
pub(super) async fn locate_task_definition(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let family = context.name(properties, "Family", 255);
    let answer = ecs(context, "DescribeTaskDefinition", json!({ "taskDefinition": family })).await?;
    Ok(Made::new(answer["taskDefinition"]["taskDefinitionArn"].clone(), &[]))
}

pub(super) async fn register_task_definition(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let mut body = api_case(properties, "");
    body["family"] = context.name(properties, "Family", 255).into();
    let answer = ecs(context, "RegisterTaskDefinition", body).await?;
    let arn = answer["taskDefinition"]["taskDefinitionArn"].clone();
    Ok(Made::new(arn.clone(), &[("TaskDefinitionArn", arn)]))
}

pub(super) async fn deregister_task_definition(
    context: &Context<'_>,
    resource: &StackResource,
) -> CallResult<()> {
    ecs(context, "DeregisterTaskDefinition", json!({ "taskDefinition": resource.reference })).await.map(drop)
}

/// Members whose keys are the user's own and keep their case.
const USER_KEYED: [&str; 4] = ["Options", "DockerLabels", "DriverOpts", "Labels"];
/// Numbers that templates often hold as text; `Cpu` and `Memory` of the task itself are text in the API, too.
const NUMERIC: [&str; 8] = [
    "ContainerPort",
    "HostPort",
    "MemoryReservation",
    "StartTimeout",
    "StopTimeout",
    "HardLimit",
    "SoftLimit",
    "SizeInGiB",
];

/// CloudFormation's PascalCase → the API's camelCase.
fn api_case(value: &Value, parent: &str) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| {
                let own_keys = USER_KEYED.contains(&name.as_str());
                let member = if own_keys { member.clone() } else { api_case(member, name) };
                let mut letters = name.chars();
                let first = letters.next().map(|c| c.to_ascii_lowercase());
                (first.into_iter().chain(letters).collect::<String>(), member)
            })
            .collect::<Map<String, Value>>()
            .into(),
        Value::Array(items) => items.iter().map(|item| api_case(item, parent)).collect(),
        Value::String(text) if NUMERIC.contains(&parent) => {
            text.parse::<i64>().map_or_else(|_| value.clone(), Value::from)
        }
        // YAML reads `"256"` as text and `256` as a number; the API wants text at the task's level.
        Value::Number(number) if matches!(parent, "Cpu" | "Memory") => number.to_string().into(),
        other => other.clone(),
    }
}
