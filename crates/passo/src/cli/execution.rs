//! One execution seen from the command line: start, follow to its end, report.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use templates::Stack;

use super::follow::Follower;
use super::project::Project;
use super::run::Machine;
use super::terminal::{Style, Terminal};
use super::{Failed, advice};
use crate::client::{CallError, Client};

/// Pause between two looks at the history; the server is on this machine.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Most events of a page.
const PAGE: u64 = 1000;

/// What a run is made of.
pub struct Run<'a> {
    pub terminal: &'a Terminal,
    pub client: &'a Client,
    pub project: &'a Project,
    pub stack: &'a Stack,
    pub machine: &'a Machine,
}

/// How it ended.
pub struct Outcome {
    pub execution_arn: String,
    pub status: String,
    pub description: Value,
    /// The whole history.
    pub events: Vec<Value>,
}

impl Outcome {
    /// What `--json` prints.
    pub fn as_json(&self) -> Value {
        let mut shown = Map::new();
        shown.insert("executionArn".into(), self.execution_arn.as_str().into());
        shown.insert("status".into(), self.status.as_str().into());
        if let Some(output) = self.description["output"].as_str() {
            shown.insert("output".into(), serde_json::from_str(output).unwrap_or_else(|_| output.into()));
        }
        for name in ["error", "cause"] {
            if let Some(text) = self.description[name].as_str() {
                shown.insert(name.into(), text.into());
            }
        }
        for name in ["startDate", "stopDate"] {
            shown.insert(name.into(), instant(&self.description[name]));
        }
        Value::Object(shown)
    }
}

/// What a refused call means for the command.
pub(super) fn refused(error: CallError) -> Failed {
    if error.code.is_empty() {
        Failed::Environment(error.to_string())
    } else {
        Failed::Usage(error.to_string())
    }
}

/// An execution that someone looks at, whoever started it.
pub struct Watch<'a> {
    pub terminal: &'a Terminal,
    pub client: &'a Client,
    pub execution_arn: &'a str,
}

impl Watch<'_> {
    /// Shows events until the execution has ended; `timeout` later it is stopped.
    pub async fn to_the_end(
        &self,
        definition: &Value,
        timeout: Option<Duration>,
        mut seen: impl FnMut(&Value),
    ) -> Result<Outcome, Failed> {
        let mut follower = Follower::new(self.terminal, definition);
        let mut events: Vec<Value> = Vec::new();
        let started_at = std::time::Instant::now();
        let mut stopping = false;
        loop {
            let news = self.news(&events).await?;
            let ended = news.iter().any(is_end);
            for event in &news {
                seen(event);
                follower.event(event);
            }
            events.extend(news);
            if ended {
                break;
            }
            if timeout.is_some_and(|timeout| started_at.elapsed() > timeout) && !stopping {
                stopping = true;
                let cause = "passo run --timeout has passed";
                let body =
                    json!({ "executionArn": self.execution_arn, "error": "RunTimeout", "cause": cause });
                self.client.states("StopExecution", body).await.map_err(refused)?;
            }
            let progress = match follower.map_run() {
                Some(map_run) => self.progress(map_run).await,
                None => String::new(),
            };
            follower.tick(&progress);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.terminal.clear_status();
        let description = self.description().await?;
        let status = description["status"].as_str().unwrap_or_default().to_string();
        Ok(Outcome { execution_arn: self.execution_arn.to_string(), status, description, events })
    }

    /// How many children of a Map Run have ended, for the status line.
    async fn progress(&self, map_run: &str) -> String {
        let found = self.client.states("DescribeMapRun", json!({ "mapRunArn": map_run })).await;
        let counts = found.map(|found| found["itemCounts"].clone()).unwrap_or_default();
        let count = |name: &str| counts[name].as_u64().unwrap_or(0);
        let ended: u64 = ["succeeded", "failed", "timedOut", "aborted"].map(count).iter().sum();
        match count("total") {
            0 => String::new(),
            total => format!(": {ended} of {total}"),
        }
    }

    /// `DescribeExecution`.
    pub async fn description(&self) -> Result<Value, Failed> {
        let body = json!({ "executionArn": self.execution_arn });
        self.client.states("DescribeExecution", body).await.map_err(refused)
    }

    /// Events that were not seen yet, oldest first: pages from the end back to the last known one.
    pub async fn news(&self, known: &[Value]) -> Result<Vec<Value>, Failed> {
        let last = known.last().and_then(|event| event["id"].as_u64()).unwrap_or(0);
        let mut news = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut body =
                json!({ "executionArn": self.execution_arn, "reverseOrder": true, "maxResults": PAGE });
            if let Some(token) = &token {
                body["nextToken"] = token.as_str().into();
            }
            let page = self.client.states("GetExecutionHistory", body).await.map_err(refused)?;
            let events = page["events"].as_array().cloned().unwrap_or_default();
            let fresh = events.into_iter().take_while(|event| event["id"].as_u64().unwrap_or(0) > last);
            let before = news.len();
            news.extend(fresh);
            token = page["nextToken"].as_str().map(str::to_string);
            if token.is_none() || news.len() - before < PAGE as usize {
                break;
            }
        }
        news.reverse();
        Ok(news)
    }
}

impl Run<'_> {
    /// Starts the execution and shows its events until it has ended.
    pub async fn follow(&self, input: &Value, timeout: Option<Duration>) -> Result<Outcome, Failed> {
        let body = json!({ "stateMachineArn": self.machine.arn, "input": input.to_string() });
        let started = self.client.states("StartExecution", body).await.map_err(refused)?;
        let execution_arn = started["executionArn"].as_str().unwrap_or_default();
        self.terminal.line(&self.terminal.paint(Style::Dim, &format!("  {:<7} {execution_arn}", "started")));
        self.terminal.line("");
        let watch = Watch { terminal: self.terminal, client: self.client, execution_arn };
        watch.to_the_end(&self.machine.definition, timeout, |_| {}).await
    }

    /// Status and output, or what failed and what to do about it.
    pub async fn report(&self, outcome: &Outcome) {
        if !ending(self.terminal, outcome) {
            advice::explain(self, outcome).await;
        }
    }
}

/// Status and, if it is SUCCEEDED, the output; tells whether it is.
pub(super) fn ending(terminal: &Terminal, outcome: &Outcome) -> bool {
    let start = outcome.description["startDate"].as_f64().unwrap_or_default();
    let stop = outcome.description["stopDate"].as_f64().unwrap_or(start);
    let seconds = stop - start;
    let good = outcome.status == "SUCCEEDED";
    let (mark, style) = if good { ("✓", Style::Good) } else { ("✗", Style::Bad) };
    terminal.line("");
    let title = format!("{mark} {}", outcome.status);
    terminal.line(&format!("{} in {seconds:.2} s", terminal.paint(style, &title)));
    if good {
        let output = outcome.description["output"].as_str().unwrap_or("null");
        let parsed: Value = serde_json::from_str(output).unwrap_or_else(|_| output.into());
        let pretty = serde_json::to_string_pretty(&parsed).unwrap_or_default();
        terminal.line("output:");
        pretty.lines().for_each(|line| terminal.line(&format!("  {line}")));
    }
    good
}

/// Seconds of the epoch as a date that people and programs read.
pub(super) fn instant(seconds: &Value) -> Value {
    let millis = seconds.as_f64().map(|seconds| (seconds * 1000.0).round() as i64);
    let at = millis.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    at.map_or(Value::Null, |at| at.to_string().into())
}

fn is_end(event: &Value) -> bool {
    let kind = event["type"].as_str().unwrap_or_default();
    matches!(kind, "ExecutionSucceeded" | "ExecutionFailed" | "ExecutionTimedOut" | "ExecutionAborted")
}

/// Events by id.
pub fn by_id(events: &[Value]) -> HashMap<u64, &Value> {
    events.iter().filter_map(|event| Some((event["id"].as_u64()?, event))).collect()
}
