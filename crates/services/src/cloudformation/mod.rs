//! CloudFormation's reading half: what stacks there are, what is in them, what they export; one SQLite file.
//!
//! `passo deploy` does the work from outside with the ordinary API and keeps its state here, at `/local/stacks/NAME`, so
//! that any machine can deploy again and a killed deployment is known. Invariant: a state is replaced only by one that
//! was made from it (its revision is named), so of two deployments of a stack the later one goes on and the other stops.
//! What it does not do: stacks are not created, changed or deleted by CloudFormation's own calls; those are refused.

mod stacks;
#[cfg(test)]
mod tests;
mod view;

use crate::environment::Environment;
use crate::storage::{Database, StorageError};
use crate::wire::{
    Access, BoxFuture, CallContext, Protocol, Service, ServiceError, ServiceRequest, ServiceResponse,
};
use http::Method;

const SCHEMA: &str = "
CREATE TABLE stacks(
    account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, revision INTEGER NOT NULL, state TEXT NOT NULL,
    created INTEGER NOT NULL, updated INTEGER NOT NULL, PRIMARY KEY(account, region, name)) WITHOUT ROWID;
";

const NAMESPACE: &str = "http://cloudformation.amazonaws.com/doc/2010-05-15/";

/// See the module.
pub struct CloudFormation {
    environment: Environment,
    database: Database,
}

/// One call: where and when.
#[derive(Clone)]
struct Call {
    account: String,
    region: String,
    now_ms: i64,
}

impl CloudFormation {
    /// Opens `cloudformation.db`.
    pub fn open(environment: Environment) -> Result<Self, StorageError> {
        let database = Database::open(&environment.directory(), "cloudformation", &[SCHEMA])?;
        Ok(Self { environment, database })
    }

    fn call(&self, context: &CallContext) -> Call {
        let now_ms = self.environment.now().as_millisecond();
        Call { account: context.account.clone(), region: context.region.clone(), now_ms }
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
            let name = request.form().get("StackName").filter(|name| !name.is_empty());
            let resource = name.map_or("*".to_owned(), |name| {
                if name.starts_with("arn:") { name.to_owned() } else { stack(name) }
            });
            return vec![Access::new(format!("cloudformation:{}", request.operation), resource)];
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
            let answer = self.database.read(|connection| view::answer(connection, &call, &request))?;
            Ok(ServiceResponse::xml(answer))
        })
    }

    fn xml_namespace(&self) -> &'static str {
        NAMESPACE
    }
}
