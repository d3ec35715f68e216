//! A request as a service sees it: operation, protocol and input, read once.

use super::aws_query::Form;
use super::error::ServiceError;
use super::stream::Sender;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri, header};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::OnceLock;

/// The AWS protocol a caller speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `application/x-amz-json-1.0` with `X-Amz-Target`.
    AwsJson10,
    /// `application/x-amz-json-1.1` with `X-Amz-Target`.
    AwsJson11,
    /// A form in, XML out.
    AwsQuery,
    /// Method and path name the operation (Lambda).
    RestJson,
    /// Method and path name the operation, XML bodies (S3).
    RestXml,
    /// Smithy RPC v2 with CBOR (CloudWatch).
    RpcV2Cbor,
}

impl Protocol {
    /// The content type of its answers.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::AwsJson10 => "application/x-amz-json-1.0",
            Self::AwsJson11 => "application/x-amz-json-1.1",
            Self::AwsQuery => "text/xml",
            Self::RestJson => "application/json",
            Self::RestXml => "application/xml",
            Self::RpcV2Cbor => "application/cbor",
        }
    }

    /// Whether inputs and answers are JSON documents of the `X-Amz-Target` kind.
    pub fn is_aws_json(self) -> bool {
        matches!(self, Self::AwsJson10 | Self::AwsJson11)
    }
}

/// One request to a service.
#[derive(Debug, Clone)]
pub struct ServiceRequest {
    /// The operation, such as `PutItem`. Empty for the REST protocols: method and path say it.
    pub operation: String,
    /// The protocol of the caller.
    pub protocol: Protocol,
    /// The HTTP method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Bytes,
    /// The client, if the request came over HTTP. It may be sending the body still, and then `body` is empty.
    pub sender: Option<Sender>,
    json: OnceLock<Result<Value, ServiceError>>,
    form: OnceLock<Form>,
}

impl ServiceRequest {
    /// Reads the operation and protocol from an HTTP request.
    pub fn from_http(parts: &http::request::Parts, body: Bytes) -> Self {
        let (protocol, operation) = Self::protocol_and_operation(parts, &body);
        Self {
            operation,
            protocol,
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
            body,
            sender: parts.extensions.get::<Sender>().cloned(),
            json: OnceLock::new(),
            form: OnceLock::new(),
        }
    }

    /// The same request, known to be for this service: whatever a REST service is sent, method and path say what is meant.
    #[must_use]
    pub fn of_service(mut self, service: &str) -> Self {
        let rest = match service {
            "apigateway" | "execute-api" | "lambda" | "scheduler" => Protocol::RestJson,
            "s3" => Protocol::RestXml,
            _ => return self,
        };
        self.protocol = rest;
        self.operation.clear();
        self
    }

    /// A JSON request made inside the process.
    pub fn json_call(operation: &str, input: &Value) -> Self {
        let mut request = Self::rest(Method::POST, "/", Bytes::from(input.to_string()));
        request.operation = operation.to_owned();
        request.protocol = Protocol::AwsJson10;
        request
    }

    /// A REST request made inside the process. A path that is no URI becomes `/`.
    pub fn rest(method: Method, path: &str, body: Bytes) -> Self {
        Self {
            operation: String::new(),
            protocol: Protocol::RestJson,
            method,
            uri: path.parse().unwrap_or_default(),
            headers: HeaderMap::new(),
            body,
            sender: None,
            json: OnceLock::new(),
            form: OnceLock::new(),
        }
    }

    fn protocol_and_operation(parts: &http::request::Parts, body: &Bytes) -> (Protocol, String) {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let content_type = header(header::CONTENT_TYPE.as_str()).unwrap_or_default();
        if let Some(target) = header("x-amz-target") {
            let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
            let is_10 = content_type.starts_with("application/x-amz-json-1.0");
            return (if is_10 { Protocol::AwsJson10 } else { Protocol::AwsJson11 }, operation);
        }
        if header("smithy-protocol").is_some_and(|value| value == "rpc-v2-cbor") {
            let operation = parts.uri.path().rsplit('/').next().unwrap_or_default().to_owned();
            return (Protocol::RpcV2Cbor, operation);
        }
        if content_type.starts_with("application/x-www-form-urlencoded") {
            let form = Form::parse(parts.uri.query(), body);
            return (Protocol::AwsQuery, form.get("Action").unwrap_or_default().to_owned());
        }
        // A bare query string names an action too: SNS's confirmation links, and the oldest of clients.
        if let Some(action) = Form::parse(parts.uri.query(), &[]).get("Action") {
            return (Protocol::AwsQuery, action.to_owned());
        }
        (Protocol::RestJson, String::new())
    }

    /// The body as JSON; an empty body is an empty object.
    pub fn json(&self) -> Result<&Value, ServiceError> {
        let parsed = self.json.get_or_init(|| {
            if self.body.is_empty() {
                return Ok(Value::Object(serde_json::Map::new()));
            }
            serde_json::from_slice(&self.body).map_err(|error| ServiceError::serialization(error.to_string()))
        });
        parsed.as_ref().map_err(Clone::clone)
    }

    /// The body as a typed input.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, ServiceError> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(body).map_err(|error| ServiceError::serialization(error.to_string()))
    }

    /// A string member at the top of the JSON body, if body and member are there. Meant for `Service::access`.
    pub fn json_str(&self, name: &str) -> Option<&str> {
        self.json().ok()?.get(name)?.as_str()
    }

    /// The parameters of the query string and of a form body.
    pub fn form(&self) -> &Form {
        self.form.get_or_init(|| {
            let is_form = self.protocol == Protocol::AwsQuery;
            Form::parse(self.uri.query(), if is_form { &self.body } else { &[] })
        })
    }

    /// One parameter of the query string.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.form().get(name)
    }

    /// One header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The decoded segments of the path, without empty ones.
    pub fn path_segments(&self) -> Vec<String> {
        let segments = self.uri.path().split('/').filter(|segment| !segment.is_empty());
        segments.map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned()).collect()
    }
}
