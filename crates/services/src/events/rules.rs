//! Buses and rules, and their tags.

use super::{bus_name, pattern_of, required, schedules, text, validation};
use crate::service_file::Call;
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value, json};

const PAGE_MAX: i64 = 100;
const RULES_PER_BUS_MAX: i64 = 300;

fn not_found(message: String) -> ServiceError {
    ServiceError::client("ResourceNotFoundException", message)
}

/// The bus a request means; the default bus is always there.
pub(super) fn bus<'a>(
    connection: &Connection,
    call: &Call,
    input: &'a Value,
) -> Result<&'a str, ServiceError> {
    let name = text(input, "EventBusName").map_or("default", bus_name);
    if has_bus(connection, call, name)? {
        Ok(name)
    } else {
        Err(not_found(format!("Event bus {name} does not exist.")))
    }
}

pub(super) fn has_bus(connection: &Connection, call: &Call, name: &str) -> Result<bool, ServiceError> {
    if name == "default" {
        return Ok(true);
    }
    let sql = "SELECT 1 FROM buses WHERE account = ?1 AND region = ?2 AND name = ?3";
    Ok(connection.prepare_cached(sql)?.exists(params![call.account, call.region, name])?)
}

/// The row id of a rule.
pub(super) fn find(connection: &Connection, call: &Call, bus: &str, name: &str) -> Result<i64, ServiceError> {
    let sql = "SELECT id FROM rules WHERE account = ?1 AND region = ?2 AND bus = ?3 AND name = ?4";
    let row = params![call.account, call.region, bus, name];
    let found = connection.prepare_cached(sql)?.query_row(row, |row| row.get(0)).optional()?;
    found.ok_or_else(|| not_found(format!("Rule {name} does not exist on EventBus {bus}.")))
}

pub(super) fn valid_name(name: &str, member: &str, most: usize) -> Result<(), ServiceError> {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
    if name.is_empty() || name.len() > most || !name.chars().all(is_allowed) {
        return Err(validation(format!(
            "1 validation error detected: Value '{name}' at '{member}' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: [\\.\\-_A-Za-z0-9]+"
        )));
    }
    Ok(())
}

pub(super) fn put(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = required(input, "Name")?;
    valid_name(name, "name", 64)?;
    let bus = bus(connection, call, input)?;
    let given = |member: &str| text(input, member).filter(|text| !text.is_empty());
    let (pattern, schedule) = (given("EventPattern"), given("ScheduleExpression"));
    if pattern.is_none() && schedule.is_none() {
        return Err(validation("Parameter(s) EventPattern or ScheduleExpression must be specified."));
    }
    pattern.map_or(Ok(()), |pattern| pattern_of(pattern).map(drop))?;
    schedule.map_or(Ok(()), schedules::check)?;
    if schedule.is_some() && bus != "default" {
        return Err(validation("ScheduleExpression is supported only on the default event bus."));
    }
    let enabled = match text(input, "State").unwrap_or("ENABLED") {
        "ENABLED" | "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS" => true,
        "DISABLED" => false,
        other => {
            return Err(validation(format!(
                "1 validation error detected: Value '{other}' at 'state' failed to satisfy constraint: Member must \
                 satisfy enum value set: [ENABLED, DISABLED, ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS]"
            )));
        }
    };
    let sql = "SELECT count(*) FROM rules WHERE account = ?1 AND region = ?2 AND bus = ?3 AND name <> ?4";
    let row = params![call.account, call.region, bus, name];
    let count: i64 = connection.query_row(sql, row, |row| row.get(0))?;
    if count >= RULES_PER_BUS_MAX {
        let message = "The requested resource exceeds the maximum number allowed.";
        return Err(ServiceError::client("LimitExceededException", message));
    }
    let (description, role) = (text(input, "Description"), text(input, "RoleArn"));
    let tags = Value::Object(given_tags(input)).to_string();
    let next = schedule.filter(|_| enabled).and_then(|schedule| schedules::first(schedule, call.now_ms));
    // A schedule that stays what it was neither forgets nor repeats a firing.
    let sql = "INSERT INTO rules(account, region, bus, name, pattern, enabled, description, role, tags, schedule, next)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT(account, region, bus, name) DO UPDATE SET
               next = CASE WHEN schedule IS ?10 AND enabled AND ?6 THEN next ELSE ?11 END,
               pattern = ?5, enabled = ?6, description = ?7, role = ?8, schedule = ?10";
    let pattern = pattern.unwrap_or("");
    connection.execute(
        sql,
        params![
            call.account,
            call.region,
            bus,
            name,
            pattern,
            enabled,
            description,
            role,
            tags,
            schedule,
            next
        ],
    )?;
    Ok(json!({"RuleArn": call.rule_arn(bus, name)}))
}

pub(super) fn delete(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let bus = bus(connection, call, input)?;
    // Deleting what is not there succeeds, as on AWS.
    let Ok(id) = find(connection, call, bus, required(input, "Name")?) else { return Ok(Value::Null) };
    let sql = "SELECT EXISTS (SELECT 1 FROM targets WHERE rule_id = ?1)";
    if connection.query_row(sql, [id], |row| row.get(0))? {
        return Err(validation("Rule can't be deleted since it has targets."));
    }
    connection.execute("DELETE FROM rules WHERE id = ?1", [id])?;
    Ok(Value::Null)
}

fn set_state(
    connection: &Connection,
    call: &Call,
    input: &Value,
    enabled: bool,
) -> Result<Value, ServiceError> {
    let id = find(connection, call, bus(connection, call, input)?, required(input, "Name")?)?;
    let sql = "SELECT schedule, enabled FROM rules WHERE id = ?1";
    let (schedule, was_enabled): (Option<String>, bool) =
        connection.query_row(sql, [id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if enabled != was_enabled {
        let next = schedule.filter(|_| enabled).and_then(|schedule| schedules::first(&schedule, call.now_ms));
        let sql = "UPDATE rules SET enabled = ?2, next = ?3 WHERE id = ?1";
        connection.execute(sql, params![id, enabled, next])?;
    }
    Ok(Value::Null)
}

pub(super) fn enable(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    set_state(connection, call, input, true)
}

pub(super) fn disable(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    set_state(connection, call, input, false)
}

const COLUMNS: &str = "name, bus, pattern, enabled, description, role, schedule";

fn shown(call: &Call, row: &Row<'_>) -> rusqlite::Result<Value> {
    let (name, bus): (String, String) = (row.get(0)?, row.get(1)?);
    let state = if row.get(3)? { "ENABLED" } else { "DISABLED" };
    let mut rule =
        json!({"Name": name, "Arn": call.rule_arn(&bus, &name), "State": state, "EventBusName": bus});
    let members = [(2, "EventPattern"), (4, "Description"), (5, "RoleArn"), (6, "ScheduleExpression")];
    for (column, member) in members {
        if let Some(text) = row.get::<_, Option<String>>(column)?.filter(|text| !text.is_empty()) {
            rule[member] = json!(text);
        }
    }
    Ok(rule)
}

pub(super) fn describe(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let id = find(connection, call, bus(connection, call, input)?, required(input, "Name")?)?;
    let sql = format!("SELECT {COLUMNS} FROM rules WHERE id = ?1");
    let mut rule = connection.query_row(&sql, [id], |row| shown(call, row))?;
    rule["CreatedBy"] = json!(call.account);
    Ok(rule)
}

pub(super) fn list(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let bus = bus(connection, call, input)?;
    let (prefix, after) = (text(input, "NamePrefix").unwrap_or(""), text(input, "NextToken").unwrap_or(""));
    let limit = input.get("Limit").and_then(Value::as_i64).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let sql = format!(
        "SELECT {COLUMNS} FROM rules WHERE account = ?1 AND region = ?2 AND bus = ?3 AND name > ?4
         AND substr(name, 1, length(?5)) = ?5 ORDER BY name LIMIT ?6"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let row = params![call.account, call.region, bus, after, prefix, limit + 1];
    let rows = statement.query_map(row, |row| shown(call, row))?;
    Ok(paged("Rules", "Name", rows.collect::<Result<_, _>>()?, limit))
}

/// A page; the token is the key of its last entry.
pub(super) fn paged(list: &str, key: &str, mut rows: Vec<Value>, limit: i64) -> Value {
    let more = rows.len() as i64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or_default());
    let next = rows.last().map(|row| row[key].clone()).filter(|_| more);
    let mut answer = json!({list: rows});
    if let Some(next) = next {
        answer["NextToken"] = next;
    }
    answer
}

pub(super) fn create_bus(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = required(input, "Name")?;
    valid_name(name, "name", 256)?;
    if has_bus(connection, call, name)? {
        let message = format!("Event bus {name} already exists.");
        return Err(ServiceError::client("ResourceAlreadyExistsException", message));
    }
    let sql = "INSERT INTO buses VALUES (?1, ?2, ?3, ?4)";
    connection.execute(sql, params![call.account, call.region, name, call.now_ms])?;
    Ok(json!({"EventBusArn": call.bus_arn(name)}))
}

pub(super) fn delete_bus(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = required(input, "Name")?;
    if name == "default" {
        return Err(validation("Cannot delete event bus default."));
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM rules WHERE account = ?1 AND region = ?2 AND bus = ?3)";
    let row = params![call.account, call.region, name];
    if connection.query_row(sql, row, |row| row.get(0))? {
        return Err(validation("Event bus can't be deleted since it has rules."));
    }
    connection.execute("DELETE FROM buses WHERE account = ?1 AND region = ?2 AND name = ?3", row)?;
    Ok(Value::Null)
}

fn shown_bus(call: &Call, name: &str) -> Value {
    json!({"Name": name, "Arn": call.bus_arn(name)})
}

pub(super) fn describe_bus(
    connection: &Connection,
    call: &Call,
    input: &Value,
) -> Result<Value, ServiceError> {
    let name = text(input, "Name").map_or("default", bus_name);
    if !has_bus(connection, call, name)? {
        return Err(not_found(format!("Event bus {name} does not exist.")));
    }
    Ok(shown_bus(call, name))
}

pub(super) fn list_buses(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let prefix = text(input, "NamePrefix").unwrap_or("");
    let sql = "SELECT name FROM buses WHERE account = ?1 AND region = ?2 ORDER BY name LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let rows =
        statement.query_map(params![call.account, call.region, PAGE_MAX], |row| row.get::<_, String>(0))?;
    let mut names = vec!["default".to_owned()];
    names.extend(rows.collect::<Result<Vec<_>, _>>()?);
    names.retain(|name| name.starts_with(prefix));
    Ok(json!({"EventBuses": names.iter().map(|name| shown_bus(call, name)).collect::<Vec<_>>()}))
}

fn given_tags(input: &Value) -> Map<String, Value> {
    let tags = input.get("Tags").and_then(Value::as_array).into_iter().flatten();
    tags.filter_map(|tag| Some((text(tag, "Key")?.to_owned(), tag.get("Value")?.clone()))).collect()
}

fn tagged(
    connection: &Connection,
    call: &Call,
    input: &Value,
) -> Result<(i64, Map<String, Value>), ServiceError> {
    let arn = required(input, "ResourceARN")?;
    let path = arn.split_once(":rule/").map(|(_, path)| path);
    let path = path.ok_or_else(|| not_found(format!("{arn} does not exist.")))?;
    let (bus, name) = path.split_once('/').unwrap_or(("default", path));
    let id = find(connection, call, bus, name)?;
    let tags: String =
        connection.query_row("SELECT tags FROM rules WHERE id = ?1", [id], |row| row.get(0))?;
    Ok((id, serde_json::from_str(&tags).unwrap_or_default()))
}

fn store_tags(connection: &Connection, id: i64, tags: Map<String, Value>) -> Result<Value, ServiceError> {
    let tags = Value::Object(tags).to_string();
    connection.execute("UPDATE rules SET tags = ?2 WHERE id = ?1", params![id, tags])?;
    Ok(json!({}))
}

pub(super) fn tag(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (id, mut tags) = tagged(connection, call, input)?;
    tags.extend(given_tags(input));
    store_tags(connection, id, tags)
}

pub(super) fn untag(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (id, mut tags) = tagged(connection, call, input)?;
    for key in input.get("TagKeys").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        tags.shift_remove(key);
    }
    store_tags(connection, id, tags)
}

pub(super) fn tags(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (_, tags) = tagged(connection, call, input)?;
    let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    Ok(json!({"Tags": tags}))
}
