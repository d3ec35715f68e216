//! Delivers what is owed, in the background, until it is done or given up.
//!
//! Invariant: the rows of `deliveries` are what is owed; this task keeps no list of its own beyond what is in flight.
//! A delivery of a FIFO topic waits for the one before it in its group. The id of a row is the invocation id of the
//! call it makes, so a queue or function that has seen it before a crash drops the second.

use super::envelope::Published;
use super::http_post::HttpPoster;
use super::mail;
use super::outcome::{Outcome, retry_delay_ms};
use super::row::{Subscription, TopicArn};
use crate::environment::Environment;
use crate::storage::Database;
use crate::target_call;
use crate::wire::{CallContext, ServiceError};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

const IN_FLIGHT_MAX: usize = 64;
/// Looked for what is due at least this often.
const IDLE: Duration = Duration::from_secs(60);
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Deliverer {
    courier: Arc<Courier>,
    arrived: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Courier {
    environment: Environment,
    database: Database,
    http: HttpPoster,
}

struct Owed {
    id: i64,
    attempts: i64,
    published: Published,
    subscription: Subscription,
}

impl Deliverer {
    pub(super) fn new(environment: Environment, database: Database, arrived: Arc<Notify>) -> Self {
        let courier = Arc::new(Courier { environment, database, http: HttpPoster::new() });
        Self { courier, arrived, task: Mutex::default() }
    }

    pub(super) fn start(&self) {
        let task = tokio::spawn(run(Arc::clone(&self.courier), Arc::clone(&self.arrived)));
        *self.task.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(task);
    }

    /// Ends the task; what it had in flight stays owed.
    pub(super) async fn stop(&self) {
        let task = self.task.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(task) = task {
            task.abort();
            // The only error is the cancellation itself.
            let _ = task.await;
        }
    }
}

async fn run(courier: Arc<Courier>, arrived: Arc<Notify>) {
    let mut in_flight = HashSet::new();
    let mut attempts = JoinSet::new();
    loop {
        let wait = match courier.due(&in_flight) {
            Ok((owed, next)) => {
                for owed in owed {
                    in_flight.insert(owed.id);
                    let courier = Arc::clone(&courier);
                    attempts.spawn(async move { courier.attempt(owed).await });
                }
                next
            }
            Err(error) => {
                tracing::error!(%error, "SNS cannot read what it owes");
                ERROR_PAUSE
            }
        };
        tokio::select! {
            Some(ended) = attempts.join_next(), if !attempts.is_empty() => {
                match ended {
                    Ok(id) => { in_flight.remove(&id); }
                    // A panic in an attempt: what was in flight is read again from the rows.
                    Err(_) if attempts.is_empty() => in_flight.clear(),
                    Err(_) => {}
                }
            }
            () = arrived.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl Courier {
    /// What is due and not in flight, and how long until something else may be.
    fn due(&self, in_flight: &HashSet<i64>) -> Result<(Vec<Owed>, Duration), ServiceError> {
        let now_ms = self.environment.now().as_millisecond();
        let room = IN_FLIGHT_MAX.saturating_sub(in_flight.len());
        self.database.read(|connection| {
            let found = select_due(connection, now_ms, in_flight.len() + room)?;
            let owed: Vec<Owed> =
                found.into_iter().filter(|owed| !in_flight.contains(&owed.id)).take(room).collect();
            let sql = "SELECT min(due) FROM deliveries WHERE due > ?1";
            let next: Option<i64> = connection.prepare_cached(sql)?.query_row([now_ms], |row| row.get(0))?;
            let wait = next.map_or(IDLE, |due| Duration::from_millis((due - now_ms).max(10).unsigned_abs()));
            Ok((owed, wait.min(IDLE)))
        })
    }

    async fn attempt(&self, owed: Owed) -> i64 {
        let id = owed.id;
        let outcome = self.deliver(&owed).await;
        while let Err(error) = self.record(&owed, &outcome).await {
            tracing::error!(%error, "SNS cannot record a delivery");
            tokio::time::sleep(ERROR_PAUSE).await;
        }
        id
    }

    async fn deliver(&self, owed: &Owed) -> Outcome {
        let subscription = &owed.subscription;
        let endpoint = self.environment.endpoint();
        let envelope = owed.published.envelope(&endpoint, subscription);
        match subscription.protocol.as_str() {
            "sqs" => self.to_queue(owed, &envelope).await,
            "lambda" => self.to_function(owed, &endpoint).await,
            "http" => self.http.post(&owed.published, subscription, &envelope).await,
            "email" | "email-json" => {
                mail::deliver(&self.environment, owed.id, &owed.published, subscription, &envelope).await
            }
            other => Outcome::Refused(format!("the protocol {other} is not known")),
        }
    }

    fn context(&self, owed: &Owed) -> CallContext {
        let topic_arn = &owed.published.topic_arn;
        let (account, region) =
            TopicArn::parse(topic_arn).map(|arn| (arn.account, arn.region)).unwrap_or_default();
        let mut context = CallContext::service(&account, &region, "sns.amazonaws.com");
        context.source_arn = Some(topic_arn.clone());
        context.invocation_id = Some(format!("sns-delivery-{}-{}", owed.published.message_id, owed.id));
        context
    }

    async fn to_queue(&self, owed: &Owed, envelope: &Value) -> Outcome {
        let raw = owed.subscription.attribute("RawMessageDelivery") == Some("true");
        let body = if raw { owed.published.text_for("sqs").to_owned() } else { envelope.to_string() };
        let mut message = json!({"MessageBody": body});
        if raw && !owed.published.attributes.is_empty() {
            message["MessageAttributes"] = owed.published.sqs_attributes();
        }
        self.send(owed, &owed.subscription.endpoint, message).await
    }

    async fn send(&self, owed: &Owed, queue_arn: &str, mut message: Value) -> Outcome {
        if queue_arn.ends_with(".fifo") {
            message["MessageGroupId"] = json!(owed.published.group_id);
            message["MessageDeduplicationId"] = json!(owed.published.deduplication_id);
        }
        let context = self.context(owed);
        Outcome::of_service(target_call::send_message(&self.environment, &context, queue_arn, message).await)
    }

    async fn to_function(&self, owed: &Owed, endpoint: &str) -> Outcome {
        let event = owed.published.lambda_event(endpoint, &owed.subscription).to_string();
        let (context, arn) = (self.context(owed), &owed.subscription.endpoint);
        Outcome::of_service(target_call::invoke_function(&self.environment, &context, arn, event).await)
    }

    async fn record(&self, owed: &Owed, outcome: &Outcome) -> Result<(), ServiceError> {
        let attempts = owed.attempts + 1;
        let retry = match outcome {
            Outcome::Failed(_) => retry_delay_ms(&owed.subscription.protocol, attempts),
            Outcome::Delivered | Outcome::Refused(_) => None,
        };
        if let (Outcome::Failed(reason) | Outcome::Refused(reason), None) = (outcome, retry) {
            self.give_up(owed, reason).await;
        }
        let (id, now_ms) = (owed.id, self.environment.now().as_millisecond());
        self.database
            .write(move |connection| match retry {
                Some(delay) => {
                    let sql = "UPDATE deliveries SET attempts = ?2, due = ?3 WHERE id = ?1";
                    connection.prepare_cached(sql)?.execute(params![id, attempts, now_ms + delay])?;
                    Ok(())
                }
                None => forget(connection, id),
            })
            .await
    }

    async fn give_up(&self, owed: &Owed, reason: &str) {
        let subscription = &owed.subscription;
        tracing::warn!(
            subscription = subscription.arn,
            endpoint = subscription.endpoint,
            reason,
            "SNS gives a delivery up"
        );
        let Some(policy) = subscription.attribute("RedrivePolicy") else { return };
        let policy: Value = serde_json::from_str(policy).unwrap_or_default();
        let Some(queue_arn) = policy.get("deadLetterTargetArn").and_then(Value::as_str) else { return };
        let envelope = owed.published.envelope(&self.environment.endpoint(), subscription);
        let outcome = self.send(owed, queue_arn, json!({"MessageBody": envelope.to_string()})).await;
        if let Outcome::Failed(reason) | Outcome::Refused(reason) = outcome {
            tracing::error!(queue_arn, reason, "SNS cannot reach the dead-letter queue; the message is lost");
        }
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
        found.push(Owed { id: row.get(8)?, attempts: row.get(9)?, published, subscription });
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
