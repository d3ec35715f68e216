//! Attributes of messages, and what a filter policy sees of a message.

use super::refusal::invalid;
use crate::wire::{Form, ServiceError};
use base64::Engine;
use serde_json::{Map, Value, json};

/// Reads `MessageAttributes` into `{name: {Type, Value}}`, the shape of SNS's own envelopes.
pub(super) fn read(form: &Form) -> Result<Map<String, Value>, ServiceError> {
    let mut attributes = Map::new();
    let mut entries = form.structures("MessageAttributes.entry");
    if entries.is_empty() {
        entries = form.structures("MessageAttributes");
    }
    for entry in entries {
        let name = entry.get("Name").or(entry.get("key")).unwrap_or("").to_owned();
        valid_name(&name)?;
        let value = entry.below("Value.");
        let kind = value.get("DataType").unwrap_or("");
        let refused = |text: String| ServiceError::client("ParameterValueInvalid", text);
        let base = kind.split('.').next().unwrap_or("");
        let held = match base {
            "Binary" => value.get("BinaryValue"),
            "String" | "Number" => value.get("StringValue"),
            _ => {
                return Err(refused(format!(
                    "The message attribute '{name}' has an invalid message attribute type, the set of supported type \
                     prefixes is Binary, Number, and String."
                )));
            }
        };
        let Some(held) = held.filter(|held| !held.is_empty()) else {
            return Err(refused(format!(
                "The message attribute '{name}' must contain non-empty message attribute value for message attribute \
                 type '{kind}'."
            )));
        };
        if base == "Number" && held.parse::<f64>().is_err() {
            return Err(refused(format!("Could not cast message attribute '{name}' value to number.")));
        }
        if base == "Binary" && base64::engine::general_purpose::STANDARD.decode(held).is_err() {
            return Err(refused(format!("The message attribute '{name}' is not valid base64.")));
        }
        attributes.insert(name, json!({"Type": kind, "Value": held}));
    }
    Ok(attributes)
}

fn valid_name(name: &str) -> Result<(), ServiceError> {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    if name.is_empty()
        || name.len() > 256
        || !name.chars().all(is_allowed)
        || name.starts_with('.')
        || name.ends_with('.')
    {
        return Err(invalid(format!("MessageAttributes Reason: the name '{name}' is not valid")));
    }
    Ok(())
}

/// Attributes as a document that a filter policy can match: numbers are numbers, `String.Array` is an array.
pub(super) fn as_document(attributes: &Map<String, Value>) -> Value {
    let value = |attribute: &Value| {
        let text = attribute["Value"].as_str().unwrap_or("");
        match attribute["Type"].as_str().unwrap_or("").split_once('.') {
            Some(("String", "Array")) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
            _ if attribute["Type"].as_str().is_some_and(|kind| kind.starts_with("Number")) => {
                text.parse::<f64>().map_or_else(|_| json!(text), |number| json!(number))
            }
            _ => json!(text),
        }
    };
    Value::Object(attributes.iter().map(|(name, attribute)| (name.clone(), value(attribute))).collect())
}
