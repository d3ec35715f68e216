//! Scheduler through the front, on a clock that the test moves, with a witness for what state machines would be told.

use crate::configuration::Enforce;
use crate::fixture::{ACCOUNT, Fixture, role_arn};
use crate::sdk_call::SdkCall;
use crate::wire::{CallContext, ServiceError};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

const MACHINE: &str = "arn:aws:states:us-east-1:000000000000:stateMachine:report";
type Calls = UnboundedReceiver<(CallContext, SdkCall)>;

fn daily() -> Value {
    json!({
        "ScheduleExpression": "cron(0 6 * * ? *)", "ScheduleExpressionTimezone": "America/New_York",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": MACHINE, "RoleArn": role_arn("r"), "Input": "{\"day\":\"<aws.scheduler.scheduled-time>\"}"},
    })
}

fn with(mut schedule: Value, pointer: &str, value: Value) -> Value {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    schedule.pointer_mut(parent).unwrap()[member] = value;
    schedule
}

async fn create(fixture: &Fixture, name: &str, schedule: Value) -> Result<Value, ServiceError> {
    fixture.rest("scheduler", Method::POST, &format!("/schedules/{name}"), schedule).await
}

/// Name and input of the next execution that was asked for.
async fn started(calls: &mut Calls) -> (String, String) {
    let call = tokio::time::timeout(Duration::from_secs(30), calls.recv()).await.expect("a call in time");
    let (context, call) = call.expect("a call");
    assert_eq!(context.principal.identity(), role_arn("r"));
    assert_eq!(
        context.source_arn.as_deref(),
        Some("arn:aws:scheduler:us-east-1:000000000000:schedule-group/default")
    );
    assert_eq!((call.service.as_str(), call.action.as_str()), ("sfn", "startExecution"));
    assert_eq!(call.parameters["stateMachineArn"], MACHINE);
    let text = |member: &str| call.parameters[member].as_str().unwrap().to_owned();
    (text("name"), text("input"))
}

/// The body of the next message, and its attributes.
async fn received(fixture: &Fixture, queue: &str) -> (String, Value) {
    let input = json!({"QueueUrl": format!("http://localhost:4566/{ACCOUNT}/{queue}"), "WaitTimeSeconds": 20,
        "MessageAttributeNames": ["All"]});
    let answer = fixture.json("sqs", "ReceiveMessage", input).await.expect("receive");
    let message = &answer["Messages"][0];
    (message["Body"].as_str().expect("a message").to_owned(), message["MessageAttributes"].clone())
}

#[tokio::test]
async fn a_schedule_is_created_shown_changed_listed_and_deleted() {
    let fixture = Fixture::open(Enforce::Log);
    let arn = "arn:aws:scheduler:us-east-1:000000000000:schedule/default/daily";
    assert_eq!(create(&fixture, "daily", daily()).await.unwrap(), json!({"ScheduleArn": arn}));
    let shown = fixture.rest("scheduler", Method::GET, "/schedules/daily", Value::Null).await.unwrap();
    assert_eq!(shown["Arn"], arn);
    assert_eq!(shown["State"], "ENABLED");
    assert_eq!(shown["ActionAfterCompletion"], "NONE");
    assert_eq!(shown["CreationDate"], 1_800_000_000.0);
    assert_eq!(
        shown["Target"]["RetryPolicy"],
        json!({"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185})
    );
    let changed = with(with(daily(), "/State", json!("DISABLED")), "/Description", json!("each day"));
    fixture.advance_seconds(1);
    fixture.rest("scheduler", Method::PUT, "/schedules/daily", changed).await.unwrap();
    for name in ["a", "b", "c"] {
        create(&fixture, name, daily()).await.unwrap();
    }
    let list = |query: &str| {
        let path = format!("/schedules?{query}");
        let fixture = &fixture;
        async move { fixture.rest("scheduler", Method::GET, &path, Value::Null).await.unwrap() }
    };
    let page = list("MaxResults=2").await;
    assert_eq!(page["Schedules"].as_array().map(Vec::len), Some(2));
    let page = list(&format!("MaxResults=2&NextToken={}", page["NextToken"].as_str().unwrap())).await;
    assert_eq!(page["Schedules"][1]["Name"], "daily");
    assert_eq!(page["Schedules"][1]["Target"], json!({"Arn": MACHINE}));
    assert_eq!(page.get("NextToken"), None);
    let disabled = list("State=DISABLED").await;
    assert_eq!(disabled["Schedules"][0]["LastModificationDate"], 1_800_000_001.0);
    assert_eq!(list("NamePrefix=d").await["Schedules"].as_array().map(Vec::len), Some(1));
    fixture.rest("scheduler", Method::DELETE, "/schedules/daily", Value::Null).await.unwrap();
    let gone = fixture.rest("scheduler", Method::GET, "/schedules/daily", Value::Null).await.unwrap_err();
    assert_eq!(gone.to_string(), "ResourceNotFoundException: Schedule daily does not exist.");
    fixture.services.shutdown().await;
}

#[tokio::test]
async fn groups_hold_schedules_and_tags() {
    let fixture = Fixture::open(Enforce::Log);
    let group = json!({"Tags": [{"Key": "team", "Value": "ops"}, {"Key": "cost", "Value": "1"}]});
    fixture.rest("scheduler", Method::POST, "/schedule-groups/ops", group).await.unwrap();
    create(&fixture, "daily", with(daily(), "/GroupName", json!("ops"))).await.unwrap();
    let tags = "/tags/arn%3Aaws%3Ascheduler%3Aus-east-1%3A000000000000%3Aschedule-group%2Fops";
    let untag = format!("{tags}?TagKeys=cost");
    fixture.rest("scheduler", Method::DELETE, &untag, Value::Null).await.unwrap();
    let found = fixture.rest("scheduler", Method::GET, tags, Value::Null).await.unwrap();
    assert_eq!(found, json!({"Tags": [{"Key": "team", "Value": "ops"}]}));
    let groups = fixture.rest("scheduler", Method::GET, "/schedule-groups", Value::Null).await.unwrap();
    let names: Vec<&Value> =
        groups["ScheduleGroups"].as_array().unwrap().iter().map(|group| &group["Name"]).collect();
    assert_eq!(names, ["default", "ops"]);
    fixture.rest("scheduler", Method::DELETE, "/schedule-groups/ops", Value::Null).await.unwrap();
    let all = fixture.rest("scheduler", Method::GET, "/schedules", Value::Null).await.unwrap();
    assert_eq!(all["Schedules"], json!([]));
    fixture.services.shutdown().await;
}

#[tokio::test]
async fn errors_have_the_words_of_aws() {
    let fixture = Fixture::open(Enforce::On);
    fixture.create_role("r", "scheduler.amazonaws.com").await;
    fixture.create_role("foreign", "lambda.amazonaws.com").await;
    let _calls = fixture.sdk_calls([]);
    create(&fixture, "daily", daily()).await.unwrap();
    let cases = [
        ("daily", daily(), "ConflictException: Schedule daily already exists."),
        (
            "x",
            with(daily(), "/ScheduleExpression", json!("cron(0 1 * * * *)")),
            "ValidationException: Invalid Schedule Expression cron(0 1 * * * *).",
        ),
        (
            "x",
            with(daily(), "/GroupName", json!("none")),
            "ResourceNotFoundException: Schedule group none does not exist.",
        ),
        (
            "x",
            with(daily(), "/Target/RoleArn", json!(role_arn("foreign"))),
            "ValidationException: The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
        ),
        (
            "x",
            with(daily(), "/StartDate", json!(1_700_000_000)),
            "ValidationException: The StartDate you specify cannot be earlier than 5 minutes ago.",
        ),
        (
            "x",
            with(daily(), "/ScheduleExpressionTimezone", json!("Mars/Olympus")),
            "ValidationException: Invalid Schedule Expression Timezone Mars/Olympus.",
        ),
        (
            "x",
            with(daily(), "/Target/Arn", json!("arn:aws:scheduler:::aws-sdk:sqs:noSuchAction")),
            "ValidationException: no such action",
        ),
    ];
    for (name, schedule, expected) in cases {
        let error = create(&fixture, name, schedule).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let again = with(daily(), "/ClientToken", json!("t"));
    create(&fixture, "twice", again.clone()).await.unwrap();
    assert!(create(&fixture, "twice", again).await.is_ok());
    fixture.services.shutdown().await;
}

#[tokio::test]
async fn every_day_has_one_firing_across_the_setting_of_clocks_a_restart_and_a_day_that_was_missed() {
    let fixture = Fixture::open(Enforce::Log);
    let mut calls = fixture.sdk_calls([]);
    // Clocks are set forward on 14 March 2027 in New York.
    fixture.set_time("2027-03-12T20:00:00Z");
    create(&fixture, "daily", daily()).await.unwrap();
    fixture.set_time("2027-03-13T11:00:00Z");
    let (first, input) = started(&mut calls).await;
    assert!(first.starts_with("daily_20270313T110000Z_"), "{first}");
    assert_eq!(input, r#"{"day":"2027-03-13T11:00:00Z"}"#);
    fixture.set_time("2027-03-14T10:00:30Z");
    assert_eq!(started(&mut calls).await.1, r#"{"day":"2027-03-14T10:00:00Z"}"#);
    let fixture = fixture.reopened().await;
    // Nothing is owed after a restart at the same time; half an hour later than the next firing, that one is.
    let mut calls = fixture.sdk_calls([]);
    fixture.set_time("2027-03-15T10:30:00Z");
    assert_eq!(started(&mut calls).await.1, r#"{"day":"2027-03-15T10:00:00Z"}"#);
    fixture.services.shutdown().await;
    // Three days without a server: what is older than a day is dropped.
    fixture.set_time("2027-03-18T12:00:00Z");
    let fixture = fixture.reopened().await;
    let mut calls = fixture.sdk_calls([]);
    assert_eq!(started(&mut calls).await.1, r#"{"day":"2027-03-18T10:00:00Z"}"#);
    fixture.set_time("2027-03-19T10:00:00Z");
    assert_eq!(started(&mut calls).await.1, r#"{"day":"2027-03-19T10:00:00Z"}"#);
    fixture.services.shutdown().await;
}

#[tokio::test]
async fn missed_firings_are_made_up_for_in_order() {
    let fixture = Fixture::open(Enforce::Log);
    fixture.set_time("2027-01-15T08:00:00Z");
    let _calls = fixture.sdk_calls([]);
    let hourly = with(daily(), "/ScheduleExpression", json!("cron(0 * * * ? *)"));
    create(&fixture, "hourly", with(hourly, "/State", json!("DISABLED"))).await.unwrap();
    let hourly = with(daily(), "/ScheduleExpression", json!("cron(0 * * * ? *)"));
    let hourly = with(hourly, "/ScheduleExpressionTimezone", json!("UTC"));
    fixture.advance_seconds(1);
    fixture.rest("scheduler", Method::PUT, "/schedules/hourly", hourly).await.unwrap();
    fixture.services.shutdown().await;
    fixture.set_time("2027-01-15T20:30:00Z");
    let fixture = fixture.reopened().await;
    let mut calls = fixture.sdk_calls([]);
    let mut days = Vec::new();
    for _ in 0..12 {
        days.push(started(&mut calls).await.1);
    }
    let expected: Vec<String> =
        (9..=20).map(|hour| format!(r#"{{"day":"2027-01-15T{hour:02}:00:00Z"}}"#)).collect();
    assert_eq!(days, expected);
    fixture.services.shutdown().await;
}

#[tokio::test]
async fn a_firing_whose_answer_was_lost_asks_again_under_the_same_name() {
    let fixture = Fixture::open(Enforce::Log);
    fixture.set_time("2027-03-12T20:00:00Z");
    // The process goes down while the target works on it.
    let mut calls = fixture.sdk_calls([None]);
    create(&fixture, "daily", daily()).await.unwrap();
    fixture.set_time("2027-03-13T11:00:00Z");
    let first = started(&mut calls).await;
    let fixture = fixture.reopened().await;
    let refused = ServiceError::client("ExecutionAlreadyExists", "Execution Already Exists");
    let mut calls = fixture.sdk_calls([Some(Err(refused))]);
    // An hour later nothing has been tried a third time: an execution that is there counts as started.
    assert_eq!(started(&mut calls).await, first);
    fixture.set_time("2027-03-14T10:00:00Z");
    assert!(started(&mut calls).await.0.starts_with("daily_20270314T100000Z_"));
    fixture.services.shutdown().await;
}

#[tokio::test]
async fn a_target_that_cannot_be_reached_is_tried_again_and_then_its_firing_goes_to_the_queue() {
    let fixture = Fixture::open(Enforce::Log);
    fixture.set_time("2027-03-12T20:00:00Z");
    fixture.json("sqs", "CreateQueue", json!({"QueueName": "dead"})).await.unwrap();
    let down = || Some(Err(ServiceError::unavailable("down")));
    let mut calls = fixture.sdk_calls([down(), down()]);
    let schedule = with(daily(), "/Target/RetryPolicy", json!({"MaximumRetryAttempts": 1}));
    let queue = "arn:aws:sqs:us-east-1:000000000000:dead";
    let schedule = with(schedule, "/Target/DeadLetterConfig", json!({"Arn": queue}));
    let schedule = with(schedule, "/Target/Input", json!("{\"n\":\"<aws.scheduler.attempt-number>\"}"));
    create(&fixture, "daily", schedule).await.unwrap();
    fixture.set_time("2027-03-13T11:00:00Z");
    let (name, input) = started(&mut calls).await;
    assert_eq!(input, r#"{"n":"1"}"#);
    // The failure may be recorded after the clock is set; then the next attempt counts from there.
    let again = loop {
        fixture.advance_seconds(10);
        match tokio::time::timeout(Duration::from_millis(50), calls.recv()).await {
            Ok(Some((_, call))) => break call,
            Ok(None) => panic!("no caller any more"),
            Err(_) => {}
        }
    };
    assert_eq!(again.parameters["name"], name.as_str());
    assert_eq!(again.parameters["input"], r#"{"n":"2"}"#);
    let (body, attributes) = received(&fixture, "dead").await;
    assert_eq!(body, r#"{"n":"2"}"#);
    let value = |name: &str| attributes[name]["StringValue"].as_str().unwrap_or("").to_owned();
    assert_eq!(value("ERROR_CODE"), "ServiceUnavailable");
    assert_eq!(value("EXHAUSTED_RETRY_CONDITION"), "MaximumRetryAttempts");
    assert_eq!(value("RETRY_ATTEMPTS"), "1");
    assert_eq!(value("SCHEDULED_TIME"), "2027-03-13T11:00:00Z");
    fixture.services.shutdown().await;
}

#[tokio::test]
async fn a_schedule_that_is_complete_deletes_itself_if_it_is_told_to() {
    let fixture = Fixture::open(Enforce::Log);
    fixture.set_time("2027-03-12T20:00:00Z");
    fixture.json("sqs", "CreateQueue", json!({"QueueName": "q"})).await.unwrap();
    let once = with(daily(), "/ScheduleExpression", json!("at(2027-03-13T06:00:00)"));
    let once = with(
        once,
        "/Target",
        json!({"Arn": "arn:aws:sqs:us-east-1:000000000000:q", "RoleArn": role_arn("r"),
        "Input": "<aws.scheduler.scheduled-time>"}),
    );
    create(&fixture, "stays", once.clone()).await.unwrap();
    create(&fixture, "goes", with(once, "/ActionAfterCompletion", json!("DELETE"))).await.unwrap();
    fixture.set_time("2027-03-13T11:00:00Z");
    for _ in 0..2 {
        assert_eq!(received(&fixture, "q").await.0, "2027-03-13T11:00:00Z");
    }
    let names = async || {
        let all = fixture.rest("scheduler", Method::GET, "/schedules", Value::Null).await.unwrap();
        all["Schedules"]
            .as_array()
            .unwrap()
            .iter()
            .map(|schedule| schedule["Name"].clone())
            .collect::<Vec<_>>()
    };
    tokio::time::timeout(Duration::from_secs(30), async {
        while names().await != ["stays"] {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the schedule goes");
    fixture.services.shutdown().await;
}

#[tokio::test]
async fn a_rate_begins_at_once_and_any_action_can_be_its_target() {
    let fixture = Fixture::open(Enforce::Log);
    let mut calls = fixture.sdk_calls([]);
    let target = json!({"Arn": "arn:aws:scheduler:::aws-sdk:sqs:purgeQueue", "RoleArn": role_arn("r"),
        "Input": "{\"QueueUrl\":\"u/<aws.scheduler.attempt-number>\"}"});
    let schedule = with(daily(), "/ScheduleExpression", json!("rate(12 hours)"));
    create(&fixture, "often", with(schedule, "/Target", target)).await.unwrap();
    for _ in 0..3 {
        let (context, call) = calls.recv().await.unwrap();
        assert_eq!(context.principal.identity(), role_arn("r"));
        assert_eq!((call.service.as_str(), call.action.as_str()), ("sqs", "purgeQueue"));
        assert_eq!(call.parameters, json!({"QueueUrl": "u/1"}));
        fixture.advance_seconds(12 * 3600);
    }
    fixture.services.shutdown().await;
}
