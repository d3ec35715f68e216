//! Where the log lines of something are: groups, streams and patterns.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Failed;
use super::execution::Watch;
use super::lookup;
use super::terminal::Terminal;
use crate::client::Client;

/// Lines of a function may come this much after the execution that called it.
const AFTER: i64 = 2_000;

/// Lines of one group.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The log group.
    pub group: String,
    /// Only these streams.
    pub streams: Option<Vec<String>>,
    /// Only lines about this execution.
    pub about: Option<String>,
    /// Whether an execution's last event will be among the lines.
    pub tells_end: bool,
    /// Nothing later, in milliseconds of the epoch.
    pub end: Option<i64>,
}

/// What the user named.
pub struct Found {
    pub sources: Vec<Source>,
    /// Where to begin unless told otherwise, in milliseconds of the epoch.
    pub start: Option<i64>,
    /// The execution, if it is one.
    pub execution: Option<String>,
}

/// A group, a function, or an execution: the first that there is.
pub async fn find(client: &Client, what: &str) -> Result<Found, Failed> {
    let of_group = |group: String| {
        let sources = vec![Source { group, ..Source::default() }];
        Found { sources, start: None, execution: None }
    };
    let parts: Vec<&str> = what.split(':').collect();
    match parts.as_slice() {
        ["arn", _, "states", _, _, "execution" | "express", ..] => return of_execution(client, what).await,
        ["arn", _, "lambda", _, _, "function", name, ..] => {
            return Ok(of_group(format!("/aws/lambda/{name}")));
        }
        ["arn", _, "logs", _, _, "log-group", name, ..] => return Ok(of_group((*name).to_owned())),
        ["arn", ..] => {
            return Err(Failed::Usage(format!("'{what}' is no execution, function or log group")));
        }
        _ => {}
    }
    for group in [what.to_owned(), format!("/aws/lambda/{what}")] {
        if exists(client, &group).await? {
            return Ok(of_group(group));
        }
    }
    if let Some(arn) = lookup::found(client, what).await? {
        return of_execution(client, &arn).await;
    }
    let hint = "`passo executions` lists executions, `aws logs describe-log-groups` lists log groups";
    Err(Failed::Usage(format!("no execution, function or log group '{what}'. hint: {hint}")))
}

async fn exists(client: &Client, group: &str) -> Result<bool, Failed> {
    let body = json!({ "logGroupNamePrefix": group, "limit": 1 });
    let found = client.json("logs", "Logs_20140328.DescribeLogGroups", body).await;
    match found {
        Ok(page) => Ok(page["logGroups"][0]["logGroupName"] == group),
        // No group can have such a name.
        Err(error) if error.code == "InvalidParameterException" => Ok(false),
        Err(error) if error.code.is_empty() => Err(Failed::Environment(format!(
            "{error}\nhint: start a server with `passo serve`, or name another one with --endpoint"
        ))),
        Err(error) => Err(Failed::Usage(error.to_string())),
    }
}

/// Whether an execution has ended.
pub async fn has_ended(client: &Client, execution_arn: &str) -> Result<bool, Failed> {
    let described =
        lookup::states(client, "DescribeExecution", json!({ "executionArn": execution_arn })).await?;
    Ok(described["status"] != "RUNNING")
}

/// The state machine's own lines about the execution, and those of the functions and containers that it started.
pub async fn of_execution(client: &Client, execution_arn: &str) -> Result<Found, Failed> {
    let of_execution = json!({ "executionArn": execution_arn });
    if execution_arn.split(':').nth(5) == Some("express") {
        return of_express(client, execution_arn).await;
    }
    let described = lookup::states(client, "DescribeExecution", of_execution.clone()).await?;
    let machine = lookup::states(client, "DescribeStateMachineForExecution", of_execution).await?;
    let millis = |name: &str| described[name].as_f64().map(|seconds| (seconds * 1000.0) as i64);
    let (start, end) = (millis("startDate"), millis("stopDate").map(|stop| stop + AFTER));
    let mut sources: Vec<Source> = machine_group(&machine, execution_arn).into_iter().collect();
    let silent = Terminal::silent();
    let watch = Watch { terminal: &silent, client, execution_arn };
    let events = watch.news(&[]).await?;
    for group in functions(&events) {
        sources.push(Source { group, end, ..Source::default() });
    }
    sources.extend(containers(client, &events).await);
    Ok(Found { sources, start, execution: Some(execution_arn.to_owned()) })
}

/// An Express execution has no history, only its lines.
async fn of_express(client: &Client, execution_arn: &str) -> Result<Found, Failed> {
    let parts: Vec<&str> = execution_arn.split(':').collect();
    let machine = parts.get(6).copied().unwrap_or_default();
    let machine_arn = format!("{}:stateMachine:{machine}", parts[..5].join(":"));
    let described =
        lookup::states(client, "DescribeStateMachine", json!({ "stateMachineArn": machine_arn })).await?;
    let sources: Vec<Source> = machine_group(&described, execution_arn).into_iter().collect();
    if sources.is_empty() {
        let hint = "set its loggingConfiguration";
        return Err(Failed::Usage(format!("{machine} writes no log. hint: {hint}")));
    }
    Ok(Found { sources, start: None, execution: None })
}

fn machine_group(machine: &Value, execution_arn: &str) -> Option<Source> {
    let logging = &machine["loggingConfiguration"];
    if logging["level"].as_str().is_none_or(|level| level == "OFF") {
        return None;
    }
    let arn = logging["destinations"][0]["cloudWatchLogsLogGroup"]["logGroupArn"].as_str()?;
    let group = arn.split(':').nth(6)?.to_owned();
    let about = Some(execution_arn.to_owned());
    Some(Source { group, about, tells_end: logging["level"] == "ALL", ..Source::default() })
}

/// Groups of the functions that were called, in the order of the first call.
fn functions(events: &[Value]) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    for event in events {
        let scheduled = &event["taskScheduledEventDetails"];
        let parameters: Value = match scheduled["resourceType"].as_str() {
            Some("lambda") => {
                serde_json::from_str(scheduled["parameters"].as_str().unwrap_or_default()).unwrap_or_default()
            }
            _ => Value::Null,
        };
        let direct = event["lambdaFunctionScheduledEventDetails"]["resource"].as_str();
        let Some(named) = parameters["FunctionName"].as_str().or(direct) else { continue };
        let name = match named.split_once(":function:") {
            Some((_, rest)) => rest.split(':').next().unwrap_or(rest),
            None => named.split(':').next().unwrap_or(named),
        };
        let group = format!("/aws/lambda/{name}");
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

/// Streams of the containers that were started; their names hold the task's id.
async fn containers(client: &Client, events: &[Value]) -> Vec<Source> {
    let mut streams: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in events {
        let submitted = &event["taskSubmittedEventDetails"];
        if submitted["resourceType"] != "ecs" {
            continue;
        }
        let output: Value =
            serde_json::from_str(submitted["output"].as_str().unwrap_or_default()).unwrap_or_default();
        for task in output["Tasks"].as_array().into_iter().flatten() {
            for (group, stream) in streams_of(client, task).await {
                streams.entry(group).or_default().push(stream);
            }
        }
    }
    let source = |(group, streams)| Source { group, streams: Some(streams), ..Source::default() };
    streams.into_iter().map(source).collect()
}

async fn streams_of(client: &Client, task: &Value) -> Vec<(String, String)> {
    let id = task["TaskArn"].as_str().and_then(|arn| arn.rsplit('/').next()).unwrap_or_default();
    let body = json!({ "taskDefinition": task["TaskDefinitionArn"] });
    let target = "AmazonEC2ContainerServiceV20141113.DescribeTaskDefinition";
    let Ok(described) = client.json("ecs", target, body).await else { return Vec::new() };
    let containers = described["taskDefinition"]["containerDefinitions"].as_array().into_iter().flatten();
    containers
        .filter_map(|container| {
            let options = &container["logConfiguration"]["options"];
            let group = options["awslogs-group"].as_str()?.to_owned();
            let prefix = options["awslogs-stream-prefix"].as_str()?;
            Some((group, format!("{prefix}/{}/{id}", container["name"].as_str()?)))
        })
        .collect()
}
