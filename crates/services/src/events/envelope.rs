//! The event as AWS writes it, and what a target's `Input`, `InputPath` or `InputTransformer` makes of it.

use super::text;
use crate::service_file::Call;
use serde_json::{Map, Value, json};

/// The envelope.
pub(super) fn build(
    call: &Call,
    source: &str,
    detail_type: &str,
    at_ms: i64,
    resources: Value,
    detail: Value,
) -> Value {
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    json!({
        "version": "0", "id": uuid::Uuid::new_v4().to_string(), "detail-type": detail_type, "source": source,
        "account": call.account, "time": format!("{at:.0}"), "region": call.region, "resources": resources,
        "detail": detail,
    })
}

/// What the target gets, as text.
pub(super) fn input_for(target: &Value, event: &Value, rule_arn: &str) -> String {
    if let Some(input) = text(target, "Input") {
        return input.to_owned();
    }
    if let Some(path) = text(target, "InputPath") {
        return select(event, path).unwrap_or(Value::Null).to_string();
    }
    match target.get("InputTransformer") {
        Some(transformer) => transform(transformer, event, rule_arn),
        None => event.to_string(),
    }
}

/// `$.detail.list[0].x`; EventBridge knows plain steps only.
fn select(event: &Value, path: &str) -> Option<Value> {
    let mut value = event;
    for step in path.strip_prefix('$')?.split('.').filter(|step| !step.is_empty()) {
        let mut parts = step.split('[');
        let name = parts.next().unwrap_or("");
        if !name.is_empty() {
            value = value.get(name)?;
        }
        for index in parts {
            value = value.get(index.strip_suffix(']')?.parse::<usize>().ok()?)?;
        }
    }
    Some(value.clone())
}

/// `<name>` is replaced; inside quotation marks by the bare text, elsewhere by JSON.
fn transform(transformer: &Value, event: &Value, rule_arn: &str) -> String {
    let template = text(transformer, "InputTemplate").unwrap_or("");
    let mut known: Map<String, Value> = Map::new();
    let rule_name = rule_arn.rsplit('/').next().unwrap_or("");
    known.insert("aws.events.rule-arn".to_owned(), json!(rule_arn));
    known.insert("aws.events.rule-name".to_owned(), json!(rule_name));
    known.insert("aws.events.event.json".to_owned(), event.clone());
    let mut without_detail = event.clone();
    if let Some(object) = without_detail.as_object_mut() {
        object.shift_remove("detail");
    }
    known.insert("aws.events.event".to_owned(), without_detail);
    for (name, path) in transformer.get("InputPathsMap").and_then(Value::as_object).into_iter().flatten() {
        let value = path.as_str().and_then(|path| select(event, path));
        known.insert(name.clone(), value.unwrap_or(Value::Null));
    }
    let mut output = String::new();
    let mut rest = template;
    let mut quoted = false;
    while let Some(letter) = rest.chars().next() {
        let placeholder = rest.strip_prefix('<').and_then(|inside| inside.split_once('>'));
        if let Some((name, after)) = placeholder
            && let Some(value) = known.get(name)
        {
            output.push_str(&filled(value, quoted));
            rest = after;
            continue;
        }
        if letter == '"' && !output.ends_with('\\') {
            quoted = !quoted;
        }
        output.push(letter);
        rest = &rest[letter.len_utf8()..];
    }
    output
}

fn filled(value: &Value, quoted: bool) -> String {
    let bare = match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    if !quoted {
        return value.to_string();
    }
    let escaped = json!(bare).to_string();
    escaped[1..escaped.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_gets_what_it_asks_for() {
        let event = json!({"source": "app", "detail": {"n": 5, "list": [{"x": "a\"b"}]}});
        let arn = "arn:aws:events:eu-west-1:1:rule/r";
        let cases = [
            (json!({"Input": "{\"fixed\":1}"}), r#"{"fixed":1}"#),
            (json!({"InputPath": "$.detail.list[0].x"}), r#""a\"b""#),
            (
                json!({"InputTransformer": {"InputPathsMap": {"n": "$.detail.n", "x": "$.detail.list[0].x"},
                       "InputTemplate": "{\"number\": <n>, \"text\": \"is <x> and <n>\", \"all\": <x>}"}}),
                r#"{"number": 5, "text": "is a\"b and 5", "all": "a\"b"}"#,
            ),
            (
                json!({"InputTransformer": {"InputTemplate": "\"<aws.events.rule-name> <unknown>\""}}),
                r#""r <unknown>""#,
            ),
        ];
        for (target, expected) in cases {
            assert_eq!(input_for(&target, &event, arn), expected, "{target}");
        }
    }
}
