//! Where the effects of a run are: log lines, items, messages, mail.

use std::path::Path;

use serde_json::{Value, json};
use templates::Stack;

use super::execution::Outcome;
use super::terminal::{Style, Terminal};
use crate::client::Client;

/// Shows what the stack's resources hold now; `outbox` is the folder of mails, when the server is ours.
pub async fn show(
    terminal: &Terminal,
    client: &Client,
    stack: &Stack,
    outcome: &Outcome,
    outbox: Option<&Path>,
) {
    let since = (outcome.description["startDate"].as_f64().unwrap_or_default() * 1000.0) as i64;
    let mut lines = Vec::new();
    for resource in stack.resources.values() {
        let name = resource.reference.as_str().unwrap_or_default();
        let line = match resource.kind.as_str() {
            "AWS::Logs::LogGroup" => logs(client, name, since).await,
            "AWS::Lambda::Function" => logs(client, &format!("/aws/lambda/{name}"), since).await,
            "AWS::DynamoDB::Table" => table(client, name).await,
            "AWS::S3::Bucket" => bucket(client, name).await,
            "AWS::SQS::Queue" => queue(client, name).await,
            _ => None,
        };
        lines.extend(line);
    }
    for event in &outcome.events {
        lines.extend(map_run(client, &event["mapRunStartedEventDetails"]["mapRunArn"]).await);
    }
    lines.extend(metrics(client, outcome).await);
    lines.extend(outbox.and_then(mails));
    if lines.is_empty() {
        return;
    }
    terminal.line("");
    terminal.line("effects:");
    lines.sort();
    for (what, name, count) in lines {
        let name = terminal.paint(Style::Bold, &name);
        terminal.line(&format!("  {what:<8} {name}  {count}"));
    }
}

type Line = Option<(&'static str, String, String)>;

async fn logs(client: &Client, group: &str, since: i64) -> Line {
    let body = json!({ "logGroupName": group, "startTime": since });
    let found = client.json("logs", "Logs_20140328.FilterLogEvents", body).await.ok()?;
    let count = found["events"].as_array().map_or(0, Vec::len);
    let more = if found.get("nextToken").is_some() { "+" } else { "" };
    (count > 0).then(|| ("log", group.to_string(), format!("{count}{more} lines of this run")))
}

async fn table(client: &Client, name: &str) -> Line {
    let body = json!({ "TableName": name, "Select": "COUNT" });
    let found = client.json("dynamodb", "DynamoDB_20120810.Scan", body).await.ok()?;
    Some(("table", name.to_string(), format!("{} items", found["Count"].as_u64().unwrap_or(0))))
}

async fn queue(client: &Client, url: &str) -> Line {
    let body = json!({ "QueueUrl": url, "AttributeNames": ["ApproximateNumberOfMessages"] });
    let found = client.json("sqs", "AmazonSQS.GetQueueAttributes", body).await.ok()?;
    let count: &Value = &found["Attributes"]["ApproximateNumberOfMessages"];
    Some(("queue", url.to_string(), format!("{} messages waiting", count.as_str().unwrap_or("0"))))
}

async fn bucket(client: &Client, name: &str) -> Line {
    let request = http::Request::get(format!("/{name}?list-type=2")).body(bytes::Bytes::new()).ok()?;
    let answer = client.send("s3", request).await.ok().filter(|answer| answer.status().is_success())?;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    let count = text.split_once("<KeyCount>")?.1.split_once('<')?.0;
    let more = if text.contains("<IsTruncated>true<") { "+" } else { "" };
    Some(("bucket", format!("s3://{name}"), format!("{count}{more} objects")))
}

/// What became of a Map Run's children, which are executions of their own.
async fn map_run(client: &Client, arn: &Value) -> Line {
    let arn = arn.as_str()?;
    let found = client.states("DescribeMapRun", json!({ "mapRunArn": arn })).await.ok()?;
    let count = |name: &str| found["executionCounts"][name].as_u64().unwrap_or(0);
    let not = count("failed") + count("timedOut") + count("aborted");
    let told = format!("{} children succeeded, {not} did not", count("succeeded"));
    Some(("map run", arn.rsplit('/').next()?.split(':').next()?.to_string(), told))
}

/// Executions of this state machine by how they ended, from CloudWatch.
async fn metrics(client: &Client, outcome: &Outcome) -> Line {
    let machine = outcome.description["stateMachineArn"].as_str()?;
    let body = json!({ "Namespace": "AWS/States", "MetricName": "ExecutionTime",
        "Dimensions": [{ "Name": "StateMachineArn", "Value": machine }] });
    let found = client.json("monitoring", "GraniteServiceVersion20100801.ListMetrics", body).await.ok()?;
    let published = found["Metrics"].as_array().is_some_and(|metrics| !metrics.is_empty());
    published.then(|| ("metrics", "AWS/States".into(), "ExecutionTime, ExecutionsStarted, …".into()))
}

fn mails(outbox: &Path) -> Line {
    let mails = std::fs::read_dir(outbox)
        .ok()?
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "eml"));
    let count = mails.count();
    (count > 0).then(|| ("mail", outbox.display().to_string(), format!("{count} mails")))
}
