//! SNS: topics with their subscriptions, subscriptions, topic policies.

use serde_json::{Value, json};

use super::tags::{TagChange, fields, key_fields, tag_map};
use super::{Context, Made, document};
use crate::client::{CallResult, query, xml_members, xml_text};
use crate::intrinsics::text;
use crate::stack::StackResource;

async fn sns(context: &Context<'_>, action: &str, parameters: Vec<(String, String)>) -> CallResult<String> {
    query(context.client, "sns", "2010-03-31", action, &parameters).await
}

fn pair(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_string(), value.into())
}

/// Topic properties that are attributes of the API under the same name.
const TOPIC_ATTRIBUTES: [&str; 8] = [
    "ContentBasedDeduplication",
    "DeliveryStatusLogging",
    "DisplayName",
    "FifoThroughputScope",
    "FifoTopic",
    "KmsMasterKeyId",
    "SignatureVersion",
    "TracingConfig",
];

/// `Name.entry.N.key` and `.value` of a map.
fn entries(attributes: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let entry = |(index, (key, value)): (usize, (String, String))| {
        let prefix = format!("Attributes.entry.{}", index + 1);
        [(format!("{prefix}.key"), key), (format!("{prefix}.value"), value)]
    };
    attributes.enumerate().flat_map(entry).collect()
}

fn given(properties: &Value, fields: &[&str]) -> impl Iterator<Item = (String, String)> {
    let given = fields.iter().filter_map(|field| Some((field.to_string(), properties.get(*field)?)));
    let given =
        given.map(|(field, value)| (field, if value.is_object() { value.to_string() } else { text(value) }));
    given.collect::<Vec<_>>().into_iter()
}

pub(super) async fn create_topic(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "TopicName", 256);
    let mut parameters = vec![pair("Name", name.as_str())];
    parameters.extend(entries(given(properties, &TOPIC_ATTRIBUTES)));
    parameters.extend(fields(&tag_map(properties)));
    let answer = sns(context, "CreateTopic", parameters).await?;
    let arn = xml_text(&answer, "TopicArn").unwrap_or_default();
    for subscription in listed(properties) {
        subscribe_to(context, &arn, &subscription).await?;
    }
    Ok(Made::new(arn.clone(), &[("TopicArn", arn.into()), ("TopicName", name.into())]))
}

fn listed(properties: &Value) -> Vec<Value> {
    properties["Subscription"].as_array().cloned().unwrap_or_default()
}

/// Subscribing twice is harmless; a subscription that is no longer listed is ended.
pub(super) async fn update_topic(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let arn = current.reference.as_str().unwrap_or_default();
    let old: Vec<(String, String)> = given(&current.properties, &TOPIC_ATTRIBUTES).collect();
    for (name, value) in given(properties, &TOPIC_ATTRIBUTES).filter(|attribute| !old.contains(attribute)) {
        set_attribute(context, arn, &name, &value).await?;
    }
    let gone: Vec<Value> =
        listed(&current.properties).into_iter().filter(|old| !listed(properties).contains(old)).collect();
    if !gone.is_empty() {
        let answer = sns(context, "ListSubscriptionsByTopic", vec![pair("TopicArn", arn)]).await?;
        for member in xml_members(&answer) {
            let endpoint = xml_text(member, "Endpoint").unwrap_or_default();
            if gone.iter().any(|old| old["Endpoint"].as_str() == Some(&endpoint)) {
                let subscription = xml_text(member, "SubscriptionArn").unwrap_or_default();
                sns(context, "Unsubscribe", vec![pair("SubscriptionArn", subscription)]).await?;
            }
        }
    }
    for subscription in listed(properties) {
        subscribe_to(context, arn, &subscription).await?;
    }
    let tags = TagChange::of(current, properties);
    if !tags.gone.is_empty() {
        let parameters = [vec![pair("ResourceArn", arn)], key_fields(&tags.gone)].concat();
        sns(context, "UntagResource", parameters).await?;
    }
    if !tags.put.is_empty() {
        sns(context, "TagResource", [vec![pair("ResourceArn", arn)], fields(&tags.put)].concat()).await?;
    }
    Ok(Made::same(current))
}

async fn set_attribute(context: &Context<'_>, topic: &str, name: &str, value: &str) -> CallResult<()> {
    let parameters =
        vec![pair("TopicArn", topic), pair("AttributeName", name), pair("AttributeValue", value)];
    sns(context, "SetTopicAttributes", parameters).await.map(drop)
}

pub(super) async fn locate_topic(context: &Context<'_>, name: &str) -> CallResult<Made> {
    let arn = context.arn("sns", name);
    sns(context, "GetTopicAttributes", vec![pair("TopicArn", arn.as_str())]).await?;
    Ok(Made::new(arn, &[]))
}

pub(super) async fn delete_topic(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let arn = resource.reference.as_str().unwrap_or_default();
    sns(context, "DeleteTopic", vec![pair("TopicArn", arn)]).await.map(drop)
}

const SUBSCRIPTION_ATTRIBUTES: [&str; 5] =
    ["DeliveryPolicy", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy"];

async fn subscribe_to(context: &Context<'_>, topic: &str, subscription: &Value) -> CallResult<String> {
    let mut parameters = vec![
        pair("TopicArn", topic),
        pair("Protocol", subscription["Protocol"].as_str().unwrap_or_default()),
        pair("Endpoint", subscription["Endpoint"].as_str().unwrap_or_default()),
        pair("ReturnSubscriptionArn", "true"),
    ];
    parameters.extend(entries(given(subscription, &SUBSCRIPTION_ATTRIBUTES)));
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

/// What was set and is no longer said gets its default.
pub(super) async fn update_subscription(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let old: Vec<(String, String)> = given(&current.properties, &SUBSCRIPTION_ATTRIBUTES).collect();
    let new: Vec<(String, String)> = given(properties, &SUBSCRIPTION_ATTRIBUTES).collect();
    let unset = old.iter().filter(|(name, _)| !new.iter().any(|(kept, _)| kept == name));
    let unset = unset.map(|(name, _)| match name.as_str() {
        "RawMessageDelivery" => (name.clone(), "false".to_string()),
        "FilterPolicyScope" => (name.clone(), "MessageAttributes".to_string()),
        _ => (name.clone(), "{}".to_string()),
    });
    let changed = new.iter().filter(|attribute| !old.contains(attribute)).cloned();
    let arn = current.reference.as_str().unwrap_or_default();
    for (name, value) in unset.chain(changed) {
        let parameters =
            vec![pair("SubscriptionArn", arn), pair("AttributeName", name), pair("AttributeValue", value)];
        sns(context, "SetSubscriptionAttributes", parameters).await?;
    }
    Ok(Made::same(current))
}

pub(super) async fn locate_subscription(
    context: &Context<'_>,
    properties: &Value,
) -> CallResult<Option<Made>> {
    let topic = properties["TopicArn"].as_str().unwrap_or_default();
    let answer = sns(context, "ListSubscriptionsByTopic", vec![pair("TopicArn", topic)]).await?;
    let is =
        |member: &str, element: &str| xml_text(member, element).as_deref() == properties[element].as_str();
    let found = xml_members(&answer).find(|member| is(member, "Endpoint") && is(member, "Protocol"));
    Ok(found.and_then(|member| xml_text(member, "SubscriptionArn")).map(|arn| Made::new(arn, &[])))
}

fn topics(properties: &Value) -> Vec<String> {
    let topics = properties["Topics"].as_array().into_iter().flatten();
    topics.filter_map(Value::as_str).map(str::to_string).collect()
}

pub(super) async fn put_policy(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    for topic in topics(properties) {
        set_attribute(context, &topic, "Policy", &document(&properties["PolicyDocument"])).await?;
    }
    Ok(Made::new(context.id, &[("Id", context.id.into())]))
}

pub(super) async fn update_policy(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let kept = topics(properties);
    for topic in topics(&current.properties).iter().filter(|topic| !kept.contains(topic)) {
        set_default_policy(context, topic).await?;
    }
    put_policy(context, properties).await
}

pub(super) async fn delete_policy(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    for topic in topics(&resource.properties) {
        set_default_policy(context, &topic).await?;
    }
    Ok(())
}

/// A topic cannot be without a policy: this is the one that it is born with.
async fn set_default_policy(context: &Context<'_>, topic: &str) -> CallResult<()> {
    let actions = [
        "AddPermission",
        "DeleteTopic",
        "GetTopicAttributes",
        "ListSubscriptionsByTopic",
        "Publish",
        "RemovePermission",
        "SetTopicAttributes",
        "Subscribe",
    ];
    let actions: Vec<String> = actions.iter().map(|action| format!("SNS:{action}")).collect();
    let owner = json!({ "StringEquals": { "AWS:SourceOwner": context.place.account } });
    let policy = json!({ "Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [
        { "Sid": "__default_statement_ID", "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": actions,
          "Resource": topic, "Condition": owner }] });
    super::forgive_missing_after(set_attribute(context, topic, "Policy", &policy.to_string()).await)
}
