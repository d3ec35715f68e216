//! Topics and subscriptions as stored, and the ARNs that name them.

use super::refusal::{invalid, no_subscription, no_topic};
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value};

/// `arn:aws:sns:region:account:name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicArn {
    pub(super) region: String,
    pub(super) account: String,
    pub(super) name: String,
}

impl TopicArn {
    pub(super) fn parse(arn: &str) -> Option<Self> {
        let mut parts = arn.split(':');
        let head = [parts.next()?, parts.next()?, parts.next()?];
        if head != ["arn", "aws", "sns"] {
            return None;
        }
        let (region, account, name) = (parts.next()?, parts.next()?, parts.next()?);
        let complete = parts.next().is_none() && !name.is_empty();
        complete.then(|| Self {
            region: region.to_owned(),
            account: account.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The ARN of a request's member.
    pub(super) fn of(arn: Option<&str>, member: &str) -> Result<Self, ServiceError> {
        match arn {
            None | Some("") => Err(invalid(format!("{member} Reason: no value for required parameter"))),
            Some(arn) => Self::parse(arn).ok_or_else(|| {
                let parts = arn.split(':').count();
                if parts < 6 {
                    invalid(format!("{member} Reason: An ARN must have at least 6 elements, not {parts}"))
                } else {
                    invalid(member)
                }
            }),
        }
    }

    pub(super) fn text(&self) -> String {
        format!("arn:aws:sns:{}:{}:{}", self.region, self.account, self.name)
    }
}

/// A topic.
pub(super) struct Topic {
    pub(super) id: i64,
    pub(super) arn: TopicArn,
    pub(super) attributes: Map<String, Value>,
    pub(super) tags: Map<String, Value>,
}

impl Topic {
    pub(super) fn is_fifo(&self) -> bool {
        self.arn.name.ends_with(".fifo")
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).and_then(Value::as_str)
    }
}

/// A subscription.
pub(super) struct Subscription {
    pub(super) id: i64,
    pub(super) topic_id: i64,
    pub(super) arn: String,
    pub(super) owner: String,
    pub(super) protocol: String,
    pub(super) endpoint: String,
    pub(super) attributes: Map<String, Value>,
    pub(super) confirmed: bool,
}

impl Subscription {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).and_then(Value::as_str)
    }

    pub(super) fn topic_arn(&self) -> &str {
        self.arn.rsplit_once(':').map_or("", |(topic, _)| topic)
    }

    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            topic_id: row.get(1)?,
            arn: row.get(2)?,
            owner: row.get(3)?,
            protocol: row.get(4)?,
            endpoint: row.get(5)?,
            attributes: map_of(&row.get::<_, String>(6)?),
            confirmed: row.get(7)?,
        })
    }
}

/// The columns [`Subscription::from_row`] reads.
pub(super) const SUBSCRIPTION_COLUMNS: &str =
    "id, topic_id, arn, owner, protocol, endpoint, attributes, confirmed";

pub(super) fn find_topic(connection: &Connection, arn: &TopicArn) -> Result<Topic, ServiceError> {
    let sql = "SELECT id, attributes, tags FROM topics WHERE account = ?1 AND region = ?2 AND name = ?3";
    let read = |row: &Row<'_>| {
        Ok(Topic {
            id: row.get(0)?,
            arn: arn.clone(),
            attributes: map_of(&row.get::<_, String>(1)?),
            tags: map_of(&row.get::<_, String>(2)?),
        })
    };
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row(params![arn.account, arn.region, arn.name], read).optional()?;
    found.ok_or_else(no_topic)
}

pub(super) fn find_subscription(connection: &Connection, arn: &str) -> Result<Subscription, ServiceError> {
    let sql = format!("SELECT {SUBSCRIPTION_COLUMNS} FROM subscriptions WHERE arn = ?1");
    let found = connection.prepare_cached(&sql)?.query_row([arn], Subscription::from_row).optional()?;
    found.ok_or_else(no_subscription)
}

/// A JSON object as stored; what cannot be read is empty.
pub(super) fn map_of(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

/// A scalar as AWS's XML shows it.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
