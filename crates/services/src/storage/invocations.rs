//! Calls that our runtime may send twice, after a crash, under the same invocation id. A service recalls the id in the
//! transaction of the effect: if it is known, the stored answer is given again and nothing is done.
//!
//! Ids are forgotten after 24 hours.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS invocations(
        id TEXT PRIMARY KEY, at INTEGER NOT NULL, answer BLOB NOT NULL) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS invocations_at ON invocations(at);
    CREATE TABLE IF NOT EXISTS watermarks(source TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;";

const KEPT_SECONDS: i64 = 24 * 3600;

/// The answer given to this invocation before, if it was seen in the last 24 hours. Without an id: `None`.
pub fn recall(
    connection: &Connection,
    invocation_id: Option<&str>,
    now: Timestamp,
) -> rusqlite::Result<Option<Vec<u8>>> {
    let Some(id) = invocation_id else { return Ok(None) };
    let mut statement =
        connection.prepare_cached("SELECT answer FROM invocations WHERE id = ?1 AND at >= ?2")?;
    statement.query_row(params![id, now.as_second() - KEPT_SECONDS], |row| row.get(0)).optional()
}

/// Notes the answer of an invocation, in the transaction of its effect. Without an id: nothing.
pub fn remember(
    connection: &Connection,
    invocation_id: Option<&str>,
    now: Timestamp,
    answer: &[u8],
) -> rusqlite::Result<()> {
    let Some(id) = invocation_id else { return Ok(()) };
    // A bounded sweep with each new id keeps the table small without a background task.
    let mut sweep = connection.prepare_cached(
        "DELETE FROM invocations WHERE id IN (SELECT id FROM invocations WHERE at < ?1 ORDER BY at LIMIT 20)",
    )?;
    sweep.execute([now.as_second() - KEPT_SECONDS])?;
    let mut insert = connection
        .prepare_cached("INSERT OR REPLACE INTO invocations(id, at, answer) VALUES (?1, ?2, ?3)")?;
    insert.execute(params![id, now.as_second(), answer]).map(|_| ())
}

/// How far a reader of somebody's journal has come, `source` being the reader: what lies at or before this position is
/// here already. A reader that was killed comes with the same page again.
pub fn watermark(connection: &Connection, source: &str) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("SELECT position FROM watermarks WHERE source = ?1")?;
    let found: Option<i64> = statement.query_row([source], |row| row.get(0)).optional()?;
    Ok(found.and_then(|position| u64::try_from(position).ok()).unwrap_or(0))
}

/// Notes how far a reader has come, in the transaction of what it brought.
pub fn advance(connection: &Connection, source: &str, position: u64) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO watermarks(source, position) VALUES (?1, ?2)
         ON CONFLICT(source) DO UPDATE SET position = max(position, excluded.position)",
    )?;
    statement.execute(params![source, i64::try_from(position).unwrap_or(i64::MAX)]).map(|_| ())
}
