//! Schedule groups and their tags. The default group is always there and bears no dates.

use super::schedules::seconds;
use super::{text, validation};
use crate::service_file::Call;
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value, json};

const PAGE_MAX: i64 = 100;
/// AWS's default quota.
const GROUPS_MAX: i64 = 500;
const TAGS_MAX: usize = 50;

fn missing(name: &str) -> ServiceError {
    ServiceError::new(404, "ResourceNotFoundException", format!("Schedule group {name} does not exist."))
}

fn shown(call: &Call, name: &str, dates: Option<(i64, i64)>) -> Value {
    let arn = call.arn("scheduler", &format!("schedule-group/{name}"));
    let mut group = json!({"Arn": arn, "Name": name, "State": "ACTIVE"});
    if let Some((created, modified)) = dates {
        group["CreationDate"] = seconds(created);
        group["LastModificationDate"] = seconds(modified);
    }
    group
}

fn dates(row: &Row<'_>) -> rusqlite::Result<(i64, i64)> {
    Ok((row.get("created")?, row.get("modified")?))
}

fn find(connection: &Connection, call: &Call, name: &str) -> Result<Option<(i64, i64)>, ServiceError> {
    let sql = "SELECT created, modified FROM groups WHERE account = ?1 AND region = ?2 AND name = ?3";
    let row = params![call.account, call.region, name];
    Ok(connection.prepare_cached(sql)?.query_row(row, dates).optional()?)
}

/// Refuses a group that is not there.
pub(super) fn require(connection: &Connection, call: &Call, name: &str) -> Result<(), ServiceError> {
    if name == "default" || find(connection, call, name)?.is_some() { Ok(()) } else { Err(missing(name)) }
}

pub(super) fn create(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = text(input, "Name").unwrap_or("");
    let token = text(input, "ClientToken");
    let sql = "SELECT token FROM groups WHERE account = ?1 AND region = ?2 AND name = ?3";
    let row = params![call.account, call.region, name];
    let held: Option<Option<String>> = connection.query_row(sql, row, |row| row.get(0)).optional()?;
    let answer = json!({"ScheduleGroupArn": shown(call, name, None)["Arn"]});
    if name == "default" || held.is_some() {
        if token.is_some() && held.flatten().as_deref() == token {
            return Ok(answer);
        }
        let message = format!("Schedule group {name} already exists.");
        return Err(ServiceError::new(409, "ConflictException", message));
    }
    let sql = "SELECT count(*) FROM groups WHERE account = ?1 AND region = ?2";
    let count: i64 = connection.query_row(sql, params![call.account, call.region], |row| row.get(0))?;
    if count >= GROUPS_MAX {
        return Err(super::over_quota("schedule groups"));
    }
    let tags = Value::Object(given_tags(input)?).to_string();
    let sql = "INSERT INTO groups VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6)";
    connection.execute(sql, params![call.account, call.region, name, call.now_ms, tags, token])?;
    Ok(answer)
}

pub(super) fn get(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = text(input, "Name").unwrap_or("");
    require(connection, call, name)?;
    let dates = find(connection, call, name)?.filter(|_| name != "default");
    Ok(shown(call, name, dates))
}

/// The group's schedules go with it. AWS takes a while over that; here it is done when it is answered.
pub(super) fn delete(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = text(input, "Name").unwrap_or("");
    if name == "default" {
        return Err(validation("The default schedule group cannot be deleted."));
    }
    require(connection, call, name)?;
    for table in ["schedules WHERE group_name = ?3", "groups WHERE name = ?3"] {
        let sql = format!("DELETE FROM {table} AND account = ?1 AND region = ?2");
        connection.execute(&sql, params![call.account, call.region, name])?;
    }
    Ok(json!({}))
}

pub(super) fn list(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let limit = input.get("MaxResults").and_then(Value::as_i64).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let (prefix, after) = (text(input, "NamePrefix").unwrap_or(""), text(input, "NextToken").unwrap_or(""));
    let sql = "SELECT name, created, modified FROM groups WHERE account = ?1 AND region = ?2
               AND name <> 'default' UNION ALL SELECT 'default', NULL, NULL ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![call.account, call.region])?;
    let mut groups = Vec::new();
    let mut more = false;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        if name.starts_with(prefix) && name.as_str() > after {
            more = groups.len() as i64 == limit;
            if more {
                break;
            }
            groups.push(shown(call, &name, dates(row).ok()));
        }
    }
    let next = groups.last().map(|last: &Value| last["Name"].clone()).filter(|_| more);
    let mut answer = json!({"ScheduleGroups": groups});
    if let Some(next) = next {
        answer["NextToken"] = next;
    }
    Ok(answer)
}

fn given_tags(input: &Value) -> Result<Map<String, Value>, ServiceError> {
    let tags = input.get("Tags").and_then(Value::as_array).into_iter().flatten();
    let tags: Map<String, Value> =
        tags.filter_map(|tag| Some((text(tag, "Key")?.to_owned(), tag.get("Value")?.clone()))).collect();
    if tags.len() > TAGS_MAX {
        return Err(validation("A schedule group can have 50 tags at most."));
    }
    Ok(tags)
}

/// The name and the tags of the group that `ResourceArn` names; schedules themselves have no tags.
fn tagged(
    connection: &Connection,
    call: &Call,
    input: &Value,
) -> Result<(String, Map<String, Value>), ServiceError> {
    let arn = text(input, "ResourceArn").unwrap_or("");
    let prefix = call.arn("scheduler", "schedule-group/");
    let Some(name) = arn.strip_prefix(&prefix) else {
        return Err(validation(format!(
            "1 validation error detected: Value '{arn}' at 'resourceArn' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: ^arn:aws(-[a-z]+)?:scheduler:[a-z0-9\\-]+:\\d{{12}}:schedule-group\\/[0-9a-zA-Z-_.]+$"
        )));
    };
    require(connection, call, name)?;
    let sql = "SELECT tags FROM groups WHERE account = ?1 AND region = ?2 AND name = ?3";
    let row = params![call.account, call.region, name];
    let tags: Option<String> = connection.query_row(sql, row, |row| row.get(0)).optional()?;
    let tags = tags.and_then(|tags| serde_json::from_str(&tags).ok()).unwrap_or_default();
    Ok((name.to_owned(), tags))
}

fn store(
    connection: &Connection,
    call: &Call,
    name: &str,
    tags: Map<String, Value>,
) -> Result<Value, ServiceError> {
    if tags.len() > TAGS_MAX {
        return Err(validation("A schedule group can have 50 tags at most."));
    }
    // The default group becomes a row when it is tagged.
    let sql = "INSERT INTO groups VALUES (?1, ?2, ?3, ?4, ?4, ?5, NULL)
               ON CONFLICT(account, region, name) DO UPDATE SET tags = ?5";
    let tags = Value::Object(tags).to_string();
    connection.execute(sql, params![call.account, call.region, name, call.now_ms, tags])?;
    Ok(json!({}))
}

pub(super) fn tag(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (name, mut tags) = tagged(connection, call, input)?;
    tags.extend(given_tags(input)?);
    store(connection, call, &name, tags)
}

pub(super) fn untag(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (name, mut tags) = tagged(connection, call, input)?;
    let keys = input.get("TagKeys").and_then(Value::as_array).into_iter().flatten();
    for key in keys.filter_map(Value::as_str) {
        tags.shift_remove(key);
    }
    store(connection, call, &name, tags)
}

pub(super) fn tags(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (_, tags) = tagged(connection, call, input)?;
    let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    Ok(json!({"Tags": tags}))
}
