//! Readers of the committed journal that turn executions into CloudWatch logs, metrics and EventBridge events.

mod logs;
mod metrics;
mod status;

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use runtime::{BoxFuture, Observer, Runtime};
use serde_json::{Value, json};
use services::wire::{CallContext, Principal};
use services::{Environment, Services};

/// The runtime, which observers ask for the configuration of state machines; attached once it is open.
#[derive(Clone, Default)]
pub(super) struct Machines(Arc<OnceLock<Weak<Runtime>>>);

impl Machines {
    pub fn attach(&self, runtime: &Arc<Runtime>) {
        // Only `Server::open` attaches, once.
        let _ = self.0.set(Arc::downgrade(runtime));
    }

    /// The runtime; none before it is open, and when it has ended.
    pub fn runtime(&self) -> Option<Arc<Runtime>> {
        self.0.get()?.upgrade()
    }

    /// `loggingConfiguration` of a state machine as it is now; none when it has none or is gone.
    async fn logging(&self, state_machine_arn: &str) -> Option<Value> {
        let runtime = self.runtime()?;
        runtime.describe_state_machine(state_machine_arn).await.ok()?.machine.logging
    }
}

/// Everyone who follows all executions.
pub(super) fn all(services: &Services, machines: &Machines) -> Vec<Arc<dyn Observer>> {
    let environment = services.environment();
    let mut observers: Vec<Arc<dyn Observer>> = Vec::new();
    if let Some(sink) = environment.logs() {
        observers.push(Arc::new(logs::Logs::new(sink.clone(), machines.clone())));
    }
    if let Some(sink) = environment.metrics() {
        observers.push(Arc::new(metrics::Metrics::new(sink.clone())));
    }
    if let Some(sink) = environment.events() {
        observers.push(Arc::new(status::StatusChanges::new(sink.clone())));
    }
    observers
}

/// What the API asks to learn whether a log group exists.
pub(super) type LogGroupCheck = Arc<dyn Fn(String) -> BoxFuture<'static, bool> + Send + Sync>;

/// What the API tells about deliveries to come.
pub(super) type LogAnnouncement = Arc<dyn Fn(String) -> BoxFuture<'static, ()> + Send + Sync>;

/// Is there a log group with this ARN?
pub(super) fn log_group_check(services: Services) -> LogGroupCheck {
    Arc::new(move |arn| {
        let services = services.clone();
        Box::pin(async move { log_group_exists(&services, &arn).await })
    })
}

/// Writes the stream with which AWS tries a log group out.
pub(super) fn log_announcement(environment: Environment) -> LogAnnouncement {
    Arc::new(move |arn| {
        let environment = environment.clone();
        Box::pin(async move {
            let parts: Vec<&str> = arn.splitn(7, ':').collect();
            let (Some(sink), &[_, _, _, region, account, _, group]) = (environment.logs(), parts.as_slice())
            else {
                return;
            };
            let stream = "log_stream_created_by_aws_to_validate_log_delivery_subscriptions";
            let message = "Permissions are set correctly to allow AWS CloudWatch Logs to write into your logs while \
                           creating a subscription.";
            let now = environment.now().as_millisecond();
            if let Err(error) = sink.put(account, region, group, stream, vec![(now, message.into())]).await {
                tracing::warn!(error = error.message, "the log group could not be tried out");
            }
        })
    })
}

async fn log_group_exists(services: &Services, arn: &str) -> bool {
    // arn:aws:logs:REGION:ACCOUNT:log-group:NAME
    let parts: Vec<&str> = arn.splitn(7, ':').collect();
    let &[_, _, "logs", region, account, "log-group", name] = parts.as_slice() else { return false };
    let context = CallContext::of(Principal::Root { account: account.into() }, region);
    let body = json!({ "logGroupNamePrefix": name }).to_string();
    let request = http::Request::post("/")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", "Logs_20140328.DescribeLogGroups")
        .body(Bytes::from(body));
    let Ok(request) = request else { return false };
    let answer = services.handle_for(context, request).await;
    let found: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    found["logGroups"]
        .as_array()
        .is_some_and(|groups| groups.iter().any(|group| group["logGroupName"] == name))
}
