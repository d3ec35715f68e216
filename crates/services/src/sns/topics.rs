//! Topics: create, delete, list, attributes, tags.

use super::refusal::{invalid, no_resource};
use super::row::{Topic, TopicArn, find_topic};
use super::{Call, PAGE_MAX, page_start, paged, required};
use crate::wire::{Form, ServiceError};
use rusqlite::{Connection, params};
use serde_json::{Map, Value, json};

const TAGS_MAX: usize = 50;
const SETTABLE: [&str; 25] = [
    "ApplicationFailureFeedbackRoleArn",
    "ApplicationSuccessFeedbackRoleArn",
    "ApplicationSuccessFeedbackSampleRate",
    "ArchivePolicy",
    "ContentBasedDeduplication",
    "DeliveryPolicy",
    "DisplayName",
    "FifoThroughputScope",
    "FirehoseFailureFeedbackRoleArn",
    "FirehoseSuccessFeedbackRoleArn",
    "FirehoseSuccessFeedbackSampleRate",
    "HTTPFailureFeedbackRoleArn",
    "HTTPSuccessFeedbackRoleArn",
    "HTTPSuccessFeedbackSampleRate",
    "KmsMasterKeyId",
    "LambdaFailureFeedbackRoleArn",
    "LambdaSuccessFeedbackRoleArn",
    "LambdaSuccessFeedbackSampleRate",
    "Policy",
    "SQSFailureFeedbackRoleArn",
    "SQSSuccessFeedbackRoleArn",
    "SQSSuccessFeedbackSampleRate",
    "SignatureVersion",
    "TracingConfig",
    "DataProtectionPolicy",
];
const EFFECTIVE_DELIVERY_POLICY: &str = r#"{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":20,"maxDelayTarget":20,"numRetries":3,"numMaxDelayRetries":0,"numNoDelayRetries":0,"numMinDelayRetries":0,"backoffFunction":"linear"},"disableSubscriptionOverrides":false,"defaultRequestPolicy":{"headerContentType":"text/plain; charset=UTF-8"}}}"#;

pub(super) fn create(connection: &Connection, call: &Call, form: &Form) -> Result<Value, ServiceError> {
    let name = required(form, "Name")?;
    let mut attributes = Map::new();
    for (key, value) in form.map("Attributes") {
        if key != "FifoTopic" {
            checked_attribute(&key, &value)?;
        }
        attributes.insert(key, Value::String(value));
    }
    valid_name(name, attributes.get("FifoTopic") == Some(&json!("true")))?;
    attributes.retain(|key, value| key != "FifoTopic" || value != "false");
    let tags = read_tags(form)?;
    let arn = TopicArn { region: call.region.clone(), account: call.account.clone(), name: name.to_owned() };
    match find_topic(connection, &arn) {
        Ok(topic) => same_topic(&topic, &attributes, &tags)?,
        Err(error) if error.short_code() == "NotFound" => {
            let sql =
                "INSERT INTO topics(account, region, name, attributes, tags) VALUES (?1, ?2, ?3, ?4, ?5)";
            let attributes = Value::Object(attributes).to_string();
            let tags = Value::Object(tags).to_string();
            connection.execute(sql, params![arn.account, arn.region, arn.name, attributes, tags])?;
        }
        Err(error) => return Err(error),
    }
    Ok(json!({"TopicArn": arn.text()}))
}

fn same_topic(
    topic: &Topic,
    attributes: &Map<String, Value>,
    tags: &Map<String, Value>,
) -> Result<(), ServiceError> {
    if attributes.iter().any(|(key, value)| topic.attributes.get(key) != Some(value)) {
        return Err(invalid("Attributes Reason: Topic already exists with different attributes"));
    }
    if !tags.is_empty() && *tags != topic.tags {
        return Err(invalid("Tags Reason: Topic already exists with different tags"));
    }
    Ok(())
}

fn valid_name(name: &str, fifo: bool) -> Result<(), ServiceError> {
    let base = name.strip_suffix(".fifo");
    let is_plain = |name: &str| {
        !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter))
    };
    match (base, fifo) {
        (Some(base), true) if is_plain(base) && name.len() <= 256 => Ok(()),
        (None, false) if is_plain(name) && name.len() <= 256 => Ok(()),
        (_, true) => Err(invalid(
            "Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase ASCII letters, \
             numbers, underscores, and hyphens, and must be between 1 and 256 characters long.",
        )),
        (_, false) => Err(invalid("Topic Name")),
    }
}

fn checked_attribute(name: &str, value: &str) -> Result<(), ServiceError> {
    if !SETTABLE.contains(&name) {
        return Err(invalid("AttributeName"));
    }
    match name {
        "Policy" => match serde_json::from_str::<Map<String, Value>>(value) {
            Ok(policy) if policy.contains_key("Statement") => Ok(()),
            _ => Err(invalid("Policy failed to parse policy document")),
        },
        "ContentBasedDeduplication" if !["true", "false"].contains(&value) => {
            Err(invalid("ContentBasedDeduplication"))
        }
        "DisplayName" if value.chars().count() > 100 => Err(invalid("DisplayName")),
        "SignatureVersion" if !["1", "2"].contains(&value) => Err(invalid("SignatureVersion")),
        _ => Ok(()),
    }
}

pub(super) fn delete(connection: &Connection, _: &Call, form: &Form) -> Result<Value, ServiceError> {
    let arn = TopicArn::of(form.get("TopicArn"), "TopicArn")?;
    // Deleting what is not there succeeds, as on AWS.
    if let Ok(topic) = find_topic(connection, &arn) {
        let owed = "DELETE FROM deliveries WHERE subscription_id IN (SELECT id FROM subscriptions WHERE topic_id = ?1)";
        connection.execute(owed, [topic.id])?;
        for table in ["messages", "subscriptions", "deduplication"] {
            connection.execute(&format!("DELETE FROM {table} WHERE topic_id = ?1"), [topic.id])?;
        }
        connection.execute("DELETE FROM topics WHERE id = ?1", [topic.id])?;
    }
    Ok(Value::Null)
}

pub(super) fn list(connection: &Connection, call: &Call, form: &Form) -> Result<Value, ServiceError> {
    let start = page_start(form)?;
    let sql = "SELECT name FROM topics WHERE account = ?1 AND region = ?2 ORDER BY name LIMIT ?3 OFFSET ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![call.account, call.region, PAGE_MAX + 1, start], |row| {
        let name: String = row.get(0)?;
        Ok(json!({"TopicArn": format!("arn:aws:sns:{}:{}:{name}", call.region, call.account)}))
    })?;
    Ok(paged("Topics", rows.collect::<Result<_, _>>()?, start))
}

pub(super) fn attributes(connection: &Connection, _: &Call, form: &Form) -> Result<Value, ServiceError> {
    let topic = find_topic(connection, &TopicArn::of(form.get("TopicArn"), "TopicArn")?)?;
    let sql = "SELECT COALESCE(sum(confirmed), 0), COALESCE(sum(1 - confirmed), 0),
               (SELECT deleted_subscriptions FROM topics WHERE id = ?1) FROM subscriptions WHERE topic_id = ?1";
    let counts: (i64, i64, i64) =
        connection.query_row(sql, [topic.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut shown = Map::new();
    let mut show = |name: &str, value: String| {
        shown.insert(name.to_owned(), Value::String(value));
    };
    show("Policy", default_policy(&topic.arn));
    show("Owner", topic.arn.account.clone());
    show("SubscriptionsPending", counts.1.to_string());
    show("TopicArn", topic.arn.text());
    show("EffectiveDeliveryPolicy", EFFECTIVE_DELIVERY_POLICY.to_owned());
    show("SubscriptionsConfirmed", counts.0.to_string());
    show("DisplayName", String::new());
    show("SubscriptionsDeleted", counts.2.to_string());
    if topic.is_fifo() {
        show("ContentBasedDeduplication", "false".to_owned());
    }
    shown.extend(topic.attributes);
    Ok(json!({"Attributes": shown}))
}

/// What AWS puts on a topic without a policy of its own: its owner may do everything with it.
pub(super) fn default_policy(arn: &TopicArn) -> String {
    let actions = [
        "SNS:GetTopicAttributes",
        "SNS:SetTopicAttributes",
        "SNS:AddPermission",
        "SNS:RemovePermission",
        "SNS:DeleteTopic",
        "SNS:Subscribe",
        "SNS:ListSubscriptionsByTopic",
        "SNS:Publish",
    ];
    let statement = json!({"Effect": "Allow", "Principal": {"AWS": "*"}, "Sid": "__default_statement_ID",
        "Action": actions, "Resource": arn.text(),
        "Condition": {"StringEquals": {"AWS:SourceOwner": arn.account}}});
    json!({"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]}).to_string()
}

pub(super) fn set_attribute(connection: &Connection, _: &Call, form: &Form) -> Result<Value, ServiceError> {
    let topic = find_topic(connection, &TopicArn::of(form.get("TopicArn"), "TopicArn")?)?;
    let name = required(form, "AttributeName")?;
    let value = form.get("AttributeValue").unwrap_or("");
    if name == "FifoTopic" || (name == "Policy" && value.is_empty()) {
        return Err(invalid("AttributeName"));
    }
    checked_attribute(name, value)?;
    let mut attributes = topic.attributes;
    attributes.insert(name.to_owned(), json!(value));
    let attributes = Value::Object(attributes).to_string();
    connection.execute("UPDATE topics SET attributes = ?2 WHERE id = ?1", params![topic.id, attributes])?;
    Ok(Value::Null)
}

fn read_tags(form: &Form) -> Result<Map<String, Value>, ServiceError> {
    let mut tags = Map::new();
    for tag in form.structures("Tags") {
        let key = tag.get("Key").unwrap_or("").to_owned();
        if tags.insert(key, json!(tag.get("Value").unwrap_or(""))).is_some() {
            return Err(invalid("Duplicated keys are not allowed."));
        }
    }
    Ok(tags)
}

fn resource(connection: &Connection, form: &Form) -> Result<Topic, ServiceError> {
    let arn = TopicArn::of(form.get("ResourceArn"), "ResourceArn")?;
    find_topic(connection, &arn).map_err(|_| no_resource())
}

fn store_tags(
    connection: &Connection,
    topic: &Topic,
    tags: Map<String, Value>,
) -> Result<Value, ServiceError> {
    if tags.len() > TAGS_MAX {
        let message = "Could not complete request: tag quota of per resource exceeded";
        return Err(ServiceError::client("TagLimitExceeded", message));
    }
    let tags = Value::Object(tags).to_string();
    connection.execute("UPDATE topics SET tags = ?2 WHERE id = ?1", params![topic.id, tags])?;
    Ok(json!({}))
}

pub(super) fn tag(connection: &Connection, _: &Call, form: &Form) -> Result<Value, ServiceError> {
    let topic = resource(connection, form)?;
    let mut tags = topic.tags.clone();
    tags.extend(read_tags(form)?);
    store_tags(connection, &topic, tags)
}

pub(super) fn untag(connection: &Connection, _: &Call, form: &Form) -> Result<Value, ServiceError> {
    let topic = resource(connection, form)?;
    let mut tags = topic.tags.clone();
    for key in form.list("TagKeys") {
        tags.shift_remove(key);
    }
    store_tags(connection, &topic, tags)
}

pub(super) fn tags(connection: &Connection, _: &Call, form: &Form) -> Result<Value, ServiceError> {
    let topic = resource(connection, form)?;
    let tags: Vec<Value> =
        topic.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    Ok(json!({"Tags": tags}))
}
