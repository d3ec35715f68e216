//! The query protocol (form in, XML out) and EC2's dialect of it.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::xml::{decode_structure, parse};
use super::{RequestError, Timestamps, build};
use crate::model::{Operation, Protocol, Shape};

/// RFC 3986 unreserved characters stay.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(super) fn request(
    operation: Operation<'_>,
    parameters: &Value,
) -> Result<http::Request<Bytes>, RequestError> {
    let service = operation.service;
    let mut fields = vec![
        ("Action".to_string(), operation.name.to_string()),
        ("Version".to_string(), service.metadata("apiVersion").unwrap_or_default().to_string()),
    ];
    if let Some(shape) = operation.input() {
        flatten(&mut fields, "", shape, parameters, service.protocol() == Some(Protocol::Ec2));
    }
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| {
            format!("{}={}", utf8_percent_encode(name, FORM), utf8_percent_encode(value, FORM))
        })
        .collect();
    let builder =
        http::Request::post("/").header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    build(builder, pairs.join("&").into_bytes())
}

fn flatten(fields: &mut Vec<(String, String)>, prefix: &str, shape: Shape<'_>, value: &Value, ec2: bool) {
    match (shape.kind(), value) {
        ("structure", Value::Object(given)) => {
            for (name, member) in shape.members() {
                let Some(value) = given.get(name).filter(|value| !value.is_null()) else { continue };
                let wire = wire_name(member.reference, name, ec2);
                flatten(fields, &join(prefix, &wire), member.shape, value, ec2);
            }
        }
        ("list", Value::Array(items)) => {
            let element = shape.element();
            let flattened = ec2 || shape.value["flattened"].as_bool() == Some(true);
            let base = match (flattened, element.reference["locationName"].as_str()) {
                (true, _) => prefix.to_string(),
                (false, name) => join(prefix, name.unwrap_or("member")),
            };
            if items.is_empty() && !ec2 {
                fields.push((prefix.to_string(), String::new()));
            }
            for (index, item) in items.iter().enumerate() {
                flatten(fields, &format!("{base}.{}", index + 1), element.shape, item, ec2);
            }
        }
        ("map", Value::Object(entries)) => {
            let flattened = shape.value["flattened"].as_bool() == Some(true);
            let base = if flattened { prefix.to_string() } else { join(prefix, "entry") };
            let (key, element) = (shape.key(), shape.map_value());
            for (index, (name, value)) in entries.iter().enumerate() {
                let entry = format!("{base}.{}", index + 1);
                fields.push((format!("{entry}.{}", key.wire_name("key")), name.clone()));
                flatten(
                    fields,
                    &format!("{entry}.{}", element.wire_name("value")),
                    element.shape,
                    value,
                    ec2,
                );
            }
        }
        (_, Value::String(text)) => fields.push((prefix.to_string(), text.clone())),
        (_, other) => fields.push((prefix.to_string(), other.to_string())),
    }
}

fn wire_name(reference: &Value, name: &str, ec2: bool) -> String {
    let location = reference["locationName"].as_str();
    if !ec2 {
        return location.unwrap_or(name).to_string();
    }
    if let Some(query_name) = reference["queryName"].as_str() {
        return query_name.to_string();
    }
    let base = location.unwrap_or(name);
    let mut letters = base.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") }
}

pub(super) fn response(
    operation: Operation<'_>,
    response: &http::Response<Bytes>,
    timestamps: Timestamps,
) -> Value {
    let document = parse(response.body());
    let root = operation.result_wrapper().and_then(|name| document.child(name)).unwrap_or(&document);
    let members = operation.output().map_or_else(Map::new, |shape| decode_structure(shape, root, timestamps));
    Value::Object(members)
}
