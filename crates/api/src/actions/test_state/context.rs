//! The context object that a caller gives a mocked state instead of the pretended execution's: taken as it is, if it has no
//! members but AWS's, of AWS's types.

use serde_json::Value;

use super::json_of;
use crate::error::ApiError;

/// A member of a member, and what it is; `None` is anything.
type Known = (&'static str, Option<Kind>);

/// The members and theirs.
const KNOWN: [(&str, &[Known]); 4] = [
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_has_only_members_of_aws_and_of_its_types() {
        let cases = [
            (r#"{"Execution":{"Id":"arn","Input":[1]},"State":{"RetryCount":0}}"#, None),
            ("{}", None),
            (r#"{"Map":{}}"#, Some("'Map' field is not supported when mocking a Context object")),
            (r#"{"Pokedex":{}}"#, Some("Field 'Pokedex' is not allowed")),
            (r#"{"Execution":{"pokemon":1}}"#, Some("Field 'pokemon' is not allowed")),
            (r#"{"Execution":{"Id":1}}"#, Some("Execution.Id must be a string")),
        ];
        for (text, problem) in cases {
            let context = read(Some(text)).expect("an object");
            let answer = check(context.as_ref(), false).err().map(|error| error.body()["message"].clone());
            let expected = problem.map(|what| format!("Invalid Context object provided: {what}").into());
            assert_eq!(answer, expected, "{text}");
        }
    }

    #[test]
    fn only_a_task_with_a_token_has_a_task_in_its_context() {
        let context = read(Some(r#"{"Task":{"Token":"abcd123"}}"#)).expect("an object");
        assert!(check(context.as_ref(), true).is_ok());
        assert!(check(context.as_ref(), false).is_err());
    }
}
