//! DynamoDB: the engine `dynoxide` behind AWS's wire protocol, durable in groups, a file per account and region.
//!
//! Requests and answers pass as JSON text. Names of the engine's own region never leave: ARNs are translated
//! both ways. An invocation id makes the single-transaction writes (PutItem, UpdateItem, DeleteItem,
//! TransactWriteItems, ExecuteStatement, ExecuteTransaction) exactly-once; BatchWriteItem, which DynamoDB
//! itself does in parts, and the table operations are at-least-once across a crash in the middle.

mod access;
mod operations;
mod partition;
mod refusals;
mod table_file;

use crate::environment::Environment;
use crate::storage::{StorageError, create_directory};
use crate::wire::{Access, BoxFuture, CallContext, Service, ServiceError, ServiceRequest, ServiceResponse};
use dynoxide::DynoxideError;
use dynoxide::streams::{LOCAL_ACCOUNT, LOCAL_REGION};
use partition::Partition;
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// Accounts and regions open at once; each is a thread and a file.
const PARTITIONS_MAX: usize = 128;

type Slot = Arc<OnceCell<Arc<Partition>>>;

/// The tables of every account and region below one directory.
pub struct DynamoDb {
    directory: PathBuf,
    partitions: Mutex<HashMap<(String, String), Slot>>,
}

impl DynamoDb {
    /// Keeps its files in `dynamodb/` below the services' directory.
    pub fn open(environment: &Environment) -> Result<Self, StorageError> {
        let directory = environment.directory().join("dynamodb");
        create_directory(&directory)?;
        Ok(Self { directory, partitions: Mutex::default() })
    }

    /// Runs one operation of the API; durable when it returns.
    async fn call(
        &self,
        context: &CallContext,
        operation: &str,
        body: &[u8],
    ) -> Result<String, ServiceError> {
        if operations::kind(operation).is_none() {
            return Err(ServiceError::client(refusals::UNKNOWN_OPERATION, ""));
        }
        let (account, region) = (context.account.as_str(), context.region.as_str());
        let unreadable = || ServiceError::client(refusals::SERIALIZATION, "");
        let body = std::str::from_utf8(body).map_err(|_| unreadable())?;
        let request = inward(account, region, body).ok_or_else(unreadable)?;
        let outcome = match self.partition(account, region).await {
            Ok(partition) => partition.run(operation, request, context.invocation_id.as_deref()).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(body) => Ok(outward(account, region, body)),
            Err(error) => Err(refused(account, region, operation, &error)),
        }
    }

    async fn partition(&self, account: &str, region: &str) -> Result<Arc<Partition>, DynoxideError> {
        let plain = |text: &str| {
            !text.is_empty()
                && text.len() <= 64
                && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
        };
        if !plain(account) || !plain(region) {
            return Err(DynoxideError::AccessDeniedException("Invalid account or region".to_owned()));
        }
        let slot = self.slot(account, region)?;
        let path = self.directory.join(format!("{account}.{region}.sqlite"));
        let open = || async move {
            let opened = tokio::task::spawn_blocking(move || Partition::open(&path)).await;
            opened.map_err(|error| DynoxideError::InternalServerError(error.to_string()))?.map(Arc::new)
        };
        slot.get_or_try_init(open).await.cloned()
    }

    fn slot(&self, account: &str, region: &str) -> Result<Slot, DynoxideError> {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (account.to_owned(), region.to_owned());
        if partitions.len() >= PARTITIONS_MAX && !partitions.contains_key(&key) {
            return Err(DynoxideError::LimitExceededException(
                "Too many accounts and regions are open".into(),
            ));
        }
        Ok(Arc::clone(partitions.entry(key).or_default()))
    }
}

/// The request with the engine's own region and account; nothing when it is not a JSON object.
fn inward(account: &str, region: &str, body: &str) -> Option<String> {
    let outside = format!("arn:aws:dynamodb:{region}:{account}:");
    let starts_an_object = body.trim_start().starts_with('{');
    if starts_an_object && !body.contains(&outside) {
        // The engine reads it once more, with its own types; only the shape is judged here.
        return serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok().then(|| body.to_owned());
    }
    let mut object: serde_json::Map<String, Value> = serde_json::from_str(body).ok()?;
    if let Some(Value::String(table)) = object.get_mut("TableName")
        && let Some(name) = table.strip_prefix(&format!("{outside}table/"))
    {
        *table = name.to_owned();
    }
    for member in ["ResourceArn", "StreamArn"] {
        if let Some(Value::String(arn)) = object.get_mut(member) {
            *arn = arn.replacen(&outside, &engine_prefix(), 1);
        }
    }
    serde_json::to_string(&object).ok()
}

fn outward(account: &str, region: &str, body: String) -> String {
    if !body.contains(LOCAL_REGION) {
        return body;
    }
    body.replace(&engine_prefix(), &format!("arn:aws:dynamodb:{region}:{account}:"))
        .replace(&format!(r#""awsRegion":"{LOCAL_REGION}""#), &format!(r#""awsRegion":"{region}""#))
}

fn engine_prefix() -> String {
    format!("arn:aws:dynamodb:{LOCAL_REGION}:{LOCAL_ACCOUNT}:")
}

/// The engine's error as the service's: its namespaced type is the code, further members are fields.
fn refused(account: &str, region: &str, operation: &str, error: &DynoxideError) -> ServiceError {
    let status = error.status_code();
    if status >= 500 && status != 501 {
        tracing::error!(operation, %error, "DynamoDB failed");
        let code = "com.amazonaws.dynamodb.v20120810#InternalServerError";
        return ServiceError::new(500, code, "Internal server error");
    }
    let body = outward(account, region, error.to_json());
    let mut members: serde_json::Map<String, Value> = serde_json::from_str(&body).unwrap_or_default();
    members.retain(|name, _| !["__type", "message", "Message"].contains(&name.as_str()));
    let message = outward(account, region, error.to_string());
    let mut refused = ServiceError::new(status, error.error_type(), message);
    *refused.fields = members;
    refused
}

impl Service for DynamoDb {
    fn name(&self) -> &'static str {
        "dynamodb"
    }

    fn access(&self, context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        let Ok(input) = request.json() else { return Vec::new() };
        access::needed(&request.operation, input, &context.region, &context.account)
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move {
            let body = self.call(context, &request.operation, &request.body).await?;
            Ok(ServiceResponse::bytes(body))
        })
    }
}
