use crate::configuration::Enforce;
use crate::fixture::Fixture;
use serde_json::{Value, json};

async fn lookup(fixture: &Fixture, input: Value) -> Vec<Value> {
    let answer = fixture.json("cloudtrail", "LookupEvents", input).await.unwrap();
    let events = answer["Events"].as_array().unwrap();
    let record = |event: &Value| serde_json::from_str(event["CloudTrailEvent"].as_str().unwrap()).unwrap();
    events.iter().map(record).collect()
}

fn names(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["eventName"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn changes_and_refusals_are_recorded_and_reads_and_data_are_not() {
    let fixture = Fixture::open(Enforce::Off);
    let queue =
        json!({ "QueueName": "q", "Attributes": { "VisibilityTimeout": "30" }, "tags": { "team": "blue" } });
    let made = fixture.json("sqs", "CreateQueue", queue).await.unwrap();
    let message = json!({ "QueueUrl": made["QueueUrl"], "MessageBody": "a secret" });
    fixture.json("sqs", "SendMessage", message).await.unwrap();
    fixture.json("sqs", "ListQueues", json!({})).await.unwrap();
    fixture.create_role("r", "lambda.amazonaws.com").await;
    fixture.advance_seconds(1);
    let missing = json!({ "QueueUrl": "http://localhost:4566/000000000000/none" });
    fixture.json("sqs", "DeleteQueue", missing).await.unwrap_err();
    let records = lookup(&fixture, json!({})).await;
    assert_eq!(names(&records), ["DeleteQueue", "CreateRole", "CreateQueue"]);
    let (refused, role, created) = (&records[0], &records[1], &records[2]);
    assert!(refused["errorCode"].as_str().unwrap().contains("Exist"), "{refused}");
    assert_eq!(role["resources"][0]["type"], "AWS::IAM::Role");
    assert_eq!(role["userIdentity"]["accessKeyId"], "test");
    assert_eq!(created["requestParameters"]["queueName"], "q");
    assert_eq!(created["requestParameters"]["attributes"]["visibilityTimeout"], "30");
    assert_eq!(created["userIdentity"]["type"], "Root");
    let by = |key: &str, value: &str| json!({ "LookupAttributes": [{ "AttributeKey": key, "AttributeValue": value }] });
    let cases = [
        ("EventName", "CreateQueue", 1),
        ("ResourceName", "r", 1),
        ("ResourceType", "AWS::SQS::Queue", 2),
        ("EventSource", "iam.amazonaws.com", 1),
        ("Username", "root", 3),
        ("ReadOnly", "true", 0),
        ("EventId", created["eventID"].as_str().unwrap(), 1),
        ("AccessKeyId", "test", 1),
    ];
    for (key, value, count) in cases {
        assert_eq!(lookup(&fixture, by(key, value)).await.len(), count, "{key} {value}");
    }
}

#[tokio::test]
async fn pages_hold_for_their_question_and_records_outlive_a_restart() {
    let fixture = Fixture::open(Enforce::Off);
    for index in 0..5 {
        let name = json!({ "name": format!("/g/{index}"), "logGroupName": format!("/g/{index}") });
        fixture.json("logs", "CreateLogGroup", name).await.unwrap();
    }
    let fixture = fixture.reopened().await;
    let mut input = json!({ "MaxResults": 2 });
    let mut seen = Vec::new();
    loop {
        let page = fixture.json("cloudtrail", "LookupEvents", input.clone()).await.unwrap();
        seen.extend(page["Events"].as_array().unwrap().iter().map(|event| event["EventId"].to_string()));
        match &page["NextToken"] {
            Value::Null => break,
            token => input["NextToken"] = token.clone(),
        }
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((count, seen.len()), (5, 5));
    let first = fixture.json("cloudtrail", "LookupEvents", json!({ "MaxResults": 1 })).await.unwrap();
    let other = json!({ "MaxResults": 1, "StartTime": 1, "NextToken": first["NextToken"] });
    let refusals = [
        (other, "InvalidNextTokenException"),
        (json!({ "MaxResults": 51 }), "InvalidMaxResultsException"),
        (json!({ "StartTime": 2, "EndTime": 1 }), "InvalidTimeRangeException"),
        (
            json!({ "LookupAttributes": [{ "AttributeKey": "No", "AttributeValue": "x" }] }),
            "InvalidLookupAttributesException",
        ),
    ];
    for (input, code) in refusals {
        let error = fixture.json("cloudtrail", "LookupEvents", input).await.unwrap_err();
        assert_eq!(error.code, code);
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_is_recorded() {
    let fixture = Fixture::open(Enforce::Off);
    {
        let input = json!({ "logGroupName": "/g" });
        let call = fixture.json("logs", "CreateLogGroup", input);
        let mut call = std::pin::pin!(call);
        // The call has begun, and nobody waits for it any more.
        let waker = std::task::Waker::noop();
        let _ = call.as_mut().poll(&mut std::task::Context::from_waker(waker));
    }
    let found = async {
        loop {
            let records = lookup(&fixture, json!({})).await;
            if let Some(record) = records.first() {
                break record.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let record = tokio::time::timeout(std::time::Duration::from_secs(60), found).await.unwrap();
    assert_eq!(record["eventName"], "CreateLogGroup");
    assert!(record["errorMessage"].as_str().unwrap().contains("went away"));
}

#[tokio::test]
async fn each_class_has_its_own_bound_and_old_records_are_deleted() {
    let fixture = Fixture::with(Enforce::Off, |config| config.audit.records_max = 3);
    let call = |index: usize| {
        let name = json!({ "logGroupName": format!("/g/{index}") });
        fixture.json("logs", "CreateLogGroup", name)
    };
    for index in 0..5 {
        call(index).await.unwrap();
    }
    call(0).await.unwrap_err();
    let records = lookup(&fixture, json!({})).await;
    assert_eq!(records.len(), 4);
    // The clock moves past the retention, and the sweep with it.
    fixture.advance_seconds(91 * 24 * 3600);
    let empty = async {
        while !lookup(&fixture, json!({})).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), empty).await.unwrap();
}
