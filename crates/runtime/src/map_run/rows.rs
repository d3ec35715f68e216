//! Children of a Map Run and their rows.

use std::collections::HashMap;
use std::sync::Arc;

use asl::payload::Payload;
use asl::timestamp::Timestamp;
use engine::map_run::{ChildChange, ChildResult, ChildStatus};
use engine::{Failure, Start};
use serde_json::{Map, Value};
use store::{ExecutionStatus, InputIn, MapRunItem, MapRunItemWrite};

/// What is written for a change; a new child's start is put aside. An ended child keeps its input unless its journal has it.
pub(super) fn write(
    map_run_arn: &Arc<str>,
    express: bool,
    at: Timestamp,
    change: ChildChange,
    starts: &mut HashMap<u64, Arc<Start>>,
) -> MapRunItemWrite {
    let map_run_arn = Arc::clone(map_run_arn);
    match change {
        ChildChange::Scheduled { index, start, items } => {
            let item = MapRunItem {
                map_run_arn,
                index,
                execution_arn: Arc::clone(&start.execution_arn),
                status: ExecutionStatus::Running,
                output: None,
                items,
                input: Some(start.input.clone()),
                start: Some(at),
                stop: None,
                redrive_count: 0,
            };
            starts.insert(index, start);
            MapRunItemWrite::Scheduled(item)
        }
        ChildChange::Redriven { index, redrives } => {
            MapRunItemWrite::Redriven { map_run_arn, index, redrive_count: redrives }
        }
        ChildChange::Ended { index, result } => {
            // One that did not succeed may have been stopped before its start, and be started by a redrive.
            let input = match (&result, express) {
                (ChildResult::Succeeded(_), false) => InputIn::Journal,
                (_, _) => InputIn::Row,
            };
            let (status, output) = outcome(result);
            MapRunItemWrite::Ended { map_run_arn, index, at, status, output, input }
        }
    }
}

fn outcome(result: ChildResult) -> (ExecutionStatus, Option<Payload>) {
    match result {
        ChildResult::Succeeded(output) => (ExecutionStatus::Succeeded, Some(output)),
        ChildResult::Failed(failure) => (ExecutionStatus::Failed, Some(told(&failure))),
        ChildResult::TimedOut(failure) => (ExecutionStatus::TimedOut, Some(told(&failure))),
        ChildResult::Aborted => (ExecutionStatus::Aborted, None),
    }
}

fn told(failure: &Failure) -> Payload {
    let fields = [("Error", &failure.error), ("Cause", &failure.cause)].into_iter();
    let fields = fields.filter_map(|(name, text)| {
        text.as_ref().map(|text| (name.to_owned(), Value::from(text.to_string())))
    });
    Payload::from_value(Value::Object(fields.collect::<Map<_, _>>()))
}

/// How a child ended, from its row; none while it runs.
pub(crate) fn status_of(status: ExecutionStatus) -> Option<ChildStatus> {
    match status {
        ExecutionStatus::Succeeded => Some(ChildStatus::Succeeded),
        ExecutionStatus::Failed => Some(ChildStatus::Failed),
        ExecutionStatus::TimedOut => Some(ChildStatus::TimedOut),
        ExecutionStatus::Aborted => Some(ChildStatus::Aborted),
        ExecutionStatus::Running | ExecutionStatus::PendingRedrive => None,
    }
}
