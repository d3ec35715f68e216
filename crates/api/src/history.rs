//! `Event` → AWS's `HistoryEvent`: the one projection behind GetExecutionHistory, CloudWatch Logs and the CLI.

use std::sync::Arc;

use engine::{Event, EventKind, Failure, Stage, TaskLabel};
use serde_json::{Map, Value, json};

/// A history event without its envelope.
#[derive(Debug)]
pub struct Projection {
    /// `TaskStateEntered`.
    pub event_type: String,
    /// Name of the details member, if the type has one.
    pub member: Option<&'static str>,
    /// Its content.
    pub details: Map<String, Value>,
}

/// Is execution data (inputs, outputs) part of the projection?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Yes.
    Included,
    /// No: `includeExecutionData` is false.
    Left,
}

/// The HistoryEvent as the API shows it; none for private events.
pub fn history_event(event: &Event, data: Data) -> Option<Value> {
    let id = event.history_id?;
    let projection = project(&event.kind, data);
    let mut shown = Map::new();
    shown.insert("timestamp".into(), seconds(event.at));
    shown.insert("type".into(), projection.event_type.into());
    shown.insert("id".into(), id.into());
    shown.insert("previousEventId".into(), event.prev.into());
    if let Some(member) = projection.member {
        shown.insert(member.into(), Value::Object(projection.details));
    }
    Some(Value::Object(shown))
}

/// A timestamp as awsJson writes it: seconds with milliseconds.
pub(crate) fn seconds(at: asl::timestamp::Timestamp) -> Value {
    json!(at.epoch_millis() as f64 / 1000.0)
}

/// Type and details of an event.
pub fn project(kind: &EventKind, data: Data) -> Projection {
    let details = Details { map: Map::new(), data };
    execution(kind, details)
}

struct Details {
    map: Map<String, Value>,
    data: Data,
}

impl Details {
    fn with(mut self, name: &str, value: impl Into<Value>) -> Details {
        self.map.insert(name.into(), value.into());
        self
    }
    fn maybe(self, name: &str, value: Option<&Arc<str>>) -> Details {
        match value {
            Some(value) => self.with(name, &**value),
            None => self,
        }
    }
    fn input(self, payload: &asl::payload::Payload) -> Details {
        self.payload("input", "inputDetails", payload)
    }
    fn output(self, payload: &asl::payload::Payload) -> Details {
        self.payload("output", "outputDetails", payload)
    }
    fn payload(self, name: &str, details: &str, payload: &asl::payload::Payload) -> Details {
        match self.data {
            Data::Included => self.with(name, payload.text()).with(details, json!({ "truncated": false })),
            Data::Left => self,
        }
    }
    fn failure(self, failure: &Failure) -> Details {
        self.maybe("error", failure.error.as_ref()).maybe("cause", failure.cause.as_ref())
    }
    fn of_type(self, event_type: impl Into<String>, member: &'static str) -> Projection {
        Projection { event_type: event_type.into(), member: Some(member), details: self.map }
    }
    fn bare(self, event_type: impl Into<String>) -> Projection {
        Projection { event_type: event_type.into(), member: None, details: self.map }
    }
}

fn execution(kind: &EventKind, details: Details) -> Projection {
    match kind {
        EventKind::ExecutionStarted { start, .. } => details
            .input(&start.input)
            .with("roleArn", &*start.role_arn)
            .maybe("stateMachineAliasArn", start.alias_arn.as_ref())
            .maybe("stateMachineVersionArn", start.version_arn.as_ref())
            .of_type("ExecutionStarted", "executionStartedEventDetails"),
        EventKind::ExecutionSucceeded { output } => {
            details.output(output).of_type("ExecutionSucceeded", "executionSucceededEventDetails")
        }
        EventKind::ExecutionFailed { failure } => {
            details.failure(failure).of_type("ExecutionFailed", "executionFailedEventDetails")
        }
        EventKind::ExecutionTimedOut { failure } => {
            details.failure(failure).of_type("ExecutionTimedOut", "executionTimedOutEventDetails")
        }
        EventKind::ExecutionAborted { failure } => {
            details.failure(failure).of_type("ExecutionAborted", "executionAbortedEventDetails")
        }
        EventKind::ExecutionRedriven { count, .. } => {
            details.with("redriveCount", *count).of_type("ExecutionRedriven", "executionRedrivenEventDetails")
        }
        other => state(other, details),
    }
}

fn state(kind: &EventKind, details: Details) -> Projection {
    match kind {
        EventKind::StateEntered { name, state_type, input, .. } => details
            .with("name", &**name)
            .input(input)
            .of_type(format!("{}StateEntered", state_type.name()), "stateEnteredEventDetails"),
        EventKind::StateExited { name, state_type, output, assigned, .. } => {
            let details = details.with("name", &**name).output(output);
            assigned_variables(details, assigned)
                .of_type(format!("{}StateExited", state_type.name()), "stateExitedEventDetails")
        }
        EventKind::StateAborted { state_type } => details.bare(format!("{}StateAborted", state_type.name())),
        EventKind::EvaluationFailed { name, failure, location } => details
            .failure(failure)
            .maybe("location", location.as_ref())
            .with("state", &**name)
            .of_type("EvaluationFailed", "evaluationFailedEventDetails"),
        other => task(other, details),
    }
}

fn assigned_variables(details: Details, assigned: &[(Arc<str>, asl::payload::Payload)]) -> Details {
    if assigned.is_empty() || details.data == Data::Left {
        return details;
    }
    let variables: Map<String, Value> =
        assigned.iter().map(|(name, value)| (name.to_string(), value.text().into())).collect();
    details
        .with("assignedVariables", variables)
        .with("assignedVariablesDetails", json!({ "truncated": false }))
}

fn task(kind: &EventKind, details: Details) -> Projection {
    match kind {
        EventKind::TaskScheduled { task } => scheduled(task, details),
        EventKind::TaskStarted { label, worker_name, .. } => match label {
            TaskLabel::Service { .. } => {
                labelled(details, label).of_type("TaskStarted", "taskStartedEventDetails")
            }
            TaskLabel::Lambda => details.bare("LambdaFunctionStarted"),
            TaskLabel::Activity => details
                .maybe("workerName", worker_name.as_ref())
                .of_type("ActivityStarted", "activityStartedEventDetails"),
        },
        EventKind::TaskSubmitted { label, output, .. } => {
            labelled(details, label).output(output).of_type("TaskSubmitted", "taskSubmittedEventDetails")
        }
        EventKind::TaskSucceeded { label, output, .. } => {
            let details = labelled(details, label).output(output);
            match label {
                TaskLabel::Service { .. } => details.of_type("TaskSucceeded", "taskSucceededEventDetails"),
                TaskLabel::Lambda => {
                    details.of_type("LambdaFunctionSucceeded", "lambdaFunctionSucceededEventDetails")
                }
                TaskLabel::Activity => details.of_type("ActivitySucceeded", "activitySucceededEventDetails"),
            }
        }
        EventKind::TaskFailed { label, failure, stage, .. } => {
            failed(labelled(details, label).failure(failure), label, *stage)
        }
        EventKind::TaskTimedOut { label, failure, .. } => {
            let details = labelled(details, label).failure(failure);
            match label {
                TaskLabel::Service { .. } => details.of_type("TaskTimedOut", "taskTimedOutEventDetails"),
                TaskLabel::Lambda => {
                    details.of_type("LambdaFunctionTimedOut", "lambdaFunctionTimedOutEventDetails")
                }
                TaskLabel::Activity => details.of_type("ActivityTimedOut", "activityTimedOutEventDetails"),
            }
        }
        other => fan_out(other, details),
    }
}

fn labelled(details: Details, label: &TaskLabel) -> Details {
    match label {
        TaskLabel::Service { resource_type, resource } => {
            details.with("resourceType", &**resource_type).with("resource", &**resource)
        }
        TaskLabel::Lambda | TaskLabel::Activity => details,
    }
}

fn scheduled(task: &engine::event::TaskScheduled, details: Details) -> Projection {
    let timed = |details: Details| {
        let seconds = |duration: Option<std::time::Duration>| duration.map(|duration| duration.as_secs());
        let mut details = details;
        if let Some(seconds) = seconds(task.timeout) {
            details = details.with("timeoutInSeconds", seconds);
        }
        if let Some(seconds) = seconds(task.heartbeat).filter(|_| !matches!(task.label, TaskLabel::Lambda)) {
            details = details.with("heartbeatInSeconds", seconds);
        }
        match &task.credentials_role {
            Some(role) => details.with("taskCredentials", json!({ "roleArn": &**role })),
            None => details,
        }
    };
    match &task.label {
        TaskLabel::Service { .. } => {
            let details = labelled(details, &task.label).with("region", &*task.region);
            // `parameters` has no details member beside it and is required by the model.
            let details = match details.data {
                Data::Included => details.with("parameters", task.parameters.text()),
                Data::Left => details,
            };
            timed(details).of_type("TaskScheduled", "taskScheduledEventDetails")
        }
        TaskLabel::Lambda => timed(details.with("resource", &*task.resource.arn).input(&task.parameters))
            .of_type("LambdaFunctionScheduled", "lambdaFunctionScheduledEventDetails"),
        TaskLabel::Activity => timed(details.with("resource", &*task.resource.arn).input(&task.parameters))
            .of_type("ActivityScheduled", "activityScheduledEventDetails"),
    }
}

fn failed(details: Details, label: &TaskLabel, stage: Stage) -> Projection {
    match (label, stage) {
        (TaskLabel::Service { .. }, Stage::Start | Stage::Schedule) => {
            details.of_type("TaskStartFailed", "taskStartFailedEventDetails")
        }
        (TaskLabel::Service { .. }, Stage::Submit) => {
            details.of_type("TaskSubmitFailed", "taskSubmitFailedEventDetails")
        }
        (TaskLabel::Service { .. }, Stage::Run) => details.of_type("TaskFailed", "taskFailedEventDetails"),
        (TaskLabel::Lambda, Stage::Schedule) => {
            details.of_type("LambdaFunctionScheduleFailed", "lambdaFunctionScheduleFailedEventDetails")
        }
        (TaskLabel::Lambda, Stage::Start) => {
            details.of_type("LambdaFunctionStartFailed", "lambdaFunctionStartFailedEventDetails")
        }
        (TaskLabel::Lambda, Stage::Submit | Stage::Run) => {
            details.of_type("LambdaFunctionFailed", "lambdaFunctionFailedEventDetails")
        }
        (TaskLabel::Activity, Stage::Schedule | Stage::Start) => {
            details.of_type("ActivityScheduleFailed", "activityScheduleFailedEventDetails")
        }
        (TaskLabel::Activity, Stage::Submit | Stage::Run) => {
            details.of_type("ActivityFailed", "activityFailedEventDetails")
        }
    }
}

fn fan_out(kind: &EventKind, details: Details) -> Projection {
    match kind {
        EventKind::ParallelStateStarted { .. } => details.bare("ParallelStateStarted"),
        EventKind::ParallelStateSucceeded {} => details.bare("ParallelStateSucceeded"),
        EventKind::ParallelStateFailed { .. } => details.bare("ParallelStateFailed"),
        EventKind::MapStateStarted { length, .. } => {
            details.with("length", *length).of_type("MapStateStarted", "mapStateStartedEventDetails")
        }
        EventKind::MapStateSucceeded {} => details.bare("MapStateSucceeded"),
        EventKind::MapStateFailed { .. } => details.bare("MapStateFailed"),
        EventKind::MapIterationStarted { name, index, .. } => {
            iteration(details, name, *index).of_type("MapIterationStarted", "mapIterationStartedEventDetails")
        }
        EventKind::MapIterationSucceeded { name, index } => iteration(details, name, *index)
            .of_type("MapIterationSucceeded", "mapIterationSucceededEventDetails"),
        EventKind::MapIterationFailed { name, index } => {
            iteration(details, name, *index).of_type("MapIterationFailed", "mapIterationFailedEventDetails")
        }
        EventKind::MapIterationAborted { name, index } => {
            iteration(details, name, *index).of_type("MapIterationAborted", "mapIterationAbortedEventDetails")
        }
        EventKind::MapRunStarted { map_run_arn } => {
            details.with("mapRunArn", &**map_run_arn).of_type("MapRunStarted", "mapRunStartedEventDetails")
        }
        EventKind::MapRunSucceeded { .. } => details.bare("MapRunSucceeded"),
        EventKind::MapRunFailed { failure } => {
            details.failure(failure).of_type("MapRunFailed", "mapRunFailedEventDetails")
        }
        EventKind::MapRunAborted {} => details.bare("MapRunAborted"),
        EventKind::MapRunRedriven { map_run_arn, count } => details
            .with("mapRunArn", &**map_run_arn)
            .with("redriveCount", *count)
            .of_type("MapRunRedriven", "mapRunRedrivenEventDetails"),
        // Private kinds and those projected above.
        _ => details.bare(""),
    }
}

fn iteration(details: Details, name: &str, index: u32) -> Details {
    details.with("name", name).with("index", index)
}
