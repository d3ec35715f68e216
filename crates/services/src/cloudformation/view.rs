//! CloudFormation's reading calls, over the kept states.

use super::Call;
use super::stacks::{self, Stack};
use crate::wire::{ServiceError, ServiceRequest, Xml};
use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::Value;

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
                None => stacks::all(connection, call)?,
            };
            Ok(vec![Xml::list("Stacks", found.iter().map(described))])
        }
        "ListStacks" => {
            let wanted = form.list("StackStatusFilter");
            let all = stacks::all(connection, call)?;
            let listed =
                all.iter().filter(|stack| wanted.is_empty() || wanted.contains(&stack.text("status")));
            Ok(vec![Xml::list("StackSummaries", listed.map(summary))])
        }
        "DescribeStackResources" => {
            let stack = stack()?;
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
                let message = format!("Resource {wanted} does not exist for stack {}", stack.name);
                ServiceError::client("ValidationError", message)
            })?;
            Ok(vec![Xml::element("StackResourceDetail").with_children(found)])
        }
        "ListStackResources" => Ok(vec![Xml::list(
            "StackResourceSummaries",
            resources(&stack()?, None, "LastUpdatedTimestamp", &[]),
        )]),
        "ListExports" => {
            let all = stacks::all(connection, call)?;
            Ok(vec![Xml::list("Exports", all.iter().flat_map(exports))])
        }
        "ListImports" => imports(connection, call, form.get("ExportName").unwrap_or_default()),
        operation => Err(ServiceError::unsupported("cloudformation", operation)),
    }
}

/// Times of the query protocol are ISO 8601 with milliseconds.
fn time(milliseconds: i64) -> String {
    let at = Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    format!("{at:.3}")
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
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
            shown.extend(output[member].as_str().map(|text| Xml::text(element, text)));
        }
        shown
    });
    let mut shown = vec![
        Xml::text("StackId", stack.text("id")),
        Xml::text("StackName", &stack.name),
        Xml::text("CreationTime", time(stack.created_ms)),
        Xml::text("LastUpdatedTime", time(stack.updated_ms)),
        Xml::text("StackStatus", stack.text("status")),
        Xml::text("DisableRollback", "false"),
        Xml::list("Capabilities", [] as [Vec<Xml>; 0]),
        Xml::list("Tags", [] as [Vec<Xml>; 0]),
        Xml::list("NotificationARNs", [] as [Vec<Xml>; 0]),
        Xml::list("Parameters", parameters),
        Xml::list("Outputs", outputs),
    ];
    if !stack.text("description").is_empty() {
        shown.push(Xml::text("Description", stack.text("description")));
    }
    shown
}

fn summary(stack: &Stack) -> Vec<Xml> {
    let mut shown = vec![
        Xml::text("StackId", stack.text("id")),
        Xml::text("StackName", &stack.name),
        Xml::text("CreationTime", time(stack.created_ms)),
        Xml::text("LastUpdatedTime", time(stack.updated_ms)),
        Xml::text("StackStatus", stack.text("status")),
    ];
    if !stack.text("description").is_empty() {
        shown.push(Xml::text("TemplateDescription", stack.text("description")));
    }
    shown
}

fn stack_names(stack: &Stack) -> [Xml; 2] {
    [Xml::text("StackId", stack.text("id")), Xml::text("StackName", &stack.name)]
}

/// The resources in the order in which they were made.
fn resources(stack: &Stack, wanted: Option<&str>, time_member: &str, names: &[Xml]) -> Vec<Vec<Xml>> {
    let order =
        stack.state.get("order").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    order
        .filter(|id| wanted.is_none_or(|wanted| wanted == *id))
        .filter_map(|id| {
            let resource = stack.state.get("resources")?.get(id)?;
            let mut shown = names.to_vec();
            shown.extend([
                Xml::text("LogicalResourceId", id),
                Xml::text("PhysicalResourceId", as_text(&resource["reference"])),
                Xml::text("ResourceType", as_text(&resource["kind"])),
                Xml::text(time_member, time(stack.updated_ms)),
                Xml::text("ResourceStatus", "CREATE_COMPLETE"),
            ]);
            Some(shown)
        })
        .collect()
}

fn exports(stack: &Stack) -> Vec<Vec<Xml>> {
    let exported = members(stack, "outputs").filter_map(|(_, output)| {
        let name = output["export"].as_str()?;
        Some(vec![
            Xml::text("ExportingStackId", stack.text("id")),
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
    let names: Vec<String> =
        stacks::all(connection, call)?.into_iter().filter(imports).map(|stack| stack.name).collect();
    if names.is_empty() {
        let message = format!("Export '{export}' is not imported by any stack.");
        return Err(ServiceError::client("ValidationError", message));
    }
    Ok(vec![Xml::text_list("Imports", names)])
}
