//! Secrets through the front, across a restart, and in the file.

use crate::configuration::Enforce;
use crate::fixture::Fixture;
use serde_json::{Value, json};

async fn call(fixture: &Fixture, operation: &str, input: Value) -> Value {
    fixture
        .json("secretsmanager", operation, input)
        .await
        .unwrap_or_else(|error| json!({ "code": error.short_code(), "message": error.message }))
}

#[tokio::test]
async fn a_value_is_versioned_sealed_and_outlives_a_restart() {
    let fixture = Fixture::open(Enforce::Off);
    let made =
        call(&fixture, "CreateSecret", json!({ "Name": "db/password", "SecretString": "hunter2-first" }))
            .await;
    let arn = made["ARN"].as_str().unwrap().to_owned();
    assert!(arn.contains(":secret:db/password-"), "{arn}");
    let second = json!({ "SecretId": "db/password", "SecretString": "hunter2-second", "ClientRequestToken": "t".repeat(32) });
    let put = call(&fixture, "PutSecretValue", second.clone()).await;
    assert_eq!(call(&fixture, "PutSecretValue", second).await, put, "the same token is the same version");
    let fixture = fixture.reopened().await;
    let partial = &arn[..arn.len() - 7];
    for id in ["db/password", arn.as_str(), partial] {
        let found = call(&fixture, "GetSecretValue", json!({ "SecretId": id })).await;
        assert_eq!(found["SecretString"], "hunter2-second", "{id}");
    }
    let before = json!({ "SecretId": arn, "VersionStage": "AWSPREVIOUS" });
    let found = call(&fixture, "GetSecretValue", before).await;
    assert_eq!((&found["SecretString"], &found["VersionId"]), (&"hunter2-first".into(), &made["VersionId"]));
    let directory = fixture.services.environment().directory();
    for name in ["secretsmanager.db", "secretsmanager.db-wal"] {
        let bytes = std::fs::read(directory.join(name)).unwrap_or_default();
        assert!(!bytes.windows(7).any(|part| part == b"hunter2"), "{name} holds a secret");
    }
}

#[tokio::test]
async fn a_deleted_secret_comes_back_until_its_time_is_over() {
    let fixture = Fixture::open(Enforce::Off);
    call(
        &fixture,
        "CreateSecret",
        json!({ "Name": "a", "SecretString": "x", "Tags": [{ "Key": "k", "Value": "v" }] }),
    )
    .await;
    let named = json!({ "SecretId": "a" });
    call(&fixture, "DeleteSecret", json!({ "SecretId": "a", "RecoveryWindowInDays": 7 })).await;
    assert_eq!(call(&fixture, "GetSecretValue", named.clone()).await["code"], "InvalidRequestException");
    let again = call(&fixture, "CreateSecret", json!({ "Name": "a" })).await;
    assert!(again["message"].as_str().unwrap().contains("already scheduled for deletion"));
    call(&fixture, "RestoreSecret", named.clone()).await;
    assert_eq!(call(&fixture, "GetSecretValue", named.clone()).await["SecretString"], "x");
    assert_eq!(call(&fixture, "DescribeSecret", named.clone()).await["Tags"][0]["Value"], "v");
    call(&fixture, "DeleteSecret", json!({ "SecretId": "a", "RecoveryWindowInDays": 7 })).await;
    fixture.advance_seconds(8 * 24 * 3600);
    assert_eq!(call(&fixture, "DescribeSecret", named).await["code"], "ResourceNotFoundException");
    assert!(call(&fixture, "CreateSecret", json!({ "Name": "a" })).await["ARN"].is_string());
}

#[tokio::test]
async fn errors_have_the_words_of_aws() {
    let fixture = Fixture::open(Enforce::Off);
    call(&fixture, "CreateSecret", json!({ "Name": "a", "SecretString": "x" })).await;
    for (operation, input, code, text) in [
        (
            "CreateSecret",
            json!({ "Name": "Invalid Name" }),
            "ValidationException",
            "Invalid name. Must be a valid name",
        ),
        ("CreateSecret", json!({ "Name": "a" }), "ResourceExistsException", "the secret a already exists."),
        (
            "GetSecretValue",
            json!({ "SecretId": "b" }),
            "ResourceNotFoundException",
            "can't find the specified secret.",
        ),
        (
            "GetSecretValue",
            json!({ "SecretId": "a", "VersionStage": "AWSPREVIOUS" }),
            "ResourceNotFoundException",
            "for staging label: AWSPREVIOUS",
        ),
        (
            "PutSecretValue",
            json!({ "SecretId": "a" }),
            "InvalidParameterException",
            "SecretString or SecretBinary",
        ),
        ("RotateSecret", json!({ "SecretId": "a" }), "UnsupportedOperationException", "RotateSecret"),
    ] {
        let refused = call(&fixture, operation, input).await;
        assert_eq!(refused["code"], code, "{refused}");
        assert!(refused["message"].as_str().unwrap().contains(text), "{refused}");
    }
}
