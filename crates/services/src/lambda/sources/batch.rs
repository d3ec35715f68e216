//! Messages as the event of a function, and what the function's answer says of them.

use crate::event_pattern::EventPattern;
use serde_json::{Map, Value, json};

/// One pattern of a mapping's FilterCriteria.
pub(super) struct Filter {
    pattern: EventPattern,
    /// Whether the body is to be JSON; else it is matched as text.
    wants_json: bool,
}

impl Filter {
    pub fn parse(text: &str) -> Result<Filter, String> {
        let pattern: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let wants_json = pattern["body"].is_object();
        Ok(Filter { pattern: EventPattern::parse(&pattern)?, wants_json })
    }

    /// Whether the function is to see this record.
    pub fn takes(&self, record: &Value) -> bool {
        if !self.wants_json {
            return self.pattern.matches(record);
        }
        let body = record["body"].as_str().unwrap_or_default();
        let Ok(body) = serde_json::from_str::<Value>(body) else { return false };
        let mut record = record.clone();
        record["body"] = body;
        self.pattern.matches(&record)
    }
}

/// A received message as a record of the event.
pub(super) fn record(message: &Value, queue_arn: &str, region: &str) -> Value {
    let attributes = message["MessageAttributes"].as_object();
    let attributes: Map<String, Value> = attributes
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let mut shown =
                json!({"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]});
            for (given, member) in [("StringValue", "stringValue"), ("BinaryValue", "binaryValue")] {
                if let Some(text) = value.get(given) {
                    shown[member] = text.clone();
                }
            }
            (name.clone(), shown)
        })
        .collect();
    let mut record = json!({"messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"], "attributes": message.get("Attributes").cloned().unwrap_or_else(|| json!({})),
        "messageAttributes": attributes, "md5OfBody": message["MD5OfBody"]});
    if let Some(digest) = message.get("MD5OfMessageAttributes") {
        record["md5OfMessageAttributes"] = digest.clone();
    }
    record["eventSource"] = json!("aws:sqs");
    record["eventSourceARN"] = json!(queue_arn);
    record["awsRegion"] = json!(region);
    record
}

/// Which records failed, by their message ids.
#[derive(Debug, PartialEq)]
pub(super) enum Failed {
    /// These, perhaps none.
    These(Vec<String>),
    /// The batch as a whole.
    All,
}

/// What the answer of a function that reports failures says; an answer that makes no sense fails the batch.
pub(super) fn failures(payload: &str, records: &[Value]) -> Failed {
    let Ok(answer) = serde_json::from_str::<Value>(payload) else { return Failed::All };
    let items = match &answer["batchItemFailures"] {
        Value::Null => return Failed::These(Vec::new()),
        Value::Array(items) => items,
        _ => return Failed::All,
    };
    let known = |id: &str| records.iter().any(|record| record["messageId"] == id);
    let ids: Option<Vec<String>> = items
        .iter()
        .map(|item| item["itemIdentifier"].as_str().filter(|id| known(id)).map(str::to_owned))
        .collect();
    ids.map_or(Failed::All, Failed::These)
}
