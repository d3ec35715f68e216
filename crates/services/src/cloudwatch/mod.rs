//! CloudWatch metrics and alarms, over CBOR, JSON and the query protocol; one SQLite file.
//!
//! Values are kept in buckets of a minute (a second for high resolution) for 15 days. What it does not do: metric math,
//! search expressions, dashboards, streams,
//! composite and anomaly alarms are refused by name.

mod alarms;
mod bucket;
mod cbor;
mod input;
mod put;
mod read;
mod series;
mod sink;
mod statistic;

pub use sink::{Datum, MetricSink};

use crate::delivery::Deliverer;
use crate::environment::Environment;
use crate::service_file::{Call, ServiceFile};
use crate::storage::StorageError;
use crate::wire::{Access, BoxFuture, CallContext, Service, ServiceError, ServiceRequest, ServiceResponse};
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
    file: ServiceFile,
    watch: Deliverer<alarms::Watch>,
}

impl CloudWatch {
    /// Opens `cloudwatch.db`.
    pub fn open(environment: Environment) -> Result<Self, StorageError> {
        let migrations = [SCHEMA, alarms::SCHEMA, alarms::DELIVERIES];
        let file = ServiceFile::open(environment, "cloudwatch", &migrations)?;
        let watch = Deliverer::new(alarms::Watch::new(file.clone()));
        Ok(Self { file, watch })
    }

    /// The door for parts of this process that count things.
    pub fn sink(&self) -> MetricSink {
        MetricSink::new(self.file.clone())
    }

    async fn dispatch(&self, context: &CallContext, request: &ServiceRequest) -> Result<Value, ServiceError> {
        let input = input::read(request)?;
        match request.operation.as_str() {
            "PutMetricData" => self.file.change(context, input, put::put_metric_data).await,
            "PutMetricAlarm" => self.file.change(context, input, alarms::put).await,
            "DeleteAlarms" => self.file.change(context, input, alarms::delete).await,
            "SetAlarmState" => {
                let answer = self.file.change(context, input, alarms::set_state).await;
                self.watch.bell().notify_one();
                answer
            }
            "EnableAlarmActions" => self.file.change(context, input, alarms::enable_actions).await,
            "DisableAlarmActions" => self.file.change(context, input, alarms::disable_actions).await,
            "DescribeAlarms" => self.file.query(context, input, alarms::describe).await,
            "ListTagsForResource" => self.file.query(context, input, alarms::tags).await,
            "GetMetricStatistics" => self.file.query(context, input, read::get_metric_statistics).await,
            "GetMetricData" => self.file.query(context, input, read::get_metric_data).await,
            "ListMetrics" => self.file.query(context, input, series::list_metrics).await,
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

    fn start(&self) {
        self.watch.start();
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.watch.stop())
    }

    fn xml_namespace(&self) -> &'static str {
        "http://monitoring.amazonaws.com/doc/2010-08-01/"
    }
}

#[cfg(test)]
mod tests {
    use super::Datum;
    use crate::wire::{CallContext, Principal, Protocol, ServiceError, ServiceRequest};
    use crate::{Services, ServicesConfig};
    use bytes::Bytes;
    use http::Method;
    use serde_json::{Value, json};
    use std::time::{Duration, Instant};

    fn context() -> CallContext {
        CallContext::of(Principal::Root { account: "123456789012".to_owned() }, "eu-west-1")
    }

    async fn call(services: &Services, operation: &str, input: Value) -> Result<Value, ServiceError> {
        let request = ServiceRequest::json_call(operation, &input);
        let body = services.call(&context(), "monitoring", request).await?.body_bytes();
        Ok(if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("json") })
    }

    #[tokio::test]
    async fn the_sink_writes_in_a_namespace_of_aws_and_a_caller_may_not() {
        let directory = tempfile::tempdir().expect("directory");
        let services = Services::open(ServicesConfig::new(directory.path())).expect("open");
        let sink = services.environment().metrics().expect("metrics");
        let started = |value: f64| Datum {
            metric: "ExecutionsStarted".to_owned(),
            dimensions: vec![("StateMachineArn".to_owned(), "a".to_owned())],
            at_ms: 60_000,
            value,
            unit: "Count".to_owned(),
        };
        sink.put("123456789012", "eu-west-1", "AWS/States", vec![started(1.0), started(2.0)])
            .await
            .expect("put");
        let query = json!({"Namespace": "AWS/States", "MetricName": "ExecutionsStarted", "StartTime": 0, "EndTime": 120,
            "Period": 60, "Statistics": ["Sum"], "Dimensions": [{"Name": "StateMachineArn", "Value": "a"}]});
        let found = call(&services, "GetMetricStatistics", query).await.expect("read");
        assert_eq!(found["Datapoints"], json!([{"Timestamp": 60, "Unit": "Count", "Sum": 3.0}]));
        let put = json!({"Namespace": "AWS/States", "MetricData": [{"MetricName": "m", "Value": 1}]});
        let refused = call(&services, "PutMetricData", put).await.unwrap_err();
        assert_eq!(refused.query_code.as_deref(), Some("InvalidParameterValue"));
        services.shutdown().await;
    }

    #[tokio::test]
    async fn an_alarm_that_changes_its_state_tells_its_topic() {
        let directory = tempfile::tempdir().expect("directory");
        let services = Services::open(ServicesConfig::new(directory.path())).expect("open");
        for (operation, form) in [
            ("CreateTopic", "Name=alerts"),
            (
                "Subscribe",
                "TopicArn=arn:aws:sns:eu-west-1:123456789012:alerts&Protocol=email&Endpoint=a@example.com",
            ),
        ] {
            let mut request = ServiceRequest::rest(Method::POST, "/", Bytes::from(form));
            request.operation = operation.to_owned();
            request.protocol = Protocol::AwsQuery;
            services.call(&context(), "sns", request).await.expect(operation);
        }
        let alarm = json!({"AlarmName": "late", "Namespace": "App", "MetricName": "m", "Statistic": "Maximum",
            "Period": 60, "EvaluationPeriods": 1, "Threshold": 5, "ComparisonOperator": "GreaterThanThreshold",
            "AlarmActions": ["arn:aws:sns:eu-west-1:123456789012:alerts"]});
        call(&services, "PutMetricAlarm", alarm).await.expect("alarm");
        // The minute may turn before the alarm is looked at, so this one has a value, too.
        let minute = jiff::Timestamp::now().as_second() / 60 * 60;
        let datum = |at: i64| json!({"MetricName": "m", "Value": 9, "Timestamp": at});
        let data = json!([datum(minute - 60), datum(minute)]);
        call(&services, "PutMetricData", json!({"Namespace": "App", "MetricData": data})).await.expect("put");
        let started = Instant::now();
        let outbox = directory.path().join("outbox");
        let mail = loop {
            let mail = std::fs::read_dir(&outbox).into_iter().flatten().flatten();
            let mut mail =
                mail.filter(|file| file.path().extension().is_some_and(|extension| extension == "eml"));
            if let Some(file) = mail.next() {
                break std::fs::read_to_string(file.path()).expect("mail");
            }
            assert!(started.elapsed() < Duration::from_secs(60), "no mail came");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(mail.contains(r#""NewStateValue":"ALARM""#), "{mail}");
        let shown =
            call(&services, "DescribeAlarms", json!({"StateValue": "ALARM"})).await.expect("describe");
        assert_eq!(shown["MetricAlarms"][0]["AlarmName"], "late");
        services.shutdown().await;
    }
}
