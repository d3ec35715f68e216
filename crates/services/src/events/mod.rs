//! EventBridge: buses, rules, targets and durable deliveries; one SQLite file.
//!
//! Invariant: an event and one row for each target of each rule it matches commit together, so an accepted event reaches
//! every matching target at least once (see `deliver`). Targets are queues, topics, functions, log groups and state
//! machines; others are refused by name, and so are archives, pipes and API destinations. Connections are there for HTTP Tasks.

mod connections;
mod deliver;
mod envelope;
mod put;
mod rules;
mod schedules;
mod sink;
mod targets;

pub use connections::{Additions, ConnectionFault, Connections};
pub use sink::{Event, EventSink, PlacedEvent};

use crate::delivery::Deliverer;
use crate::environment::Environment;
use crate::event_pattern::EventPattern;
use crate::service_file::{Call, Job, ServiceFile};
use crate::storage::StorageError;
use crate::wire::{Access, BoxFuture, CallContext, Service, ServiceError, ServiceRequest, ServiceResponse};
use serde_json::{Value, json};

const SCHEMA: &str = "
CREATE TABLE buses(
    account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, created INTEGER NOT NULL,
    PRIMARY KEY(account, region, name)) WITHOUT ROWID;
CREATE TABLE rules(
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, region TEXT NOT NULL, bus TEXT NOT NULL,
    name TEXT NOT NULL, pattern TEXT NOT NULL, enabled INTEGER NOT NULL, description TEXT, role TEXT,
    tags TEXT NOT NULL, UNIQUE(account, region, bus, name));
CREATE TABLE targets(
    rule_id INTEGER NOT NULL, id TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY(rule_id, id)) WITHOUT ROWID;
CREATE TABLE deliveries(
    id INTEGER PRIMARY KEY AUTOINCREMENT, rule_arn TEXT NOT NULL, target TEXT NOT NULL, event TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, due INTEGER NOT NULL);
CREATE INDEX deliveries_due ON deliveries(due, id);
";

/// Rules with a schedule, and how long a delivery has been owed.
const SCHEDULES: &str = "
ALTER TABLE rules ADD COLUMN schedule TEXT;
ALTER TABLE rules ADD COLUMN next INTEGER;
CREATE INDEX rules_next ON rules(next) WHERE next IS NOT NULL;
ALTER TABLE deliveries ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
UPDATE deliveries SET since = due;
";

/// See the module.
pub struct Events {
    file: ServiceFile,
    deliverer: Deliverer<deliver::Courier>,
    connections: Connections,
}

impl Call {
    fn rule_arn(&self, bus: &str, rule: &str) -> String {
        let path = if bus == "default" { rule.to_owned() } else { format!("{bus}/{rule}") };
        self.arn("events", &format!("rule/{path}"))
    }

    fn bus_arn(&self, bus: &str) -> String {
        self.arn("events", &format!("event-bus/{bus}"))
    }
}

impl Events {
    /// Opens `events.db`.
    pub fn open(environment: Environment) -> Result<Self, StorageError> {
        let file = ServiceFile::open(environment, "events", &[SCHEMA, SCHEDULES, connections::SCHEMA])?;
        let deliverer = Deliverer::new(deliver::Courier { file: file.clone() });
        let connections = Connections::open(file.clone())?;
        Ok(Self { file, deliverer, connections })
    }

    /// The door for parts of this process that call endpoints by connections.
    pub fn connections(&self) -> Connections {
        self.connections.clone()
    }

    /// The door for parts of this process that emit events.
    pub fn sink(&self) -> EventSink {
        EventSink::new(self.file.clone(), self.deliverer.bell())
    }

    async fn change(
        &self,
        context: &CallContext,
        request: &ServiceRequest,
        job: Job<Value>,
    ) -> Result<Value, ServiceError> {
        self.file.change(context, request.json()?.clone(), job).await
    }

    /// As [`Events::change`], where the change may be something to deliver.
    async fn ring(
        &self,
        context: &CallContext,
        request: &ServiceRequest,
        job: Job<Value>,
    ) -> Result<Value, ServiceError> {
        let answer = self.change(context, request, job).await;
        self.deliverer.bell().notify_one();
        answer
    }

    async fn query(
        &self,
        context: &CallContext,
        request: &ServiceRequest,
        job: Job<Value>,
    ) -> Result<Value, ServiceError> {
        self.file.query(context, request.json()?.clone(), job).await
    }

    async fn dispatch(&self, context: &CallContext, request: &ServiceRequest) -> Result<Value, ServiceError> {
        if request.operation.contains("Connection") {
            return self.connections.answer(context, request).await;
        }
        match request.operation.as_str() {
            "PutEvents" => self.ring(context, request, put::put_events).await,
            "PutRule" => self.ring(context, request, rules::put).await,
            "DeleteRule" => self.change(context, request, rules::delete).await,
            "EnableRule" => self.ring(context, request, rules::enable).await,
            "DisableRule" => self.change(context, request, rules::disable).await,
            "DescribeRule" => self.query(context, request, rules::describe).await,
            "ListRules" => self.query(context, request, rules::list).await,
            "PutTargets" => self.change(context, request, targets::put).await,
            "RemoveTargets" => self.change(context, request, targets::remove).await,
            "ListTargetsByRule" => self.query(context, request, targets::list).await,
            "ListRuleNamesByTarget" => self.query(context, request, targets::rule_names).await,
            "CreateEventBus" => self.change(context, request, rules::create_bus).await,
            "DeleteEventBus" => self.change(context, request, rules::delete_bus).await,
            "DescribeEventBus" => self.query(context, request, rules::describe_bus).await,
            "ListEventBuses" => self.query(context, request, rules::list_buses).await,
            "TagResource" => self.change(context, request, rules::tag).await,
            "UntagResource" => self.change(context, request, rules::untag).await,
            "ListTagsForResource" => self.query(context, request, rules::tags).await,
            "TestEventPattern" => test_pattern(request.json()?),
            operation => Err(ServiceError::unsupported("events", operation)),
        }
    }
}

impl Service for Events {
    fn name(&self) -> &'static str {
        "events"
    }

    fn access(&self, context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        let action = format!("events:{}", request.operation);
        let call = self.file.call(context);
        let bus = request.json_str("EventBusName").map_or("default", bus_name);
        let resource = match request.operation.as_str() {
            "PutEvents" => return put::access(&call, request),
            "ListRules" | "ListEventBuses" | "TestEventPattern" | "ListRuleNamesByTarget" => "*".to_owned(),
            "CreateEventBus" | "DeleteEventBus" | "DescribeEventBus" => {
                call.bus_arn(request.json_str("Name").map_or("default", bus_name))
            }
            "ListConnections" => "*".to_owned(),
            operation if operation.contains("Connection") => {
                call.arn("events", &format!("connection/{}", request.json_str("Name").unwrap_or("*")))
            }
            "TagResource" | "UntagResource" | "ListTagsForResource" => {
                request.json_str("ResourceARN").unwrap_or("*").to_owned()
            }
            _ => {
                let rule = request.json_str("Rule").or(request.json_str("Name")).unwrap_or("*");
                call.rule_arn(bus, rule)
            }
        };
        let mut needed = vec![Access::new(action, resource)];
        if request.operation == "PutTargets" {
            needed.extend(targets::passed_roles(request));
        }
        needed
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move {
            let answer = self.dispatch(context, &request).await?;
            Ok(if answer.is_null() { ServiceResponse::empty() } else { ServiceResponse::json(answer) })
        })
    }

    fn start(&self) {
        self.deliverer.start();
        self.connections.start();
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.connections.stop().await;
            self.deliverer.stop().await;
        })
    }
}

/// A bus by name or ARN.
fn bus_name(name_or_arn: &str) -> &str {
    name_or_arn.split_once(":event-bus/").map_or(name_or_arn, |(_, name)| name)
}

fn validation(message: impl Into<String>) -> ServiceError {
    ServiceError::client("ValidationException", message)
}

fn text<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member).and_then(Value::as_str)
}

fn required<'a>(value: &'a Value, member: &str) -> Result<&'a str, ServiceError> {
    text(value, member).ok_or_else(|| {
        let mut letters = member.chars();
        let first: String = letters.next().map(|first| first.to_lowercase().collect()).unwrap_or_default();
        validation(format!(
            "1 validation error detected: Value null at '{first}{}' failed to satisfy constraint: Member must not be null",
            letters.as_str()
        ))
    })
}

/// Compiles a pattern, or refuses it as EventBridge does.
fn pattern_of(text: &str) -> Result<EventPattern, ServiceError> {
    let refused = |reason: String| {
        ServiceError::client(
            "InvalidEventPatternException",
            format!("Event pattern is not valid. Reason: {reason}"),
        )
    };
    let pattern: Value = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
    EventPattern::parse(&pattern).map_err(refused)
}

fn test_pattern(input: &Value) -> Result<Value, ServiceError> {
    let pattern = pattern_of(required(input, "EventPattern")?)?;
    let event: Value = serde_json::from_str(required(input, "Event")?)
        .map_err(|_| validation("Parameter Event is not valid."))?;
    for member in ["id", "account", "source", "time", "region", "resources", "detail-type"] {
        if event.get(member).is_none() {
            return Err(validation("Parameter Event is not valid."));
        }
    }
    Ok(json!({"Result": pattern.matches(&event)}))
}

#[cfg(test)]
mod tests;
