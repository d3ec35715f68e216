//! restJson and restXml: parameters spread over path, query string, headers and body.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::xml::{decode_structure, parse, scalar};
use super::{RequestError, Timestamps, build, json};
use crate::model::{Member, Operation, Protocol, Shape};

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const GREEDY: &AsciiSet = &SEGMENT.remove(b'/');

pub(super) fn request(
    operation: Operation<'_>,
    parameters: &Value,
) -> Result<http::Request<Bytes>, RequestError> {
    let empty = Map::new();
    let given = parameters.as_object().unwrap_or(&empty);
    let mut uri = operation.uri().to_string();
    let mut builder = http::Request::builder().method(operation.method());
    let mut query = Vec::new();
    for (name, member) in operation.input().into_iter().flat_map(|shape| shape.members()) {
        let Some(value) = given.get(name).filter(|value| !value.is_null()) else { continue };
        let wire = member.wire_name(name);
        match member.location() {
            Some("uri") => uri = label(&uri, wire, value),
            Some("querystring") => push_query(&mut query, wire, value),
            Some("header") => builder = builder.header(wire, plain(value)),
            Some("headers") => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    builder = builder.header(format!("{wire}{key}"), plain(value));
                }
            }
            _ => {}
        }
    }
    if let Some((_, rest)) = uri.split_once('{') {
        return Err(RequestError::Missing(rest.split(['}', '+']).next().unwrap_or_default().to_string()));
    }
    if !query.is_empty() {
        uri = format!("{uri}{}{}", if uri.contains('?') { '&' } else { '?' }, query.join("&"));
    }
    let (content_type, body) = body(operation, given);
    if let Some(content_type) = content_type {
        builder = builder.header("content-type", content_type);
    }
    build(builder.uri(uri), body)
}

fn label(uri: &str, wire: &str, value: &Value) -> String {
    let text = plain(value);
    uri.replace(&format!("{{{wire}}}"), &utf8_percent_encode(&text, SEGMENT).to_string())
        .replace(&format!("{{{wire}+}}"), &utf8_percent_encode(&text, GREEDY).to_string())
}

fn push_query(query: &mut Vec<String>, wire: &str, value: &Value) {
    let pair = |name: &str, value: &Value| {
        format!("{}={}", utf8_percent_encode(name, SEGMENT), utf8_percent_encode(&plain(value), SEGMENT))
    };
    match value {
        Value::Array(items) => query.extend(items.iter().map(|item| pair(wire, item))),
        Value::Object(entries) => query.extend(entries.iter().map(|(key, value)| pair(key, value))),
        other => query.push(pair(wire, other)),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// Content type and body: one payload member, or the members without a location.
fn body(operation: Operation<'_>, given: &Map<String, Value>) -> (Option<&'static str>, Vec<u8>) {
    let Some(shape) = operation.input() else { return (None, Vec::new()) };
    let xml = operation.service.protocol() == Some(Protocol::RestXml);
    if let Some(name) = shape.payload() {
        let Some((_, member)) = shape.members().find(|(candidate, _)| *candidate == name) else {
            return (None, Vec::new());
        };
        let Some(value) = given.get(name).filter(|value| !value.is_null()) else { return (None, Vec::new()) };
        return payload(name, member, value, xml);
    }
    let members: Vec<_> = shape.members().filter(|(_, member)| member.location().is_none()).collect();
    if members.is_empty() {
        return (None, Vec::new());
    }
    if xml {
        let root = operation.input_reference()["locationName"].as_str().unwrap_or(operation.name);
        let mut text = String::new();
        write_element(&mut text, root, shape, &Value::Object(given.clone()));
        return (Some("application/xml"), text.into_bytes());
    }
    let wire: Map<String, Value> = members
        .into_iter()
        .filter_map(|(name, member)| {
            let value = given.get(name).filter(|value| !value.is_null())?;
            Some((member.wire_name(name).to_string(), json::encode(member.shape, value)))
        })
        .collect();
    (Some("application/json"), Value::Object(wire).to_string().into_bytes())
}

fn payload(name: &str, member: Member<'_>, value: &Value, xml: bool) -> (Option<&'static str>, Vec<u8>) {
    match member.shape.kind() {
        "structure" if xml => {
            let mut text = String::new();
            write_element(&mut text, member.wire_name(name), member.shape, value);
            (Some("application/xml"), text.into_bytes())
        }
        "structure" => (Some("application/json"), json::encode(member.shape, value).to_string().into_bytes()),
        // A blob or string is the body itself; Step Functions takes any JSON there and sends its text.
        _ => (Some("application/octet-stream"), plain(value).into_bytes()),
    }
}

fn write_element(out: &mut String, name: &str, shape: Shape<'_>, value: &Value) {
    out.push_str(&format!("<{name}>"));
    match (shape.kind(), value) {
        ("structure", Value::Object(given)) => {
            for (member_name, member) in shape.members().filter(|(_, member)| member.location().is_none()) {
                if let Some(value) = given.get(member_name).filter(|value| !value.is_null()) {
                    write_member(out, member.wire_name(member_name), member, value);
                }
            }
        }
        ("list", Value::Array(items)) => {
            for item in items {
                write_element(out, shape.element().wire_name("member"), shape.element().shape, item);
            }
        }
        ("map", Value::Object(entries)) => {
            for (key, value) in entries {
                out.push_str("<entry>");
                write_element(out, shape.key().wire_name("key"), shape.key().shape, &key.as_str().into());
                write_element(out, shape.map_value().wire_name("value"), shape.map_value().shape, value);
                out.push_str("</entry>");
            }
        }
        _ => out.push_str(&quick_xml::escape::escape(plain(value))),
    }
    out.push_str(&format!("</{name}>"));
}

fn write_member(out: &mut String, wire: &str, member: Member<'_>, value: &Value) {
    let flattened =
        [member.reference, member.shape.value].iter().any(|v| v["flattened"].as_bool() == Some(true));
    match value {
        Value::Array(items) if flattened => {
            for item in items {
                write_element(out, wire, member.shape.element().shape, item);
            }
        }
        _ => write_element(out, wire, member.shape, value),
    }
}

pub(super) fn response(
    operation: Operation<'_>,
    response: &http::Response<Bytes>,
    timestamps: Timestamps,
) -> Value {
    let Some(shape) = operation.output() else { return Value::Object(Map::new()) };
    let mut members = Map::new();
    for (name, member) in shape.members() {
        if let Some(value) = from_head(name, member, response, timestamps) {
            members.insert(name.to_string(), value);
        }
    }
    let xml = operation.service.protocol() == Some(Protocol::RestXml);
    let text = || Value::from(String::from_utf8_lossy(response.body()).into_owned());
    match shape.payload().and_then(|name| shape.members().find(|(candidate, _)| *candidate == name)) {
        Some((name, member)) if member.shape.kind() == "structure" && xml => {
            let decoded = decode_structure(member.shape, &parse(response.body()), timestamps);
            members.insert(name.to_string(), Value::Object(decoded));
        }
        Some((name, member)) if member.shape.kind() == "structure" => {
            let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
            members.insert(name.to_string(), json::decode(member.shape, &body, timestamps));
        }
        Some((name, _)) => {
            members.insert(name.to_string(), text());
        }
        None if xml => members.extend(decode_structure(shape, &parse(response.body()), timestamps)),
        None => {
            let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
            if let Value::Object(decoded) = json::decode(shape, &body, timestamps) {
                members.extend(decoded);
            }
        }
    }
    Value::Object(members)
}

/// A member that travels in the status line or a header.
fn from_head(
    name: &str,
    member: Member<'_>,
    response: &http::Response<Bytes>,
    timestamps: Timestamps,
) -> Option<Value> {
    let wire = member.wire_name(name);
    match member.location()? {
        "statusCode" => Some(response.status().as_u16().into()),
        "header" => Some(scalar(member.shape, response.headers().get(wire)?.to_str().ok()?, timestamps)),
        "headers" => {
            let prefix = wire.to_ascii_lowercase();
            let entries: Map<String, Value> = response
                .headers()
                .iter()
                .filter_map(|(key, value)| {
                    Some((key.as_str().strip_prefix(&prefix)?.to_string(), value.to_str().ok()?.into()))
                })
                .collect();
            (!entries.is_empty()).then_some(Value::Object(entries))
        }
        _ => None,
    }
}
