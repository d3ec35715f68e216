//! The AWS Step Functions API: awsJson 1.0 in and out over [`runtime::Runtime`].
//!
//! Shapes and constraints come from AWS's model ([`model`]); errors, pagination and the projection of events are AWS's.
//! It decides nothing about executions, and knows neither SQL nor sockets.

mod actions;
mod error;
mod fields;
pub mod history;
pub mod model;

use std::sync::Arc;

use asl::program::Resource;
use bytes::Bytes;
use runtime::{BoxFuture, Runtime, Scope};
use serde_json::Value;

pub use error::ApiError;
use fields::Fields;

/// Compares a mocked result with the model of its resource.
pub type CheckMock = Arc<dyn Fn(&Resource, &Value, MockValidation) -> Result<(), String> + Send + Sync>;

/// `fieldValidationMode` of a mock that is validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MockValidation {
    /// Required members must be there.
    Strict,
    /// Only members that are there are looked at.
    Present,
}

/// What the API asks of its surroundings.
#[derive(Clone)]
pub struct Surroundings {
    /// Which resources exist, for ValidateStateMachineDefinition.
    pub catalog: Arc<dyn asl::resource::ResourceCatalog + Send + Sync>,
    /// What is wrong with a mocked result of a resource, in AWS's words.
    pub check_mock: CheckMock,
    /// Announces deliveries to the log group with this ARN, as AWS does when a state machine that logs is created.
    pub announce_logging: Arc<dyn Fn(String) -> BoxFuture<'static, ()> + Send + Sync>,
    /// Is there a log group with this ARN (without `:*`)?
    pub log_group_exists: Arc<dyn Fn(String) -> BoxFuture<'static, bool> + Send + Sync>,
    /// Why a role cannot be used so, in AWS's words; none when it can.
    pub role_refusal: Arc<dyn Fn(RoleUse) -> BoxFuture<'static, Option<String>> + Send + Sync>,
}

/// What a state machine asks of its role, beyond the calls of its tasks.
#[derive(Clone, Debug)]
pub struct RoleUse {
    /// Account and region of the state machine.
    pub scope: Scope,
    /// The role.
    pub role_arn: String,
    /// `Resource` of all its Task states, as written.
    pub resources: Vec<String>,
    /// Whether its executions are logged.
    pub logs: bool,
}

/// Who calls, from the request's signature.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Account and region that everything is kept under.
    pub scope: Scope,
    /// Id of the request, for `x-amzn-RequestId`.
    pub request_id: String,
}

/// The API.
#[derive(Clone)]
pub struct Api {
    runtime: Arc<Runtime>,
    surroundings: Surroundings,
}

/// Prefix of `X-Amz-Target`.
const TARGET: &str = "AWSStepFunctions.";

impl Api {
    /// Over a runtime.
    pub fn new(runtime: Arc<Runtime>, surroundings: Surroundings) -> Api {
        Api { runtime, surroundings }
    }

    /// Answers one request.
    pub async fn handle(&self, caller: &Caller, request: http::Request<Bytes>) -> http::Response<Bytes> {
        match self.answer(caller, &request).await {
            Ok(body) => respond(caller, http::StatusCode::OK, &body),
            Err(error) => respond(caller, error.status(), &error.body()),
        }
    }

    async fn answer(&self, caller: &Caller, request: &http::Request<Bytes>) -> Result<Value, ApiError> {
        let name = action_name(request).ok_or_else(ApiError::unknown_operation)?;
        let action = model::action(name).ok_or_else(ApiError::unknown_operation)?;
        let body = match request.body().is_empty() {
            true => Value::Object(serde_json::Map::new()),
            false => serde_json::from_slice(request.body()).map_err(|_| ApiError::serialization(None))?,
        };
        if !body.is_object() {
            return Err(ApiError::serialization(None));
        }
        model::check(action, &body)?;
        let trace = request.headers().get("x-amzn-trace-id").and_then(|value| value.to_str().ok());
        actions::run(self, caller, name, &Fields::new(&body), trace).await
    }
}

/// `StartExecution` of `X-Amz-Target: AWSStepFunctions.StartExecution`.
pub fn action_name(request: &http::Request<Bytes>) -> Option<&str> {
    request.headers().get("x-amz-target")?.to_str().ok()?.strip_prefix(TARGET)
}

/// The resource that a permission for this request is about: the ARN it names, else `*`.
pub fn resource(body: &Value) -> String {
    const NAMING: [&str; 8] = [
        "executionArn",
        "stateMachineArn",
        "stateMachineAliasArn",
        "stateMachineVersionArn",
        "activityArn",
        "mapRunArn",
        "resourceArn",
        "targetArn",
    ];
    let named = NAMING.iter().find_map(|name| body[*name].as_str()).unwrap_or("*");
    // A test case of the mock configuration may follow; the resource is the machine.
    named.split('#').next().unwrap_or_default().to_string()
}

fn respond(caller: &Caller, status: http::StatusCode, body: &Value) -> http::Response<Bytes> {
    // An action without output answers with an empty body, as AWS does.
    let text = if body.is_null() { "{}".to_string() } else { body.to_string() };
    let mut response = http::Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static("application/x-amz-json-1.0"));
    if let Ok(id) = http::HeaderValue::from_str(&caller.request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}
