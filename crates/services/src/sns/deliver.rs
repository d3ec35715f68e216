//! SNS's deliveries: to queues, functions, HTTP endpoints and mailboxes.
//!
//! A delivery of a FIFO topic waits for the one before it in its group.

use super::envelope::Published;
use super::http_post::HttpPoster;
use super::mail;
use super::retry::retry_delay_ms;
use super::row::{Subscription, TopicArn};
use crate::delivery::{self, Outcome};
use crate::environment::Environment;
use crate::service_file::ServiceFile;
use crate::storage::Database;
use crate::target_call;
use crate::wire::{CallContext, ServiceError};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

/// See the module.
pub(super) struct Courier {
    file: ServiceFile,
    http: HttpPoster,
}

/// A message for a subscription.
pub(super) struct Parcel {
    published: Published,
    subscription: Subscription,
}

type Owed = delivery::Owed<Parcel>;

impl Courier {
    pub(super) fn new(file: ServiceFile) -> Self {
        Self { file, http: HttpPoster::new() }
    }

    fn context(&self, owed: &Owed) -> CallContext {
        let topic_arn = &owed.parcel.published.topic_arn;
        let (account, region) =
            TopicArn::parse(topic_arn).map(|arn| (arn.account, arn.region)).unwrap_or_default();
        let mut context = CallContext::service(&account, &region, "sns.amazonaws.com");
        context.source_arn = Some(topic_arn.clone());
        context.invocation_id =
            Some(format!("sns-delivery-{}-{}", owed.parcel.published.message_id, owed.id));
        context
    }

    async fn to_queue(&self, owed: &Owed, envelope: &Value) -> Outcome {
        let raw = owed.parcel.subscription.attribute("RawMessageDelivery") == Some("true");
        let body = if raw { owed.parcel.published.text_for("sqs").to_owned() } else { envelope.to_string() };
        let mut message = json!({"MessageBody": body});
        if raw && !owed.parcel.published.attributes.is_empty() {
            message["MessageAttributes"] = owed.parcel.published.sqs_attributes();
        }
        self.send(owed, &owed.parcel.subscription.endpoint, message).await
    }

    async fn send(&self, owed: &Owed, queue_arn: &str, mut message: Value) -> Outcome {
        if queue_arn.ends_with(".fifo") {
            message["MessageGroupId"] = json!(owed.parcel.published.group_id);
            message["MessageDeduplicationId"] = json!(owed.parcel.published.deduplication_id);
        }
        let context = self.context(owed);
        Outcome::of_service(
            target_call::send_message(&self.file.environment, &context, queue_arn, message).await,
        )
    }

    async fn to_function(&self, owed: &Owed, endpoint: &str) -> Outcome {
        let event = owed.parcel.published.lambda_event(endpoint, &owed.parcel.subscription).to_string();
        let (context, arn) = (self.context(owed), &owed.parcel.subscription.endpoint);
        Outcome::of_service(target_call::invoke_function(&self.file.environment, &context, arn, event).await)
    }
}

impl delivery::Courier for Courier {
    type Parcel = Parcel;
    const NAME: &'static str = "SNS";

    fn environment(&self) -> &Environment {
        &self.file.environment
    }

    fn database(&self) -> &Database {
        &self.file.database
    }

    fn due(&self, connection: &Connection, now_ms: i64, limit: usize) -> Result<Vec<Owed>, ServiceError> {
        select_due(connection, now_ms, limit)
    }

    async fn deliver(&self, owed: &Owed) -> Outcome {
        let subscription = &owed.parcel.subscription;
        let endpoint = self.file.environment.endpoint();
        let envelope = owed.parcel.published.envelope(&endpoint, subscription);
        match subscription.protocol.as_str() {
            "sqs" => self.to_queue(owed, &envelope).await,
            "lambda" => self.to_function(owed, &endpoint).await,
            "http" => self.http.post(&owed.parcel.published, subscription, &envelope).await,
            "email" | "email-json" => {
                mail::deliver(
                    &self.file.environment,
                    owed.id,
                    &owed.parcel.published,
                    subscription,
                    &envelope,
                )
                .await
            }
            other => Outcome::Refused(format!("the protocol {other} is not known")),
        }
    }

    fn retry_delay_ms(&self, owed: &Owed, attempts: i64) -> Option<i64> {
        retry_delay_ms(&owed.parcel.subscription.protocol, attempts)
    }

    async fn give_up(&self, owed: &Owed, reason: &str) {
        let subscription = &owed.parcel.subscription;
        tracing::warn!(
            subscription = subscription.arn,
            endpoint = subscription.endpoint,
            reason,
            "SNS gives a delivery up"
        );
        let Some(policy) = subscription.attribute("RedrivePolicy") else { return };
        let policy: Value = serde_json::from_str(policy).unwrap_or_default();
        let Some(queue_arn) = policy.get("deadLetterTargetArn").and_then(Value::as_str) else { return };
        let envelope = owed.parcel.published.envelope(&self.file.environment.endpoint(), subscription);
        let outcome = self.send(owed, queue_arn, json!({"MessageBody": envelope.to_string()})).await;
        if let Outcome::Failed(reason) | Outcome::Refused(reason) = outcome {
            tracing::error!(queue_arn, reason, "SNS cannot reach the dead-letter queue; the message is lost");
        }
    }

    fn forget(connection: &Connection, id: i64) -> Result<(), ServiceError> {
        forget(connection, id)
    }
}

fn select_due(connection: &Connection, now_ms: i64, limit: usize) -> Result<Vec<Owed>, ServiceError> {
    let sql = "SELECT s.id, s.topic_id, s.arn, s.owner, s.protocol, s.endpoint, s.attributes, s.confirmed,
                      d.id, d.attempts, m.published
               FROM deliveries d JOIN messages m ON m.id = d.message_id
                                 JOIN subscriptions s ON s.id = d.subscription_id
               WHERE d.due <= ?1 AND (d.fifo_group IS NULL OR NOT EXISTS (
                   SELECT 1 FROM deliveries e WHERE e.subscription_id = d.subscription_id
                   AND e.fifo_group = d.fifo_group AND e.id < d.id))
               ORDER BY d.due, d.id LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![now_ms, limit as i64])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let subscription = Subscription::from_row(row)?;
        let published = row.get_ref(10)?.as_str().map_err(rusqlite::Error::from)?;
        let published = serde_json::from_str(published).map_err(ServiceError::internal)?;
        let parcel = Parcel { published, subscription };
        found.push(Owed { id: row.get(8)?, attempts: row.get(9)?, parcel });
    }
    Ok(found)
}

fn forget(connection: &Connection, id: i64) -> Result<(), ServiceError> {
    let sql = "DELETE FROM deliveries WHERE id = ?1 RETURNING message_id";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    // Unsubscribing may have deleted it already.
    let Some(row) = rows.next()? else { return Ok(()) };
    let message_id: i64 = row.get(0)?;
    drop(rows);
    let sql =
        "DELETE FROM messages WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message_id = ?1)";
    connection.prepare_cached(sql)?.execute([message_id])?;
    Ok(())
}
