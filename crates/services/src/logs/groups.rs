//! Log groups: create, delete, describe, retention, tags; and the resource policies beside them.

use super::Call;
use super::input::{Input, constraint, group_of_arn, invalid, valid_group_name};
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value, json};

const TAGS_MAX: usize = 50;
const POLICIES_MAX: i64 = 10;
const POLICY_BYTES_MAX: usize = 5120;
const PAGE_MAX: i64 = 50;
const RETENTION_DAYS: [i64; 23] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
    0,
];

/// `ResourceNotFoundException` for a group.
pub(super) fn not_found() -> ServiceError {
    ServiceError::client("ResourceNotFoundException", "The specified log group does not exist.")
}

/// The row id and retention of a group.
pub(super) fn find(
    connection: &Connection,
    call: &Call,
    name: &str,
) -> Result<(i64, Option<i64>), ServiceError> {
    let sql = "SELECT id, retention_days FROM groups WHERE account = ?1 AND region = ?2 AND name = ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let row = params![call.account, call.region, name];
    let found = statement.query_row(row, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    found.ok_or_else(not_found)
}

pub(super) fn create(connection: &Connection, call: &Call, input: Input<'_>) -> Result<Value, ServiceError> {
    let name = input.required("logGroupName")?;
    valid_group_name(name)?;
    let class = input.text("logGroupClass")?.unwrap_or("STANDARD");
    if !["STANDARD", "INFREQUENT_ACCESS", "DELIVERY"].contains(&class) {
        let rule = "Member must satisfy enum value set: [STANDARD, INFREQUENT_ACCESS, DELIVERY]";
        return Err(constraint(&format!("'{class}'"), "logGroupClass", rule));
    }
    let tags = input.object("tags")?.cloned().unwrap_or_default();
    let insert = Insert { class, kms_key: input.text("kmsKeyId")?, tags };
    if insert_group(connection, call, name, &insert)?.is_none() {
        let message = "The specified log group already exists";
        return Err(ServiceError::client("ResourceAlreadyExistsException", message));
    }
    Ok(Value::Null)
}

/// What a new group carries beside its name.
pub(super) struct Insert<'a> {
    pub(super) class: &'a str,
    pub(super) kms_key: Option<&'a str>,
    pub(super) tags: Map<String, Value>,
}

/// The id of the new group, or nothing when there is one of that name.
pub(super) fn insert_group(
    connection: &Connection,
    call: &Call,
    name: &str,
    insert: &Insert<'_>,
) -> Result<Option<i64>, ServiceError> {
    let sql = "INSERT INTO groups(account, region, name, created, kms_key, class, tags)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING RETURNING id";
    let tags = checked_tags(insert.tags.clone())?.to_string();
    let row = params![call.account, call.region, name, call.now_ms, insert.kms_key, insert.class, tags];
    Ok(connection.prepare_cached(sql)?.query_row(row, |row| row.get(0)).optional()?)
}

pub(super) fn delete(connection: &Connection, call: &Call, input: Input<'_>) -> Result<Value, ServiceError> {
    let (id, _) = find(connection, call, input.required("logGroupName")?)?;
    // The events go in the background, a few hundred at a time; without group and streams nobody sees them.
    connection.execute("DELETE FROM groups WHERE id = ?1", [id])?;
    connection.execute("DELETE FROM streams WHERE group_id = ?1", [id])?;
    connection.execute("INSERT INTO deleted(group_id) VALUES (?1)", [id])?;
    Ok(Value::Null)
}

pub(super) fn describe(
    connection: &Connection,
    call: &Call,
    input: Input<'_>,
) -> Result<Value, ServiceError> {
    let limit = input.limit(PAGE_MAX, PAGE_MAX)?;
    let prefix = input.text("logGroupNamePrefix")?.unwrap_or("");
    let pattern = input.text("logGroupNamePattern")?.unwrap_or("").to_lowercase();
    if !prefix.is_empty() && !pattern.is_empty() {
        let message = "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.";
        return Err(invalid(message));
    }
    let after = input.text("nextToken")?.unwrap_or("");
    let sql = "SELECT name, created, retention_days, kms_key, class, bytes FROM groups
               WHERE account = ?1 AND region = ?2 AND name > ?3 AND substr(name, 1, length(?4)) = ?4
                 AND instr(lower(name), ?5) > 0 ORDER BY name LIMIT ?6";
    let mut statement = connection.prepare_cached(sql)?;
    let row = params![call.account, call.region, after, prefix, pattern, limit + 1];
    let read = |row: &rusqlite::Row<'_>| -> rusqlite::Result<(String, Value)> {
        let name: String = row.get(0)?;
        let mut group = json!({
            "logGroupName": name, "creationTime": row.get::<_, i64>(1)?, "metricFilterCount": 0,
            "arn": format!("{}:*", call.group_arn(&name)), "storedBytes": row.get::<_, i64>(5)?,
            "logGroupClass": row.get::<_, String>(4)?, "logGroupArn": call.group_arn(&name),
        });
        if let Some(days) = row.get::<_, Option<i64>>(2)? {
            group["retentionInDays"] = json!(days);
        }
        if let Some(key) = row.get::<_, Option<String>>(3)? {
            group["kmsKeyId"] = json!(key);
        }
        Ok((name, group))
    };
    let mut rows: Vec<(String, Value)> = statement.query_map(row, read)?.collect::<Result<_, _>>()?;
    let more = rows.len() as i64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or_default());
    let next = rows.last().map(|(name, _)| name.clone()).filter(|_| more);
    let groups: Vec<Value> = rows.into_iter().map(|(_, group)| group).collect();
    let mut answer = json!({"logGroups": groups});
    if let Some(next) = next {
        answer["nextToken"] = json!(next);
    }
    Ok(answer)
}

pub(super) fn put_retention(
    connection: &Connection,
    call: &Call,
    input: Input<'_>,
) -> Result<Value, ServiceError> {
    let (id, _) = find(connection, call, input.required("logGroupName")?)?;
    let days = input.integer("retentionInDays")?;
    let days = days.ok_or_else(|| constraint("null", "retentionInDays", "Member must not be null"))?;
    if days == 0 || !RETENTION_DAYS.contains(&days) {
        let known: Vec<String> = RETENTION_DAYS[..22].iter().map(i64::to_string).collect();
        let rule = format!("Member must satisfy enum value set: [{}]", known.join(", "));
        return Err(constraint(&format!("'{days}'"), "retentionInDays", &rule));
    }
    connection.execute("UPDATE groups SET retention_days = ?2 WHERE id = ?1", params![id, days])?;
    Ok(Value::Null)
}

pub(super) fn delete_retention(
    connection: &Connection,
    call: &Call,
    input: Input<'_>,
) -> Result<Value, ServiceError> {
    let (id, _) = find(connection, call, input.required("logGroupName")?)?;
    connection.execute("UPDATE groups SET retention_days = NULL WHERE id = ?1", [id])?;
    Ok(Value::Null)
}

fn tagged<'a>(input: &Input<'a>) -> Result<&'a str, ServiceError> {
    match input.text("resourceArn")? {
        Some(arn) => Ok(group_of_arn(arn)),
        None => input.required("logGroupName"),
    }
}

fn read_tags(connection: &Connection, id: i64) -> Result<Map<String, Value>, ServiceError> {
    let text: String =
        connection.query_row("SELECT tags FROM groups WHERE id = ?1", [id], |row| row.get(0))?;
    serde_json::from_str(&text).map_err(ServiceError::internal)
}

fn checked_tags(tags: Map<String, Value>) -> Result<Value, ServiceError> {
    if tags.len() > TAGS_MAX {
        return Err(ServiceError::client(
            "TooManyTagsException",
            "The number of tags exceeds the limit of 50.",
        ));
    }
    if tags.values().any(|value| !value.is_string()) {
        return Err(ServiceError::serialization("a tag is not a string"));
    }
    Ok(Value::Object(tags))
}

pub(super) fn tag(connection: &Connection, call: &Call, input: Input<'_>) -> Result<Value, ServiceError> {
    let (id, _) = find(connection, call, tagged(&input)?)?;
    let mut tags = read_tags(connection, id)?;
    tags.extend(input.object("tags")?.cloned().unwrap_or_default());
    let tags = checked_tags(tags)?.to_string();
    connection.execute("UPDATE groups SET tags = ?2 WHERE id = ?1", params![id, tags])?;
    Ok(Value::Null)
}

pub(super) fn untag(connection: &Connection, call: &Call, input: Input<'_>) -> Result<Value, ServiceError> {
    let (id, _) = find(connection, call, tagged(&input)?)?;
    let mut tags = read_tags(connection, id)?;
    let keys = input.list("tagKeys")?.or(input.list("tags")?);
    for key in keys.into_iter().flatten().filter_map(Value::as_str) {
        tags.shift_remove(key);
    }
    let tags = Value::Object(tags).to_string();
    connection.execute("UPDATE groups SET tags = ?2 WHERE id = ?1", params![id, tags])?;
    Ok(Value::Null)
}

pub(super) fn tags(connection: &Connection, call: &Call, input: Input<'_>) -> Result<Value, ServiceError> {
    let (id, _) = find(connection, call, tagged(&input)?)?;
    Ok(json!({"tags": read_tags(connection, id)?}))
}

pub(super) fn put_policy(
    connection: &Connection,
    call: &Call,
    input: Input<'_>,
) -> Result<Value, ServiceError> {
    let (name, document) = (input.required("policyName")?, input.required("policyDocument")?);
    if document.len() > POLICY_BYTES_MAX || serde_json::from_str::<Map<String, Value>>(document).is_err() {
        return Err(invalid("Invalid policy document"));
    }
    let sql = "INSERT OR REPLACE INTO resource_policies VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.execute(sql, params![call.account, call.region, name, document, call.now_ms])?;
    let sql = "SELECT count(*) FROM resource_policies WHERE account = ?1 AND region = ?2";
    let count: i64 = connection.query_row(sql, params![call.account, call.region], |row| row.get(0))?;
    if count > POLICIES_MAX {
        return Err(ServiceError::client("LimitExceededException", "Resource limit exceeded."));
    }
    Ok(json!({"resourcePolicy": policy(name, document, call.now_ms)}))
}

fn policy(name: &str, document: &str, at: i64) -> Value {
    json!({"policyName": name, "policyDocument": document, "lastUpdatedTime": at})
}

pub(super) fn delete_policy(
    connection: &Connection,
    call: &Call,
    input: Input<'_>,
) -> Result<Value, ServiceError> {
    let sql = "DELETE FROM resource_policies WHERE account = ?1 AND region = ?2 AND name = ?3";
    let name = input.required("policyName")?;
    if connection.execute(sql, params![call.account, call.region, name])? == 0 {
        let message = format!("Policy with name [{name}] does not exist");
        return Err(ServiceError::client("ResourceNotFoundException", message));
    }
    Ok(Value::Null)
}

pub(super) fn policies(connection: &Connection, call: &Call, _: Input<'_>) -> Result<Value, ServiceError> {
    let sql =
        "SELECT name, document, at FROM resource_policies WHERE account = ?1 AND region = ?2 ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(policy(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?, row.get(2)?))
    };
    let rows = statement.query_map(params![call.account, call.region], read)?;
    Ok(json!({"resourcePolicies": rows.collect::<Result<Vec<Value>, _>>()?}))
}
