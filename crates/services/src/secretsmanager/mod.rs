//! Secrets Manager: secrets with versions and staging labels; one SQLite file.
//!
//! Invariant: a value is on disk only as [`crate::seal`] seals it, for its secret's ARN and its version; no answer of a
//! changing call holds one, so none is kept with what is remembered of calls. Rotation, replication and resource policies
//! are refused by name; customer keys are kept and not used.

mod secrets;
#[cfg(test)]
mod tests;
mod values;

use crate::environment::Environment;
use crate::seal::Sealer;
use crate::service_file::ServiceFile;
use crate::storage::StorageError;
use crate::wire::{Access, BoxFuture, CallContext, Service, ServiceError, ServiceRequest, ServiceResponse};
use serde_json::Value;

const SCHEMA: &str = "
CREATE TABLE secrets(
    account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, arn TEXT NOT NULL UNIQUE, document TEXT NOT NULL,
    created INTEGER NOT NULL, purge INTEGER, PRIMARY KEY(account, region, name)) WITHOUT ROWID;
CREATE TABLE versions(
    arn TEXT NOT NULL, id TEXT NOT NULL, created INTEGER NOT NULL, stages TEXT NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY(arn, id)) WITHOUT ROWID;
";

/// See the module.
pub struct SecretsManager {
    file: ServiceFile,
    sealer: Sealer,
}

impl SecretsManager {
    /// Opens `secretsmanager.db` and the key of the data directory.
    pub fn open(environment: Environment) -> Result<Self, StorageError> {
        let sealer = Sealer::open(&environment.config().data_dir)?;
        let file = ServiceFile::open(environment, "secretsmanager", &[SCHEMA])?;
        Ok(Self { file, sealer })
    }

    async fn answer(&self, context: &CallContext, request: &ServiceRequest) -> Result<Value, ServiceError> {
        let (file, input, sealer) = (&self.file, request.json()?.clone(), self.sealer.clone());
        match request.operation.as_str() {
            "CreateSecret" => {
                let job = move |connection: &_, call: &_, input: &_| {
                    values::create(connection, call, input, &sealer)
                };
                file.change(context, input, job).await
            }
            "PutSecretValue" => {
                let job =
                    move |connection: &_, call: &_, input: &_| values::put(connection, call, input, &sealer);
                file.change(context, input, job).await
            }
            "UpdateSecret" => {
                let job = move |connection: &_, call: &_, input: &_| {
                    values::update(connection, call, input, &sealer)
                };
                file.change(context, input, job).await
            }
            "GetSecretValue" => {
                let job =
                    move |connection: &_, call: &_, input: &_| values::get(connection, call, input, &sealer);
                file.query(context, input, job).await
            }
            "UpdateSecretVersionStage" => file.change(context, input, values::move_stage).await,
            "DescribeSecret" => file.query(context, input, secrets::describe).await,
            "ListSecrets" => file.query(context, input, secrets::list).await,
            "ListSecretVersionIds" => file.query(context, input, values::list).await,
            "GetResourcePolicy" => file.query(context, input, secrets::no_policy).await,
            "DeleteSecret" => file.change(context, input, secrets::delete).await,
            "RestoreSecret" => file.change(context, input, secrets::restore).await,
            "TagResource" => file.change(context, input, secrets::tag).await,
            "UntagResource" => file.change(context, input, secrets::untag).await,
            operation => Err(ServiceError::unsupported("secretsmanager", operation)),
        }
    }
}

impl Service for SecretsManager {
    fn name(&self) -> &'static str {
        "secretsmanager"
    }

    fn access(&self, context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        let action = format!("secretsmanager:{}", request.operation);
        let resource = match (request.operation.as_str(), request.json_str("SecretId")) {
            ("CreateSecret", _) => {
                let name = request.json_str("Name").unwrap_or_default();
                context.arn("secretsmanager", &format!("secret:{name}-??????"))
            }
            (_, Some(id)) => {
                let call = self.file.call(context);
                let found =
                    self.file.database.read(|connection| secrets::Secret::find(connection, &call, id));
                found.map(|secret| secret.arn).unwrap_or_else(|_| id.to_owned())
            }
            _ => "*".to_owned(),
        };
        vec![Access::new(action, resource)]
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move { Ok(ServiceResponse::json(self.answer(context, &request).await?)) })
    }
}
