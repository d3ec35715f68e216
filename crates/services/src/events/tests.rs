//! EventBridge through the front, with a log group as the witness.

use super::Event;
use crate::configuration::Enforce;
use crate::fixture::{ACCOUNT, Fixture, role_arn};
use crate::wire::{CallContext, Principal, ServiceError, ServiceRequest};
use crate::{Services, ServicesConfig};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

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
        if events.len() >= count || started.elapsed() > Duration::from_secs(60) {
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
async fn a_status_event_starts_an_execution_in_the_name_of_the_targets_role() {
    let fixture = Fixture::open(Enforce::Log);
    let mut calls = fixture.sdk_calls([]);
    let rule = json!({"Name": "failed", "EventPattern": r#"{"source":["aws.states"],"detail":{"status":["FAILED"]}}"#});
    fixture.json("events", "PutRule", rule).await.expect("rule");
    let machine = "arn:aws:states:us-east-1:000000000000:stateMachine:repair";
    let target = json!({"Rule": "failed", "Targets": [{"Id": "1", "Arn": machine, "Input": "{}",
        "RoleArn": role_arn("r")}]});
    fixture.json("events", "PutTargets", target).await.expect("targets");
    let event = Event {
        source: "aws.states".to_owned(),
        detail_type: "Step Functions Execution Status Change".to_owned(),
        at_ms: 0,
        resources: Vec::new(),
        detail: json!({"status": "FAILED"}),
    };
    let sink = fixture.services.environment().events().expect("events");
    sink.put(ACCOUNT, "us-east-1", vec![event]).await.expect("put");
    let (context, call) = calls.recv().await.expect("a call");
    assert_eq!(context.source_arn.as_deref(), Some("arn:aws:events:us-east-1:000000000000:rule/failed"));
    assert_eq!(context.principal.identity(), role_arn("r"));
    assert_eq!((call.service.as_str(), call.action.as_str()), ("sfn", "startExecution"));
    assert_eq!(call.parameters["stateMachineArn"], machine);
    assert_eq!(call.parameters["input"], "{}");
    fixture.services.shutdown().await;
}

#[tokio::test]
async fn a_rule_with_a_schedule_makes_events_in_utc_and_makes_up_for_a_restart() {
    let fixture = Fixture::open(Enforce::Log);
    fixture.set_time("2027-01-15T08:00:30Z");
    fixture.json("sqs", "CreateQueue", json!({"QueueName": "q"})).await.expect("queue");
    let targets = |rule: &str| {
        let arn = "arn:aws:sqs:us-east-1:000000000000:q";
        json!({"Rule": rule, "Targets": [{"Id": "1", "Arn": arn, "RoleArn": role_arn("r"), "InputPath": "$.time"}]})
    };
    for (rule, expression) in [("cron", "cron(0 9-10 * * ? *)"), ("rate", "rate(90 minutes)")] {
        let input = json!({"Name": rule, "ScheduleExpression": expression});
        fixture.json("events", "PutRule", input).await.expect("rule");
        fixture.json("events", "PutTargets", targets(rule)).await.expect("targets");
    }
    let shown = fixture.json("events", "DescribeRule", json!({"Name": "rate"})).await.expect("rule");
    assert_eq!(shown["ScheduleExpression"], "rate(90 minutes)");
    assert_eq!(shown.get("EventPattern"), None);
    fixture.services.shutdown().await;
    fixture.set_time("2027-01-15T10:30:00Z");
    let fixture = fixture.reopened().await;
    let mut times = Vec::new();
    for _ in 0..3 {
        let input = json!({"QueueUrl": format!("http://localhost:4566/{ACCOUNT}/q"), "WaitTimeSeconds": 20});
        let answer = fixture.json("sqs", "ReceiveMessage", input).await.expect("receive");
        times.push(answer["Messages"][0]["Body"].as_str().expect("a message").to_owned());
    }
    times.sort();
    let expected = ["2027-01-15T09:00:00Z", "2027-01-15T09:30:30Z", "2027-01-15T10:00:00Z"];
    assert_eq!(times, expected.map(|time| format!("\"{time}\"")));
    fixture.services.shutdown().await;
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
            json!({"Name": "r"}),
            "ValidationException: Parameter(s) EventPattern or ScheduleExpression must be specified.",
        ),
        (
            "PutRule",
            json!({"Name": "r", "ScheduleExpression": "rate(1 minutes)"}),
            "ValidationException: Parameter ScheduleExpression is not valid.",
        ),
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
