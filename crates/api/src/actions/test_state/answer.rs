//! TestState's answer: how it ended, and from DEBUG on how the data became what it is.
//!
//! Which parts are shown depends on the state's type and language (recorded for each of them).

use std::collections::BTreeMap;

use asl::payload::Payload;
use asl::program::{QueryLanguage, State, StateKind};
use engine::Failure;
use engine::trial::{Inspection, Trial, Tried};
use runtime::TaskTrace;
use serde_json::{Map, Value};

use super::super::Shown;
use super::request::{Level, Request};

pub(super) fn shown(
    request: &Request,
    trial: &Trial<'_>,
    tried: &Tried,
    result: Option<&Payload>,
    trace: Option<&TaskTrace>,
) -> Value {
    let inspection = trial.inspection();
    let shown = match tried {
        Tried::Passed { output, next } => {
            let (status, shown) = match &inspection.caught {
                Some(failure) => ("CAUGHT_ERROR", failed(Shown::new(), failure)),
                None => ("SUCCEEDED", Shown::new()),
            };
            shown.with("output", output.text()).maybe("nextState", next.as_ref()).with("status", status)
        }
        Tried::Retriable(failure) => failed(Shown::new(), failure).with("status", "RETRIABLE"),
        Tried::Failed(failure) => failed(Shown::new(), failure).with("status", "FAILED"),
        // No trial ends here: tasks and Waits are carried on, what is below a state is mocked.
        Tried::Task(_) | Tried::Waiting(_) | Tried::Below => Shown::new().with("status", "FAILED"),
    };
    if request.level == Level::Info {
        return shown.done();
    }
    let mut data = Shown::new().with("input", request.input.text());
    data = match trial.state().query_language {
        QueryLanguage::JsonPath => by_paths(data, trial.state(), &inspection),
        QueryLanguage::Jsonata => by_expressions(data, trial.state(), &inspection),
    };
    data = data.maybe("result", shown_result(trial.state(), result).map(Payload::text));
    data = map_fields(data, trial.state(), &inspection);
    data = data.maybe("variables", variables(request, &inspection));
    if let Some(trace) = trace.filter(|_| request.level == Level::Trace) {
        data = data.with("request", trace.request.clone());
        if let Some(response) = &trace.response {
            data = data.with("response", response.clone());
        }
    }
    if let Some(details) = error_details(&inspection, tried) {
        data = data.with("errorDetails", details);
    }
    shown.with("inspectionData", data.done()).done()
}

fn failed(shown: Shown, failure: &Failure) -> Shown {
    shown.maybe("error", failure.error.as_ref()).maybe("cause", failure.cause.as_ref())
}

/// The work's result: of a Task, or as a Pass has it written.
fn shown_result<'a>(state: &'a State, result: Option<&'a Payload>) -> Option<&'a Payload> {
    match &state.kind {
        StateKind::Pass(pass) => pass.result.as_ref(),
        StateKind::Task(_) => result,
        _ => None,
    }
}

fn by_paths(data: Shown, state: &State, inspection: &Inspection) -> Shown {
    let text = |payload: &Option<Payload>| payload.as_ref().map(|payload| payload.text().to_owned());
    let (input_path, arguments, result) = match &state.kind {
        StateKind::Task(_) | StateKind::Pass(_) => (true, true, true),
        StateKind::Map(_) => (true, false, true),
        StateKind::Parallel(_) => (false, false, true),
        StateKind::Wait(_) | StateKind::Choice(_) | StateKind::Succeed | StateKind::Fail(_) => {
            (true, false, false)
        }
    };
    data.maybe("afterInputPath", text(&inspection.after_input_path).filter(|_| input_path))
        .maybe("afterParameters", text(&inspection.after_arguments).filter(|_| arguments))
        .maybe("afterResultSelector", text(&inspection.after_result_selector).filter(|_| result))
        .maybe("afterResultPath", text(&inspection.after_result_path).filter(|_| result))
        .maybe("afterItemsPath", text(&inspection.after_items_path))
}

fn by_expressions(data: Shown, state: &State, inspection: &Inspection) -> Shown {
    let written = matches!(state.kind, StateKind::Task(_)) && state.flow.arguments.is_some();
    let arguments = inspection.after_arguments.as_ref().filter(|_| written);
    data.maybe("afterArguments", arguments.map(Payload::text))
}

fn map_fields(data: Shown, state: &State, inspection: &Inspection) -> Shown {
    if !matches!(state.kind, StateKind::Map(_)) {
        return data;
    }
    let pointed = inspection.after_items_pointer.as_ref();
    let pointed = pointed.filter(|_| state.query_language == QueryLanguage::JsonPath);
    let mut data = data
        .maybe("afterItemsPointer", pointed.map(Payload::text))
        .maybe("afterItemSelector", inspection.after_item_selector.as_ref().map(Payload::text))
        .maybe("afterItemBatcher", inspection.after_item_batcher.as_ref().map(Payload::text));
    if let Some(count) = inspection.tolerated_failure_count {
        data = data.with("toleratedFailureCount", count);
    }
    if let Some(percentage) = inspection.tolerated_failure_percentage {
        data = data.with("toleratedFailurePercentage", percentage);
    }
    data.with("maxConcurrency", inspection.max_concurrency.unwrap_or(0))
}

/// The variables after the state, given and assigned, if there are any.
fn variables(request: &Request, inspection: &Inspection) -> Option<String> {
    let all = request.variables.iter().chain(&inspection.assigned);
    let all: BTreeMap<&str, &Payload> = all.map(|(name, value)| (&**name, value)).collect();
    let members: Map<String, Value> =
        all.into_iter().map(|(name, value)| (name.to_owned(), value.value().clone())).collect();
    (!members.is_empty()).then(|| Value::Object(members).to_string())
}

fn error_details(inspection: &Inspection, tried: &Tried) -> Option<Value> {
    let mut details = Map::new();
    if let Some(index) = inspection.catch_index {
        details.insert("catchIndex".into(), index.into());
    } else if let Some(index) = inspection.retry_index {
        details.insert("retryIndex".into(), index.into());
        if let (Tried::Retriable(_), Some(delay)) = (tried, inspection.retry_delay) {
            details.insert("retryBackoffIntervalSeconds".into(), delay.as_secs().into());
        }
    }
    (!details.is_empty()).then_some(Value::Object(details))
}
