//! CloudWatch Logs: groups, streams and events, with the filter pattern language; one SQLite file.
//!
//! Invariant: an event is on disk before `PutLogEvents` or [`LogSink::put`] answers. What it does not do: metric and
//! subscription filters, and the newer account-level features are refused by name.

mod events;
mod filter;
mod groups;
mod input;
mod insights;
mod pattern;
mod retention;
mod sink;
mod streams;

pub use pattern::Pattern;
pub use sink::{LogLine, LogSink};

use crate::background::Background;
use crate::environment::Environment;
use crate::service_file::{Call, ServiceFile};
use crate::storage::StorageError;
use crate::wire::{Access, BoxFuture, CallContext, Service, ServiceError, ServiceRequest, ServiceResponse};
use input::Input;
use rusqlite::Connection;
use serde_json::Value;

const SCHEMA: &str = "
CREATE TABLE groups(
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
    created INTEGER NOT NULL, retention_days INTEGER, kms_key TEXT, class TEXT NOT NULL, tags TEXT NOT NULL,
    bytes INTEGER NOT NULL DEFAULT 0, UNIQUE(account, region, name));
CREATE TABLE streams(
    id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, name TEXT NOT NULL, created INTEGER NOT NULL,
    first INTEGER, last INTEGER, ingested INTEGER, UNIQUE(group_id, name));
CREATE TABLE events(
    group_id INTEGER NOT NULL, at INTEGER NOT NULL, seq INTEGER NOT NULL, stream_id INTEGER NOT NULL,
    ingested INTEGER NOT NULL, message TEXT NOT NULL, PRIMARY KEY(group_id, at, seq)) WITHOUT ROWID;
CREATE INDEX events_of_stream ON events(stream_id, at, seq);
CREATE TABLE sequence(id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL);
INSERT INTO sequence VALUES (1, 0);
CREATE TABLE deleted(group_id INTEGER, stream_id INTEGER);
CREATE TABLE resource_policies(
    account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY(account, region, name)) WITHOUT ROWID;
";

/// See the module.
pub struct Logs {
    file: ServiceFile,
    sink: LogSink,
    queries: insights::Queries,
    retention: Background,
}

impl Call {
    fn group_arn(&self, group: &str) -> String {
        self.arn("logs", &format!("log-group:{group}"))
    }
}

type Job = fn(&Connection, &Call, Input<'_>) -> Result<Value, ServiceError>;

impl Logs {
    /// Opens `logs.db`.
    pub fn open(environment: Environment) -> Result<Self, StorageError> {
        let file = ServiceFile::open(environment, "logs", &[SCHEMA])?;
        let sink = LogSink::new(file.clone());
        Ok(Self { file, sink, queries: insights::Queries::default(), retention: Background::default() })
    }

    /// The door for services of this process that write logs.
    pub fn sink(&self) -> LogSink {
        self.sink.clone()
    }

    fn insights(
        &self,
        context: &CallContext,
        request: &ServiceRequest,
    ) -> Result<ServiceResponse, ServiceError> {
        let (call, input) = (self.file.call(context), request.json()?);
        let answered = match request.operation.as_str() {
            "StartQuery" => self.queries.start(&self.file.database, &call, input),
            "GetQueryResults" => self.queries.results(&call, input),
            "StopQuery" => self.queries.stop(&call, input),
            _ => self.queries.describe(&call, input),
        };
        answered.map(answer)
    }

    async fn change(
        &self,
        context: &CallContext,
        request: &ServiceRequest,
        job: Job,
    ) -> Result<ServiceResponse, ServiceError> {
        let run = move |connection: &Connection, call: &Call, input: &Value| {
            job(connection, call, Input::new(input))
        };
        self.file.change(context, request.json()?.clone(), run).await.map(answer)
    }

    async fn query(
        &self,
        context: &CallContext,
        request: &ServiceRequest,
        job: Job,
    ) -> Result<ServiceResponse, ServiceError> {
        let run = move |connection: &Connection, call: &Call, input: &Value| {
            job(connection, call, Input::new(input))
        };
        self.file.query(context, request.json()?.clone(), run).await.map(answer)
    }
}

/// Operations without an output answer with an empty body.
fn answer(value: Value) -> ServiceResponse {
    if value.is_null() { ServiceResponse::empty() } else { ServiceResponse::json(value) }
}

impl Service for Logs {
    fn name(&self) -> &'static str {
        "logs"
    }

    fn access(&self, context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        let action = format!("logs:{}", request.operation);
        let group = request.json_str("logGroupName").or(request.json_str("logGroupIdentifier"));
        // AWS names the stream even where there is none, so that policies on `log-group:NAME:*` cover group actions.
        let of_group = |group: &str| {
            let stream = request.json_str("logStreamName").unwrap_or("");
            context.arn("logs", &format!("log-group:{group}:log-stream:{stream}"))
        };
        if request.operation == "StartQuery" {
            let groups = request.json().map(insights::groups_named).unwrap_or_default();
            return groups.iter().map(|group| Access::new(action.clone(), of_group(group))).collect();
        }
        let resource = match (group, request.json_str("resourceArn")) {
            (Some(group), _) => of_group(input::group_of_arn(group)),
            (None, Some(arn)) => arn.to_owned(),
            (None, None) if request.operation == "DescribeLogGroups" => of_group(""),
            (None, None) => "*".to_owned(),
        };
        vec![Access::new(action, resource)]
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move {
            match request.operation.as_str() {
                "PutLogEvents" => self.change(context, &request, events::put).await,
                "GetLogEvents" => self.query(context, &request, events::get).await,
                "FilterLogEvents" => self.query(context, &request, filter::filter).await,
                "StartQuery" | "GetQueryResults" | "StopQuery" | "DescribeQueries" => {
                    self.insights(context, &request)
                }
                "CreateLogGroup" => self.change(context, &request, groups::create).await,
                "DeleteLogGroup" => self.change(context, &request, groups::delete).await,
                "DescribeLogGroups" => self.query(context, &request, groups::describe).await,
                "PutRetentionPolicy" => self.change(context, &request, groups::put_retention).await,
                "DeleteRetentionPolicy" => self.change(context, &request, groups::delete_retention).await,
                "TagLogGroup" | "TagResource" => self.change(context, &request, groups::tag).await,
                "UntagLogGroup" | "UntagResource" => self.change(context, &request, groups::untag).await,
                "ListTagsLogGroup" | "ListTagsForResource" => {
                    self.query(context, &request, groups::tags).await
                }
                "PutResourcePolicy" => self.change(context, &request, groups::put_policy).await,
                "DeleteResourcePolicy" => self.change(context, &request, groups::delete_policy).await,
                "DescribeResourcePolicies" => self.query(context, &request, groups::policies).await,
                "CreateLogStream" => self.change(context, &request, streams::create).await,
                "DeleteLogStream" => self.change(context, &request, streams::delete).await,
                "DescribeLogStreams" => self.query(context, &request, streams::describe).await,
                operation => Err(ServiceError::unsupported("logs", operation)),
            }
        })
    }

    fn start(&self) {
        self.retention.start(retention::keep(self.file.clone()));
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.retention.stop())
    }
}

#[cfg(test)]
mod tests {
    use crate::wire::{CallContext, Principal, ServiceError, ServiceRequest};
    use crate::{Services, ServicesConfig};
    use serde_json::{Value, json};

    fn context() -> CallContext {
        CallContext::of(Principal::Root { account: "123456789012".to_owned() }, "eu-west-1")
    }

    async fn call(services: &Services, operation: &str, input: Value) -> Result<Value, ServiceError> {
        let request = ServiceRequest::json_call(operation, &input);
        let body = services.call(&context(), "logs", request).await?.body_bytes();
        Ok(if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("json") })
    }

    #[tokio::test]
    async fn the_sink_makes_group_and_stream_and_the_events_are_read_back() {
        let directory = tempfile::tempdir().expect("directory");
        let services = Services::open(ServicesConfig::new(directory.path())).expect("open");
        let sink = services.environment().logs().expect("logs").clone();
        let events = vec![(2_000, "second".to_owned()), (1_000, "first".to_owned())];
        sink.put("123456789012", "eu-west-1", "/aws/lambda/f", "s", events).await.expect("put");
        let page = json!({"logGroupName": "/aws/lambda/f", "logStreamName": "s", "startFromHead": true});
        let page = call(&services, "GetLogEvents", page).await.expect("get");
        let messages: Vec<&str> = page["events"]
            .as_array()
            .expect("events")
            .iter()
            .filter_map(|event| event["message"].as_str())
            .collect();
        assert_eq!(messages, ["first", "second"]);
        let elsewhere = CallContext::of(Principal::Root { account: "123456789012".to_owned() }, "us-east-1");
        let request = ServiceRequest::json_call("DescribeLogGroups", &json!({}));
        let listed = services.call(&elsewhere, "logs", request).await.expect("list").body_bytes();
        assert_eq!(&listed[..], br#"{"logGroups":[]}"#);
    }

    #[tokio::test]
    async fn errors_have_the_words_of_aws() {
        let directory = tempfile::tempdir().expect("directory");
        let services = Services::open(ServicesConfig::new(directory.path())).expect("open");
        let group = json!({"logGroupName": "g"});
        call(&services, "CreateLogGroup", group.clone()).await.expect("create");
        let again = call(&services, "CreateLogGroup", group).await.unwrap_err().to_string();
        assert_eq!(again, "ResourceAlreadyExistsException: The specified log group already exists");
        let missing = json!({"logGroupName": "h"});
        let missing = call(&services, "DeleteLogGroup", missing).await.unwrap_err().to_string();
        assert_eq!(missing, "ResourceNotFoundException: The specified log group does not exist.");
        let unsupported = call(&services, "PutMetricFilter", json!({})).await.unwrap_err();
        assert_eq!(unsupported.status.as_u16(), 501);
    }

    #[tokio::test]
    async fn a_duplicate_invocation_writes_its_events_once() {
        let directory = tempfile::tempdir().expect("directory");
        let services = Services::open(ServicesConfig::new(directory.path())).expect("open");
        call(&services, "CreateLogGroup", json!({"logGroupName": "g"})).await.expect("group");
        call(&services, "CreateLogStream", json!({"logGroupName": "g", "logStreamName": "s"}))
            .await
            .expect("stream");
        let mut twice = context();
        twice.invocation_id = Some("i-1".to_owned());
        let now = jiff::Timestamp::now().as_millisecond();
        let put = json!({"logGroupName": "g", "logStreamName": "s",
                         "logEvents": [{"timestamp": now, "message": "once"}]});
        for _ in 0..2 {
            let request = ServiceRequest::json_call("PutLogEvents", &put);
            services.call(&twice, "logs", request).await.expect("put");
        }
        let found = call(&services, "FilterLogEvents", json!({"logGroupName": "g"})).await.expect("filter");
        assert_eq!(found["events"].as_array().map(Vec::len), Some(1));
    }
}
