//! The footer of a Parquet file: its columns and row groups; and the header of a page.
//!
//! Invariant: what is kept is bounded by the footer's bytes, and the columns of a row group are those of the schema.

use super::schema::{self, Element, Schema};
use super::thrift::{Broken, Reader};

/// The most elements of a schema: an element takes a byte in the file and a hundred in memory.
const ELEMENTS_MAX: usize = 40_000;
/// The most row groups.
const ROW_GROUPS_MAX: usize = 100_000;

/// What a file holds.
pub(super) struct Footer {
    pub schema: Schema,
    pub row_groups: Vec<RowGroup>,
}

/// Rows that lie together.
#[derive(Default)]
pub(super) struct RowGroup {
    pub rows: u64,
    pub bytes: u64,
    /// In the order of the schema's columns.
    pub chunks: Vec<Chunk>,
}

/// The values of a column in a row group.
#[derive(Clone, Copy, Default)]
pub(super) struct Chunk {
    pub codec: i64,
    pub values: u64,
    /// Where its first page begins in the file, and where its last one ends.
    pub start: u64,
    pub end: u64,
}

/// What comes next in a column.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PageHeader {
    pub kind: i64,
    pub uncompressed: usize,
    pub compressed: usize,
    pub values: u64,
    pub encoding: i64,
    /// Bytes of the levels that lie before the values, uncompressed: only in the second form of pages.
    pub levels: Option<[usize; 2]>,
    pub is_compressed: bool,
    pub levels_are_packed: bool,
}

impl PageHeader {
    pub const DATA: i64 = 0;
    pub const DICTIONARY: i64 = 2;
    pub const DATA_V2: i64 = 3;
}

impl Footer {
    /// From its bytes.
    pub fn parse(bytes: &[u8]) -> Result<Footer, String> {
        let (mut elements, mut row_groups, mut encrypted) = (Vec::new(), Vec::new(), false);
        let mut reader = Reader::new(bytes);
        reader.fields(|reader, id, kind| match id {
            2 => reader.list(kind, |reader, kind| {
                if elements.len() == ELEMENTS_MAX {
                    return Err(Broken::Wrong("the schema has too many elements"));
                }
                elements.push(element(reader, kind)?);
                Ok(())
            }),
            4 => reader.list(kind, |reader, kind| {
                if row_groups.len() == ROW_GROUPS_MAX {
                    return Err(Broken::Wrong("there are too many row groups"));
                }
                row_groups.push(row_group(reader, kind)?);
                Ok(())
            }),
            8 => {
                encrypted = true;
                reader.skip(kind)
            }
            _ => reader.skip(kind),
        })?;
        if encrypted {
            return Err("The Parquet file is encrypted.".into());
        }
        let schema = schema::build(&elements)?;
        if row_groups.iter().any(|group: &RowGroup| group.chunks.len() != schema.leaves.len()) {
            return Err(Broken::Wrong("a row group does not have the columns of the schema").into());
        }
        Ok(Footer { schema, row_groups })
    }
}

fn element(reader: &mut Reader<'_>, kind: super::thrift::Kind) -> Result<Element, Broken> {
    let mut element = Element::default();
    reader.structure(kind, |reader, id, kind| {
        match id {
            1 => element.physical = Some(reader.number(kind)?),
            2 => element.length = usize::try_from(reader.number(kind)?).unwrap_or(0),
            3 => element.repetition = reader.number(kind)?,
            4 => element.name = reader.text(kind)?,
            5 => element.children = usize::try_from(reader.number(kind)?).unwrap_or(0),
            6 => element.converted = Some(reader.number(kind)?),
            7 => element.scale = reader.number(kind)?,
            10 => reader.structure(kind, |reader, id, kind| {
                element.logical = Some(id);
                reader.structure(kind, |reader, id, kind| parameter(reader, id, kind, &mut element))
            })?,
            _ => reader.skip(kind)?,
        }
        Ok(())
    })?;
    Ok(element)
}

/// A parameter of a logical type: what the number means depends on the type, which is known by now.
fn parameter(
    reader: &mut Reader<'_>,
    id: i64,
    kind: super::thrift::Kind,
    element: &mut Element,
) -> Result<(), Broken> {
    match (element.logical, id) {
        (Some(Element::DECIMAL), 1) => element.scale = reader.number(kind)?,
        (Some(Element::TIME | Element::TIMESTAMP), 2) => {
            reader.structure(kind, |reader, unit, kind| {
                element.unit = unit;
                reader.skip(kind)
            })?;
        }
        (Some(Element::INTEGER), 2) => element.unsigned = !reader.boolean(kind)?,
        _ => reader.skip(kind)?,
    }
    Ok(())
}

fn row_group(reader: &mut Reader<'_>, kind: super::thrift::Kind) -> Result<RowGroup, Broken> {
    let mut group = RowGroup::default();
    reader.structure(kind, |reader, id, kind| {
        match id {
            1 => reader.list(kind, |reader, kind| {
                group.chunks.push(chunk(reader, kind)?);
                Ok(())
            })?,
            2 => group.bytes = size(reader.number(kind)?)?,
            3 => group.rows = size(reader.number(kind)?)?,
            _ => reader.skip(kind)?,
        }
        Ok(())
    })?;
    Ok(group)
}

fn chunk(reader: &mut Reader<'_>, kind: super::thrift::Kind) -> Result<Chunk, Broken> {
    let (mut chunk, mut length, mut data, mut dictionary) = (Chunk::default(), 0, 0, None);
    let mut is_here = false;
    reader.structure(kind, |reader, id, kind| match id {
        1 => Err(Broken::Wrong("a column lies in another file")),
        3 => {
            is_here = true;
            reader.structure(kind, |reader, id, kind| {
                match id {
                    4 => chunk.codec = reader.number(kind)?,
                    5 => chunk.values = size(reader.number(kind)?)?,
                    7 => length = size(reader.number(kind)?)?,
                    9 => data = size(reader.number(kind)?)?,
                    11 => dictionary = Some(size(reader.number(kind)?)?),
                    _ => reader.skip(kind)?,
                }
                Ok(())
            })
        }
        8 => Err(Broken::Wrong("a column is encrypted")),
        _ => reader.skip(kind),
    })?;
    if !is_here {
        return Err(Broken::Wrong("a column has no metadata"));
    }
    // Some writers tell 0 where there is no dictionary.
    chunk.start = dictionary.filter(|at| *at > 0).map_or(data, |at| at.min(data));
    chunk.end = chunk.start.checked_add(length).ok_or(Broken::Wrong("a column is too long"))?;
    Ok(chunk)
}

/// The header of a page and its length.
pub(super) fn page_header(bytes: &[u8]) -> Result<(PageHeader, usize), Broken> {
    let mut reader = Reader::new(bytes);
    let mut header = PageHeader { is_compressed: true, ..PageHeader::default() };
    let (mut definitions, mut repetitions) = (0, 0);
    reader.fields(|reader, id, kind| {
        match id {
            1 => header.kind = reader.number(kind)?,
            2 => header.uncompressed = page_size(reader.number(kind)?)?,
            3 => header.compressed = page_size(reader.number(kind)?)?,
            5 | 7 => reader.structure(kind, |reader, field, kind| {
                match field {
                    1 => header.values = size(reader.number(kind)?)?,
                    2 => header.encoding = reader.number(kind)?,
                    3 | 4 if id == 5 => {
                        header.levels_are_packed |= reader.number(kind)? == super::encoding::BIT_PACKED
                    }
                    _ => reader.skip(kind)?,
                }
                Ok(())
            })?,
            8 => reader.structure(kind, |reader, id, kind| {
                match id {
                    1 => header.values = size(reader.number(kind)?)?,
                    4 => header.encoding = reader.number(kind)?,
                    5 => definitions = page_size(reader.number(kind)?)?,
                    6 => repetitions = page_size(reader.number(kind)?)?,
                    7 => header.is_compressed = reader.boolean(kind)?,
                    _ => reader.skip(kind)?,
                }
                Ok(())
            })?,
            _ => reader.skip(kind)?,
        }
        Ok(())
    })?;
    if header.kind == PageHeader::DATA_V2 {
        header.levels = Some([repetitions, definitions]);
    }
    Ok((header, bytes.len() - reader.left()))
}

fn size(number: i64) -> Result<u64, Broken> {
    u64::try_from(number).map_err(|_| Broken::Wrong("a size is negative"))
}

fn page_size(number: i64) -> Result<usize, Broken> {
    let size = usize::try_from(number).ok().filter(|size| *size <= super::PAGE_BYTES_MAX);
    size.ok_or(Broken::Wrong("a page is larger than 64 MiB"))
}
