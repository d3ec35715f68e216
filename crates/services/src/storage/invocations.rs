//! Calls that our runtime may send twice, after a crash, under the same invocation id. A service recalls the id in the
//! transaction of the effect: if it is known, the stored answer is given again and nothing is done.
//!
//! Ids are forgotten after 24 hours.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS invocations(
        id TEXT PRIMARY KEY, at INTEGER NOT NULL, answer BLOB NOT NULL) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS invocations_at ON invocations(at);";

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
