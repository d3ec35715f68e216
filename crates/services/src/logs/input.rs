//! The members of a request, read with the refusals of CloudWatch Logs.

use crate::wire::ServiceError;
use serde_json::{Map, Value};

/// `InvalidParameterException` with this text.
pub(super) fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::client("InvalidParameterException", message)
}

/// The refusal of a value that breaks a constraint of the model.
pub(super) fn constraint(value: &str, member: &str, constraint: &str) -> ServiceError {
    invalid(format!(
        "1 validation error detected: Value {value} at '{member}' failed to satisfy constraint: {constraint}"
    ))
}

/// A request's members.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    members: &'a Value,
}

impl<'a> Input<'a> {
    pub(super) fn new(members: &'a Value) -> Self {
        Self { members }
    }

    pub(super) fn get(&self, member: &str) -> Option<&'a Value> {
        self.members.get(member).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, member: &str) -> Result<Option<&'a str>, ServiceError> {
        match self.get(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ServiceError::serialization(format!("{member} is not a string"))),
        }
    }

    pub(super) fn required(&self, member: &str) -> Result<&'a str, ServiceError> {
        self.text(member)?.ok_or_else(|| constraint("null", member, "Member must not be null"))
    }

    pub(super) fn integer(&self, member: &str) -> Result<Option<i64>, ServiceError> {
        match self.get(member) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(integer) => Ok(Some(integer)),
                None => Err(ServiceError::serialization(format!("{member} is not an integer"))),
            },
        }
    }

    pub(super) fn flag(&self, member: &str) -> bool {
        self.get(member).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn list(&self, member: &str) -> Result<Option<&'a Vec<Value>>, ServiceError> {
        match self.get(member) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(ServiceError::serialization(format!("{member} is not a list"))),
        }
    }

    pub(super) fn object(&self, member: &str) -> Result<Option<&'a Map<String, Value>>, ServiceError> {
        match self.get(member) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(ServiceError::serialization(format!("{member} is not a structure"))),
        }
    }

    /// `limit`, within 1 and `most`.
    pub(super) fn limit(&self, most: i64, otherwise: i64) -> Result<i64, ServiceError> {
        match self.integer("limit")? {
            None => Ok(otherwise),
            Some(limit) if limit < 1 => Err(constraint(
                &format!("'{limit}'"),
                "limit",
                "Member must have value greater than or equal to 1",
            )),
            Some(limit) if limit > most => Err(constraint(
                &format!("'{limit}'"),
                "limit",
                &format!("Member must have value less than or equal to {most}"),
            )),
            Some(limit) => Ok(limit),
        }
    }

    /// The group, by name or by ARN (`logGroupIdentifier`).
    pub(super) fn group(&self) -> Result<&'a str, ServiceError> {
        match (self.text("logGroupName")?, self.text("logGroupIdentifier")?) {
            (Some(_), Some(_)) => {
                Err(invalid("LogGroup name and LogGroup ARN are mutually exclusive parameters."))
            }
            (None, Some(identifier)) => Ok(group_of_arn(identifier)),
            (Some(name), None) => valid_group_name(name).map(|()| name),
            (None, None) => Err(constraint("null", "logGroupName", "Member must not be null")),
        }
    }
}

/// `arn:aws:logs:region:account:log-group:NAME[:*]` gives NAME; anything else is a name already.
pub(super) fn group_of_arn(identifier: &str) -> &str {
    match identifier.split_once(":log-group:") {
        Some((_, rest)) => rest.split(':').next().unwrap_or(rest),
        None => identifier,
    }
}

pub(super) fn valid_group_name(name: &str) -> Result<(), ServiceError> {
    let quoted = format!("'{name}'");
    if name.is_empty() {
        return Err(constraint("''", "logGroupName", "Member must have length greater than or equal to 1"));
    }
    if name.len() > 512 {
        return Err(constraint(&quoted, "logGroupName", "Member must have length less than or equal to 512"));
    }
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || ".-_/#".contains(letter);
    if !name.chars().all(is_allowed) {
        let rule = r"Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+";
        return Err(constraint(&quoted, "logGroupName", rule));
    }
    Ok(())
}

pub(super) fn valid_stream_name(name: &str) -> Result<(), ServiceError> {
    let quoted = format!("'{name}'");
    if name.is_empty() {
        return Err(constraint("''", "logStreamName", "Member must have length greater than or equal to 1"));
    }
    if name.len() > 512 {
        return Err(constraint(
            &quoted,
            "logStreamName",
            "Member must have length less than or equal to 512",
        ));
    }
    if name.contains([':', '*']) {
        let rule = "Member must satisfy regular expression pattern: [^:*]*";
        return Err(constraint(&quoted, "logStreamName", rule));
    }
    Ok(())
}
