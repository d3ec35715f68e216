//! Rules with a schedule: when they run next, and the events they make. UTC, on the default bus, as on AWS.
//!
//! A rate counts from when the rule was put, so its first event is one period later. Firings that were missed follow the
//! policy of [`Timetable::catch_up`], target by target.

use super::envelope::build;
use crate::delivery::RetryPolicy;
use crate::schedule::{Dialect, ScheduleExpression, Timetable};
use crate::service_file::Call;
use crate::wire::ServiceError;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

/// Firings made in one transaction, so that no other writer waits long.
const FIRINGS_MAX: usize = 200;

/// Checks an expression.
pub(super) fn check(text: &str) -> Result<(), ServiceError> {
    match ScheduleExpression::parse(text, Dialect::Rule) {
        Some(_) => Ok(()),
        None => Err(super::validation("Parameter ScheduleExpression is not valid.")),
    }
}

/// Every moment of a rate follows from the one before, so any of them can be the anchor.
fn timetable(text: &str, anchor: Timestamp) -> Option<Timetable> {
    let expression = ScheduleExpression::parse(text, Dialect::Rule)?;
    Some(Timetable { expression, zone: TimeZone::UTC, anchor, start: None, end: None })
}

fn moment(at_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(at_ms).unwrap_or_default()
}

/// The first firing of a rule that is put or enabled now.
pub(super) fn first(text: &str, now_ms: i64) -> Option<i64> {
    let anchor = moment(now_ms.div_euclid(1000) * 1000);
    timetable(text, anchor)?.next_after(anchor).map(Timestamp::as_millisecond)
}

/// When the next firing is.
pub(super) fn next(connection: &Connection) -> Result<Option<i64>, ServiceError> {
    let sql = "SELECT min(next) FROM rules WHERE next IS NOT NULL";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

struct Due {
    id: i64,
    call: Call,
    name: String,
    schedule: String,
    next: Timestamp,
}

/// Makes what all firings up to now owe to their targets; answers when to look again.
pub(super) fn fire(connection: &Connection, now_ms: i64) -> Result<Option<i64>, ServiceError> {
    let sql = "SELECT id, account, region, name, schedule, next FROM rules WHERE next <= ?1 ORDER BY next, id LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![now_ms, FIRINGS_MAX as i64], |row| {
        let call = Call::own(&row.get::<_, String>(1)?, &row.get::<_, String>(2)?, now_ms);
        let (name, schedule) = (row.get(3)?, row.get(4)?);
        Ok(Due { id: row.get(0)?, call, name, schedule, next: moment(row.get(5)?) })
    })?;
    let due: Vec<Due> = rows.collect::<Result<_, _>>()?;
    let mut room = FIRINGS_MAX;
    for due in &due {
        room -= fire_one(connection, due, room)?;
        if room == 0 {
            break;
        }
    }
    next(connection)
}

/// The number of firings made.
fn fire_one(connection: &Connection, due: &Due, room: usize) -> Result<usize, ServiceError> {
    let sql = "SELECT target FROM targets WHERE rule_id = ?1 ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    let targets = statement.query_map([due.id], |row| row.get::<_, String>(0))?;
    let targets: Vec<Value> = targets
        .map(|target| target.map(|target| serde_json::from_str(&target).unwrap_or_default()))
        .collect::<Result<_, _>>()?;
    let now = moment(due.call.now_ms);
    let oldest = |target: &Value| now - SignedDuration::from_millis(RetryPolicy::of(target).age_max_ms);
    let oldest_of_all = targets.iter().map(oldest).min().unwrap_or(now);
    // It was checked when it was put; one that cannot be read never runs again.
    let caught_up = timetable(&due.schedule, due.next)
        .map(|table| table.catch_up(due.next, oldest_of_all, now, room))
        .unwrap_or_default();
    let arn = due.call.rule_arn("default", &due.name);
    for scheduled in &caught_up.moments {
        let at_ms = scheduled.as_millisecond();
        let event = build(&due.call, "aws.events", "Scheduled Event", at_ms, json!([arn]), json!({}));
        for target in targets.iter().filter(|target| *scheduled >= oldest(target)) {
            let sql =
                "INSERT INTO deliveries(rule_arn, target, event, due, since) VALUES (?1, ?2, ?3, ?4, ?4)";
            let row = params![arn, target.to_string(), event.to_string(), at_ms];
            connection.prepare_cached(sql)?.execute(row)?;
        }
    }
    let cursor = caught_up.cursor.map(Timestamp::as_millisecond);
    connection
        .prepare_cached("UPDATE rules SET next = ?2 WHERE id = ?1")?
        .execute(params![due.id, cursor])?;
    Ok(caught_up.moments.len())
}
