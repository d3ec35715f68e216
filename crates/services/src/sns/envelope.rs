//! A published message as stored, and the texts that the protocols make of it.
//!
//! The members of the envelope, their names and their order are AWS's. The signature is a placeholder: nothing here
//! holds a key that a verifier would trust.

use super::row::Subscription;
use crate::wire::ServiceError;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

const SIGNATURE: &str = "U2lnbmF0dXJlcyBvZiBsb2NhbCB0b3BpY3MgYXJlIG5vdCByZWFs";

/// What was published.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Published {
    pub(super) kind: String,
    pub(super) message_id: String,
    pub(super) topic_arn: String,
    pub(super) subject: Option<String>,
    /// By protocol; `default` is always there.
    pub(super) messages: Map<String, Value>,
    pub(super) attributes: Map<String, Value>,
    pub(super) at: String,
    pub(super) sequence_number: Option<String>,
    pub(super) group_id: Option<String>,
    pub(super) deduplication_id: Option<String>,
    pub(super) token: Option<String>,
    pub(super) subscribe_url: Option<String>,
}

/// AWS's timestamps in messages: milliseconds, always three digits.
pub(super) fn iso(now_ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
    format!("{at:.3}")
}

impl Published {
    /// The request to an HTTP endpoint to confirm its subscription.
    pub(super) fn confirmation(topic_arn: &str, token: &str, endpoint: &str, at: String) -> Self {
        let text = format!(
            "You have chosen to subscribe to the topic {topic_arn}.\n\
             To confirm the subscription, visit the SubscribeURL included in this message."
        );
        let link = format!("{endpoint}/?Action=ConfirmSubscription&TopicArn={topic_arn}&Token={token}");
        Self {
            kind: "SubscriptionConfirmation".to_owned(),
            message_id: uuid::Uuid::new_v4().to_string(),
            topic_arn: topic_arn.to_owned(),
            subject: None,
            messages: Map::from_iter([("default".to_owned(), Value::String(text))]),
            attributes: Map::new(),
            at,
            sequence_number: None,
            group_id: None,
            deduplication_id: None,
            token: Some(token.to_owned()),
            subscribe_url: Some(link),
        }
    }

    /// Stores the message; the id is what its deliveries refer to.
    pub(super) fn store(&self, connection: &Connection, topic_id: i64) -> Result<i64, ServiceError> {
        let published = serde_json::to_string(self).map_err(ServiceError::internal)?;
        let sql = "INSERT INTO messages(topic_id, published) VALUES (?1, ?2)";
        connection.prepare_cached(sql)?.execute(params![topic_id, published])?;
        Ok(connection.last_insert_rowid())
    }

    /// The text for a protocol.
    pub(super) fn text_for(&self, protocol: &str) -> &str {
        self.messages.get(protocol).or(self.messages.get("default")).and_then(Value::as_str).unwrap_or("")
    }

    fn unsubscribe_url(&self, endpoint: &str, subscription: &Subscription) -> String {
        format!("{endpoint}/?Action=Unsubscribe&SubscriptionArn={}", subscription.arn)
    }

    /// The JSON envelope of queues, HTTP endpoints and `email-json`.
    pub(super) fn envelope(&self, endpoint: &str, subscription: &Subscription) -> Value {
        let mut envelope = json!({"Type": self.kind, "MessageId": self.message_id});
        let mut put = |name: &str, value: Value| envelope[name] = value;
        if let Some(token) = &self.token {
            put("Token", json!(token));
        }
        if let Some(number) = &self.sequence_number {
            put("SequenceNumber", json!(number));
        }
        put("TopicArn", json!(self.topic_arn));
        if let Some(subject) = &self.subject {
            put("Subject", json!(subject));
        }
        put("Message", json!(self.text_for(&subscription.protocol)));
        if let Some(link) = &self.subscribe_url {
            put("SubscribeURL", json!(link));
        }
        put("Timestamp", json!(self.at));
        if self.sequence_number.is_none() {
            put("SignatureVersion", json!("1"));
            put("Signature", json!(SIGNATURE));
            put("SigningCertURL", json!(format!("{endpoint}/SimpleNotificationService-local.pem")));
        }
        if self.subscribe_url.is_none() {
            put("UnsubscribeURL", json!(self.unsubscribe_url(endpoint, subscription)));
        }
        if !self.attributes.is_empty() {
            put("MessageAttributes", Value::Object(self.attributes.clone()));
        }
        envelope
    }

    /// The event a function gets.
    pub(super) fn lambda_event(&self, endpoint: &str, subscription: &Subscription) -> Value {
        let message = json!({
            "SignatureVersion": "1", "Timestamp": self.at, "Signature": SIGNATURE,
            "SigningCertUrl": format!("{endpoint}/SimpleNotificationService-local.pem"),
            "MessageId": self.message_id, "Message": self.text_for("lambda"),
            "MessageAttributes": self.attributes, "Type": self.kind,
            "UnsubscribeUrl": self.unsubscribe_url(endpoint, subscription),
            "TopicArn": self.topic_arn, "Subject": self.subject,
        });
        json!({"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0",
                            "EventSubscriptionArn": subscription.arn, "Sns": message}]})
    }

    /// Attributes as SQS has them, for raw delivery.
    pub(super) fn sqs_attributes(&self) -> Value {
        let one = |attribute: &Value| {
            let kind = attribute["Type"].as_str().unwrap_or("String");
            // An array has no counterpart among SQS's types; it travels as its text.
            let kind = if kind == "String.Array" { "String" } else { kind };
            let member = if kind.starts_with("Binary") { "BinaryValue" } else { "StringValue" };
            json!({"DataType": kind, member: attribute["Value"]})
        };
        Value::Object(self.attributes.iter().map(|(name, value)| (name.clone(), one(value))).collect())
    }
}
