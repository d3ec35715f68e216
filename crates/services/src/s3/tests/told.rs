//! Notifications: what happens to objects is told to EventBridge and to a queue.

use super::{put, send};
use crate::configuration::Enforce;
use crate::fixture::{ACCOUNT, Fixture};
use serde_json::{Value, json};
use std::time::Duration;

async fn queue(fixture: &Fixture, name: &str) -> (String, String) {
    let made = fixture.json("sqs", "CreateQueue", json!({ "QueueName": name })).await.unwrap();
    let arn = format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{name}");
    (made["QueueUrl"].as_str().unwrap().to_owned(), arn)
}

/// Waits for the next message, and removes it.
async fn next(fixture: &Fixture, url: &str) -> Value {
    let receive = async {
        loop {
            let input = json!({ "QueueUrl": url, "WaitTimeSeconds": 1 });
            let received = fixture.json("sqs", "ReceiveMessage", input).await.unwrap();
            let Some(message) = received["Messages"].get(0) else { continue };
            let handle = json!({ "QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"] });
            fixture.json("sqs", "DeleteMessage", handle).await.unwrap();
            return serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), receive).await.unwrap()
}

#[tokio::test]
async fn event_bridge_hears_of_objects_that_come_and_go() {
    let fixture = Fixture::open(Enforce::Off);
    let (url, arn) = queue(&fixture, "heard").await;
    let pattern = json!({ "source": ["aws.s3"], "detail": { "bucket": { "name": ["bucket"] } } }).to_string();
    fixture.json("events", "PutRule", json!({ "Name": "heard", "EventPattern": pattern })).await.unwrap();
    let targets = json!({ "Rule": "heard", "Targets": [{ "Id": "q", "Arn": arn }] });
    fixture.json("events", "PutTargets", targets).await.unwrap();
    put(&fixture, "/bucket", "").await;
    put(&fixture, "/bucket/untold", "x").await;
    let configuration = "<NotificationConfiguration><EventBridgeConfiguration/></NotificationConfiguration>";
    put(&fixture, "/bucket?notification", configuration).await;
    put(&fixture, "/bucket/a%20b", "12345").await;
    let created = next(&fixture, &url).await;
    assert_eq!(created["detail-type"], "Object Created");
    assert_eq!(created["resources"], json!(["arn:aws:s3:::bucket"]));
    let (detail, object) = (&created["detail"], &created["detail"]["object"]);
    assert_eq!((&object["key"], &object["size"]), (&json!("a b"), &json!(5)));
    assert_eq!((&detail["reason"], &detail["requester"]), (&json!("PutObject"), &json!(ACCOUNT)));
    send(&fixture, "DELETE", "/bucket/a%20b", &[], "").await;
    send(&fixture, "DELETE", "/bucket/never-there", &[], "").await;
    let deleted = next(&fixture, &url).await;
    assert_eq!(deleted["detail-type"], "Object Deleted");
    assert_eq!(deleted["detail"]["deletion-type"], "Permanently Deleted");
    assert!(deleted["detail"]["object"]["sequencer"].as_str() > object["sequencer"].as_str());
}

#[tokio::test]
async fn a_queue_hears_what_its_filter_lets_through_and_a_missing_one_is_refused() {
    let fixture = Fixture::open(Enforce::Off);
    let (url, arn) = queue(&fixture, "heard").await;
    put(&fixture, "/bucket", "").await;
    let configuration = |arn: &str| {
        format!(
            "<NotificationConfiguration><QueueConfiguration><Id>logs</Id><Queue>{arn}</Queue>\
             <Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule><Name>suffix</Name><Value>.log</Value>\
             </FilterRule></S3Key></Filter></QueueConfiguration></NotificationConfiguration>"
        )
    };
    let missing = configuration(&format!("{arn}-missing"));
    let refused = send(&fixture, "PUT", "/bucket?notification", &[], &missing).await;
    assert!(crate::fixture::text(&refused).1.contains("Unable to validate the following destination"));
    put(&fixture, "/bucket?notification", &configuration(&arn)).await;
    assert_eq!(next(&fixture, &url).await["Event"], "s3:TestEvent");
    put(&fixture, "/bucket/a.txt", "x").await;
    let copied =
        send(&fixture, "PUT", "/bucket/a%20b.log", &[("x-amz-copy-source", "/bucket/a.txt")], "").await;
    assert_eq!(copied.status(), 200);
    let record = &next(&fixture, &url).await["Records"][0];
    assert_eq!(
        (&record["eventName"], &record["s3"]["configurationId"]),
        (&json!("ObjectCreated:Copy"), &json!("logs"))
    );
    assert_eq!(record["s3"]["object"]["key"], "a+b.log");
}
