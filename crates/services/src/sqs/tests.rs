use crate::configuration::Enforce;
use crate::fixture::Fixture;
use crate::wire::CallContext;
use serde_json::{Value, json};
use std::time::Duration;

async fn create(fixture: &Fixture, name: &str, attributes: Value) -> String {
    let input = json!({ "QueueName": name, "Attributes": attributes });
    fixture.json("sqs", "CreateQueue", input).await.unwrap()["QueueUrl"].as_str().unwrap().to_owned()
}

async fn send(fixture: &Fixture, url: &str, body: &str) -> Value {
    let input = json!({ "QueueUrl": url, "MessageBody": body });
    fixture.json("sqs", "SendMessage", input).await.unwrap()
}

async fn receive(fixture: &Fixture, url: &str) -> Vec<Value> {
    let input = json!({ "QueueUrl": url, "MaxNumberOfMessages": 10, "AttributeNames": ["All"] });
    let output = fixture.json("sqs", "ReceiveMessage", input).await.unwrap();
    output["Messages"].as_array().cloned().unwrap_or_default()
}

fn bodies(messages: &[Value]) -> Vec<&str> {
    messages.iter().filter_map(|message| message["Body"].as_str()).collect()
}

async fn delete(fixture: &Fixture, url: &str, message: &Value) {
    let input = json!({ "QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"] });
    fixture.json("sqs", "DeleteMessage", input).await.unwrap();
}

#[tokio::test]
async fn queues_and_messages_survive_a_restart() {
    let fixture = Fixture::open(Enforce::Log);
    let url = create(&fixture, "q", json!({ "VisibilityTimeout": "60" })).await;
    send(&fixture, &url, "kept").await;
    send(&fixture, &url, "deleted").await;
    let messages = receive(&fixture, &url).await;
    delete(&fixture, &url, &messages[1]).await;
    let fixture = fixture.reopened().await;
    assert!(receive(&fixture, &url).await.is_empty(), "still invisible");
    fixture.advance_seconds(61);
    assert_eq!(bodies(&receive(&fixture, &url).await), ["kept"]);
}

#[tokio::test]
async fn a_call_repeated_under_its_invocation_id_sends_once() {
    let fixture = Fixture::open(Enforce::Log);
    let url = create(&fixture, "q", json!({})).await;
    let mut context = fixture.root();
    context.invocation_id = Some("i-1".to_owned());
    let input = json!({ "QueueUrl": url, "MessageBody": "once" });
    let first = fixture.json_as(&context, "sqs", "SendMessage", input.clone()).await.unwrap();
    let fixture = fixture.reopened().await;
    let second = fixture.json_as(&context, "sqs", "SendMessage", input).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(receive(&fixture, &url).await.len(), 1);
}

#[tokio::test]
async fn a_long_poll_ends_with_the_message_that_is_sent_meanwhile() {
    let fixture = Fixture::open(Enforce::Log);
    let url = create(&fixture, "q", json!({ "ReceiveMessageWaitTimeSeconds": "20" })).await;
    let (received, _) = tokio::time::timeout(Duration::from_secs(18), async {
        tokio::join!(receive(&fixture, &url), send(&fixture, &url, "late"))
    })
    .await
    .unwrap();
    assert_eq!(bodies(&received), ["late"]);
}

#[tokio::test]
async fn a_long_poll_ends_when_the_services_stop() {
    let fixture = Fixture::open(Enforce::Log);
    let url = create(&fixture, "q", json!({ "ReceiveMessageWaitTimeSeconds": "20" })).await;
    let waited = tokio::time::timeout(Duration::from_secs(18), async {
        tokio::join!(receive(&fixture, &url), fixture.services.shutdown())
    });
    assert!(waited.await.unwrap().0.is_empty());
}

#[tokio::test]
async fn a_fifo_queue_keeps_order_within_groups_and_drops_duplicates() {
    let fixture = Fixture::open(Enforce::Log);
    let attributes =
        json!({ "FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "30" });
    let url = create(&fixture, "q.fifo", attributes).await;
    let send = async |body: &str, group: &str| {
        let input = json!({ "QueueUrl": url, "MessageBody": body, "MessageGroupId": group });
        fixture.json("sqs", "SendMessage", input).await.unwrap()
    };
    let first = send("a", "1").await;
    send("b", "1").await;
    assert_eq!(send("a", "1").await["SequenceNumber"], first["SequenceNumber"]);
    let input = json!({ "QueueUrl": url });
    let taken = fixture.json("sqs", "ReceiveMessage", input).await.unwrap()["Messages"][0].clone();
    assert_eq!(taken["Body"], "a");
    send("c", "2").await;
    assert_eq!(bodies(&receive(&fixture, &url).await), ["c"], "the first group waits");
    delete(&fixture, &url, &taken).await;
    assert_eq!(bodies(&receive(&fixture, &url).await), ["b"]);
    fixture.advance_seconds(5 * 60 + 1);
    assert_ne!(
        send("a", "1").await["SequenceNumber"],
        first["SequenceNumber"],
        "after five minutes it is new"
    );
}

#[tokio::test]
async fn a_message_received_too_often_goes_to_the_dead_letter_queue() {
    let fixture = Fixture::open(Enforce::Log);
    let dead = create(&fixture, "dead", json!({})).await;
    let redrive =
        json!({ "deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 2 });
    let attributes = json!({ "VisibilityTimeout": "10", "RedrivePolicy": redrive.to_string() });
    let url = create(&fixture, "q", attributes).await;
    send(&fixture, &url, "poison").await;
    for _ in 0..2 {
        assert_eq!(receive(&fixture, &url).await.len(), 1);
        fixture.advance_seconds(11);
    }
    assert!(receive(&fixture, &url).await.is_empty());
    let letters = receive(&fixture, &dead).await;
    let source = &letters[0]["Attributes"]["DeadLetterQueueSourceArn"];
    assert_eq!((bodies(&letters), source), (vec!["poison"], &json!("arn:aws:sqs:us-east-1:000000000000:q")));
}

#[tokio::test]
async fn a_receipt_counts_until_the_next_receive() {
    let fixture = Fixture::open(Enforce::Log);
    let url = create(&fixture, "q", json!({ "VisibilityTimeout": "10" })).await;
    send(&fixture, &url, "m").await;
    let first = receive(&fixture, &url).await;
    fixture.advance_seconds(11);
    let second = receive(&fixture, &url).await;
    delete(&fixture, &url, &first[0]).await;
    fixture.advance_seconds(11);
    let third = receive(&fixture, &url).await;
    assert_eq!(third[0]["Attributes"]["ApproximateReceiveCount"], "3");
    let change = |message: &Value| json!({ "QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0 });
    let stale = fixture.json("sqs", "ChangeMessageVisibility", change(&second[0])).await.unwrap_err();
    assert_eq!(stale.query_code.as_deref(), Some("AWS.SimpleQueueService.MessageNotInflight"));
    fixture.json("sqs", "ChangeMessageVisibility", change(&third[0])).await.unwrap();
    let fourth = receive(&fixture, &url).await;
    delete(&fixture, &url, &fourth[0]).await;
    fixture.advance_seconds(11);
    assert!(receive(&fixture, &url).await.is_empty());
}

#[tokio::test]
async fn delays_and_retention_are_kept() {
    let fixture = Fixture::open(Enforce::Log);
    let url = create(&fixture, "q", json!({ "DelaySeconds": "5", "MessageRetentionPeriod": "60" })).await;
    send(&fixture, &url, "m").await;
    assert!(receive(&fixture, &url).await.is_empty());
    fixture.advance_seconds(6);
    assert_eq!(receive(&fixture, &url).await.len(), 1);
    fixture.advance_seconds(60);
    assert!(receive(&fixture, &url).await.is_empty());
}

#[tokio::test]
async fn a_service_sends_only_where_the_queue_lets_it() {
    let fixture = Fixture::open(Enforce::On);
    let url = create(&fixture, "q", json!({})).await;
    let mut sns = CallContext::service("000000000000", "us-east-1", "sns.amazonaws.com");
    sns.source_arn = Some("arn:aws:sns:us-east-1:000000000000:t".to_owned());
    let input = json!({ "QueueUrl": url, "MessageBody": "m" });
    let refused = fixture.json_as(&sns, "sqs", "SendMessage", input.clone()).await.unwrap_err();
    assert!(refused.message.ends_with("because no resource-based policy allows the sqs:sendmessage action"));
    let policy = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow",
        "Principal": { "Service": "sns.amazonaws.com" }, "Action": "sqs:SendMessage", "Resource": "*",
        "Condition": { "ArnEquals": { "aws:SourceArn": "arn:aws:sns:us-east-1:000000000000:t" } } }] });
    let set = json!({ "QueueUrl": url, "Attributes": { "Policy": policy.to_string() } });
    fixture.json("sqs", "SetQueueAttributes", set).await.unwrap();
    fixture.json_as(&sns, "sqs", "SendMessage", input).await.unwrap();
    assert_eq!(receive(&fixture, &url).await.len(), 1);
}
