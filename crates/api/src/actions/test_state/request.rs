//! What TestState is asked, and its rules: which members go together, what can be mocked, and how a mock must look.

use std::sync::Arc;

use asl::CompileOptions;
use asl::payload::Payload;
use asl::program::{Parallel, Program, Resource, State, StateKind};
use asl::resource::{Problem, ResourceCatalog};
use engine::Failure;
use runtime::Secrets;
use serde_json::Value;

use super::super::roles;
use super::{context, is_awaited, json_of, named};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::{Api, MockValidation};

/// A checked request.
pub(super) struct Request {
    pub definition: String,
    pub state_name: Option<String>,
    pub role_arn: Option<Arc<str>>,
    pub input: Payload,
    pub variables: Vec<(Arc<str>, Payload)>,
    pub context: Option<Value>,
    pub mock: Option<Mock>,
    pub validation: Option<MockValidation>,
    pub level: Level,
    pub secrets: Secrets,
    pub retrier_retry_count: u32,
    pub map_iteration_failure_count: Option<u64>,
    pub items_read: Option<Payload>,
    pub error_caused_by: Option<String>,
}

/// What the state's work is said to have given.
pub(super) enum Mock {
    Result(Payload),
    Error(Failure),
}

/// How much is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Output and next state.
    Info,
    /// Also how the data became what it is.
    Debug,
    /// Also what an HTTP Task sent and got.
    Trace,
}

impl Request {
    /// Reads a request that fits the model.
    pub fn read(fields: &Fields<'_>) -> Result<Request, ApiError> {
        let mock = mock(fields.get("mock"))?;
        if mock.is_some() && fields.flag("revealSecrets") == Some(true) {
            let message = "TestState does not support RevealSecrets when a mock is specified.";
            return Err(ApiError::validation(message));
        }
        let configuration = fields.get("stateConfiguration").unwrap_or(&Value::Null);
        let map_iteration_failure_count = configuration["mapIterationFailureCount"].as_u64();
        if mock.is_none() && map_iteration_failure_count.is_some() {
            let message = "TestState does not support MapIterationFailureCount when a mock is not specified.";
            return Err(ApiError::validation(message));
        }
        if let Some(role) = fields.optional("roleArn") {
            roles::check_arn(role)?;
        }
        let retries = configuration["retrierRetryCount"].as_u64().unwrap_or(0);
        Ok(Request {
            definition: fields.text("definition").to_owned(),
            state_name: fields.optional("stateName").map(str::to_owned),
            role_arn: fields.shared("roleArn"),
            input: input(fields)?,
            variables: variables(fields)?,
            context: context::read(fields.optional("context"))?,
            validation: match fields.get("mock").and_then(|mock| mock["fieldValidationMode"].as_str()) {
                Some("NONE") => None,
                Some("PRESENT") => Some(MockValidation::Present),
                _ => Some(MockValidation::Strict),
            },
            mock,
            level: match fields.optional("inspectionLevel") {
                Some("DEBUG") => Level::Debug,
                Some("TRACE") => Level::Trace,
                _ => Level::Info,
            },
            secrets: match fields.flag("revealSecrets") {
                Some(true) => Secrets::Shown,
                _ => Secrets::Omitted,
            },
            retrier_retry_count: u32::try_from(retries).unwrap_or(u32::MAX),
            map_iteration_failure_count,
            items_read: items_read(&configuration["mapItemReaderData"])?,
            error_caused_by: configuration["errorCausedByState"].as_str().map(str::to_owned),
        })
    }
}

fn mock(mock: Option<&Value>) -> Result<Option<Mock>, ApiError> {
    let Some(mock) = mock else { return Ok(None) };
    let (result, error) = (mock["result"].as_str(), &mock["errorOutput"]);
    if result.is_some() == error.is_object() {
        let message = "A test mock should have only one of the following fields: [result, errorOutput].";
        return Err(ApiError::validation(message));
    }
    if let Some(result) = result {
        let result = Payload::parse(result);
        return match result {
            Ok(result) => Ok(Some(Mock::Result(result))),
            Err(_) => Err(ApiError::validation("Mocked result must be valid JSON")),
        };
    }
    let text = |name: &str| error[name].as_str().map(Arc::from);
    Ok(Some(Mock::Error(Failure { error: text("error"), cause: text("cause") })))
}

fn input(fields: &Fields<'_>) -> Result<Payload, ApiError> {
    let Some(text) = fields.optional("input") else { return Ok(Payload::empty_object()) };
    Payload::parse(text).map_err(|error| {
        let what = error.full_message();
        ApiError::new("InvalidExecutionInput", format!("Invalid State Machine Execution Input: '{what}'"))
    })
}

fn variables(fields: &Fields<'_>) -> Result<Vec<(Arc<str>, Payload)>, ApiError> {
    let Some(text) = fields.optional("variables") else { return Ok(Vec::new()) };
    match json_of(text) {
        Some(Value::Object(variables)) => {
            Ok(variables.into_iter().map(|(name, value)| (name.into(), Payload::from_value(value))).collect())
        }
        _ => Err(ApiError::validation("Variables must be a JSON object")),
    }
}

fn items_read(data: &Value) -> Result<Option<Payload>, ApiError> {
    let Some(text) = data.as_str() else { return Ok(None) };
    Payload::parse(text).map(Some).map_err(|_| ApiError::validation("MapItemReaderData must be valid JSON"))
}

/// The catalog of a definition that is only tested: an integration that AWS has is no fault, although a real call of it is
/// refused here.
struct Tested<'a>(&'a dyn ResourceCatalog);

impl ResourceCatalog for Tested<'_> {
    fn check(&self, resource: &Resource, arguments: Option<&Value>) -> Vec<Problem> {
        let mut problems = self.0.check(resource, arguments);
        problems.retain(|problem| !problem.message.contains("is not supported by this server"));
        problems
    }
}

/// The definition: a whole machine when a state of it is named, else that one state.
pub(super) fn compile(api: &Api, request: &Request) -> Result<Program, ApiError> {
    let catalog = &Tested(&*api.surroundings.catalog);
    let options = CompileOptions { catalog, ..CompileOptions::default() };
    let program = match request.state_name {
        Some(_) => asl::compile(&request.definition, &options),
        None => asl::compile_state(&request.definition, "StateName", &options),
    };
    program.map_err(|found| ApiError::from(runtime::Error::InvalidDefinition(found)))
}

/// The state under test.
pub(super) fn state<'p>(program: &'p Program, request: &Request) -> Result<&'p State, ApiError> {
    let state = match &request.state_name {
        Some(name) => named(program, name),
        None => program.states.first(),
    };
    state.ok_or_else(unknown_state)
}

pub(super) fn unknown_state() -> ApiError {
    ApiError::validation("State not found in definition")
}

/// Whether `States.TaskFailed` stands for a mocked error of a Map or Parallel: it names failures of tasks, so it does not when
/// the error is said to come from another state, a Fail for example.
pub(super) fn is_caused_by_task(
    program: &Program,
    state: &State,
    request: &Request,
) -> Result<bool, ApiError> {
    let (Some(name), StateKind::Map(_) | StateKind::Parallel(_)) = (&request.error_caused_by, &state.kind)
    else {
        return Ok(true);
    };
    let cause =
        named(program, name).filter(|cause| is_below(program, cause, state)).ok_or_else(unknown_state)?;
    Ok(matches!(cause.kind, StateKind::Task(_)))
}

/// Whether a state belongs to a branch or processor of another, however deep.
fn is_below(program: &Program, state: &State, above: &State) -> bool {
    let mut workflow = program.workflow(state.workflow);
    while let Some(parent) = workflow.parent {
        let parent = program.state(parent);
        if parent.path == above.path {
            return true;
        }
        workflow = program.workflow(parent.workflow);
    }
    false
}

/// Whether this state can be tested in this way.
pub(super) fn check(api: &Api, state: &State, request: &Request) -> Result<(), ApiError> {
    let Some(mock) = &request.mock else { return check_real(state, request) };
    let invalid = |message: &str| Err(ApiError::validation(message));
    let result = match mock {
        Mock::Result(result) => Some(result.value()),
        Mock::Error(_) => None,
    };
    context::check(request.context.as_ref(), is_awaited(state))?;
    match (&state.kind, result) {
        (StateKind::Task(task), Some(result)) => match request.validation {
            Some(mode) => (api.surroundings.check_mock)(&task.resource, result, mode)
                .map_err(|what| ApiError::validation(format!("Mock result schema validation error: {what}"))),
            None => Ok(()),
        },
        // A result that is exported is told by an object, else the results are a list.
        (StateKind::Map(map), Some(result)) => {
            let exports = map.result_writer.as_ref().is_some_and(|writer| writer.arguments.is_some());
            match result {
                Value::Object(_) if exports => Ok(()),
                Value::Array(_) if !exports => Ok(()),
                _ if exports => invalid("Mocked result must be a JSON object."),
                _ => invalid("Mocked result must be an array."),
            }
        }
        (StateKind::Parallel(parallel), Some(result)) => check_branches(parallel, result),
        (StateKind::Task(_) | StateKind::Map(_) | StateKind::Parallel(_), None) => Ok(()),
        (kind, _) => {
            let name = type_name(kind);
            invalid(&format!("State type '{name}' is not supported when a mock is specified"))
        }
    }
}

fn check_branches(parallel: &Parallel, result: &Value) -> Result<(), ApiError> {
    match result.as_array() {
        None => Err(ApiError::validation("Mocked result must be an array.")),
        Some(results) if results.len() != parallel.branches.len() => Err(ApiError::validation(
            "Mocked result must contain the same number of items as number of Parallel branches.",
        )),
        Some(_) => Ok(()),
    }
}

fn check_real(state: &State, request: &Request) -> Result<(), ApiError> {
    match &state.kind {
        StateKind::Map(_) | StateKind::Parallel(_) => {
            let message = "TestState API does not support Map or Parallel states. Supported state types include: \
                           [Task, Wait, Pass, Succeed, Fail, Choice]";
            return Err(ApiError::new("InvalidDefinition", message));
        }
        StateKind::Task(task) if is_awaited(state) => {
            let message = format!("TestState API does not support the resource '{}'", task.resource.arn);
            return Err(ApiError::new("InvalidDefinition", message));
        }
        StateKind::Task(_) if request.role_arn.is_none() => {
            return Err(ApiError::validation("RoleArn must be specified when testing a Task state"));
        }
        _ => {}
    }
    if request.context.is_some() {
        let message = "TestState does not support Context when a mock is not specified.";
        return Err(ApiError::validation(message));
    }
    Ok(())
}

fn type_name(kind: &StateKind) -> &'static str {
    match kind {
        StateKind::Task(_) => "Task",
        StateKind::Parallel(_) => "Parallel",
        StateKind::Map(_) => "Map",
        StateKind::Pass(_) => "Pass",
        StateKind::Wait(_) => "Wait",
        StateKind::Choice(_) => "Choice",
        StateKind::Succeed => "Succeed",
        StateKind::Fail(_) => "Fail",
    }
}
