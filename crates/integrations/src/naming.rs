//! Step Functions' spelling of parameters and results (PascalCase at every level) against the models' own.

use serde_json::{Map, Value};

use crate::model::Shape;

/// Parameters as written in ASL → native parameters. The error lists what AWS would object to.
///
/// Strings and blobs take any JSON: other values travel as their JSON text (recorded: `aws-sdk:sfn:startExecution` with
/// an object as `Input`).
pub(crate) fn to_native(shape: Shape<'_>, value: &Value) -> Result<Value, Vec<String>> {
    let mut problems = Vec::new();
    let native = native(shape, value, "", &mut problems);
    if problems.is_empty() { Ok(native) } else { Err(problems) }
}

fn native(shape: Shape<'_>, value: &Value, field: &str, problems: &mut Vec<String>) -> Value {
    let invalid = |problems: &mut Vec<String>| {
        problems.push(format!("The value of the field '{field}' has an invalid format"));
        Value::Null
    };
    match (shape.kind(), value) {
        (_, Value::Null) => Value::Null,
        ("structure", Value::Object(given)) => structure(shape, given, problems),
        ("list", Value::Array(items)) => {
            items.iter().map(|item| native(shape.element().shape, item, field, problems)).collect()
        }
        ("map", Value::Object(entries)) => {
            let element = shape.map_value().shape;
            let entries =
                entries.iter().map(|(key, value)| (key.clone(), native(element, value, key, problems)));
            Value::Object(entries.collect())
        }
        ("structure" | "list" | "map", _) => invalid(problems),
        ("string" | "blob", Value::String(_)) => value.clone(),
        ("string" | "blob", other) => Value::String(other.to_string()),
        ("integer" | "long" | "float" | "double", Value::String(text)) => {
            serde_json::from_str(text).ok().filter(Value::is_number).unwrap_or_else(|| invalid(problems))
        }
        ("integer" | "long" | "float" | "double", Value::Number(_)) => value.clone(),
        ("boolean", Value::String(text)) if matches!(text.as_str(), "true" | "false") => {
            (text == "true").into()
        }
        ("boolean", Value::Bool(_)) => value.clone(),
        ("integer" | "long" | "float" | "double" | "boolean", _) => invalid(problems),
        _ => value.clone(),
    }
}

fn structure(shape: Shape<'_>, given: &Map<String, Value>, problems: &mut Vec<String>) -> Value {
    let mut members = Map::new();
    for (key, value) in given {
        match shape.members().find(|(name, _)| *name == key || pascal(name) == *key) {
            Some((name, member)) => {
                members.insert(name.to_string(), native(member.shape, value, key, problems));
            }
            None => problems.push(format!("The field '{key}' is not supported by Step Functions")),
        }
    }
    // A null is there for Step Functions; the service will miss it (recorded: `sqs:sendMessage` with a null MessageBody).
    for name in shape.required().filter(|name| !members.contains_key(*name)) {
        problems.push(format!("The field '{}' is required but was missing", pascal(name)));
    }
    members.retain(|_, value| !value.is_null());
    Value::Object(members)
}

/// A native result → Step Functions' spelling.
pub(crate) fn from_native(shape: Shape<'_>, value: Value) -> Value {
    match (shape.kind(), value) {
        ("structure", Value::Object(mut given)) => {
            let members = shape.members().filter_map(|(name, member)| {
                Some((pascal(name), from_native(member.shape, given.shift_remove(name)?)))
            });
            Value::Object(members.collect())
        }
        ("list", Value::Array(items)) => {
            items.into_iter().map(|item| from_native(shape.element().shape, item)).collect()
        }
        ("map", Value::Object(entries)) => {
            let element = shape.map_value().shape;
            Value::Object(
                entries.into_iter().map(|(key, value)| (key, from_native(element, value))).collect(),
            )
        }
        (_, value) => value,
    }
}

/// `taskArn` → `TaskArn`.
pub(crate) fn pascal(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
