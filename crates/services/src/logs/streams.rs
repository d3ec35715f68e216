//! Log streams: create, delete, describe.

use super::Call;
use super::groups;
use super::input::{Input, constraint, invalid, valid_stream_name};
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

const PAGE_MAX: i64 = 50;

/// The row id of a stream.
pub(super) fn find(connection: &Connection, group_id: i64, name: &str) -> Result<i64, ServiceError> {
    let sql = "SELECT id FROM streams WHERE group_id = ?1 AND name = ?2";
    let found =
        connection.prepare_cached(sql)?.query_row(params![group_id, name], |row| row.get(0)).optional()?;
    found.ok_or_else(|| {
        ServiceError::client("ResourceNotFoundException", "The specified log stream does not exist.")
    })
}

/// The id of the new stream, or nothing when there is one of that name.
pub(super) fn insert(
    connection: &Connection,
    group_id: i64,
    name: &str,
    now_ms: i64,
) -> Result<Option<i64>, ServiceError> {
    let sql = "INSERT INTO streams(group_id, name, created) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING RETURNING id";
    Ok(connection
        .prepare_cached(sql)?
        .query_row(params![group_id, name, now_ms], |row| row.get(0))
        .optional()?)
}

pub(super) fn create(connection: &Connection, call: &Call, input: Input<'_>) -> Result<Value, ServiceError> {
    let group = input.required("logGroupName")?;
    let name = input.required("logStreamName")?;
    valid_stream_name(name)?;
    let (group_id, _) = groups::find(connection, call, group)?;
    if insert(connection, group_id, name, call.now_ms)?.is_none() {
        let message = "The specified log stream already exists";
        return Err(ServiceError::client("ResourceAlreadyExistsException", message));
    }
    Ok(Value::Null)
}

pub(super) fn delete(connection: &Connection, call: &Call, input: Input<'_>) -> Result<Value, ServiceError> {
    let (group_id, _) = groups::find(connection, call, input.required("logGroupName")?)?;
    let id = find(connection, group_id, input.required("logStreamName")?)?;
    connection.execute("DELETE FROM streams WHERE id = ?1", [id])?;
    connection.execute("INSERT INTO deleted(stream_id) VALUES (?1)", [id])?;
    Ok(Value::Null)
}

pub(super) fn describe(
    connection: &Connection,
    call: &Call,
    input: Input<'_>,
) -> Result<Value, ServiceError> {
    let limit = input.limit(PAGE_MAX, PAGE_MAX)?;
    let prefix = input.text("logStreamNamePrefix")?.unwrap_or("");
    let by_time = match input.text("orderBy")?.unwrap_or("LogStreamName") {
        "LogStreamName" => false,
        "LastEventTime" if prefix.is_empty() => true,
        "LastEventTime" => return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")),
        other => {
            let rule = "Member must satisfy enum value set: [LogStreamName, LastEventTime]";
            return Err(constraint(&format!("'{other}'"), "orderBy", rule));
        }
    };
    let group = input.group()?;
    let (group_id, _) = groups::find(connection, call, group)?;
    let offset: i64 = match input.text("nextToken")? {
        None => 0,
        Some(token) => token.parse().map_err(|_| invalid("The specified nextToken is invalid."))?,
    };
    let order = match (by_time, input.flag("descending")) {
        (false, false) => "name",
        (false, true) => "name DESC",
        (true, false) => "COALESCE(last, 0), name",
        (true, true) => "COALESCE(last, 0) DESC, name DESC",
    };
    let sql = format!(
        "SELECT name, created, first, last, ingested FROM streams
         WHERE group_id = ?1 AND substr(name, 1, length(?2)) = ?2 ORDER BY {order} LIMIT ?3 OFFSET ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let read = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Value> {
        let name: String = row.get(0)?;
        let mut stream = json!({"logStreamName": name, "creationTime": row.get::<_, i64>(1)?});
        for (column, member) in
            [(2, "firstEventTimestamp"), (3, "lastEventTimestamp"), (4, "lastIngestionTime")]
        {
            if let Some(at) = row.get::<_, Option<i64>>(column)? {
                stream[member] = json!(at);
            }
        }
        stream["arn"] = json!(format!("{}:log-stream:{name}", call.group_arn(group)));
        stream["storedBytes"] = json!(0);
        Ok(stream)
    };
    let rows = statement.query_map(params![group_id, prefix, limit + 1, offset], read)?;
    let mut streams: Vec<Value> = rows.collect::<Result<_, _>>()?;
    let more = streams.len() as i64 > limit;
    streams.truncate(usize::try_from(limit).unwrap_or_default());
    let mut answer = json!({"logStreams": streams});
    if more {
        answer["nextToken"] = json!((offset + limit).to_string());
    }
    Ok(answer)
}
