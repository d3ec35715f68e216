//! An error in AWS's words, before a protocol gives it a shape.

use crate::storage::StorageError;
use http::StatusCode;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;

/// What a service answers when it does not do what was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceError {
    /// The HTTP status; below 500 the caller is at fault.
    pub status: StatusCode,
    /// AWS's code, such as `ResourceNotFoundException`. A JSON `__type` with a namespace is written as it is.
    pub code: Cow<'static, str>,
    /// AWS's message.
    pub message: String,
    /// The code of the older query protocol, for services that kept it (`x-amzn-query-error`).
    pub query_code: Option<Cow<'static, str>>,
    /// Further members of the error shape, such as `CancellationReasons`. Boxed, since most errors have none.
    pub fields: Box<Map<String, Value>>,
}

impl ServiceError {
    /// An error with a status of its own.
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code: code.into(),
            message: message.into(),
            query_code: None,
            fields: Box::default(),
        }
    }

    /// The caller's fault, status 400.
    pub fn client(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    /// Input that cannot be read.
    pub fn serialization(message: impl Into<String>) -> Self {
        Self::client("SerializationException", message)
    }

    /// An operation the service has and we have not: refused by name.
    pub fn unsupported(service: &str, operation: &str) -> Self {
        let message = format!("{service}:{operation} is not implemented by this server.");
        Self::new(501, "UnsupportedOperationException", message)
    }

    /// Our fault. The detail goes to the log, not to the caller.
    pub fn internal(detail: impl fmt::Display) -> Self {
        tracing::error!(%detail, "a service failed");
        Self::new(500, "InternalFailure", "The request processing has failed because of an unknown error.")
    }

    /// Not now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// Adds the code of the older query protocol.
    #[must_use]
    pub fn with_query_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.query_code = Some(code.into());
        self
    }

    /// Adds a member of the error shape.
    #[must_use]
    pub fn with_field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// The code without a JSON namespace.
    pub fn short_code(&self) -> &str {
        self.code.rsplit('#').next().unwrap_or(&self.code)
    }

    /// `Sender` or `Receiver`: who is at fault.
    pub fn fault(&self) -> &'static str {
        if self.status.is_server_error() { "Receiver" } else { "Sender" }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.short_code(), self.message)
    }
}

impl std::error::Error for ServiceError {}

impl From<StorageError> for ServiceError {
    fn from(error: StorageError) -> Self {
        Self::internal(error)
    }
}

impl From<rusqlite::Error> for ServiceError {
    fn from(error: rusqlite::Error) -> Self {
        Self::internal(error)
    }
}
