use crate::configuration::Enforce;
use crate::fixture::{Fixture, form, role_arn, signed, text};
use crate::iam::Credentials;
use bytes::Bytes;
use http::Request;

async fn credentials_of_a_role_without_rights(fixture: &Fixture) -> Credentials {
    fixture.create_role("bare", "lambda.amazonaws.com").await;
    let iam = fixture.services.iam();
    iam.assume_role_for_service(&role_arn("bare"), "lambda.amazonaws.com", "session").await.unwrap()
}

fn by(credentials: &Credentials, service: &str) -> http::request::Builder {
    signed(service, &credentials.access_key_id, Some(&credentials.session_token))
}

fn json_request(builder: http::request::Builder, target: &str, body: &str) -> Request<Bytes> {
    builder
        .header("x-amz-target", target)
        .header("content-type", "application/x-amz-json-1.0")
        .body(Bytes::from(body.to_owned()))
        .unwrap()
}

#[tokio::test]
async fn an_unknown_service_is_refused_by_name() {
    let fixture = Fixture::open(Enforce::Log);
    let request =
        json_request(signed("comprehend", "test", None), "Comprehend_20171127.DetectSentiment", "{}");
    let (status, body) = text(&fixture.services.handle(request).await);
    assert_eq!(status, 501);
    assert!(body.contains("The service \\\"comprehend\\\" is not implemented by this server."), "{body}");
}

#[tokio::test]
async fn an_unsigned_form_is_routed_by_its_version() {
    let fixture = Fixture::open(Enforce::Log);
    let request = Request::builder()
        .method("POST")
        .uri("/")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Bytes::from_static(b"Action=GetCallerIdentity&Version=2011-06-15"))
        .unwrap();
    let (status, body) = text(&fixture.services.handle(request).await);
    assert_eq!(status, 200);
    assert!(body.contains("<Arn>arn:aws:iam::000000000000:root</Arn>"), "{body}");
}

#[tokio::test]
async fn account_and_region_come_from_the_credential() {
    let fixture = Fixture::open(Enforce::Log);
    let request =
        json_request(signed("sqs", "111122223333", None), "AmazonSQS.CreateQueue", r#"{"QueueName":"q"}"#);
    let (_, body) = text(&fixture.services.handle(request).await);
    assert!(body.contains("/111122223333/q"), "{body}");
    assert!(fixture.json("sqs", "GetQueueUrl", serde_json::json!({ "QueueName": "q" })).await.is_err());
}

#[tokio::test]
async fn a_missing_permission_is_refused_in_the_words_of_each_service() {
    let fixture = Fixture::open(Enforce::On);
    let credentials = credentials_of_a_role_without_rights(&fixture).await;
    let queue = r#"{"QueueUrl":"http://localhost/000000000000/q","MessageBody":"m"}"#;
    let json =
        |service: &str, target: &str, body: &str| json_request(by(&credentials, service), target, body);
    let query = |service: &str, fields: &[(&str, &str)]| {
        form(service, &credentials.access_key_id, Some(&credentials.session_token), fields)
    };
    let topic = ("TopicArn", "arn:aws:sns:us-east-1:000000000000:t");
    let cases = [
        (
            json("dynamodb", "DynamoDB_20120810.PutItem", r#"{"TableName":"t","Item":{}}"#),
            400,
            "AccessDeniedException",
        ),
        (json("sqs", "AmazonSQS.SendMessage", queue), 403, "AccessDenied"),
        (
            json("logs", "Logs_20140328.CreateLogGroup", r#"{"logGroupName":"g"}"#),
            400,
            "AccessDeniedException",
        ),
        (query("iam", &[("Action", "GetRole"), ("RoleName", "bare")]), 403, "<Code>AccessDenied</Code>"),
        (
            query("sns", &[("Action", "Publish"), topic, ("Message", "m")]),
            403,
            "<Code>AuthorizationError</Code>",
        ),
    ];
    for (request, expected_status, code) in cases {
        let response = fixture.services.handle(request).await;
        let (status, body) = text(&response);
        assert_eq!(status, expected_status, "{body}");
        assert!(body.contains(code), "{code} in {body}");
        let caller =
            "User: arn:aws:sts::000000000000:assumed-role/bare/session is not authorized to perform: ";
        assert!(
            body.contains(caller) && body.contains("because no identity-based policy allows the "),
            "{body}"
        );
    }
}

#[tokio::test]
async fn in_log_mode_a_missing_permission_lets_the_call_pass() {
    let fixture = Fixture::open(Enforce::Log);
    let credentials = credentials_of_a_role_without_rights(&fixture).await;
    let request = json_request(by(&credentials, "sqs"), "AmazonSQS.CreateQueue", r#"{"QueueName":"q"}"#);
    assert_eq!(text(&fixture.services.handle(request).await).0, 200);
}

#[tokio::test]
async fn credentials_end_and_cannot_be_made_up() {
    let fixture = Fixture::open(Enforce::Log);
    let credentials = credentials_of_a_role_without_rights(&fixture).await;
    let who = |key: &str, token: Option<&str>| {
        fixture.services.handle(form("sts", key, token, &[("Action", "GetCallerIdentity")]))
    };
    let (key, token) = (credentials.access_key_id.as_str(), Some(credentials.session_token.as_str()));
    assert!(text(&who(key, token).await).1.contains("assumed-role/bare/session"));
    assert!(text(&who(key, None).await).1.contains("InvalidClientTokenId"));
    assert!(text(&who(key, Some("other")).await).1.contains("InvalidClientTokenId"));
    assert!(text(&who("ASIAPASSOAAAAAAAAAAA", token).await).1.contains("InvalidClientTokenId"));
    let fixture = fixture.reopened().await;
    let who = |key: &str, token: Option<&str>| {
        fixture.services.handle(form("sts", key, token, &[("Action", "GetCallerIdentity")]))
    };
    assert!(text(&who(key, token).await).1.contains("assumed-role/bare/session"), "they survive a restart");
    fixture.advance_seconds(12 * 3600);
    let (status, body) = text(&who(key, token).await);
    assert!(status == 403 && body.contains("<Code>ExpiredToken</Code>"), "{body}");
}

#[tokio::test]
async fn an_invocation_id_from_the_wire_counts_for_its_caller_alone() {
    let fixture = Fixture::open(Enforce::Log);
    let queue = fixture.json("sqs", "CreateQueue", serde_json::json!({ "QueueName": "q" })).await.unwrap();
    let url = queue["QueueUrl"].clone();
    let credentials = credentials_of_a_role_without_rights(&fixture).await;
    let body = serde_json::json!({ "QueueUrl": url, "MessageBody": "m" }).to_string();
    let send = |builder: http::request::Builder| {
        let builder = builder.header("x-passo-invocation-id", "i-1");
        fixture.services.handle(json_request(builder, "AmazonSQS.SendMessage", &body))
    };
    let first = text(&send(by(&credentials, "sqs")).await).1;
    let other = text(&send(signed("sqs", "test", None)).await).1;
    let again = text(&send(by(&credentials, "sqs")).await).1;
    assert!(first == again && first != other, "{first} {other} {again}");
}
