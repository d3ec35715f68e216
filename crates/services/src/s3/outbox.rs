//! Delivers what is owed of notifications, in the background. A row goes when its target has it, or is given up after
//! [`ATTEMPTS_MAX`] attempts, with a warning. EventBridge gets each event once; after a crash another target may be told
//! twice, as AWS says of its own.

use super::S3;
use crate::background::Background;
use crate::environment::Environment;
use crate::events::{Event, PlacedEvent};
use crate::storage::Database;
use crate::target_call::{invoke_function, publish, send_message};
use crate::wire::{CallContext, ServiceError};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The target of rows for the default bus; all others are ARNs.
pub(super) const EVENT_BRIDGE: &str = "events";

const ROWS_AT_ONCE: usize = 64;
const IDLE: Duration = Duration::from_secs(60);
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// With the growing pauses between them: about a day.
const ATTEMPTS_MAX: i64 = 185;
const PAUSE_MAX_MS: i64 = 480_000;

/// The task that delivers.
#[derive(Default)]
pub(super) struct Outbox {
    arrived: Arc<Notify>,
    background: Background,
}

/// Something that is owed.
#[derive(Debug)]
struct Owed {
    id: i64,
    bucket: String,
    account: String,
    region: String,
    target: String,
    detail_type: String,
    at_ms: i64,
    body: String,
    attempts: i64,
}

impl Owed {
    fn as_event(&self) -> Result<PlacedEvent, ServiceError> {
        let event = Event {
            source: "aws.s3".to_owned(),
            detail_type: self.detail_type.clone(),
            at_ms: self.at_ms,
            resources: vec![format!("arn:aws:s3:::{}", self.bucket)],
            detail: serde_json::from_str(&self.body).map_err(ServiceError::internal)?,
        };
        let position = u64::try_from(self.id).map_err(ServiceError::internal)?;
        Ok(PlacedEvent { account: self.account.clone(), region: self.region.clone(), position, event })
    }
}

impl Outbox {
    /// There may be something new to deliver.
    pub fn wake(&self) {
        self.arrived.notify_one();
    }

    pub fn start(&self, service: &S3) {
        let courier =
            Courier { environment: service.environment.clone(), database: service.database.clone() };
        self.background.start(courier.run(Arc::clone(&self.arrived)));
    }

    /// Ends the task; what it had in flight stays owed.
    pub async fn stop(&self) {
        self.background.stop().await;
    }
}

struct Courier {
    environment: Environment,
    database: Database,
}

impl Courier {
    async fn run(self, arrived: Arc<Notify>) {
        loop {
            let pause = match self.deliver_due().await {
                Ok(true) => Duration::ZERO,
                Ok(false) => self.until_next().unwrap_or(IDLE),
                Err(error) => {
                    tracing::error!(%error, "S3 cannot read or note what it owes");
                    ERROR_PAUSE
                }
            };
            tokio::select! {
                () = arrived.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One round, in the order of the changes. Whether there may be more that is due.
    async fn deliver_due(&self) -> Result<bool, ServiceError> {
        let now = self.environment.now().as_millisecond();
        let due = self.database.read(|connection| due(connection, now))?;
        let has_more = due.len() == ROWS_AT_ONCE;
        let (events, others): (Vec<Owed>, Vec<Owed>) =
            due.into_iter().partition(|owed| owed.target == EVENT_BRIDGE);
        self.put_events(&events).await?;
        let mut outcomes: Vec<(Owed, Result<(), ServiceError>)> =
            events.into_iter().map(|owed| (owed, Ok(()))).collect();
        for owed in others {
            let outcome = self.tell(&owed).await;
            outcomes.push((owed, outcome));
        }
        if outcomes.is_empty() {
            return Ok(false);
        }
        let note = move |connection: &Connection| -> Result<(), ServiceError> {
            outcomes.iter().try_for_each(|(owed, outcome)| note_outcome(connection, owed, outcome, now))
        };
        self.database.write(note).await?;
        Ok(has_more)
    }

    fn until_next(&self) -> Option<Duration> {
        let sql = "SELECT min(due) FROM outbox";
        let next: Option<i64> =
            self.database.read(|connection| connection.query_row(sql, [], |row| row.get(0))).ok()?;
        let wait = next? - self.environment.now().as_millisecond();
        Some(Duration::from_millis(u64::try_from(wait).unwrap_or_default().max(1)).min(IDLE))
    }

    /// Puts events on the default bus, all or none and each once: a page that came before a crash is known by its place.
    async fn put_events(&self, events: &[Owed]) -> Result<(), ServiceError> {
        let Some(sink) = self.environment.events() else {
            return Err(ServiceError::unavailable("EventBridge is not open."));
        };
        let placed: Result<Vec<PlacedEvent>, ServiceError> = events.iter().map(Owed::as_event).collect();
        sink.put_page("s3", placed?).await
    }

    /// Tells a queue, topic or function, which must let S3 in by a policy of its own.
    async fn tell(&self, owed: &Owed) -> Result<(), ServiceError> {
        let mut context = CallContext::service(&owed.account, &owed.region, "s3.amazonaws.com");
        context.source_arn = Some(format!("arn:aws:s3:::{}", owed.bucket));
        context.invocation_id = Some(format!("s3-notification-{}", owed.id));
        let (environment, arn) = (&self.environment, owed.target.as_str());
        match arn.split(':').nth(2) {
            Some("sqs") => {
                let message = json!({ "MessageBody": owed.body });
                send_message(environment, &context, arn, message).await
            }
            Some("sns") => publish(environment, &context, arn, &owed.body).await,
            Some("lambda") => invoke_function(environment, &context, arn, owed.body.clone()).await,
            _ => Err(ServiceError::client("InvalidArgument", "The ARN is not well formed")),
        }
    }
}

fn due(connection: &Connection, now: i64) -> rusqlite::Result<Vec<Owed>> {
    let sql = "SELECT id, bucket, account, region, target, detail_type, at, body, attempts FROM outbox \
               WHERE due <= ?1 ORDER BY id LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let limit = i64::try_from(ROWS_AT_ONCE).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![now, limit], |row| {
        Ok(Owed {
            id: row.get(0)?,
            bucket: row.get(1)?,
            account: row.get(2)?,
            region: row.get(3)?,
            target: row.get(4)?,
            detail_type: row.get(5)?,
            at_ms: row.get(6)?,
            body: row.get(7)?,
            attempts: row.get(8)?,
        })
    })?;
    rows.collect()
}

fn note_outcome(
    connection: &Connection,
    owed: &Owed,
    outcome: &Result<(), ServiceError>,
    now: i64,
) -> Result<(), ServiceError> {
    let attempts = owed.attempts + 1;
    match outcome {
        Err(error) if attempts < ATTEMPTS_MAX => {
            let pause = (1000_i64 << attempts.min(16)).min(PAUSE_MAX_MS);
            tracing::warn!(target = owed.target, bucket = owed.bucket, %error, "a notification of S3 failed");
            let sql = "UPDATE outbox SET attempts = ?2, due = ?3 WHERE id = ?1";
            connection.prepare_cached(sql)?.execute(params![owed.id, attempts, now + pause])?;
        }
        _ => {
            if let Err(error) = outcome {
                tracing::warn!(target = owed.target, bucket = owed.bucket, %error, "a notification of S3 is given up");
            }
            connection.prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([owed.id])?;
        }
    }
    Ok(())
}

/// The message by which S3 tries out a new destination.
pub(super) fn test_message(bucket: &str, time: &str, request_id: &str) -> Value {
    json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": time, "Bucket": bucket,
            "RequestId": request_id, "HostId": request_id })
}
