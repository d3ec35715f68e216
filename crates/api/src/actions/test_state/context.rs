//! The context object that a caller gives a mocked state instead of the pretended execution's: taken as it is, if it has no
//! members but AWS's, of AWS's types.

use serde_json::Value;

use super::json_of;
use crate::error::ApiError;

/// Members of the members, and what they are; `None` is anything.
const KNOWN: [(&str, &[(&str, Option<Kind>)]); 4] = [
    (
        "Execution",
        &[
            ("Id", Some(Kind::Text)),
            ("Input", None),
            ("Name", Some(Kind::Text)),
            ("RoleArn", Some(Kind::Text)),
            ("StartTime", Some(Kind::Text)),
            ("RedriveCount", Some(Kind::Number)),
            ("RedriveTime", Some(Kind::Text)),
        ],
    ),
    (
        "State",
        &[("EnteredTime", Some(Kind::Text)), ("Name", Some(Kind::Text)), ("RetryCount", Some(Kind::Number))],
    ),
    ("StateMachine", &[("Id", Some(Kind::Text)), ("Name", Some(Kind::Text))]),
    ("Task", &[("Token", Some(Kind::Text))]),
];

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
}

pub(super) fn read(text: Option<&str>) -> Result<Option<Value>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    match json_of(text) {
        Some(context @ Value::Object(_)) => Ok(Some(context)),
        _ => Err(invalid("Context object must be a JSON object")),
    }
}

/// `has_token` says whether the state's task is one that `Task` tells about.
pub(super) fn check(context: Option<&Value>, has_token: bool) -> Result<(), ApiError> {
    for (name, value) in context.and_then(Value::as_object).into_iter().flatten() {
        if name == "Map" {
            return Err(invalid("'Map' field is not supported when mocking a Context object"));
        }
        let Some((_, members)) = KNOWN.iter().find(|(known, _)| known == name) else {
            return Err(invalid(&format!("Field '{name}' is not allowed")));
        };
        if name == "Task" && !has_token {
            return Err(invalid(
                "Context object contains 'Task' when state is not a Task state with a '.sync' or \
                 '.waitForTaskToken' service integration pattern",
            ));
        }
        let Some(given) = value.as_object() else {
            return Err(invalid(&format!("{name} must be an object")));
        };
        for (member, value) in given {
            let Some((_, kind)) = members.iter().find(|(known, _)| known == member) else {
                return Err(invalid(&format!("Field '{member}' is not allowed")));
            };
            match kind {
                Some(Kind::Text) if !value.is_string() => {
                    return Err(invalid(&format!("{name}.{member} must be a string")));
                }
                Some(Kind::Number) if !value.is_number() => {
                    return Err(invalid(&format!("{name}.{member} must be a number")));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn invalid(what: &str) -> ApiError {
    ApiError::validation(format!("Invalid Context object provided: {what}"))
}
