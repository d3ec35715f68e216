//! EventBridge: buses, and rules with their targets.

use serde_json::{Value, json};

use super::tags::{TagChange, pairs, tag_map};
use super::{Context, Made, document};
use crate::client::{CallError, CallResult, json as call};
use crate::stack::StackResource;

async fn events(context: &Context<'_>, action: &str, body: Value) -> CallResult<Value> {
    call(context.client, "events", &format!("AWSEvents.{action}"), body).await
}

pub(super) async fn create_bus(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "Name", 256);
    let tags = pairs(&tag_map(properties), "Key", "Value");
    let answer = events(context, "CreateEventBus", json!({ "Name": name, "Tags": tags })).await?;
    let attributes = [("Arn", answer["EventBusArn"].clone()), ("Name", name.as_str().into())];
    Ok(Made::new(name, &attributes))
}

async fn update_tags(context: &Context<'_>, current: &StackResource, properties: &Value) -> CallResult<()> {
    let (arn, tags) = (&current.attributes["Arn"], TagChange::of(current, properties));
    if !tags.gone.is_empty() {
        events(context, "UntagResource", json!({ "ResourceARN": arn, "TagKeys": tags.gone })).await?;
    }
    if !tags.put.is_empty() {
        let body = json!({ "ResourceARN": arn, "Tags": pairs(&tags.put, "Key", "Value") });
        events(context, "TagResource", body).await?;
    }
    Ok(())
}

pub(super) async fn update_bus(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    update_tags(context, current, properties).await?;
    Ok(Made::same(current))
}

pub(super) async fn delete_bus(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    events(context, "DeleteEventBus", json!({ "Name": resource.reference })).await.map(drop)
}

pub(super) async fn locate_bus(context: &Context<'_>, name: &str) -> CallResult<Made> {
    events(context, "DescribeEventBus", json!({ "Name": name })).await?;
    Ok(Made::new(name, &[]))
}

/// What the API takes of a connection's properties.
fn connection(name: &str, properties: &Value) -> Value {
    let mut body = json!({ "Name": name });
    for field in ["AuthParameters", "AuthorizationType", "Description"] {
        if let Some(value) = properties.get(field) {
            body[field] = value.clone();
        }
    }
    flags(&mut body);
    body
}

/// CloudFormation takes `"true"` for a boolean, the API does not.
fn flags(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(flag) = members.get_mut("IsValueSecret")
                && let Some(text) = flag.as_str()
            {
                *flag = text.eq_ignore_ascii_case("true").into();
            }
            members.values_mut().for_each(flags);
        }
        Value::Array(items) => items.iter_mut().for_each(flags),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

async fn made_connection(context: &Context<'_>, name: &str) -> CallResult<Made> {
    let found = events(context, "DescribeConnection", json!({ "Name": name })).await?;
    let (arn, secret) = (&found["ConnectionArn"], &found["SecretArn"]);
    // The policy is to outlive a connection that is made again under its name.
    let policy = arn.as_str().and_then(|arn| arn.rsplit_once('/')).map(|(stem, _)| format!("{stem}/*"));
    let attributes = [("Arn", arn.clone()), ("ArnForPolicy", policy.into()), ("SecretArn", secret.clone())];
    Ok(Made::new(name, &attributes))
}

pub(super) async fn create_connection(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "Name", 64);
    events(context, "CreateConnection", connection(&name, properties)).await?;
    made_connection(context, &name).await
}

pub(super) async fn update_connection(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let name = current.reference.as_str().unwrap_or_default();
    events(context, "UpdateConnection", connection(name, properties)).await?;
    made_connection(context, name).await
}

pub(super) async fn delete_connection(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    events(context, "DeleteConnection", json!({ "Name": resource.reference })).await.map(drop)
}

pub(super) async fn locate_connection(context: &Context<'_>, name: &str) -> CallResult<Made> {
    made_connection(context, name).await
}

/// Name and bus, as the API wants them in each call about a rule.
fn rule(context: &Context<'_>, properties: &Value, member: &str) -> Value {
    let mut rule = json!({ member: context.name(properties, "Name", 64) });
    if let Some(bus) = properties.get("EventBusName") {
        rule["EventBusName"] = bus.clone();
    }
    rule
}

fn targets(properties: &Value) -> Vec<Value> {
    properties["Targets"].as_array().cloned().unwrap_or_default()
}

/// Putting a rule again changes it.
pub(super) async fn put_rule(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let mut body = rule(context, properties, "Name");
    for field in ["ScheduleExpression", "State", "Description", "RoleArn"] {
        if let Some(value) = properties.get(field) {
            body[field] = value.clone();
        }
    }
    if properties.get("Tags").is_some() {
        body["Tags"] = pairs(&tag_map(properties), "Key", "Value");
    }
    if let Some(pattern) = properties.get("EventPattern") {
        body["EventPattern"] = document(pattern).into();
    }
    let arn = events(context, "PutRule", body).await?["RuleArn"].clone();
    if !targets(properties).is_empty() {
        let mut body = rule(context, properties, "Rule");
        body["Targets"] = targets(properties).into();
        let answer = events(context, "PutTargets", body).await?;
        if let Some(failed) = answer["FailedEntries"].as_array().and_then(|failed| failed.first()) {
            return Err(CallError::Refused {
                operation: "events PutTargets".into(),
                code: failed["ErrorCode"].as_str().unwrap_or_default().into(),
                message: failed["ErrorMessage"].as_str().unwrap_or_default().into(),
            });
        }
    }
    let name = context.name(properties, "Name", 64);
    let reference = match properties["EventBusName"].as_str().filter(|bus| *bus != "default") {
        Some(bus) => format!("{bus}|{name}"),
        None => name,
    };
    Ok(Made::new(reference, &[("Arn", arn)]))
}

pub(super) async fn update_rule(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let made = put_rule(context, properties).await?;
    let kept: Vec<Value> = targets(properties).iter().map(|target| target["Id"].clone()).collect();
    let old = targets(&current.properties);
    let gone: Vec<&Value> = old.iter().map(|target| &target["Id"]).filter(|id| !kept.contains(id)).collect();
    if !gone.is_empty() {
        let mut body = rule(context, properties, "Rule");
        body["Ids"] = json!(gone);
        events(context, "RemoveTargets", body).await?;
    }
    update_tags(context, current, properties).await?;
    Ok(made)
}

/// A rule with targets cannot be deleted.
pub(super) async fn delete_rule(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let listed = events(context, "ListTargetsByRule", rule(context, &resource.properties, "Rule")).await?;
    let ids = listed["Targets"].as_array().into_iter().flatten().map(|target| target["Id"].clone());
    let ids: Vec<Value> = ids.collect();
    if !ids.is_empty() {
        let mut body = rule(context, &resource.properties, "Rule");
        body["Ids"] = ids.into();
        events(context, "RemoveTargets", body).await?;
    }
    events(context, "DeleteRule", rule(context, &resource.properties, "Name")).await.map(drop)
}

pub(super) async fn locate_rule(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "Name", 64);
    events(context, "DescribeRule", rule(context, properties, "Name")).await?;
    Ok(Made::new(name, &[]))
}
