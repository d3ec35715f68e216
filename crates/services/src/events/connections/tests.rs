//! Connections through the front, with an authorization endpoint that answers as it is told.

use super::*;
use crate::front::Unreachable;
use crate::outside::WayOut;
use crate::wire::{BoxFuture, Principal};
use crate::{Services, ServicesConfig};
use bytes::Bytes;
use http::{Request, Response};
use serde_json::json;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Instant;

/// Answers with tokens `t1`, `t2`, …, or with a status.
#[derive(Default)]
struct Endpoint {
    status: AtomicU16,
    asked: AtomicUsize,
    bodies: Mutex<Vec<String>>,
}

impl WayOut for Endpoint {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Unreachable>> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.bodies.lock().expect("lock").push(String::from_utf8_lossy(request.body()).into_owned());
        let (status, body) = match self.status.load(Ordering::SeqCst) {
            0 => (200, json!({"access_token": format!("t{number}"), "expires_in": 3600})),
            status => (status, json!({"error": "invalid_client"})),
        };
        let mut answer = Response::new(Bytes::from(body.to_string()));
        *answer.status_mut() = http::StatusCode::from_u16(status).expect("status");
        Box::pin(async move { Ok(answer) })
    }
}

fn context(account: &str) -> CallContext {
    CallContext::of(Principal::Root { account: account.to_owned() }, "eu-west-1")
}

async fn call(services: &Services, operation: &str, input: Value) -> Result<Value, ServiceError> {
    let request = ServiceRequest::json_call(operation, &input);
    let body = services.call(&context("123456789012"), "events", request).await?.body_bytes();
    Ok(serde_json::from_slice(&body).expect("json"))
}

fn opened(directory: &std::path::Path, endpoint: &Arc<Endpoint>) -> Services {
    let outside: Arc<dyn WayOut> = endpoint.clone();
    Services::open(ServicesConfig { outside, ..ServicesConfig::new(directory) }).expect("open")
}

/// The connection once it is in this state.
async fn described(services: &Services, name: &str, state: &str) -> Value {
    let began = Instant::now();
    loop {
        let found = call(services, "DescribeConnection", json!({"Name": name})).await.expect("described");
        if found["ConnectionState"] == state || began.elapsed() > Duration::from_secs(60) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn created(kind: &str) -> Value {
    let parameters = match kind {
        "BASIC" => json!({"BasicAuthParameters": {"Username": "ada", "Password": "p4ssw0rd"},
            "InvocationHttpParameters": {"QueryStringParameters": [{"Key": "v", "Value": "2"}]}}),
        _ => {
            json!({"OAuthParameters": {"AuthorizationEndpoint": "https://id.example.com/token", "HttpMethod": "POST",
            "ClientParameters": {"ClientID": "me", "ClientSecret": "s3cret-words"}}})
        }
    };
    json!({"Name": "bank", "AuthorizationType": kind, "AuthParameters": parameters})
}

#[tokio::test]
async fn a_connection_is_kept_sealed_and_adds_its_credentials() {
    let directory = tempfile::tempdir().expect("directory");
    let endpoint = Arc::new(Endpoint::default());
    let services = opened(directory.path(), &endpoint);
    let answer = call(&services, "CreateConnection", created("BASIC")).await.expect("created");
    assert_eq!(answer["ConnectionState"], "AUTHORIZED");
    let arn = answer["ConnectionArn"].as_str().expect("arn");
    let again = call(&services, "CreateConnection", created("BASIC")).await.expect_err("twice");
    assert_eq!(again.code, "ResourceAlreadyExistsException");
    let shown = described(&services, "bank", "AUTHORIZED").await;
    assert_eq!(shown["AuthParameters"]["BasicAuthParameters"], json!({"Username": "ada"}));
    assert!(shown["SecretArn"].as_str().expect("secret").contains(":secret:events!connection/bank/"));
    let connections = services.connections();
    let additions = connections.additions(&context("123456789012"), arn, None).await.expect("additions");
    assert_eq!(additions.headers[0].1, "Basic YWRhOnA0c3N3MHJk");
    assert_eq!(additions.query, [("v".to_owned(), "2".to_owned())]);
    let fault = connections.additions(&context("999999999999"), arn, None).await.expect_err("foreign");
    assert_eq!(fault.code, "ResourceNotFound");
    services.shutdown().await;
    for file in std::fs::read_dir(directory.path().join("services")).expect("directory") {
        let bytes = std::fs::read(file.expect("entry").path()).unwrap_or_default();
        assert!(!bytes.windows(8).any(|bytes| bytes == b"p4ssw0rd"), "a secret lies open");
    }
}

#[tokio::test]
async fn an_update_a_deauthorization_and_a_deletion_are_seen() {
    let directory = tempfile::tempdir().expect("directory");
    let services = opened(directory.path(), &Arc::default());
    let arn = call(&services, "CreateConnection", created("BASIC")).await.expect("created")["ConnectionArn"]
        .clone();
    let arn = arn.as_str().expect("arn");
    let update = json!({"Name": "bank", "AuthParameters": {"BasicAuthParameters": {"Password": "new"}}});
    call(&services, "UpdateConnection", update).await.expect("updated");
    let connections = services.connections();
    let additions = connections.additions(&context("123456789012"), arn, None).await.expect("additions");
    assert_eq!(additions.headers[0].1, "Basic YWRhOm5ldw==");
    let answer = call(&services, "DeauthorizeConnection", json!({"Name": "bank"})).await.expect("taken");
    assert_eq!(answer["ConnectionState"], "DEAUTHORIZING");
    let fault = connections.additions(&context("123456789012"), arn, None).await.expect_err("no parameters");
    assert_eq!(fault.code, "InvalidConnectionState");
    let list = call(&services, "ListConnections", json!({"NamePrefix": "ba"})).await.expect("list");
    assert_eq!(list["Connections"][0]["ConnectionState"], "DEAUTHORIZED");
    let answer = call(&services, "DeleteConnection", json!({"Name": "bank"})).await.expect("deleted");
    assert_eq!(answer["ConnectionState"], "DELETING");
    let gone = call(&services, "DescribeConnection", json!({"Name": "bank"})).await.expect_err("gone");
    assert_eq!(gone.code, "ResourceNotFoundException");
    services.shutdown().await;
}

#[tokio::test]
async fn a_token_is_fetched_once_kept_over_a_restart_and_renewed_when_refused() {
    let directory = tempfile::tempdir().expect("directory");
    let endpoint = Arc::new(Endpoint::default());
    let services = opened(directory.path(), &endpoint);
    let answer =
        call(&services, "CreateConnection", created("OAUTH_CLIENT_CREDENTIALS")).await.expect("created");
    assert_eq!(answer["ConnectionState"], "AUTHORIZING");
    let arn = answer["ConnectionArn"].as_str().expect("arn");
    described(&services, "bank", "AUTHORIZED").await;
    let body = endpoint.bodies.lock().expect("lock")[0].clone();
    assert_eq!(body, "grant_type=client_credentials&client_id=me&client_secret=s3cret-words");
    services.shutdown().await;
    drop(services);
    let services = opened(directory.path(), &endpoint);
    let (connections, us) = (services.connections(), context("123456789012"));
    let first = connections.additions(&us, arn, None).await.expect("additions");
    assert_eq!(first.headers[0].1, "Bearer t1");
    let (one, two) = tokio::join!(
        connections.additions(&us, arn, first.token),
        connections.additions(&us, arn, first.token)
    );
    assert_eq!(
        (&one.expect("renewed").headers[0].1, &two.expect("renewed").headers[0].1),
        (&"Bearer t2".into(), &"Bearer t2".into())
    );
    assert_eq!(endpoint.asked.load(Ordering::SeqCst), 2);
    endpoint.status.store(401, Ordering::SeqCst);
    let second = connections.additions(&us, arn, None).await.expect("kept");
    let fault = connections.additions(&us, arn, second.token).await.expect_err("refused");
    assert_eq!(fault.code, "InvalidConnectionState");
    let shown = described(&services, "bank", "DEAUTHORIZED").await;
    assert_eq!(shown["StateReason"], "The authorization endpoint answered 401: invalid_client.");
    services.shutdown().await;
}
