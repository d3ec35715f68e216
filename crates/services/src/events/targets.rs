//! Targets of rules.

use super::rules::{bus, find, paged};
use super::{required, text, validation};
use crate::service_file::Call;
use crate::wire::{Access, ServiceError, ServiceRequest};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

/// AWS's default quota.
const TARGETS_PER_RULE_MAX: i64 = 5;
const PAGE_MAX: i64 = 100;

/// The services that can be a target here.
pub(super) const SERVICES: [&str; 5] = ["sqs", "sns", "lambda", "logs", "states"];

/// `iam:PassRole` for each role that targets name.
pub(super) fn passed_roles(request: &ServiceRequest) -> Vec<Access> {
    let Ok(input) = request.json() else { return Vec::new() };
    let targets = input.get("Targets").and_then(Value::as_array).into_iter().flatten();
    targets
        .filter_map(|target| text(target, "RoleArn"))
        .map(|role| Access::pass_role(role, "events.amazonaws.com"))
        .collect()
}

pub(super) fn put(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let rule_id = find(connection, call, bus(connection, call, input)?, required(input, "Rule")?)?;
    let targets = input.get("Targets").and_then(Value::as_array).cloned().unwrap_or_default();
    if targets.is_empty() {
        return Err(validation(
            "1 validation error detected: Value '[]' at 'targets' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ));
    }
    let mut failed = Vec::new();
    for target in &targets {
        let id = required(target, "Id")?;
        if let Err(message) = valid(target) {
            failed.push(json!({"TargetId": id, "ErrorCode": "ValidationException", "ErrorMessage": message}));
            continue;
        }
        let sql = "INSERT OR REPLACE INTO targets VALUES (?1, ?2, ?3)";
        connection.execute(sql, params![rule_id, id, target.to_string()])?;
    }
    let sql = "SELECT count(*) FROM targets WHERE rule_id = ?1";
    let count: i64 = connection.query_row(sql, [rule_id], |row| row.get(0))?;
    if count > TARGETS_PER_RULE_MAX {
        let message = "The requested resource exceeds the maximum number allowed.";
        return Err(ServiceError::client("LimitExceededException", message));
    }
    Ok(json!({"FailedEntryCount": failed.len(), "FailedEntries": failed}))
}

fn valid(target: &Value) -> Result<(), String> {
    let arn = text(target, "Arn").unwrap_or("");
    let service = arn.split(':').nth(2).unwrap_or("");
    if arn.split(':').count() < 6 {
        return Err(format!("Parameter {arn} is not valid. Reason: Provided Arn is not in correct format."));
    }
    if !SERVICES.contains(&service) {
        return Err(format!("Targets of the service \"{service}\" are not implemented by this server."));
    }
    if service == "states" && text(target, "RoleArn").is_none() {
        let id = text(target, "Id").unwrap_or("");
        return Err(format!("RoleArn is required for target {id}."));
    }
    let shapes =
        ["Input", "InputPath", "InputTransformer"].iter().filter(|name| target.get(**name).is_some()).count();
    if shapes > 1 {
        return Err("Only one of Input, InputPath, or InputTransformer must be provided.".to_owned());
    }
    if let Some(input) = text(target, "Input")
        && serde_json::from_str::<Value>(input).is_err()
    {
        return Err("Parameter Input is not valid JSON.".to_owned());
    }
    Ok(())
}

pub(super) fn remove(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let rule_id = find(connection, call, bus(connection, call, input)?, required(input, "Rule")?)?;
    for id in input.get("Ids").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        connection.execute("DELETE FROM targets WHERE rule_id = ?1 AND id = ?2", params![rule_id, id])?;
    }
    Ok(json!({"FailedEntryCount": 0, "FailedEntries": []}))
}

pub(super) fn list(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let rule_id = find(connection, call, bus(connection, call, input)?, required(input, "Rule")?)?;
    let after = text(input, "NextToken").unwrap_or("");
    let sql = "SELECT target FROM targets WHERE rule_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![rule_id, after, PAGE_MAX + 1], |row| {
        Ok(serde_json::from_str::<Value>(&row.get::<_, String>(0)?).unwrap_or_default())
    })?;
    Ok(paged("Targets", "Id", rows.collect::<Result<_, _>>()?, PAGE_MAX))
}

pub(super) fn rule_names(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (bus, arn) = (bus(connection, call, input)?, required(input, "TargetArn")?);
    let sql = "SELECT DISTINCT rules.name FROM rules JOIN targets ON rule_id = rules.id
               WHERE account = ?1 AND region = ?2 AND bus = ?3 AND json_extract(target, '$.Arn') = ?4
               ORDER BY rules.name LIMIT ?5";
    let mut statement = connection.prepare_cached(sql)?;
    let row = params![call.account, call.region, bus, arn, PAGE_MAX];
    let names = statement.query_map(row, |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    Ok(json!({"RuleNames": names}))
}
