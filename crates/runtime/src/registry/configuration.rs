//! Logging, tracing and encryption of a state machine: what is refused, and what counts as equal.

use serde_json::{Value, json};

use crate::error::Error;

/// A level other than OFF needs exactly one destination.
pub(super) fn check_logging(logging: Option<&Value>) -> Result<(), Error> {
    let Some(logging) = logging else { return Ok(()) };
    let level = logging.get("level").and_then(Value::as_str).unwrap_or("OFF");
    let destinations = logging.get("destinations").and_then(Value::as_array).map_or(0, Vec::len);
    if destinations > 1 || (level != "OFF" && destinations == 0) {
        let text = "Must specify exactly one Log Destination.";
        return Err(Error::InvalidLoggingConfiguration(text.to_owned()));
    }
    Ok(())
}

/// Absent fields are AWS's defaults.
pub(super) fn same_logging(one: Option<&Value>, other: Option<&Value>) -> bool {
    let full = |logging: Option<&Value>| {
        let field =
            |name: &str, default: Value| logging.and_then(|it| it.get(name)).cloned().unwrap_or(default);
        (
            field("level", json!("OFF")),
            field("includeExecutionData", json!(false)),
            field("destinations", json!([])),
        )
    };
    full(one) == full(other)
}

/// Absent is off.
pub(super) fn same_tracing(one: Option<&Value>, other: Option<&Value>) -> bool {
    let enabled = |tracing: Option<&Value>| {
        tracing.and_then(|it| it.get("enabled")).and_then(Value::as_bool).unwrap_or(false)
    };
    enabled(one) == enabled(other)
}

/// A key of one's own has to be named, and only then is it used again for a time.
pub(super) fn check_encryption(encryption: Option<&Value>) -> Result<(), Error> {
    let Some(encryption) = encryption else { return Ok(()) };
    let is_given = |name: &str| encryption.get(name).is_some_and(|value| !value.is_null());
    let wrong = match encryption.get("type").and_then(Value::as_str) {
        Some("CUSTOMER_MANAGED_KMS_KEY") if !is_given("kmsKeyId") => {
            "kmsKeyId must be specified when type is CUSTOMER_MANAGED_KMS_KEY"
        }
        Some("AWS_OWNED_KEY") if is_given("kmsKeyId") || is_given("kmsDataKeyReusePeriodSeconds") => {
            "kmsKeyId and kmsDataKeyReusePeriodSeconds must not be specified when type is AWS_OWNED_KEY"
        }
        _ => return Ok(()),
    };
    Err(Error::InvalidEncryptionConfiguration(format!("Invalid Encryption Configuration: '{wrong}'")))
}

/// Absent is AWS's own key.
pub(super) fn same_encryption(one: Option<&Value>, other: Option<&Value>) -> bool {
    let default = json!({"type": "AWS_OWNED_KEY"});
    one.unwrap_or(&default) == other.unwrap_or(&default)
}
