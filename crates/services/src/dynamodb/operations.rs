//! The operations of DynamoDB, by name, on one storage file.
//!
//! Each runs to its end on the calling thread: the engine's futures never wait for anything but SQLite.
//! Every operation that writes does so in one SQLite transaction of its own.

use dynoxide::actions::vector_lifecycle::VectorIndexLifecycle;
use dynoxide::actions::*;
use dynoxide::storage::Storage;
use dynoxide::{DynoxideError, Result};
use serde::Serialize;
use serde_json::json;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::refusals::read;

/// What an operation does to the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Reads only.
    Read,
    /// One transaction: an invocation's record commits with the effect.
    Write,
    /// Several transactions, each idempotent by itself (or of tables): the record follows the effect.
    WriteInParts,
}

/// The kind of an operation, or nothing when DynamoDB has none of that name here.
pub(super) fn kind(operation: &str) -> Option<Kind> {
    Some(match operation {
        "DescribeTable"
        | "ListTables"
        | "GetItem"
        | "Query"
        | "Scan"
        | "BatchGetItem"
        | "TransactGetItems"
        | "SearchVectors"
        | "ListStreams"
        | "DescribeStream"
        | "GetShardIterator"
        | "GetRecords"
        | "DescribeTimeToLive"
        | "ListTagsOfResource"
        | "DescribeLimits"
        | "DescribeContinuousBackups"
        | "DescribeEndpoints" => Kind::Read,
        "PutItem" | "UpdateItem" | "DeleteItem" | "TransactWriteItems" | "ExecuteStatement"
        | "ExecuteTransaction" => Kind::Write,
        "CreateTable"
        | "DeleteTable"
        | "UpdateTable"
        | "BatchWriteItem"
        | "BatchExecuteStatement"
        | "UpdateTimeToLive"
        | "TagResource"
        | "UntagResource" => Kind::WriteInParts,
        _ => return None,
    })
}

/// Runs one operation and serialises its answer.
pub(super) fn run(
    storage: &Storage,
    vectors: &VectorIndexLifecycle,
    operation: &str,
    body: &str,
) -> Result<String> {
    macro_rules! act {
        ($action:ident) => {
            answer(block_on($action::execute(storage, read(operation, body)?))?)
        };
        ($action:ident, $vectors:expr) => {
            answer(block_on($action::execute(storage, read(operation, body)?, $vectors))?)
        };
    }
    match operation {
        "PutItem" => act!(put_item),
        "GetItem" => act!(get_item),
        "UpdateItem" => act!(update_item),
        "DeleteItem" => act!(delete_item),
        "Query" => act!(query),
        "Scan" => act!(scan),
        "BatchGetItem" => act!(batch_get_item),
        "BatchWriteItem" => act!(batch_write_item),
        "TransactGetItems" => act!(transact_get_items),
        "TransactWriteItems" => act!(transact_write_items),
        "ExecuteStatement" => act!(execute_statement),
        "ExecuteTransaction" => act!(execute_transaction),
        "BatchExecuteStatement" => act!(batch_execute_statement),
        "CreateTable" => act!(create_table),
        "ListTables" => act!(list_tables),
        "DescribeTable" => act!(describe_table, vectors),
        "UpdateTable" => act!(update_table, vectors),
        "DeleteTable" => act!(delete_table, vectors),
        "SearchVectors" => act!(search_vectors, vectors),
        "TagResource" => act!(tag_resource),
        "UntagResource" => act!(untag_resource),
        "ListTagsOfResource" => act!(list_tags_of_resource),
        "UpdateTimeToLive" => act!(update_time_to_live),
        "DescribeTimeToLive" => act!(describe_time_to_live),
        "ListStreams" => act!(list_streams),
        "DescribeStream" => act!(describe_stream),
        "GetShardIterator" => act!(get_shard_iterator),
        "GetRecords" => act!(get_records),
        "DescribeLimits" => answer(limits()),
        "DescribeContinuousBackups" => {
            // Read for its errors only: the table must exist.
            block_on(describe_table::execute(storage, read(operation, body)?, vectors))?;
            answer(no_backups())
        }
        "DescribeEndpoints" => answer(json!({"Endpoints": []})),
        _ => Err(DynoxideError::UnsupportedCapability(operation.to_owned())),
    }
}

/// Deletes the items whose time to live has passed.
pub(super) fn sweep_expired(storage: &Storage) -> Result<usize> {
    block_on(dynoxide::ttl::sweep_expired_items(storage))
}

fn answer<T: Serialize>(value: T) -> Result<String> {
    serde_json::to_string(&value).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

fn limits() -> serde_json::Value {
    json!({"AccountMaxReadCapacityUnits": 80000, "AccountMaxWriteCapacityUnits": 80000,
           "TableMaxReadCapacityUnits": 40000, "TableMaxWriteCapacityUnits": 40000})
}

fn no_backups() -> serde_json::Value {
    json!({"ContinuousBackupsDescription": {"ContinuousBackupsStatus": "ENABLED",
           "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"}}})
}

/// The native engine answers at the first poll; anything else is a defect and is said, not waited for.
fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(DynoxideError::InternalServerError("the storage engine did not answer".into())),
    }
}
