//! The API as a customer calls it: JSON and query protocols over a port that sends.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::error::TemplateError;

/// What [`Client::send`] returns: the answer with its whole body, or why there is none.
pub type Pending<'a> = Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, String>> + Send + 'a>>;

/// Sends requests to AWS, or to what stands in for it.
pub trait Client: Send + Sync {
    /// Sends `request` (relative URI) to the service with this signing name, signed for the target account and region.
    fn send<'a>(&'a self, service: &'a str, request: http::Request<Bytes>) -> Pending<'a>;
}

/// A refusal or a failure of one call, before it is known which resource it was for.
#[derive(Clone, Debug)]
pub(crate) enum CallError {
    Refused { operation: String, code: String, message: String },
    Unreachable { operation: String, reason: String },
}

impl CallError {
    /// AWS's code, if the API answered.
    pub fn code(&self) -> &str {
        match self {
            CallError::Refused { code, .. } => code,
            CallError::Unreachable { .. } => "",
        }
    }

    pub fn on(self, resource: &str) -> TemplateError {
        let resource = resource.to_string();
        match self {
            CallError::Refused { operation, code, message } => {
                TemplateError::Refused { resource, operation, code, message }
            }
            CallError::Unreachable { operation, reason } => {
                TemplateError::Unreachable { resource, operation, reason }
            }
        }
    }

    pub fn invalid(operation: &str, message: impl Into<String>) -> CallError {
        CallError::Refused {
            operation: operation.into(),
            code: "ValidationError".into(),
            message: message.into(),
        }
    }
}

pub(crate) type CallResult<T> = Result<T, CallError>;

const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// awsJson: `target` is `Prefix.Action`.
pub(crate) async fn json(client: &dyn Client, service: &str, target: &str, body: Value) -> CallResult<Value> {
    let version = if matches!(service, "states" | "dynamodb" | "sqs") { "1.0" } else { "1.1" };
    let request = http::Request::post("/")
        .header("content-type", format!("application/x-amz-json-{version}"))
        .header("x-amz-target", target)
        .body(Bytes::from(body.to_string()));
    exchange(client, service, target, request).await
}

/// restJson.
pub(crate) async fn rest(
    client: &dyn Client,
    service: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> CallResult<Value> {
    let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(body);
    exchange(client, service, &format!("{method} {path}"), request).await
}

/// restXml; answers the XML text.
pub(crate) async fn rest_xml(
    client: &dyn Client,
    service: &str,
    method: &str,
    path: &str,
    body: String,
) -> CallResult<String> {
    let request = http::Request::builder().method(method).uri(path).body(Bytes::from(body));
    let operation = format!("{service} {method} {path}");
    text_of(sent(client, service, &operation, request).await?, operation)
}

/// Percent-encodes one path segment.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, FORM).to_string()
}

async fn exchange(
    client: &dyn Client,
    service: &str,
    operation: &str,
    request: Result<http::Request<Bytes>, http::Error>,
) -> CallResult<Value> {
    let operation = format!("{service} {}", operation.rsplit('.').next().unwrap_or_default());
    let response = sent(client, service, &operation, request).await?;
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    if response.status().is_success() {
        return Ok(body);
    }
    let header = response.headers().get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let code = header.or(body["__type"].as_str()).unwrap_or("UnknownError");
    let code = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default().to_string();
    let message = body["message"].as_str().or(body["Message"].as_str()).unwrap_or_default().to_string();
    Err(CallError::Refused { operation, code, message })
}

async fn sent(
    client: &dyn Client,
    service: &str,
    operation: &str,
    request: Result<http::Request<Bytes>, http::Error>,
) -> CallResult<http::Response<Bytes>> {
    let unreachable = |reason: String| CallError::Unreachable { operation: operation.to_string(), reason };
    let request = request.map_err(|error| unreachable(error.to_string()))?;
    client.send(service, request).await.map_err(unreachable)
}

/// The query protocol; answers the XML text.
pub(crate) async fn query(
    client: &dyn Client,
    service: &str,
    version: &str,
    action: &str,
    parameters: &[(String, String)],
) -> CallResult<String> {
    let mut form = format!("Action={action}&Version={version}");
    for (name, value) in parameters {
        form.push_str(&format!("&{}={}", utf8_percent_encode(name, FORM), utf8_percent_encode(value, FORM)));
    }
    let request = http::Request::post("/")
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .body(Bytes::from(form));
    let operation = format!("{service} {action}");
    text_of(sent(client, service, &operation, request).await?, operation)
}

/// The XML text of an answer, or the error in it.
fn text_of(response: http::Response<Bytes>, operation: String) -> CallResult<String> {
    let text = String::from_utf8_lossy(response.body()).into_owned();
    if response.status().is_success() {
        return Ok(text);
    }
    let code = xml_text(&text, "Code").unwrap_or_else(|| response.status().as_str().to_string());
    Err(CallError::Refused { operation, code, message: xml_text(&text, "Message").unwrap_or_default() })
}

/// The contents of the `<member>` elements of a list without nested lists.
pub(crate) fn xml_members(xml: &str) -> impl Iterator<Item = &str> {
    xml.split("<member>").skip(1).filter_map(|rest| rest.split("</member>").next())
}

/// Text of the first element with this name.
pub(crate) fn xml_text(xml: &str, name: &str) -> Option<String> {
    let start = xml.find(&format!("<{name}>"))? + name.len() + 2;
    let end = xml[start..].find(&format!("</{name}>"))? + start;
    quick_xml::escape::unescape(&xml[start..end]).ok().map(std::borrow::Cow::into_owned)
}
