//! What failed, where, and what to do: for an execution that did not succeed.

use serde_json::{Value, json};

use super::execution::{Outcome, Run, by_id};
use super::terminal::Style;

/// Lines of logs shown on failure.
const LOG_LINES: usize = 10;

/// Shows the failed state, the error, the handler's place, its last log lines and one line of advice.
pub async fn explain(run: &Run<'_>, outcome: &Outcome) {
    let terminal = run.terminal;
    let failed = failed_event(&outcome.events);
    let error = outcome.description["error"].as_str().unwrap_or_default();
    let cause = outcome.description["cause"].as_str().unwrap_or_default();
    if let Some(state) = failed.and_then(|event| state_of(&outcome.events, event)) {
        terminal.line(&format!("  state   {}", terminal.paint(Style::Bold, &state)));
    }
    if !error.is_empty() {
        terminal.line(&format!("  error   {}", terminal.paint(Style::Bad, error)));
    }
    let (shown, place) = readable(cause, run);
    if !shown.is_empty() {
        terminal.line(&format!("  cause   {shown}"));
    }
    if let Some(place) = place {
        terminal.line(&format!("  at      {place}"));
    }
    for line in function_logs(run, outcome).await {
        terminal.line(&terminal.paint(Style::Dim, &format!("  log     {line}")));
    }
    terminal.line(&format!("  advice  {}", advice(error, cause)));
}

/// The last failure that is not the execution's own.
fn failed_event(events: &[Value]) -> Option<&Value> {
    events.iter().rev().find(|event| {
        let kind = event["type"].as_str().unwrap_or_default();
        (kind.ends_with("Failed") || kind.ends_with("TimedOut") || kind == "FailStateEntered")
            && !kind.starts_with("Execution")
    })
}

/// Walks back to the state that the event happened in.
fn state_of(events: &[Value], event: &Value) -> Option<String> {
    let events = by_id(events);
    let mut current = Some(event);
    while let Some(event) = current {
        if let Some(name) = event["stateEnteredEventDetails"]["name"].as_str() {
            return Some(name.to_string());
        }
        current = events.get(&event["previousEventId"].as_u64()?).copied();
    }
    None
}

/// A cause in one line, and the place in the user's own file.
fn readable(cause: &str, run: &Run<'_>) -> (String, Option<String>) {
    let payload: Value = serde_json::from_str(cause).unwrap_or_default();
    let frames = payload["stackTrace"].as_array();
    let last = frames.and_then(|frames| frames.last()).and_then(Value::as_str);
    (in_words(cause), last.and_then(|frame| local_place(frame, run)))
}

/// What a function's or container's error payload says, in one line; any other cause as it is.
pub(super) fn in_words(cause: &str) -> String {
    let Ok(payload) = serde_json::from_str::<Value>(cause) else { return cause.to_string() };
    if let Some(containers) = payload["Containers"].as_array() {
        let stopped = payload["StoppedReason"].as_str().unwrap_or_default();
        let codes: Vec<String> = containers
            .iter()
            .map(|c| format!("{} exited with {}", c["Name"].as_str().unwrap_or_default(), c["ExitCode"]))
            .collect();
        return format!("{stopped}: {}", codes.join(", "));
    }
    payload["errorMessage"].as_str().unwrap_or(cause).to_string()
}

/// `File "/var/task/app.py", line 27` → the file beside the template.
fn local_place(frame: &str, run: &Run<'_>) -> Option<String> {
    let path = frame.split('"').nth(1)?;
    let line: String = frame.split("line ").nth(1)?.chars().take_while(char::is_ascii_digit).collect();
    let name = path.strip_prefix("/var/task/")?;
    let folders = run.stack.resources.values().filter_map(|r| r.properties["Code"]["Passo::Folder"].as_str());
    folders
        .map(|folder| run.project.folder.join(folder).join(name))
        .find(|candidate| candidate.is_file())
        .map(|file| format!("{}:{line}", file.display()))
}

/// The last lines of the functions that the workflow calls.
async fn function_logs(run: &Run<'_>, outcome: &Outcome) -> Vec<String> {
    let since = outcome.description["startDate"].as_f64().unwrap_or_default() * 1000.0;
    let mut lines = Vec::new();
    for resource in run.stack.resources.values() {
        let group = match resource.kind.as_str() {
            "AWS::Lambda::Function" => {
                format!("/aws/lambda/{}", resource.reference.as_str().unwrap_or_default())
            }
            "AWS::ECS::TaskDefinition" => {
                let options = &resource.properties["ContainerDefinitions"][0]["LogConfiguration"]["Options"];
                options["awslogs-group"].as_str().unwrap_or_default().to_string()
            }
            _ => continue,
        };
        let body = json!({ "logGroupName": group, "startTime": since as i64 });
        let Ok(found) = run.client.json("logs", "Logs_20140328.FilterLogEvents", body).await else {
            continue;
        };
        for event in found["events"].as_array().into_iter().flatten() {
            let at = event["timestamp"].as_i64().unwrap_or_default();
            let text = event["message"].as_str().unwrap_or_default().trim_end().to_string();
            lines.push((at, text));
        }
    }
    lines.sort();
    let from = lines.len().saturating_sub(LOG_LINES);
    lines.drain(from..).flat_map(|(_, text)| text.lines().map(str::to_string).collect::<Vec<_>>()).collect()
}

/// One line of what to do.
fn advice(error: &str, cause: &str) -> String {
    let denied = error.contains("AccessDenied") || cause.contains("is not authorized to perform");
    match error {
        _ if denied => {
            let action = cause.split("perform: ").nth(1).and_then(|rest| rest.split_whitespace().next());
            format!("allow {} in the role named above, or run with --iam log", action.unwrap_or("the action"))
        }
        "States.Timeout" => {
            "the work took longer than TimeoutSeconds: raise it, or see why it is slow".into()
        }
        "States.Runtime" => {
            "the definition and the data do not fit: look at the path named in the cause".into()
        }
        "States.QueryEvaluationError" => "try the expression on the state's input; the cause names it".into(),
        "States.DataLimitExceeded" => "pass a reference (an S3 key) instead of the data itself".into(),
        "States.TaskFailed" => "the task's own log above says why it ended".into(),
        "RunTimeout" => "the execution was stopped by --timeout; give it more time".into(),
        _ if error.contains("ImportModuleError") || error.contains("HandlerNotFound") => {
            "check Handler and CodeUri of the function; `sam build` installs its requirements".into()
        }
        _ => "catch the error by its name in the state's Catch, or retry it in Retry".into(),
    }
}
