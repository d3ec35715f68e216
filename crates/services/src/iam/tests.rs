use super::{AccessError, AssumeRole};
use crate::configuration::Enforce;
use crate::fixture::{ACCOUNT, Fixture, role_arn};
use crate::wire::{Access, Principal};
use serde_json::json;

fn session(role: &str) -> Principal {
    Principal::RoleSession {
        account: ACCOUNT.to_owned(),
        role_arn: role_arn(role),
        role_id: "AROA".to_owned(),
        session_name: "s".to_owned(),
    }
}

fn wish(role: &str) -> AssumeRole {
    AssumeRole {
        role_arn: role_arn(role),
        session_name: "next".to_owned(),
        duration_seconds: 3600,
        external_id: None,
    }
}

#[tokio::test]
async fn a_changed_policy_counts_at_once() {
    let fixture = Fixture::open(Enforce::On);
    fixture.create_role("r", "states.amazonaws.com").await;
    let access = Access::new("sns:Publish", "arn:aws:sns:us-east-1:000000000000:t");
    let is_allowed = || fixture.services.authorize(&session("r"), &access).is_allowed();
    assert!(!is_allowed());
    fixture.allow("r", "sns:Publish", "*").await;
    assert!(is_allowed());
    let delete = [("Action", "DeleteRolePolicy"), ("RoleName", "r"), ("PolicyName", "sns-Publish")];
    fixture.query("iam", &delete).await;
    assert!(!is_allowed());
    let managed = ("PolicyArn", "arn:aws:iam::aws:policy/AmazonSNSFullAccess");
    fixture.query("iam", &[("Action", "AttachRolePolicy"), ("RoleName", "r"), managed]).await;
    assert!(is_allowed());
}

#[tokio::test]
async fn passing_a_role_needs_permission_for_that_role_and_service() {
    let fixture = Fixture::open(Enforce::On);
    fixture.create_role("deployer", "states.amazonaws.com").await;
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "iam:PassRole", "Resource": role_arn("worker"),
        "Condition": { "StringEquals": { "iam:PassedToService": "lambda.amazonaws.com" } } }] });
    let document = policy.to_string();
    let put = [
        ("Action", "PutRolePolicy"),
        ("RoleName", "deployer"),
        ("PolicyName", "pass"),
        ("PolicyDocument", document.as_str()),
    ];
    fixture.query("iam", &put).await;
    let cases = [
        ("worker", "lambda.amazonaws.com", true),
        ("worker", "ecs-tasks.amazonaws.com", false),
        ("other", "lambda.amazonaws.com", false),
    ];
    for (role, service, expected) in cases {
        let access = Access::pass_role(role_arn(role), service);
        let is_allowed = fixture.services.authorize(&session("deployer"), &access).is_allowed();
        assert_eq!(is_allowed, expected, "{role} {service}");
    }
}

#[tokio::test]
async fn a_service_assumes_only_roles_that_trust_it() {
    let fixture = Fixture::open(Enforce::On);
    fixture.create_role("r", "lambda.amazonaws.com").await;
    let iam = fixture.services.iam();
    assert!(iam.assume_role_for_service(&role_arn("r"), "lambda.amazonaws.com", "s").await.is_ok());
    let other = iam.assume_role_for_service(&role_arn("r"), "states.amazonaws.com", "s").await;
    assert!(matches!(other, Err(AccessError::NotTrusted { .. })), "{other:?}");
    let trust = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "Service": "states.amazonaws.com" }, "Action": "sts:AssumeRole" }] });
    let trust = trust.to_string();
    let update =
        [("Action", "UpdateAssumeRolePolicy"), ("RoleName", "r"), ("PolicyDocument", trust.as_str())];
    fixture.query("iam", &update).await;
    assert!(iam.assume_role_for_service(&role_arn("r"), "states.amazonaws.com", "s").await.is_ok());
    assert!(iam.assume_role_for_service(&role_arn("r"), "lambda.amazonaws.com", "s").await.is_err());
    let missing = iam.assume_role_for_service(&role_arn("none"), "lambda.amazonaws.com", "s").await;
    assert!(matches!(missing, Err(AccessError::NoSuchRole { .. })), "{missing:?}");
    let lenient = Fixture::open(Enforce::Log);
    assert!(
        lenient
            .services
            .iam()
            .assume_role_for_service(&role_arn("none"), "x.amazonaws.com", "s")
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_trust_policy_may_name_the_resource_a_service_acts_for() {
    let fixture = Fixture::open(Enforce::On);
    let machine = "arn:aws:states:us-east-1:000000000000:stateMachine:m";
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": { "Service": "states.amazonaws.com" }, "Action": "sts:AssumeRole",
        "Condition": {
            "ArnLike": { "aws:SourceArn": "arn:aws:states:*:*:stateMachine:m" },
            "StringEquals": { "aws:SourceAccount": ACCOUNT } } }] });
    fixture.create_role_trusting("r", &trust).await;
    let assume = |source: Option<&str>| {
        fixture.services.iam().role_session_for_service(&role_arn("r"), "states.amazonaws.com", "s", source)
    };
    assert!(assume(Some(machine)).is_ok());
    assert!(assume(Some("arn:aws:states:us-east-1:000000000000:stateMachine:other")).is_err());
    assert!(assume(None).is_err());
}

#[tokio::test]
async fn a_role_assumes_another_by_its_trust_or_by_the_account_and_its_own_policy() {
    let fixture = Fixture::open(Enforce::On);
    let trusting = |principal: serde_json::Value| {
        json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole" }] })
    };
    fixture.create_role("caller", "lambda.amazonaws.com").await;
    fixture.create_role_trusting("names-it", &trusting(json!({ "AWS": role_arn("caller") }))).await;
    let account = trusting(json!({ "AWS": format!("arn:aws:iam::{ACCOUNT}:root") }));
    fixture.create_role_trusting("names-account", &account).await;
    fixture.create_role("names-neither", "lambda.amazonaws.com").await;
    let may =
        async |role: &str| fixture.services.iam().assume_role(&session("caller"), wish(role)).await.is_ok();
    assert!(may("names-it").await);
    assert!(!may("names-account").await);
    fixture.allow("caller", "sts:AssumeRole", "*").await;
    assert!(may("names-account").await);
    assert!(!may("names-neither").await);
    let root = Principal::Root { account: ACCOUNT.to_owned() };
    assert!(fixture.services.iam().assume_role(&root, wish("names-neither")).await.is_ok());
}

#[tokio::test]
async fn a_service_needs_the_policy_of_the_resource() {
    let fixture = Fixture::open(Enforce::On);
    let queue = "arn:aws:sqs:us-east-1:000000000000:q";
    let sns = Principal::Service { account: ACCOUNT.to_owned(), name: "sns.amazonaws.com".to_owned() };
    let policy = json!({ "Statement": [{ "Effect": "Allow", "Principal": { "Service": "sns.amazonaws.com" },
        "Action": "sqs:SendMessage", "Resource": queue,
        "Condition": { "ArnEquals": { "aws:SourceArn": "arn:aws:sns:us-east-1:000000000000:t" } } }] });
    let access = |topic: &str| {
        Access::new("sqs:SendMessage", queue)
            .with_condition("aws:SourceArn", format!("arn:aws:sns:us-east-1:000000000000:{topic}"))
    };
    let is_allowed = |access: Access| fixture.services.authorize(&sns, &access).is_allowed();
    assert!(!is_allowed(access("t")));
    assert!(is_allowed(access("t").with_resource_policy(Some(policy.clone()))));
    assert!(!is_allowed(access("other").with_resource_policy(Some(policy))));
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn log_mode_prints_the_missing_statement_once() {
    let fixture = Fixture::open(Enforce::Log);
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let access = Access::new("dynamodb:PutItem", "arn:aws:dynamodb:us-east-1:000000000000:table/t");
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..2 {
            assert!(fixture.services.authorize(&session("r"), &access).is_allowed());
        }
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let statement = r#"{"Effect":"Allow","Action":"dynamodb:PutItem","Resource":"arn:aws:dynamodb:us-east-1:000000000000:table/t"}"#;
    assert_eq!(text.matches(statement).count(), 1, "{text}");
}
