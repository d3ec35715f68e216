//! A service's answer, before a protocol gives it a shape.

use super::stream::Outgoing;
use super::xml::Xml;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;

/// The body of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum ResponseBody {
    /// No body. In the query protocol: an answer without a result.
    Empty,
    /// A JSON document.
    Json(Value),
    /// The children of `<OperationResult>` (query protocol).
    Xml(Vec<Xml>),
    /// Bytes as they are, in the protocol's content type unless a header says otherwise.
    Bytes(Bytes),
    /// Bytes that are made while they are sent; only for a request that has a [`super::stream::Sender`].
    Stream(Outgoing),
}

/// What a service answers.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceResponse {
    /// The HTTP status.
    pub status: StatusCode,
    /// Headers beyond those of the protocol.
    pub headers: HeaderMap,
    /// The body.
    pub body: ResponseBody,
}

impl ServiceResponse {
    fn of(body: ResponseBody) -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), body }
    }

    /// Status 200 without a body.
    pub fn empty() -> Self {
        Self::of(ResponseBody::Empty)
    }

    /// Status 200 with a JSON document.
    pub fn json(value: Value) -> Self {
        Self::of(ResponseBody::Json(value))
    }

    /// Status 200 with a typed output as JSON. An output that JSON cannot express is our fault.
    pub fn output(output: &impl Serialize) -> Result<Self, super::ServiceError> {
        Ok(Self::json(serde_json::to_value(output).map_err(super::ServiceError::internal)?))
    }

    /// Status 200 with the children of the result element.
    pub fn xml(children: Vec<Xml>) -> Self {
        Self::of(ResponseBody::Xml(children))
    }

    /// Status 200 with bytes as they are.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::of(ResponseBody::Bytes(bytes.into()))
    }

    /// Status 200 with bytes that are made while they are sent.
    pub fn stream(body: Outgoing) -> Self {
        Self::of(ResponseBody::Stream(body))
    }

    /// Sets the status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self
    }

    /// Sets a header; a value that no header can hold is left out.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// The body as bytes, for callers inside the process.
    pub fn body_bytes(&self) -> Bytes {
        match &self.body {
            ResponseBody::Empty => Bytes::new(),
            ResponseBody::Json(value) => Bytes::from(value.to_string()),
            ResponseBody::Xml(children) => Bytes::from(Xml::write_all(children)),
            ResponseBody::Bytes(bytes) => bytes.clone(),
            // No caller inside the process is given one.
            ResponseBody::Stream(_) => Bytes::new(),
        }
    }
}
