//! SQS: queues and their policies.

use serde_json::{Map, Value, json};

use super::tags::{TagChange, tag_map};
use super::{Context, Made, document};
use crate::client::{CallResult, json as call};
use crate::intrinsics::text;
use crate::stack::StackResource;

async fn sqs(context: &Context<'_>, action: &str, body: Value) -> CallResult<Value> {
    call(context.client, "sqs", &format!("AmazonSQS.{action}"), body).await
}

/// Queue properties that are attributes of the API under the same name.
const QUEUE_ATTRIBUTES: [&str; 13] = [
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "VisibilityTimeout",
];

/// What a queue has that the template says nothing of, for attributes that it once did.
const DEFAULTS: [(&str, &str); 8] = [
    ("ContentBasedDeduplication", "false"),
    ("DelaySeconds", "0"),
    ("MaximumMessageSize", "1048576"),
    ("MessageRetentionPeriod", "345600"),
    ("ReceiveMessageWaitTimeSeconds", "0"),
    ("RedriveAllowPolicy", ""),
    ("RedrivePolicy", ""),
    ("VisibilityTimeout", "30"),
];

fn queue_attributes(properties: &Value) -> Map<String, Value> {
    let named = QUEUE_ATTRIBUTES.iter().filter_map(|field| Some((*field, properties.get(*field)?)));
    named
        .map(|(field, value)| {
            let value = if value.is_object() { value.to_string() } else { text(value) };
            (field.to_string(), Value::from(value))
        })
        .collect()
}

pub(super) async fn create_queue(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "QueueName", 80);
    let body =
        json!({ "QueueName": name, "Attributes": queue_attributes(properties), "tags": tag_map(properties) });
    let url = sqs(context, "CreateQueue", body).await?["QueueUrl"].clone();
    let body = json!({ "QueueUrl": url, "AttributeNames": ["QueueArn"] });
    let arn = sqs(context, "GetQueueAttributes", body).await?["Attributes"]["QueueArn"].clone();
    Ok(Made::new(url.clone(), &[("Arn", arn), ("QueueName", name.into()), ("QueueUrl", url)]))
}

pub(super) async fn update_queue(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let mut attributes = queue_attributes(properties);
    for (name, default) in DEFAULTS {
        if current.properties.get(name).is_some() && !attributes.contains_key(name) {
            attributes.insert(name.into(), default.into());
        }
    }
    let url = &current.reference;
    sqs(context, "SetQueueAttributes", json!({ "QueueUrl": url, "Attributes": attributes })).await?;
    let tags = TagChange::of(current, properties);
    if !tags.gone.is_empty() {
        sqs(context, "UntagQueue", json!({ "QueueUrl": url, "TagKeys": tags.gone })).await?;
    }
    if !tags.put.is_empty() {
        sqs(context, "TagQueue", json!({ "QueueUrl": url, "Tags": tags.put })).await?;
    }
    Ok(Made::same(current))
}

pub(super) async fn delete_queue(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    sqs(context, "DeleteQueue", json!({ "QueueUrl": resource.reference })).await.map(drop)
}

pub(super) async fn locate_queue(context: &Context<'_>, name: &str) -> CallResult<Made> {
    let answer = sqs(context, "GetQueueUrl", json!({ "QueueName": name })).await?;
    Ok(Made::new(answer["QueueUrl"].clone(), &[]))
}

fn queues(properties: &Value) -> Vec<Value> {
    properties["Queues"].as_array().cloned().unwrap_or_default()
}

async fn set_policy(context: &Context<'_>, url: &Value, policy: &str) -> CallResult<()> {
    let body = json!({ "QueueUrl": url, "Attributes": { "Policy": policy } });
    sqs(context, "SetQueueAttributes", body).await.map(drop)
}

pub(super) async fn put_policy(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    for url in queues(properties) {
        set_policy(context, &url, &document(&properties["PolicyDocument"])).await?;
    }
    Ok(Made::new(context.id, &[("Id", context.id.into())]))
}

pub(super) async fn update_policy(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let kept = queues(properties);
    for url in queues(&current.properties).iter().filter(|url| !kept.contains(url)) {
        set_policy(context, url, "").await?;
    }
    put_policy(context, properties).await
}

pub(super) async fn delete_policy(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    for url in queues(&resource.properties) {
        super::forgive_missing_after(set_policy(context, &url, "").await)?;
    }
    Ok(())
}
