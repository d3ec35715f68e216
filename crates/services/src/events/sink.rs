//! The in-process door: the engine's status events and those of other services, with sources of AWS's own.

use super::Call;
use super::envelope::build;
use super::put::owe;
use crate::environment::Environment;
use crate::storage::Database;
use crate::wire::ServiceError;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::Notify;

/// An event for the default bus.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Such as `aws.states`.
    pub source: String,
    /// Such as `Step Functions Execution Status Change`.
    pub detail_type: String,
    /// Milliseconds of the epoch.
    pub at_ms: i64,
    /// ARNs.
    pub resources: Vec<String>,
    /// The detail.
    pub detail: Value,
}

/// Puts events from inside the process. Cheap to clone.
#[derive(Clone)]
pub struct EventSink {
    database: Database,
    environment: Environment,
    arrived: Arc<Notify>,
}

impl EventSink {
    pub(super) fn new(database: Database, environment: Environment, arrived: Arc<Notify>) -> Self {
        Self { database, environment, arrived }
    }

    /// Puts events on the default bus; what they owe to targets is on disk when this returns.
    pub async fn put(&self, account: &str, region: &str, events: Vec<Event>) -> Result<(), ServiceError> {
        let now_ms = self.environment.now().as_millisecond();
        let call = Call { account: account.to_owned(), region: region.to_owned(), now_ms };
        let put = self.database.write(move |connection| -> Result<(), ServiceError> {
            for event in events {
                let resources = Value::from(event.resources);
                let built =
                    build(&call, &event.source, &event.detail_type, event.at_ms, resources, event.detail);
                owe(connection, &call, "default", &built)?;
            }
            Ok(())
        });
        put.await?;
        self.arrived.notify_one();
        Ok(())
    }
}
