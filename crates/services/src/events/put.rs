//! PutEvents: the entries that are well formed become events, and each a row for every target it matches.

use super::envelope::build;
use super::rules::has_bus;
use super::{bus_name, pattern_of, text, validation};
use crate::service_file::Call;
use crate::wire::{Access, ServiceError, ServiceRequest};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const ENTRIES_MAX: usize = 10;
const REQUEST_BYTES_MAX: usize = 262_144;

/// `events:PutEvents` on every bus that the entries name.
pub(super) fn access(call: &Call, request: &ServiceRequest) -> Vec<Access> {
    let Ok(input) = request.json() else { return Vec::new() };
    let entries = input.get("Entries").and_then(Value::as_array).into_iter().flatten();
    let buses: BTreeSet<String> =
        entries.map(|entry| call.bus_arn(text(entry, "EventBusName").map_or("default", bus_name))).collect();
    buses.into_iter().map(|bus| Access::new("events:PutEvents", bus)).collect()
}

pub(super) fn put_events(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let entries = input.get("Entries").and_then(Value::as_array).cloned().unwrap_or_default();
    if entries.is_empty() {
        return Err(validation(
            "1 validation error detected: Value '[]' at 'entries' failed to satisfy constraint: Member must have length \
             greater than or equal to 1",
        ));
    }
    if entries.len() > ENTRIES_MAX {
        return Err(validation(
            "1 validation error detected: Value at 'entries' failed to satisfy constraint: Member must have length less \
             than or equal to 10",
        ));
    }
    if input.to_string().len() > REQUEST_BYTES_MAX {
        return Err(validation("Total size of the entries in the request is over the limit."));
    }
    let mut results = Vec::new();
    let mut failed = 0;
    for entry in &entries {
        match put_one(connection, call, entry)? {
            Ok(id) => results.push(json!({"EventId": id})),
            Err((code, message)) => {
                failed += 1;
                results.push(json!({"ErrorCode": code, "ErrorMessage": message}));
            }
        }
    }
    Ok(json!({"FailedEntryCount": failed, "Entries": results}))
}

type Refusal = (&'static str, String);

fn put_one(
    connection: &Connection,
    call: &Call,
    entry: &Value,
) -> Result<Result<String, Refusal>, ServiceError> {
    let missing = |member: &str| {
        let reason = format!("Parameter {member} is not valid. Reason: {member} is a required argument.");
        Ok(Err(("InvalidArgument", reason)))
    };
    let (source, detail_type) =
        (text(entry, "Source").unwrap_or(""), text(entry, "DetailType").unwrap_or(""));
    if source.is_empty() {
        return missing("Source");
    }
    if detail_type.is_empty() {
        return missing("DetailType");
    }
    if source.starts_with("aws.") {
        return Ok(Err(("NotAuthorizedForSourceException", "Not authorized for the source.".to_owned())));
    }
    let Some(detail) = text(entry, "Detail") else { return missing("Detail") };
    let Ok(detail @ Value::Object(_)) = serde_json::from_str::<Value>(detail) else {
        return Ok(Err(("MalformedDetail", "Detail is malformed.".to_owned())));
    };
    let bus = text(entry, "EventBusName").map_or("default", bus_name);
    let resources = entry.get("Resources").cloned().unwrap_or_else(|| json!([]));
    let at = match entry.get("Time") {
        Some(Value::Number(seconds)) => (seconds.as_f64().unwrap_or_default() * 1000.0) as i64,
        _ => call.now_ms,
    };
    let event = build(call, source, detail_type, at, resources, detail);
    let id = event["id"].as_str().unwrap_or("").to_owned();
    // An event for a bus that is not there is accepted and goes nowhere, as on AWS.
    if has_bus(connection, call, bus)? {
        owe(connection, call, bus, &event)?;
    }
    Ok(Ok(id))
}

/// One row for each target of each enabled rule that matches.
pub(super) fn owe(
    connection: &Connection,
    call: &Call,
    bus: &str,
    event: &Value,
) -> Result<(), ServiceError> {
    let sql = "SELECT id, name, pattern FROM rules WHERE account = ?1 AND region = ?2 AND bus = ?3 AND enabled = 1 AND pattern <> ''";
    let mut rules = connection.prepare_cached(sql)?;
    let mut rows = rules.query(params![call.account, call.region, bus])?;
    let text = event.to_string();
    while let Some(row) = rows.next()? {
        // It was checked when it was put; one that cannot be read matches nothing.
        let Ok(pattern) = pattern_of(&row.get::<_, String>(2)?) else { continue };
        if !pattern.matches(event) {
            continue;
        }
        let arn = call.rule_arn(bus, &row.get::<_, String>(1)?);
        let sql = "INSERT INTO deliveries(rule_arn, target, event, due, since)
                   SELECT ?1, target, ?2, ?3, ?3 FROM targets WHERE rule_id = ?4";
        connection.prepare_cached(sql)?.execute(params![arn, text, call.now_ms, row.get::<_, i64>(0)?])?;
    }
    Ok(())
}
