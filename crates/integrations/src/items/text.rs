//! An object of text, read in ranges from its beginning and inflated as needed.

use std::sync::Arc;

use asl::payload::Payload;
use bytes::{Buf, Bytes};
use serde_json::{Value, json};

use super::compression::Inflater;
use super::format::{Cut, Format};
use super::object::Ranges;
use super::{BYTES_PER_PAGE, Bucket, ITEMS_PER_PAGE};

/// Bytes asked for at a time.
const RANGE_BYTES: u64 = 1 << 20;
/// Inflated text wanted before it is looked at.
const TEXT_BYTES: usize = 256 << 10;

/// An object being read.
pub(super) struct Text {
    ranges: Ranges,
    format: Format,
    /// Bytes of the object fetched so far.
    fetched: u64,
    fetched_all: bool,
    inflater: Option<Inflater>,
    compressed: Bytes,
    text: Vec<u8>,
    /// Bytes of `text` that were cut off already.
    used: usize,
    no_more: bool,
    /// Nothing of its text was looked at yet.
    is_fresh: bool,
}

impl Text {
    /// Opens it at the beginning, or where [`Text::position`] was; the text of a compressed object has only a beginning.
    pub fn open(
        arguments: &Value,
        config: &Value,
        position: Option<&Value>,
        version: Option<&Arc<str>>,
    ) -> Result<Text, String> {
        let format = Format::new(config)?;
        let key = arguments["Key"].as_str().unwrap_or_default();
        let offset = position.and_then(|position| position["Offset"].as_u64()).unwrap_or(0);
        Ok(Text {
            ranges: Ranges::new(arguments, version),
            format: position.map_or(format.clone(), |position| format.resumed(position)),
            fetched: offset,
            fetched_all: false,
            inflater: Inflater::of(key),
            compressed: Bytes::new(),
            text: Vec::new(),
            used: 0,
            no_more: false,
            is_fresh: offset == 0,
        })
    }

    /// ETag of what is read.
    pub fn version(&self) -> Option<Arc<str>> {
        self.ranges.etag()
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

    /// Bytes that wait for the next page.
    pub fn held(&self) -> usize {
        self.compressed.len() + self.text.capacity()
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
        // A byte order mark is no part of the first header or item.
        if std::mem::take(&mut self.is_fresh) && self.text.starts_with(b"\xEF\xBB\xBF") {
            self.used = 3;
        }
        Ok(())
    }

    async fn fetch(&mut self, bucket: Bucket<'_>) -> Result<Bytes, String> {
        let range = format!("bytes={}-{}", self.fetched, self.fetched + RANGE_BYTES - 1);
        let Some(mut ranged) = self.ranges.get(bucket, &range).await? else {
            // Nothing lies at the range: the object is empty, or was read to its end.
            self.fetched_all = true;
            return Ok(Bytes::new());
        };
        if ranged.is_whole {
            // Whoever does not know ranges answers the whole.
            let total = ranged.body.len() as u64;
            ranged.body.advance(usize::try_from(self.fetched).unwrap_or(usize::MAX).min(ranged.body.len()));
            self.fetched = total;
            self.fetched_all = true;
        } else {
            self.fetched += ranged.body.len() as u64;
            self.fetched_all =
                ranged.body.is_empty() || ranged.total.is_some_and(|total| self.fetched >= total);
        }
        Ok(ranged.body)
    }
}
