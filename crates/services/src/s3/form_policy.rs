//! The policy of a form: until when it is good, and which fields with which values it allows. It is what the owner signed;
//! a field that no condition names is refused.

use super::form::Fields;
use crate::wire::ServiceError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use std::ops::RangeInclusive;

/// Fields that need no condition.
const FREE: [&str; 5] = ["policy", "x-amz-signature", "signature", "awsaccesskeyid", "file"];

/// One condition on a field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Equal { name: String, value: String },
    StartsWith { name: String, value: String },
    Length(RangeInclusive<u64>),
}

impl Condition {
    fn parse(condition: &Value) -> Option<Vec<Self>> {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        match condition {
            Value::Object(pairs) => {
                let equal = |(name, value): (&String, &Value)| {
                    Some(Self::Equal { name: name.to_ascii_lowercase(), value: text(value)? })
                };
                pairs.iter().map(equal).collect()
            }
            Value::Array(words) => {
                let [kind, second, third] = words.as_slice() else { return None };
                let number = |value: &Value| text(value)?.parse::<u64>().ok();
                let name = || Some(second.as_str()?.strip_prefix('$')?.to_ascii_lowercase());
                Some(vec![match kind.as_str()?.to_ascii_lowercase().as_str() {
                    "eq" => Self::Equal { name: name()?, value: text(third)? },
                    "starts-with" => Self::StartsWith { name: name()?, value: text(third)? },
                    "content-length-range" => Self::Length(number(second)?..=number(third)?),
                    _ => return None,
                }])
            }
            _ => None,
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Equal { name, .. } | Self::StartsWith { name, .. } => Some(name),
            Self::Length(_) => None,
        }
    }

    /// The condition as AWS's message repeats it.
    fn shown(&self) -> String {
        match self {
            Self::Equal { name, value } => format!("[\"eq\", \"${name}\", \"{value}\"]"),
            Self::StartsWith { name, value } => format!("[\"starts-with\", \"${name}\", \"{value}\"]"),
            Self::Length(range) => format!("[\"content-length-range\", {}, {}]", range.start(), range.end()),
        }
    }
}

/// A policy that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FormPolicy {
    expiration: Timestamp,
    conditions: Vec<Condition>,
}

impl FormPolicy {
    /// Reads the policy as the form holds it, in base64.
    pub fn parse(encoded: &str) -> Result<Self, ServiceError> {
        let invalid =
            |what: &str| ServiceError::client("InvalidPolicyDocument", format!("Invalid Policy: {what}"));
        let bytes = STANDARD.decode(encoded.split_whitespace().collect::<String>());
        let bytes = bytes.map_err(|_| invalid("Invalid base64."))?;
        let document: Value = serde_json::from_slice(&bytes).map_err(|_| invalid("Invalid JSON."))?;
        let expiration = document["expiration"].as_str().and_then(|text| text.parse().ok());
        let expiration = expiration.ok_or_else(|| invalid("Invalid 'expiration' value."))?;
        let conditions = document["conditions"]
            .as_array()
            .ok_or_else(|| invalid("Invalid Policy: Missing conditions."))?;
        let conditions: Option<Vec<Vec<Condition>>> = conditions.iter().map(Condition::parse).collect();
        let conditions = conditions.ok_or_else(|| invalid("Invalid Simple-Condition."))?.concat();
        Ok(Self { expiration, conditions })
    }

    /// Compares a form with the policy.
    pub fn check(&self, fields: &Fields, bucket: &str, now: Timestamp) -> Result<(), ServiceError> {
        let denied = |what: String| {
            Err(ServiceError::new(403, "AccessDenied", format!("Invalid according to Policy: {what}")))
        };
        if now > self.expiration {
            return denied("Policy expired.".to_owned());
        }
        for condition in &self.conditions {
            let Some(name) = condition.name() else { continue };
            let found = if name == "bucket" { bucket } else { fields.get(name).unwrap_or_default() };
            let holds = match condition {
                Condition::Equal { value, .. } => found == value,
                Condition::StartsWith { value, .. } => found.starts_with(value.as_str()),
                Condition::Length(_) => true,
            };
            if !holds {
                return denied(format!("Policy Condition failed: {}", condition.shown()));
            }
        }
        let is_named = |name: &str| self.conditions.iter().any(|condition| condition.name() == Some(name));
        let mut extra = fields
            .iter()
            .map(|(name, _)| name)
            .filter(|name| !FREE.contains(name) && !name.starts_with("x-ignore-") && !is_named(name));
        match extra.next() {
            Some(name) => denied(format!("Extra input fields: {name}")),
            None => Ok(()),
        }
    }

    /// How many bytes the file may have.
    pub fn length(&self) -> Option<&RangeInclusive<u64>> {
        self.conditions.iter().find_map(|condition| match condition {
            Condition::Length(range) => Some(range),
            Condition::Equal { .. } | Condition::StartsWith { .. } => None,
        })
    }
}
