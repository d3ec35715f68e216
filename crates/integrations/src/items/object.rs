//! An object of S3 whose items are read, in ranges.
//!
//! Invariant: every range is asked for under the ETag of the first one, so that items never come from two versions.

use std::sync::Arc;

use asl::payload::Payload;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::Bucket;
use super::parquet::Parquet;
use super::text::Text;

/// An object being read.
pub(super) enum Object {
    Text(Box<Text>),
    Parquet(Box<Parquet>),
}

impl Object {
    /// Opens it at the beginning, or where [`Object::position`] was.
    pub fn open(
        arguments: &Value,
        config: &Value,
        position: Option<&Value>,
        version: Option<&Arc<str>>,
    ) -> Result<Object, String> {
        Ok(if config["InputType"] == "PARQUET" {
            Object::Parquet(Box::new(Parquet::open(arguments, position, version)))
        } else {
            Object::Text(Box::new(Text::open(arguments, config, position, version)?))
        })
    }

    /// ETag of what is read.
    pub fn version(&self) -> Option<Arc<str>> {
        match self {
            Object::Text(text) => text.version(),
            Object::Parquet(parquet) => parquet.version(),
        }
    }

    /// Where to go on after the items given so far; `None`: only from the beginning.
    pub fn position(&self) -> Option<Value> {
        match self {
            Object::Text(text) => text.position(),
            Object::Parquet(parquet) => Some(parquet.position()),
        }
    }

    /// Bytes that wait for the next page.
    pub fn held(&self) -> usize {
        match self {
            Object::Text(text) => text.held(),
            Object::Parquet(parquet) => parquet.held(),
        }
    }

    /// The next items, at most `most`, and whether they are the last.
    pub async fn page(&mut self, bucket: Bucket<'_>, most: u64) -> Result<(Vec<Payload>, bool), String> {
        match self {
            Object::Text(text) => text.page(bucket, most).await,
            Object::Parquet(parquet) => parquet.page(bucket, most).await,
        }
    }
}

/// Ranges of one version of an object.
pub(super) struct Ranges {
    arguments: Value,
    etag: Option<Arc<str>>,
}

/// What lies at a range.
pub(super) struct Ranged {
    pub body: Bytes,
    /// The body is the whole object: whoever answered does not know ranges.
    pub is_whole: bool,
    /// Length of the object, if it was told.
    pub total: Option<u64>,
}

impl Ranges {
    pub fn new(arguments: &Value, version: Option<&Arc<str>>) -> Ranges {
        Ranges { arguments: arguments.clone(), etag: version.cloned() }
    }

    pub fn etag(&self) -> Option<Arc<str>> {
        self.etag.clone()
    }

    /// What lies at `bytes=…`; none if nothing does.
    pub async fn get(&mut self, bucket: Bucket<'_>, range: &str) -> Result<Option<Ranged>, String> {
        let mut parameters = self.arguments.clone();
        parameters["Range"] = json!(range);
        if let Some(etag) = &self.etag {
            parameters["IfMatch"] = json!(&**etag);
        }
        let answered = bucket.call("getObject", &parameters).await?;
        let head = |name: &str| answered.response.headers().get(name).and_then(|value| value.to_str().ok());
        match answered.response.status() {
            StatusCode::RANGE_NOT_SATISFIABLE => return Ok(None),
            StatusCode::PRECONDITION_FAILED => {
                return Err("The object changed while its items were read.".into());
            }
            status if !status.is_success() => {
                answered.members()?;
                return Err(format!("S3 answered {status}."));
            }
            _ => {}
        }
        self.etag = self.etag.take().or_else(|| head("etag").map(Arc::from));
        let body = answered.response.body().clone();
        let is_whole = answered.response.status() != StatusCode::PARTIAL_CONTENT;
        let told = head("content-range").and_then(|range| range.rsplit('/').next()?.parse::<u64>().ok());
        let total = if is_whole { Some(body.len() as u64) } else { told };
        Ok(Some(Ranged { body, is_whole, total }))
    }
}
