//! SNS topics and subscriptions, SQS queues and their policies.

use serde_json::{Map, Value, json};

use super::{Context, Made, document, tag_map};
use crate::client::{CallResult, json as call, query, xml_text};
use crate::deploy::StackResource;
use crate::intrinsics::text;

async fn sns(context: &Context<'_>, action: &str, parameters: Vec<(String, String)>) -> CallResult<String> {
    query(context.client, "sns", "2010-03-31", action, &parameters).await
}

fn pair(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_string(), value.into())
}

pub(super) async fn create_topic(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "TopicName", 256);
    let mut parameters = vec![pair("Name", name.as_str())];
    let attributes = ["DisplayName", "FifoTopic", "ContentBasedDeduplication", "KmsMasterKeyId"];
    let given = attributes.iter().filter_map(|field| Some((*field, properties.get(*field)?)));
    for (index, (field, value)) in given.enumerate() {
        parameters.push((format!("Attributes.entry.{}.key", index + 1), field.to_string()));
        parameters.push((format!("Attributes.entry.{}.value", index + 1), text(value)));
    }
    let answer = sns(context, "CreateTopic", parameters).await?;
    let arn = xml_text(&answer, "TopicArn").unwrap_or_default();
    for subscription in properties["Subscription"].as_array().into_iter().flatten() {
        subscribe_to(context, &arn, subscription).await?;
    }
    Ok(Made::new(arn.clone(), &[("TopicArn", arn.into()), ("TopicName", name.into())]))
}

/// Subscribing twice is harmless; a subscription that is no longer listed is ended.
pub(super) async fn update_topic(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let listed = |value: &Value| value["Subscription"].as_array().cloned().unwrap_or_default();
    let arn = current.reference.as_str().unwrap_or_default();
    let gone: Vec<Value> =
        listed(&current.properties).into_iter().filter(|old| !listed(properties).contains(old)).collect();
    if !gone.is_empty() {
        let answer = sns(context, "ListSubscriptionsByTopic", vec![pair("TopicArn", arn)]).await?;
        for member in answer.split("<member>").skip(1) {
            let endpoint = xml_text(member, "Endpoint").unwrap_or_default();
            if gone.iter().any(|old| old["Endpoint"].as_str() == Some(&endpoint)) {
                let subscription = xml_text(member, "SubscriptionArn").unwrap_or_default();
                sns(context, "Unsubscribe", vec![pair("SubscriptionArn", subscription)]).await?;
            }
        }
    }
    create_topic(context, properties).await
}

pub(super) async fn delete_topic(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let arn = resource.reference.as_str().unwrap_or_default();
    sns(context, "DeleteTopic", vec![pair("TopicArn", arn)]).await.map(drop)
}

async fn subscribe_to(context: &Context<'_>, topic: &str, subscription: &Value) -> CallResult<String> {
    let mut parameters = vec![
        pair("TopicArn", topic),
        pair("Protocol", subscription["Protocol"].as_str().unwrap_or_default()),
        pair("Endpoint", subscription["Endpoint"].as_str().unwrap_or_default()),
        pair("ReturnSubscriptionArn", "true"),
    ];
    let attributes =
        ["FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy", "DeliveryPolicy"];
    let given = attributes.iter().filter_map(|field| Some((*field, subscription.get(*field)?)));
    for (index, (field, value)) in given.enumerate() {
        parameters.push((format!("Attributes.entry.{}.key", index + 1), field.to_string()));
        let value = if value.is_object() { value.to_string() } else { text(value) };
        parameters.push((format!("Attributes.entry.{}.value", index + 1), value));
    }
    let answer = sns(context, "Subscribe", parameters).await?;
    Ok(xml_text(&answer, "SubscriptionArn").unwrap_or_default())
}

pub(super) async fn subscribe(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let topic = properties["TopicArn"].as_str().unwrap_or_default();
    let arn = subscribe_to(context, topic, properties).await?;
    Ok(Made::new(arn.clone(), &[("Arn", arn.into())]))
}

pub(super) async fn unsubscribe(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let arn = resource.reference.as_str().unwrap_or_default();
    sns(context, "Unsubscribe", vec![pair("SubscriptionArn", arn)]).await.map(drop)
}

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
    let name = current.attributes.get("QueueName").and_then(Value::as_str);
    if name != Some(&context.name(properties, "QueueName", 80)) {
        delete_queue(context, current).await?;
        return create_queue(context, properties).await;
    }
    let body = json!({ "QueueUrl": current.reference, "Attributes": queue_attributes(properties) });
    sqs(context, "SetQueueAttributes", body).await?;
    Ok(Made { reference: current.reference.clone(), attributes: current.attributes.clone() })
}

pub(super) async fn delete_queue(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    sqs(context, "DeleteQueue", json!({ "QueueUrl": resource.reference })).await.map(drop)
}

pub(super) async fn put_queue_policy(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    for url in properties["Queues"].as_array().into_iter().flatten() {
        let attributes = json!({ "Policy": document(&properties["PolicyDocument"]) });
        sqs(context, "SetQueueAttributes", json!({ "QueueUrl": url, "Attributes": attributes })).await?;
    }
    Ok(Made::new(context.id, &[]))
}
