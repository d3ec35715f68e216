//! TestState: one state worked out with a given input, its task done for real or mocked.
//!
//! Nothing is recorded. The state is worked out by the engine's own code ([`engine::trial`]); here are the request's rules, the
//! mock, and the answer's shape.

mod answer;
mod context;
mod request;

use std::sync::Arc;
use std::time::Duration;

use asl::payload::Payload;
use asl::program::{Pattern, Program, ResourceKind, State, StateKind};
use engine::trial::{Trial, TrialStart, Tried};
use engine::{Failure, ScheduleTask, Start, StateMachineType, Timestamp};
use runtime::{Secrets, TaskCall, TaskReport, TaskTrace, hash};
use serde_json::Value;

use super::Answer;
use crate::error::ApiError;
use crate::fields::Fields;
use crate::{Api, Caller};
use request::{Mock, Request};

/// Longest that a test may take (AWS's quota).
const DURATION_MAX: Duration = Duration::from_secs(300);

pub(super) async fn test(api: &Api, caller: &Caller, fields: &Fields<'_>) -> Answer {
    let request = Request::read(fields)?;
    let program = request::compile(api, &request)?;
    let state = request::state(&program, &request)?;
    request::check(api, state, &request)?;
    let start = pretended(api, caller, &request);
    let at = api.runtime.now();
    let trial = TrialStart {
        start: Arc::clone(&start),
        state: Arc::clone(&state.path),
        variables: request.variables.clone(),
        context: request.context.clone(),
        retry_count: request.retrier_retry_count,
        items_read: request.items_read.clone(),
        by_task: request::is_caused_by_task(&program, state, &request)?,
        at,
        entropy: api.runtime.draw_seed(),
    };
    let Some((mut trial, mut tried)) = Trial::begin(&program, trial) else {
        return Err(request::unknown_state());
    };
    let (mut result, mut trace) = (None, None);
    tried = match tried {
        Tried::Waiting(until) => wait(api, &mut trial, at, until).await,
        Tried::Task(task) => {
            let report = match &request.mock {
                Some(mock) => mocked(mock),
                None => {
                    let (worked, told) = real(api, &start, &task, request.secrets).await;
                    trace = told;
                    worked
                }
            };
            carry_on(api, &mut trial, report, &mut result)
        }
        Tried::Below => match &request.mock {
            Some(mock) => {
                let report = below(&trial, &request, mock)?;
                carry_on(api, &mut trial, report, &mut result)
            }
            None => tried,
        },
        ended @ (Tried::Passed { .. } | Tried::Retriable(_) | Tried::Failed(_)) => ended,
    };
    Ok(answer::shown(&request, &trial, &tried, result.as_ref(), trace.as_ref()))
}

/// How the state's work ended.
type Worked = Result<Payload, Failure>;

fn carry_on(api: &Api, trial: &mut Trial<'_>, worked: Worked, result: &mut Option<Payload>) -> Tried {
    match worked {
        Ok(output) => {
            *result = Some(output.clone());
            trial.succeed(api.runtime.now(), output)
        }
        Err(failure) => trial.fail(api.runtime.now(), failure),
    }
}

fn mocked(mock: &Mock) -> Worked {
    match mock {
        Mock::Result(result) => Ok(result.clone()),
        Mock::Error(failure) => Err(failure.clone()),
    }
}

/// A mocked Map or Parallel: iterations may be said to have failed.
fn below(trial: &Trial<'_>, request: &Request, mock: &Mock) -> Result<Worked, ApiError> {
    let (Mock::Result(result), StateKind::Map(_), Some(failed)) =
        (mock, &trial.state().kind, request.map_iteration_failure_count)
    else {
        return Ok(mocked(mock));
    };
    let inspection = trial.inspection();
    let read = inspection.after_items_pointer.as_ref().or(request.items_read.as_ref());
    let items = inspection.after_items_path.as_ref().or(read);
    let count = [Some(result), items].into_iter().flatten().find_map(|items| items.value().as_array());
    let count = count.map_or(0, Vec::len) as u64;
    if failed > count {
        let message =
            "Map iteration failure count must be less than or equal to the number of Map iterations";
        return Err(ApiError::validation(message));
    }
    let too_many = inspection.tolerated_failure_count.is_some_and(|tolerated| failed > tolerated);
    let share = failed as f64 * 100.0 / count.max(1) as f64;
    let too_large = inspection.tolerated_failure_percentage.is_some_and(|tolerated| share > tolerated);
    Ok(match too_many || too_large {
        true => Err(Failure::new(
            "States.ExceedToleratedFailureThreshold",
            "The specified tolerated failure threshold was exceeded",
        )),
        false => mocked(mock),
    })
}

async fn wait(api: &Api, trial: &mut Trial<'_>, at: Timestamp, until: Timestamp) -> Tried {
    let bound = at.plus(DURATION_MAX);
    api.runtime.sleep_until(until.min(bound)).await;
    match until <= bound {
        true => trial.wait_over(api.runtime.now()),
        false => Tried::Failed(Failure::named("States.Timeout")),
    }
}

/// Does the task through the same door as executions do.
async fn real(
    api: &Api,
    start: &Start,
    task: &ScheduleTask,
    secrets: Secrets,
) -> (Worked, Option<TaskTrace>) {
    let call = TaskCall {
        execution_arn: Arc::clone(&start.execution_arn),
        execution_name: Arc::clone(&start.name),
        state_machine_arn: Arc::clone(&start.state_machine_arn),
        role_arn: task.credentials_role.clone().unwrap_or_else(|| Arc::clone(&start.role_arn)),
        account: Arc::clone(&start.account),
        region: Arc::clone(&start.region),
        task: task.task,
        invocation_id: format!("{}:{}", start.execution_arn, task.task.0).into(),
        resource: task.resource.clone(),
        arguments: task.arguments.clone(),
        token: task.token.clone(),
        trace_header: None,
        test_case: None,
    };
    let timeout = task.timeout.unwrap_or(DURATION_MAX).min(DURATION_MAX);
    let (report, trace) = api.runtime.try_task(call, secrets, timeout).await;
    let worked = match report {
        TaskReport::Succeeded { output } | TaskReport::Submitted { output, .. } => Ok(output),
        TaskReport::Failed { failure, .. } => Err(failure),
    };
    (worked, trace)
}

/// The execution that the state believes to be in (recorded: an Express one of a machine named by a UUID).
fn pretended(api: &Api, caller: &Caller, request: &Request) -> Arc<Start> {
    let (machine, name) = (api.runtime.draw_uuid(), api.runtime.draw_uuid());
    let (region, account) = (&caller.scope.region, &caller.scope.account);
    Arc::new(Start {
        execution_arn: format!("arn:aws:states:{region}:{account}:express:{machine}:{name}").into(),
        role_arn: request.role_arn.clone().unwrap_or_default(),
        machine_type: StateMachineType::Express,
        ..Start::of(
            &format!("arn:aws:states:{region}:{account}:stateMachine:{machine}"),
            &name,
            hash(&request.definition),
            request.input.clone(),
        )
    })
}

/// Whether somebody else than the called service tells the end of a task.
fn is_awaited(state: &State) -> bool {
    let StateKind::Task(task) = &state.kind else { return false };
    match &task.resource.kind {
        ResourceKind::Lambda => false,
        ResourceKind::Activity => true,
        ResourceKind::Service { pattern, .. } => *pattern != Pattern::RequestResponse,
    }
}

/// A state of a program by its name, which is unique in a definition.
fn named<'p>(program: &'p Program, name: &str) -> Option<&'p State> {
    program.states.iter().find(|state| &*state.name == name)
}

/// JSON in a string member of the request.
fn json_of(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}
