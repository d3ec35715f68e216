//! awsJson 1.0 and 1.1, and the JSON bodies of restJson.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Fault, RequestError, Timestamps, build, request_id};
use crate::model::{Member, Operation, Shape};

pub(super) fn request(
    operation: Operation<'_>,
    parameters: &Value,
) -> Result<http::Request<Bytes>, RequestError> {
    let service = operation.service;
    let body = operation.input().map_or_else(|| Value::Object(Map::new()), |shape| encode(shape, parameters));
    let version = service.metadata("jsonVersion").unwrap_or("1.0");
    let target = format!("{}.{}", service.metadata("targetPrefix").unwrap_or_default(), operation.name);
    let builder = http::Request::post("/")
        .header("content-type", format!("application/x-amz-json-{version}"))
        .header("x-amz-target", target);
    build(builder, body.to_string().into_bytes())
}

pub(super) fn response(
    operation: Operation<'_>,
    response: &http::Response<Bytes>,
    timestamps: Timestamps,
) -> Value {
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_else(|_| Value::Object(Map::new()));
    operation.output().map_or_else(|| Value::Object(Map::new()), |shape| decode(shape, &body, timestamps))
}

/// Native parameters → the JSON that goes on the wire (wire names, base64 blobs, epoch timestamps).
pub(super) fn encode(shape: Shape<'_>, value: &Value) -> Value {
    match (shape.kind(), value) {
        ("structure", Value::Object(given)) => {
            let members = shape.members().filter_map(|(name, member)| {
                let value = given.get(name).filter(|value| !value.is_null())?;
                Some((member.wire_name(name).to_string(), encode(member.shape, value)))
            });
            Value::Object(members.collect())
        }
        ("list", Value::Array(items)) => {
            items.iter().map(|item| encode(shape.element().shape, item)).collect()
        }
        ("map", Value::Object(entries)) => {
            let element = shape.map_value().shape;
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), encode(element, value))).collect())
        }
        ("blob", Value::String(text)) => STANDARD.encode(text).into(),
        ("timestamp", Value::String(text)) => match text.parse::<jiff::Timestamp>() {
            Ok(at) => (at.as_millisecond() as f64 / 1000.0).into(),
            Err(_) => value.clone(),
        },
        _ => value.clone(),
    }
}

/// Wire JSON → native members; members the model does not know are dropped.
pub(super) fn decode(shape: Shape<'_>, value: &Value, timestamps: Timestamps) -> Value {
    match (shape.kind(), value) {
        ("structure", Value::Object(given)) => {
            let members = shape.members().filter_map(|(name, member): (&str, Member<'_>)| {
                let value = given.get(member.wire_name(name)).filter(|value| !value.is_null())?;
                Some((name.to_string(), decode(member.shape, value, timestamps)))
            });
            Value::Object(members.collect())
        }
        ("list", Value::Array(items)) => {
            items.iter().map(|item| decode(shape.element().shape, item, timestamps)).collect()
        }
        ("map", Value::Object(entries)) => {
            let element = shape.map_value().shape;
            let decoded =
                entries.iter().map(|(key, value)| (key.clone(), decode(element, value, timestamps)));
            Value::Object(decoded.collect())
        }
        ("blob", Value::String(text)) => match STANDARD.decode(text) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
            Err(_) => value.clone(),
        },
        ("timestamp", _) => timestamp(value, timestamps),
        _ => value.clone(),
    }
}

/// A wire timestamp (epoch seconds or a date string) as results show it.
pub(super) fn timestamp(value: &Value, timestamps: Timestamps) -> Value {
    let at = match value {
        Value::Number(seconds) => {
            seconds.as_f64().and_then(|s| jiff::Timestamp::from_millisecond((s * 1000.0).round() as i64).ok())
        }
        Value::String(text) => text.parse().ok().or_else(|| http_date(text)),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    match (at, timestamps) {
        (Some(at), Timestamps::Milliseconds) => at.as_millisecond().into(),
        (Some(at), Timestamps::Iso8601) => at.to_string().into(),
        (None, _) => value.clone(),
    }
}

fn http_date(text: &str) -> Option<jiff::Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

pub(super) fn fault(response: &http::Response<Bytes>) -> Fault {
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_string);
    let code = header("x-amzn-errortype")
        .or_else(|| body["__type"].as_str().map(str::to_string))
        .or_else(|| body["code"].as_str().map(str::to_string))
        .unwrap_or_else(|| "UnknownError".into());
    // `com.amazonaws.dynamodb.v20120810#ResourceNotFoundException` and `Code:http://…` both name the code.
    let code = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default().to_string();
    let message = ["message", "Message", "errorMessage"].iter().find_map(|name| body[*name].as_str());
    Fault {
        status: response.status().as_u16(),
        code,
        message: message.unwrap_or_default().to_string(),
        request_id: request_id(response.headers()),
        extended_request_id: None,
        query_code: header("x-amzn-query-error").and_then(|told| told.split(';').next().map(Box::from)),
    }
}
