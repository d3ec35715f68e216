//! The tables, and how a file becomes one of ours.
//!
//! Invariant: the schema appears in one transaction together with `application_id` and `user_version`, so a crash
//! leaves either no store or a whole one. Every change here is a new `user_version` and a migration.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::failure::{self, Doing};
use super::{Durability, SqliteOptions};
use crate::StoreError;

/// "Pass": what `file` and other tools know our files by.
const APPLICATION_ID: i64 = 0x5061_7373;
/// The format of the tables.
pub(super) const USER_VERSION: i64 = 2;
/// Measured with `examples/append` on a busy machine: for turns of 1 to 2 KB, 4, 8 and 16 KiB cost the same within the
/// noise; 16 KiB saves a third of the CPU of 5 KB turns, but a lone commit then writes twice the bytes.
const PAGE_SIZE: i64 = 8192;
/// Pages of log after which a commit also checkpoints: 16 MiB, some hundred milliseconds' writing at most.
const CHECKPOINT_PAGES: i64 = 2000;
/// The log is cut back to this after a checkpoint.
const LOG_BYTES_MAX: i64 = 64 << 20;
/// A log of this size was not begun anew for long, because some reader was always at it.
pub(super) const LOG_BYTES_URGENT: u64 = 2 * LOG_BYTES_MAX as u64;
/// How long a checkpoint waits for readers; commits wait behind it.
const READERS_WAIT: Duration = Duration::from_millis(100);
/// Prepared statements kept by a connection.
const STATEMENTS_MAX: usize = 64;

/// The tables of format 1. Later ones are made of these by the migrations, also in a new file.
const TABLES: &str = "
CREATE TABLE scopes(id INTEGER PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL, UNIQUE(account, region));
CREATE TABLE arns(id INTEGER PRIMARY KEY, arn TEXT NOT NULL UNIQUE);
CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE journal(
    position INTEGER PRIMARY KEY,
    scope INTEGER NOT NULL, execution INTEGER NOT NULL, seq INTEGER NOT NULL,
    turn BLOB NOT NULL);
CREATE UNIQUE INDEX journal_execution ON journal(scope, execution, seq);

CREATE TABLE payloads(
    id INTEGER PRIMARY KEY,
    scope INTEGER NOT NULL, execution INTEGER NOT NULL, n INTEGER NOT NULL,
    bytes BLOB NOT NULL);
CREATE UNIQUE INDEX payloads_execution ON payloads(scope, execution, n);

CREATE TABLE executions(
    scope INTEGER NOT NULL, number INTEGER NOT NULL,
    space INTEGER NOT NULL, name TEXT NOT NULL,
    list INTEGER NOT NULL, machine INTEGER NOT NULL,
    version INTEGER, alias INTEGER, map_run_index INTEGER,
    status INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER,
    redrives INTEGER NOT NULL, redriven INTEGER,
    PRIMARY KEY(scope, number)) WITHOUT ROWID;
CREATE UNIQUE INDEX executions_name ON executions(space, name);
CREATE INDEX executions_start ON executions(list, start);
CREATE INDEX executions_status ON executions(list, status, start);

CREATE TABLE open(
    scope INTEGER NOT NULL, execution INTEGER NOT NULL,
    due INTEGER, owes INTEGER NOT NULL,
    PRIMARY KEY(scope, execution)) WITHOUT ROWID;

CREATE TABLE definitions(
    scope INTEGER NOT NULL, hash BLOB NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY(scope, hash)) WITHOUT ROWID;
CREATE TABLE registry(
    scope INTEGER NOT NULL, kind INTEGER NOT NULL, key TEXT NOT NULL,
    version INTEGER NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY(scope, kind, key)) WITHOUT ROWID;
CREATE TABLE map_run_items(
    scope INTEGER NOT NULL, map_run INTEGER NOT NULL, item INTEGER NOT NULL,
    execution_arn TEXT NOT NULL, status INTEGER NOT NULL, output TEXT,
    PRIMARY KEY(scope, map_run, item)) WITHOUT ROWID;
CREATE TABLE cursors(name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE quarantine(
    scope INTEGER NOT NULL, execution INTEGER NOT NULL,
    seq INTEGER NOT NULL, version TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY(scope, execution)) WITHOUT ROWID;
";

/// What makes a file of a format one of the next.
const MIGRATIONS: [(i64, &str); 1] = [(
    1,
    "
CREATE TABLE map_run_journal(
    id INTEGER PRIMARY KEY,
    scope INTEGER NOT NULL, map_run INTEGER NOT NULL, seq INTEGER NOT NULL,
    turn BLOB NOT NULL);
CREATE UNIQUE INDEX map_run_journal_seq ON map_run_journal(scope, map_run, seq);
ALTER TABLE map_run_items ADD COLUMN items INTEGER NOT NULL DEFAULT 1;
ALTER TABLE map_run_items ADD COLUMN input TEXT;
ALTER TABLE map_run_items ADD COLUMN start INTEGER;
ALTER TABLE map_run_items ADD COLUMN stop INTEGER;
ALTER TABLE map_run_items ADD COLUMN redrives INTEGER NOT NULL DEFAULT 0;
",
)];

/// Makes the writer's connection ready: identity, settings, tables, an empty log.
pub(super) fn prepare_writer(
    connection: &Connection,
    path: &Path,
    options: &SqliteOptions,
) -> Result<(), StoreError> {
    let fail = |error| failure::classify(error, path, Doing::Work);
    check_identity(connection, path)?;
    connection.pragma_update(None, "page_size", PAGE_SIZE).map_err(fail)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(fail)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(fail)?;
    if mode != "wal" {
        return Err(StoreError::Io {
            path: path.into(),
            reason: format!("SQLite's journal mode is {mode}, not WAL"),
        });
    }
    let synchronous = match options.durability {
        Durability::Full => "FULL",
        Durability::ProcessCrashOnly => "OFF",
    };
    connection.pragma_update(None, "synchronous", synchronous).map_err(fail)?;
    connection.pragma_update(None, "foreign_keys", false).map_err(fail)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(fail)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX).map_err(fail)?;
    connection.busy_timeout(options.busy_timeout).map_err(fail)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    let version = user_version(connection).map_err(fail)?;
    if version < USER_VERSION {
        migrate(connection, version).map_err(fail)?;
    }
    truncate_log(connection, options).map_err(fail)
}

/// Makes a reader's connection ready.
pub(super) fn prepare_reader(
    connection: &Connection,
    path: &Path,
    options: &SqliteOptions,
) -> Result<(), StoreError> {
    let fail = |error| failure::classify(error, path, Doing::Work);
    connection.pragma_update(None, "query_only", true).map_err(fail)?;
    connection.busy_timeout(options.busy_timeout).map_err(fail)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(())
}

/// Moves the log into the file and empties it, unless readers keep it for longer than a moment: then the next time.
pub(super) fn truncate_log(connection: &Connection, options: &SqliteOptions) -> rusqlite::Result<()> {
    connection.busy_timeout(READERS_WAIT.min(options.busy_timeout))?;
    // Busy (the first column is 1) is no error: what could be moved was.
    let done = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    connection.busy_timeout(options.busy_timeout)?;
    done
}

/// Refuses what is not ours, or newer than we are, before anything is written to it.
fn check_identity(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let fail = |error| failure::classify(error, path, Doing::Work);
    let application_id: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(fail)?;
    let version = user_version(connection).map_err(fail)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fail)?;
    let empty = tables == 0 && version == 0 && application_id == 0;
    if !empty && application_id != APPLICATION_ID {
        let reason = format!("its application_id is {application_id:#x}");
        return Err(StoreError::Foreign { path: path.into(), reason });
    }
    if version > USER_VERSION {
        return Err(StoreError::NewerVersion { path: path.into(), found: version, known: USER_VERSION });
    }
    Ok(())
}

fn user_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings a file to the newest format: all of it, or nothing.
fn migrate(connection: &Connection, from: i64) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    if from == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    } else {
        tracing::info!(from, to = USER_VERSION, "the tables of the store are brought to a newer format");
    }
    for (_, migration) in MIGRATIONS.iter().filter(|(version, _)| *version >= from) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", USER_VERSION)?;
    transaction.commit()
}
