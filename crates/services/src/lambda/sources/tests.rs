//! Queues that feed functions. Python 3 is all they need.

use super::batch::{Failed, Filter, failures};
use crate::Enforce;
use crate::fixture::{Fixture, role_arn};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};

const MAPPINGS: &str = "/2015-03-31/event-source-mappings";
const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:work";

/// Fails what is to fail; the rest goes to the queue's messages as done.
const HANDLER: &str = "def handler(event, context):\n    \
    failed = [r['messageId'] for r in event['Records'] if r['body'] == 'bad']\n    \
    return {'batchItemFailures': [{'itemIdentifier': i} for i in failed]}\n";

async fn prepared() -> Fixture {
    let fixture = Fixture::open(Enforce::On);
    fixture.create_role("worker", "lambda.amazonaws.com").await;
    let dead =
        json!({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 1});
    fixture.json("sqs", "CreateQueue", json!({"QueueName": "dead"})).await.expect("queue");
    let attributes = json!({"VisibilityTimeout": "60", "RedrivePolicy": dead.to_string()});
    fixture
        .json("sqs", "CreateQueue", json!({"QueueName": "work", "Attributes": attributes}))
        .await
        .expect("queue");
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("app.py", zip::write::SimpleFileOptions::default()).expect("zip");
    zip.write_all(HANDLER.as_bytes()).expect("zip");
    let zip = STANDARD.encode(zip.finish().expect("zip").into_inner());
    let function = json!({"FunctionName": "f", "Runtime": "python3.12", "Handler": "app.handler", "Timeout": 60,
        "Role": role_arn("worker"), "Code": {"ZipFile": zip}});
    fixture.rest("lambda", Method::POST, "/2015-03-31/functions", function).await.expect("function");
    fixture
}

fn mapping() -> Value {
    json!({"FunctionName": "f", "EventSourceArn": QUEUE, "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "FilterCriteria": {"Filters": [{"Pattern": r#"{"body":[{"anything-but":"other"}]}"#}]}})
}

async fn send(fixture: &Fixture, body: &str) {
    let url = format!("{}/000000000000/work", fixture.services.environment().endpoint());
    fixture.json("sqs", "SendMessage", json!({"QueueUrl": url, "MessageBody": body})).await.expect("sent");
}

/// Messages that can be received, and those in flight.
async fn counts(fixture: &Fixture, queue: &str) -> (String, String) {
    let url = format!("{}/000000000000/{queue}", fixture.services.environment().endpoint());
    let answer =
        fixture.json("sqs", "GetQueueAttributes", json!({"QueueUrl": url, "AttributeNames": ["All"]})).await;
    let attributes = answer.expect("attributes")["Attributes"].clone();
    let text = |name: &str| attributes[name].as_str().unwrap_or_default().to_owned();
    (text("ApproximateNumberOfMessages"), text("ApproximateNumberOfMessagesNotVisible"))
}

async fn until(fixture: &Fixture, queue: &str, visible: &str, in_flight: &str) {
    let began = Instant::now();
    loop {
        let found = counts(fixture, queue).await;
        if found == (visible.to_owned(), in_flight.to_owned()) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{queue}: {found:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_handled_is_deleted_and_what_fails_comes_again_and_ends_with_the_dead() {
    let fixture = prepared().await;
    let refused = fixture.rest("lambda", Method::POST, MAPPINGS, mapping()).await.expect_err("no permission");
    assert!(refused.message.contains("does not have permissions"), "{}", refused.message);
    for action in ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"] {
        fixture.allow("worker", action, QUEUE).await;
    }
    let created = fixture.rest("lambda", Method::POST, MAPPINGS, mapping()).await.expect("created");
    assert_eq!(created["State"], "Creating");
    let twice = fixture.rest("lambda", Method::POST, MAPPINGS, mapping()).await.expect_err("twice");
    assert_eq!((twice.status.as_u16(), twice.short_code()), (409, "ResourceConflictException"));
    for body in ["good", "bad", "other"] {
        send(&fixture, body).await;
    }
    until(&fixture, "work", "0", "1").await;
    fixture.advance_seconds(61);
    // A poll that waits looks again when something is sent; of itself it would only after its twenty seconds.
    send(&fixture, "other").await;
    until(&fixture, "dead", "1", "0").await;
    until(&fixture, "work", "0", "0").await;
    fixture.services.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapping_is_kept_over_a_restart_switched_off_and_deleted() {
    let fixture = prepared().await;
    for action in ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"] {
        fixture.allow("worker", action, QUEUE).await;
    }
    let mut off = mapping();
    off["Enabled"] = json!(false);
    let created = fixture.rest("lambda", Method::POST, MAPPINGS, off).await.expect("created");
    send(&fixture, "good").await;
    let fixture = fixture.reopened().await;
    let path = format!("{MAPPINGS}/{}", created["UUID"].as_str().expect("uuid"));
    let found = fixture.rest("lambda", Method::GET, &path, Value::Null).await.expect("found");
    assert_eq!(found["State"], "Disabled");
    assert_eq!(counts(&fixture, "work").await.0, "1");
    let update = json!({"Enabled": true, "BatchSize": 5});
    fixture.rest("lambda", Method::PUT, &path, update).await.expect("updated");
    until(&fixture, "work", "0", "0").await;
    let listed =
        fixture.rest("lambda", Method::GET, &format!("{MAPPINGS}?FunctionName=f"), Value::Null).await;
    assert_eq!(listed.expect("list")["EventSourceMappings"][0]["BatchSize"], 5);
    fixture.rest("lambda", Method::DELETE, &path, Value::Null).await.expect("deleted");
    let gone = fixture.rest("lambda", Method::GET, &path, Value::Null).await.expect_err("gone");
    assert_eq!(gone.status.as_u16(), 404);
    fixture.services.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapping_that_cannot_work_is_refused() {
    let fixture = prepared().await;
    fixture.allow("worker", "sqs:*", "*").await;
    let changed = |name: &str, value: Value| {
        let mut mapping = mapping();
        mapping[name] = value;
        mapping
    };
    for (wrong, part) in [
        (
            changed("EventSourceArn", json!("arn:aws:kinesis:us-east-1:000000000000:stream/s")),
            "queues of SQS only",
        ),
        (changed("EventSourceArn", json!("arn:aws:sqs:us-east-1:000000000000:none")), "NonExistentQueue"),
        (changed("BatchSize", json!(11)), "greater than 0"),
        (changed("FilterCriteria", json!({"Filters": [{"Pattern": "["}]})), "filter pattern"),
        (changed("StartingPosition", json!("LATEST")), "StartingPosition"),
    ] {
        let refused = fixture.rest("lambda", Method::POST, MAPPINGS, wrong).await.expect_err("refused");
        assert_eq!(refused.short_code(), "InvalidParameterValueException");
        assert!(refused.message.contains(part), "{}", refused.message);
    }
    fixture.services.shutdown().await;
}

#[test]
fn filters_match_bodies_as_json_or_as_text() {
    let record = |body: &str| json!({"body": body, "attributes": {}});
    let json_filter = Filter::parse(r#"{"body":{"kind":["a"]}}"#).expect("a pattern");
    assert!(json_filter.takes(&record(r#"{"kind":"a"}"#)));
    assert!(!json_filter.takes(&record(r#"{"kind":"b"}"#)) && !json_filter.takes(&record("a")));
    let text_filter = Filter::parse(r#"{"body":["a"]}"#).expect("a pattern");
    assert!(text_filter.takes(&record("a")) && !text_filter.takes(&record("b")));
}

#[test]
fn an_answer_that_makes_no_sense_fails_the_batch() {
    let records = [json!({"messageId": "1"}), json!({"messageId": "2"})];
    let these = |ids: &[&str]| Failed::These(ids.iter().map(ToString::to_string).collect());
    for (answer, expected) in [
        ("null", these(&[])),
        ("{}", these(&[])),
        (r#"{"batchItemFailures":[]}"#, these(&[])),
        (r#"{"batchItemFailures":[{"itemIdentifier":"2"}]}"#, these(&["2"])),
        (r#"{"batchItemFailures":[{"itemIdentifier":"3"}]}"#, Failed::All),
        (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, Failed::All),
        (r#"{"batchItemFailures":7}"#, Failed::All),
        ("no json", Failed::All),
    ] {
        assert_eq!(failures(answer, &records), expected, "{answer}");
    }
}
