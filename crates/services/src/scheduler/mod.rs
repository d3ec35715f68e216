//! EventBridge Scheduler: schedules, groups and durable firings; one SQLite file.
//!
//! Invariant: a firing becomes one row in the transaction that moves its schedule's cursor (see `firing`), and a row is
//! delivered by [`crate::delivery`] under ids that depend on schedule and time alone. Customer keys are kept and not used.

mod attributes;
mod constraints;
mod deliver;
mod firing;
mod groups;
mod route;
mod schedules;
mod target;
#[cfg(test)]
mod tests;

use crate::delivery::Deliverer;
use crate::environment::Environment;
use crate::service_file::ServiceFile;
use crate::storage::StorageError;
use crate::wire::{Access, BoxFuture, CallContext, Service, ServiceError, ServiceRequest, ServiceResponse};
use route::{Operation, Route};
use serde_json::Value;

const SCHEMA: &str = "
CREATE TABLE groups(
    account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, created INTEGER NOT NULL,
    modified INTEGER NOT NULL, tags TEXT NOT NULL, token TEXT, PRIMARY KEY(account, region, name)) WITHOUT ROWID;
CREATE TABLE schedules(
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, region TEXT NOT NULL, group_name TEXT NOT NULL,
    name TEXT NOT NULL, document TEXT NOT NULL, anchor INTEGER NOT NULL, next INTEGER,
    ended INTEGER NOT NULL DEFAULT 0, token TEXT, UNIQUE(account, region, group_name, name));
CREATE INDEX schedules_next ON schedules(next, id) WHERE next IS NOT NULL;
CREATE TABLE deliveries(
    id INTEGER PRIMARY KEY AUTOINCREMENT, schedule_id INTEGER NOT NULL, schedule_arn TEXT NOT NULL,
    scheduled INTEGER NOT NULL, target TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, due INTEGER NOT NULL,
    since INTEGER NOT NULL);
CREATE INDEX deliveries_due ON deliveries(due, id);
CREATE INDEX deliveries_schedule ON deliveries(schedule_id, id);
";

/// See the module.
pub struct Scheduler {
    file: ServiceFile,
    deliverer: Deliverer<deliver::Courier>,
}

impl Scheduler {
    /// Opens `scheduler.db`.
    pub fn open(environment: Environment) -> Result<Self, StorageError> {
        let file = ServiceFile::open(environment, "scheduler", &[SCHEMA])?;
        let deliverer = Deliverer::new(deliver::Courier { file: file.clone() });
        Ok(Self { file, deliverer })
    }

    async fn dispatch(
        &self,
        context: &CallContext,
        route: &Route,
        input: Value,
    ) -> Result<Value, ServiceError> {
        match route.operation {
            Operation::CreateSchedule | Operation::UpdateSchedule => self.put(context, route, input).await,
            Operation::GetSchedule => self.file.query(context, input, schedules::get).await,
            Operation::DeleteSchedule => self.file.change(context, input, schedules::delete).await,
            Operation::ListSchedules => {
                constraints::check_list(&input)?;
                self.file.query(context, input, schedules::list).await
            }
            Operation::CreateScheduleGroup => {
                constraints::check_group(&input)?;
                self.file.change(context, input, groups::create).await
            }
            Operation::GetScheduleGroup => self.file.query(context, input, groups::get).await,
            Operation::DeleteScheduleGroup => self.file.change(context, input, groups::delete).await,
            Operation::ListScheduleGroups => {
                constraints::check_list(&input)?;
                self.file.query(context, input, groups::list).await
            }
            Operation::TagResource => self.file.change(context, input, groups::tag).await,
            Operation::UntagResource => self.file.change(context, input, groups::untag).await,
            Operation::ListTagsForResource => self.file.query(context, input, groups::tags).await,
        }
    }

    async fn put(&self, context: &CallContext, route: &Route, input: Value) -> Result<Value, ServiceError> {
        constraints::check_schedule(&input)?;
        let environment = &self.file.environment;
        let schedule_arn = schedule_arn(context, &input);
        if let Some(call) = target::check(&input["Target"])? {
            environment.sdk_caller().await?.check(&call).map_err(validation)?;
        }
        deliver::acting(environment, &input["Target"], &schedule_arn).map_err(|error| {
            match error.status.as_u16() {
                403 => validation(
                    "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
                ),
                _ => error,
            }
        })?;
        let job = match route.operation {
            Operation::CreateSchedule => schedules::create,
            _ => schedules::update,
        };
        let answer = self.file.change(context, input, job).await;
        self.deliverer.bell().notify_one();
        answer
    }
}

fn schedule_arn(context: &CallContext, input: &Value) -> String {
    let name = text(input, "Name").unwrap_or("*");
    context.arn("scheduler", &format!("schedule/{}/{name}", schedules::group_of(input)))
}

impl Service for Scheduler {
    fn name(&self) -> &'static str {
        "scheduler"
    }

    fn access(&self, context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        let Some(route) = route::route(request) else { return Vec::new() };
        let Ok(input) = route::input(request, &route) else { return Vec::new() };
        let group = |name: &str| context.arn("scheduler", &format!("schedule-group/{name}"));
        let resource = match route.operation {
            Operation::ListSchedules | Operation::ListScheduleGroups => "*".to_owned(),
            Operation::CreateScheduleGroup | Operation::GetScheduleGroup | Operation::DeleteScheduleGroup => {
                group(&route.name)
            }
            Operation::TagResource | Operation::UntagResource | Operation::ListTagsForResource => {
                route.name.clone()
            }
            Operation::CreateSchedule
            | Operation::GetSchedule
            | Operation::UpdateSchedule
            | Operation::DeleteSchedule => schedule_arn(context, &input),
        };
        let mut needed = vec![Access::new(format!("scheduler:{:?}", route.operation), resource)];
        if matches!(route.operation, Operation::CreateSchedule | Operation::UpdateSchedule)
            && let Some(role) = input.pointer("/Target/RoleArn").and_then(Value::as_str)
        {
            needed.push(Access::pass_role(role, "scheduler.amazonaws.com"));
        }
        needed
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move {
            let Some(route) = route::route(&request) else {
                let what = format!("{} {}", request.method, request.uri.path());
                return Err(ServiceError::unsupported("scheduler", &what));
            };
            let input = route::input(&request, &route)?;
            Ok(ServiceResponse::json(self.dispatch(context, &route, input).await?))
        })
    }

    fn start(&self) {
        self.deliverer.start();
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.deliverer.stop())
    }
}

fn validation(message: impl Into<String>) -> ServiceError {
    ServiceError::client("ValidationException", message)
}

fn over_quota(what: &str) -> ServiceError {
    let message = format!("You have reached the maximum number of {what} for your account in this Region.");
    ServiceError::new(402, "ServiceQuotaExceededException", message)
}

fn text<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member).and_then(Value::as_str)
}
