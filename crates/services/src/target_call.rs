//! Calls that SNS, EventBridge, Scheduler and alarms make to their targets: a queue, a function, a topic, a state machine.
//! The context says in whose name.

use crate::environment::Environment;
use crate::iam::AccessError;
use crate::sdk_call::SdkCall;
use crate::wire::{CallContext, Protocol, ServiceError, ServiceRequest};
use bytes::Bytes;
use http::{HeaderValue, Method};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// Region, account and the rest of `arn:aws:service:region:account:rest`.
pub(crate) fn split_arn(arn: &str) -> Result<(&str, &str, &str), ServiceError> {
    let mut parts = arn.splitn(6, ':').skip(3);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(region), Some(account), Some(rest)) => Ok((region, account, rest)),
        _ => Err(ServiceError::client("ValidationException", format!("{arn} is not an ARN"))),
    }
}

/// The same caller, in the region and account of the target.
fn at(context: &CallContext, region: &str, account: &str) -> CallContext {
    let mut context = context.clone();
    context.region = region.to_owned();
    context.account = account.to_owned();
    context
}

/// SendMessage; `message` holds everything but the queue.
pub(crate) async fn send_message(
    environment: &Environment,
    context: &CallContext,
    queue_arn: &str,
    mut message: Value,
) -> Result<(), ServiceError> {
    let (region, account, name) = split_arn(queue_arn)?;
    message["QueueUrl"] = json!(format!("{}/{account}/{name}", environment.endpoint()));
    let request = ServiceRequest::json_call("SendMessage", &message);
    environment.call(&at(context, region, account), "sqs", request).await.map(|_| ())
}

/// Invoke, asynchronously.
pub(crate) async fn invoke_function(
    environment: &Environment,
    context: &CallContext,
    function_arn: &str,
    event: String,
) -> Result<(), ServiceError> {
    let (region, account, _) = split_arn(function_arn)?;
    let path =
        format!("/2015-03-31/functions/{}/invocations", utf8_percent_encode(function_arn, NON_ALPHANUMERIC));
    let mut request = ServiceRequest::rest(Method::POST, &path, Bytes::from(event));
    request.headers.insert("x-amz-invocation-type", HeaderValue::from_static("Event"));
    environment.call(&at(context, region, account), "lambda", request).await.map(|_| ())
}

/// Publish.
pub(crate) async fn publish(
    environment: &Environment,
    context: &CallContext,
    topic_arn: &str,
    message: &str,
) -> Result<(), ServiceError> {
    let (region, account, _) = split_arn(topic_arn)?;
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let form = format!("TopicArn={}&Message={}", encode(topic_arn), encode(message));
    let mut request = ServiceRequest::rest(Method::POST, "/", Bytes::from(form));
    request.operation = "Publish".to_owned();
    request.protocol = Protocol::AwsQuery;
    environment.call(&at(context, region, account), "sns", request).await.map(|_| ())
}

/// StartExecution under a name that is the same at every attempt: an execution that is there already is this one.
pub(crate) async fn start_execution(
    environment: &Environment,
    context: &CallContext,
    state_machine_arn: &str,
    name: &str,
    input: &str,
) -> Result<(), ServiceError> {
    let (region, account, _) = split_arn(state_machine_arn)?;
    let parameters = json!({"stateMachineArn": state_machine_arn, "name": name, "input": input});
    let call = SdkCall { service: "sfn".to_owned(), action: "startExecution".to_owned(), parameters };
    match environment.sdk_caller().await?.call(at(context, region, account), call).await {
        Err(error) if error.short_code() == "ExecutionAlreadyExists" => Ok(()),
        answer => answer.map(|_| ()),
    }
}

/// A call in the name of a role that a user gave to a service.
pub(crate) struct Acting<'a> {
    /// Such as `scheduler.amazonaws.com`.
    pub(crate) service_principal: &'a str,
    /// The role's ARN.
    pub(crate) role_arn: &'a str,
    /// The session's name.
    pub(crate) session_name: &'a str,
    /// `aws:SourceArn` in the role's trust policy.
    pub(crate) source_arn: &'a str,
}

impl Acting<'_> {
    /// The caller.
    pub(crate) fn context(
        &self,
        environment: &Environment,
        region: &str,
    ) -> Result<CallContext, ServiceError> {
        let session = environment.iam().role_session_for_service(
            self.role_arn,
            self.service_principal,
            self.session_name,
            Some(self.source_arn),
        );
        match session {
            Ok(principal) => Ok(CallContext::of(principal, region)),
            Err(AccessError::Storage(reason)) => Err(ServiceError::internal(reason)),
            Err(error) => Err(ServiceError::new(403, "AccessDeniedException", error.to_string())),
        }
    }
}
