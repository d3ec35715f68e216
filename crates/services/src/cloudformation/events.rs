//! Stack events: what `DescribeStackEvents` shows. Those of resources follow from two successive kept states, so they are
//! written in the transaction of the state and none is lost or told twice.

use super::records::Record;
use super::stacks::as_text;
use crate::wire::{ServiceError, Xml};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

/// Of each stack the newest are kept.
const KEPT_MAX: i64 = 2000;
pub(super) const STACK_TYPE: &str = "AWS::CloudFormation::Stack";

/// Something that happened to a resource, or to the stack as one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Happened {
    pub id: String,
    pub kind: String,
    pub physical_id: String,
    pub status: String,
    pub reason: String,
}

impl Happened {
    /// To the stack itself.
    pub fn to_stack(record: &Record, status: &str, reason: &str) -> Happened {
        Happened {
            id: record.name.clone(),
            kind: STACK_TYPE.to_owned(),
            physical_id: record.id.clone(),
            status: status.to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn to_resource(id: &str, resource: &Value, status: impl Into<String>) -> Happened {
        Happened {
            id: id.to_owned(),
            kind: as_text(&resource["kind"]),
            physical_id: resource.get("reference").map(as_text).unwrap_or_default(),
            status: status.into(),
            reason: String::new(),
        }
    }
}

pub(super) fn write(
    connection: &Connection,
    record: &Record,
    now_ms: i64,
    happened: &[Happened],
) -> Result<(), ServiceError> {
    let sql = "SELECT coalesce(max(sequence), 0) FROM stack_events WHERE stack = ?1";
    let mut last: i64 = connection.prepare_cached(sql)?.query_row([&record.id], |row| row.get(0))?;
    for event in happened {
        last += 1;
        let document = json!({ "event": format!("{}-{}-{last}", event.id, event.status), "id": event.id, "kind": event.kind,
            "physical_id": event.physical_id, "status": event.status, "reason": event.reason, "at": now_ms });
        let sql = "INSERT INTO stack_events VALUES (?1, ?2, ?3)";
        connection.prepare_cached(sql)?.execute(params![record.id, last, document.to_string()])?;
    }
    let sql = "DELETE FROM stack_events WHERE stack = ?1 AND sequence <= ?2";
    connection.prepare_cached(sql)?.execute(params![record.id, last - KEPT_MAX])?;
    Ok(())
}

/// A page of a stack's events, newest first, and the sequence at which the next begins.
pub(super) fn page(
    connection: &Connection,
    record: &Record,
    before: Option<i64>,
) -> Result<(Vec<Vec<Xml>>, Option<i64>), ServiceError> {
    const PAGE: usize = 100;
    let sql = "SELECT sequence, document FROM stack_events WHERE stack = ?1 AND sequence < ?2
               ORDER BY sequence DESC LIMIT 101";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![record.id, before.unwrap_or(i64::MAX)], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    })?;
    let mut found = rows.collect::<Result<Vec<_>, _>>()?;
    let has_more = found.len() > PAGE;
    found.truncate(PAGE);
    let next = found.last().filter(|_| has_more).map(|(sequence, _)| *sequence);
    Ok((found.iter().map(|(_, document)| shown(record, document)).collect(), next))
}

fn shown(record: &Record, document: &str) -> Vec<Xml> {
    let event: Value = serde_json::from_str(document).unwrap_or_default();
    let mut members = vec![
        Xml::text("StackId", &record.id),
        Xml::text("EventId", as_text(&event["event"])),
        Xml::text("StackName", &record.name),
        Xml::text("LogicalResourceId", as_text(&event["id"])),
        Xml::text("PhysicalResourceId", as_text(&event["physical_id"])),
        Xml::text("ResourceType", as_text(&event["kind"])),
        Xml::text("Timestamp", super::view::time(event["at"].as_i64().unwrap_or_default())),
        Xml::text("ResourceStatus", as_text(&event["status"])),
    ];
    if event["reason"].as_str().is_some_and(|reason| !reason.is_empty()) {
        members.push(Xml::text("ResourceStatusReason", as_text(&event["reason"])));
    }
    members
}

/// What happened to resources between two kept states: first what was done, then what is being done.
pub(super) fn between(old: &Value, new: &Value) -> Vec<Happened> {
    let mut happened = Vec::new();
    let resources = |state: &Value| state["resources"].as_object().cloned().unwrap_or_default();
    let (before, after) = (resources(old), resources(new));
    for (id, resource) in &after {
        match before.get(id) {
            None => happened.push(Happened::to_resource(id, resource, "CREATE_COMPLETE")),
            Some(one)
                if one["properties"] != resource["properties"]
                    || one["reference"] != resource["reference"] =>
            {
                happened.push(Happened::to_resource(id, resource, "UPDATE_COMPLETE"));
            }
            Some(_) => {}
        }
    }
    if let Some(failed) = new.get("failed").filter(|failed| !failed.is_null() && old["failed"].is_null()) {
        happened.extend(failure(old, failed));
    }
    let retired = |state: &Value| state["retired"].as_array().cloned().unwrap_or_default();
    for one in retired(old).iter().filter(|one| !retired(new).contains(one)) {
        happened.push(Happened::to_resource(&as_text(&one["id"]), &one["resource"], "DELETE_COMPLETE"));
    }
    let begins_to_go = retired(new);
    for one in begins_to_go.iter().filter(|one| !retired(old).contains(one)) {
        happened.push(Happened::to_resource(&as_text(&one["id"]), &one["resource"], "DELETE_IN_PROGRESS"));
    }
    for (id, resource) in before.iter().filter(|(id, _)| !after.contains_key(*id)) {
        if !begins_to_go.iter().any(|one| one["id"] == id.as_str()) {
            happened.push(Happened::to_resource(id, resource, "DELETE_COMPLETE"));
        }
    }
    let pending = &new["pending"];
    if !pending.is_null() && *pending != old["pending"] {
        let verb = if pending["is_new"] == true { "CREATE" } else { "UPDATE" };
        let id = as_text(&pending["id"]);
        let mut begun = Happened::to_resource(&id, pending, format!("{verb}_IN_PROGRESS"));
        begun.physical_id =
            after.get(&id).map(|resource| as_text(&resource["reference"])).unwrap_or_default();
        happened.push(begun);
    }
    happened
}

/// The failure of the resource that was being made, if it was one.
fn failure(old: &Value, failed: &Value) -> Option<Happened> {
    let id = failed["id"].as_str().filter(|id| !id.is_empty())?;
    let verb = if old["pending"]["is_new"] == true { "CREATE" } else { "UPDATE" };
    let mut happened = Happened::to_resource(id, &old["pending"], format!("{verb}_FAILED"));
    happened.reason = as_text(&failed["reason"]);
    Some(happened)
}
