//! Map Runs.

use runtime::{MapRunDescription, UpdateMapRun};
use serde_json::{Value, json};

use super::{Answer, Shown, nothing, page};
use crate::Api;
use crate::fields::Fields;

pub(super) async fn list(api: &Api, fields: &Fields<'_>) -> Answer {
    if fields.get("nextToken").is_some() {
        return Err(runtime::Error::InvalidToken.into());
    }
    let listed = api.runtime.list_map_runs(fields.text("executionArn")).await?;
    let items = listed.iter().map(|run| {
        Shown::new()
            .with("executionArn", &*run.execution_arn)
            .with("mapRunArn", &*run.map_run_arn)
            .with("stateMachineArn", &*run.state_machine_arn)
            .date("startDate", run.start_date)
            .maybe_date("stopDate", run.stop_date)
            .done()
    });
    // An execution has few Map Runs: they are one page, so no token was ever given.
    Ok(page("mapRuns", items.collect(), None))
}

pub(super) async fn describe(api: &Api, fields: &Fields<'_>) -> Answer {
    let run = api.runtime.describe_map_run(fields.text("mapRunArn")).await?;
    let thresholds = &run.thresholds;
    let percentage = thresholds.tolerated_failure_millionths.unwrap_or(0) as f64 / 1_000_000.0;
    let shown = Shown::new()
        .with("mapRunArn", &*run.map_run_arn)
        .with("executionArn", &*run.execution_arn)
        .with("status", run.status.as_str())
        .date("startDate", run.start_date)
        .maybe_date("stopDate", run.stop_date)
        .with("maxConcurrency", thresholds.max_concurrency)
        .with("toleratedFailureCount", thresholds.tolerated_failure_count.unwrap_or(0))
        .with("toleratedFailurePercentage", percentage)
        .with("itemCounts", counts(&run, Counted::Items))
        .with("executionCounts", counts(&run, Counted::Executions));
    // Recorded: a Map Run that was never redriven does not say so.
    Ok(match run.redrive_count {
        0 => shown.done(),
        count => shown.with("redriveCount", count).maybe_date("redriveDate", run.redrive_date).done(),
    })
}

#[derive(Clone, Copy)]
enum Counted {
    Items,
    Executions,
}

fn counts(run: &MapRunDescription, counted: Counted) -> Value {
    let counts = match counted {
        Counted::Items => &run.items,
        Counted::Executions => &run.executions,
    };
    let ended = counts.succeeded + counts.failed + counts.timed_out + counts.aborted;
    let known = counts.running + ended + counts.pending_redrive;
    let mut shown = json!({
        "pending": counts.total.saturating_sub(known),
        "running": counts.running,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "timedOut": counts.timed_out,
        "aborted": counts.aborted,
        "total": counts.total,
        "resultsWritten": counts.results_written,
    });
    // Like redriveCount: only of one that was redriven.
    if run.redrive_count > 0 {
        shown["pendingRedrive"] = json!(counts.pending_redrive);
    }
    shown
}

pub(super) async fn update(api: &Api, fields: &Fields<'_>) -> Answer {
    let update = UpdateMapRun {
        max_concurrency: fields.number("maxConcurrency"),
        tolerated_failure_count: fields.number("toleratedFailureCount"),
        tolerated_failure_percentage: fields.get("toleratedFailurePercentage").and_then(Value::as_f64),
    };
    api.runtime.update_map_run(fields.text("mapRunArn"), update).await?;
    Ok(nothing())
}
