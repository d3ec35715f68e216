//! One file a family of actions; here is the list.

mod activities;
mod aliases;
mod executions;
mod machines;
mod map_runs;
mod roles;
mod tasks;
mod test_state;
mod validate;
mod versions;

use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::fields::Fields;
use crate::{Api, Caller};

type Answer = Result<Value, ApiError>;

/// Runs one action of the model.
pub(crate) async fn run(
    api: &Api,
    caller: &Caller,
    action: &str,
    fields: &Fields<'_>,
    trace: Option<&str>,
) -> Answer {
    match action {
        "CreateStateMachine" => machines::create(api, caller, fields).await,
        "UpdateStateMachine" => machines::update(api, caller, fields).await,
        "DescribeStateMachine" => machines::describe(api, fields).await,
        "DescribeStateMachineForExecution" => machines::describe_for_execution(api, fields).await,
        "ListStateMachines" => machines::list(api, caller, fields).await,
        "DeleteStateMachine" => machines::delete(api, fields).await,
        "ValidateStateMachineDefinition" => validate::validate(api, fields),
        "TestState" => test_state::test(api, caller, fields).await,
        "TagResource" => machines::tag(api, fields).await,
        "UntagResource" => machines::untag(api, fields).await,
        "ListTagsForResource" => machines::tags(api, fields).await,
        "PublishStateMachineVersion" => versions::publish(api, fields).await,
        "DeleteStateMachineVersion" => versions::delete(api, fields).await,
        "ListStateMachineVersions" => versions::list(api, fields).await,
        "CreateStateMachineAlias" => aliases::create(api, fields).await,
        "UpdateStateMachineAlias" => aliases::update(api, fields).await,
        "DescribeStateMachineAlias" => aliases::describe(api, fields).await,
        "DeleteStateMachineAlias" => aliases::delete(api, fields).await,
        "ListStateMachineAliases" => aliases::list(api, fields).await,
        "StartExecution" => executions::start(api, fields, trace).await,
        "StartSyncExecution" => executions::start_sync(api, fields, trace).await,
        "StopExecution" => executions::stop(api, fields).await,
        "RedriveExecution" => executions::redrive(api, fields).await,
        "DescribeExecution" => executions::describe(api, fields).await,
        "ListExecutions" => executions::list(api, fields).await,
        "GetExecutionHistory" => executions::history(api, fields).await,
        "CreateActivity" => activities::create(api, caller, fields).await,
        "DescribeActivity" => activities::describe(api, fields).await,
        "DeleteActivity" => activities::delete(api, fields).await,
        "ListActivities" => activities::list(api, caller, fields).await,
        "GetActivityTask" => tasks::get_activity_task(api, fields).await,
        "SendTaskSuccess" => tasks::success(api, caller, fields).await,
        "SendTaskFailure" => tasks::failure(api, caller, fields).await,
        "SendTaskHeartbeat" => tasks::heartbeat(api, caller, fields).await,
        "ListMapRuns" => map_runs::list(api, fields).await,
        "DescribeMapRun" => map_runs::describe(api, fields).await,
        "UpdateMapRun" => map_runs::update(api, fields).await,
        _ => Err(ApiError::new("UnsupportedOperationException", format!("{action} is not supported yet"))),
    }
}

/// Builds answers member by member, leaving out what is absent.
struct Shown(Map<String, Value>);

impl Shown {
    fn new() -> Shown {
        Shown(Map::new())
    }
    fn with(mut self, name: &str, value: impl Into<Value>) -> Shown {
        self.0.insert(name.into(), value.into());
        self
    }
    fn maybe(self, name: &str, value: Option<impl AsRef<str>>) -> Shown {
        match value {
            Some(value) => self.with(name, value.as_ref()),
            None => self,
        }
    }
    fn date(self, name: &str, at: asl::timestamp::Timestamp) -> Shown {
        self.with(name, crate::history::seconds(at))
    }
    fn maybe_date(self, name: &str, at: Option<asl::timestamp::Timestamp>) -> Shown {
        match at {
            Some(at) => self.date(name, at),
            None => self,
        }
    }
    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

/// A page: its items under a name, and the token of the next.
fn page(name: &str, items: Vec<Value>, next_token: Option<String>) -> Value {
    Shown::new().with(name, items).maybe("nextToken", next_token).done()
}

fn nothing() -> Value {
    json!({})
}
