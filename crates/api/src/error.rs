//! Errors on the wire: code, message, status and the members that some codes carry.

use http::StatusCode;
use serde_json::{Value, json};

use crate::model::Misfit;

/// An error answer.
#[derive(Clone, Debug)]
pub struct ApiError {
    code: String,
    message: Option<String>,
    members: Vec<(&'static str, Value)>,
}

impl ApiError {
    /// An error with a message.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> ApiError {
        ApiError { code: code.into(), message: Some(message.into()), members: Vec::new() }
    }

    /// `ValidationException`.
    pub fn validation(message: impl Into<String>) -> ApiError {
        ApiError::new("ValidationException", message)
    }

    pub(crate) fn unknown_operation() -> ApiError {
        ApiError { code: "UnknownOperationException".into(), message: None, members: Vec::new() }
    }

    pub(crate) fn serialization(message: Option<String>) -> ApiError {
        ApiError { code: "SerializationException".into(), message, members: Vec::new() }
    }

    /// 400, save for what is not the caller's fault.
    pub(crate) fn status(&self) -> StatusCode {
        match self.code.as_str() {
            "InternalFailure" => StatusCode::INTERNAL_SERVER_ERROR,
            "ServiceUnavailable" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    pub(crate) fn body(&self) -> Value {
        let code = &self.code;
        let full = match code.as_str() {
            "UnknownOperationException" | "SerializationException" => {
                format!("com.amazon.coral.service#{code}")
            }
            "ValidationException" => format!("com.amazon.coral.validate#{code}"),
            _ => format!("com.amazonaws.swf.service.v2.model#{code}"),
        };
        let mut body = json!({ "__type": full });
        if let Some(message) = &self.message {
            body["message"] = message.as_str().into();
        }
        for (name, value) in &self.members {
            body[*name] = value.clone();
        }
        body
    }
}

impl From<Misfit> for ApiError {
    fn from(misfit: Misfit) -> ApiError {
        match misfit {
            Misfit::Type(message) => ApiError::serialization(Some(message)),
            Misfit::Constraint(message) => ApiError::validation(message),
        }
    }
}

impl From<runtime::Error> for ApiError {
    fn from(error: runtime::Error) -> ApiError {
        let mut members = Vec::new();
        match &error {
            runtime::Error::Validation { reason: Some(reason), .. } => {
                members.push(("reason", Value::from(*reason)))
            }
            runtime::Error::ResourceNotFound { resource: Some(resource), .. } => {
                members.push(("resourceName", Value::from(&**resource)));
            }
            runtime::Error::TooManyTags(resource) => members.push(("resourceName", Value::from(&**resource))),
            _ => {}
        }
        ApiError { code: error.code().to_string(), message: Some(error.to_string()), members }
    }
}
