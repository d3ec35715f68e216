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

pub use access::{Needed, needed};

use dynoxide::DynoxideError;
use dynoxide::streams::{LOCAL_ACCOUNT, LOCAL_REGION};
use partition::Partition;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// Accounts and regions open at once; each is a thread and a file.
const PARTITIONS_MAX: usize = 128;

/// Status and JSON body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, JSON.
    pub body: String,
}

type Slot = Arc<OnceCell<Arc<Partition>>>;

/// The tables of every account and region below one directory.
pub struct DynamoDb {
    directory: PathBuf,
    partitions: Mutex<HashMap<(String, String), Slot>>,
}

impl DynamoDb {
    /// Keeps its files below `directory`, which must exist.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, partitions: Mutex::default() }
    }

    /// Runs one operation of the API; durable when it returns.
    pub async fn call(
        &self,
        account: &str,
        region: &str,
        operation: &str,
        body: &str,
        invocation: Option<&str>,
    ) -> Answer {
        if operations::kind(operation).is_none() {
            return Answer { status: 400, body: refusals::UNKNOWN_OPERATION.to_owned() };
        }
        let Ok(Some(request)) =
            serde_json::from_str::<serde_json::Value>(body).map(inward(account, region, body))
        else {
            return Answer { status: 400, body: refusals::NOT_JSON.to_owned() };
        };
        let outcome = match self.partition(account, region).await {
            Ok(partition) => partition.run(operation, request, invocation).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(body) => Answer { status: 200, body: outward(account, region, body) },
            Err(error) => refused(account, region, operation, &error),
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

/// The engine knows one region and account; requests name the caller's.
fn inward<'a>(
    account: &'a str,
    region: &'a str,
    body: &'a str,
) -> impl FnOnce(serde_json::Value) -> Option<String> + 'a {
    move |request| {
        let object = request.as_object()?;
        let outside = format!("arn:aws:dynamodb:{region}:{account}:");
        if !body.contains(&outside) {
            return Some(body.to_owned());
        }
        let mut object = object.clone();
        if let Some(serde_json::Value::String(table)) = object.get_mut("TableName")
            && let Some(name) = table.strip_prefix(&format!("{outside}table/"))
        {
            *table = name.to_owned();
        }
        for member in ["ResourceArn", "StreamArn"] {
            if let Some(serde_json::Value::String(arn)) = object.get_mut(member) {
                *arn = arn.replacen(&outside, &engine_prefix(), 1);
            }
        }
        serde_json::to_string(&object).ok()
    }
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

fn refused(account: &str, region: &str, operation: &str, error: &DynoxideError) -> Answer {
    let status = error.status_code();
    if status >= 500 {
        tracing::error!(operation, %error, "DynamoDB failed");
        let body = r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"Internal server error"}"#;
        return Answer { status: 500, body: body.to_owned() };
    }
    Answer { status, body: outward(account, region, error.to_json()) }
}
