//! Uploads by a browser's form.

use super::{file_count, header, put, send};
use crate::configuration::Enforce;
use crate::fixture::{Fixture, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};

/// A form with a policy of these conditions, fields, and a file.
async fn post(fixture: &Fixture, conditions: Value, fields: &[(&str, &str)], file: &str) -> Response<Bytes> {
    let policy = json!({ "expiration": "2027-01-15T09:00:00Z", "conditions": conditions }).to_string();
    let policy = STANDARD.encode(policy);
    let signed = [
        ("policy", policy.as_str()),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", "test/20270115/us-east-1/s3/aws4_request"),
        ("X-Amz-Date", "20270115T080000Z"),
        ("X-Amz-Signature", "00"),
    ];
    let field = |(name, value): &(&str, &str)| {
        format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let fields: String = signed.iter().chain(fields).map(field).collect();
    let file = format!(
        "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"cat.txt\"\r\nContent-Type: text/plain\r\n\r\n{file}\r\n"
    );
    let request = Request::post("/bucket").header("content-type", "multipart/form-data; boundary=XX");
    fixture.services.handle(request.body(Bytes::from(format!("{fields}{file}--XX--\r\n"))).unwrap()).await
}

/// The conditions of every policy here, and more.
fn conditions(more: Value) -> Value {
    let mut all = json!([
        { "bucket": "bucket" }, { "x-amz-algorithm": "AWS4-HMAC-SHA256" },
        { "x-amz-credential": "test/20270115/us-east-1/s3/aws4_request" }, { "x-amz-date": "20270115T080000Z" },
        ["starts-with", "$key", "in/"] ]);
    all.as_array_mut().unwrap().extend(more.as_array().unwrap().iter().cloned());
    all
}

#[tokio::test]
async fn a_form_makes_an_object_as_its_fields_say() {
    let fixture = Fixture::open(Enforce::Off);
    put(&fixture, "/bucket", "").await;
    let more = json!([{ "success_action_status": "201" }, ["eq", "$Content-Type", "text/html"],
                      ["starts-with", "$x-amz-meta-from", ""], ["content-length-range", 1, 10]]);
    let fields = [
        ("key", "in/${filename}"),
        ("success_action_status", "201"),
        ("Content-Type", "text/html"),
        ("x-amz-meta-from", "page"),
    ];
    let (status, answer) = text(&post(&fixture, conditions(more), &fields, "0123456789").await);
    assert!(status == 201 && answer.contains("<Key>in/cat.txt</Key>"), "{answer}");
    let got = send(&fixture, "GET", "/bucket/in/cat.txt", &[], "").await;
    assert_eq!(text(&got), (200, "0123456789".to_owned()));
    assert_eq!((header(&got, "content-type"), header(&got, "x-amz-meta-from")), ("text/html", "page"));
    let more = json!([["starts-with", "$success_action_redirect", "http://localhost/"]]);
    let fields = [("key", "in/b"), ("success_action_redirect", "http://localhost/done?x=1")];
    let redirected = post(&fixture, conditions(more), &fields, "").await;
    assert_eq!(redirected.status(), 303);
    let location = header(&redirected, "location");
    assert!(location.starts_with("http://localhost/done?x=1&bucket=bucket&key=in/b&etag="), "{location}");
    assert_eq!(post(&fixture, conditions(json!([])), &[("key", "in/c")], "").await.status(), 204);
}

#[tokio::test]
async fn a_form_that_its_policy_does_not_allow_leaves_nothing() {
    let fixture = Fixture::open(Enforce::Off);
    put(&fixture, "/bucket", "").await;
    let all = || conditions(json!([["content-length-range", 2, 4]]));
    let key = ("key", "in/a");
    let cases = [
        (
            all(),
            vec![("key", "out/a")],
            "123",
            "Policy Condition failed: [\"starts-with\", \"$key\", \"in/\"]",
        ),
        (all(), vec![key, ("x-amz-meta-x", "1")], "123", "Extra input fields: x-amz-meta-x"),
        (all(), vec![key], "12345", "<Code>EntityTooLarge</Code>"),
        (all(), vec![key], "1", "<Code>EntityTooSmall</Code>"),
        (all(), vec![], "123", "Policy Condition failed"),
        (json!([["near", "$key", "in/"]]), vec![key], "123", "<Code>InvalidPolicyDocument</Code>"),
        (
            conditions(json!([{ "acl": "public-read" }])),
            vec![key, ("acl", "public-read")],
            "123",
            "AccessControlListNotSupported",
        ),
    ];
    for (conditions, fields, file, expected) in cases {
        let (status, answer) = text(&post(&fixture, conditions, &fields, file).await);
        let answer = answer.replace("&quot;", "\"");
        assert!((400..=403).contains(&status) && answer.contains(expected), "{expected}: {status} {answer}");
    }
    fixture.advance_seconds(3601);
    let (_, late) = text(&post(&fixture, all(), &[key], "123").await);
    assert!(late.contains("Policy expired."), "{late}");
    assert_eq!(file_count(&fixture), 0);
}

#[tokio::test]
async fn a_form_of_a_role_needs_the_roles_permission() {
    let fixture = Fixture::open(Enforce::On);
    put(&fixture, "/bucket", "").await;
    // An issued key that is not known here stands for nobody.
    let conditions = json!([{ "bucket": "bucket" }, ["starts-with", "$key", ""], ["starts-with", "$x-amz-credential", ""],
        ["starts-with", "$x-amz-algorithm", ""], ["starts-with", "$x-amz-date", ""]]);
    fixture.create_role("uploader", "states.amazonaws.com").await;
    let role_arn = crate::fixture::role_arn("uploader");
    let credentials = fixture
        .services
        .iam()
        .assume_role_for_service(&role_arn, "states.amazonaws.com", "session")
        .await
        .unwrap();
    let credential = format!("{}/20270115/us-east-1/s3/aws4_request", credentials.access_key_id);
    let send = async || {
        let mut conditions = conditions.clone();
        conditions.as_array_mut().unwrap().push(json!(["starts-with", "$x-amz-security-token", ""]));
        let policy = json!({ "expiration": "2027-01-15T09:00:00Z", "conditions": conditions }).to_string();
        let policy = STANDARD.encode(policy);
        let fields = [
            ("key", "in/a"),
            ("policy", policy.as_str()),
            ("x-amz-credential", credential.as_str()),
            ("x-amz-security-token", credentials.session_token.as_str()),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
            ("x-amz-date", "20270115T080000Z"),
            ("x-amz-signature", "00"),
            ("file", "123"),
        ];
        let part = |(name, value): &(&str, &str)| {
            format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = fields.iter().map(part).collect::<String>() + "--XX--\r\n";
        let request = Request::post("/bucket").header("content-type", "multipart/form-data; boundary=XX");
        text(&fixture.services.handle(request.body(Bytes::from(body)).unwrap()).await)
    };
    let (status, answer) = send().await;
    assert!(status == 403 && answer.contains("s3:PutObject"), "{answer}");
    fixture.allow("uploader", "s3:PutObject", "arn:aws:s3:::bucket/in/*").await;
    assert_eq!(send().await.0, 204);
}
