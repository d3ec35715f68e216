//! An object of S3, read in ranges and inflated as needed.
//!
//! Invariant: every range is asked for under the ETag of the first one, so that items never come from two versions.

use std::sync::Arc;

use asl::payload::Payload;
use bytes::{Buf, Bytes};
use http::StatusCode;
use serde_json::{Value, json};

use super::compression::Inflater;
use super::format::{Cut, Format};
use super::{BYTES_PER_PAGE, Bucket, ITEMS_PER_PAGE};

/// Bytes asked for at a time.
const RANGE_BYTES: u64 = 1 << 20;
/// Inflated text wanted before it is looked at.
const TEXT_BYTES: usize = 256 << 10;

/// An object being read.
pub(super) struct Object {
    arguments: Value,
    format: Format,
    etag: Option<Arc<str>>,
    /// Bytes of the object fetched so far.
    fetched: u64,
    fetched_all: bool,
    inflater: Option<Inflater>,
    compressed: Bytes,
    text: Vec<u8>,
    /// Bytes of `text` that were cut off already.
    used: usize,
    no_more: bool,
}

impl Object {
    /// Opens it at the beginning, or where [`Object::position`] was; the text of a compressed object has only a beginning.
    pub fn open(
        arguments: &Value,
        config: &Value,
        position: Option<&Value>,
        version: Option<&Arc<str>>,
    ) -> Result<Object, String> {
        let format = Format::new(config)?;
        let key = arguments["Key"].as_str().unwrap_or_default();
        let offset = position.and_then(|position| position["Offset"].as_u64()).unwrap_or(0);
        Ok(Object {
            arguments: arguments.clone(),
            format: position.map_or(format.clone(), |position| format.resumed(position)),
            etag: version.cloned(),
            fetched: offset,
            fetched_all: false,
            inflater: Inflater::of(key),
            compressed: Bytes::new(),
            text: Vec::new(),
            used: 0,
            no_more: false,
        })
    }

    /// ETag of what is read.
    pub fn version(&self) -> Option<Arc<str>> {
        self.etag.clone()
    }

    /// Where to go on after the items given so far; `None`: only from the beginning.
    pub fn position(&self) -> Option<Value> {
        if self.inflater.is_some() {
            return None;
        }
        let mut state = self.format.state();
        state["Offset"] = json!(self.fetched - (self.text.len() - self.used) as u64);
        Some(state)
    }

    /// The next items, at most `most`, and whether they are the last.
    pub async fn page(&mut self, bucket: Bucket<'_>, most: u64) -> Result<(Vec<Payload>, bool), String> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(ITEMS_PER_PAGE);
        let (mut items, mut bytes) = (Vec::new(), 0);
        while items.len() < most && bytes < BYTES_PER_PAGE {
            match self.format.cut(&self.text[self.used..], self.no_more)? {
                Cut::Item(item, used) => {
                    self.used += used;
                    bytes += used;
                    items.push(item);
                }
                Cut::Passed(used) => self.used += used,
                Cut::More => self.fill(bucket).await?,
                Cut::End => return Ok((items, true)),
            }
        }
        Ok((items, false))
    }

    /// Gets more text, or finds that there is none.
    async fn fill(&mut self, bucket: Bucket<'_>) -> Result<(), String> {
        self.text.drain(..self.used);
        self.used = 0;
        let wanted = self.text.len() + TEXT_BYTES;
        while self.text.len() < wanted && !self.no_more {
            if self.compressed.is_empty() && !self.fetched_all {
                self.compressed = self.fetch(bucket).await?;
            }
            match &mut self.inflater {
                None => {
                    self.text.extend_from_slice(&self.compressed);
                    self.compressed.clear();
                }
                Some(inflater) => inflater.feed(&mut self.compressed, &mut self.text)?,
            }
            self.no_more = self.fetched_all && self.compressed.is_empty();
        }
        if let Some(inflater) = self.inflater.as_mut().filter(|_| self.no_more) {
            inflater.finish(&mut self.text)?;
        }
        Ok(())
    }

    async fn fetch(&mut self, bucket: Bucket<'_>) -> Result<Bytes, String> {
        let mut parameters = self.arguments.clone();
        parameters["Range"] = json!(format!("bytes={}-{}", self.fetched, self.fetched + RANGE_BYTES - 1));
        if let Some(etag) = &self.etag {
            parameters["IfMatch"] = json!(&**etag);
        }
        let answered = bucket.call("getObject", &parameters).await?;
        let head = |name: &str| answered.response.headers().get(name).and_then(|value| value.to_str().ok());
        match answered.response.status() {
            // Nothing lies at the range: the object is empty, or was read to its end.
            StatusCode::RANGE_NOT_SATISFIABLE => {
                self.fetched_all = true;
                return Ok(Bytes::new());
            }
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
        let mut body = answered.response.body().clone();
        if answered.response.status() == StatusCode::PARTIAL_CONTENT {
            let total = head("content-range").and_then(|range| range.rsplit('/').next()?.parse::<u64>().ok());
            self.fetched += body.len() as u64;
            self.fetched_all = body.is_empty() || total.is_some_and(|total| self.fetched >= total);
        } else {
            // Whoever does not know ranges answers the whole.
            let total = body.len() as u64;
            body.advance(usize::try_from(self.fetched).unwrap_or(usize::MAX).min(body.len()));
            self.fetched = total;
            self.fetched_all = true;
        }
        Ok(body)
    }
}
