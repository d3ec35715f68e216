//! What CloudFormation knows of a stack besides its kept state: status, template, tags, and the work that is owed to it.
//!
//! Invariants: there is at most one living record of a name; a deleted one is found by its id for ninety days. Work is
//! written with the status that announces it and taken away with the status that ends it, so a killed server finds it.

use super::maker::StackOrder;
use super::{Call, sealed};
use crate::seal::Sealer;
use crate::wire::{Principal, ServiceError};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(super) const SCHEMA: &str = "
CREATE TABLE records(
    id TEXT PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, is_live INTEGER NOT NULL,
    status TEXT NOT NULL, reason TEXT NOT NULL, details TEXT NOT NULL, work TEXT, created INTEGER NOT NULL,
    updated INTEGER, deleted INTEGER) WITHOUT ROWID;
CREATE UNIQUE INDEX records_live ON records(account, region, name) WHERE is_live = 1;
CREATE TABLE change_sets(
    id TEXT PRIMARY KEY, stack TEXT NOT NULL, name TEXT NOT NULL, created INTEGER NOT NULL, document TEXT NOT NULL)
    WITHOUT ROWID;
CREATE UNIQUE INDEX change_sets_name ON change_sets(stack, name);
CREATE TABLE stack_events(
    stack TEXT NOT NULL, sequence INTEGER NOT NULL, document TEXT NOT NULL, PRIMARY KEY(stack, sequence)) WITHOUT ROWID;
INSERT INTO records
    SELECT json_extract(state, '$.id'), account, region, name, 1, coalesce(json_extract(state, '$.status'), ''), '', '{}',
           NULL, created, nullif(updated, created), NULL
    FROM stacks WHERE coalesce(json_extract(state, '$.id'), '') <> '';
";

/// Deleted stacks are shown for this long, as on AWS.
const DELETED_KEPT_MS: i64 = 90 * 24 * 3600 * 1000;

/// One stack as CloudFormation's API knows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub id: String,
    pub account: String,
    pub region: String,
    pub name: String,
    pub is_live: bool,
    pub status: String,
    pub reason: String,
    pub details: Details,
    pub work: Option<Work>,
    pub created_ms: i64,
    pub updated_ms: Option<i64>,
    pub deleted_ms: Option<i64>,
}

/// What a stack was last made with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Details {
    pub template: String,
    pub description: String,
    pub tags: BTreeMap<String, String>,
    pub capabilities: Vec<String>,
    pub notification_arns: Vec<String>,
    pub role_arn: Option<String>,
    pub timeout_minutes: Option<u32>,
    pub keeps_failed: bool,
    pub deletes_failed: bool,
    pub token: Option<String>,
    pub change_set: Option<String>,
    pub is_protected: bool,
}

/// Work that is owed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Work {
    pub task: Task,
    pub caller: Principal,
    /// What the stack is made with, once it is.
    pub details: Details,
    /// Somebody has asked for its deletion meanwhile.
    pub then_delete: Option<Principal>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Task {
    Create(StackOrder),
    Update(StackOrder),
    Delete,
}

const COLUMNS: &str =
    "id, account, region, name, is_live, status, reason, details, work, created, updated, deleted";

impl Record {
    fn of(row: &Row<'_>, sealer: &Sealer) -> rusqlite::Result<Record> {
        let (id, details): (String, String) = (row.get(0)?, row.get(7)?);
        // Work that does not open is not done; it must not hold up the work on other stacks.
        let work = sealed::open(sealer, &id, 8, row.get_ref(8)?).unwrap_or_else(|error| {
            tracing::error!(stack = id, %error, "the work that is owed to a stack cannot be read");
            String::new()
        });
        Ok(Record {
            id,
            account: row.get(1)?,
            region: row.get(2)?,
            name: row.get(3)?,
            is_live: row.get(4)?,
            status: row.get(5)?,
            reason: row.get(6)?,
            details: serde_json::from_str(&details).unwrap_or_default(),
            work: serde_json::from_str(&work).ok(),
            created_ms: row.get(9)?,
            updated_ms: row.get(10)?,
            deleted_ms: row.get(11)?,
        })
    }

    /// A stack that begins to be.
    pub fn new(call: &Call, name: &str, id: &str, status: &str) -> Record {
        Record {
            id: id.to_owned(),
            account: call.account.clone(),
            region: call.region.clone(),
            name: name.to_owned(),
            is_live: true,
            status: status.to_owned(),
            reason: String::new(),
            details: Details::default(),
            work: None,
            created_ms: call.now_ms,
            updated_ms: None,
            deleted_ms: None,
        }
    }

    pub fn save(&self, connection: &Connection, sealer: &Sealer) -> Result<(), ServiceError> {
        let work = self.work.as_ref().map(|work| {
            let text = serde_json::to_string(work).map_err(ServiceError::internal)?;
            sealed::seal(sealer, &self.id, &text)
        });
        let work = work.transpose()?;
        let details = serde_json::to_string(&self.details).map_err(ServiceError::internal)?;
        let sql = "INSERT OR REPLACE INTO records VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        connection.prepare_cached(sql)?.execute(params![
            self.id,
            self.account,
            self.region,
            self.name,
            self.is_live,
            self.status,
            self.reason,
            details,
            work,
            self.created_ms,
            self.updated_ms,
            self.deleted_ms
        ])?;
        Ok(())
    }

    /// It is gone; its id goes on being known for a while.
    pub fn retire(&mut self, connection: &Connection, call: &Call) -> Result<(), ServiceError> {
        self.is_live = false;
        self.status = "DELETE_COMPLETE".to_owned();
        self.deleted_ms = Some(call.now_ms);
        self.work = None;
        connection.execute("DELETE FROM change_sets WHERE stack = ?1", [&self.id])?;
        let old = call.now_ms - DELETED_KEPT_MS;
        let sql = "DELETE FROM stack_events WHERE stack IN (SELECT id FROM records WHERE is_live = 0 AND deleted < ?1)";
        connection.execute(sql, [old])?;
        connection.execute("DELETE FROM records WHERE is_live = 0 AND deleted < ?1", [old])?;
        self.save(connection, &call.sealer)
    }

    /// A living stack of the caller that a name or an id names, or a deleted one that its id names.
    pub fn find(
        connection: &Connection,
        call: &Call,
        name_or_id: &str,
    ) -> Result<Option<Record>, ServiceError> {
        let column = if name_or_id.starts_with("arn:") { "id = ?3" } else { "name = ?3 AND is_live = 1" };
        let sql = format!("SELECT {COLUMNS} FROM records WHERE account = ?1 AND region = ?2 AND {column}");
        let row = params![call.account, call.region, name_or_id];
        let of = |row: &Row<'_>| Record::of(row, &call.sealer);
        Ok(connection.prepare_cached(&sql)?.query_row(row, of).optional()?)
    }

    /// As [`Record::find`], with AWS's error.
    pub fn named(connection: &Connection, call: &Call, name_or_id: &str) -> Result<Record, ServiceError> {
        Record::find(connection, call, name_or_id)?.ok_or_else(|| {
            ServiceError::client("ValidationError", format!("Stack with id {name_or_id} does not exist"))
        })
    }

    /// The caller's stacks, newest first.
    pub fn all(
        connection: &Connection,
        call: &Call,
        with_deleted: bool,
    ) -> Result<Vec<Record>, ServiceError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM records WHERE account = ?1 AND region = ?2 AND is_live >= ?3 ORDER BY created DESC, name"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let row = params![call.account, call.region, i64::from(!with_deleted)];
        let rows = statement.query_map(row, |row| Record::of(row, &call.sealer))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Every stack to which work is owed, whoever's it is.
    pub fn owed(connection: &Connection, sealer: &Sealer) -> Result<Vec<Record>, ServiceError> {
        let sql = format!("SELECT {COLUMNS} FROM records WHERE work IS NOT NULL ORDER BY created");
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map([], |row| Record::of(row, sealer))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
