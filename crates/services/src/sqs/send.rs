//! Sending: checks, FIFO order and deduplication.

use super::message::{Attribute, MessageAttributes, check, md5_of, md5_of_attributes, value};
use super::queues::{Queue, required};
use super::{Call, errors, settle};
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// A deduplication id is remembered this long.
const DEDUPLICATION_MS: i64 = 5 * 60 * 1000;
/// FIFO sequence numbers have 20 digits; positions are counted from here.
const SEQUENCE_BEGIN: u64 = 18_000_000_000_000_000_000;
const DELAY_SECONDS_MAX: i64 = 900;

/// One message to be sent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    #[serde(default)]
    id: String,
    #[serde(default)]
    message_body: String,
    delay_seconds: Option<i64>,
    #[serde(default)]
    message_attributes: MessageAttributes,
    #[serde(default)]
    message_system_attributes: MessageAttributes,
    message_deduplication_id: Option<String>,
    message_group_id: Option<String>,
}

pub(super) fn send(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    let queue = required(connection, call)?;
    let message: Message = call.input()?;
    send_one(connection, call, &queue, message).map(Value::Object)
}

pub(super) fn send_batch(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    let queue = required(connection, call)?;
    let entries = settle::entries(&call.input, "SendMessageBatchRequestEntry")?;
    let messages = entries.into_iter().map(serde_json::from_value).collect::<Result<Vec<Message>, _>>();
    let messages = messages.map_err(|error| ServiceError::serialization(error.to_string()))?;
    let bytes_max = usize::try_from(super::attributes::MESSAGE_BYTES_MAX).unwrap_or(usize::MAX);
    let bytes = messages.iter().map(|message| message.message_body.len()).sum();
    if bytes > bytes_max {
        return Err(errors::batch_too_long(bytes_max, bytes));
    }
    let mut outcome = settle::Outcome::default();
    for message in messages {
        let id = message.id.clone();
        outcome.add(&id, send_one(connection, call, &queue, message))?;
    }
    Ok(outcome.output())
}

fn send_one(
    connection: &Connection,
    call: &Call,
    queue: &Queue,
    message: Message,
) -> Result<Map<String, Value>, ServiceError> {
    let bytes_max = queue.attributes.number("MaximumMessageSize");
    check(&message.message_body, &message.message_attributes, bytes_max)?;
    if let Some(name) = message.message_system_attributes.keys().find(|name| *name != "AWSTraceHeader") {
        return Err(errors::invalid_parameter(format!("Message system attribute name '{name}' is invalid.")));
    }
    check_group(queue, &message)?;
    let key = deduplication_key(queue, &message)?;
    let known = match &key {
        Some((key, _)) => deduplicated(connection, call, queue, key)?,
        None => None,
    };
    let (message_id, position) = match known {
        Some(known) => known,
        None => store(connection, call, queue, &message, key.as_ref())?,
    };
    let mut output = Map::new();
    output.insert("MD5OfMessageBody".to_owned(), json!(md5_of(&message.message_body)));
    let digest = md5_of_attributes(&message.message_attributes);
    output.extend(digest.map(|digest| ("MD5OfMessageAttributes".to_owned(), json!(digest))));
    let digest = md5_of_attributes(&message.message_system_attributes);
    output.extend(digest.map(|digest| ("MD5OfMessageSystemAttributes".to_owned(), json!(digest))));
    output.insert("MessageId".to_owned(), json!(message_id));
    if queue.address.is_fifo() {
        output.insert("SequenceNumber".to_owned(), json!(sequence_number(position)));
    }
    Ok(output)
}

/// A message's place in a FIFO queue, as SQS shows it.
fn sequence_number(position: i64) -> String {
    SEQUENCE_BEGIN.saturating_add(u64::try_from(position).unwrap_or_default()).to_string()
}

fn check_group(queue: &Queue, message: &Message) -> Result<(), ServiceError> {
    let is_text =
        |text: &String| (1..=128).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
    let named = [
        ("MessageGroupId", &message.message_group_id),
        ("MessageDeduplicationId", &message.message_deduplication_id),
    ];
    for (name, text) in named {
        if text.as_ref().is_some_and(|text| !is_text(text)) {
            let value = text.as_deref().unwrap_or_default();
            return Err(errors::invalid_parameter(format!(
                "Value {value} for parameter {name} is invalid. Reason: {name} can only include alphanumeric and \
                 punctuation characters. 1 to 128 in length."
            )));
        }
    }
    let delay_is_valid = |delay: i64| (0..=DELAY_SECONDS_MAX).contains(&delay);
    match (queue.address.is_fifo(), message.delay_seconds) {
        (true, _) if message.message_group_id.is_none() => Err(errors::missing_parameter("MessageGroupId")),
        (true, Some(delay)) if delay > 0 => Err(errors::invalid_parameter(format!(
            "Value {delay} for parameter DelaySeconds is invalid. Reason: The request include parameter that is not \
             valid for this queue type."
        ))),
        (false, _) if message.message_deduplication_id.is_some() => {
            let id = message.message_deduplication_id.as_deref().unwrap_or_default();
            Err(errors::invalid_parameter(format!(
                "Value {id} for parameter MessageDeduplicationId is invalid. Reason: The request includes a parameter \
                 that is not valid for this queue type."
            )))
        }
        (_, Some(delay)) if !delay_is_valid(delay) => Err(errors::invalid_parameter(format!(
            "Value {delay} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= \
             {DELAY_SECONDS_MAX}."
        ))),
        (true | false, _) => Ok(()),
    }
}

/// The key under which a FIFO message is deduplicated, and the deduplication id shown to receivers.
fn deduplication_key(queue: &Queue, message: &Message) -> Result<Option<(String, String)>, ServiceError> {
    if !queue.address.is_fifo() {
        return Ok(None);
    }
    let id = match &message.message_deduplication_id {
        Some(id) => id.clone(),
        None if queue.attributes.is_true("ContentBasedDeduplication") => {
            hex::encode(Sha256::digest(message.message_body.as_bytes()))
        }
        None => {
            return Err(errors::invalid_parameter(
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
                 explicitly",
            ));
        }
    };
    let is_by_group = queue.attributes.get("DeduplicationScope").as_deref() == Some("messageGroup");
    let group = message.message_group_id.as_deref().filter(|_| is_by_group).unwrap_or_default();
    // A group has no space in its name, so the two parts cannot run together.
    Ok(Some((format!("{group} {id}"), id)))
}

fn deduplicated(
    connection: &Connection,
    call: &Call,
    queue: &Queue,
    key: &str,
) -> rusqlite::Result<Option<(String, i64)>> {
    let begin = call.now_ms() - DEDUPLICATION_MS;
    let sweep = "DELETE FROM deduplication WHERE queue = ?1 AND at <= ?2";
    connection.prepare_cached(sweep)?.execute(params![queue.id, begin])?;
    let query = "SELECT message_id, position FROM deduplication WHERE queue = ?1 AND key = ?2";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    connection.prepare_cached(query)?.query_row(params![queue.id, key], read).optional()
}

fn store(
    connection: &Connection,
    call: &Call,
    queue: &Queue,
    message: &Message,
    key: Option<&(String, String)>,
) -> Result<(String, i64), ServiceError> {
    let message_id = uuid::Uuid::new_v4().to_string();
    let delay = message.delay_seconds.unwrap_or_else(|| queue.attributes.number("DelaySeconds"));
    let mut system = Map::new();
    system.insert("SenderId".to_owned(), json!(call.sender_id));
    if let Some(Attribute { string_value: Some(header), .. }) =
        message.message_system_attributes.get("AWSTraceHeader")
    {
        system.insert("AWSTraceHeader".to_owned(), json!(header));
    }
    system.extend(message.message_group_id.as_ref().map(|group| ("MessageGroupId".to_owned(), json!(group))));
    system.extend(key.map(|(_, id)| ("MessageDeduplicationId".to_owned(), json!(id))));
    let insert =
        "INSERT INTO messages(queue, id, body, attributes, system_attributes, sent, visible, group_id)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let is_fifo = queue.address.is_fifo();
    connection.prepare_cached(insert)?.execute(params![
        queue.id,
        message_id,
        message.message_body,
        value(&message.message_attributes).to_string(),
        Value::Object(system).to_string(),
        call.now_ms(),
        call.now_ms() + delay * 1000,
        // Groups of standard queues are for fairness among tenants, not for order.
        message.message_group_id.as_ref().filter(|_| is_fifo),
    ])?;
    let position = connection.last_insert_rowid();
    if is_fifo {
        let update =
            "UPDATE messages SET system_attributes = json_set(system_attributes, '$.SequenceNumber', ?2)
            WHERE position = ?1";
        connection.prepare_cached(update)?.execute(params![position, sequence_number(position)])?;
    }
    if let Some((key, _)) = key {
        let insert =
            "INSERT INTO deduplication(queue, key, at, message_id, position) VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = params![queue.id, key, call.now_ms(), message_id, position];
        connection.prepare_cached(insert)?.execute(values)?;
    }
    Ok((message_id, position))
}
