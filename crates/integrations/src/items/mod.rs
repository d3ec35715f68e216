//! What a Map Run reads and writes in S3: ItemReader and ResultWriter.
//!
//! Invariant: at most a page of items ([`ITEMS_PER_PAGE`], about [`BYTES_PER_PAGE`]) and a few pieces of the object are held
//! for a Map Run, whatever the object's size; reading on is refused when the object is another one than before. Parsing is
//! pure ([`json`], [`csv`], [`format`], what lies below [`parquet`]). Not here: inventories that are not CSV; they are refused by
//! name, as AWS reads no others.

mod compression;
mod csv;
mod files;
mod format;
mod json;
mod listing;
mod manifest;
mod object;
mod parquet;
mod reader;
#[cfg(test)]
mod tests;
mod text;
mod writer;

pub use reader::{Item, ItemReaders, Page, Place};
pub use writer::{ChildPages, ChildRecord, results};

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::failure::{Dialect, Failure, from_fault, from_transport};
use crate::model::{self, Operation};
use crate::naming::to_native;
use crate::protocol::{self, Timestamps};
use crate::transport::{Identity, Transport};

/// Most items of a page.
pub const ITEMS_PER_PAGE: usize = 1_000;
/// A page is full once its items' text is this long.
pub const BYTES_PER_PAGE: usize = 1 << 20;

/// How the SDK behind ItemReader and ResultWriter prints S3's errors.
const DIALECT: Dialect =
    Dialect::Optimized { prefix: "S3", generic: "AmazonS3Exception", service: "Amazon S3" };

/// S3, on somebody's behalf.
#[derive(Clone, Copy)]
pub(crate) struct Bucket<'a> {
    transport: &'a Arc<dyn Transport>,
    identity: &'a Identity,
}

impl<'a> Bucket<'a> {
    pub fn new(transport: &'a Arc<dyn Transport>, identity: &'a Identity) -> Bucket<'a> {
        Bucket { transport, identity }
    }

    /// The answer to an operation, which may be a fault; or why there is none.
    async fn call(&self, action: &str, parameters: &Value) -> Result<Answered, String> {
        let operation = model::service("s3").and_then(|service| service.action(action));
        let operation = operation.ok_or_else(|| format!("There is no operation s3:{action}."))?;
        let native = match operation.input() {
            Some(shape) => to_native(shape, parameters).map_err(|problems| problems.join(", "))?,
            None => parameters.clone(),
        };
        let request = protocol::request(operation, &native).map_err(|error| error.to_string())?;
        let answer = self.transport.call(self.identity, operation.service.signing_name(), request).await;
        let response = answer.map_err(|error| cause(from_transport(DIALECT, &error)))?;
        Ok(Answered { operation, response })
    }
}

/// What S3 answered.
struct Answered {
    operation: Operation<'static>,
    response: http::Response<Bytes>,
}

impl Answered {
    /// Its members, or the fault in AWS's words.
    fn members(&self) -> Result<Value, String> {
        protocol::response(self.operation, &self.response, Timestamps::Iso8601)
            .map_err(|fault| cause(from_fault(DIALECT, self.operation, &fault)))
    }
}

fn cause(failure: Failure) -> String {
    failure.cause.unwrap_or_default()
}
