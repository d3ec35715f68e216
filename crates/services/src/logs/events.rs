//! PutLogEvents and GetLogEvents.
//!
//! Events of a stream are ordered by (timestamp, arrival). A page's tokens name that position, so pages stay right while
//! new events arrive.

use super::Call;
use super::groups;
use super::input::{Input, constraint, invalid};
use super::streams;
use crate::wire::ServiceError;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

const EVENTS_MAX: usize = 10_000;
const BATCH_BYTES_MAX: usize = 1_048_576;
/// AWS counts this much for each event beside its message.
pub(super) const EVENT_OVERHEAD_BYTES: usize = 26;
const DAY_MS: i64 = 24 * 3600 * 1000;
const FUTURE_MAX_MS: i64 = 2 * 3600 * 1000;
const PAST_MAX_MS: i64 = 14 * DAY_MS;
const PAGE_EVENTS_MAX: i64 = 10_000;
/// Answers hold at most this much text.
pub(super) const PAGE_BYTES_MAX: usize = 1_048_576;

/// A position among events: timestamp, arrival.
pub(super) type Position = (i64, i64);

/// One event as stored.
pub(super) struct Stored {
    pub(super) position: Position,
    pub(super) ingested: i64,
    pub(super) message: String,
}

/// AWS's event ids are 56 digits; ours are the position, so they sort like it.
pub(super) fn event_id((at, seq): Position) -> String {
    format!("{at:0>20}{seq:0>36}")
}

fn position(id: &str) -> Option<Position> {
    if id.len() != 56 {
        return None;
    }
    Some((id.get(..20)?.parse().ok()?, id.get(20..)?.parse().ok()?))
}

pub(super) fn put(connection: &Connection, call: &Call, input: Input<'_>) -> Result<Value, ServiceError> {
    let (group_id, retention) = groups::find(connection, call, input.required("logGroupName")?)?;
    let stream_id = streams::find(connection, group_id, input.required("logStreamName")?)?;
    let events = input.list("logEvents")?;
    let events =
        read_batch(events.ok_or_else(|| constraint("null", "logEvents", "Member must not be null"))?)?;
    let expired = retention.map_or(i64::MIN, |days| call.now_ms - days * DAY_MS);
    let too_old = call.now_ms - PAST_MAX_MS;
    let too_new = call.now_ms + FUTURE_MAX_MS;
    // The batch is in order, so what is refused is a head and a tail.
    let count = |limit: i64| events.partition_point(|(at, _)| *at < limit);
    let (expired_end, old_end, new_start) =
        (count(expired), count(too_old), events.partition_point(|(at, _)| *at <= too_new));
    let accepted = events.get(expired_end.max(old_end)..new_start).unwrap_or_default();
    append(connection, group_id, stream_id, call.now_ms, accepted)?;
    let mut answer = json!({"nextSequenceToken": event_id((call.now_ms, 0))});
    let mut rejected = serde_json::Map::new();
    if new_start < events.len() {
        rejected.insert("tooNewLogEventStartIndex".to_owned(), json!(new_start));
    }
    if old_end > 0 {
        rejected.insert("tooOldLogEventEndIndex".to_owned(), json!(old_end));
    }
    if expired_end > 0 {
        rejected.insert("expiredLogEventEndIndex".to_owned(), json!(expired_end));
    }
    if !rejected.is_empty() {
        answer["rejectedLogEventsInfo"] = Value::Object(rejected);
    }
    Ok(answer)
}

fn read_batch(list: &[Value]) -> Result<Vec<(i64, &str)>, ServiceError> {
    if list.is_empty() {
        return Err(constraint("'[]'", "logEvents", "Member must have length greater than or equal to 1"));
    }
    if list.len() > EVENTS_MAX {
        let rule = "Member must have length less than or equal to 10000";
        return Err(constraint("'[...]'", "logEvents", rule));
    }
    let mut events = Vec::with_capacity(list.len());
    let mut bytes = 0;
    for (index, event) in list.iter().enumerate() {
        let member = |name: &str| format!("logEvents.{}.member.{name}", index + 1);
        let at = event.get("timestamp").and_then(Value::as_i64);
        let at = at.ok_or_else(|| constraint("null", &member("timestamp"), "Member must not be null"))?;
        let message = event.get("message").and_then(Value::as_str);
        let message =
            message.ok_or_else(|| constraint("null", &member("message"), "Member must not be null"))?;
        if at < 0 {
            let rule = "Member must have value greater than or equal to 0";
            return Err(constraint(&format!("'{at}'"), &member("timestamp"), rule));
        }
        if message.is_empty() {
            let rule = "Member must have length greater than or equal to 1";
            return Err(constraint("''", &member("message"), rule));
        }
        bytes += message.len() + EVENT_OVERHEAD_BYTES;
        if message.len() + EVENT_OVERHEAD_BYTES > BATCH_BYTES_MAX {
            return Err(invalid(format!(
                "Log event too large: {} bytes exceeds limit of 1048576",
                message.len()
            )));
        }
        events.push((at, message));
    }
    if bytes > BATCH_BYTES_MAX {
        return Err(invalid(format!("Upload too large: {bytes} bytes exceeds limit of 1048576")));
    }
    if !events.is_sorted_by_key(|(at, _)| *at) {
        return Err(invalid("Log events in a single PutLogEvents request must be in chronological order."));
    }
    if events[events.len() - 1].0 - events[0].0 > DAY_MS {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    Ok(events)
}

/// Stores events of one stream; they need not be in order.
pub(super) fn append(
    connection: &Connection,
    group_id: i64,
    stream_id: i64,
    now_ms: i64,
    events: &[(i64, &str)],
) -> Result<(), ServiceError> {
    let (Some(first), Some(last)) =
        (events.iter().map(|(at, _)| *at).min(), events.iter().map(|(at, _)| *at).max())
    else {
        return Ok(());
    };
    let sql = "UPDATE sequence SET last = last + ?1 RETURNING last";
    let end: i64 = connection.prepare_cached(sql)?.query_row([events.len() as i64], |row| row.get(0))?;
    let start = end - events.len() as i64;
    let sql =
        "INSERT INTO events(group_id, at, seq, stream_id, ingested, message) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut insert = connection.prepare_cached(sql)?;
    let mut bytes = 0;
    for (seq, (at, message)) in (start + 1..).zip(events) {
        insert.execute(params![group_id, at, seq, stream_id, now_ms, message])?;
        bytes += message.len() + EVENT_OVERHEAD_BYTES;
    }
    let sql = "UPDATE streams SET first = min(COALESCE(first, ?2), ?2), last = max(COALESCE(last, ?3), ?3),
               ingested = ?4 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![stream_id, first, last, now_ms])?;
    let sql = "UPDATE groups SET bytes = bytes + ?2 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![group_id, bytes as i64])?;
    Ok(())
}

/// Where a page begins.
enum From {
    /// Upwards, after this position.
    After(Position),
    /// The last events before this position.
    Before(Position),
}

pub(super) fn get(connection: &Connection, call: &Call, input: Input<'_>) -> Result<Value, ServiceError> {
    let limit = input.limit(PAGE_EVENTS_MAX, PAGE_EVENTS_MAX)?;
    let start = input.integer("startTime")?.unwrap_or(0);
    let end = input.integer("endTime")?.unwrap_or(i64::MAX);
    let (group_id, _) = groups::find(connection, call, input.group()?)?;
    let stream_id = streams::find(connection, group_id, input.required("logStreamName")?)?;
    let from = match input.text("nextToken")? {
        Some(token) => token_position(token)?,
        None if input.flag("startFromHead") => From::After((start, i64::MIN)),
        None => From::Before((end, i64::MIN)),
    };
    let events = page(connection, stream_id, &from, (start, end), limit)?;
    let (first, last) = match (events.first(), events.last(), &from) {
        (Some(first), Some(last), _) => (first.position, last.position),
        // At an end the same tokens come back, which tells the caller to stop.
        (_, _, From::After(position)) => (*position, *position),
        (_, _, From::Before((at, seq))) => ((*at, *seq), (*at.min(&call.now_ms), *seq)),
    };
    let token = |way: &str, (at, seq): Position| format!("{way}/{}/s", event_id((at.max(0), seq.max(0))));
    let events: Vec<Value> = events
        .into_iter()
        .map(|event| {
            json!({"timestamp": event.position.0, "message": event.message, "ingestionTime": event.ingested})
        })
        .collect();
    Ok(
        json!({"events": events, "nextForwardToken": token("f", last), "nextBackwardToken": token("b", first)}),
    )
}

fn token_position(token: &str) -> Result<From, ServiceError> {
    let refused = || invalid("The specified nextToken is invalid.");
    let mut parts = token.split('/');
    let (way, id) = (parts.next(), parts.next().and_then(position).ok_or_else(refused)?);
    match way {
        Some("f") => Ok(From::After(id)),
        Some("b") => Ok(From::Before(id)),
        _ => Err(refused()),
    }
}

fn page(
    connection: &Connection,
    stream_id: i64,
    from: &From,
    (start, end): (i64, i64),
    limit: i64,
) -> Result<Vec<Stored>, ServiceError> {
    let (comparison, order, (at, seq)) = match from {
        From::After(position) => (">", "ASC", *position),
        From::Before(position) => ("<", "DESC", *position),
    };
    let sql = format!(
        "SELECT at, seq, ingested, message FROM events WHERE stream_id = ?1 AND (at, seq) {comparison} (?2, ?3)
         AND at >= ?4 AND at < ?5 ORDER BY at {order}, seq {order} LIMIT ?6"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![stream_id, at, seq, start, end, limit])?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let event =
            Stored { position: (row.get(0)?, row.get(1)?), ingested: row.get(2)?, message: row.get(3)? };
        bytes += event.message.len() + EVENT_OVERHEAD_BYTES;
        if bytes > PAGE_BYTES_MAX && !events.is_empty() {
            break;
        }
        events.push(event);
    }
    if matches!(from, From::Before(_)) {
        events.reverse();
    }
    Ok(events)
}
