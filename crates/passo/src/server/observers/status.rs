//! "Step Functions Execution Status Change" events of Standard executions, on the default bus of their account.
//!
//! Shapes as in "Automating Step Functions event delivery with EventBridge" of AWS's developer guide: every member is
//! always there, null when it has no value.

use engine::EventKind;
use runtime::{BoxFuture, CommittedEvent, Observer};
use serde_json::{Value, json};
use services::events::{Event, EventSink, PlacedEvent};

/// EventBridge takes 256 KiB; AWS leaves input and output out before that.
const DATA_BYTES_MAX: usize = 248 * 1024;

/// Puts an event for each start, end and redrive.
pub(super) struct StatusChanges {
    sink: EventSink,
}

impl StatusChanges {
    pub fn new(sink: EventSink) -> StatusChanges {
        StatusChanges { sink }
    }

    /// A page may come again after a crash; the sink knows what it has.
    async fn put(&self, events: Vec<CommittedEvent>) -> Result<(), String> {
        let placed = events.iter().filter_map(placed).collect();
        self.sink.put_page(self.name(), placed).await.map_err(|error| error.message)
    }
}

impl Observer for StatusChanges {
    fn name(&self) -> &str {
        "eventbridge"
    }
    fn observe(&self, events: Vec<CommittedEvent>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.put(events))
    }
    /// Express executions emit none, as on AWS.
    fn observe_express(&self, _: Vec<CommittedEvent>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

fn placed(event: &CommittedEvent) -> Option<PlacedEvent> {
    let detail = detail(event)?;
    Some(PlacedEvent {
        account: event.start.account.to_string(),
        region: event.start.region.to_string(),
        position: event.position,
        event: Event {
            source: "aws.states".into(),
            detail_type: "Step Functions Execution Status Change".into(),
            at_ms: event.event.at.epoch_millis(),
            resources: vec![event.start.execution_arn.to_string()],
            detail,
        },
    })
}

fn detail(event: &CommittedEvent) -> Option<Value> {
    let (status, output, failure) = match &event.event.kind {
        EventKind::ExecutionStarted { .. } | EventKind::ExecutionRedriven { .. } => ("RUNNING", None, None),
        EventKind::ExecutionSucceeded { output } => ("SUCCEEDED", Some(output), None),
        EventKind::ExecutionFailed { failure } => ("FAILED", None, Some(failure)),
        EventKind::ExecutionTimedOut { failure } => ("TIMED_OUT", None, Some(failure)),
        EventKind::ExecutionAborted { failure } => ("ABORTED", None, Some(failure)),
        _ => return None,
    };
    let start = &event.start;
    let input = start.input.text().to_owned();
    let output = output.map(|output| output.text().to_owned());
    let (input_bytes, output_bytes) = (escaped_bytes(&input), output.as_deref().map_or(0, escaped_bytes));
    let has_input = input_bytes + output_bytes <= DATA_BYTES_MAX;
    let has_output = output_bytes <= DATA_BYTES_MAX;
    let (redrive_status, reason) = match status {
        "RUNNING" | "SUCCEEDED" => {
            ("NOT_REDRIVABLE", format!("Execution is {status} and cannot be redriven"))
        }
        _ => ("REDRIVABLE", format!("Execution is {status} and is redrivable")),
    };
    let is_over = status != "RUNNING";
    Some(json!({
        "executionArn": &*start.execution_arn,
        "stateMachineArn": &*start.state_machine_arn,
        "stateMachineVersionArn": start.version_arn.as_deref(),
        "stateMachineAliasArn": start.alias_arn.as_deref(),
        "name": &*start.name,
        "status": status,
        "startDate": event.start_date.epoch_millis(),
        "stopDate": is_over.then(|| event.event.at.epoch_millis()),
        "redriveCount": event.redrive_count,
        "redriveDate": event.redrive_date.map(|date| date.epoch_millis()),
        "redriveStatus": redrive_status,
        "redriveStatusReason": reason,
        "input": has_input.then_some(input),
        "inputDetails": { "included": has_input },
        "output": output.as_ref().filter(|_| has_output),
        "outputDetails": output.as_ref().map(|_| json!({ "included": has_output })),
        "error": failure.and_then(|failure| failure.error.as_deref()),
        "cause": failure.and_then(|failure| failure.cause.as_deref()),
    }))
}

/// The length of a text as a JSON string.
fn escaped_bytes(text: &str) -> usize {
    text.bytes().map(|byte| if matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t') { 2 } else { 1 }).sum()
}
