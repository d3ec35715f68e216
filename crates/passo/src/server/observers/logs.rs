//! CloudWatch Logs of executions: AWS's JSON, at the level of the state machine.
//!
//! A line a public event; all scalars of the envelope are strings (recorded). Each execution has a stream of its own.

use std::collections::HashMap;
use std::sync::Arc;

use api::history::{Data, project};
use runtime::{BoxFuture, CommittedEvent, Observer};
use serde_json::{Value, json};
use services::logs::{LogLine, LogSink};

use super::Machines;

/// Writes events to the log groups of their state machines.
pub(super) struct Logs {
    sink: LogSink,
    machines: Machines,
}

/// Where and how much a state machine logs.
#[derive(Clone)]
struct Destination {
    account: String,
    region: String,
    group: String,
    level: Level,
    data: Data,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    All,
    Error,
    Fatal,
}

impl Logs {
    pub fn new(sink: LogSink, machines: Machines) -> Logs {
        Logs { sink, machines }
    }

    async fn lines(&self, events: &[CommittedEvent]) -> Vec<LogLine> {
        let mut destinations: HashMap<Arc<str>, Option<Destination>> = HashMap::new();
        let mut lines = Vec::new();
        for event in events {
            let machine = &event.start.state_machine_arn;
            if !destinations.contains_key(machine) {
                let logging = self.machines.logging(machine).await;
                destinations.insert(Arc::clone(machine), logging.as_ref().and_then(destination));
            }
            let Some(Some(to)) = destinations.get(machine) else { continue };
            lines.extend(line(event, to).map(|message| LogLine {
                account: to.account.clone(),
                region: to.region.clone(),
                group: to.group.clone(),
                stream: stream(event),
                at_ms: event.event.at.epoch_millis(),
                message,
                position: event.position,
            }));
        }
        lines
    }

    /// A page may come again after a crash; the sink knows what it has.
    async fn write(&self, events: Vec<CommittedEvent>) -> Result<(), String> {
        let lines = self.lines(&events).await;
        self.sink.put_page(self.name(), lines).await.map_err(|error| error.message)
    }

    /// Events of Express executions come once at most and have no position.
    async fn write_express(&self, events: Vec<CommittedEvent>) -> Result<(), String> {
        let mut lines = self.lines(&events).await;
        let Some(LogLine { account, region, group, stream, .. }) = lines.first().cloned() else {
            return Ok(());
        };
        let events = lines.drain(..).map(|line| (line.at_ms, line.message)).collect();
        self.sink.put(&account, &region, &group, &stream, events).await.map_err(|error| error.message)
    }
}

impl Observer for Logs {
    fn name(&self) -> &str {
        "cloudwatch-logs"
    }
    fn observe(&self, events: Vec<CommittedEvent>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.write(events))
    }
    fn observe_express(&self, events: Vec<CommittedEvent>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.write_express(events))
    }
}

fn destination(logging: &Value) -> Option<Destination> {
    let level = match logging["level"].as_str()? {
        "ALL" => Level::All,
        "ERROR" => Level::Error,
        "FATAL" => Level::Fatal,
        _ => return None,
    };
    let arn = logging["destinations"][0]["cloudWatchLogsLogGroup"]["logGroupArn"].as_str()?;
    let parts: Vec<&str> = arn.splitn(7, ':').collect();
    let &[_, _, _, region, account, _, group] = parts.as_slice() else { return None };
    let data = match logging["includeExecutionData"].as_bool() {
        Some(true) => Data::Included,
        _ => Data::Left,
    };
    let group = group.strip_suffix(":*").unwrap_or(group);
    Some(Destination { account: account.into(), region: region.into(), group: group.into(), level, data })
}

/// `states/MACHINE/DATE/HASH`, one stream an execution.
fn stream(event: &CommittedEvent) -> String {
    let started = jiff::Timestamp::from_millisecond(event.start_date.epoch_millis()).unwrap_or_default();
    let digest = runtime::hash(&event.start.execution_arn);
    let date = started.strftime("%Y-%m-%d-%H-%M");
    format!("states/{}/{date}/{}", event.start.state_machine_name, hex::encode(&digest.0[..4]))
}

fn line(event: &CommittedEvent, to: &Destination) -> Option<String> {
    let id = event.event.history_id?;
    let projection = project(&event.event.kind, to.data);
    if !logged(&projection.event_type, to.level) {
        return None;
    }
    let mut line = json!({
        "id": id.to_string(),
        "type": projection.event_type,
        "details": projection.details,
        "previous_event_id": event.event.prev.to_string(),
        "event_timestamp": event.event.at.epoch_millis().to_string(),
        "execution_arn": &*event.start.execution_arn,
        "redrive_count": event.redrive_count.to_string(),
    });
    if let Some(map_run) = &event.start.map_run {
        line["map_run_arn"] = (&*map_run.map_run_arn).into();
    }
    Some(line.to_string())
}

/// The levels of "Logging using CloudWatch Logs" in AWS's developer guide.
fn logged(event_type: &str, level: Level) -> bool {
    let fatal = matches!(event_type, "ExecutionAborted" | "ExecutionFailed" | "ExecutionTimedOut");
    match level {
        Level::All => true,
        Level::Fatal => fatal,
        Level::Error => {
            let broken = ["Failed", "Aborted", "TimedOut"].iter().any(|end| event_type.ends_with(end));
            let unlisted = event_type.starts_with("Activity") || event_type == "EvaluationFailed";
            fatal || (broken && !unlisted) || event_type == "FailStateEntered"
        }
    }
}
