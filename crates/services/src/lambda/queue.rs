//! Asynchronous invocations: durable events, each run until it succeeds or has failed three times.
//!
//! An event is on disk before the caller hears 202, and stays until its last run ended: a server killed in between
//! runs it again. AWS waits one minute before the first retry and two before the second, and so do we.

use super::Inner;
use super::function::FunctionKey;
use super::invocation::{self, Order};
use crate::storage::{recall, remember};
use crate::wire::ServiceError;
use bytes::Bytes;
use rusqlite::params;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Runs under way at a time.
const RUNNING_MAX: usize = 32;
const RETRIES_MAX: u32 = 2;
const RETRY_AFTER_MS: i64 = 60_000;
/// AWS keeps an event for at most six hours when the function is throttled.
const THROTTLED_AFTER_MS: i64 = 5_000;
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(60);

/// The state of the queue that is not on disk.
#[derive(Default)]
pub(super) struct Queue {
    changed: Notify,
    running: Mutex<HashSet<i64>>,
    stopped: AtomicBool,
}

impl Queue {
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashSet<i64>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event beside its payload.
#[derive(Serialize, Deserialize)]
struct Document {
    name: String,
    qualifier: Option<String>,
    client_context: Option<String>,
    request_id: String,
}

struct Event {
    id: i64,
    attempt: u32,
    order: Order,
}

/// Writes an event to disk; the same invocation id is written once.
pub(super) async fn enqueue(inner: &Arc<Inner>, order: Order) -> Result<(), ServiceError> {
    let now = inner.environment.now();
    let document = Document {
        name: order.key.name.clone(),
        qualifier: order.qualifier.clone(),
        client_context: order.client_context.clone(),
        request_id: order.request_id.clone(),
    };
    let document = serde_json::to_string(&document).map_err(ServiceError::internal)?;
    inner
        .catalog
        .database
        .write(move |connection| -> Result<(), ServiceError> {
            let id = order.invocation_id.as_ref().map(|id| format!("{} event {id}", order.key.arn()));
            if recall(connection, id.as_deref(), now)?.is_some() {
                return Ok(());
            }
            connection.execute(
                "INSERT INTO events(account, region, document, payload, attempt, due_ms) VALUES (?1, ?2, ?3, ?4, 0, ?5)",
                params![order.key.account, order.key.region, document, order.payload.as_ref(), now.as_millisecond()],
            )?;
            Ok(remember(connection, id.as_deref(), now, b"")?)
        })
        .await?;
    inner.queue.changed.notify_one();
    Ok(())
}

/// Starts to run what is due, for as long as the service lives.
pub(super) fn start(inner: &Arc<Inner>) {
    let weak = Arc::downgrade(inner);
    tokio::spawn(async move {
        while let Some(inner) = weak.upgrade().filter(|inner| !inner.queue.stopped.load(Ordering::Relaxed)) {
            let wait = run_due(&inner).unwrap_or_else(|error| {
                tracing::error!(%error, "asynchronous invocations could not be read");
                LOOK_AGAIN_MAX
            });
            let _ = tokio::time::timeout(wait, inner.queue.changed.notified()).await;
        }
    });
}

/// Starts what is due and says how long nothing else will be.
fn run_due(inner: &Arc<Inner>) -> Result<Duration, ServiceError> {
    let now = inner.environment.now().as_millisecond();
    let events =
        inner.catalog.database.read(|connection| read(connection, now)).map_err(ServiceError::internal)?;
    for event in events {
        {
            let mut running = inner.queue.running();
            if running.len() >= RUNNING_MAX {
                break;
            }
            if !running.insert(event.id) {
                continue;
            }
        }
        let inner = Arc::clone(inner);
        tokio::spawn(async move {
            let id = event.id;
            let settled = settle(&inner, event).await;
            if let Err(error) = settled {
                tracing::error!(%error, "an asynchronous invocation could not be settled");
            }
            inner.queue.running().remove(&id);
            inner.queue.changed.notify_one();
        });
    }
    let next: Option<i64> = inner
        .catalog
        .database
        .read(|connection| {
            connection.query_row("SELECT min(due_ms) FROM events WHERE due_ms > ?1", [now], |row| row.get(0))
        })
        .map_err(ServiceError::internal)?;
    let wait =
        next.map_or(LOOK_AGAIN_MAX, |next| Duration::from_millis(u64::try_from(next - now).unwrap_or(0)));
    Ok(wait.min(LOOK_AGAIN_MAX))
}

fn read(connection: &rusqlite::Connection, now: i64) -> rusqlite::Result<Vec<Event>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, account, region, document, payload, attempt FROM events WHERE due_ms <= ?1 ORDER BY due_ms LIMIT ?2",
    )?;
    let rows = statement.query_map(params![now, 2 * RUNNING_MAX], |row| {
        let document: String = row.get(3)?;
        let payload: Vec<u8> = row.get(4)?;
        let document: Document = serde_json::from_str(&document).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, error.into())
        })?;
        Ok(Event {
            id: row.get(0)?,
            attempt: row.get(5)?,
            order: Order {
                key: FunctionKey { account: row.get(1)?, region: row.get(2)?, name: document.name },
                qualifier: document.qualifier,
                payload: Bytes::from(payload),
                client_context: document.client_context,
                request_id: document.request_id,
                invocation_id: None,
            },
        })
    })?;
    rows.collect()
}

/// Runs an event once and decides what becomes of it.
async fn settle(inner: &Arc<Inner>, event: Event) -> Result<(), ServiceError> {
    let result = invocation::run(inner, event.order).await;
    if inner.queue.stopped.load(Ordering::Relaxed) && result.is_err() {
        return Ok(());
    }
    // Nobody waits for this run, so what it logged is on disk before it counts as done.
    inner.pools.flush_logs().await;
    let now = inner.environment.now().as_millisecond();
    let is_gone = matches!(&result, Err(error) if error.status == 404);
    let retry = match &result {
        Ok(answer) if !answer.is_error => None,
        Err(error) if error.status == 429 => Some((event.attempt, now + THROTTLED_AFTER_MS)),
        _ if is_gone || event.attempt >= RETRIES_MAX => None,
        _ => Some((event.attempt + 1, now + RETRY_AFTER_MS * i64::from(event.attempt + 1))),
    };
    let id = event.id;
    inner
        .catalog
        .database
        .write(move |connection| -> Result<(), ServiceError> {
            match retry {
                Some((attempt, due)) => connection.execute(
                    "UPDATE events SET attempt = ?2, due_ms = ?3 WHERE id = ?1",
                    params![id, attempt, due],
                )?,
                None => connection.execute("DELETE FROM events WHERE id = ?1", [id])?,
            };
            Ok(())
        })
        .await
}
