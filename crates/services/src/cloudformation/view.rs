//! CloudFormation's reading calls, over the kept states.

use super::records::Record;
use super::stacks::{self, Stack, as_text};
use super::{Call, change_sets, events};
use crate::wire::{Form, ServiceError, ServiceRequest, Xml};
use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn answer(
    connection: &Connection,
    call: &Call,
    request: &ServiceRequest,
) -> Result<Vec<Xml>, ServiceError> {
    let form = request.form();
    let stack = || stacks::find(connection, call, form.get("StackName").unwrap_or_default());
    match request.operation.as_str() {
        "DescribeStacks" => {
            let found = match form.get("StackName").filter(|name| !name.is_empty()) {
                Some(_) => vec![stack()?],
                None => stacks::all(connection, call, false)?,
            };
            Ok(vec![Xml::list("Stacks", found.iter().map(described))])
        }
        "ListStacks" => {
            let wanted = form.list("StackStatusFilter");
            let all = stacks::all(connection, call, true)?;
            let listed = all
                .iter()
                .filter(|stack| wanted.is_empty() || wanted.contains(&stack.record.status.as_str()));
            Ok(vec![Xml::list("StackSummaries", listed.map(summary))])
        }
        "DescribeStackEvents" => {
            let (events, next) =
                events::page(connection, &stack()?.record, page_token(form.get("NextToken"))?)?;
            let next = next.map(|next| Xml::text("NextToken", next));
            Ok([Xml::list("StackEvents", events)].into_iter().chain(next).collect())
        }
        "DescribeStackResources" => {
            let stack = stack_of_resources(connection, call, form)?;
            let wanted = form.get("LogicalResourceId");
            Ok(vec![Xml::list(
                "StackResources",
                resources(&stack, wanted, "Timestamp", &stack_names(&stack)),
            )])
        }
        "DescribeStackResource" => {
            let (stack, wanted) = (stack()?, form.get("LogicalResourceId").unwrap_or_default());
            let found = resources(&stack, Some(wanted), "LastUpdatedTimestamp", &stack_names(&stack)).pop();
            let found = found.ok_or_else(|| {
                let message = format!("Resource {wanted} does not exist for stack {}", stack.record.name);
                ServiceError::client("ValidationError", message)
            })?;
            Ok(vec![Xml::element("StackResourceDetail").with_children(found)])
        }
        "ListStackResources" => Ok(vec![Xml::list(
            "StackResourceSummaries",
            resources(&stack()?, None, "LastUpdatedTimestamp", &[]),
        )]),
        "ListExports" => {
            let all = stacks::all(connection, call, false)?;
            Ok(vec![Xml::list("Exports", all.iter().flat_map(exports))])
        }
        "ListImports" => imports(connection, call, form.get("ExportName").unwrap_or_default()),
        "ListChangeSets" => change_sets::list(connection, call, &stack()?.record),
        "DescribeChangeSet" => change_sets::described(connection, call, form),
        "GetTemplate" => template(connection, call, form),
        operation => Err(ServiceError::unsupported("cloudformation", operation)),
    }
}

fn page_token(token: Option<&str>) -> Result<Option<i64>, ServiceError> {
    let refused = |_| ServiceError::client("ValidationError", "Next token is invalid.");
    token.filter(|token| !token.is_empty()).map(str::parse).transpose().map_err(refused)
}

/// `DescribeStackResources` names a stack, or one of its resources by the physical id.
fn stack_of_resources(connection: &Connection, call: &Call, form: &Form) -> Result<Stack, ServiceError> {
    let wanted = match (form.get("StackName"), form.get("PhysicalResourceId")) {
        (Some(name), _) if !name.is_empty() => return stacks::find(connection, call, name),
        (_, Some(id)) => id,
        _ => {
            let message = "StackName or PhysicalResourceId must be specified.";
            return Err(ServiceError::client("ValidationError", message));
        }
    };
    let has = |stack: &Stack| {
        members(stack, "resources").any(|(_, resource)| as_text(&resource["reference"]) == wanted)
    };
    stacks::all(connection, call, false)?
        .into_iter()
        .find(has)
        .ok_or_else(|| ServiceError::client("ValidationError", format!("Stack for {wanted} does not exist")))
}

/// The template that a stack was made with, or that a change set would make it with.
fn template(connection: &Connection, call: &Call, form: &Form) -> Result<Vec<Xml>, ServiceError> {
    let template = match form.get("ChangeSetName").filter(|name| !name.is_empty()) {
        Some(_) => change_sets::ChangeSet::named(connection, call, form)?.order.template,
        None => Record::named(connection, call, form.get("StackName").unwrap_or_default())?.details.template,
    };
    if template.is_empty() {
        let message = "The template is not kept here: the stack was deployed from outside.";
        return Err(ServiceError::client("ValidationError", message));
    }
    let stages = Xml::text_list("StagesAvailable", ["Original", "Processed"]);
    Ok(vec![Xml::text("TemplateBody", template), stages])
}

/// Times of the query protocol are ISO 8601 with milliseconds.
pub(super) fn time(milliseconds: i64) -> String {
    let at = Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    format!("{at:.3}")
}

fn members<'a>(stack: &'a Stack, member: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    stack.state.get(member).and_then(Value::as_object).into_iter().flatten()
}

fn described(stack: &Stack) -> Vec<Xml> {
    let parameters = members(stack, "parameters").map(|(name, value)| {
        let is_secret = value["no_echo"] == true;
        let shown = if is_secret { "****".to_owned() } else { as_text(&value["value"]) };
        vec![Xml::text("ParameterKey", name), Xml::text("ParameterValue", shown)]
    });
    let outputs = members(stack, "outputs").map(|(name, output)| {
        let mut shown =
            vec![Xml::text("OutputKey", name), Xml::text("OutputValue", as_text(&output["value"]))];
        for (member, element) in [("description", "Description"), ("export", "ExportName")] {
            let text = output[member].as_str().filter(|text| !text.is_empty());
            shown.extend(text.map(|text| Xml::text(element, text)));
        }
        shown
    });
    let record = &stack.record;
    let details = &record.details;
    let mut shown = head(record);
    shown.extend([
        Xml::text("DisableRollback", details.keeps_failed),
        Xml::text("EnableTerminationProtection", details.is_protected),
        Xml::text_list("Capabilities", &details.capabilities),
        Xml::list("Tags", tags(&details.tags)),
        Xml::text_list("NotificationARNs", &details.notification_arns),
        Xml::list("Parameters", parameters),
        Xml::list("Outputs", outputs),
        Xml::element("RollbackConfiguration"),
        Xml::element("DriftInformation").with(Xml::text("StackDriftStatus", "NOT_CHECKED")),
    ]);
    let optional = [
        ("Description", Some(description(stack)).filter(|text| !text.is_empty())),
        ("ChangeSetId", details.change_set.clone()),
        ("RoleARN", details.role_arn.clone()),
        ("TimeoutInMinutes", details.timeout_minutes.map(|minutes| minutes.to_string())),
    ];
    shown.extend(optional.into_iter().filter_map(|(name, value)| Some(Xml::text(name, value?))));
    shown
}

fn description(stack: &Stack) -> String {
    let kept = as_text(&stack.state["description"]);
    if kept.is_empty() { stack.record.details.description.clone() } else { kept }
}

pub(super) fn tags(tags: &BTreeMap<String, String>) -> impl Iterator<Item = Vec<Xml>> {
    tags.iter().map(|(key, value)| vec![Xml::text("Key", key), Xml::text("Value", value)])
}

/// What both ways of listing stacks show.
fn head(record: &Record) -> Vec<Xml> {
    let mut shown = vec![
        Xml::text("StackId", &record.id),
        Xml::text("StackName", &record.name),
        Xml::text("CreationTime", time(record.created_ms)),
        Xml::text("StackStatus", &record.status),
    ];
    let times = [("LastUpdatedTime", record.updated_ms), ("DeletionTime", record.deleted_ms)];
    shown.extend(times.into_iter().filter_map(|(name, at)| Some(Xml::text(name, time(at?)))));
    if !record.reason.is_empty() {
        shown.push(Xml::text("StackStatusReason", &record.reason));
    }
    shown
}

fn summary(stack: &Stack) -> Vec<Xml> {
    let mut shown = head(&stack.record);
    let description = description(stack);
    if !description.is_empty() {
        shown.push(Xml::text("TemplateDescription", description));
    }
    shown.push(Xml::element("DriftInformation").with(Xml::text("StackDriftStatus", "NOT_CHECKED")));
    shown
}

fn stack_names(stack: &Stack) -> [Xml; 2] {
    [Xml::text("StackId", &stack.record.id), Xml::text("StackName", &stack.record.name)]
}

/// The resources in the order in which they were made.
fn resources(stack: &Stack, wanted: Option<&str>, time_member: &str, names: &[Xml]) -> Vec<Vec<Xml>> {
    let order =
        stack.state.get("order").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let pending = as_text(&stack.state["pending"]["id"]);
    let status = |id: &str| if id == pending { "UPDATE_IN_PROGRESS" } else { "CREATE_COMPLETE" };
    order
        .filter(|id| wanted.is_none_or(|wanted| wanted == *id))
        .filter_map(|id| {
            let resource = stack.state.get("resources")?.get(id)?;
            let mut shown = names.to_vec();
            shown.extend([
                Xml::text("LogicalResourceId", id),
                Xml::text("PhysicalResourceId", as_text(&resource["reference"])),
                Xml::text("ResourceType", as_text(&resource["kind"])),
                Xml::text(time_member, time(stack.record.updated_ms.unwrap_or(stack.record.created_ms))),
                Xml::text("ResourceStatus", status(id)),
            ]);
            Some(shown)
        })
        .collect()
}

fn exports(stack: &Stack) -> Vec<Vec<Xml>> {
    let exported = members(stack, "outputs").filter_map(|(_, output)| {
        let name = output["export"].as_str()?;
        Some(vec![
            Xml::text("ExportingStackId", &stack.record.id),
            Xml::text("Name", name),
            Xml::text("Value", as_text(&output["value"])),
        ])
    });
    exported.collect()
}

fn imports(connection: &Connection, call: &Call, export: &str) -> Result<Vec<Xml>, ServiceError> {
    let imports = |stack: &Stack| {
        let names = stack.state.get("imports").and_then(Value::as_array).into_iter().flatten();
        names.filter_map(Value::as_str).any(|name| name == export)
    };
    let names: Vec<String> = stacks::all(connection, call, false)?
        .into_iter()
        .filter(imports)
        .map(|stack| stack.record.name)
        .collect();
    if names.is_empty() {
        let message = format!("Export '{export}' is not imported by any stack.");
        return Err(ServiceError::client("ValidationError", message));
    }
    Ok(vec![Xml::text_list("Imports", names)])
}
