//! After a receive: deleting a message or changing how long it stays invisible. Batches of any kind.

use super::queues::{Queue, required};
use super::{Call, errors};
use crate::wire::ServiceError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

const ENTRIES_MAX: usize = 10;
const VISIBILITY_SECONDS_MAX: i64 = 43_200;

/// What a receipt handle says.
struct Receipt {
    position: i64,
    receipt: String,
}

/// A receipt handle: opaque to callers.
pub(super) fn handle(queue_id: i64, position: i64, receipt: &str) -> String {
    STANDARD.encode(format!("{queue_id} {position} {receipt}"))
}

pub(super) fn delete(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    let queue = required(connection, call)?;
    delete_one(connection, call, &queue, &call.input)?;
    Ok(Value::Null)
}

pub(super) fn delete_batch(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    batch(connection, call, "DeleteMessageBatchRequestEntry", delete_one)
}

pub(super) fn change_visibility(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    let queue = required(connection, call)?;
    change_one(connection, call, &queue, &call.input)?;
    Ok(Value::Null)
}

pub(super) fn change_visibility_batch(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    batch(connection, call, "ChangeMessageVisibilityBatchRequestEntry", change_one)
}

fn batch(
    connection: &Connection,
    call: &Call,
    entry_name: &str,
    one: fn(&Connection, &Call, &Queue, &Value) -> Result<(), ServiceError>,
) -> Result<Value, ServiceError> {
    let queue = required(connection, call)?;
    let mut outcome = Outcome::default();
    for entry in entries(&call.input, entry_name)? {
        let id = entry["Id"].as_str().unwrap_or_default().to_owned();
        outcome.add(&id, one(connection, call, &queue, &entry).map(|()| Map::new()))?;
    }
    Ok(outcome.output())
}

/// Deletes by the receipt of the latest receive. An older receipt is accepted and deletes nothing.
fn delete_one(
    connection: &Connection,
    call: &Call,
    queue: &Queue,
    entry: &Value,
) -> Result<(), ServiceError> {
    let (text, receipt) = receipt_of(queue, entry)?;
    if queue.address.is_fifo() {
        let query = "SELECT visible FROM messages WHERE position = ?1 AND queue = ?2 AND receipt = ?3";
        let values = params![receipt.position, queue.id, receipt.receipt];
        let visible: Option<i64> =
            connection.prepare_cached(query)?.query_row(values, |row| row.get(0)).optional()?;
        if visible.is_some_and(|visible| visible <= call.now_ms()) {
            return Err(errors::invalid_parameter(format!(
                "Value {text} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
            )));
        }
    }
    let delete = "DELETE FROM messages WHERE position = ?1 AND queue = ?2 AND receipt = ?3";
    let values = params![receipt.position, queue.id, receipt.receipt];
    connection.prepare_cached(delete)?.execute(values)?;
    Ok(())
}

fn change_one(
    connection: &Connection,
    call: &Call,
    queue: &Queue,
    entry: &Value,
) -> Result<(), ServiceError> {
    let (text, receipt) = receipt_of(queue, entry)?;
    let timeout = entry.get("VisibilityTimeout").and_then(Value::as_i64);
    let timeout = timeout.ok_or_else(|| errors::missing_parameter("VisibilityTimeout"))?;
    if !(0..=VISIBILITY_SECONDS_MAX).contains(&timeout) {
        return Err(errors::invalid_parameter(format!(
            "Value {timeout} for parameter VisibilityTimeout is invalid. Reason: VisibilityTimeout must be an integer \
             between 0 and {VISIBILITY_SECONDS_MAX}."
        )));
    }
    let update = "UPDATE messages SET visible = ?4
        WHERE position = ?1 AND queue = ?2 AND receipt = ?3 AND visible > ?5";
    let now_ms = call.now_ms();
    let values = params![receipt.position, queue.id, receipt.receipt, now_ms + timeout * 1000, now_ms];
    match connection.prepare_cached(update)?.execute(values)? {
        0 => Err(errors::not_in_flight(&text)),
        _ => Ok(()),
    }
}

fn receipt_of(queue: &Queue, entry: &Value) -> Result<(String, Receipt), ServiceError> {
    let text = entry.get("ReceiptHandle").and_then(Value::as_str).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| errors::missing_parameter("ReceiptHandle"))?;
    let read = || {
        let decoded = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        let mut parts = decoded.split(' ');
        let (queue_id, position) = (parts.next()?.parse::<i64>().ok()?, parts.next()?.parse().ok()?);
        let receipt = parts.next()?.to_owned();
        (queue_id == queue.id).then_some(Receipt { position, receipt })
    };
    let receipt = read().ok_or_else(|| errors::invalid_receipt(text))?;
    Ok((text.to_owned(), receipt))
}

/// The entries of a batch: one to ten, with ids that are valid and distinct.
pub(super) fn entries(input: &Value, entry_name: &str) -> Result<Vec<Value>, ServiceError> {
    let entries = input.get("Entries").and_then(Value::as_array).filter(|entries| !entries.is_empty());
    let entries = entries.ok_or_else(|| errors::empty_batch(entry_name))?;
    if entries.len() > ENTRIES_MAX {
        return Err(errors::too_many_entries(entries.len()));
    }
    let mut seen = HashSet::new();
    for entry in entries {
        let id = entry.get("Id").and_then(Value::as_str).unwrap_or_default();
        let is_allowed = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
        if !(1..=80).contains(&id.len()) || !id.chars().all(is_allowed) {
            return Err(errors::invalid_entry_id());
        }
        if !seen.insert(id) {
            return Err(errors::repeated_entry(id));
        }
    }
    Ok(entries.clone())
}

/// What became of the entries of a batch.
#[derive(Default)]
pub(super) struct Outcome {
    successful: Vec<Value>,
    failed: Vec<Value>,
}

impl Outcome {
    /// Notes one entry. Our own faults fail the whole batch, which is then undone.
    pub(super) fn add(
        &mut self,
        id: &str,
        result: Result<Map<String, Value>, ServiceError>,
    ) -> Result<(), ServiceError> {
        match result {
            Ok(output) => {
                let mut entry = Map::from_iter([("Id".to_owned(), json!(id))]);
                entry.extend(output);
                self.successful.push(Value::Object(entry));
            }
            Err(error) if error.status.is_server_error() => return Err(error),
            Err(error) => {
                let code = error.query_code.as_deref().unwrap_or(error.short_code());
                let entry = json!({ "Id": id, "SenderFault": true, "Code": code, "Message": error.message });
                self.failed.push(entry);
            }
        }
        Ok(())
    }

    pub(super) fn output(self) -> Value {
        let mut output = Map::new();
        output.insert("Successful".to_owned(), Value::Array(self.successful));
        if !self.failed.is_empty() {
            output.insert("Failed".to_owned(), Value::Array(self.failed));
        }
        Value::Object(output)
    }
}
