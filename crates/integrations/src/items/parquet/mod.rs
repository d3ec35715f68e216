//! Items of a Parquet file: its rows, in order.
//!
//! A reader of our own over the format's specification. The `parquet` crate without Arrow costs 41 CPU-seconds and 14 crates,
//! reads blockingly, decompresses pages of any size and has ZSTD only as C; here a page is fetched, inflated and decoded when its
//! values are wanted. Invariant: per column a page and a piece of the object are held, all together at most [`HELD_BYTES_MAX`].
//! Not here: encryption, and codecs that AWS does not read (LZ4, Brotli, LZO); they are refused by name.

mod codec;
mod column;
mod encoding;
mod footer;
mod row;
mod schema;
#[cfg(test)]
mod tests;
mod thrift;
mod value;

use std::sync::Arc;

use asl::payload::Payload;
use bytes::Bytes;
use serde_json::{Value, json};

use super::object::Ranges;
use super::{BYTES_PER_PAGE, Bucket, ITEMS_PER_PAGE};
use column::Column;
use footer::Footer;

/// AWS's longest footer.
const FOOTER_BYTES_MAX: u64 = 5 << 20;
/// AWS's largest row group.
const ROW_GROUP_BYTES_MAX: u64 = 256 << 20;
/// The largest page; writers make them of about 1 MiB.
const PAGE_BYTES_MAX: usize = 64 << 20;
/// What the pages of all columns may hold at a time. With what the allocator adds to it, up to as much again, and the server's
/// own memory it stays below 300 MiB.
const HELD_BYTES_MAX: usize = 112 << 20;
/// Fetched from the end of the file, where most footers lie whole.
const TAIL_BYTES: u64 = 64 << 10;
/// Pieces of the file that all columns together hold.
const PIECES_BYTES: u64 = 16 << 20;

/// A Parquet file being read.
pub(super) struct Parquet {
    source: Source,
    footer: Option<Footer>,
    /// The row group being read; its columns are none before its first row is wanted.
    row_group: usize,
    columns: Vec<Column>,
    /// What the columns hold together, in bytes.
    held: usize,
    /// Rows of the row group that were given or are to be passed over.
    given: u64,
    read: u64,
}

/// The object, in pieces.
struct Source {
    ranges: Ranges,
    /// From a server that answers with the whole.
    whole: Option<Bytes>,
}

impl Source {
    /// Exactly the bytes from here to there.
    async fn bytes(&mut self, bucket: Bucket<'_>, start: u64, end: u64) -> Result<Bytes, String> {
        if start >= end {
            return Ok(Bytes::new());
        }
        let incomplete =
            || "The Parquet file is not complete: its metadata names bytes behind its end.".to_owned();
        if self.whole.is_none() {
            let range = format!("bytes={start}-{}", end - 1);
            let ranged = self.ranges.get(bucket, &range).await?.ok_or_else(incomplete)?;
            if !ranged.is_whole {
                return if ranged.body.len() as u64 == end - start {
                    Ok(ranged.body)
                } else {
                    Err(incomplete())
                };
            }
            self.whole = Some(ranged.body);
        }
        let whole = self.whole.as_ref().ok_or_else(incomplete)?;
        let (start, end) =
            (usize::try_from(start).unwrap_or(usize::MAX), usize::try_from(end).unwrap_or(usize::MAX));
        if end > whole.len() { Err(incomplete()) } else { Ok(whole.slice(start..end)) }
    }
}

impl Parquet {
    /// Opens it at the beginning, or where [`Parquet::position`] was.
    pub fn open(arguments: &Value, position: Option<&Value>, version: Option<&Arc<str>>) -> Parquet {
        let number = |name: &str| position.and_then(|position| position[name].as_u64()).unwrap_or(0);
        Parquet {
            source: Source { ranges: Ranges::new(arguments, version), whole: None },
            footer: None,
            row_group: usize::try_from(number("RowGroup")).unwrap_or(usize::MAX),
            columns: Vec::new(),
            held: 0,
            given: number("Row"),
            read: 0,
        }
    }

    /// ETag of what is read.
    pub fn version(&self) -> Option<Arc<str>> {
        self.source.ranges.etag()
    }

    /// Where to go on: the rows before it in its row group are read and passed over.
    pub fn position(&self) -> Value {
        json!({ "RowGroup": self.row_group, "Row": self.given })
    }

    /// Bytes that wait for the next page.
    pub fn held(&self) -> usize {
        self.held + self.source.whole.as_ref().map_or(0, Bytes::len)
    }

    /// The next items, at most `most`, and whether they are the last.
    pub async fn page(&mut self, bucket: Bucket<'_>, most: u64) -> Result<(Vec<Payload>, bool), String> {
        let footer = match self.footer.take() {
            Some(footer) => footer,
            None => read_footer(&mut self.source, bucket).await?,
        };
        let page = self.rows(bucket, &footer, most).await;
        self.footer = Some(footer);
        page
    }

    async fn rows(
        &mut self,
        bucket: Bucket<'_>,
        footer: &Footer,
        most: u64,
    ) -> Result<(Vec<Payload>, bool), String> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(ITEMS_PER_PAGE);
        let (mut items, mut bytes) = (Vec::new(), 0);
        while items.len() < most && bytes < BYTES_PER_PAGE {
            let Some(group) = footer.row_groups.get(self.row_group) else { return Ok((items, true)) };
            if self.read >= group.rows {
                (self.row_group, self.given, self.read) = (self.row_group + 1, 0, 0);
                self.columns.clear();
                self.held = 0;
                continue;
            }
            if self.columns.is_empty() {
                if group.bytes > ROW_GROUP_BYTES_MAX {
                    return Err("A row group of the Parquet file is larger than 256 MB.".into());
                }
                let piece = PIECES_BYTES / group.chunks.len().max(1) as u64;
                let leaves = footer.schema.leaves.iter().zip(&group.chunks);
                self.columns = leaves
                    .map(|(leaf, chunk)| Column::new(*leaf, *chunk, piece))
                    .collect::<Result<_, _>>()?;
                self.held = self.columns.iter().map(Column::held).sum();
            }
            self.read_record(bucket).await?;
            self.read += 1;
            if self.read <= self.given {
                continue;
            }
            self.given = self.read;
            let item = Payload::from_value(row::assemble(&footer.schema, &mut self.columns)?);
            bytes += item.len();
            items.push(item);
        }
        Ok((items, false))
    }

    /// Has each column hold its values of the next row.
    async fn read_record(&mut self, bucket: Bucket<'_>) -> Result<(), String> {
        let mut bytes = 0;
        for column in &mut self.columns {
            let others = self.held.saturating_sub(column.held());
            let room = HELD_BYTES_MAX.saturating_sub(others);
            column.read_record(&mut self.source, bucket, &mut bytes, room).await?;
            self.held = others + column.held();
        }
        Ok(())
    }
}

async fn read_footer(source: &mut Source, bucket: Bucket<'_>) -> Result<Footer, String> {
    let not_parquet = || "The object is not a Parquet file.".to_owned();
    let ranged = source.ranges.get(bucket, &format!("bytes=-{TAIL_BYTES}")).await?.ok_or_else(not_parquet)?;
    let total = ranged.total.ok_or("S3 did not tell how long the Parquet file is.")?;
    if ranged.is_whole {
        source.whole = Some(ranged.body.clone());
    }
    let tail = ranged.body;
    let (before, last) = tail.split_last_chunk::<8>().ok_or_else(not_parquet)?;
    match &last[4..] {
        b"PAR1" if total >= 12 => {}
        b"PARE" => return Err("The Parquet file is encrypted.".into()),
        _ => return Err(not_parquet()),
    }
    let length = u64::from(u32::from_le_bytes([last[0], last[1], last[2], last[3]]));
    if length > FOOTER_BYTES_MAX {
        return Err("The footer of the Parquet file is larger than 5 MB.".into());
    }
    if let Some(start) = before.len().checked_sub(length as usize) {
        return Footer::parse(&before[start..]);
    }
    let end = total - 8;
    let bytes = source.bytes(bucket, end.checked_sub(length).ok_or_else(not_parquet)?, end).await?;
    Footer::parse(&bytes)
}
