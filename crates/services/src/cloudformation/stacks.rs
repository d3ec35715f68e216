//! The kept states: a document for each stack, replaced only by its successor.
//!
//! A state is whatever the deployer writes; what the reading calls show of it is listed in [`Stack`].

use super::events::{self, Happened};
use super::records::Record;
use super::{Call, sealed};
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Value, json};

const NAME_MAX: usize = 128;

/// A stack with its state. Of that are read: `id`, `status`, `description`, `parameters` (name → `{value, no_echo}`), `resources`
/// (logical id → `{kind, reference}`), `order` (logical ids), `outputs` (name → `{value, description, export}`), `imports`
/// (names of exports), and for the events `pending`, `failed` and `retired`.
pub(super) struct Stack {
    pub record: Record,
    /// Null where nothing is made yet, or any more.
    pub state: Value,
}

impl Stack {
    fn of(connection: &Connection, call: &Call, record: Record) -> Result<Stack, ServiceError> {
        let state = if record.is_live { state_of(connection, call, &record.name)? } else { Value::Null };
        Ok(Stack { record, state })
    }
}

/// Every stack of the caller, newest first.
pub(super) fn all(
    connection: &Connection,
    call: &Call,
    with_deleted: bool,
) -> Result<Vec<Stack>, ServiceError> {
    let records = Record::all(connection, call, with_deleted)?;
    records.into_iter().map(|record| Stack::of(connection, call, record)).collect()
}

/// One stack, by name or id.
pub(super) fn find(connection: &Connection, call: &Call, name_or_id: &str) -> Result<Stack, ServiceError> {
    Stack::of(connection, call, Record::named(connection, call, name_or_id)?)
}

pub(super) fn get(connection: &Connection, call: &Call, name: &str) -> Result<Value, ServiceError> {
    let sql = "SELECT revision, state FROM stacks WHERE account = ?1 AND region = ?2 AND name = ?3";
    let found = connection
        .prepare_cached(sql)?
        .query_row(params![call.account, call.region, name], |row| {
            Ok((row.get(0)?, sealed::open(&call.sealer, &owner(call, name), 1, row.get_ref(1)?)?))
        })
        .optional()?;
    let (revision, state): (i64, String) = found.ok_or_else(|| {
        ServiceError::new(404, "ResourceNotFoundException", format!("Stack with id {name} does not exist"))
    })?;
    let state: Value = serde_json::from_str(&state).map_err(ServiceError::internal)?;
    Ok(json!({ "revision": revision, "state": state }))
}

/// The revision held, 0 for a stack that is not there.
fn held(connection: &Connection, call: &Call, name: &str) -> Result<i64, ServiceError> {
    let sql = "SELECT revision FROM stacks WHERE account = ?1 AND region = ?2 AND name = ?3";
    let row = params![call.account, call.region, name];
    Ok(connection.prepare_cached(sql)?.query_row(row, |row| row.get(0)).optional()?.unwrap_or(0))
}

/// For whom a state is sealed.
fn owner(call: &Call, name: &str) -> String {
    format!("stack {name} of {} in {}", call.account, call.region)
}

fn moved_on(name: &str) -> ServiceError {
    let message =
        format!("Another deployment of the stack {name} has begun meanwhile; it goes on from here.");
    ServiceError::new(409, "ConflictException", message)
}

pub(super) fn put(
    connection: &Connection,
    call: &Call,
    name: &str,
    revision: i64,
    state: &Value,
) -> Result<Value, ServiceError> {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let begins_well = name.starts_with(|letter: char| letter.is_ascii_alphabetic());
    if !begins_well || name.len() > NAME_MAX || !name.chars().all(is_allowed) {
        let message = format!(
            "1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
        );
        return Err(ServiceError::client("ValidationError", message));
    }
    if held(connection, call, name)? != revision {
        return Err(moved_on(name));
    }
    tell(connection, call, name, state)?;
    let sql = "INSERT INTO stacks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) ON CONFLICT(account, region, name)
               DO UPDATE SET revision = ?4, state = ?5, updated = ?6";
    let state = sealed::seal(&call.sealer, &owner(call, name), &state.to_string())?;
    let row = params![call.account, call.region, name, revision + 1, state, call.now_ms];
    connection.execute(sql, row)?;
    Ok(json!({ "revision": revision + 1 }))
}

pub(super) fn delete(
    connection: &Connection,
    call: &Call,
    name: &str,
    revision: i64,
) -> Result<Value, ServiceError> {
    if held(connection, call, name)? != revision {
        return Err(moved_on(name));
    }
    let sql = "DELETE FROM stacks WHERE account = ?1 AND region = ?2 AND name = ?3";
    let old = state_of(connection, call, name)?;
    connection.execute(sql, params![call.account, call.region, name])?;
    if let Some(mut record) = Record::find(connection, call, name)? {
        events::write(connection, &record, call.now_ms, &events::between(&old, &Value::Null))?;
        if record.work.is_none() {
            events::write(
                connection,
                &record,
                call.now_ms,
                &[Happened::to_stack(&record, "DELETE_COMPLETE", "")],
            )?;
            record.retire(connection, call)?;
        }
    }
    Ok(json!({}))
}

/// The kept state of a stack; null for none.
pub(super) fn state_of(connection: &Connection, call: &Call, name: &str) -> Result<Value, ServiceError> {
    let sql = "SELECT state FROM stacks WHERE account = ?1 AND region = ?2 AND name = ?3";
    let row = params![call.account, call.region, name];
    // One that does not open is shown as none, so that the others are.
    let opened = |row: &Row<'_>| {
        let state = sealed::open(&call.sealer, &owner(call, name), 0, row.get_ref(0)?);
        Ok(state.unwrap_or_else(|error| {
            tracing::error!(stack = name, %error, "the state of a stack cannot be read");
            String::new()
        }))
    };
    let found = connection.prepare_cached(sql)?.query_row(row, opened).optional()?;
    Ok(found.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// Brings the record, and the events, to what a new state says. How work on the stack ends is for whoever was asked for it
/// to say.
fn tell(connection: &Connection, call: &Call, name: &str, state: &Value) -> Result<(), ServiceError> {
    let old = state_of(connection, call, name)?;
    let status = state["status"].as_str().unwrap_or_default();
    // An id of somebody else is none.
    let own = format!("arn:aws:cloudformation:{}:{}:stack/{name}/", call.region, call.account);
    let id = state["id"].as_str().filter(|id| id.starts_with(&own)).unwrap_or_default();
    let mut record = match Record::find(connection, call, name)? {
        Some(record) if record.work.is_some() || record.id == id => record,
        // What is left of a stack whose creation failed gives way to one that is deployed from outside.
        Some(mut other) => {
            other.retire(connection, call)?;
            Record::new(call, name, id, "")
        }
        None if id.is_empty() => return Ok(()),
        None => Record::new(call, name, id, ""),
    };
    let mut happened = events::between(&old, state);
    let is_ours = record.work.is_none() || status.ends_with("_IN_PROGRESS");
    if is_ours && record.status != status {
        let failed = state["failed"]["id"].as_str().filter(|id| !id.is_empty());
        let verb = if status.starts_with("UPDATE") { "update" } else { "create" };
        let reason = failed.filter(|_| status.contains("ROLLBACK_IN")).map_or_else(String::new, |id| {
            format!("The following resource(s) failed to {verb}: [{id}]. Rollback requested by user.")
        });
        record.status = status.to_owned();
        record.updated_ms = (record.created_ms != call.now_ms).then_some(call.now_ms);
        let told = Happened::to_stack(&record, status, &reason);
        record.reason = reason;
        // A beginning comes before what is begun, an end after what was done.
        let at =
            if status.ends_with("_IN_PROGRESS") && !status.contains("ROLLBACK") { 0 } else { happened.len() };
        happened.insert(at, told);
    }
    record.save(connection, &call.sealer)?;
    events::write(connection, &record, call.now_ms, &happened)
}

/// A value as a text member shows it.
pub(super) fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
