//! From time to rows: each firing of a schedule becomes one row that is owed to its target, in the transaction that moves
//! the schedule's cursor. So a firing happens once however the process ends.
//!
//! Firings that were missed follow the policy of [`crate::schedule::Timetable::catch_up`].

use super::schedules::{self, Schedule};
use crate::delivery::RetryPolicy;
use crate::wire::ServiceError;
use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Rows written in one transaction, so that no other writer waits long.
const FIRINGS_MAX: usize = 200;

/// Makes rows of all firings up to now; answers when to look again.
pub(super) fn fire(connection: &Connection, now_ms: i64) -> Result<Option<i64>, ServiceError> {
    let sql = format!(
        "SELECT {} FROM schedules WHERE next <= ?1 ORDER BY next, id LIMIT {FIRINGS_MAX}",
        schedules::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let due: Vec<Schedule> = statement.query_map([now_ms], schedules::read)?.collect::<Result<_, _>>()?;
    let mut room = FIRINGS_MAX;
    for schedule in &due {
        room -= fire_one(connection, schedule, now_ms, room)?;
        if room == 0 {
            break;
        }
    }
    next(connection)
}

/// When the next firing is.
pub(super) fn next(connection: &Connection) -> Result<Option<i64>, ServiceError> {
    let sql = "SELECT min(next) FROM schedules WHERE next IS NOT NULL";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// The number of firings made.
fn fire_one(
    connection: &Connection,
    schedule: &Schedule,
    now_ms: i64,
    room: usize,
) -> Result<usize, ServiceError> {
    let Some(cursor) = schedule.next_ms.map(moment) else { return Ok(0) };
    let target = &schedule.document["Target"];
    let arn = schedule.document["Arn"].as_str().unwrap_or("");
    let table = match schedules::timetable(&schedule.document, schedule.anchor_ms) {
        Ok(table) => table,
        // Such as a time zone that is no more: the others must go on.
        Err(error) => {
            tracing::error!(schedule = arn, %error, "a schedule cannot be read and stops");
            connection.execute("UPDATE schedules SET next = NULL WHERE id = ?1", [schedule.id])?;
            return Ok(0);
        }
    };
    let oldest = moment(now_ms - RetryPolicy::of(target).age_max_ms);
    let caught_up = table.catch_up(cursor, oldest, moment(now_ms), room);
    if let Some(first) = caught_up.dropped {
        tracing::warn!(schedule = arn, %first, %oldest, "firings were missed for too long and are dropped");
    }
    for scheduled in &caught_up.moments {
        owe(connection, schedule, arn, target, scheduled.as_millisecond())?;
    }
    let next = caught_up.cursor.map(Timestamp::as_millisecond);
    let sql = "UPDATE schedules SET next = ?2, ended = ?2 IS NULL WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![schedule.id, next])?;
    if next.is_none() && caught_up.moments.is_empty() {
        // If everything was too old, there is no delivery whose end could do this.
        delete_if_complete(connection, schedule.id)?;
    }
    Ok(caught_up.moments.len())
}

fn moment(at_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(at_ms).unwrap_or_default()
}

fn owe(
    connection: &Connection,
    schedule: &Schedule,
    arn: &str,
    target: &Value,
    scheduled: i64,
) -> Result<(), ServiceError> {
    let due = scheduled + delay_ms(&schedule.document["FlexibleTimeWindow"], arn, scheduled);
    let sql = "INSERT INTO deliveries(schedule_id, schedule_arn, scheduled, target, due, since)
               VALUES (?1, ?2, ?3, ?4, ?5, ?5)";
    connection.prepare_cached(sql)?.execute(params![schedule.id, arn, scheduled, target.to_string(), due])?;
    Ok(())
}

/// Somewhere in the flexible window; always the same place for the same firing.
fn delay_ms(window: &Value, arn: &str, scheduled: i64) -> i64 {
    let minutes =
        window["MaximumWindowInMinutes"].as_i64().filter(|_| window["Mode"] == "FLEXIBLE").unwrap_or(0);
    let digest = Sha256::digest(format!("{arn} {scheduled}"));
    let chance = digest.iter().take(6).fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
    if minutes == 0 { 0 } else { chance % (minutes * 60_000) }
}

/// `ActionAfterCompletion` DELETE: a schedule goes once its last firing is over.
pub(super) fn delete_if_complete(connection: &Connection, id: i64) -> Result<(), ServiceError> {
    let sql = "DELETE FROM schedules WHERE id = ?1 AND ended = 1
               AND json_extract(document, '$.ActionAfterCompletion') = 'DELETE'
               AND NOT EXISTS (SELECT 1 FROM deliveries WHERE schedule_id = ?1)";
    connection.prepare_cached(sql)?.execute([id])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_flexible_firing_stays_in_its_window_and_in_its_place() {
        let window = json!({"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15});
        for scheduled in 0..200 {
            let delay = delay_ms(&window, "a", scheduled);
            assert!((0..15 * 60_000).contains(&delay), "{delay}");
            assert_eq!(delay, delay_ms(&window, "a", scheduled));
        }
        assert_eq!(delay_ms(&json!({"Mode": "OFF"}), "a", 1), 0);
    }
}
