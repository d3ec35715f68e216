//! Delivers what is owed to targets, in the background, until it is done or given up after AWS's 24 hours.
//!
//! The id of a row is the invocation id of the call it makes, and part of the name of an execution it starts, so a target
//! that has seen it before a crash does not act twice.

use super::envelope::input_for;
use super::text;
use crate::environment::Environment;
use crate::storage::Database;
use crate::target_call::{self, split_arn};
use crate::wire::{CallContext, ServiceError};
use rusqlite::params;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

const IN_FLIGHT_MAX: usize = 64;
const IDLE: Duration = Duration::from_secs(60);
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// AWS's default: 185 attempts in 24 hours.
const ATTEMPTS_MAX: i64 = 185;
const RETRY_DELAY_MAX_MS: i64 = 480_000;

/// See the module.
pub(super) struct Deliverer {
    courier: Arc<Courier>,
    arrived: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Courier {
    environment: Environment,
    database: Database,
}

struct Owed {
    id: i64,
    attempts: i64,
    rule_arn: String,
    target: Value,
    event: Value,
}

impl Deliverer {
    pub(super) fn new(environment: Environment, database: Database, arrived: Arc<Notify>) -> Self {
        Self { courier: Arc::new(Courier { environment, database }), arrived, task: Mutex::default() }
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
                tracing::error!(%error, "EventBridge cannot read what it owes");
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
    fn due(&self, in_flight: &HashSet<i64>) -> Result<(Vec<Owed>, Duration), ServiceError> {
        let now_ms = self.environment.now().as_millisecond();
        let room = IN_FLIGHT_MAX.saturating_sub(in_flight.len());
        self.database.read(|connection| {
            let sql = "SELECT id, attempts, rule_arn, target, event FROM deliveries WHERE due <= ?1
                       ORDER BY due, id LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![now_ms, IN_FLIGHT_MAX as i64], |row| {
                let json = |text: String| serde_json::from_str::<Value>(&text).unwrap_or_default();
                Ok(Owed {
                    id: row.get(0)?,
                    attempts: row.get(1)?,
                    rule_arn: row.get(2)?,
                    target: json(row.get(3)?),
                    event: json(row.get(4)?),
                })
            })?;
            let owed: Vec<Owed> = rows.collect::<Result<_, _>>()?;
            let owed = owed.into_iter().filter(|owed| !in_flight.contains(&owed.id)).take(room).collect();
            let sql = "SELECT min(due) FROM deliveries WHERE due > ?1";
            let next: Option<i64> = connection.prepare_cached(sql)?.query_row([now_ms], |row| row.get(0))?;
            let wait = next.map_or(IDLE, |due| Duration::from_millis((due - now_ms).max(10).unsigned_abs()));
            Ok((owed, wait.min(IDLE)))
        })
    }

    async fn attempt(&self, owed: Owed) -> i64 {
        let outcome = self.deliver(&owed).await;
        while let Err(error) = self.record(&owed, &outcome).await {
            tracing::error!(%error, "EventBridge cannot record a delivery");
            tokio::time::sleep(ERROR_PAUSE).await;
        }
        owed.id
    }

    fn context(&self, owed: &Owed, arn: &str) -> Result<CallContext, ServiceError> {
        let (region, account, _) = split_arn(arn)?;
        let mut context = CallContext::service(account, region, "events.amazonaws.com");
        context.source_arn = Some(owed.rule_arn.clone());
        let event_id = text(&owed.event, "id").unwrap_or("");
        context.invocation_id = Some(format!("events-delivery-{event_id}-{}", owed.id));
        Ok(context)
    }

    async fn deliver(&self, owed: &Owed) -> Result<(), ServiceError> {
        let arn = text(&owed.target, "Arn").unwrap_or("");
        let context = self.context(owed, arn)?;
        let input = input_for(&owed.target, &owed.event, &owed.rule_arn);
        match arn.split(':').nth(2).unwrap_or("") {
            "sqs" => self.to_queue(owed, &context, arn, input).await,
            "sns" => target_call::publish(&self.environment, &context, arn, &input).await,
            "lambda" => target_call::invoke_function(&self.environment, &context, arn, input).await,
            "logs" => self.to_log_group(owed, &context, arn, input).await,
            "states" => {
                let start = self.environment.start_execution().ok_or_else(|| {
                    ServiceError::unavailable("No state machines are served by this process.")
                })?;
                let name = format!("{}-{}", text(&owed.event, "id").unwrap_or("event"), owed.id);
                start(context, arn.to_owned(), name, input).await
            }
            other => Err(ServiceError::client("ValidationException", format!("{other} is no target"))),
        }
    }

    async fn to_queue(
        &self,
        owed: &Owed,
        context: &CallContext,
        arn: &str,
        body: String,
    ) -> Result<(), ServiceError> {
        let mut message = json!({"MessageBody": body});
        if let Some(group) = owed.target.pointer("/SqsParameters/MessageGroupId") {
            message["MessageGroupId"] = group.clone();
            message["MessageDeduplicationId"] = json!(context.invocation_id);
        }
        target_call::send_message(&self.environment, context, arn, message).await
    }

    async fn to_log_group(
        &self,
        owed: &Owed,
        context: &CallContext,
        arn: &str,
        message: String,
    ) -> Result<(), ServiceError> {
        let logs = self.environment.logs().ok_or_else(|| ServiceError::unavailable("Logs are not open."))?;
        let group = arn.split(':').nth(6).unwrap_or("");
        let stream = text(&owed.event, "id").unwrap_or("events");
        let now_ms = self.environment.now().as_millisecond();
        logs.put(&context.account, &context.region, group, stream, vec![(now_ms, message)]).await
    }

    async fn record(&self, owed: &Owed, outcome: &Result<(), ServiceError>) -> Result<(), ServiceError> {
        let attempts = owed.attempts + 1;
        let may_pass = |error: &ServiceError| error.status.is_server_error() || error.status.as_u16() == 429;
        let retry = match outcome {
            Err(error) if may_pass(error) && attempts < ATTEMPTS_MAX => {
                Some((1_000 << attempts.min(9)).min(RETRY_DELAY_MAX_MS))
            }
            Ok(()) | Err(_) => None,
        };
        if let (Err(error), None) = (outcome, retry) {
            self.give_up(owed, error).await;
        }
        let (id, now_ms) = (owed.id, self.environment.now().as_millisecond());
        let write = self.database.write(move |connection| -> Result<(), ServiceError> {
            match retry {
                Some(delay) => {
                    let sql = "UPDATE deliveries SET attempts = ?2, due = ?3 WHERE id = ?1";
                    connection.prepare_cached(sql)?.execute(params![id, attempts, now_ms + delay])?;
                }
                None => {
                    connection.prepare_cached("DELETE FROM deliveries WHERE id = ?1")?.execute([id])?;
                }
            }
            Ok(())
        });
        write.await
    }

    async fn give_up(&self, owed: &Owed, error: &ServiceError) {
        let arn = text(&owed.target, "Arn").unwrap_or("");
        tracing::warn!(rule = owed.rule_arn, target = arn, %error, "EventBridge gives a delivery up");
        let Some(queue) = owed.target.pointer("/DeadLetterConfig/Arn").and_then(Value::as_str) else {
            return;
        };
        let Ok(context) = self.context(owed, queue) else { return };
        let message = json!({"MessageBody": owed.event.to_string()});
        if let Err(error) = target_call::send_message(&self.environment, &context, queue, message).await {
            tracing::error!(queue, %error, "EventBridge cannot reach the dead-letter queue; the event is lost");
        }
    }
}
