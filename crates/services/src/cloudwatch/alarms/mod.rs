//! Alarms on one metric: kept as they were put, evaluated every few seconds, with SNS topics as their actions.
//!
//! Invariant: a change of state and the actions it owes commit together; an owed action is tried until its topic has it
//! or refuses it. What it does not do: alarms on metric math, composite and anomaly alarms.

mod evaluate;
mod watch;

pub(super) use watch::Watch;

use super::Call;
use super::input::{invalid_combination, invalid_value, list, missing, number, seconds, text};
use super::statistic::Statistic;
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value, json};

pub(super) const SCHEMA: &str = "
CREATE TABLE alarms(
    account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, alarm TEXT NOT NULL, tags TEXT NOT NULL,
    PRIMARY KEY(account, region, name)) WITHOUT ROWID;
CREATE TABLE alarm_actions(
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, region TEXT NOT NULL, alarm_arn TEXT NOT NULL,
    action TEXT NOT NULL, message TEXT NOT NULL);
";

/// Owed actions in the form of [`crate::delivery`].
pub(super) const DELIVERIES: &str = "
CREATE TABLE deliveries(
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, region TEXT NOT NULL, alarm_arn TEXT NOT NULL,
    action TEXT NOT NULL, message TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, due INTEGER NOT NULL,
    since INTEGER NOT NULL);
CREATE INDEX deliveries_due ON deliveries(due, id);
INSERT INTO deliveries(id, account, region, alarm_arn, action, message, due, since)
    SELECT id, account, region, alarm_arn, action, message, unixepoch() * 1000, unixepoch() * 1000 FROM alarm_actions;
DROP TABLE alarm_actions;
";

const ALARMS_MAX: i64 = 5_000;
const PAGE_MAX: i64 = 100;
const ACTIONS_MAX: usize = 5;
/// Members of a request that an alarm keeps and shows as they are.
const KEPT: [&str; 14] = [
    "AlarmName",
    "AlarmDescription",
    "OKActions",
    "AlarmActions",
    "InsufficientDataActions",
    "MetricName",
    "Namespace",
    "Statistic",
    "ExtendedStatistic",
    "Dimensions",
    "Unit",
    "ComparisonOperator",
    "TreatMissingData",
    "EvaluateLowSampleCountPercentile",
];
const NUMBERS: [&str; 4] = ["Period", "EvaluationPeriods", "DatapointsToAlarm", "Threshold"];
const COMPARISONS: [&str; 4] = [
    "GreaterThanOrEqualToThreshold",
    "GreaterThanThreshold",
    "LessThanThreshold",
    "LessThanOrEqualToThreshold",
];
const STATES: [&str; 3] = ["OK", "ALARM", "INSUFFICIENT_DATA"];

pub(super) fn put(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = text(input, "AlarmName").ok_or_else(|| missing("AlarmName"))?;
    let mut alarm = checked(input)?;
    let now = call.now_ms as f64 / 1000.0;
    let held = find(connection, call, name)?;
    let created = held.is_none();
    let mut set = |member: &str, value: Value| {
        alarm.insert(member.to_owned(), value);
    };
    set("AlarmArn", json!(format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", call.region, call.account)));
    set("AlarmConfigurationUpdatedTimestamp", json!(now));
    let enabled =
        input.get("ActionsEnabled").is_none_or(|enabled| ![json!(false), json!("false")].contains(enabled));
    set("ActionsEnabled", json!(enabled));
    let state = |member: &str, otherwise: Value| {
        held.as_ref().and_then(|held| held.get(member)).cloned().unwrap_or(otherwise)
    };
    set("StateValue", state("StateValue", json!("INSUFFICIENT_DATA")));
    set("StateReason", state("StateReason", json!("Unchecked: Initial alarm creation")));
    set("StateUpdatedTimestamp", state("StateUpdatedTimestamp", json!(now)));
    set("StateTransitionedTimestamp", state("StateTransitionedTimestamp", json!(now)));
    store(connection, call, name, &Value::Object(alarm))?;
    if created {
        let tags = Value::from(list(input, "Tags").to_vec()).to_string();
        let sql = "UPDATE alarms SET tags = ?4 WHERE account = ?1 AND region = ?2 AND name = ?3";
        connection.execute(sql, params![call.account, call.region, name, tags])?;
        let sql = "SELECT count(*) FROM alarms WHERE account = ?1 AND region = ?2";
        let count: i64 = connection.query_row(sql, params![call.account, call.region], |row| row.get(0))?;
        if count > ALARMS_MAX {
            let message = "The quota for alarms for this customer has already been reached.";
            return Err(ServiceError::client("LimitExceededFault", message).with_query_code("LimitExceeded"));
        }
    }
    Ok(Value::Null)
}

fn checked(input: &Value) -> Result<Map<String, Value>, ServiceError> {
    if !list(input, "Metrics").is_empty() || text(input, "ThresholdMetricId").is_some() {
        let message = "Alarms on metric math and anomaly models are not implemented by this server.";
        return Err(ServiceError::new(501, "UnsupportedOperationException", message));
    }
    let mut alarm = Map::new();
    for member in KEPT {
        if let Some(value) = input.get(member).filter(|value| !value.is_null()) {
            alarm.insert(member.to_owned(), value.clone());
        }
    }
    for member in NUMBERS {
        if let Some(value) = input.get(member).filter(|value| !value.is_null()) {
            let number = number(value)
                .ok_or_else(|| invalid_value(format!("The value for parameter {member} is invalid.")))?;
            let is_whole = member != "Threshold";
            alarm.insert(member.to_owned(), if is_whole { json!(number as i64) } else { json!(number) });
        }
    }
    for member in
        ["MetricName", "Namespace", "ComparisonOperator", "Period", "EvaluationPeriods", "Threshold"]
    {
        if !alarm.contains_key(member) {
            return Err(missing(member));
        }
    }
    let whole = |member: &str| alarm.get(member).and_then(Value::as_i64).unwrap_or_default();
    if !COMPARISONS.contains(&alarm["ComparisonOperator"].as_str().unwrap_or("")) {
        return Err(invalid_value(
            "The value for parameter ComparisonOperator is not supported by this server.",
        ));
    }
    if whole("Period") < 10 || (whole("Period") % 60 != 0 && ![10, 20, 30].contains(&whole("Period"))) {
        return Err(invalid_value("Period must be 10, 20, 30 or a multiple of 60"));
    }
    if whole("EvaluationPeriods") < 1 || whole("EvaluationPeriods") * whole("Period") > 7 * 86400 {
        return Err(invalid_value(
            "Metrics cannot be checked across more than 7 days (EvaluationPeriods * Period must be <= 604800).",
        ));
    }
    let statistic = text(input, "Statistic").or(text(input, "ExtendedStatistic"));
    let statistic = statistic
        .ok_or_else(|| invalid_combination("Either Statistic or ExtendedStatistic must be specified"))?;
    if Statistic::parse(statistic).is_none() {
        return Err(invalid_value(format!(
            "The value {statistic} for parameter Statistic is not supported."
        )));
    }
    for member in ["OKActions", "AlarmActions", "InsufficientDataActions"] {
        let actions = list(input, member);
        if actions.len() > ACTIONS_MAX {
            return Err(invalid_value(format!(
                "The collection {member} must not have a size greater than 5."
            )));
        }
        if let Some(other) =
            actions.iter().find(|action| !action.as_str().is_some_and(|arn| arn.starts_with("arn:aws:sns:")))
        {
            let message =
                format!("The alarm action {other} is not implemented by this server; SNS topics are.");
            return Err(ServiceError::new(501, "UnsupportedOperationException", message));
        }
        alarm.entry(member).or_insert_with(|| json!([]));
    }
    alarm.entry("Dimensions").or_insert_with(|| json!([]));
    Ok(alarm)
}

fn find(connection: &Connection, call: &Call, name: &str) -> Result<Option<Value>, ServiceError> {
    let sql = "SELECT alarm FROM alarms WHERE account = ?1 AND region = ?2 AND name = ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row(params![call.account, call.region, name], read_alarm).optional()?;
    Ok(found)
}

fn read_alarm(row: &Row<'_>) -> rusqlite::Result<Value> {
    Ok(serde_json::from_str(&row.get::<_, String>(0)?).unwrap_or_default())
}

fn store(connection: &Connection, call: &Call, name: &str, alarm: &Value) -> Result<(), ServiceError> {
    let sql = "INSERT INTO alarms VALUES (?1, ?2, ?3, ?4, '[]')
               ON CONFLICT(account, region, name) DO UPDATE SET alarm = ?4";
    connection.prepare_cached(sql)?.execute(params![call.account, call.region, name, alarm.to_string()])?;
    Ok(())
}

fn not_found() -> ServiceError {
    ServiceError::new(404, "ResourceNotFound", "Resource not found").with_query_code("ResourceNotFound")
}

pub(super) fn delete(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    for name in list(input, "AlarmNames").iter().filter_map(Value::as_str) {
        let sql = "DELETE FROM alarms WHERE account = ?1 AND region = ?2 AND name = ?3";
        connection.execute(sql, params![call.account, call.region, name])?;
    }
    Ok(Value::Null)
}

pub(super) fn set_state(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = text(input, "AlarmName").ok_or_else(|| missing("AlarmName"))?;
    let state = text(input, "StateValue").ok_or_else(|| missing("StateValue"))?;
    let reason = text(input, "StateReason").ok_or_else(|| missing("StateReason"))?;
    if !STATES.contains(&state) {
        return Err(invalid_value(format!("The value {state} for parameter StateValue is invalid.")));
    }
    let alarm = find(connection, call, name)?.ok_or_else(not_found)?;
    change_state(connection, call, alarm, state, reason)?;
    Ok(Value::Null)
}

/// Stores the new state and what it owes to the actions, if it is another state than before.
fn change_state(
    connection: &Connection,
    call: &Call,
    mut alarm: Value,
    state: &str,
    reason: &str,
) -> Result<(), ServiceError> {
    let old = alarm["StateValue"].as_str().unwrap_or("").to_owned();
    let now = json!(call.now_ms as f64 / 1000.0);
    alarm["StateReason"] = json!(reason);
    alarm["StateUpdatedTimestamp"] = now.clone();
    let name = alarm["AlarmName"].as_str().unwrap_or("").to_owned();
    if old != state {
        alarm["StateValue"] = json!(state);
        alarm["StateTransitionedTimestamp"] = now;
        owe_actions(connection, call, &alarm, &old)?;
    }
    store(connection, call, &name, &alarm)
}

fn owe_actions(connection: &Connection, call: &Call, alarm: &Value, old: &str) -> Result<(), ServiceError> {
    if alarm["ActionsEnabled"] == json!(false) {
        return Ok(());
    }
    let member = match alarm["StateValue"].as_str() {
        Some("ALARM") => "AlarmActions",
        Some("OK") => "OKActions",
        _ => "InsufficientDataActions",
    };
    let at = jiff::Timestamp::from_millisecond(call.now_ms).unwrap_or_default();
    let dimensions: Vec<Value> = list(alarm, "Dimensions")
        .iter()
        .map(|dimension| json!({"value": dimension["Value"], "name": dimension["Name"]}))
        .collect();
    let message = json!({
        "AlarmName": alarm["AlarmName"], "AlarmDescription": alarm["AlarmDescription"], "AWSAccountId": call.account,
        "AlarmConfigurationUpdatedTimestamp": iso(&alarm["AlarmConfigurationUpdatedTimestamp"]),
        "NewStateValue": alarm["StateValue"], "NewStateReason": alarm["StateReason"],
        "StateChangeTime": format!("{at:.3}").replace('Z', "+0000"), "Region": call.region,
        "AlarmArn": alarm["AlarmArn"], "OldStateValue": old, "OKActions": alarm["OKActions"],
        "AlarmActions": alarm["AlarmActions"], "InsufficientDataActions": alarm["InsufficientDataActions"],
        "Trigger": {
            "MetricName": alarm["MetricName"], "Namespace": alarm["Namespace"], "StatisticType": "Statistic",
            "Statistic": alarm["Statistic"].as_str().map(str::to_uppercase), "Unit": alarm["Unit"],
            "Dimensions": dimensions, "Period": alarm["Period"], "EvaluationPeriods": alarm["EvaluationPeriods"],
            "ComparisonOperator": alarm["ComparisonOperator"], "Threshold": alarm["Threshold"],
            "TreatMissingData": alarm["TreatMissingData"].as_str().unwrap_or(""),
            "EvaluateLowSampleCountPercentile": "",
        },
    });
    let sql = "INSERT INTO deliveries(account, region, alarm_arn, action, message, due, since)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)";
    for action in list(alarm, member).iter().filter_map(Value::as_str) {
        let arn = alarm["AlarmArn"].as_str();
        let row = params![call.account, call.region, arn, action, message.to_string(), call.now_ms];
        connection.execute(sql, row)?;
    }
    Ok(())
}

fn iso(value: &Value) -> String {
    let at = jiff::Timestamp::from_millisecond((seconds(value).unwrap_or_default() * 1000.0) as i64);
    format!("{:.3}", at.unwrap_or_default()).replace('Z', "+0000")
}

fn set_actions(
    connection: &Connection,
    call: &Call,
    input: &Value,
    enabled: bool,
) -> Result<Value, ServiceError> {
    for name in list(input, "AlarmNames").iter().filter_map(Value::as_str) {
        if let Some(mut alarm) = find(connection, call, name)? {
            alarm["ActionsEnabled"] = json!(enabled);
            store(connection, call, name, &alarm)?;
        }
    }
    Ok(Value::Null)
}

pub(super) fn enable_actions(
    connection: &Connection,
    call: &Call,
    input: &Value,
) -> Result<Value, ServiceError> {
    set_actions(connection, call, input, true)
}

pub(super) fn disable_actions(
    connection: &Connection,
    call: &Call,
    input: &Value,
) -> Result<Value, ServiceError> {
    set_actions(connection, call, input, false)
}

pub(super) fn describe(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let limit = input.get("MaxRecords").and_then(number).map_or(50, |limit| limit as i64).clamp(1, PAGE_MAX);
    let names = list(input, "AlarmNames");
    let after = text(input, "NextToken").unwrap_or("");
    let prefix = text(input, "AlarmNamePrefix").unwrap_or("");
    let sql = "SELECT alarm FROM alarms WHERE account = ?1 AND region = ?2 AND name > ?3
               AND substr(name, 1, length(?4)) = ?4
               AND (?5 IS NULL OR json_extract(alarm, '$.StateValue') = ?5) ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let row = params![call.account, call.region, after, prefix, text(input, "StateValue")];
    let mut alarms = Vec::new();
    for alarm in statement.query_map(row, read_alarm)? {
        let alarm = alarm?;
        if names.is_empty() || names.contains(&alarm["AlarmName"]) {
            alarms.push(alarm);
        }
        if alarms.len() as i64 > limit {
            break;
        }
    }
    let more = alarms.len() as i64 > limit;
    alarms.truncate(usize::try_from(limit).unwrap_or_default());
    let next = alarms.last().map(|alarm| alarm["AlarmName"].clone()).filter(|_| more);
    let mut answer = json!({"MetricAlarms": alarms, "CompositeAlarms": []});
    if let Some(next) = next {
        answer["NextToken"] = next;
    }
    Ok(answer)
}

pub(super) fn tags(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let arn = text(input, "ResourceARN").ok_or_else(|| missing("ResourceARN"))?;
    let name = arn.split_once(":alarm:").map_or("", |(_, name)| name);
    let sql = "SELECT tags FROM alarms WHERE account = ?1 AND region = ?2 AND name = ?3";
    let row = params![call.account, call.region, name];
    let tags = connection.query_row(sql, row, read_alarm).optional()?.ok_or_else(not_found)?;
    Ok(json!({"Tags": tags}))
}
