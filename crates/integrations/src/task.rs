//! Carrying out one attempt of a Task.

use std::sync::Arc;

use asl::payload::Payload;
use asl::program::{Pattern, Resource, ResourceKind};
use bytes::Bytes;
use md5::{Digest, Md5};
use serde_json::{Map, Value, json};

use crate::apigateway;
use crate::failure::{Dialect, Failure, from_fault, from_function, from_transport};
use crate::model::{self, Operation};
use crate::naming::{from_native, pascal, to_native};
use crate::optimized::{self, Caller, Optimized, shape_arguments};
use crate::protocol::{self, Timestamps};
use crate::sync::{self, Observation};
use crate::transport::{Identity, Transport, TransportError};

/// One attempt of a Task, ready to be carried out.
#[derive(Clone, Debug)]
pub struct Call {
    /// On whose behalf.
    pub identity: Identity,
    /// The execution.
    pub execution_arn: Arc<str>,
    /// Its state machine, unqualified.
    pub state_machine_arn: Arc<str>,
    /// The Task's resource.
    pub resource: Resource,
    /// Effective parameters.
    pub arguments: Payload,
}

/// Where an attempt failed; it decides the history event's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The call could not be made.
    Start,
    /// The job could not be submitted.
    Submit,
    /// The work itself failed.
    Run,
}

/// How an attempt ended, for now.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// Done, with the Task's result.
    Succeeded(Value),
    /// Started; a job (`.sync`) is to be observed by its handle, a callback waits for its token.
    Submitted {
        /// The service's answer, for the TaskSubmitted event.
        output: Value,
        /// What [`Integrations::observe`] and [`Integrations::cancel`] need; null for callbacks.
        handle: Value,
    },
    /// Failed.
    Failed(Failure, Stage),
}

/// Carries out Tasks over a [`Transport`].
#[derive(Clone)]
pub struct Integrations {
    transport: Arc<dyn Transport>,
}

/// A service call prepared from a resource.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub operation: Operation<'static>,
    pub dialect: Dialect,
    pub optimized: Option<&'static Optimized>,
}

impl Integrations {
    /// Over this transport.
    pub fn new(transport: Arc<dyn Transport>) -> Integrations {
        Integrations { transport }
    }

    /// What requests leave by.
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    /// Why arguments cannot even be sent, in AWS's words.
    pub fn check(&self, resource: &Resource, arguments: &Payload) -> Result<(), String> {
        let ResourceKind::Service { service, action, pattern } = &resource.kind else { return Ok(()) };
        if &**service == "apigateway" {
            return apigateway::check(arguments).map_err(|problems| unusable(arguments, &problems));
        }
        let Some(plan) = plan(service, action) else { return Ok(()) };
        let caller = Caller { execution_arn: "", state_machine_arn: "" };
        let shaped = shaped(arguments, &plan, service, *pattern, &caller);
        let Some(shape) = plan.operation.input() else { return Ok(()) };
        to_native(shape, &shaped).map(drop).map_err(|problems| unusable(arguments, &problems))
    }

    /// Starts one attempt and, unless it waits for a job or a callback, finishes it.
    pub async fn run(&self, call: &Call) -> Report {
        match &call.resource.kind {
            ResourceKind::Lambda => self.invoke_directly(call).await,
            ResourceKind::Activity => unsupported(&call.resource.arn),
            ResourceKind::Service { service, .. } if &**service == "http" => self.run_http(call).await,
            ResourceKind::Service { service, pattern, .. } if &**service == "apigateway" => {
                self.run_apigateway(call, *pattern).await
            }
            ResourceKind::Service { service, action, pattern } => match plan(service, action) {
                Some(plan) => self.run_service(call, &plan, service, *pattern).await,
                None => unsupported(&call.resource.arn),
            },
        }
    }

    /// Looks once at a submitted `.sync` job.
    pub async fn observe(&self, call: &Call, handle: &Value) -> Observation {
        sync::observe(self, call, handle).await
    }

    /// Asks for a job to be stopped; best effort, as on AWS. Without a handle (a crash came between the start and its
    /// record) the job is found by the attempt's id, or there is none.
    pub async fn cancel(&self, call: &Call, handle: Option<&Value>) {
        sync::cancel(self, call, handle).await;
    }

    /// A Task whose resource is a function's ARN: the input is the event, the payload the result.
    async fn invoke_directly(&self, call: &Call) -> Report {
        let Some(plan) = plan("lambda", "invoke") else { return unsupported(&call.resource.arn) };
        let parameters = json!({ "FunctionName": &*call.resource.arn, "Payload": call.arguments.text() });
        match self.exchange(call, &plan, &parameters).await {
            Err(failure) => Report::Failed(failure, Stage::Run),
            Ok((_, response)) => match function_result(&response) {
                Ok(payload) => Report::Succeeded(payload),
                Err(failure) => Report::Failed(failure, Stage::Run),
            },
        }
    }

    async fn run_service(&self, call: &Call, plan: &Plan, service: &str, pattern: Pattern) -> Report {
        let parameters = match native_parameters(call, plan, service, pattern) {
            Ok(parameters) => parameters,
            Err(problems) => {
                let failure = Failure::new("States.Runtime", unusable(&call.arguments, &problems));
                return Report::Failed(failure, Stage::Start);
            }
        };
        let (native, response) = match self.exchange_once(call, plan, service, &parameters).await {
            Ok(answer) => answer,
            Err(failure) => return Report::Failed(failure, stage(pattern)),
        };
        let output = match shape_result(service, plan, native, &response, pattern) {
            Ok(output) => output,
            Err(failure) => return Report::Failed(failure, Stage::Run),
        };
        match pattern {
            Pattern::RequestResponse => Report::Succeeded(output),
            Pattern::WaitForTaskToken => Report::Submitted { output, handle: Value::Null },
            Pattern::Sync | Pattern::Sync2 => match sync::handle(service, &parameters, &output) {
                Ok(handle) => Report::Submitted { output, handle },
                Err(failure) => Report::Failed(failure, Stage::Run),
            },
        }
    }

    /// As [`Integrations::exchange`]; a nested execution that an earlier delivery of the same attempt started (and that may
    /// have ended since) is answered, not refused.
    async fn exchange_once(
        &self,
        call: &Call,
        plan: &Plan,
        service: &str,
        parameters: &Value,
    ) -> Result<(Value, http::Response<Bytes>), Failure> {
        let answer = self.exchange(call, plan, parameters).await;
        let ours = service == "states" && parameters["name"] == attempt_uuid(&call.identity.invocation_id);
        let taken = |failure: &Failure| {
            failure.error.as_deref() == Some("StepFunctions.ExecutionAlreadyExistsException")
        };
        match answer {
            Err(failure) if ours && taken(&failure) => {
                let machine = parameters["stateMachineArn"].as_str().unwrap_or_default();
                let name = parameters["name"].as_str().unwrap_or_default();
                let Some(arn) = sync::nested_execution_arn(machine, name) else { return Err(failure) };
                let describe = plan.operation.service.action("describeExecution");
                let Some(operation) = describe else { return Err(failure) };
                self.exchange(call, &Plan { operation, ..*plan }, &json!({ "executionArn": arn })).await
            }
            answer => answer,
        }
    }

    /// Sends native parameters, reads the native result.
    pub(crate) async fn exchange(
        &self,
        call: &Call,
        plan: &Plan,
        parameters: &Value,
    ) -> Result<(Value, http::Response<Bytes>), Failure> {
        let service = plan.operation.service;
        let request = protocol::request(plan.operation, parameters)
            .map_err(|error| Failure::new("States.Runtime", error.to_string()))?;
        let response = self
            .transport
            .call(&call.identity, service.signing_name(), request)
            .await
            .map_err(|error| from_transport(plan.dialect, &error))?;
        let timestamps = match plan.dialect {
            Dialect::Optimized { .. } => Timestamps::Milliseconds,
            Dialect::Sdk { .. } => Timestamps::Iso8601,
        };
        match protocol::response(plan.operation, &response, timestamps) {
            Ok(native) => Ok((native, response)),
            // AWS's SDK sends to the queue's URL, whose host is nobody's when the service does not know the address.
            Err(fault) if fault.code == "InvalidAddress" => {
                let url = parameters["QueueUrl"].as_str().unwrap_or_default();
                let host = url.split("://").last().and_then(|rest| rest.split(['/', ':']).next());
                let text = format!("{}: Name or service not known", host.unwrap_or_default());
                Err(from_transport(plan.dialect, &TransportError::Connection(text)))
            }
            Err(fault) => Err(from_fault(plan.dialect, plan.operation, &fault)),
        }
    }
}

fn stage(pattern: Pattern) -> Stage {
    match pattern {
        Pattern::RequestResponse => Stage::Run,
        Pattern::Sync | Pattern::Sync2 | Pattern::WaitForTaskToken => Stage::Submit,
    }
}

fn unsupported(resource: &str) -> Report {
    let cause = format!("The resource '{resource}' is not supported by this server");
    Report::Failed(Failure::new("States.Runtime", cause), Stage::Start)
}

/// Recorded: the whole list stands in brackets after the parameters.
fn unusable(arguments: &Payload, problems: &[String]) -> String {
    format!(
        "The Parameters '{}' could not be used to start the Task: [{}]",
        arguments.text(),
        problems.join(", ")
    )
}

/// The operation behind a service integration; none if there is none.
pub(crate) fn plan(service: &str, action: &str) -> Option<Plan> {
    if let Some(sdk) = service.strip_prefix("aws-sdk:") {
        let dialect = Dialect::Sdk { prefix: model::sdk_prefix(sdk)? };
        let operation = model::service(sdk)?.action(action)?;
        return Some(Plan { operation, dialect, optimized: None });
    }
    let optimized = optimized::find(service)?;
    optimized.actions.iter().find(|(name, _)| *name == action)?;
    let operation = model::service(optimized.model)?.action(action)?;
    Some(Plan { operation, dialect: optimized.dialect, optimized: Some(optimized) })
}

/// Arguments after the service's own way with them.
fn shaped(arguments: &Payload, plan: &Plan, service: &str, pattern: Pattern, caller: &Caller<'_>) -> Value {
    let mut arguments = arguments.value().clone();
    if let (Some(object), Some(_)) = (arguments.as_object_mut(), plan.optimized) {
        shape_arguments(service, object, pattern, caller);
    }
    arguments
}

fn native_parameters(
    call: &Call,
    plan: &Plan,
    service: &str,
    pattern: Pattern,
) -> Result<Value, Vec<String>> {
    let caller = Caller { execution_arn: &call.execution_arn, state_machine_arn: &call.state_machine_arn };
    let arguments = shaped(&call.arguments, plan, service, pattern, &caller);
    let Some(shape) = plan.operation.input() else { return Ok(Value::Object(Map::new())) };
    let mut native = to_native(shape, &arguments)?;
    let id = &call.identity.invocation_id;
    fill_idempotency_token(&mut native, plan.operation, id);
    if let Some(members) = native.as_object_mut().filter(|_| service == "states") {
        members.entry("name").or_insert_with(|| attempt_uuid(id).into());
    }
    Ok(native)
}

/// A UUID that is the same at every delivery of an attempt.
pub(crate) fn attempt_uuid(invocation_id: &str) -> String {
    uuid::Builder::from_md5_bytes(Md5::digest(invocation_id).into()).into_uuid().to_string()
}

/// Members that the model marks as idempotency tokens carry the attempt's id, so that a redelivery does nothing twice.
pub(crate) fn fill_idempotency_token(native: &mut Value, operation: Operation<'_>, invocation_id: &str) {
    let Some(members) = native.as_object_mut() else { return };
    for (name, member) in operation.input().into_iter().flat_map(|shape| shape.members()) {
        if member.reference["idempotencyToken"].as_bool() == Some(true) && !members.contains_key(name) {
            members.insert(name.to_string(), attempt_uuid(invocation_id).into());
        }
    }
}

/// Native result → the Task's result, or the failure that a 200 hides.
fn shape_result(
    service: &str,
    plan: &Plan,
    native: Value,
    response: &http::Response<Bytes>,
    pattern: Pattern,
) -> Result<Value, Failure> {
    let shape = plan.operation.output();
    let mut output = shape.map_or_else(|| json!({}), |shape| from_native(shape, native));
    match service {
        "lambda" => shape_invocation(&mut output, response)?,
        "events" if output["FailedEntryCount"].as_i64().unwrap_or(0) > 0 => {
            return Err(Failure::new("EventBridge.FailedEntry", output.to_string()));
        }
        // Request-response does not look at Failures; the waiting patterns do.
        "ecs"
            if pattern != Pattern::RequestResponse
                && output["Failures"].as_array().is_some_and(|failures| !failures.is_empty()) =>
        {
            return Err(Failure::new("AmazonECS.Unknown", output.to_string()));
        }
        _ => {}
    }
    if plan.optimized.is_some_and(|optimized| optimized.metadata)
        && let Some(members) = output.as_object_mut()
    {
        add_metadata(members, service, response);
    }
    Ok(output)
}

/// `lambda:invoke`: the payload as JSON; an event-type invocation has none.
fn shape_invocation(output: &mut Value, response: &http::Response<Bytes>) -> Result<(), Failure> {
    // Unlike the direct call's, the cause is written anew, without white space (recorded).
    let payload = function_result(response).map_err(|failure| {
        let parsed = failure.cause.as_deref().and_then(|cause| serde_json::from_str::<Value>(cause).ok());
        Failure { cause: parsed.map_or(failure.cause.clone(), |cause| Some(cause.to_string())), ..failure }
    })?;
    let Some(members) = output.as_object_mut() else { return Ok(()) };
    for unshown in ["LogResult", "FunctionError"] {
        members.shift_remove(unshown);
    }
    members.insert("Payload".into(), payload);
    Ok(())
}

/// A function's payload, or the failure that `X-Amz-Function-Error` announces.
fn function_result(response: &http::Response<Bytes>) -> Result<Value, Failure> {
    let text = String::from_utf8_lossy(response.body());
    if response.headers().contains_key("x-amz-function-error") {
        return Err(from_function(&text));
    }
    if text.is_empty() {
        return Ok(json!({}));
    }
    // A payload that is no JSON is shown as a string.
    Ok(serde_json::from_str(&text).unwrap_or_else(|_| text.into_owned().into()))
}

/// Headers as AWS spells them (recorded); others keep their lower case.
const SPELLING: [(&str, &str); 9] = [
    ("content-length", "Content-Length"),
    ("content-type", "Content-Type"),
    ("date", "Date"),
    ("server", "Server"),
    ("x-amz-executed-version", "X-Amz-Executed-Version"),
    ("x-amz-request-id", "x-amz-request-id"),
    ("x-amzn-remapped-content-length", "x-amzn-Remapped-Content-Length"),
    ("x-amzn-requestid", "x-amzn-RequestId"),
    ("x-amzn-trace-id", "X-Amzn-Trace-Id"),
];

fn add_metadata(output: &mut Map<String, Value>, service: &str, response: &http::Response<Bytes>) {
    let mut headers: Vec<(String, String)> = response
        .headers()
        .iter()
        .filter_map(|(name, value)| {
            let spelt =
                SPELLING.iter().find(|(lower, _)| *lower == name.as_str()).map_or(name.as_str(), |(_, s)| s);
            Some((spelt.to_string(), value.to_str().ok()?.to_string()))
        })
        .collect();
    let mut add = |name: &str, value: String| {
        if !headers.iter().any(|(present, _)| present.eq_ignore_ascii_case(name)) {
            headers.push((name.to_string(), value));
        }
    };
    add(
        if matches!(service, "lambda" | "dynamodb") { "Connection" } else { "connection" },
        "keep-alive".into(),
    );
    if service == "lambda" {
        add("x-amzn-Remapped-Content-Length", "0".into());
        let id = uuid::Uuid::new_v4().simple().to_string();
        let seconds = jiff::Timestamp::now().as_second();
        add("X-Amzn-Trace-Id", format!("Root=1-{seconds:08x}-{};Sampled=0", &id[..24]));
    }
    add("Content-Length", response.body().len().to_string());
    add("Date", jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    let all: Map<String, Value> =
        headers.iter().map(|(name, value)| (name.clone(), json!([value]))).collect();
    let single: Map<String, Value> = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
    output.insert(
        "SdkHttpMetadata".into(),
        json!({ "AllHttpHeaders": all, "HttpHeaders": single, "HttpStatusCode": response.status().as_u16() }),
    );
    let request_id = protocol::request_id(response.headers());
    output.insert("SdkResponseMetadata".into(), json!({ "RequestId": request_id }));
}

/// PascalCase for a JSON tree without a model (descriptions of nested executions).
pub(crate) fn pascal_keys(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members.into_iter().map(|(name, value)| (pascal(&name), pascal_keys(value))).collect(),
        ),
        Value::Array(items) => items.into_iter().map(pascal_keys).collect(),
        other => other,
    }
}
