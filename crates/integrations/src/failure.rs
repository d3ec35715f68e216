//! Error names and causes, as Step Functions derives them from what a service answered.

use serde_json::Value;

use crate::model::Operation;
use crate::protocol::Fault;
use crate::transport::TransportError;

/// How an integration names its errors. The two generations of AWS's SDK for Java print differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Optimized integrations: `DynamoDB.ResourceNotFoundException`, `(Service: AmazonDynamoDBv2; Status Code: …)`.
    Optimized {
        /// `DynamoDB`.
        prefix: &'static str,
        /// `AmazonDynamoDBException`, for codes that the model does not name.
        generic: &'static str,
        /// `AmazonDynamoDBv2`.
        service: &'static str,
    },
    /// `aws-sdk`: `DynamoDb.ResourceNotFoundException`, `(Service: DynamoDb, Status Code: …)`.
    Sdk {
        /// `DynamoDb`.
        prefix: &'static str,
    },
}

/// An ASL error as a task reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Error name; absent when a callback gave none.
    pub error: Option<String>,
    /// Cause; absent when a callback gave none.
    pub cause: Option<String>,
}

impl Failure {
    pub(crate) fn new(error: impl Into<String>, cause: impl Into<String>) -> Failure {
        Failure { error: Some(error.into()), cause: Some(cause.into()) }
    }
}

/// A service's error answer.
pub(crate) fn from_fault(dialect: Dialect, operation: Operation<'_>, fault: &Fault) -> Failure {
    let modelled = modelled_name(operation, &fault.code);
    match dialect {
        Dialect::Optimized { prefix, generic, service } => {
            let name = modelled.unwrap_or_else(|| generic.to_string());
            // Recorded: `Error Code: MissingParameter` of SQS, whose JSON protocol says MissingRequiredParameterException.
            let code = fault.query_code.as_deref().unwrap_or(&fault.code);
            let cause = format!(
                "{} (Service: {service}; Status Code: {}; Error Code: {code}; Request ID: {}; Proxy: null)",
                fault.message, fault.status, fault.request_id
            );
            Failure::new(format!("{prefix}.{name}"), cause)
        }
        Dialect::Sdk { prefix } => {
            let name = modelled.unwrap_or_else(|| format!("{prefix}Exception"));
            let extended = fault
                .extended_request_id
                .as_ref()
                .map_or(String::new(), |id| format!(", Extended Request ID: {id}"));
            let cause = format!(
                "{} (Service: {prefix}, Status Code: {}, Request ID: {}{extended}) (SDK Attempt Count: 1)",
                fault.message, fault.status, fault.request_id
            );
            Failure::new(format!("{prefix}.{name}"), cause)
        }
    }
}

/// The SDK's class name for a code that the operation's model names: always with `Exception` at the end.
fn modelled_name(operation: Operation<'_>, code: &str) -> Option<String> {
    let shape = operation.errors().find(|name| {
        let declared = &operation.service.shape(name).value["error"]["code"];
        *name == code || declared.as_str() == Some(code)
    })?;
    let shape = shape.strip_suffix("Fault").unwrap_or(shape);
    Some(if shape.ends_with("Exception") { shape.to_string() } else { format!("{shape}Exception") })
}

/// No answer came back.
pub(crate) fn from_transport(dialect: Dialect, error: &TransportError) -> Failure {
    if let TransportError::AssumeRole { .. } = error {
        return Failure::new("States.TaskFailed", error.to_string());
    }
    let prefix = match dialect {
        Dialect::Optimized { prefix, .. } | Dialect::Sdk { prefix } => prefix,
    };
    Failure::new(format!("{prefix}.SdkClientException"), error.to_string())
}

/// What a function's own error payload says: `errorType` becomes the error, the payload the cause.
pub(crate) fn from_function(payload: &str) -> Failure {
    let parsed: Value = serde_json::from_str(payload).unwrap_or_default();
    let error = parsed["errorType"].as_str().unwrap_or("Lambda.Unknown");
    Failure::new(error, payload)
}
