//! The kept states: a document for each stack, replaced only by its successor.
//!
//! A state is whatever the deployer writes; what the reading calls show of it is listed in [`Stack`].

use super::Call;
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Value, json};

const NAME_MAX: usize = 128;

/// A stack with its state. Of that are read: `id`, `status`, `description`, `parameters` (name → `{value, no_echo}`), `resources`
/// (logical id → `{kind, reference}`), `order` (logical ids), `outputs` (name → `{value, description, export}`) and
/// `imports` (names of exports).
pub(super) struct Stack {
    pub name: String,
    pub state: Value,
    pub created_ms: i64,
    pub updated_ms: i64,
}

impl Stack {
    fn of(row: &Row<'_>) -> rusqlite::Result<Stack> {
        let state: String = row.get(1)?;
        Ok(Stack {
            name: row.get(0)?,
            state: serde_json::from_str(&state).unwrap_or_default(),
            created_ms: row.get(2)?,
            updated_ms: row.get(3)?,
        })
    }

    /// A member of the state as text.
    pub fn text(&self, member: &str) -> &str {
        self.state.get(member).and_then(Value::as_str).unwrap_or_default()
    }
}

pub(super) fn get(connection: &Connection, call: &Call, name: &str) -> Result<Value, ServiceError> {
    let sql = "SELECT revision, state FROM stacks WHERE account = ?1 AND region = ?2 AND name = ?3";
    let found = connection
        .prepare_cached(sql)?
        .query_row(params![call.account, call.region, name], |row| Ok((row.get(0)?, row.get(1)?)))
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
    let sql = "INSERT INTO stacks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) ON CONFLICT(account, region, name)
               DO UPDATE SET revision = ?4, state = ?5, updated = ?6";
    let row = params![call.account, call.region, name, revision + 1, state.to_string(), call.now_ms];
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
    connection.execute(sql, params![call.account, call.region, name])?;
    Ok(json!({}))
}

const COLUMNS: &str = "SELECT name, state, created, updated FROM stacks WHERE account = ?1 AND region = ?2";

/// Every stack of the caller, by name.
pub(super) fn all(connection: &Connection, call: &Call) -> Result<Vec<Stack>, ServiceError> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} ORDER BY name"))?;
    let rows = statement.query_map(params![call.account, call.region], Stack::of)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One stack, by name or id.
pub(super) fn find(connection: &Connection, call: &Call, name_or_id: &str) -> Result<Stack, ServiceError> {
    let name = match name_or_id.split_once(":stack/") {
        Some((_, rest)) => rest.split('/').next().unwrap_or_default(),
        None => name_or_id,
    };
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} AND name = ?3"))?;
    let found = statement.query_row(params![call.account, call.region, name], Stack::of).optional()?;
    found.ok_or_else(|| {
        ServiceError::client("ValidationError", format!("Stack with id {name_or_id} does not exist"))
    })
}
