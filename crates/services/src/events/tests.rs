//! EventBridge through the front, with a log group as the witness.

use super::{Event, StartExecution};
use crate::wire::{CallContext, Principal, ServiceError, ServiceRequest};
use crate::{Services, ServicesConfig};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

fn context() -> CallContext {
    CallContext::of(Principal::Root { account: "123456789012".to_owned() }, "eu-west-1")
}

async fn call(
    services: &Services,
    service: &str,
    operation: &str,
    input: Value,
) -> Result<Value, ServiceError> {
    let request = ServiceRequest::json_call(operation, &input);
    let body = services.call(&context(), service, request).await?.body_bytes();
    Ok(if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("json") })
}

/// The messages of the log group, once there are `count`.
async fn logged(services: &Services, count: usize) -> Vec<String> {
    let started = Instant::now();
    loop {
        let found = call(services, "logs", "FilterLogEvents", json!({"logGroupName": "seen"})).await;
        let events = found.ok().and_then(|found| found["events"].as_array().cloned()).unwrap_or_default();
        if events.len() >= count || started.elapsed() > Duration::from_secs(10) {
            return events.iter().filter_map(|event| event["message"].as_str().map(str::to_owned)).collect();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_matching_event_reaches_its_targets() {
    let directory = tempfile::tempdir().expect("directory");
    let services = Services::open(ServicesConfig::new(directory.path())).expect("open");
    let rule = json!({"Name": "paid", "EventPattern": r#"{"source":["shop"],"detail":{"total":[{"numeric":[">",10]}]}}"#});
    call(&services, "events", "PutRule", rule).await.expect("rule");
    let target = json!({"Rule": "paid", "Targets": [{"Id": "1", "InputPath": "$.detail.total",
        "Arn": "arn:aws:logs:eu-west-1:123456789012:log-group:seen"}]});
    call(&services, "events", "PutTargets", target).await.expect("targets");
    let entry = |total: i64| json!({"Source": "shop", "DetailType": "order", "Detail": json!({"total": total}).to_string()});
    let answer =
        call(&services, "events", "PutEvents", json!({"Entries": [entry(5), entry(50), {"Source": "x"}]}))
            .await;
    let answer = answer.expect("put");
    assert_eq!(answer["FailedEntryCount"], 1);
    assert_eq!(answer["Entries"][2]["ErrorCode"], "InvalidArgument");
    assert_eq!(logged(&services, 1).await, ["50"]);
    services.shutdown().await;
}

#[tokio::test]
async fn a_status_event_starts_an_execution() {
    let directory = tempfile::tempdir().expect("directory");
    let services = Services::open(ServicesConfig::new(directory.path())).expect("open");
    let (started, mut starts) = mpsc::unbounded_channel();
    let start: StartExecution = Arc::new(move |context, arn, _, input| {
        let sent = started.send((context.source_arn, arn, input));
        Box::pin(async move { sent.map_err(ServiceError::internal) })
    });
    services.environment().set_start_execution(start);
    let rule = json!({"Name": "failed", "EventPattern": r#"{"source":["aws.states"],"detail":{"status":["FAILED"]}}"#});
    call(&services, "events", "PutRule", rule).await.expect("rule");
    let machine = "arn:aws:states:eu-west-1:123456789012:stateMachine:repair";
    let target = json!({"Rule": "failed", "Targets": [{"Id": "1", "Arn": machine, "Input": "{}",
        "RoleArn": "arn:aws:iam::123456789012:role/r"}]});
    call(&services, "events", "PutTargets", target).await.expect("targets");
    let event = Event {
        source: "aws.states".to_owned(),
        detail_type: "Step Functions Execution Status Change".to_owned(),
        at_ms: 0,
        resources: Vec::new(),
        detail: json!({"status": "FAILED"}),
    };
    let sink = services.environment().events().expect("events");
    sink.put("123456789012", "eu-west-1", vec![event]).await.expect("put");
    let rule_arn = "arn:aws:events:eu-west-1:123456789012:rule/failed".to_owned();
    assert_eq!(starts.recv().await, Some((Some(rule_arn), machine.to_owned(), "{}".to_owned())));
    services.shutdown().await;
}

#[tokio::test]
async fn errors_have_the_words_of_aws() {
    let directory = tempfile::tempdir().expect("directory");
    let services = Services::open(ServicesConfig::new(directory.path())).expect("open");
    let cases = [
        (
            "DescribeRule",
            json!({"Name": "r"}),
            "ResourceNotFoundException: Rule r does not exist on EventBus default.",
        ),
        ("ListRules", json!({"EventBusName": "b"}), "ResourceNotFoundException: Event bus b does not exist."),
        (
            "PutRule",
            json!({"Name": "r", "EventPattern": "{\"a\": 1}"}),
            "InvalidEventPatternException: Event pattern is not valid. Reason: \"a\" must be an object or an array",
        ),
    ];
    for (operation, input, expected) in cases {
        let error = call(&services, "events", operation, input).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
