//! DynamoDB tables.

use serde_json::{Value, json};

use super::tags::{TagChange, pairs};
use super::{Context, Made};
use crate::client::{CallResult, json as call};
use crate::stack::StackResource;

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

/// Properties of a table that `UpdateTable` takes in one call.
const UPDATED_TOGETHER: [&str; 4] =
    ["BillingMode", "ProvisionedThroughput", "DeletionProtectionEnabled", "TableClass"];

/// AWS takes one kind of change a call, and one index.
pub(super) async fn update_table(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let old = &current.properties;
    let name = &current.reference;
    let mut together = json!({ "TableName": name });
    for field in UPDATED_TOGETHER {
        if properties.get(field).is_some() && old.get(field) != properties.get(field) {
            together[field] = properties[field].clone();
        }
    }
    if together.as_object().is_some_and(|members| members.len() > 1) {
        dynamodb(context, "UpdateTable", together).await?;
    }
    let mut made = Made::same(current);
    if old.get("StreamSpecification") != properties.get("StreamSpecification") {
        let answer = update_stream(context, name, old, properties).await?;
        made.attributes.insert("StreamArn".into(), answer["TableDescription"]["LatestStreamArn"].clone());
    }
    update_indexes(context, name, old, properties).await?;
    let ttl = "TimeToLiveSpecification";
    if old.get(ttl) != properties.get(ttl) {
        let off = json!({ "AttributeName": old[ttl]["AttributeName"], "Enabled": false });
        let wanted = properties.get(ttl).cloned().unwrap_or(off);
        dynamodb(context, "UpdateTimeToLive", json!({ "TableName": name, ttl: wanted })).await?;
    }
    let (arn, tags) = (&current.attributes["Arn"], TagChange::of(current, properties));
    if !tags.gone.is_empty() {
        dynamodb(context, "UntagResource", json!({ "ResourceArn": arn, "TagKeys": tags.gone })).await?;
    }
    if !tags.put.is_empty() {
        let body = json!({ "ResourceArn": arn, "Tags": pairs(&tags.put, "Key", "Value") });
        dynamodb(context, "TagResource", body).await?;
    }
    Ok(made)
}

async fn update_stream(context: &Context<'_>, name: &Value, old: &Value, new: &Value) -> CallResult<Value> {
    let field = "StreamSpecification";
    let mut answer = Value::Null;
    if old.get(field).is_some() {
        let body = json!({ "TableName": name, field: { "StreamEnabled": false } });
        answer = dynamodb(context, "UpdateTable", body).await?;
    }
    if let Some(stream) = new.get(field) {
        let stream = json!({ "StreamEnabled": true, "StreamViewType": stream["StreamViewType"] });
        answer = dynamodb(context, "UpdateTable", json!({ "TableName": name, field: stream })).await?;
    }
    Ok(answer)
}

async fn update_indexes(context: &Context<'_>, name: &Value, old: &Value, new: &Value) -> CallResult<()> {
    let listed = |value: &Value| value["GlobalSecondaryIndexes"].as_array().cloned().unwrap_or_default();
    let (old, wanted) = (listed(old), listed(new));
    let body = |update: Value| {
        json!({ "TableName": name, "AttributeDefinitions": new["AttributeDefinitions"],
                "GlobalSecondaryIndexUpdates": [update] })
    };
    for gone in old.iter().filter(|index| !wanted.contains(index)) {
        let update = json!({ "Delete": { "IndexName": gone["IndexName"] } });
        dynamodb(context, "UpdateTable", body(update)).await?;
    }
    for index in wanted.iter().filter(|index| !old.contains(index)) {
        dynamodb(context, "UpdateTable", body(json!({ "Create": index }))).await?;
    }
    Ok(())
}

pub(super) async fn locate_table(context: &Context<'_>, name: &str) -> CallResult<Made> {
    dynamodb(context, "DescribeTable", json!({ "TableName": name })).await?;
    Ok(Made::new(name, &[]))
}
