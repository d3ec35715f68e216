//! CloudWatch Logs: groups, streams, resource policies.

use serde_json::{Value, json};

use super::tags::{TagChange, tag_map};
use super::{Context, Made, document};
use crate::client::{CallResult, json as call};
use crate::stack::StackResource;

async fn call_logs(context: &Context<'_>, action: &str, body: Value) -> CallResult<Value> {
    call(context.client, "logs", &format!("Logs_20140328.{action}"), body).await
}

/// A group that is already there (a function may have written first) is taken over.
pub(super) async fn create_group(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "LogGroupName", 512);
    let mut body = json!({ "logGroupName": name });
    if properties.get("Tags").is_some() {
        body["tags"] = tag_map(properties).into();
    }
    match call_logs(context, "CreateLogGroup", body).await {
        Err(error) if error.code() != "ResourceAlreadyExistsException" => return Err(error),
        _ => {}
    }
    put_retention(context, &name, properties).await?;
    let described = call_logs(context, "DescribeLogGroups", json!({ "logGroupNamePrefix": name })).await?;
    let groups = described["logGroups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let arn =
        groups.iter().find(|group| group["logGroupName"] == name.as_str()).map(|group| group["arn"].clone());
    Ok(Made::new(name, &[("Arn", arn.unwrap_or_default())]))
}

async fn put_retention(context: &Context<'_>, name: &str, properties: &Value) -> CallResult<()> {
    let (action, mut body) = ("PutRetentionPolicy", json!({ "logGroupName": name }));
    match properties.get("RetentionInDays") {
        Some(days) => {
            body["retentionInDays"] =
                days.as_str().and_then(|text| text.parse::<u64>().ok()).map_or(days.clone(), Value::from);
            call_logs(context, action, body).await.map(drop)
        }
        None => Ok(()),
    }
}

pub(super) async fn update_group(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let name = current.reference.as_str().unwrap_or_default();
    if properties.get("RetentionInDays").is_none() {
        call_logs(context, "DeleteRetentionPolicy", json!({ "logGroupName": name })).await?;
    }
    put_retention(context, name, properties).await?;
    let tags = TagChange::of(current, properties);
    if !tags.gone.is_empty() {
        let body = json!({ "logGroupName": name, "tags": tags.gone });
        call_logs(context, "UntagLogGroup", body).await?;
    }
    if !tags.put.is_empty() {
        call_logs(context, "TagLogGroup", json!({ "logGroupName": name, "tags": tags.put })).await?;
    }
    Ok(Made::same(current))
}

pub(super) async fn delete_group(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    call_logs(context, "DeleteLogGroup", json!({ "logGroupName": resource.reference })).await.map(drop)
}

pub(super) async fn create_stream(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "LogStreamName", 512);
    let body = json!({ "logGroupName": properties["LogGroupName"], "logStreamName": name });
    call_logs(context, "CreateLogStream", body).await?;
    Ok(Made::new(name, &[]))
}

pub(super) async fn delete_stream(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let group = &resource.properties["LogGroupName"];
    call_logs(
        context,
        "DeleteLogStream",
        json!({ "logGroupName": group, "logStreamName": resource.reference }),
    )
    .await
    .map(drop)
}

pub(super) async fn locate_group(context: &Context<'_>, name: &str) -> CallResult<Option<Made>> {
    let described = call_logs(context, "DescribeLogGroups", json!({ "logGroupNamePrefix": name })).await?;
    let mut groups = described["logGroups"].as_array().into_iter().flatten();
    Ok(groups.any(|group| group["logGroupName"] == name).then(|| Made::new(name, &[])))
}

pub(super) async fn put_policy(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "PolicyName", 255);
    let body = json!({ "policyName": name, "policyDocument": document(&properties["PolicyDocument"]) });
    call_logs(context, "PutResourcePolicy", body).await?;
    Ok(Made::new(name, &[]))
}

pub(super) async fn delete_policy(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    call_logs(context, "DeleteResourcePolicy", json!({ "policyName": resource.reference })).await.map(drop)
}
