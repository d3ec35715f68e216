//! DynamoDB tables and CloudWatch log groups.

use serde_json::{Value, json};

use super::{Context, Made};
use crate::client::{CallResult, json as call};
use crate::deploy::StackResource;

async fn dynamodb(context: &Context<'_>, action: &str, body: Value) -> CallResult<Value> {
    call(context.client, "dynamodb", &format!("DynamoDB_20120810.{action}"), body).await
}

/// Table properties that the API takes as they stand.
const TABLE_FIELDS: [&str; 10] = [
    "AttributeDefinitions",
    "KeySchema",
    "BillingMode",
    "ProvisionedThroughput",
    "GlobalSecondaryIndexes",
    "LocalSecondaryIndexes",
    "SSESpecification",
    "TableClass",
    "DeletionProtectionEnabled",
    "Tags",
];

pub(super) async fn create_table(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "TableName", 255);
    let mut body = json!({ "TableName": name });
    for field in TABLE_FIELDS {
        if let Some(value) = properties.get(field) {
            body[field] = value.clone();
        }
    }
    if let Some(stream) = properties.get("StreamSpecification") {
        body["StreamSpecification"] =
            json!({ "StreamEnabled": true, "StreamViewType": stream["StreamViewType"] });
    }
    let answer = dynamodb(context, "CreateTable", body).await?;
    let table = &answer["TableDescription"];
    if properties["TimeToLiveSpecification"]["Enabled"].as_bool() == Some(true) {
        let body =
            json!({ "TableName": name, "TimeToLiveSpecification": properties["TimeToLiveSpecification"] });
        dynamodb(context, "UpdateTimeToLive", body).await?;
    }
    let attributes = [("Arn", table["TableArn"].clone()), ("StreamArn", table["LatestStreamArn"].clone())];
    Ok(Made::new(name, &attributes))
}

pub(super) async fn delete_table(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    dynamodb(context, "DeleteTable", json!({ "TableName": resource.reference })).await.map(drop)
}

async fn logs(context: &Context<'_>, action: &str, body: Value) -> CallResult<Value> {
    call(context.client, "logs", &format!("Logs_20140328.{action}"), body).await
}

/// A group that is already there (a function may have written first) is taken over.
pub(super) async fn create_log_group(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "LogGroupName", 512);
    match logs(context, "CreateLogGroup", json!({ "logGroupName": name })).await {
        Err(error) if error.code() != "ResourceAlreadyExistsException" => return Err(error),
        _ => {}
    }
    put_retention(context, &name, properties).await?;
    let described = logs(context, "DescribeLogGroups", json!({ "logGroupNamePrefix": name })).await?;
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
            logs(context, action, body).await.map(drop)
        }
        None => Ok(()),
    }
}

pub(super) async fn update_log_group(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let name = current.reference.as_str().unwrap_or_default();
    if context.name(properties, "LogGroupName", 512) != name {
        delete_log_group(context, current).await?;
        return create_log_group(context, properties).await;
    }
    if properties.get("RetentionInDays").is_none() {
        logs(context, "DeleteRetentionPolicy", json!({ "logGroupName": name })).await?;
    }
    put_retention(context, name, properties).await?;
    Ok(Made { reference: current.reference.clone(), attributes: current.attributes.clone() })
}

pub(super) async fn delete_log_group(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    logs(context, "DeleteLogGroup", json!({ "logGroupName": resource.reference })).await.map(drop)
}

pub(super) async fn create_log_stream(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "LogStreamName", 512);
    let body = json!({ "logGroupName": properties["LogGroupName"], "logStreamName": name });
    logs(context, "CreateLogStream", body).await?;
    Ok(Made::new(name, &[]))
}

pub(super) async fn delete_log_stream(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let group = &resource.properties["LogGroupName"];
    logs(context, "DeleteLogStream", json!({ "logGroupName": group, "logStreamName": resource.reference }))
        .await
        .map(drop)
}
