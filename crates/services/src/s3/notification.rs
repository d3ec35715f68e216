//! A bucket's notification configuration: who is told what. It is kept as it came and read again at each change.
//!
//! EventBridge, queues, topics and functions; filters by the key's prefix and suffix.

use super::configuration::stored;
use super::errors::{invalid_argument, malformed_xml};
use super::input::Element;
use crate::wire::ServiceError;
use rusqlite::Connection;

/// The event types that happen here.
const EVENTS: [&str; 9] = [
    "ObjectCreated:Put",
    "ObjectCreated:Post",
    "ObjectCreated:Copy",
    "ObjectCreated:CompleteMultipartUpload",
    "ObjectRemoved:Delete",
    "ObjectRemoved:DeleteMarkerCreated",
    "ObjectTagging:Put",
    "ObjectTagging:Delete",
    "TestEvent",
];

/// Names of the elements of a destination, its ARN, and the service that the ARN must name.
const KINDS: [(&str, &str, &str); 3] = [
    ("QueueConfiguration", "Queue", "sqs"),
    ("TopicConfiguration", "Topic", "sns"),
    ("CloudFunctionConfiguration", "CloudFunction", "lambda"),
];

/// Who is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Configuration {
    pub has_event_bridge: bool,
    pub destinations: Vec<Destination>,
}

/// A queue, topic or function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    pub id: String,
    pub arn: String,
    events: Vec<String>,
    prefix: String,
    suffix: String,
}

impl Configuration {
    /// Reads a document; AWS's words for what is wrong with it.
    pub fn parse(document: &Element) -> Result<Self, ServiceError> {
        let mut configuration = Self::default();
        for child in &document.children {
            if child.name == "EventBridgeConfiguration" {
                configuration.has_event_bridge = true;
                continue;
            }
            let kind =
                KINDS.iter().find(|(element, _, _)| *element == child.name).ok_or_else(malformed_xml)?;
            configuration.destinations.push(destination(child, kind.1, kind.2)?);
        }
        Ok(configuration)
    }

    /// That of a bucket, if it has one.
    pub fn of_bucket(connection: &Connection, bucket: i64) -> Result<Option<Self>, ServiceError> {
        let Some(document) = stored(connection, bucket, "notification")? else { return Ok(None) };
        Self::parse(&Element::parse(document.as_bytes(), "NotificationConfiguration")?).map(Some)
    }

    /// The destinations that hear of an event.
    pub fn interested(&self, event: &str, key: &str) -> impl Iterator<Item = &Destination> {
        self.destinations.iter().filter(move |destination| destination.hears(event, key))
    }
}

impl Destination {
    fn hears(&self, event: &str, key: &str) -> bool {
        let is_listed = self.events.iter().any(|listed| match listed.strip_suffix('*') {
            Some(stem) => event.starts_with(stem),
            None => listed == event,
        });
        is_listed && key.starts_with(&self.prefix) && key.ends_with(&self.suffix)
    }
}

fn destination(element: &Element, arn_name: &str, service: &str) -> Result<Destination, ServiceError> {
    let arn = element.text_of(arn_name).unwrap_or_default().trim().to_owned();
    let is_arn = arn.split(':').nth(2) == Some(service) && arn.split(':').count() >= 6;
    if !is_arn {
        return Err(invalid_argument("The ARN is not well formed", arn_name, &arn));
    }
    let mut events = Vec::new();
    for event in element.all("Event") {
        let name = event.text.trim();
        let bare = name.strip_prefix("s3:").unwrap_or_default();
        let stem = bare.strip_suffix('*').unwrap_or(bare);
        let is_known = match bare == stem {
            true => EVENTS.contains(&bare),
            false => stem.ends_with(':') && EVENTS.iter().any(|known| known.starts_with(stem)),
        };
        if !is_known {
            return Err(invalid_argument("The event is not supported for notifications", "Event", name));
        }
        events.push(bare.to_owned());
    }
    if events.is_empty() {
        return Err(malformed_xml());
    }
    let (mut prefix, mut suffix) = (String::new(), String::new());
    let rules = element.child("Filter").and_then(|filter| filter.child("S3Key"));
    for rule in rules.into_iter().flat_map(|rules| rules.all("FilterRule")) {
        let value = rule.text_of("Value").unwrap_or_default().to_owned();
        match rule.text_of("Name").unwrap_or_default().to_ascii_lowercase().as_str() {
            "prefix" => prefix = value,
            "suffix" => suffix = value,
            other => {
                let message = "filter rule name must be either prefix or suffix";
                return Err(invalid_argument(message, "FilterRule.Name", other));
            }
        }
    }
    let id = element.text_of("Id").unwrap_or_default().to_owned();
    Ok(Destination { id, arn, events, prefix, suffix })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Configuration, ServiceError> {
        let document = format!("<NotificationConfiguration>{text}</NotificationConfiguration>");
        Configuration::parse(&Element::parse(document.as_bytes(), "NotificationConfiguration").unwrap())
    }

    #[test]
    fn a_destination_hears_of_the_events_and_keys_it_asks_for() {
        let configuration = parsed(
            "<EventBridgeConfiguration/><QueueConfiguration><Id>q</Id><Queue>arn:aws:sqs:us-east-1:1:q</Queue>\
             <Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:Delete</Event><Filter><S3Key><FilterRule>\
             <Name>prefix</Name><Value>in/</Value></FilterRule><FilterRule><Name>Suffix</Name><Value>.log</Value>\
             </FilterRule></S3Key></Filter></QueueConfiguration>",
        )
        .unwrap();
        assert!(configuration.has_event_bridge);
        let cases = [
            ("ObjectCreated:Put", "in/a.log", true),
            ("ObjectCreated:Copy", "in/a.log", true),
            ("ObjectRemoved:Delete", "in/a.log", true),
            ("ObjectRemoved:DeleteMarkerCreated", "in/a.log", false),
            ("ObjectCreated:Put", "a.log", false),
            ("ObjectCreated:Put", "in/a.txt", false),
        ];
        for (event, key, expected) in cases {
            assert_eq!(configuration.interested(event, key).count() == 1, expected, "{event} {key}");
        }
    }

    #[test]
    fn what_would_never_be_told_is_refused() {
        let of = |arn: &str, event: &str| {
            let (open, close) = ("<QueueConfiguration>", "</QueueConfiguration>");
            parsed(&format!("{open}<Queue>{arn}</Queue><Event>{event}</Event>{close}")).is_err()
        };
        assert!(!of("arn:aws:sqs:us-east-1:1:q", "s3:ObjectTagging:*"));
        assert!(of("arn:aws:sns:us-east-1:1:q", "s3:ObjectCreated:Put"));
        assert!(of("arn:aws:sqs:us-east-1:1:q", "s3:ObjectRestore:Post"));
        assert!(of("arn:aws:sqs:us-east-1:1:q", "s3:Object*"));
        assert!(of("arn:aws:sqs:us-east-1:1:q", "ObjectCreated:Put"));
    }
}
