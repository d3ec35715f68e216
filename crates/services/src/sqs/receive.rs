//! Receiving: which messages are visible, FIFO groups, dead letters.

use super::attributes::Redrive;
use super::message::{md5_of, md5_of_attributes, stored, value, wanted};
use super::queues::{Address, Queue, find, required};
use super::{Call, errors, settle};
use crate::wire::ServiceError;
use rusqlite::{Connection, Row, params};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Messages removed in one go when their time is over.
const SWEPT_MAX: i64 = 100;

/// The outcome of one look at a queue.
pub(super) struct Received {
    pub(super) messages: Vec<Value>,
    /// How long the caller is willing to wait for a message.
    pub(super) wait: Duration,
    /// In how long a message that is delayed or in flight becomes visible.
    pub(super) next_visible: Option<Duration>,
    /// The dead-letter queue to which messages were moved.
    pub(super) moved_to: Option<String>,
}

impl Received {
    pub(super) fn output(self) -> Value {
        if self.messages.is_empty() { json!({}) } else { json!({ "Messages": self.messages }) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReceiveMessage {
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
}

struct Message {
    position: i64,
    id: String,
    body: String,
    attributes: String,
    system_attributes: String,
    sent: i64,
    first_received: Option<i64>,
    receive_count: i64,
}

impl Message {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            position: row.get(0)?,
            id: row.get(1)?,
            body: row.get(2)?,
            attributes: row.get(3)?,
            system_attributes: row.get(4)?,
            sent: row.get(5)?,
            first_received: row.get(6)?,
            receive_count: row.get(7)?,
        })
    }
}

/// Takes the visible messages of a queue, at most as many as the caller wants.
pub(super) fn receive(connection: &Connection, call: &Call) -> Result<Received, ServiceError> {
    let queue = required(connection, call)?;
    let input: ReceiveMessage = call.input()?;
    let count = bounded(input.max_number_of_messages, "MaxNumberOfMessages", 1, 10)?.unwrap_or(1);
    let wait = bounded(input.wait_time_seconds, "WaitTimeSeconds", 0, 20)?;
    let visibility = bounded(input.visibility_timeout, "VisibilityTimeout", 0, 43_200)?;
    let wait = wait.unwrap_or_else(|| queue.attributes.number("ReceiveMessageWaitTimeSeconds"));
    let visibility = visibility.unwrap_or_else(|| queue.attributes.number("VisibilityTimeout"));
    sweep(connection, &queue, call.now_ms())?;
    let redrive = match queue.attributes.redrive() {
        Some(redrive) => target(connection, redrive)?,
        None => None,
    };
    let (mut messages, mut moved) = (Vec::new(), 0);
    for message in visible(connection, &queue, call.now_ms(), count)? {
        match &redrive {
            Some((target, redrive)) if message.receive_count >= redrive.receive_count_max => {
                move_to(connection, &queue, target, &message, call.now_ms())?;
                moved += 1;
            }
            _ => {
                let handle = take(connection, &queue, &message, call.now_ms(), visibility)?;
                messages.push(shown(message, &handle, &input, call.now_ms()));
            }
        }
    }
    let moved_to = redrive.filter(|_| moved > 0).map(|(_, redrive)| redrive.target_arn);
    let next_visible = match (messages.is_empty(), moved) {
        // Only dead letters were found: what lies behind them may be visible already.
        (true, 1..) => Some(Duration::ZERO),
        (true, _) => next_visible(connection, &queue, call.now_ms())?,
        (false, _) => None,
    };
    let wait = Duration::from_secs(u64::try_from(wait).unwrap_or_default());
    Ok(Received { messages, wait, next_visible, moved_to })
}

fn bounded(value: Option<i64>, name: &str, least: i64, most: i64) -> Result<Option<i64>, ServiceError> {
    match value {
        Some(value) if !(least..=most).contains(&value) => Err(errors::invalid_parameter(format!(
            "Value {value} for parameter {name} is invalid. Reason: Must be between {least} and {most}, if provided."
        ))),
        other => Ok(other),
    }
}

/// Removes messages whose retention is over.
fn sweep(connection: &Connection, queue: &Queue, now_ms: i64) -> rusqlite::Result<()> {
    let oldest = now_ms - queue.attributes.number("MessageRetentionPeriod") * 1000;
    let delete = "DELETE FROM messages WHERE position IN
        (SELECT position FROM messages WHERE queue = ?1 AND sent <= ?2 ORDER BY sent LIMIT ?3)";
    connection.prepare_cached(delete)?.execute(params![queue.id, oldest, SWEPT_MAX]).map(|_| ())
}

fn visible(
    connection: &Connection,
    queue: &Queue,
    now_ms: i64,
    count: i64,
) -> rusqlite::Result<Vec<Message>> {
    const COLUMNS: &str =
        "position, id, body, attributes, system_attributes, sent, first_received, receive_count";
    let query = if queue.address.is_fifo() {
        // A group waits while any message of it is in flight or delayed. The plus keeps SQLite on the index by age,
        // which gives the order without sorting the whole queue.
        format!(
            "SELECT {COLUMNS} FROM messages WHERE queue = ?1 AND +visible <= ?2
                AND group_id NOT IN (SELECT group_id FROM messages WHERE queue = ?1 AND visible > ?2)
             ORDER BY sent, position LIMIT ?3"
        )
    } else {
        format!(
            "SELECT {COLUMNS} FROM messages WHERE queue = ?1 AND visible <= ?2 ORDER BY visible, position LIMIT ?3"
        )
    };
    let mut statement = connection.prepare_cached(&query)?;
    statement.query_map(params![queue.id, now_ms, count], Message::read)?.collect()
}

/// Makes a message invisible for a while, under a new receipt.
fn take(
    connection: &Connection,
    queue: &Queue,
    message: &Message,
    now_ms: i64,
    visibility: i64,
) -> rusqlite::Result<String> {
    let receipt = uuid::Uuid::new_v4().simple().to_string();
    let update = "UPDATE messages SET visible = ?2, receipt = ?3, receive_count = receive_count + 1,
        first_received = coalesce(first_received, ?4) WHERE position = ?1";
    let values = params![message.position, now_ms + visibility * 1000, receipt, now_ms];
    connection.prepare_cached(update)?.execute(values)?;
    Ok(settle::handle(queue.id, message.position, &receipt))
}

fn shown(message: Message, handle: &str, input: &ReceiveMessage, now_ms: i64) -> Value {
    let mut output = Map::new();
    output.insert("MessageId".to_owned(), json!(message.id));
    output.insert("ReceiptHandle".to_owned(), json!(handle));
    output.insert("MD5OfBody".to_owned(), json!(md5_of(&message.body)));
    let system = system_attributes(&message, input, now_ms);
    output.insert("Body".to_owned(), json!(message.body));
    if !system.is_empty() {
        output.insert("Attributes".to_owned(), Value::Object(system));
    }
    let attributes = wanted(stored(&message.attributes), &input.message_attribute_names);
    if let Some(digest) = md5_of_attributes(&attributes) {
        output.insert("MD5OfMessageAttributes".to_owned(), json!(digest));
        output.insert("MessageAttributes".to_owned(), value(&attributes));
    }
    Value::Object(output)
}

fn system_attributes(message: &Message, input: &ReceiveMessage, now_ms: i64) -> Map<String, Value> {
    let mut all: Map<String, Value> = serde_json::from_str(&message.system_attributes).unwrap_or_default();
    all.insert("SentTimestamp".to_owned(), json!(message.sent.to_string()));
    all.insert("ApproximateReceiveCount".to_owned(), json!((message.receive_count + 1).to_string()));
    let first = message.first_received.unwrap_or(now_ms);
    all.insert("ApproximateFirstReceiveTimestamp".to_owned(), json!(first.to_string()));
    let names = || input.attribute_names.iter().chain(&input.message_system_attribute_names);
    if !names().any(|name| name == "All") {
        all.retain(|name, _| names().any(|wanted| wanted == name));
    }
    all
}

/// The dead-letter queue. One that was deleted gets nothing: the messages stay and are received again.
fn target(connection: &Connection, redrive: Redrive) -> rusqlite::Result<Option<(Queue, Redrive)>> {
    let Some(address) = Address::of_arn(&redrive.target_arn) else { return Ok(None) };
    Ok(find(connection, &address)?.map(|target| (target, redrive)))
}

/// Moves a message that was received as often as its queue allows.
fn move_to(
    connection: &Connection,
    queue: &Queue,
    target: &Queue,
    message: &Message,
    now_ms: i64,
) -> rusqlite::Result<()> {
    // A FIFO queue's retention begins anew with the move; a standard queue's goes on.
    let sent = if target.address.is_fifo() { now_ms } else { message.sent };
    let update =
        "UPDATE messages SET queue = ?2, visible = ?3, sent = ?4, receipt = NULL, system_attributes =
            json_set(system_attributes, '$.DeadLetterQueueSourceArn', ?5) WHERE position = ?1";
    let values = params![message.position, target.id, now_ms, sent, queue.address.arn()];
    connection.prepare_cached(update)?.execute(values).map(|_| ())
}

/// In how long the next message becomes visible.
fn next_visible(connection: &Connection, queue: &Queue, now_ms: i64) -> rusqlite::Result<Option<Duration>> {
    let query = "SELECT min(visible) FROM messages WHERE queue = ?1 AND visible > ?2";
    let next: Option<i64> =
        connection.prepare_cached(query)?.query_row(params![queue.id, now_ms], |row| row.get(0))?;
    Ok(next.map(|next| Duration::from_millis(u64::try_from(next - now_ms).unwrap_or_default())))
}
