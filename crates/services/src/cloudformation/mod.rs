//! CloudFormation: stacks and change sets; one SQLite file.
//!
//! Who reads templates and makes resources is outside this crate ([`maker`]): the binary gives it, and it calls the
//! ordinary API, as `passo deploy` does from outside. Both keep the state of a stack here, at `/local/stacks/NAME`, so that
//! any machine can deploy again and a killed deployment is known. Invariant: a state is replaced only by one that was made
//! from it (its revision is named), so of two deployments of a stack the later one goes on and the other stops.
//! What it does not do: nested stacks, stack sets, imports, drift, and custom resources.

mod actions;
mod change_sets;
mod events;
pub mod maker;
mod orders;
mod records;
mod sealed;
mod stacks;
mod summary;
#[cfg(test)]
mod tests;
mod view;
mod work;

use crate::environment::Environment;
use crate::seal::Sealer;
use crate::storage::{Database, StorageError};
use crate::wire::{
    Access, BoxFuture, CallContext, Protocol, Service, ServiceError, ServiceRequest, ServiceResponse,
};
use http::Method;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

const SCHEMA: &str = "
CREATE TABLE stacks(
    account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, revision INTEGER NOT NULL, state TEXT NOT NULL,
    created INTEGER NOT NULL, updated INTEGER NOT NULL, PRIMARY KEY(account, region, name)) WITHOUT ROWID;
";

const NAMESPACE: &str = "http://cloudformation.amazonaws.com/doc/2010-05-15/";

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct CloudFormation {
    environment: Environment,
    database: Database,
    sealer: Sealer,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

/// One call: where and when.
#[derive(Clone)]
struct Call {
    account: String,
    region: String,
    now_ms: i64,
    sealer: Sealer,
}

impl CloudFormation {
    /// Opens `cloudformation.db`.
    pub fn open(environment: Environment) -> Result<Self, StorageError> {
        let database =
            Database::open(&environment.directory(), "cloudformation", &[SCHEMA, records::SCHEMA])?;
        let sealer = Sealer::open(&environment.config().data_dir)?;
        Ok(Self { environment, database, sealer, tasks: Arc::default() })
    }

    fn call(&self, context: &CallContext) -> Call {
        self.call_of(&context.account, &context.region)
    }

    fn call_of(&self, account: &str, region: &str) -> Call {
        let now_ms = self.environment.now().as_millisecond();
        let sealer = self.sealer.clone();
        Call { account: account.to_owned(), region: region.to_owned(), now_ms, sealer }
    }

    /// The stack that a request is about, by name or id.
    fn named(&self, context: &CallContext, request: &ServiceRequest) -> Option<String> {
        let given = |member: &str| request.form().get(member).filter(|text| !text.is_empty());
        if let Some(name) = given("StackName") {
            return Some(name.to_owned());
        }
        given("ChangeSetName")?;
        let call = self.call(context);
        let found =
            self.database.read(|connection| change_sets::ChangeSet::named(connection, &call, request.form()));
        found.ok().map(|change_set| change_set.stack_id)
    }

    async fn state(&self, call: Call, request: &ServiceRequest) -> Result<ServiceResponse, ServiceError> {
        let Some(name) = kept(request) else {
            let what = format!("{} {}", request.method, request.uri.path());
            return Err(ServiceError::unsupported("cloudformation", &what));
        };
        let revision = request.query("revision").and_then(|text| text.parse().ok()).unwrap_or(0);
        let answer = match request.method {
            Method::GET => self.database.read(|connection| stacks::get(connection, &call, &name))?,
            Method::PUT => {
                let state = request.json()?.clone();
                self.database
                    .write(move |connection| stacks::put(connection, &call, &name, revision, &state))
                    .await?
            }
            Method::DELETE => {
                self.database
                    .write(move |connection| stacks::delete(connection, &call, &name, revision))
                    .await?
            }
            _ => return Err(ServiceError::new(405, "MethodNotAllowed", "GET, PUT or DELETE.")),
        };
        Ok(ServiceResponse::json(answer))
    }
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::client("ValidationError", message)
}

/// The stack that a path below `/local/stacks` names.
fn kept(request: &ServiceRequest) -> Option<String> {
    match request.path_segments().as_slice() {
        [local, stacks, name] if local == "local" && stacks == "stacks" => Some(name.clone()),
        _ => None,
    }
}

impl Service for CloudFormation {
    fn name(&self) -> &'static str {
        "cloudformation"
    }

    fn access(&self, context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        let stack = |name: &str| context.arn("cloudformation", &format!("stack/{name}/*"));
        if request.protocol == Protocol::AwsQuery {
            let name = self.named(context, request);
            let resource = name
                .map_or("*".to_owned(), |name| if name.starts_with("arn:") { name } else { stack(&name) });
            let mut needed = vec![Access::new(format!("cloudformation:{}", request.operation), resource)];
            if let Some(role) = request.form().get("RoleARN").filter(|role| !role.is_empty()) {
                needed.push(Access::pass_role(role, "cloudformation.amazonaws.com"));
            }
            return needed;
        }
        let action = match request.method {
            Method::GET => "cloudformation:DescribeStacks",
            Method::DELETE => "cloudformation:DeleteStack",
            _ => "cloudformation:UpdateStack",
        };
        vec![Access::new(action, kept(request).map_or("*".to_owned(), |name| stack(&name)))]
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move {
            let call = self.call(context);
            if request.protocol != Protocol::AwsQuery {
                return self.state(call, &request).await;
            }
            let operation = request.operation.as_str();
            if let Some(answer) = self.act(context, operation, request.form()).await {
                return answer;
            }
            if matches!(operation, "ValidateTemplate" | "GetTemplateSummary") {
                return self.summary(context, operation, request.form()).await;
            }
            let answer = self.database.read(|connection| view::answer(connection, &call, &request))?;
            Ok(ServiceResponse::xml(answer))
        })
    }

    fn start(&self) {
        self.resume();
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        // What is under way goes on at the next start.
        Box::pin(async move { tasks.shutdown().await })
    }

    fn xml_namespace(&self) -> &'static str {
        NAMESPACE
    }
}
