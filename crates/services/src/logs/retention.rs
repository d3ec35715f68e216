//! Deletes in the background what retention or a deletion has condemned, a few hundred events a transaction, so that no
//! writer waits long.

use crate::service_file::ServiceFile;
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

const EVENTS_PER_TRANSACTION: i64 = 500;
const PAUSE: Duration = Duration::from_secs(30);
const DAY_MS: i64 = 24 * 3600 * 1000;

/// Runs until it is aborted.
pub(super) async fn keep(file: ServiceFile) {
    let ServiceFile { environment, database } = file;
    loop {
        let now_ms = environment.now().as_millisecond();
        let more = database.write(move |connection| sweep(connection, now_ms)).await;
        match more {
            Ok(true) => tokio::task::yield_now().await,
            Ok(false) => environment.sleep(PAUSE).await,
            Err(error) => {
                tracing::warn!(%error, "log retention failed");
                environment.sleep(PAUSE).await;
            }
        }
    }
}

/// Deletes some; whether there is more to do.
fn sweep(connection: &Connection, now_ms: i64) -> Result<bool, ServiceError> {
    let sql = "SELECT rowid, group_id, stream_id FROM deleted LIMIT 1";
    let doomed: Option<(i64, Option<i64>, Option<i64>)> =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    if let Some((row, group_id, stream_id)) = doomed {
        let deleted = match (group_id, stream_id) {
            (Some(group_id), _) => delete_before(connection, group_id, i64::MAX)?,
            (None, Some(stream_id)) => delete_of_stream(connection, stream_id)?,
            (None, None) => 0,
        };
        if deleted == 0 {
            connection.execute("DELETE FROM deleted WHERE rowid = ?1", [row])?;
        }
        return Ok(true);
    }
    let mut statement = connection
        .prepare_cached("SELECT id, retention_days FROM groups WHERE retention_days IS NOT NULL")?;
    let groups: Vec<(i64, i64)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (group_id, days) in groups {
        if delete_before(connection, group_id, now_ms - days * DAY_MS)? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn delete_before(connection: &Connection, group_id: i64, at: i64) -> Result<usize, ServiceError> {
    let sql = "DELETE FROM events WHERE group_id = ?1 AND (at, seq) IN
               (SELECT at, seq FROM events WHERE group_id = ?1 AND at < ?2 ORDER BY at, seq LIMIT ?3)";
    Ok(connection.prepare_cached(sql)?.execute(params![group_id, at, EVENTS_PER_TRANSACTION])?)
}

fn delete_of_stream(connection: &Connection, stream_id: i64) -> Result<usize, ServiceError> {
    let sql = "DELETE FROM events WHERE (group_id, at, seq) IN
               (SELECT group_id, at, seq FROM events WHERE stream_id = ?1 LIMIT ?2)";
    Ok(connection.prepare_cached(sql)?.execute(params![stream_id, EVENTS_PER_TRANSACTION])?)
}
