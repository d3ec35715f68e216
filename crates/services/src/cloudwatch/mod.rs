//! CloudWatch metrics: put, list and read, over CBOR, JSON and the query protocol; one SQLite file.
//!
//! Values are kept in buckets of a minute (a second for high resolution) for 15 days. What it does not do: metric math,
//! search expressions, dashboards, streams and alarms are refused by name.

mod bucket;
mod cbor;
mod input;
mod put;
mod read;
mod series;
mod sink;
mod statistic;

pub use sink::{Datum, MetricSink};

use crate::environment::Environment;
use crate::once::once;
use crate::storage::{Database, StorageError};
use crate::wire::{Access, BoxFuture, CallContext, Service, ServiceError, ServiceRequest, ServiceResponse};
use rusqlite::Connection;
use serde_json::Value;

const SCHEMA: &str = "
CREATE TABLE series(
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, region TEXT NOT NULL, namespace TEXT NOT NULL,
    metric TEXT NOT NULL, dimensions TEXT NOT NULL, UNIQUE(account, region, namespace, metric, dimensions));
CREATE TABLE buckets(
    series_id INTEGER NOT NULL, at INTEGER NOT NULL, unit TEXT NOT NULL, bucket BLOB NOT NULL,
    PRIMARY KEY(series_id, at, unit)) WITHOUT ROWID;
";

/// See the module.
pub struct CloudWatch {
    environment: Environment,
    database: Database,
}

/// One call: where and when.
#[derive(Clone)]
struct Call {
    account: String,
    region: String,
    now_ms: i64,
}

impl CloudWatch {
    /// Opens `cloudwatch.db`.
    pub fn open(environment: Environment) -> Result<Self, StorageError> {
        let database = Database::open(&environment.directory(), "cloudwatch", &[SCHEMA])?;
        Ok(Self { environment, database })
    }

    /// The door for parts of this process that count things.
    pub fn sink(&self) -> MetricSink {
        MetricSink::new(self.database.clone(), self.environment.clone())
    }

    fn call(&self, context: &CallContext) -> Call {
        Call {
            account: context.account.clone(),
            region: context.region.clone(),
            now_ms: self.environment.now().as_millisecond(),
        }
    }

    async fn query(
        &self,
        context: &CallContext,
        input: Value,
        job: fn(&Connection, &Call, &Value) -> Result<Value, ServiceError>,
    ) -> Result<Value, ServiceError> {
        let (database, call) = (self.database.clone(), self.call(context));
        let run = move || database.read(|connection| job(connection, &call, &input));
        tokio::task::spawn_blocking(run).await.map_err(ServiceError::internal)?
    }

    async fn dispatch(&self, context: &CallContext, request: &ServiceRequest) -> Result<Value, ServiceError> {
        let input = input::read(request)?;
        match request.operation.as_str() {
            "PutMetricData" => {
                let call = self.call(context);
                let run = move |connection: &Connection| put::put_metric_data(connection, &call, &input);
                once(&self.database, context, self.environment.now(), run).await
            }
            "GetMetricStatistics" => self.query(context, input, read::get_metric_statistics).await,
            "GetMetricData" => self.query(context, input, read::get_metric_data).await,
            "ListMetrics" => self.query(context, input, series::list_metrics).await,
            operation => Err(ServiceError::unsupported("cloudwatch", operation)),
        }
    }
}

impl Service for CloudWatch {
    fn name(&self) -> &'static str {
        "monitoring"
    }

    fn access(&self, _: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        let mut access = Access::new(format!("cloudwatch:{}", request.operation), "*");
        if let Ok(input) = input::read(request)
            && let Some(namespace) = input::text(&input, "Namespace")
        {
            access = access.with_condition("cloudwatch:namespace", namespace);
        }
        vec![access]
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move {
            let output = self.dispatch(context, &request).await?;
            Ok(input::answer(&request, output))
        })
    }

    fn xml_namespace(&self) -> &'static str {
        "http://monitoring.amazonaws.com/doc/2010-08-01/"
    }
}
