//! API Gateway's REST APIs: what they consist of, and the calls that clients make to what is deployed; one SQLite file.
//!
//! Two services share it: `apigateway` is the control plane, `execute-api` answers at `ID.execute-api.REGION.…` or at
//! `/restapis/ID/STAGE/_user_request_/PATH`. Invariant: an API is one document, changed in one transaction; a deployment is a
//! copy of its resources, and calls see deployed copies only. Integrations are Lambda (with and without proxy) and mocks;
//! HTTP integrations, authorizers, keys, models and velocity directives are refused by name.

mod calls;
mod control;
mod deployed;
mod documents;
mod integrations;
mod mapping;
mod matching;
#[cfg(test)]
mod tests;

use crate::environment::Environment;
use crate::storage::{Database, StorageError};
use crate::wire::{Access, BoxFuture, CallContext, Service, ServiceError, ServiceRequest, ServiceResponse};
use deployed::Deployed;
use std::sync::Arc;

const SCHEMA: &str = "
CREATE TABLE apis(
    id TEXT PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL, created INTEGER NOT NULL, document TEXT NOT NULL)
    WITHOUT ROWID;
CREATE INDEX apis_place ON apis(account, region, created);
CREATE TABLE accounts(
    account TEXT NOT NULL, region TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY(account, region)) WITHOUT ROWID;
";

/// The control plane. Cheap to clone.
#[derive(Clone)]
pub struct ApiGateway {
    environment: Environment,
    database: Database,
    deployed: Arc<Deployed>,
}

/// The calls to deployed APIs.
pub struct ExecuteApi(ApiGateway);

impl ApiGateway {
    /// Opens `apigateway.db`.
    pub fn open(environment: Environment) -> Result<Self, StorageError> {
        let database = Database::open(&environment.directory(), "apigateway", &[SCHEMA])?;
        Ok(Self { environment, database, deployed: Arc::default() })
    }

    /// What answers the calls to its APIs.
    pub fn execution(&self) -> ExecuteApi {
        ExecuteApi(self.clone())
    }
}

impl Service for ApiGateway {
    fn name(&self) -> &'static str {
        "apigateway"
    }

    fn access(&self, context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        // AWS's actions are the methods of HTTP, and the resource has no account.
        let resource = format!("arn:aws:apigateway:{}::{}", context.region, request.uri.path());
        let mut needed = vec![Access::new(format!("apigateway:{}", request.method), resource)];
        if let Some(role) = request.json_str("credentials").filter(|role| role.starts_with("arn:aws:iam::")) {
            needed.push(Access::pass_role(role, integrations::PRINCIPAL));
        }
        needed
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(self.control(context, request))
    }
}

impl Service for ExecuteApi {
    fn name(&self) -> &'static str {
        "execute-api"
    }

    fn access(&self, _context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        self.0.access_of_call(request)
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(self.0.answer_call(context, request))
    }
}
