//! Publish and PublishBatch: the message and a row for each delivery it owes, in one transaction.

use super::Call;
use super::attributes;
use super::envelope::{Published, iso};
use super::refusal::invalid;
use super::row::{SUBSCRIPTION_COLUMNS, Subscription, Topic, TopicArn, find_topic};
use super::subscriptions::filter_of;
use crate::wire::{Form, ServiceError};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashSet;

const MESSAGE_BYTES_MAX: usize = 262_144;
const SUBJECT_CHARACTERS_MAX: usize = 100;
const BATCH_ENTRIES_MAX: usize = 10;
/// Deliveries owed by one file, at most; a further publish is throttled.
const DELIVERIES_OWED_MAX: i64 = 1_000_000;
const DEDUPLICATION_MS: i64 = 300_000;
const SEQUENCE_BASE: u64 = 10_000_000_000_000_000_000;

pub(super) fn publish(connection: &Connection, call: &Call, form: &Form) -> Result<Value, ServiceError> {
    if form.get("PhoneNumber").is_some() {
        let message = "Publish to a PhoneNumber is not implemented by this server.";
        return Err(ServiceError::new(501, "UnsupportedOperationException", message));
    }
    let arn = form.get("TopicArn").or(form.get("TargetArn"));
    let topic = find_topic(connection, &TopicArn::of(arn, "TopicArn or TargetArn")?)?;
    room(connection)?;
    publish_one(connection, call, &topic, form)
}

pub(super) fn publish_batch(
    connection: &Connection,
    call: &Call,
    form: &Form,
) -> Result<Value, ServiceError> {
    let topic = find_topic(connection, &TopicArn::of(form.get("TopicArn"), "TopicArn")?)?;
    let refused = |code: &'static str, text: &str| Err(ServiceError::client(code, text));
    let entries = form.structures("PublishBatchRequestEntries");
    let prefix = "The batch request";
    if entries.is_empty() {
        return refused("EmptyBatchRequest", &format!("{prefix} doesn't contain any entries."));
    }
    if entries.len() > BATCH_ENTRIES_MAX {
        return refused(
            "TooManyEntriesInBatchRequest",
            &format!("{prefix} contains more entries than permissible."),
        );
    }
    let ids: HashSet<&str> = entries.iter().filter_map(|entry| entry.get("Id")).collect();
    if ids.len() != entries.len() {
        return refused(
            "BatchEntryIdsNotDistinct",
            "Two or more batch entries in the request have the same Id.",
        );
    }
    let bytes: usize = entries.iter().filter_map(|entry| entry.get("Message")).map(str::len).sum();
    if bytes > MESSAGE_BYTES_MAX {
        return refused(
            "BatchRequestTooLong",
            "The length of all the batch messages put together is more than the limit.",
        );
    }
    room(connection)?;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in &entries {
        let id = entry.get("Id").unwrap_or("");
        match publish_one(connection, call, &topic, entry) {
            Ok(mut published) => {
                published["Id"] = json!(id);
                successful.push(published);
            }
            Err(error) if error.status.is_server_error() => return Err(error),
            Err(error) => failed.push(json!({"Id": id, "Code": error.short_code(), "Message": error.message,
                                             "SenderFault": true})),
        }
    }
    Ok(json!({"Successful": successful, "Failed": failed}))
}

/// Refuses when more is owed than is bearable; ids grow, so their span bounds the count.
fn room(connection: &Connection) -> Result<(), ServiceError> {
    let sql = "SELECT COALESCE(max(id) - min(id), 0) FROM deliveries";
    let span: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    if span > DELIVERIES_OWED_MAX {
        return Err(ServiceError::new(429, "Throttled", "Rate exceeded"));
    }
    Ok(())
}

fn publish_one(
    connection: &Connection,
    call: &Call,
    topic: &Topic,
    form: &Form,
) -> Result<Value, ServiceError> {
    let messages = read_messages(form)?;
    let attributes = attributes::read(form)?;
    let attribute_bytes = Value::Object(attributes.clone()).to_string().len();
    if form.get("Message").unwrap_or("").len() + attribute_bytes.saturating_sub(2) > MESSAGE_BYTES_MAX {
        return Err(invalid("Message too long"));
    }
    let subject = read_subject(form)?;
    let group_id = form.get("MessageGroupId").map(str::to_owned);
    let deduplication_id = deduplication_id(topic, form)?;
    if let Some(id) = &deduplication_id
        && let Some(answer) = recent(connection, call, topic, id)?
    {
        return Ok(answer);
    }
    let message_id = uuid::Uuid::new_v4().to_string();
    let mut answer = json!({"MessageId": message_id});
    let mut sequence_number = None;
    if topic.is_fifo() {
        let sql = "UPDATE topics SET sequence = sequence + 1 WHERE id = ?1 RETURNING sequence";
        let sequence: i64 = connection.prepare_cached(sql)?.query_row([topic.id], |row| row.get(0))?;
        let number = (SEQUENCE_BASE + u64::try_from(sequence).unwrap_or_default()).to_string();
        answer["SequenceNumber"] = json!(number);
        sequence_number = Some(number);
    }
    if let Some(id) = &deduplication_id {
        let sql = "INSERT OR REPLACE INTO deduplication VALUES (?1, ?2, ?3, ?4)";
        connection.prepare_cached(sql)?.execute(params![topic.id, id, call.now_ms, answer.to_string()])?;
    }
    let published = Published {
        kind: "Notification".to_owned(),
        message_id,
        topic_arn: topic.arn.text(),
        subject,
        messages,
        attributes,
        at: iso(call.now_ms),
        sequence_number,
        group_id,
        deduplication_id,
        token: None,
        subscribe_url: None,
    };
    owe(connection, call, topic, &published)?;
    Ok(answer)
}

fn read_messages(form: &Form) -> Result<Map<String, Value>, ServiceError> {
    let message = form.get("Message").unwrap_or("");
    if message.is_empty() {
        return Err(invalid("Empty message"));
    }
    match form.get("MessageStructure") {
        None | Some("") => Ok(Map::from_iter([("default".to_owned(), json!(message))])),
        Some("json") => {
            let parsed: Map<String, Value> = serde_json::from_str(message)
                .map_err(|_| invalid("Message Structure - JSON message body failed to parse"))?;
            match parsed.get("default") {
                Some(Value::String(_)) => Ok(parsed),
                _ => Err(invalid("Message Structure - No default entry in JSON message body")),
            }
        }
        Some(_) => Err(invalid("Message Structure")),
    }
}

fn read_subject(form: &Form) -> Result<Option<String>, ServiceError> {
    let Some(subject) = form.get("Subject") else { return Ok(None) };
    let starts_well = subject.chars().next().is_some_and(|first| !first.is_whitespace());
    let plain = subject.chars().all(|letter| !letter.is_control());
    if !starts_well || !plain || subject.chars().count() > SUBJECT_CHARACTERS_MAX {
        return Err(invalid("Subject"));
    }
    Ok(Some(subject.to_owned()))
}

fn deduplication_id(topic: &Topic, form: &Form) -> Result<Option<String>, ServiceError> {
    let given = form.get("MessageDeduplicationId").map(str::to_owned);
    if !topic.is_fifo() {
        return match given {
            None => Ok(None),
            Some(_) => Err(invalid(
                "MessageDeduplicationId Reason: The request includes a MessageDeduplicationId parameter that is not \
                 valid for this topic type",
            )),
        };
    }
    if form.get("MessageGroupId").is_none_or(str::is_empty) {
        return Err(invalid("The MessageGroupId parameter is required for FIFO topics"));
    }
    match given {
        Some(id) => Ok(Some(id)),
        None if topic.attribute("ContentBasedDeduplication") == Some("true") => {
            Ok(Some(hex::encode(Sha256::digest(form.get("Message").unwrap_or("")))))
        }
        None => Err(invalid(
            "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
             explicitly",
        )),
    }
}

fn recent(
    connection: &Connection,
    call: &Call,
    topic: &Topic,
    id: &str,
) -> Result<Option<Value>, ServiceError> {
    let horizon = call.now_ms - DEDUPLICATION_MS;
    let sweep = "DELETE FROM deduplication WHERE (topic_id, id) IN
                 (SELECT topic_id, id FROM deduplication WHERE at < ?1 ORDER BY at LIMIT 20)";
    connection.prepare_cached(sweep)?.execute([horizon])?;
    let sql = "SELECT answer FROM deduplication WHERE topic_id = ?1 AND id = ?2 AND at >= ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let answer: Option<String> =
        statement.query_row(params![topic.id, id, horizon], |row| row.get(0)).optional()?;
    answer.map(|answer| serde_json::from_str(&answer).map_err(ServiceError::internal)).transpose()
}

/// One row for each subscription whose filter lets the message through.
fn owe(
    connection: &Connection,
    call: &Call,
    topic: &Topic,
    published: &Published,
) -> Result<(), ServiceError> {
    let sql =
        format!("SELECT {SUBSCRIPTION_COLUMNS} FROM subscriptions WHERE topic_id = ?1 AND confirmed = 1");
    let mut statement = connection.prepare_cached(&sql)?;
    let subscriptions = statement.query_map([topic.id], Subscription::from_row)?;
    let seen_by_attributes = attributes::as_document(&published.attributes);
    let mut message_id = None;
    for subscription in subscriptions {
        let subscription = subscription?;
        if !passes(&subscription, &seen_by_attributes, published) {
            continue;
        }
        let message_id = match message_id {
            Some(id) => id,
            None => *message_id.insert(published.store(connection, topic.id)?),
        };
        let sql =
            "INSERT INTO deliveries(message_id, subscription_id, fifo_group, due) VALUES (?1, ?2, ?3, ?4)";
        let group = published.group_id.as_deref().filter(|_| topic.is_fifo());
        connection.prepare_cached(sql)?.execute(params![message_id, subscription.id, group, call.now_ms])?;
    }
    Ok(())
}

fn passes(subscription: &Subscription, attributes: &Value, published: &Published) -> bool {
    let Some(text) = subscription.attribute("FilterPolicy") else { return true };
    // It was checked when it was set; one that cannot be read lets nothing through.
    let Ok(filter) = filter_of(text) else { return false };
    let Some(filter) = filter else { return true };
    if subscription.attribute("FilterPolicyScope") != Some("MessageBody") {
        return filter.matches(attributes);
    }
    match serde_json::from_str::<Value>(published.text_for(&subscription.protocol)) {
        Ok(body @ Value::Object(_)) => filter.matches(&body),
        Ok(_) | Err(_) => false,
    }
}
