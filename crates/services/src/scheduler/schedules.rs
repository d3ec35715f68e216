//! Schedules: the document that is shown, and the cursor that says when the next firing is.

use super::{groups, text, validation};
use crate::schedule::{Dialect, ScheduleExpression, Timetable, time_zone};
use crate::service_file::Call;
use crate::wire::ServiceError;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value, json};

const PAGE_MAX: i64 = 100;
/// AWS's default quota of schedules in an account and region.
const SCHEDULES_MAX: i64 = 1_000_000;
/// How late a start may be, as AWS has it.
const LATE_START: SignedDuration = SignedDuration::from_mins(5);

/// A stored schedule.
pub(super) struct Schedule {
    pub(super) id: i64,
    /// What GetSchedule answers.
    pub(super) document: Value,
    pub(super) anchor_ms: i64,
    pub(super) next_ms: Option<i64>,
    token: Option<String>,
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Schedule> {
    Ok(Schedule {
        id: row.get(0)?,
        document: serde_json::from_str(&row.get::<_, String>(1)?).unwrap_or_default(),
        anchor_ms: row.get(2)?,
        next_ms: row.get(3)?,
        token: row.get(4)?,
    })
}

pub(super) const COLUMNS: &str = "id, document, anchor, next, token";

fn find(
    connection: &Connection,
    call: &Call,
    group: &str,
    name: &str,
) -> Result<Option<Schedule>, ServiceError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM schedules WHERE account = ?1 AND region = ?2 AND group_name = ?3 AND name = ?4"
    );
    let row = params![call.account, call.region, group, name];
    Ok(connection.prepare_cached(&sql)?.query_row(row, read).optional()?)
}

fn found(connection: &Connection, call: &Call, input: &Value) -> Result<Schedule, ServiceError> {
    let (group, name) = (group_of(input), text(input, "Name").unwrap_or(""));
    groups::require(connection, call, group)?;
    find(connection, call, group, name)?.ok_or_else(|| {
        ServiceError::new(404, "ResourceNotFoundException", format!("Schedule {name} does not exist."))
    })
}

/// The group a request means.
pub(super) fn group_of(input: &Value) -> &str {
    text(input, "GroupName").unwrap_or("default")
}

/// A date, as seconds of the epoch or as text.
fn date(document: &Value, member: &str) -> Result<Option<Timestamp>, ServiceError> {
    let refused = || validation(format!("The {member} you specify is not valid."));
    match document.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|_| refused()),
        Some(value) => {
            let seconds = value.as_f64().ok_or_else(refused)?;
            Timestamp::from_millisecond((seconds * 1000.0) as i64).map(Some).map_err(|_| refused())
        }
    }
}

/// When a document says it runs. The document was checked when it was put.
pub(super) fn timetable(document: &Value, anchor_ms: i64) -> Result<Timetable, ServiceError> {
    let expression = text(document, "ScheduleExpression").unwrap_or("");
    let zone = text(document, "ScheduleExpressionTimezone").unwrap_or("UTC");
    let refused = || validation(format!("Invalid Schedule Expression {expression}."));
    Ok(Timetable {
        expression: ScheduleExpression::parse(expression, Dialect::Scheduler).ok_or_else(refused)?,
        zone: time_zone(zone)
            .ok_or_else(|| validation(format!("Invalid Schedule Expression Timezone {zone}.")))?,
        anchor: Timestamp::from_millisecond(anchor_ms).map_err(ServiceError::internal)?,
        start: date(document, "StartDate")?,
        end: date(document, "EndDate")?,
    })
}

/// Checks what the model cannot say, given the schedule as it was before.
fn check(
    document: &Value,
    held: Option<&Value>,
    table: &Timetable,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let window = &document["FlexibleTimeWindow"];
    let has_window = window.get("MaximumWindowInMinutes").is_some_and(|minutes| !minutes.is_null());
    match (window["Mode"].as_str(), has_window) {
        (Some("FLEXIBLE"), false) => {
            return Err(validation("MaximumWindowInMinutes must be specified for the mode FLEXIBLE."));
        }
        (Some("OFF"), true) => {
            return Err(validation("MaximumWindowInMinutes must not be specified for the mode OFF."));
        }
        _ => {}
    }
    if table.expression.is_once() {
        return Ok(());
    }
    let is_new = |member: &str| held.is_none_or(|held| held.get(member) != document.get(member));
    if table.start.is_some_and(|start| start < now - LATE_START) && is_new("StartDate") {
        return Err(validation("The StartDate you specify cannot be earlier than 5 minutes ago."));
    }
    if let (Some(start), Some(end)) = (table.start, table.end)
        && end <= start
    {
        return Err(validation("The EndDate you specify must come after the StartDate."));
    }
    if table.end.is_some_and(|end| end <= now) && is_new("EndDate") {
        return Err(validation("The EndDate you specify must be in the future."));
    }
    Ok(())
}

/// What GetSchedule will answer.
fn document(call: &Call, input: &Value, created: &Value) -> Value {
    let (group, name) = (group_of(input), text(input, "Name").unwrap_or(""));
    let mut document = Map::new();
    let mut set = |member: &str, value: Value| document.insert(member.to_owned(), value);
    set("Arn", json!(call.arn("scheduler", &format!("schedule/{group}/{name}"))));
    set("GroupName", json!(group));
    set("Name", json!(name));
    set("ActionAfterCompletion", json!("NONE"));
    set("ScheduleExpressionTimezone", json!("UTC"));
    set("State", json!("ENABLED"));
    let kept = [
        "ActionAfterCompletion",
        "Description",
        "EndDate",
        "FlexibleTimeWindow",
        "KmsKeyArn",
        "ScheduleExpression",
        "ScheduleExpressionTimezone",
        "StartDate",
        "State",
        "Target",
    ];
    for member in kept {
        if let Some(value) = input.get(member).filter(|value| !value.is_null()) {
            set(member, value.clone());
        }
    }
    set("CreationDate", created.clone());
    set("LastModificationDate", seconds(call.now_ms));
    let mut document = Value::Object(document);
    let policy = &mut document["Target"]["RetryPolicy"];
    for (member, default) in [("MaximumEventAgeInSeconds", 86_400), ("MaximumRetryAttempts", 185)] {
        if policy[member].is_null() {
            policy[member] = json!(default);
        }
    }
    document
}

/// Milliseconds as the protocol writes dates.
pub(super) fn seconds(at_ms: i64) -> Value {
    json!(at_ms as f64 / 1000.0)
}

/// A document and its cursor, before they are stored.
struct Prepared {
    document: Value,
    anchor_ms: i64,
    next_ms: Option<i64>,
}

fn prepare(call: &Call, input: &Value, held: Option<&Schedule>) -> Result<Prepared, ServiceError> {
    let now = Timestamp::from_millisecond(call.now_ms).map_err(ServiceError::internal)?;
    let whole_second_ms = now.as_second() * 1000;
    let created = held.map_or_else(|| seconds(call.now_ms), |held| held.document["CreationDate"].clone());
    let document = document(call, input, &created);
    let before = held.map(|held| &held.document);
    let same = |members: &[&str]| {
        before.is_some_and(|before| members.iter().all(|member| before.get(member) == document.get(member)))
    };
    // A rate counts from its start, or else from when it was first put.
    let anchor_ms = match (date(&document, "StartDate")?, held) {
        (Some(start), _) => start.as_second() * 1000,
        (None, Some(held)) if same(&["ScheduleExpression", "StartDate"]) => held.anchor_ms,
        (None, _) => whole_second_ms,
    };
    let table = timetable(&document, anchor_ms)?;
    check(&document, before, &table, now)?;
    let timing = ["ScheduleExpression", "ScheduleExpressionTimezone", "StartDate", "EndDate", "State"];
    let begins_anew = matches!(table.expression, ScheduleExpression::Rate(_)) && anchor_ms == whole_second_ms;
    let next_ms = match held {
        _ if document["State"] == "DISABLED" => None,
        // What only changes the target neither forgets nor repeats a firing.
        Some(held) if same(&timing) => held.next_ms,
        // A firing of this very second has been.
        Some(_) if !begins_anew => first_ms(&table, call.now_ms + 1)?,
        Some(_) | None => first_ms(&table, whole_second_ms)?,
    };
    Ok(Prepared { document, anchor_ms, next_ms })
}

fn first_ms(table: &Timetable, from_ms: i64) -> Result<Option<i64>, ServiceError> {
    let from = Timestamp::from_millisecond(from_ms).map_err(ServiceError::internal)?;
    Ok(table.first_from(from).map(Timestamp::as_millisecond))
}

pub(super) fn create(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (group, name) = (group_of(input), text(input, "Name").unwrap_or(""));
    groups::require(connection, call, group)?;
    let token = text(input, "ClientToken");
    if let Some(held) = find(connection, call, group, name)? {
        if token.is_some() && token == held.token.as_deref() {
            return Ok(json!({"ScheduleArn": held.document["Arn"]}));
        }
        let message = format!("Schedule {name} already exists.");
        return Err(ServiceError::new(409, "ConflictException", message));
    }
    let Prepared { document, anchor_ms, next_ms } = prepare(call, input, None)?;
    let sql = "SELECT count(*) FROM schedules WHERE account = ?1 AND region = ?2";
    let count: i64 = connection.query_row(sql, params![call.account, call.region], |row| row.get(0))?;
    if count >= SCHEDULES_MAX {
        return Err(super::over_quota("schedules"));
    }
    let sql = "INSERT INTO schedules(account, region, group_name, name, document, anchor, next, token)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let text = document.to_string();
    connection
        .execute(sql, params![call.account, call.region, group, name, text, anchor_ms, next_ms, token])?;
    Ok(json!({"ScheduleArn": document["Arn"]}))
}

pub(super) fn update(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let held = found(connection, call, input)?;
    let Prepared { document, anchor_ms, next_ms } = prepare(call, input, Some(&held))?;
    let sql = "UPDATE schedules SET document = ?2, anchor = ?3, next = ?4, ended = 0 WHERE id = ?1";
    connection.execute(sql, params![held.id, document.to_string(), anchor_ms, next_ms])?;
    Ok(json!({"ScheduleArn": document["Arn"]}))
}

pub(super) fn get(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    found(connection, call, input).map(|schedule| schedule.document)
}

/// What has fired already goes on to its target.
pub(super) fn delete(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let held = found(connection, call, input)?;
    connection.execute("DELETE FROM schedules WHERE id = ?1", [held.id])?;
    Ok(json!({}))
}

pub(super) fn list(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    if let Some(group) = text(input, "GroupName") {
        groups::require(connection, call, group)?;
    }
    let limit = input.get("MaxResults").and_then(Value::as_i64).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    // The token is group and name of the last schedule shown; neither holds a slash.
    let (after_group, after_name) =
        text(input, "NextToken").and_then(|token| token.split_once('/')).unwrap_or(("", ""));
    let sql = format!(
        "SELECT {COLUMNS} FROM schedules WHERE account = ?1 AND region = ?2
         AND (?3 IS NULL OR group_name = ?3) AND substr(name, 1, length(?4)) = ?4
         AND (?5 IS NULL OR json_extract(document, '$.State') = ?5)
         AND (group_name, name) > (?6, ?7) ORDER BY group_name, name LIMIT ?8"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let prefix = text(input, "NamePrefix").unwrap_or("");
    let (group, state) = (text(input, "GroupName"), text(input, "State"));
    let row = params![call.account, call.region, group, prefix, state, after_group, after_name, limit + 1];
    let mut schedules: Vec<Value> =
        statement.query_map(row, |row| Ok(summary(&read(row)?.document)))?.collect::<Result<_, _>>()?;
    let more = schedules.len() as i64 > limit;
    schedules.truncate(usize::try_from(limit).unwrap_or_default());
    let token = |last: &Value| json!(format!("{}/{}", text(last, "GroupName")?, text(last, "Name")?)).into();
    let next: Option<Value> = schedules.last().filter(|_| more).and_then(token);
    let mut answer = json!({"Schedules": schedules});
    if let Some(next) = next {
        answer["NextToken"] = next;
    }
    Ok(answer)
}

fn summary(document: &Value) -> Value {
    let mut summary = Map::new();
    for member in ["Arn", "CreationDate", "GroupName", "LastModificationDate", "Name", "State"] {
        summary.insert(member.to_owned(), document[member].clone());
    }
    summary.insert("Target".to_owned(), json!({"Arn": document["Target"]["Arn"]}));
    Value::Object(summary)
}
