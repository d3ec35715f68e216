//! AWS's wire protocols, driven by the service models: native parameters → request, response → native result or fault.
//!
//! Values here use the model's own member names; [`crate::naming`] translates to and from Step Functions' PascalCase.
//! Blobs are strings, as Step Functions shows them.

mod json;
mod query;
mod rest;
mod xml;

use bytes::Bytes;
use serde_json::Value;

use crate::model::{Operation, Protocol};

/// How timestamps look in results: the two SDKs that Step Functions was built on differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamps {
    /// Optimized integrations: milliseconds since the epoch.
    Milliseconds,
    /// `aws-sdk` integrations: ISO-8601.
    Iso8601,
}

/// An error answer of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// HTTP status.
    pub status: u16,
    /// The service's code, `ConditionalCheckFailedException`.
    pub code: String,
    /// Its message.
    pub message: String,
    /// `x-amzn-requestid`.
    pub request_id: String,
    /// S3's `x-amz-id-2`.
    pub extended_request_id: Option<String>,
    /// The code of the query protocol, which services that once spoke it still tell (`x-amzn-query-error`).
    pub query_code: Option<Box<str>>,
}

/// Why a request could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The service speaks no protocol known here.
    #[error("the service's protocol is not supported")]
    Protocol,
    /// A member that the path needs is missing or empty.
    #[error("The field '{0}' is required but was missing")]
    Missing(String),
    /// The pieces do not make an HTTP request.
    #[error("{0}")]
    Http(String),
}

/// Makes the request for an operation from native parameters.
pub fn request(operation: Operation<'_>, parameters: &Value) -> Result<http::Request<Bytes>, RequestError> {
    match operation.service.protocol().ok_or(RequestError::Protocol)? {
        Protocol::Json => json::request(operation, parameters),
        Protocol::RestJson | Protocol::RestXml => rest::request(operation, parameters),
        Protocol::Query | Protocol::Ec2 => query::request(operation, parameters),
    }
}

/// Reads the answer to an operation into native members.
pub fn response(
    operation: Operation<'_>,
    response: &http::Response<Bytes>,
    timestamps: Timestamps,
) -> Result<Value, Fault> {
    let protocol = operation.service.protocol();
    if response.status().as_u16() >= 300 {
        return Err(match protocol {
            Some(Protocol::Json | Protocol::RestJson) | None => json::fault(response),
            Some(Protocol::Query | Protocol::Ec2 | Protocol::RestXml) => xml::fault(response),
        });
    }
    Ok(match protocol {
        Some(Protocol::Json) | None => json::response(operation, response, timestamps),
        Some(Protocol::RestJson | Protocol::RestXml) => rest::response(operation, response, timestamps),
        Some(Protocol::Query | Protocol::Ec2) => query::response(operation, response, timestamps),
    })
}

/// The request id header under the names that services use.
pub fn request_id(headers: &http::HeaderMap) -> String {
    let names = ["x-amzn-requestid", "x-amz-request-id"];
    names.iter().find_map(|name| headers.get(*name)?.to_str().ok()).unwrap_or_default().to_string()
}

fn build(builder: http::request::Builder, body: Vec<u8>) -> Result<http::Request<Bytes>, RequestError> {
    builder.body(Bytes::from(body)).map_err(|error| RequestError::Http(error.to_string()))
}
