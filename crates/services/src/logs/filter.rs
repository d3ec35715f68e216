//! FilterLogEvents: events of many streams of a group, in the order of time.
//!
//! One call looks at a bounded number of events; where more remain it gives a token, with few results or none, as AWS
//! does.

use super::Call;
use super::events::{EVENT_OVERHEAD_BYTES, PAGE_BYTES_MAX, Position, event_id};
use super::groups;
use super::input::{Input, invalid};
use super::pattern::Pattern;
use crate::wire::ServiceError;
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use std::collections::HashMap;

const PAGE_EVENTS_MAX: i64 = 10_000;
const STREAM_NAMES_MAX: usize = 100;
/// Events looked at for one answer.
const EVENTS_READ_MAX: usize = 50_000;

pub(super) fn filter(connection: &Connection, call: &Call, input: Input<'_>) -> Result<Value, ServiceError> {
    let limit = input.limit(PAGE_EVENTS_MAX, PAGE_EVENTS_MAX)?;
    let start = input.integer("startTime")?.unwrap_or(0);
    let end = input.integer("endTime")?.unwrap_or(i64::MAX);
    let pattern = Pattern::parse(input.text("filterPattern")?.unwrap_or("")).map_err(invalid)?;
    let (group_id, _) = groups::find(connection, call, input.group()?)?;
    let streams = wanted_streams(connection, group_id, &input)?;
    let after = match input.text("nextToken")? {
        Some(token) => read_token(token)?,
        None => (start, i64::MIN),
    };
    let sql = "SELECT at, seq, ingested, message, stream_id FROM events
               WHERE group_id = ?1 AND (at, seq) > (?2, ?3) AND at <= ?4 ORDER BY at, seq";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![group_id, after.0, after.1, end])?;
    let (mut found, mut bytes, mut read) = (Vec::new(), 0, 0);
    let mut last = after;
    let mut next = None;
    while let Some(row) = rows.next()? {
        if found.len() as i64 >= limit || bytes >= PAGE_BYTES_MAX || read >= EVENTS_READ_MAX {
            next = Some(last);
            break;
        }
        read += 1;
        last = (row.get(0)?, row.get(1)?);
        let Some(stream) = streams.get(&row.get::<_, i64>(4)?) else { continue };
        let message = row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?;
        if pattern.matches(message) {
            bytes += message.len() + EVENT_OVERHEAD_BYTES;
            found.push(json!({"logStreamName": stream, "timestamp": last.0, "message": message,
                              "ingestionTime": row.get::<_, i64>(2)?, "eventId": event_id(last)}));
        }
    }
    let mut answer = json!({"events": found, "searchedLogStreams": []});
    if let Some((at, seq)) = next {
        answer["nextToken"] = json!(format!("{at}.{seq}"));
    }
    Ok(answer)
}

fn read_token(token: &str) -> Result<Position, ServiceError> {
    let position = token.split_once('.').and_then(|(at, seq)| Some((at.parse().ok()?, seq.parse().ok()?)));
    position.ok_or_else(|| invalid("The specified nextToken is invalid."))
}

fn wanted_streams(
    connection: &Connection,
    group_id: i64,
    input: &Input<'_>,
) -> Result<HashMap<i64, String>, ServiceError> {
    let names = input.list("logStreamNames")?;
    let prefix = input.text("logStreamNamePrefix")?.unwrap_or("");
    if names.is_some() && !prefix.is_empty() {
        return Err(invalid("logStreamNamePrefix and logStreamNames are mutually exclusive parameters."));
    }
    if names.is_some_and(|names| names.len() > STREAM_NAMES_MAX) {
        return Err(invalid("logStreamNames must hold at most 100 names."));
    }
    let sql = "SELECT id, name FROM streams WHERE group_id = ?1 AND substr(name, 1, length(?2)) = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows =
        statement.query_map(params![group_id, prefix], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    let mut streams: HashMap<i64, String> = rows.collect::<Result<_, _>>()?;
    if let Some(names) = names {
        for name in names.iter().filter_map(Value::as_str) {
            if !streams.values().any(|stream| stream == name) {
                let message = "The specified log stream does not exist.";
                return Err(ServiceError::client("ResourceNotFoundException", message));
            }
        }
        streams.retain(|_, stream| names.iter().any(|name| name.as_str() == Some(stream)));
    }
    Ok(streams)
}
