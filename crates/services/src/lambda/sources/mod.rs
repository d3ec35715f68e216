//! Event source mappings: queues of SQS that are polled for functions.
//!
//! Invariant: a message is deleted only after the function has had it and did not say that it failed, so each is handled at
//! least once; what failed becomes visible again when the queue says so, and the queue's redrive policy decides how often.
//! A mapping polls in the name of the function's role. Other sources than SQS are refused.

mod api;
mod batch;
mod poll;

pub(super) use api::{create, delete, get, list, update};

use super::Inner;
use super::function::FunctionKey;
use crate::wire::ServiceError;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// What is kept of a mapping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Mapping {
    pub uuid: String,
    pub key: FunctionKey,
    pub qualifier: Option<String>,
    pub queue_arn: String,
    pub enabled: bool,
    pub batch_size: usize,
    pub window_seconds: u64,
    pub reports_failures: bool,
    /// Patterns, as they were given.
    pub filters: Vec<String>,
    pub concurrency_max: Option<usize>,
    pub modified_ms: i64,
}

impl Mapping {
    pub fn arn(&self) -> String {
        let FunctionKey { account, region, .. } = &self.key;
        format!("arn:aws:lambda:{region}:{account}:event-source-mapping:{}", self.uuid)
    }

    pub fn function_arn(&self) -> String {
        let qualifier = self.qualifier.as_ref().map(|qualifier| format!(":{qualifier}")).unwrap_or_default();
        format!("{}{qualifier}", self.key.arn())
    }

    pub fn is_fifo(&self) -> bool {
        self.queue_arn.ends_with(".fifo")
    }

    /// As AWS shows it, in a state that the caller knows.
    fn shown(&self, state: &str) -> Value {
        let types: &[&str] = if self.reports_failures { &["ReportBatchItemFailures"] } else { &[] };
        let mut shown = json!({"UUID": self.uuid, "BatchSize": self.batch_size,
            "MaximumBatchingWindowInSeconds": self.window_seconds, "EventSourceArn": self.queue_arn,
            "FunctionArn": self.function_arn(), "LastModified": self.modified_ms as f64 / 1000.0, "State": state,
            "StateTransitionReason": "USER_INITIATED", "FunctionResponseTypes": types,
            "EventSourceMappingArn": self.arn()});
        if !self.filters.is_empty() {
            let filters: Vec<Value> =
                self.filters.iter().map(|pattern| json!({"Pattern": pattern})).collect();
            shown["FilterCriteria"] = json!({"Filters": filters});
        }
        if let Some(most) = self.concurrency_max {
            shown["ScalingConfig"] = json!({"MaximumConcurrency": most});
        }
        shown
    }

    fn settled(&self) -> Value {
        self.shown(if self.enabled { "Enabled" } else { "Disabled" })
    }
}

/// The pollers that run. What each polls for is told through its channel; nothing ends it.
#[derive(Default)]
pub(super) struct Sources {
    pollers: Mutex<HashMap<String, watch::Sender<Option<Arc<Mapping>>>>>,
    /// Mappings are changed one at a time.
    changing: tokio::sync::Mutex<()>,
}

impl Sources {
    /// Tells the poller of a mapping what holds now, and starts it if there is none.
    fn tell(&self, inner: &Arc<Inner>, mapping: &Mapping) {
        let wanted = mapping.enabled.then(|| Arc::new(mapping.clone()));
        let mut pollers = self.pollers.lock().unwrap_or_else(PoisonError::into_inner);
        match (pollers.get(&mapping.uuid), wanted) {
            (Some(poller), Some(wanted)) => drop(poller.send_replace(Some(wanted))),
            (None, Some(wanted)) => {
                let (poller, told) = watch::channel(Some(wanted));
                tokio::spawn(poll::poll(Arc::downgrade(inner), told));
                pollers.insert(mapping.uuid.clone(), poller);
            }
            (_, None) => drop(pollers.remove(&mapping.uuid)),
        }
    }

    fn forget(&self, uuid: &str) {
        self.pollers.lock().unwrap_or_else(PoisonError::into_inner).remove(uuid);
    }

    /// Ends all pollers; what they have in hand becomes visible again.
    pub fn stop(&self) {
        self.pollers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Starts the pollers of what is on disk.
pub(super) fn start(inner: &Arc<Inner>) {
    match inner.catalog.database.read(all) {
        Ok(mappings) => mappings.iter().for_each(|mapping| inner.sources.tell(inner, mapping)),
        Err(error) => tracing::error!(%error, "event source mappings could not be read"),
    }
}

fn all(connection: &Connection) -> Result<Vec<Mapping>, ServiceError> {
    let mut statement = connection.prepare_cached("SELECT document FROM mappings ORDER BY uuid")?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    rows.map(|row| serde_json::from_str(&row?).map_err(ServiceError::internal)).collect()
}

fn store(connection: &Connection, mapping: &Mapping) -> Result<(), ServiceError> {
    let document = serde_json::to_string(mapping).map_err(ServiceError::internal)?;
    let sql = "INSERT OR REPLACE INTO mappings(uuid, document) VALUES (?1, ?2)";
    Ok(connection.execute(sql, params![mapping.uuid, document]).map(drop)?)
}

#[cfg(test)]
mod tests;
