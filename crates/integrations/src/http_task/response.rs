//! What an endpoint answered, as the Task's result or its failure.

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use serde_json::{Map, Value, json};

use super::listed;
use crate::failure::Failure;

/// Headers of one connection, which say nothing about the answer.
const DROPPED: [&str; 3] = ["connection", "keep-alive", "transfer-encoding"];
/// Types that AWS does not take.
const BINARY: [&str; 4] = ["application/octet-stream", "image/", "video/", "audio/"];
/// A cause is no longer than AWS's bound on one.
const CAUSE_MAX: usize = 32_768;

fn shown(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let kept = headers.iter().filter(|(name, _)| !DROPPED.contains(&name.as_str()));
    kept.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
}

fn status_text(answer: &Response<Bytes>) -> &str {
    answer.status().canonical_reason().unwrap_or_default()
}

/// `Headers`, `ResponseBody`, `StatusCode` and `StatusText`, or why there is no result.
pub(super) fn result(answer: &Response<Bytes>) -> Result<Value, Failure> {
    if !answer.status().is_success() {
        return Err(failed(answer));
    }
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    if BINARY.iter().any(|binary| kind.starts_with(binary)) {
        let message = format!("Responses of the content type '{kind}' are not supported by HTTP Tasks");
        return Err(Failure::new("States.Runtime", message));
    }
    let text = std::str::from_utf8(answer.body())
        .map_err(|_| Failure::new("States.Runtime", "The response body cannot be read as text"))?;
    let is_json =
        kind.is_empty() || kind.split(';').next().is_some_and(|kind| kind.trim_end().ends_with("json"));
    let parsed = is_json.then(|| serde_json::from_str(text).ok()).flatten();
    let mut headers: Map<String, Value> = Map::new();
    for (name, value) in shown(answer.headers()) {
        match headers.get_mut(name).and_then(Value::as_array_mut) {
            Some(values) => values.push(value.into()),
            None => drop(headers.insert(name.into(), json!([value]))),
        }
    }
    Ok(json!({ "Headers": headers, "ResponseBody": parsed.unwrap_or_else(|| Value::from(text)),
        "StatusCode": answer.status().as_u16(), "StatusText": status_text(answer) }))
}

fn failed(answer: &Response<Bytes>) -> Failure {
    let said = String::from_utf8_lossy(answer.body());
    let cause: String = match said.trim() {
        "" => status_text(answer).to_string(),
        said => said.chars().take(CAUSE_MAX).collect(),
    };
    Failure::new(format!("States.Http.StatusCode.{}", answer.status().as_u16()), cause)
}

/// As TestState shows it.
pub(super) fn traced(answer: &Response<Bytes>) -> Value {
    json!({ "protocol": "https", "statusCode": answer.status().as_u16().to_string(),
        "statusMessage": status_text(answer), "headers": listed(shown(answer.headers())),
        "body": String::from_utf8_lossy(answer.body()) })
}
