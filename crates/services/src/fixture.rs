//! All services over an empty directory, with a clock that tests move, for tests of this crate.

use crate::configuration::{Enforce, ServicesConfig};
use crate::environment::Clock;
use crate::front::{OpenError, Services};
use crate::sdk_call::{SdkCall, SdkCaller};
use crate::wire::{BoxFuture, CallContext, Principal, ServiceError, ServiceRequest};
use bytes::Bytes;
use http::{Method, Request, Response};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

pub(crate) const ACCOUNT: &str = "000000000000";
const BEGIN_MS: i64 = 1_800_000_000_000;

pub(crate) struct Fixture {
    pub(crate) services: Services,
    directory: Arc<TempDir>,
    clock: TestClock,
    enforce: Enforce,
}

/// What a call is answered with; nothing, so that it hangs.
pub(crate) type Script = Option<Result<Value, ServiceError>>;

/// Stands for what makes the calls that this crate cannot make: tells of them, and answers as the script says.
struct Witness {
    told: mpsc::UnboundedSender<(CallContext, SdkCall)>,
    script: Mutex<VecDeque<Script>>,
}

impl SdkCaller for Witness {
    fn check(&self, call: &SdkCall) -> Result<(), String> {
        if call.action == "noSuchAction" { Err("no such action".to_owned()) } else { Ok(()) }
    }

    fn call(&self, context: CallContext, call: SdkCall) -> BoxFuture<'static, Result<Value, ServiceError>> {
        let answer = self.script.lock().unwrap().pop_front().unwrap_or(Some(Ok(Value::Null)));
        // A test that does not look any more does not care.
        let _ = self.told.send((context, call));
        Box::pin(async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }
}

/// Stands still until it is moved.
#[derive(Clone)]
struct TestClock(Arc<watch::Sender<i64>>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(*self.0.borrow()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let mut moves = self.0.subscribe();
        Box::pin(async move {
            // The clock outlives every sleeper but those of a test that has ended.
            let _ = moves.wait_for(|now| *now >= at.as_millisecond()).await;
        })
    }
}

impl Fixture {
    pub(crate) fn open(enforce: Enforce) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        Self::over(directory, TestClock(Arc::new(watch::Sender::new(BEGIN_MS))), enforce).unwrap()
    }

    /// With something else in the configuration, for as long as it is not reopened.
    pub(crate) fn with(enforce: Enforce, set: impl FnOnce(&mut ServicesConfig)) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let clock = TestClock(Arc::new(watch::Sender::new(BEGIN_MS)));
        Self::configured(directory, clock, enforce, set).unwrap()
    }

    /// The same directory opened again, as after a restart.
    pub(crate) async fn reopened(self) -> Self {
        self.services.shutdown().await;
        let Self { services, directory, clock, enforce } = self;
        drop(services);
        // Background tasks of the old services let go of the directory's lock a moment after the shutdown.
        let patience = std::time::Duration::from_secs(60);
        let opened = tokio::time::timeout(patience, async {
            loop {
                match Self::over(directory.clone(), clock.clone(), enforce) {
                    Err(OpenError::Service { service: "processes", .. }) => tokio::task::yield_now().await,
                    other => return other.unwrap(),
                }
            }
        });
        opened.await.unwrap()
    }

    fn over(directory: Arc<TempDir>, clock: TestClock, enforce: Enforce) -> Result<Self, OpenError> {
        Self::configured(directory, clock, enforce, |_| {})
    }

    fn configured(
        directory: Arc<TempDir>,
        clock: TestClock,
        enforce: Enforce,
        set: impl FnOnce(&mut ServicesConfig),
    ) -> Result<Self, OpenError> {
        let mut config = ServicesConfig::new(directory.path());
        config.enforce = enforce;
        config.clock = Arc::new(clock.clone());
        set(&mut config);
        let services = Services::open(config)?;
        Ok(Self { services, directory, clock, enforce })
    }

    /// The calls of the SDK's kind from now on. Those beyond the script succeed.
    pub(crate) fn sdk_calls(
        &self,
        script: impl IntoIterator<Item = Script>,
    ) -> mpsc::UnboundedReceiver<(CallContext, SdkCall)> {
        let (told, calls) = mpsc::unbounded_channel();
        let script = Mutex::new(script.into_iter().collect());
        self.services.environment().set_sdk_caller(Arc::new(Witness { told, script }));
        calls
    }

    pub(crate) fn set_time(&self, time: &str) {
        let time: Timestamp = time.parse().unwrap();
        self.clock.0.send_replace(time.as_millisecond());
    }

    pub(crate) fn advance_seconds(&self, seconds: i64) {
        self.clock.0.send_modify(|now| *now += seconds * 1000);
    }

    pub(crate) fn root(&self) -> CallContext {
        CallContext::of(Principal::Root { account: ACCOUNT.to_owned() }, "us-east-1")
    }

    /// A call by the owner of the account.
    pub(crate) async fn json(
        &self,
        service: &str,
        operation: &str,
        input: Value,
    ) -> Result<Value, ServiceError> {
        self.json_as(&self.root(), service, operation, input).await
    }

    pub(crate) async fn json_as(
        &self,
        context: &CallContext,
        service: &str,
        operation: &str,
        input: Value,
    ) -> Result<Value, ServiceError> {
        let request = ServiceRequest::json_call(operation, &input);
        let response = self.services.call(context, service, request).await?;
        let body = response.body_bytes();
        Ok(if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
    }

    /// A REST call by the owner of the account.
    pub(crate) async fn rest(
        &self,
        service: &str,
        method: Method,
        path: &str,
        body: Value,
    ) -> Result<Value, ServiceError> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = ServiceRequest::rest(method, path, body);
        let body = self.services.call(&self.root(), service, request).await?.body_bytes();
        Ok(if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
    }

    /// A call of the query protocol by the owner of the account, which must succeed.
    pub(crate) async fn query(&self, service: &str, fields: &[(&str, &str)]) -> String {
        let response = self.services.handle(form(service, "test", None, fields)).await;
        let body = String::from_utf8_lossy(response.body()).into_owned();
        assert!(response.status().is_success(), "{body}");
        body
    }

    /// A role that the account and `trusted_service` may assume.
    pub(crate) async fn create_role(&self, name: &str, trusted_service: &str) {
        let trust = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Principal": { "Service": trusted_service }, "Action": "sts:AssumeRole" }] });
        self.create_role_trusting(name, &trust).await;
    }

    pub(crate) async fn create_role_trusting(&self, name: &str, trust: &Value) {
        let trust = trust.to_string();
        let fields =
            [("Action", "CreateRole"), ("RoleName", name), ("AssumeRolePolicyDocument", trust.as_str())];
        self.query("iam", &fields).await;
    }

    /// Lets a role do something, by an inline policy named after the action.
    pub(crate) async fn allow(&self, role: &str, action: &str, resource: &str) {
        let document = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": action, "Resource": resource }] });
        let (name, document) = (action.replace([':', '*'], "-"), document.to_string());
        let fields = [
            ("Action", "PutRolePolicy"),
            ("RoleName", role),
            ("PolicyName", name.as_str()),
            ("PolicyDocument", document.as_str()),
        ];
        self.query("iam", &fields).await;
    }
}

/// The ARN of a role in the default account.
pub(crate) fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}

/// A signed request of the query protocol.
pub(crate) fn form(
    service: &str,
    access_key_id: &str,
    session_token: Option<&str>,
    fields: &[(&str, &str)],
) -> Request<Bytes> {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    signed(service, access_key_id, session_token)
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .body(Bytes::from(pairs.join("&")))
        .unwrap()
}

/// A request with a SigV4 scope. The signature is not checked on loopback, so it is not computed.
pub(crate) fn signed(
    service: &str,
    access_key_id: &str,
    session_token: Option<&str>,
) -> http::request::Builder {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={access_key_id}/20270115/us-east-1/{service}/aws4_request, SignedHeaders=host, \
         Signature=00"
    );
    let request = Request::builder().method("POST").uri("/").header("authorization", authorization);
    match session_token {
        Some(token) => request.header("x-amz-security-token", token),
        None => request,
    }
}

/// Status and body as text.
pub(crate) fn text(response: &Response<Bytes>) -> (u16, String) {
    (response.status().as_u16(), String::from_utf8_lossy(response.body()).into_owned())
}
