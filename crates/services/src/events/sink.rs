//! The in-process door: the engine's status events and those of other services, with sources of AWS's own.

use super::envelope::build;
use super::put::owe;
use crate::service_file::{Call, ServiceFile};
use crate::storage::{advance, watermark};
use crate::wire::ServiceError;
use rusqlite::Connection;
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

/// An event that a reader of a journal brings.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedEvent {
    /// Account of the bus.
    pub account: String,
    /// Region of the bus.
    pub region: String,
    /// Where in the reader's journal it comes from; events of one position come together.
    pub position: u64,
    /// The event.
    pub event: Event,
}

/// Puts events from inside the process. Cheap to clone.
#[derive(Clone)]
pub struct EventSink {
    file: ServiceFile,
    arrived: Arc<Notify>,
}

impl EventSink {
    pub(super) fn new(file: ServiceFile, arrived: Arc<Notify>) -> Self {
        Self { file, arrived }
    }

    /// Puts events on the default bus; what they owe to targets is on disk when this returns.
    pub async fn put(&self, account: &str, region: &str, events: Vec<Event>) -> Result<(), ServiceError> {
        let now_ms = self.file.environment.now().as_millisecond();
        let call = Call::own(account, region, now_ms);
        let put = self.file.database.write(move |connection| -> Result<(), ServiceError> {
            for event in events {
                put_one(connection, &call, event)?;
            }
            Ok(())
        });
        put.await?;
        self.arrived.notify_one();
        Ok(())
    }

    /// Puts a page of events in one transaction, without those that this reader brought before.
    pub async fn put_page(&self, reader: &str, mut events: Vec<PlacedEvent>) -> Result<(), ServiceError> {
        let Some(last) = events.iter().map(|event| event.position).max() else { return Ok(()) };
        let now_ms = self.file.environment.now().as_millisecond();
        let reader = reader.to_owned();
        let put = self.file.database.write(move |connection| -> Result<(), ServiceError> {
            let known = watermark(connection, &reader)?;
            events.retain(|event| event.position > known);
            for PlacedEvent { account, region, event, .. } in events {
                put_one(connection, &Call::own(&account, &region, now_ms), event)?;
            }
            advance(connection, &reader, last)?;
            Ok(())
        });
        put.await?;
        self.arrived.notify_one();
        Ok(())
    }
}

fn put_one(connection: &Connection, call: &Call, event: Event) -> Result<(), ServiceError> {
    let resources = Value::from(event.resources);
    let built = build(call, &event.source, &event.detail_type, event.at_ms, resources, event.detail);
    owe(connection, call, "default", &built)
}
