//! One request in any of CloudWatch's three protocols, as one JSON value; and answers the other way.
//!
//! Forms carry only text, so numbers and times are read from text as well.

use super::cbor;
use crate::wire::{Form, Protocol, ServiceError, ServiceRequest, ServiceResponse, Xml};
use serde_json::{Map, Value};
use std::io::Read;

/// AWS's bound of a request, uncompressed.
const BODY_BYTES_MAX: u64 = 1_048_576;
const DEPTH_MAX: usize = 16;

/// `InvalidParameterValue`, with the code that JSON and CBOR have for it.
pub(super) fn invalid_value(message: impl Into<String>) -> ServiceError {
    ServiceError::client("InvalidParameterValueException", message).with_query_code("InvalidParameterValue")
}

/// `InvalidParameterCombination`.
pub(super) fn invalid_combination(message: impl Into<String>) -> ServiceError {
    ServiceError::client("InvalidParameterCombinationException", message)
        .with_query_code("InvalidParameterCombination")
}

/// `MissingParameter`.
pub(super) fn missing(member: &str) -> ServiceError {
    let message = format!("The parameter {member} is required.");
    ServiceError::client("MissingRequiredParameterException", message).with_query_code("MissingParameter")
}

/// The members that are times, wherever they stand.
pub(super) fn is_timestamp(member: &str) -> bool {
    member == "Timestamps" || member.ends_with("Timestamp")
}

/// The input of a request. SDKs compress large `PutMetricData` bodies.
pub(super) fn read(request: &ServiceRequest) -> Result<Value, ServiceError> {
    let refused = |text: String| ServiceError::serialization(text);
    let mut body = request.body.to_vec();
    if request.header("content-encoding") == Some("gzip") {
        body = Vec::new();
        let mut text = flate2::read::GzDecoder::new(&request.body[..]).take(BODY_BYTES_MAX + 1);
        text.read_to_end(&mut body).map_err(|error| refused(error.to_string()))?;
    }
    if body.len() as u64 > BODY_BYTES_MAX {
        return Err(ServiceError::new(413, "RequestEntityTooLarge", "The request is too large."));
    }
    let value = match request.protocol {
        Protocol::RpcV2Cbor if body.is_empty() => Value::Null,
        Protocol::RpcV2Cbor => cbor::read(&body).map_err(refused)?,
        Protocol::AwsQuery => of_form(&Form::parse(request.uri.query(), &body), 0),
        _ if body.is_empty() => Value::Null,
        _ => serde_json::from_slice(&body).map_err(|error| refused(error.to_string()))?,
    };
    match value {
        Value::Object(_) => Ok(value),
        Value::Null => Ok(Value::Object(Map::new())),
        _ => Err(refused("The request is not a structure.".to_owned())),
    }
}

/// `MetricData.member.1.Value=3` as `{"MetricData": [{"Value": "3"}]}`.
fn of_form(form: &Form, depth: usize) -> Value {
    let mut object = Map::new();
    for (name, value) in form.iter() {
        let (head, nested) = name.split_once('.').map_or((name, false), |(head, _)| (head, true));
        if object.contains_key(head) || depth > DEPTH_MAX {
            continue;
        }
        let member = if !nested {
            Value::String(value.to_owned())
        } else if form.below(&format!("{head}.member.")).iter().next().is_some() {
            let below = form.below(&format!("{head}.member."));
            let texts = form.list(head);
            let count =
                below.iter().filter_map(|(name, _)| name.split('.').next()?.parse::<usize>().ok()).max();
            let entry = |index: usize| match texts.get(index - 1) {
                Some(text) => Value::String((*text).to_owned()),
                None => of_form(&below.below(&format!("{index}.")), depth + 1),
            };
            Value::Array((1..=count.unwrap_or(0).min(10_000)).map(entry).collect())
        } else {
            of_form(&form.below(&format!("{head}.")), depth + 1)
        };
        object.insert(head.to_owned(), member);
    }
    Value::Object(object)
}

/// The answer in the caller's protocol.
pub(super) fn answer(request: &ServiceRequest, output: Value) -> ServiceResponse {
    match (request.protocol, output) {
        (_, Value::Null) => ServiceResponse::empty(),
        (Protocol::RpcV2Cbor, output) => ServiceResponse::bytes(cbor::write(&output, is_timestamp)),
        (Protocol::AwsQuery, Value::Object(members)) => {
            ServiceResponse::xml(members.iter().map(|(name, value)| element(name, value)).collect())
        }
        (_, output) => ServiceResponse::json(output),
    }
}

fn element(name: &str, value: &Value) -> Xml {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        value if is_timestamp(name) => iso(value.as_f64().unwrap_or_default()),
        other => other.to_string(),
    };
    match value {
        Value::Object(members) => {
            Xml::element(name).with_children(members.iter().map(|(name, value)| element(name, value)))
        }
        Value::Array(list) => Xml::element(name).with_children(list.iter().map(|entry| match entry {
            Value::Object(_) => element("member", entry),
            scalar => Xml::text("member", text(scalar)),
        })),
        scalar => Xml::text(name, text(scalar)),
    }
}

fn iso(seconds: f64) -> String {
    let at = jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64).unwrap_or_default();
    at.to_string()
}

/// A number, or the text of one.
pub(super) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.parse().ok()?,
        other => other.as_f64()?,
    };
    number.is_finite().then_some(number)
}

/// Seconds of the epoch: a number, or an ISO 8601 text.
pub(super) fn seconds(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => match text.parse::<jiff::Timestamp>() {
            Ok(at) => Some(at.as_millisecond() as f64 / 1000.0),
            Err(_) => text.parse().ok(),
        },
        other => other.as_f64(),
    }
}

/// A text member, when it is there.
pub(super) fn text<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The entries of a list member; none when it is not there.
pub(super) fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_form_becomes_the_value_that_json_would_be() {
        let body = b"Action=PutMetricData&Namespace=App&MetricData.member.1.MetricName=m&MetricData.member.1.Value=3\
            &MetricData.member.1.Dimensions.member.1.Name=d&MetricData.member.1.Dimensions.member.1.Value=v\
            &MetricData.member.1.StatisticValues.Sum=4&Statistics.member.1=Sum&Statistics.member.2=Average";
        let value = of_form(&Form::parse(None, body), 0);
        let expected = json!({"Action": "PutMetricData", "Namespace": "App", "MetricData": [{
            "Dimensions": [{"Name": "d", "Value": "v"}], "MetricName": "m", "StatisticValues": {"Sum": "4"}, "Value": "3"}],
            "Statistics": ["Sum", "Average"]});
        assert_eq!(value, expected);
    }
}
