//! A service whose state is one SQLite file, and how its operations run on it: as jobs that read, or that change and happen
//! once for each invocation id. SNS, EventBridge, Scheduler, CloudWatch and its logs are such services.

use crate::environment::Environment;
use crate::once::once;
use crate::storage::{Database, StorageError};
use crate::wire::{CallContext, ServiceError};
use rusqlite::Connection;
use serde_json::Value;

/// One call: who, where, when, and at which URL.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The account whose resources are meant.
    pub(crate) account: String,
    /// The region.
    pub(crate) region: String,
    /// The account of the caller.
    pub(crate) owner: String,
    /// Milliseconds of the epoch.
    pub(crate) now_ms: i64,
    /// Where processes of this machine reach the services; empty for what a service does by itself.
    pub(crate) endpoint: String,
}

impl Call {
    /// What a service does by itself for an account.
    pub(crate) fn own(account: &str, region: &str, now_ms: i64) -> Self {
        let (account, region) = (account.to_owned(), region.to_owned());
        Self { owner: account.clone(), account, region, now_ms, endpoint: String::new() }
    }

    /// An ARN in the account and region of the call.
    pub(crate) fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.account)
    }
}

/// An operation on the file.
pub(crate) type Job<I> = fn(&Connection, &Call, &I) -> Result<Value, ServiceError>;

/// Environment and file of a service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ServiceFile {
    pub(crate) environment: Environment,
    pub(crate) database: Database,
}

impl ServiceFile {
    /// Opens `<name>.db`; see [`Database::open`].
    pub(crate) fn open(
        environment: Environment,
        name: &str,
        migrations: &[&str],
    ) -> Result<Self, StorageError> {
        let database = Database::open(&environment.directory(), name, migrations)?;
        Ok(Self { environment, database })
    }

    /// The call that a context stands for, now.
    pub(crate) fn call(&self, context: &CallContext) -> Call {
        Call {
            account: context.account.clone(),
            region: context.region.clone(),
            owner: context.principal.account().to_owned(),
            now_ms: self.environment.now().as_millisecond(),
            endpoint: self.environment.endpoint(),
        }
    }

    /// Runs an operation that changes something.
    pub(crate) async fn change<I, J>(
        &self,
        context: &CallContext,
        input: I,
        job: J,
    ) -> Result<Value, ServiceError>
    where
        I: Send + 'static,
        J: FnOnce(&Connection, &Call, &I) -> Result<Value, ServiceError> + Send + 'static,
    {
        let call = self.call(context);
        let run = move |connection: &Connection| job(connection, &call, &input);
        once(&self.database, context, self.environment.now(), run).await
    }

    /// Runs an operation that only reads, off the async threads since a page may hold thousands of rows.
    pub(crate) async fn query<I, J>(
        &self,
        context: &CallContext,
        input: I,
        job: J,
    ) -> Result<Value, ServiceError>
    where
        I: Send + 'static,
        J: FnOnce(&Connection, &Call, &I) -> Result<Value, ServiceError> + Send + 'static,
    {
        let (database, call) = (self.database.clone(), self.call(context));
        let run = move || database.read(|connection| job(connection, &call, &input));
        tokio::task::spawn_blocking(run).await.map_err(ServiceError::internal)?
    }
}
