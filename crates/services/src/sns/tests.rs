//! SNS through the front, with the outbox as the witness of what was delivered.

use crate::wire::{CallContext, Principal, Protocol, ServiceError, ServiceRequest};
use crate::{Services, ServicesConfig};
use bytes::Bytes;
use http::Method;
use std::path::Path;
use std::time::{Duration, Instant};

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:orders";

fn context(invocation: Option<&str>) -> CallContext {
    let mut context = CallContext::of(Principal::Root { account: "123456789012".to_owned() }, "eu-west-1");
    context.invocation_id = invocation.map(str::to_owned);
    context
}

async fn call(
    services: &Services,
    invocation: Option<&str>,
    operation: &str,
    form: &str,
) -> Result<String, ServiceError> {
    let mut request = ServiceRequest::rest(Method::POST, "/", Bytes::from(form.to_owned()));
    request.operation = operation.to_owned();
    request.protocol = Protocol::AwsQuery;
    let response = services.call(&context(invocation), "sns", request).await?;
    Ok(String::from_utf8_lossy(&response.body_bytes()).into_owned())
}

async fn open(directory: &Path) -> Services {
    let services = Services::open(ServicesConfig::new(directory)).expect("open");
    call(&services, None, "CreateTopic", "Name=orders").await.expect("topic");
    let form = format!("TopicArn={TOPIC}&Protocol=email&Endpoint=a@example.com");
    call(&services, None, "Subscribe", &form).await.expect("subscribe");
    services
}

/// The mails in the outbox, once there are `count`; file system events would need a crate, so it looks often.
async fn mails(directory: &Path, count: usize) -> Vec<String> {
    let started = Instant::now();
    loop {
        let files = std::fs::read_dir(directory.join("outbox")).into_iter().flatten().flatten();
        let mails: Vec<String> = files
            .filter(|file| file.path().extension().is_some_and(|extension| extension == "eml"))
            .filter_map(|file| std::fs::read_to_string(file.path()).ok())
            .collect();
        if mails.len() >= count || started.elapsed() > Duration::from_secs(60) {
            return mails;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_duplicate_invocation_publishes_once() {
    let directory = tempfile::tempdir().expect("directory");
    let services = open(directory.path()).await;
    let form = format!("TopicArn={TOPIC}&Message=first");
    let first = call(&services, Some("i-1"), "Publish", &form).await.expect("publish");
    let again = call(&services, Some("i-1"), "Publish", &form).await.expect("again");
    assert_eq!(first, again);
    call(&services, Some("i-2"), "Publish", &format!("TopicArn={TOPIC}&Message=last"))
        .await
        .expect("publish");
    let mails = mails(directory.path(), 2).await;
    assert_eq!(mails.iter().filter(|mail| mail.contains("first")).count(), 1);
    assert_eq!(mails.len(), 2);
}

#[tokio::test]
async fn what_was_owed_at_a_crash_is_delivered_after_it() {
    let directory = tempfile::tempdir().expect("directory");
    let services = open(directory.path()).await;
    // The deliverer is stopped, as a crash between commit and delivery leaves it.
    services.shutdown().await;
    call(&services, None, "Publish", &format!("TopicArn={TOPIC}&Message=owed")).await.expect("publish");
    drop(services);
    assert!(mails(directory.path(), 0).await.is_empty());
    let services = Services::open(ServicesConfig::new(directory.path())).expect("reopen");
    let mails = mails(directory.path(), 1).await;
    assert!(mails.len() == 1 && mails[0].contains("owed"));
    services.shutdown().await;
}

#[tokio::test]
async fn errors_have_the_words_of_aws() {
    let directory = tempfile::tempdir().expect("directory");
    let services = open(directory.path()).await;
    let cases = [
        (
            "Publish",
            "TopicArn=arn:aws:sns:eu-west-1:123456789012:none&Message=x",
            "NotFound: Topic does not exist",
        ),
        (
            "Publish",
            "TopicArn=none&Message=x",
            "InvalidParameter: Invalid parameter: TopicArn or TargetArn Reason: An ARN must have at least 6 elements, not 1",
        ),
        ("CreateTopic", "Name=a%20b", "InvalidParameter: Invalid parameter: Topic Name"),
        (
            "Publish",
            "Message=x",
            "InvalidParameter: Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter",
        ),
    ];
    for (operation, form, expected) in cases {
        let error = call(&services, None, operation, form).await.unwrap_err();
        assert_eq!(error.to_string(), expected, "{operation} {form}");
    }
    let subject = format!("TopicArn={TOPIC}&Message=x&Subject=a%0D%0ABcc:%20b@c");
    let error = call(&services, None, "Publish", &subject).await.unwrap_err();
    assert_eq!(error.message, "Invalid parameter: Subject");
}
