//! A queue's attributes: which there are, their bounds and defaults.

use super::errors;
use crate::iam::policy::{Kind, Policy};
use crate::wire::ServiceError;
use serde_json::{Map, Value, json};

/// SQS's quota for a message.
pub(super) const MESSAGE_BYTES_MAX: i64 = 1_048_576;

/// Attributes that are numbers: name, least, most, default.
const NUMBERS: &[(&str, i64, i64, i64)] = &[
    ("VisibilityTimeout", 0, 43_200, 30),
    ("MaximumMessageSize", 1024, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX),
    ("MessageRetentionPeriod", 60, 1_209_600, 345_600),
    ("DelaySeconds", 0, 900, 0),
    ("ReceiveMessageWaitTimeSeconds", 0, 20, 0),
];
const CHOICES: &[(&str, &[&str], &str)] = &[
    ("ContentBasedDeduplication", &["true", "false"], "false"),
    ("DeduplicationScope", &["queue", "messageGroup"], "queue"),
    ("FifoThroughputLimit", &["perQueue", "perMessageGroupId"], "perQueue"),
];

/// The attributes set on a queue; the others have their defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    set: Map<String, Value>,
}

/// Where messages go that were received too often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redrive {
    pub(super) target_arn: String,
    pub(super) receive_count_max: i64,
}

impl Attributes {
    /// As stored.
    pub(super) fn stored(text: &str) -> Self {
        // The text is ours; a damaged one would mean defaults, and SQLite's checks make that unlikely.
        Self { set: serde_json::from_str(text).unwrap_or_default() }
    }

    /// To be stored.
    pub(super) fn text(&self) -> String {
        Value::Object(self.set.clone()).to_string()
    }

    /// Checks and sets what a caller gives. An empty value takes an attribute away.
    pub(super) fn change(&mut self, given: &Map<String, Value>, is_fifo: bool) -> Result<(), ServiceError> {
        for (name, value) in given {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if name == "FifoQueue" && is_fifo == (value == "true") {
                continue;
            }
            check(name, &value, is_fifo)?;
            if value.is_empty() {
                self.set.remove(name);
            } else {
                self.set.insert(name.clone(), json!(normal(name, &value)));
            }
        }
        Ok(())
    }

    /// The first given attribute that differs from what is set or defaulted.
    pub(super) fn differs_from(&self, given: &Attributes) -> Option<String> {
        let differs = |(name, value): &(&String, &Value)| self.get(name).as_deref() != value.as_str();
        given.set.iter().find(differs).map(|(name, _)| name.clone())
    }

    /// An attribute's value, set or defaulted.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        if let Some(value) = self.set.get(name).and_then(Value::as_str) {
            return Some(value.to_owned());
        }
        let number =
            NUMBERS.iter().find(|(known, ..)| *known == name).map(|(.., default)| default.to_string());
        number.or_else(|| (name == "SqsManagedSseEnabled").then(|| "true".to_owned()))
    }

    /// A number, set or defaulted.
    pub(super) fn number(&self, name: &str) -> i64 {
        self.get(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name).as_deref() == Some("true")
    }

    pub(super) fn redrive(&self) -> Option<Redrive> {
        redrive(&self.get("RedrivePolicy")?)
    }

    /// Whether the queue's `RedriveAllowPolicy` lets it be the dead-letter queue of another.
    pub(super) fn takes_dead_letters_of(&self, source_arn: &str) -> bool {
        let policy =
            self.get("RedriveAllowPolicy").and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let Some(policy) = policy else { return true };
        match policy["redrivePermission"].as_str() {
            Some("denyAll") => false,
            Some("byQueue") => policy["sourceQueueArns"]
                .as_array()
                .is_some_and(|arns| arns.iter().any(|arn| arn == source_arn)),
            _ => true,
        }
    }

    /// Every attribute there is to show.
    pub(super) fn all(&self, is_fifo: bool) -> Map<String, Value> {
        let mut all = Map::new();
        for (name, ..) in NUMBERS {
            all.insert((*name).to_owned(), json!(self.number(name).to_string()));
        }
        all.insert("SqsManagedSseEnabled".to_owned(), json!("true"));
        if is_fifo {
            all.insert("FifoQueue".to_owned(), json!("true"));
            for (name, _, default) in CHOICES {
                all.insert((*name).to_owned(), json!(default));
            }
        }
        all.extend(self.set.clone());
        all
    }
}

fn check(name: &str, value: &str, is_fifo: bool) -> Result<(), ServiceError> {
    let valid = |is_valid: bool| if is_valid { Ok(()) } else { Err(errors::invalid_attribute(name)) };
    if let Some((_, least, most, _)) = NUMBERS.iter().find(|(known, ..)| *known == name) {
        return valid(value.parse().is_ok_and(|number: i64| (*least..=*most).contains(&number)));
    }
    if let Some((_, choices, _)) = CHOICES.iter().find(|(known, ..)| *known == name) {
        // They exist for FIFO queues only.
        return if is_fifo { valid(choices.contains(&value)) } else { Err(errors::unknown_attribute(name)) };
    }
    match name {
        "RedrivePolicy" => valid(value.is_empty() || redrive(value).is_some()),
        "RedriveAllowPolicy" => {
            valid(value.is_empty() || serde_json::from_str::<Map<String, Value>>(value).is_ok())
        }
        "Policy" => valid(value.is_empty() || Policy::parse(value, Kind::Resource).is_ok()),
        // Files here are not encrypted; saying otherwise would be a lie, except for the default that every queue shows.
        "SqsManagedSseEnabled" => valid(matches!(value, "true" | "false")),
        "KmsMasterKeyId" | "KmsDataKeyReusePeriodSeconds" => {
            Err(ServiceError::unsupported("sqs", "encryption with KMS keys"))
        }
        _ => Err(errors::unknown_attribute(name)),
    }
}

/// The value as SQS gives it back: numbers without leading zeros or signs, JSON without spaces.
fn normal(name: &str, value: &str) -> String {
    if let Ok(number) = value.parse::<i64>() {
        return number.to_string();
    }
    if !matches!(name, "Policy" | "RedrivePolicy" | "RedriveAllowPolicy") {
        return value.to_owned();
    }
    serde_json::from_str::<Value>(value).map_or_else(|_| value.to_owned(), |value| value.to_string())
}

fn redrive(text: &str) -> Option<Redrive> {
    let policy: Map<String, Value> = serde_json::from_str(text).ok()?;
    let target_arn = policy.get("deadLetterTargetArn")?.as_str()?.to_owned();
    let count = policy.get("maxReceiveCount")?;
    let receive_count_max = count.as_i64().or_else(|| count.as_str()?.parse().ok())?;
    (1..=1000).contains(&receive_count_max).then_some(Redrive { target_arn, receive_count_max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_kept_and_equal_values_are_equal() {
        let set = |name: &str, value: &str, is_fifo: bool| {
            let mut attributes = Attributes::default();
            let given = Map::from_iter([(name.to_owned(), json!(value))]);
            attributes.change(&given, is_fifo).map(|()| attributes)
        };
        let cases = [
            ("VisibilityTimeout", "30", false, true),
            ("VisibilityTimeout", "43201", false, false),
            ("VisibilityTimeout", "x", false, false),
            ("DelaySeconds", "-1", false, false),
            ("Nonsense", "1", false, false),
            ("ContentBasedDeduplication", "true", true, true),
            ("ContentBasedDeduplication", "true", false, false),
            ("FifoQueue", "true", true, true),
            ("FifoQueue", "true", false, false),
            ("RedrivePolicy", r#"{"deadLetterTargetArn":"arn:x","maxReceiveCount":"3"}"#, false, true),
            ("RedrivePolicy", r#"{"deadLetterTargetArn":"arn:x","maxReceiveCount":0}"#, false, false),
            ("Policy", "{", false, false),
        ];
        for (name, value, is_fifo, is_valid) in cases {
            assert_eq!(set(name, value, is_fifo).is_ok(), is_valid, "{name} {value}");
        }
        let default = Attributes::default();
        assert_eq!(default.differs_from(&set("VisibilityTimeout", "030", false).unwrap()), None);
        let other = set("VisibilityTimeout", "31", false).unwrap();
        assert_eq!(default.differs_from(&other).as_deref(), Some("VisibilityTimeout"));
    }
}
