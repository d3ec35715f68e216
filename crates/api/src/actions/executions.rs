//! Executions: start, stop, redrive, describe, list, history.

use std::sync::Arc;

use asl::payload::Payload;
use engine::{Failure, Start};
use runtime::{
    Direction, ExecutionResult, ExecutionRow, ExecutionStatus, ListBy, ListExecutions, RedriveStatus,
    StartRequest,
};
use serde_json::{Value, json};

use super::machines::metadata_only;
use super::{Answer, Shown, page};
use crate::Api;
use crate::error::ApiError;
use crate::fields::Fields;
use crate::history::{Data, history_event};

fn start_request(fields: &Fields<'_>, trace: Option<&str>) -> Result<StartRequest, ApiError> {
    let invalid = |what: &str| {
        ApiError::new("InvalidExecutionInput", format!("Invalid State Machine Execution Input: '{what}'"))
    };
    let input = match fields.optional("input") {
        None => Payload::empty_object(),
        Some("") => return Err(invalid("Invalid execution input.")),
        Some(text) => Payload::parse(text).map_err(|error| invalid(&error.full_message()))?,
    };
    Ok(StartRequest {
        state_machine_arn: fields.text("stateMachineArn").into(),
        name: fields.shared("name"),
        input,
        trace_header: trace.map(Arc::from).or_else(|| fields.shared("traceHeader")),
    })
}

pub(super) async fn start(api: &Api, fields: &Fields<'_>, trace: Option<&str>) -> Answer {
    let started = api.runtime.start_execution(start_request(fields, trace)?).await?;
    Ok(Shown::new()
        .with("executionArn", &*started.execution_arn)
        .date("startDate", started.start_date)
        .done())
}

pub(super) async fn start_sync(api: &Api, fields: &Fields<'_>, trace: Option<&str>) -> Answer {
    let ended = api.runtime.start_sync_execution(start_request(fields, trace)?).await?;
    let start = &ended.start;
    let data = !metadata_only(fields);
    let mut shown = Shown::new()
        .with("executionArn", &*start.execution_arn)
        .with("stateMachineArn", &*start.state_machine_arn)
        .with("name", &*start.name)
        .date("startDate", ended.start_date)
        .date("stopDate", ended.stop_date)
        .with("status", ended.status.as_str())
        .maybe("traceHeader", start.trace_header.as_ref());
    shown = with_data(shown, start, Some(&ended.result), data);
    if matches!(ended.result, ExecutionResult::Failed(_)) {
        shown = shown.with("outputDetails", json!({ "included": data }));
    }
    let millis = ended.stop_date.since(ended.start_date).as_millis() as u64;
    // Billed in steps of 100 ms and of 64 MB.
    let billed = millis.div_ceil(100).max(1) * 100;
    let billing = json!({ "billedDurationInMilliseconds": billed, "billedMemoryUsedInMB": 64 });
    Ok(shown.with("billingDetails", billing).done())
}

/// Input, and output or error and cause.
fn with_data(shown: Shown, start: &Start, result: Option<&ExecutionResult>, data: bool) -> Shown {
    let included = json!({ "included": data });
    let shown = if data { shown.with("input", start.input.text()) } else { shown };
    let shown = shown.with("inputDetails", included.clone());
    match result {
        Some(ExecutionResult::Succeeded(output)) if data => {
            shown.with("output", output.text()).with("outputDetails", included)
        }
        Some(ExecutionResult::Succeeded(_)) => shown.with("outputDetails", included),
        Some(ExecutionResult::Failed(failure)) => {
            shown.maybe("error", failure.error.as_ref()).maybe("cause", failure.cause.as_ref())
        }
        None => shown,
    }
}

pub(super) async fn stop(api: &Api, fields: &Fields<'_>) -> Answer {
    let failure = Failure { error: fields.shared("error"), cause: fields.shared("cause") };
    let stopped = api.runtime.stop_execution(fields.text("executionArn"), failure).await?;
    Ok(Shown::new().date("stopDate", stopped).done())
}

pub(super) async fn redrive(api: &Api, fields: &Fields<'_>) -> Answer {
    let redriven =
        api.runtime.redrive_execution(fields.text("executionArn"), fields.shared("clientToken")).await?;
    Ok(Shown::new().date("redriveDate", redriven).done())
}

pub(super) async fn describe(api: &Api, fields: &Fields<'_>) -> Answer {
    let described = api.runtime.describe_execution(fields.text("executionArn")).await?;
    let start = &described.start;
    let shown = row(&described.row)
        .maybe("traceHeader", start.trace_header.as_ref())
        .maybe("mapRunArn", described.row.map_run.as_ref().map(|(arn, _)| arn));
    // Measured: that it was States.Timeout stands in the history alone.
    let result = described.result.as_ref().filter(|_| described.row.status != ExecutionStatus::TimedOut);
    let shown = with_data(shown, start, result, !metadata_only(fields));
    let (status, reason) = match &described.redrive_status {
        RedriveStatus::Redrivable => ("REDRIVABLE", None),
        RedriveStatus::RedrivableByMapRun => ("REDRIVABLE_BY_MAP_RUN", None),
        RedriveStatus::NotRedrivable(reason) => ("NOT_REDRIVABLE", Some(*reason)),
    };
    Ok(shown.with("redriveStatus", status).maybe("redriveStatusReason", reason).done())
}

/// What descriptions and lists share.
fn row(row: &ExecutionRow) -> Shown {
    Shown::new()
        .with("executionArn", &*row.arn)
        .with("stateMachineArn", &*row.state_machine_arn)
        .with("name", &*row.name)
        .with("status", row.status.as_str())
        .date("startDate", row.start)
        .maybe_date("stopDate", row.stop)
        .maybe("stateMachineVersionArn", row.version_arn.as_ref())
        .maybe("stateMachineAliasArn", row.alias_arn.as_ref())
        .with("redriveCount", row.redrive_count)
        .maybe_date("redriveDate", row.redrive_date)
}

pub(super) async fn list(api: &Api, fields: &Fields<'_>) -> Answer {
    let by = match (fields.shared("stateMachineArn"), fields.shared("mapRunArn")) {
        (Some(machine), None) => ListBy::StateMachine(machine),
        (None, Some(map_run)) => ListBy::MapRun(map_run),
        _ => {
            let message = "Must specify exactly one of the following parameters: stateMachineArn, mapRunArn";
            return Err(ApiError::validation(message));
        }
    };
    let status = fields.optional("statusFilter").and_then(ExecutionStatus::parse);
    let redriven = fields.optional("redriveFilter").map(|filter| filter == "REDRIVEN");
    let by_machine = matches!(by, ListBy::StateMachine(_));
    if by_machine && status == Some(ExecutionStatus::PendingRedrive) {
        return Err(ApiError::validation(
            "PENDING_REDRIVE status filter is only supported with a Map Run ARN",
        ));
    }
    let listed =
        api.runtime.list_executions(ListExecutions { by, status, redriven, page: fields.page() }).await?;
    let items = listed.executions.iter().map(|execution| {
        let map_run = execution.map_run.as_ref().filter(|_| !by_machine).map(|(arn, _)| arn);
        row(execution).maybe("mapRunArn", map_run).done()
    });
    Ok(page("executions", items.collect(), listed.next_token))
}

pub(super) async fn history(api: &Api, fields: &Fields<'_>) -> Answer {
    let direction = match fields.flag("reverseOrder") {
        Some(true) => Direction::Backward,
        _ => Direction::Forward,
    };
    let data = match fields.flag("includeExecutionData") {
        Some(false) => Data::Left,
        _ => Data::Included,
    };
    let history =
        api.runtime.execution_history(fields.text("executionArn"), direction, fields.page()).await?;
    let events: Vec<Value> = history.events.iter().filter_map(|event| history_event(event, data)).collect();
    Ok(page("events", events, history.next_token))
}
