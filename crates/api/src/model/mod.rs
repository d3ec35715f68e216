//! The API's shapes and constraints, generated from AWS's service model, and the check of a request against them.

#[allow(missing_docs)]
mod generated;

use serde_json::Value;

pub use generated::ACTIONS;

/// One action of the API.
#[derive(Debug)]
pub struct Action {
    /// `StartExecution`.
    pub name: &'static str,
    /// Shape of the request.
    pub input: &'static Shape,
    /// Shape of the answer.
    pub output: &'static Shape,
}

/// A member of a structure.
#[derive(Debug)]
pub struct Member {
    /// Name on the wire.
    pub name: &'static str,
    /// Must it be there?
    pub required: bool,
    /// What it holds.
    pub shape: &'static Shape,
}

/// A shape with its constraints.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Shape {
    Structure {
        members: &'static [Member],
    },
    List {
        member: &'static Shape,
        min: Option<i64>,
        max: Option<i64>,
    },
    Map {
        value: &'static Shape,
    },
    String {
        min: Option<i64>,
        max: Option<i64>,
        pattern: Option<&'static str>,
        values: &'static [&'static str],
    },
    Integer {
        min: Option<i64>,
        max: Option<i64>,
    },
    Float {
        min: Option<i64>,
        max: Option<i64>,
    },
    Boolean,
    Timestamp,
}

/// Why a request does not fit its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// `SerializationException`: a value of the wrong JSON type.
    Type(String),
    /// `ValidationException`: constraints, in AWS's words.
    Constraint(String),
}

/// An action by name.
pub fn action(name: &str) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.name == name)
}

/// Checks a request against the action's constraints.
///
/// Message (recorded): `1 validation error detected: Value '1001' at 'maxResults' failed to satisfy constraint: Member must
/// have value less than or equal to 1000`; several are joined by `; `.
pub fn check(action: &Action, request: &Value) -> Result<(), Misfit> {
    let mut violations = Vec::new();
    walk(action.input, request, "", &mut violations)?;
    if violations.is_empty() {
        return Ok(());
    }
    let plural = if violations.len() == 1 { "error" } else { "errors" };
    Err(Misfit::Constraint(format!(
        "{} validation {plural} detected: {}",
        violations.len(),
        violations.join("; ")
    )))
}

fn walk(shape: &Shape, value: &Value, path: &str, violations: &mut Vec<String>) -> Result<(), Misfit> {
    match (shape, value) {
        (Shape::Structure { members }, Value::Object(given)) => {
            for member in *members {
                let at =
                    if path.is_empty() { member.name.to_string() } else { format!("{path}.{}", member.name) };
                match given.get(member.name).filter(|value| !value.is_null()) {
                    Some(value) => walk(member.shape, value, &at, violations)?,
                    None if member.required => violations.push(format!(
                        "Value null at '{at}' failed to satisfy constraint: Member must not be null"
                    )),
                    None => {}
                }
            }
            Ok(())
        }
        (Shape::List { member, min, max }, Value::Array(items)) => {
            bounds(items.len() as i64, *min, *max, "length", &shown_list(items), path, violations);
            for (index, item) in items.iter().enumerate() {
                walk(member, item, &format!("{path}.{}.member", index + 1), violations)?;
            }
            Ok(())
        }
        (Shape::Map { value: element }, Value::Object(entries)) => entries
            .iter()
            .try_for_each(|(key, value)| walk(element, value, &format!("{path}.{key}"), violations)),
        (Shape::String { min, max, pattern, values }, Value::String(text)) => {
            string(text, (*min, *max), *pattern, values, path, violations);
            Ok(())
        }
        (Shape::Integer { min, max } | Shape::Float { min, max }, Value::Number(number)) => {
            let measured = number.as_f64().unwrap_or_default();
            bounds_of_value(measured, *min, *max, &number.to_string(), path, violations);
            Ok(())
        }
        (Shape::Boolean, Value::Bool(_)) | (Shape::Timestamp, Value::Number(_)) => Ok(()),
        (shape, value) => {
            Err(Misfit::Type(format!("{} can not be converted to {}", kind(value), name(shape))))
        }
    }
}

fn string(
    text: &str,
    (min, max): (Option<i64>, Option<i64>),
    pattern: Option<&str>,
    values: &[&str],
    path: &str,
    violations: &mut Vec<String>,
) {
    let shown = format!("'{text}'");
    bounds(text.chars().count() as i64, min, max, "length", &shown, path, violations);
    if let Some(pattern) = pattern.filter(|pattern| !matches_pattern(pattern, text)) {
        violations.push(format!(
            "Value {shown} at '{path}' failed to satisfy constraint: Member must satisfy regular expression pattern: \
             {pattern}"
        ));
    }
    if !values.is_empty() && !values.contains(&text) {
        violations.push(format!(
            "Value {shown} at '{path}' failed to satisfy constraint: Member must satisfy enum value set: [{}]",
            enum_order(values).join(", ")
        ));
    }
}

/// AWS lists an enum's values in the order of its hash set; the orders that were recorded.
fn enum_order<'a>(values: &[&'a str]) -> Vec<&'a str> {
    const RECORDED: [&[&str]; 1] =
        [&["SUCCEEDED", "TIMED_OUT", "PENDING_REDRIVE", "ABORTED", "FAILED", "RUNNING"]];
    let same =
        |order: &&&[&str]| order.len() == values.len() && values.iter().all(|value| order.contains(value));
    match RECORDED.iter().find(same) {
        Some(order) => {
            order.iter().filter_map(|name| values.iter().find(|value| *value == name).copied()).collect()
        }
        None => values.to_vec(),
    }
}

/// The model's three patterns; one looks ahead, which regular expressions without backtracking cannot.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    match pattern {
        r"^(?=.*[a-zA-Z_\-\.])[a-zA-Z0-9_\-\.]+$" => {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            text.chars().all(allowed) && text.chars().any(|c| !c.is_ascii_digit())
        }
        "[!-~]+" => !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()),
        _ => text.is_ascii(),
    }
}

fn bounds(
    length: i64,
    min: Option<i64>,
    max: Option<i64>,
    what: &str,
    shown: &str,
    path: &str,
    violations: &mut Vec<String>,
) {
    let mut say = |words: &str, bound: i64| {
        violations.push(format!(
            "Value {shown} at '{path}' failed to satisfy constraint: Member must have {what} {words} than or equal to {bound}"
        ));
    };
    if let Some(min) = min.filter(|min| length < *min) {
        say("greater", min);
    }
    if let Some(max) = max.filter(|max| length > *max) {
        say("less", max);
    }
}

fn bounds_of_value(
    value: f64,
    min: Option<i64>,
    max: Option<i64>,
    shown: &str,
    path: &str,
    violations: &mut Vec<String>,
) {
    let (min, max) = (min.filter(|min| value < *min as f64), max.filter(|max| value > *max as f64));
    let measured = if min.is_some() { i64::MIN } else { i64::MAX };
    bounds(measured, min, max, "value", &format!("'{shown}'"), path, violations);
}

fn shown_list(items: &[Value]) -> String {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    format!("'[{}]'", texts.join(", "))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    }
}

fn name(shape: &Shape) -> &'static str {
    match shape {
        Shape::Structure { .. } => "a structure",
        Shape::List { .. } => "a list",
        Shape::Map { .. } => "a map",
        Shape::String { .. } => "String",
        Shape::Integer { .. } => "Integer",
        Shape::Float { .. } => "Float",
        Shape::Boolean => "Boolean",
        Shape::Timestamp => "Timestamp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(name: &str, request: Value) -> String {
        match check(action(name).expect("an action"), &request) {
            Err(Misfit::Constraint(message) | Misfit::Type(message)) => message,
            Ok(()) => String::new(),
        }
    }

    #[test]
    fn constraints_are_refused_in_the_words_of_aws() {
        assert_eq!(
            refused("ListStateMachines", json!({ "maxResults": 1001 })),
            "1 validation error detected: Value '1001' at 'maxResults' failed to satisfy constraint: Member must have \
             value less than or equal to 1000"
        );
        assert_eq!(
            refused("DescribeExecution", json!({})),
            "1 validation error detected: Value null at 'executionArn' failed to satisfy constraint: Member must not be \
             null"
        );
        let alias = json!({ "name": "123", "routingConfiguration": [{ "stateMachineVersionArn": "a", "weight": 1 }] });
        assert!(
            refused("CreateStateMachineAlias", alias)
                .ends_with(r"pattern: ^(?=.*[a-zA-Z_\-\.])[a-zA-Z0-9_\-\.]+$")
        );
        assert_eq!(
            refused("StopExecution", json!({ "executionArn": 1 })),
            "NUMBER_VALUE can not be converted to String"
        );
        assert_eq!(refused("ListStateMachines", json!({ "maxResults": 10, "more": true })), "");
    }

    #[test]
    fn every_action_is_there_once() {
        assert_eq!(ACTIONS.len(), 37);
    }
}
