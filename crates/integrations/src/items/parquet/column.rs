//! A column of a row group, read page by page.
//!
//! Invariant: it holds one page, its dictionary, a piece of the file and the values of one row.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use serde_json::Value;

use super::codec::Codec;
use super::encoding::{Dictionary, Hybrid, Values};
use super::footer::{Chunk, PageHeader, page_header};
use super::schema::Leaf;
use super::thrift::Broken;
use super::{PAGE_BYTES_MAX, Source, value};
use crate::items::Bucket;

/// AWS's greatest item.
const ITEM_BYTES_MAX: usize = 8 << 20;
/// The longest header of a page; only statistics make it longer than a few bytes.
const HEADER_BYTES_MAX: usize = 1 << 20;
/// The shortest piece that is worth asking for.
const PIECE_BYTES_MIN: u64 = 16 << 10;
const PIECE_BYTES_MAX: u64 = 1 << 20;

/// A value at its levels; none where something above it is missing.
pub(super) struct Entry {
    pub definition: u16,
    pub repetition: u16,
    pub value: Option<Value>,
}

pub(super) struct Column {
    leaf: Leaf,
    codec: Codec,
    /// What was fetched and not used yet; of an allocation of so many bytes; and where the next piece begins.
    fetched: Bytes,
    allocated: usize,
    next: u64,
    end: u64,
    piece: u64,
    dictionary: Option<Dictionary>,
    page: Option<Page>,
    /// Values that the pages to come have.
    values: u64,
    /// The entries of the row at hand.
    pub record: VecDeque<Entry>,
    /// The first one of the row after it.
    ahead: Option<Entry>,
}

struct Page {
    bytes: usize,
    left: u64,
    repetitions: Option<Hybrid>,
    definitions: Option<Hybrid>,
    values: Values,
}

impl Column {
    pub fn new(leaf: Leaf, chunk: Chunk, piece: u64) -> Result<Column, String> {
        Ok(Column {
            leaf,
            codec: Codec::of(chunk.codec)?,
            fetched: Bytes::new(),
            allocated: 0,
            next: chunk.start,
            end: chunk.end,
            piece: piece.clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX),
            dictionary: None,
            page: None,
            values: chunk.values,
            record: VecDeque::new(),
            ahead: None,
        })
    }

    /// Bytes it holds.
    pub fn held(&self) -> usize {
        let dictionary = self.dictionary.as_ref().map_or(0, Dictionary::size);
        self.allocated + dictionary + self.page.as_ref().map_or(0, |page| page.bytes)
    }

    /// Reads the entries of the next row and counts their bytes; the column holds at most `room` bytes meanwhile.
    pub async fn read_record(
        &mut self,
        source: &mut Source,
        bucket: Bucket<'_>,
        bytes: &mut usize,
        room: usize,
    ) -> Result<(), String> {
        self.record.clear();
        loop {
            let entry = match self.ahead.take() {
                Some(entry) => entry,
                None => {
                    while self.page.as_ref().is_none_or(|page| page.left == 0) {
                        if self.values == 0 && !self.record.is_empty() {
                            return Ok(());
                        }
                        self.turn(source, bucket, room).await?;
                    }
                    self.entry()?
                }
            };
            if entry.repetition == 0 && !self.record.is_empty() {
                self.ahead = Some(entry);
                return Ok(());
            }
            *bytes += 8 + entry.value.as_ref().and_then(Value::as_str).map_or(0, str::len);
            if *bytes > ITEM_BYTES_MAX {
                return Err("An item is larger than 8 MB.".into());
            }
            self.record.push_back(entry);
            // Where nothing repeats, each row has one.
            if self.leaf.repetition_max == 0 {
                return Ok(());
            }
        }
    }

    /// The next entry of the page, which has one.
    fn entry(&mut self) -> Result<Entry, String> {
        let leaf = self.leaf;
        let page = self.page.as_mut().filter(|page| page.left > 0).ok_or(Broken::Short)?;
        page.left -= 1;
        let level = |levels: &mut Option<Hybrid>, greatest: u16, absent: u16| {
            let level = levels.as_mut().map_or(Ok(u64::from(absent)), Hybrid::next)?;
            let level = u16::try_from(level).ok().filter(|level| *level <= greatest);
            level.ok_or(Broken::Wrong("a level is too great"))
        };
        let repetition = level(&mut page.repetitions, leaf.repetition_max, 0)?;
        let definition = level(&mut page.definitions, leaf.definition_max, leaf.definition_max)?;
        let value = if definition == leaf.definition_max {
            Some(value::json(page.values.next(leaf.physical, self.dictionary.as_ref())?, leaf))
        } else {
            None
        };
        Ok(Entry { definition, repetition, value })
    }

    /// To the next page, unless this column would hold more than `room` with it.
    async fn turn(&mut self, source: &mut Source, bucket: Bucket<'_>, room: usize) -> Result<(), String> {
        self.page = None;
        let (header, used) = self.header(source, bucket).await?;
        let wanted = self.held().saturating_add(header.compressed).saturating_add(header.uncompressed);
        if wanted > room {
            return Err("The pages of the Parquet file's columns are larger than 112 MiB.".into());
        }
        self.want(source, bucket, used + header.compressed).await?;
        self.fetched.advance(used);
        let compressed = self.fetched.split_to(header.compressed);
        // What is left would keep all of the piece in memory.
        if self.codec != Codec::Plain && self.fetched.len() * 2 < self.allocated {
            self.fetched = Bytes::copy_from_slice(&self.fetched);
            self.allocated = self.fetched.len();
        }
        match header.kind {
            PageHeader::DICTIONARY => {
                let mut bytes = self.codec.inflate(compressed, header.uncompressed)?;
                if self.codec == Codec::Plain {
                    bytes = Bytes::copy_from_slice(&bytes);
                }
                self.dictionary = Some(Dictionary::new(bytes, self.leaf.physical, header.values)?);
            }
            PageHeader::DATA | PageHeader::DATA_V2 => {
                self.values = self
                    .values
                    .checked_sub(header.values)
                    .ok_or(Broken::Wrong("a column has more values than it says"))?;
                self.page = Some(self.open(header, compressed)?);
            }
            // An index, which is not needed.
            _ => {}
        }
        Ok(())
    }

    fn open(&self, header: PageHeader, compressed: Bytes) -> Result<Page, String> {
        let leaf = self.leaf;
        // What is not inflated lies in what was fetched.
        let is_inflated = self.codec != Codec::Plain && header.is_compressed;
        let (mut repetitions, mut definitions) = (None, None);
        let values = if let Some([repeated, defined]) = header.levels {
            let levels = repeated.checked_add(defined).filter(|length| *length <= compressed.len());
            let levels = levels.ok_or(Broken::Short)?;
            repetitions = Some(compressed.slice(..repeated));
            definitions = Some(compressed.slice(repeated..levels));
            let values = compressed.slice(levels..);
            let length = header.uncompressed.checked_sub(levels).ok_or(Broken::Short)?;
            if header.is_compressed { self.codec.inflate(values, length)? } else { values }
        } else {
            if header.levels_are_packed && (leaf.repetition_max > 0 || leaf.definition_max > 0) {
                return Err("The Parquet encoding BIT_PACKED of levels is not supported.".into());
            }
            let mut bytes = self.codec.inflate(compressed, header.uncompressed)?;
            for (levels, greatest) in
                [(&mut repetitions, leaf.repetition_max), (&mut definitions, leaf.definition_max)]
            {
                if greatest > 0 {
                    let length = bytes.try_get_u32_le().map_err(|_| Broken::Short)? as usize;
                    if length > bytes.len() {
                        return Err(Broken::Short.into());
                    }
                    *levels = Some(bytes.split_to(length));
                }
            }
            bytes
        };
        let hybrid = |levels: Option<Bytes>, greatest: u16| {
            levels.filter(|_| greatest > 0).map(|bytes| Hybrid::up_to(bytes, greatest))
        };
        Ok(Page {
            bytes: if is_inflated { header.uncompressed } else { 0 },
            left: header.values,
            repetitions: hybrid(repetitions, leaf.repetition_max),
            definitions: hybrid(definitions, leaf.definition_max),
            values: Values::new(header.encoding, leaf.physical, values)?,
        })
    }

    async fn header(
        &mut self,
        source: &mut Source,
        bucket: Bucket<'_>,
    ) -> Result<(PageHeader, usize), String> {
        loop {
            match page_header(&self.fetched) {
                Err(Broken::Short) if self.next < self.end && self.fetched.len() < HEADER_BYTES_MAX => {
                    self.want(source, bucket, self.fetched.len() + 1).await?;
                }
                Err(Broken::Short) => {
                    return Err(Broken::Wrong("a column has fewer values than it says").into());
                }
                header => return Ok(header?),
            }
        }
    }

    /// Fetches until so many bytes are there.
    async fn want(&mut self, source: &mut Source, bucket: Bucket<'_>, length: usize) -> Result<(), String> {
        if length > PAGE_BYTES_MAX + HEADER_BYTES_MAX {
            return Err(Broken::Wrong("a page is larger than 64 MiB").into());
        }
        let missing = length.saturating_sub(self.fetched.len()) as u64;
        if missing > 0 {
            let end = self.end.min(self.next.saturating_add(missing.max(self.piece)));
            if end - self.next < missing {
                return Err(Broken::Wrong("a page is longer than its column").into());
            }
            let piece = source.bytes(bucket, self.next, end).await?;
            self.fetched =
                if self.fetched.is_empty() { piece } else { [&*self.fetched, &*piece].concat().into() };
            (self.allocated, self.next) = (self.fetched.len(), end);
        }
        Ok(())
    }
}
