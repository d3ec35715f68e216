//! The in-process door to the metrics: for the engine's observer and the services themselves.

use super::Call;
use super::bucket::Bucket;
use super::put::add;
use super::series::{Dimensions, find_or_insert};
use crate::service_file::ServiceFile;
use crate::storage::{advance, watermark};
use crate::wire::ServiceError;
use rusqlite::Connection;
use std::collections::BTreeMap;

const MINUTE: i64 = 60;

/// One measured value.
#[derive(Debug, Clone, PartialEq)]
pub struct Datum {
    /// The metric's name, such as `ExecutionsStarted`.
    pub metric: String,
    /// Name and value of each dimension.
    pub dimensions: Vec<(String, String)>,
    /// Milliseconds of the epoch.
    pub at_ms: i64,
    /// The value.
    pub value: f64,
    /// AWS's unit, such as `Count` or `Milliseconds`.
    pub unit: String,
}

/// Writes metrics from inside the process, in any namespace. Cheap to clone.
#[derive(Clone)]
pub struct MetricSink {
    file: ServiceFile,
}

impl MetricSink {
    pub(super) fn new(file: ServiceFile) -> Self {
        Self { file }
    }

    /// Stores values; they are on disk when this returns. Values of one metric and minute cost one row, so callers
    /// with much to say should say it in batches.
    pub async fn put(
        &self,
        account: &str,
        region: &str,
        namespace: &str,
        data: Vec<Datum>,
    ) -> Result<(), ServiceError> {
        let call = self.call(account, region);
        let namespace = namespace.to_owned();
        self.file.database.write(move |connection| store(connection, &call, &namespace, data)).await
    }

    /// Stores a page of values, each with its position in the reader's journal, without those that this reader brought
    /// before.
    pub async fn put_page(
        &self,
        reader: &str,
        account: &str,
        region: &str,
        namespace: &str,
        data: Vec<(u64, Datum)>,
    ) -> Result<(), ServiceError> {
        let Some(last) = data.iter().map(|(position, _)| *position).max() else { return Ok(()) };
        let call = self.call(account, region);
        let namespace = namespace.to_owned();
        // What one scope has seen says nothing of another's: they come in calls of their own.
        let reader = format!("{reader}/{account}/{region}");
        self.file
            .database
            .write(move |connection| {
                let known = watermark(connection, &reader)?;
                let fresh = data.into_iter().filter(|(position, _)| *position > known);
                store(connection, &call, &namespace, fresh.map(|(_, datum)| datum).collect())?;
                advance(connection, &reader, last)?;
                Ok(())
            })
            .await
    }

    fn call(&self, account: &str, region: &str) -> Call {
        let now_ms = self.file.environment.now().as_millisecond();
        Call::own(account, region, now_ms)
    }
}

fn store(
    connection: &Connection,
    call: &Call,
    namespace: &str,
    data: Vec<Datum>,
) -> Result<(), ServiceError> {
    let mut joined: BTreeMap<(String, Dimensions, i64, String), Bucket> = BTreeMap::new();
    for datum in data.into_iter().filter(|datum| datum.value.is_finite()) {
        let dimensions: Dimensions = datum.dimensions.into_iter().collect();
        let at = datum.at_ms.div_euclid(1000).div_euclid(MINUTE) * MINUTE;
        let key = (datum.metric, dimensions, at, datum.unit);
        joined.entry(key).or_insert_with(Bucket::empty).add(datum.value, 1.0);
    }
    for ((metric, dimensions, at, unit), bucket) in joined {
        let series_id = find_or_insert(connection, call, namespace, &metric, &dimensions)?;
        add(connection, series_id, at, MINUTE, &unit, &bucket)?;
    }
    Ok(())
}
