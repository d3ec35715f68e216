//! Subscriptions: subscribe, confirm, unsubscribe, list, attributes.
//!
//! Queues, functions and mail addresses are confirmed at once; an HTTP endpoint gets a `SubscriptionConfirmation` by the
//! ordinary, durable way of delivery and is served once it has confirmed.

use super::envelope::{Published, iso};
use super::refusal::{invalid, no_subscription};
use super::row::{
    SUBSCRIPTION_COLUMNS, Subscription, Topic, TopicArn, find_subscription, find_topic, map_of,
};
use super::{Call, PAGE_MAX, page_start, paged, required};
use crate::event_pattern::EventPattern;
use crate::wire::{Form, ServiceError};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// AWS allows 12,500,000; this is what one file here serves well.
const SUBSCRIPTIONS_PER_TOPIC_MAX: i64 = 10_000;
/// AWS's quota of combinations in one filter policy is enforced by size here.
const FILTER_BYTES_MAX: usize = 256 * 1024;

pub(super) fn subscribe(connection: &Connection, call: &Call, form: &Form) -> Result<Value, ServiceError> {
    let topic = find_topic(connection, &TopicArn::of(form.get("TopicArn"), "TopicArn")?)?;
    let protocol = required(form, "Protocol")?;
    let endpoint = form.get("Endpoint").unwrap_or("");
    valid_endpoint(&topic, protocol, endpoint)?;
    let mut attributes = Map::new();
    for (name, value) in form.map("Attributes") {
        checked_attribute(protocol, &name, &value)?;
        attributes.insert(name, Value::String(value));
    }
    drop_empty_filter(&mut attributes);
    let all = form.get("ReturnSubscriptionArn") == Some("true");
    let sql = format!(
        "SELECT {SUBSCRIPTION_COLUMNS} FROM subscriptions WHERE topic_id = ?1 AND protocol = ?2 AND endpoint = ?3"
    );
    let row = params![topic.id, protocol, endpoint];
    let existing = connection.prepare_cached(&sql)?.query_row(row, Subscription::from_row).optional()?;
    let subscription = match existing {
        Some(existing)
            if attributes.iter().any(|(name, value)| existing.attributes.get(name) != Some(value)) =>
        {
            return Err(invalid("Attributes Reason: Subscription already exists with different attributes"));
        }
        Some(existing) => existing,
        None => insert(connection, call, &topic, protocol, endpoint, &attributes)?,
    };
    let shown =
        if subscription.confirmed || all { subscription.arn.as_str() } else { "pending confirmation" };
    Ok(json!({"SubscriptionArn": shown}))
}

fn insert(
    connection: &Connection,
    call: &Call,
    topic: &Topic,
    protocol: &str,
    endpoint: &str,
    attributes: &Map<String, Value>,
) -> Result<Subscription, ServiceError> {
    let sql = "SELECT count(*) FROM subscriptions WHERE topic_id = ?1";
    let count: i64 = connection.query_row(sql, [topic.id], |row| row.get(0))?;
    if count >= SUBSCRIPTIONS_PER_TOPIC_MAX {
        let message = "Subscription limit exceeded";
        return Err(ServiceError::new(403, "SubscriptionLimitExceeded", message));
    }
    let topic_arn = topic.arn.text();
    let arn = format!("{topic_arn}:{}", Uuid::new_v4());
    let confirmed = protocol != "http";
    let token = (!confirmed).then(|| format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()));
    let sql =
        "INSERT INTO subscriptions(topic_id, arn, owner, protocol, endpoint, attributes, confirmed, token)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let stored = Value::Object(attributes.clone()).to_string();
    connection
        .execute(sql, params![topic.id, arn, call.owner, protocol, endpoint, stored, confirmed, token])?;
    let id = connection.last_insert_rowid();
    if let Some(token) = token {
        let published = Published::confirmation(&topic_arn, &token, &call.endpoint, iso(call.now_ms));
        let message_id = published.store(connection, topic.id)?;
        let sql = "INSERT INTO deliveries(message_id, subscription_id, due) VALUES (?1, ?2, ?3)";
        connection.execute(sql, params![message_id, id, call.now_ms])?;
    }
    Ok(Subscription {
        id,
        topic_id: topic.id,
        arn,
        owner: call.owner.clone(),
        protocol: protocol.to_owned(),
        endpoint: endpoint.to_owned(),
        attributes: attributes.clone(),
        confirmed,
    })
}

fn valid_endpoint(topic: &Topic, protocol: &str, endpoint: &str) -> Result<(), ServiceError> {
    let service_arn = |service: &str| {
        let parts: Vec<&str> = endpoint.split(':').collect();
        parts.len() >= 6
            && parts[0] == "arn"
            && parts[2] == service
            && parts.iter().all(|part| !part.is_empty())
    };
    if topic.is_fifo() && protocol != "sqs" {
        return Err(invalid("Invalid protocol type: ".to_owned() + protocol));
    }
    match protocol {
        "sqs" if !service_arn("sqs") => Err(invalid("SQS endpoint ARN")),
        "sqs" if endpoint.ends_with(".fifo") && !topic.is_fifo() => Err(invalid(
            "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics",
        )),
        "sqs" => Ok(()),
        "lambda" if service_arn("lambda") => Ok(()),
        "lambda" => Err(invalid("Lambda endpoint ARN")),
        "http" if endpoint.starts_with("http://") && endpoint.parse::<http::Uri>().is_ok() => Ok(()),
        "http" | "https" if !endpoint.starts_with(&format!("{protocol}://")) => {
            Err(invalid("Endpoint must match the specified protocol"))
        }
        "http" => Err(invalid("Endpoint")),
        "email" | "email-json" if super::mail::is_address(endpoint) => Ok(()),
        "email" | "email-json" => Err(invalid("Email address")),
        "https" | "sms" | "application" | "firehose" => {
            let message =
                format!("Subscriptions with the protocol \"{protocol}\" are not implemented by this server.");
            Err(ServiceError::new(501, "UnsupportedOperationException", message))
        }
        other => Err(invalid(format!("Amazon SNS does not support this protocol string: {other}"))),
    }
}

fn checked_attribute(protocol: &str, name: &str, value: &str) -> Result<(), ServiceError> {
    match name {
        "FilterPolicy" => filter_of(value).map(|_| ()),
        "FilterPolicyScope" if ["MessageAttributes", "MessageBody"].contains(&value) => Ok(()),
        "FilterPolicyScope" => Err(invalid(format!(
            "FilterPolicyScope: Invalid value [{value}]. Please use either MessageBody or MessageAttributes"
        ))),
        "RawMessageDelivery" if !["true", "false"].contains(&value) => {
            Err(invalid(format!("Invalid value [{value}] for RawMessageDelivery; must be true or false.")))
        }
        "RawMessageDelivery" if value == "true" && !["sqs", "http"].contains(&protocol) => {
            Err(invalid(format!("Delivery protocol [{protocol}] does not support raw message delivery.")))
        }
        "RawMessageDelivery" | "DeliveryPolicy" | "SubscriptionRoleArn" => Ok(()),
        "RedrivePolicy" => {
            let policy: Value =
                serde_json::from_str(value).map_err(|_| invalid("RedrivePolicy: failed to parse JSON."))?;
            match policy.get("deadLetterTargetArn").and_then(Value::as_str) {
                Some(arn) if arn.starts_with("arn:aws:sqs:") => Ok(()),
                _ => Err(invalid("RedrivePolicy: deadLetterTargetArn is an invalid arn")),
            }
        }
        _ => Err(invalid("AttributeName")),
    }
}

/// The compiled filter; none for an empty policy.
pub(super) fn filter_of(text: &str) -> Result<Option<EventPattern>, ServiceError> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > FILTER_BYTES_MAX {
        return Err(invalid("FilterPolicy: Filter policy is too complex"));
    }
    let policy: Value =
        serde_json::from_str(text).map_err(|_| invalid("FilterPolicy: failed to parse JSON."))?;
    if policy.as_object().is_some_and(Map::is_empty) {
        return Ok(None);
    }
    EventPattern::parse(&policy).map(Some).map_err(|reason| invalid(format!("FilterPolicy: {reason}")))
}

fn drop_empty_filter(attributes: &mut Map<String, Value>) {
    attributes.retain(|name, value| name != "FilterPolicy" || !matches!(value.as_str(), Some("" | "{}")));
}

pub(super) fn confirm(connection: &Connection, _: &Call, form: &Form) -> Result<Value, ServiceError> {
    let topic = find_topic(connection, &TopicArn::of(form.get("TopicArn"), "TopicArn")?)?;
    let token = required(form, "Token")?;
    let sql = "UPDATE subscriptions SET confirmed = 1 WHERE topic_id = ?1 AND token = ?2 RETURNING arn";
    let arn: Option<String> =
        connection.prepare_cached(sql)?.query_row(params![topic.id, token], |row| row.get(0)).optional()?;
    let arn = arn.ok_or_else(|| invalid("Token"))?;
    Ok(json!({"SubscriptionArn": arn}))
}

pub(super) fn unsubscribe(connection: &Connection, _: &Call, form: &Form) -> Result<Value, ServiceError> {
    let arn = required(form, "SubscriptionArn")?;
    valid_subscription_arn(arn)?;
    // Unsubscribing what is not there succeeds, as on AWS.
    if let Ok(subscription) = find_subscription(connection, arn) {
        connection.execute("DELETE FROM deliveries WHERE subscription_id = ?1", [subscription.id])?;
        connection.execute("DELETE FROM subscriptions WHERE id = ?1", [subscription.id])?;
        let sql = "UPDATE topics SET deleted_subscriptions = deleted_subscriptions + 1 WHERE id = ?1";
        connection.execute(sql, [subscription.topic_id])?;
    }
    Ok(Value::Null)
}

fn valid_subscription_arn(arn: &str) -> Result<(), ServiceError> {
    let parts = arn.split(':').count();
    if parts < 6 {
        let why = format!("SubscriptionArn Reason: An ARN must have at least 6 elements, not {parts}");
        return Err(invalid(why));
    }
    if parts != 7 || !arn.starts_with("arn:aws:sns:") {
        return Err(invalid("SubscriptionId"));
    }
    Ok(())
}

fn listed(subscription: &Subscription) -> Value {
    let arn = if subscription.confirmed { subscription.arn.as_str() } else { "PendingConfirmation" };
    json!({"SubscriptionArn": arn, "Owner": subscription.owner, "Protocol": subscription.protocol,
           "Endpoint": subscription.endpoint, "TopicArn": subscription.topic_arn()})
}

pub(super) fn list(connection: &Connection, call: &Call, form: &Form) -> Result<Value, ServiceError> {
    let start = page_start(form)?;
    let sql = format!(
        "SELECT {SUBSCRIPTION_COLUMNS} FROM subscriptions WHERE topic_id IN
         (SELECT id FROM topics WHERE account = ?1 AND region = ?2) ORDER BY id LIMIT ?3 OFFSET ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let row = params![call.account, call.region, PAGE_MAX + 1, start];
    let rows = statement.query_map(row, |row| Ok(listed(&Subscription::from_row(row)?)))?;
    Ok(paged("Subscriptions", rows.collect::<Result<_, _>>()?, start))
}

pub(super) fn list_by_topic(connection: &Connection, _: &Call, form: &Form) -> Result<Value, ServiceError> {
    let topic = find_topic(connection, &TopicArn::of(form.get("TopicArn"), "TopicArn")?)?;
    let start = page_start(form)?;
    let sql = format!(
        "SELECT {SUBSCRIPTION_COLUMNS} FROM subscriptions WHERE topic_id = ?1 ORDER BY id LIMIT ?2 OFFSET ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let row = params![topic.id, PAGE_MAX + 1, start];
    let rows = statement.query_map(row, |row| Ok(listed(&Subscription::from_row(row)?)))?;
    Ok(paged("Subscriptions", rows.collect::<Result<_, _>>()?, start))
}

pub(super) fn attributes(connection: &Connection, _: &Call, form: &Form) -> Result<Value, ServiceError> {
    let arn = required(form, "SubscriptionArn")?;
    valid_subscription_arn(arn)?;
    let subscription = find_subscription(connection, arn)?;
    let mut shown = map_of("{}");
    let mut show = |name: &str, value: String| {
        shown.insert(name.to_owned(), Value::String(value));
    };
    show("SubscriptionPrincipal", format!("arn:aws:iam::{}:root", subscription.owner));
    show("Owner", subscription.owner.clone());
    show("RawMessageDelivery", "false".to_owned());
    show("TopicArn", subscription.topic_arn().to_owned());
    show("Endpoint", subscription.endpoint.clone());
    show("Protocol", subscription.protocol.clone());
    show("PendingConfirmation", (!subscription.confirmed).to_string());
    show("ConfirmationWasAuthenticated", (subscription.protocol != "http").to_string());
    show("SubscriptionArn", subscription.arn.clone());
    if subscription.attributes.contains_key("FilterPolicy") {
        show("FilterPolicyScope", "MessageAttributes".to_owned());
    }
    shown.extend(subscription.attributes);
    Ok(json!({"Attributes": shown}))
}

pub(super) fn set_attribute(connection: &Connection, _: &Call, form: &Form) -> Result<Value, ServiceError> {
    let arn = required(form, "SubscriptionArn")?;
    valid_subscription_arn(arn)?;
    let subscription = find_subscription(connection, arn).map_err(|_| no_subscription())?;
    let name = required(form, "AttributeName")?;
    let value = form.get("AttributeValue").unwrap_or("");
    let mut attributes = subscription.attributes;
    if name == "RedrivePolicy" && value.is_empty() {
        attributes.shift_remove(name);
    } else {
        checked_attribute(&subscription.protocol, name, value)?;
        attributes.insert(name.to_owned(), json!(value));
    }
    drop_empty_filter(&mut attributes);
    let attributes = Value::Object(attributes).to_string();
    let sql = "UPDATE subscriptions SET attributes = ?2 WHERE id = ?1";
    connection.execute(sql, params![subscription.id, attributes])?;
    Ok(Value::Null)
}
