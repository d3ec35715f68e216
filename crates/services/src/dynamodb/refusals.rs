//! DynamoDB's words for a request that cannot be read, and the wire form of its errors.
//!
//! The engine marks the messages of its own deserialisers with the class DynamoDB answers with; here the
//! marks become that class and never reach the wire. What this does not do: judge a request that could be
//! read. That is the engine's work.

use dynoxide::DynoxideError;
use serde::de::DeserializeOwned;

const ENVELOPE: &str = "1 validation error detected: ";

/// Reads a request body, or says why not in the class and words DynamoDB uses.
pub(super) fn read<T: DeserializeOwned>(operation: &str, body: &str) -> Result<T, DynoxideError> {
    serde_json::from_str(body).map_err(|error| unreadable(operation, &error.to_string()))
}

fn unreadable(operation: &str, message: &str) -> DynoxideError {
    if let Some(text) = message.strip_prefix("SERIALIZATION_AS_READ:") {
        return DynoxideError::SerializationException(text.to_owned());
    }
    if let Some(text) = message.strip_prefix("VALIDATION_AS_READ:") {
        return DynoxideError::ValidationException(text.to_owned());
    }
    let message = without_position(message);
    if let Some(text) = message.strip_prefix("SERIALIZATION:") {
        return DynoxideError::SerializationException(text.to_owned());
    }
    if let Some(text) = message.strip_prefix("VALIDATION_REQUEST:") {
        return match operation {
            "PutItem" | "UpdateItem" | "DeleteItem" => {
                DynoxideError::ValidationException(format!("{ENVELOPE}{text}"))
            }
            _ => DynoxideError::ValidationException(text.to_owned()),
        };
    }
    if let Some(text) = message.strip_prefix("VALIDATION:") {
        return DynoxideError::ValidationException(text.to_owned());
    }
    if message.contains("empty AttributeValue") {
        let text = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";
        return DynoxideError::ValidationException(text.to_owned());
    }
    let is_value = message.contains("missing field")
        || message.contains("unknown variant")
        || message.contains("invalid type: null")
        || message.contains("Supplied AttributeValue");
    if is_value {
        return DynoxideError::ValidationException(message.to_owned());
    }
    DynoxideError::SerializationException(type_mismatch(message))
}

fn without_position(message: &str) -> &str {
    match message.rfind(" at line ") {
        Some(at) => &message[..at],
        None => message,
    }
}

/// `invalid type: integer `23`, expected a string` is `NUMBER_VALUE cannot be converted to String` to AWS.
fn type_mismatch(message: &str) -> String {
    let Some((found, expected)) =
        message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    else {
        return message.to_owned();
    };
    let target = match expected.trim() {
        "a string" => "String",
        "a boolean" => "Boolean",
        "i64" | "u64" => "Long",
        "i32" | "u32" | "usize" => "Integer",
        _ => "",
    };
    let found_value = if found.starts_with("integer") {
        "NUMBER_VALUE"
    } else if found.starts_with("floating point") {
        "DECIMAL_VALUE"
    } else if found.starts_with("string") {
        "STRING_VALUE"
    } else if found.starts_with("boolean `true`") {
        "TRUE_VALUE"
    } else if found.starts_with("boolean") {
        "FALSE_VALUE"
    } else if found.starts_with("sequence") {
        return "Unrecognized collection type class java.lang.String".to_owned();
    } else {
        return "Start of structure or map found where not expected".to_owned();
    };
    if target.is_empty() {
        return "Unexpected field type".to_owned();
    }
    format!("{found_value} cannot be converted to {target}")
}

/// The type of the answer to a body that is not JSON; it has no message.
pub(super) const SERIALIZATION: &str = "com.amazon.coral.service#SerializationException";
/// The type of the answer to an operation that does not exist.
pub(super) const UNKNOWN_OPERATION: &str = "com.amazon.coral.service#UnknownOperationException";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_for_a_string_is_named_in_awss_words() {
        let error = unreadable("PutItem", "invalid type: integer `23`, expected a string at line 1 column 4");
        assert_eq!(error.to_string(), "NUMBER_VALUE cannot be converted to String");
        assert!(error.error_type().ends_with("#SerializationException"));
    }

    #[test]
    fn marks_never_reach_the_wire() {
        for mark in ["VALIDATION:", "VALIDATION_REQUEST:", "SERIALIZATION:", "SERIALIZATION_AS_READ:"] {
            let error = unreadable("Query", &format!("{mark}some words at line 1 column 2"));
            assert!(error.to_string().starts_with("some words"), "{mark}");
        }
        let error = unreadable("PutItem", "VALIDATION_REQUEST:words");
        assert_eq!(error.to_string(), "1 validation error detected: words");
    }
}
