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
            let seconds = self.description[name].as_f64();
            let at =
                seconds.and_then(|s| jiff::Timestamp::from_millisecond((s * 1000.0).round() as i64).ok());
            shown.insert(name.into(), at.map_or(Value::Null, |at| at.to_string().into()));
        }
        Value::Object(shown)
    }
}

fn refused(error: CallError) -> Failed {
    if error.code.is_empty() {
        Failed::Environment(error.to_string())
    } else {
        Failed::Usage(error.to_string())
    }
}

impl Run<'_> {
    /// Starts the execution and shows its events until it has ended.
    pub async fn follow(&self, input: &Value, timeout: Option<Duration>) -> Result<Outcome, Failed> {
        let body = json!({ "stateMachineArn": self.machine.arn, "input": input.to_string() });
        let started = self.client.states("StartExecution", body).await.map_err(refused)?;
        let execution_arn = started["executionArn"].as_str().unwrap_or_default().to_string();
        self.terminal.line(&self.terminal.paint(Style::Dim, &format!("  {:<7} {execution_arn}", "started")));
        self.terminal.line("");
        let mut follower = Follower::new(self.terminal, &self.machine.definition);
        let mut events: Vec<Value> = Vec::new();
        let started_at = std::time::Instant::now();
        let mut stopping = false;
        loop {
            let news = self.news(&execution_arn, &events).await?;
            let ended = news.iter().any(is_end);
            news.iter().for_each(|event| follower.event(event));
            events.extend(news);
            if ended {
                break;
            }
            if timeout.is_some_and(|timeout| started_at.elapsed() > timeout) && !stopping {
                stopping = true;
                let cause = "passo run --timeout has passed";
                let body = json!({ "executionArn": execution_arn, "error": "RunTimeout", "cause": cause });
                self.client.states("StopExecution", body).await.map_err(refused)?;
            }
            follower.tick();
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.terminal.clear_status();
        let body = json!({ "executionArn": execution_arn });
        let description = self.client.states("DescribeExecution", body).await.map_err(refused)?;
        let status = description["status"].as_str().unwrap_or_default().to_string();
        Ok(Outcome { execution_arn, status, description, events })
    }

    /// Events that were not seen yet, oldest first: pages from the end back to the last known one.
    async fn news(&self, execution_arn: &str, known: &[Value]) -> Result<Vec<Value>, Failed> {
        let last = known.last().and_then(|event| event["id"].as_u64()).unwrap_or(0);
        let mut news = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut body = json!({ "executionArn": execution_arn, "reverseOrder": true, "maxResults": PAGE });
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

    /// Status and output, or what failed and what to do about it.
    pub async fn report(&self, outcome: &Outcome) {
        let start = outcome.description["startDate"].as_f64().unwrap_or_default();
        let stop = outcome.description["stopDate"].as_f64().unwrap_or(start);
        let seconds = stop - start;
        let good = outcome.status == "SUCCEEDED";
        let (mark, style) = if good { ("✓", Style::Good) } else { ("✗", Style::Bad) };
        self.terminal.line("");
        let title = format!("{mark} {}", outcome.status);
        self.terminal.line(&format!("{} in {seconds:.2} s", self.terminal.paint(style, &title)));
        if good {
            let output = outcome.description["output"].as_str().unwrap_or("null");
            let parsed: Value = serde_json::from_str(output).unwrap_or_else(|_| output.into());
            let pretty = serde_json::to_string_pretty(&parsed).unwrap_or_default();
            self.terminal.line("output:");
            pretty.lines().for_each(|line| self.terminal.line(&format!("  {line}")));
            return;
        }
        advice::explain(self, outcome).await;
    }
}

fn is_end(event: &Value) -> bool {
    let kind = event["type"].as_str().unwrap_or_default();
    matches!(kind, "ExecutionSucceeded" | "ExecutionFailed" | "ExecutionTimedOut" | "ExecutionAborted")
}

/// Events by id.
pub fn by_id(events: &[Value]) -> HashMap<u64, &Value> {
    events.iter().filter_map(|event| Some((event["id"].as_u64()?, event))).collect()
}
