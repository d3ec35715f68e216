//! How values lie in a page.
//!
//! Invariant: values are decoded one by one from the page's own bytes, so however many a page claims to hold, only those asked for
//! are made; nothing is allocated by a number that a file tells.

use bytes::Bytes;

use super::schema::Physical;
use super::thrift::{Broken, varint, zigzag};

pub(super) const BIT_PACKED: i64 = 4;

/// A value as it lies in the file.
#[derive(Debug, PartialEq)]
pub(super) enum Raw {
    Boolean(bool),
    Integer(i64),
    Float(f32),
    Double(f64),
    Bytes(Bytes),
}

/// Runs of equal numbers and numbers packed into bits, mixed.
#[derive(Debug)]
pub(super) struct Hybrid {
    bytes: Bytes,
    at: usize,
    width: u8,
    run: Run,
}

#[derive(Debug)]
enum Run {
    Equal {
        value: u64,
        left: u64,
    },
    /// Position in bits.
    Packed {
        bit: u64,
        left: u64,
    },
}

impl Hybrid {
    pub fn new(bytes: Bytes, width: u8) -> Hybrid {
        Hybrid { bytes, at: 0, width: width.min(32), run: Run::Equal { value: 0, left: 0 } }
    }

    /// For numbers up to this one.
    pub fn up_to(bytes: Bytes, greatest: u16) -> Hybrid {
        Hybrid::new(bytes, (16 - greatest.leading_zeros()) as u8)
    }

    pub fn next(&mut self) -> Result<u64, Broken> {
        loop {
            match &mut self.run {
                Run::Equal { value, left } if *left > 0 => {
                    *left -= 1;
                    return Ok(*value);
                }
                Run::Packed { bit, left } if *left > 0 => {
                    let value = bits(&self.bytes, *bit, self.width)?;
                    *bit += u64::from(self.width);
                    *left -= 1;
                    return Ok(value);
                }
                Run::Equal { .. } | Run::Packed { .. } => self.turn()?,
            }
        }
    }

    fn turn(&mut self) -> Result<(), Broken> {
        let (header, used) = varint(self.bytes.get(self.at..).ok_or(Broken::Short)?)?;
        self.at += used;
        let length = header >> 1;
        if header & 1 == 0 {
            let width = usize::from(self.width.div_ceil(8));
            let value = little(&self.bytes, self.at, width)?;
            self.at += width;
            self.run = Run::Equal { value, left: length };
        } else {
            let bytes = length.checked_mul(u64::from(self.width)).ok_or(Broken::Short)?;
            let left = length.checked_mul(8).ok_or(Broken::Short)?;
            self.run = Run::Packed { bit: self.at as u64 * 8, left };
            // The last run may be cut off where its values end.
            self.at = usize::try_from(bytes)
                .ok()
                .and_then(|bytes| self.at.checked_add(bytes))
                .ok_or(Broken::Short)?;
        }
        Ok(())
    }
}

/// A number of some bits, the least first.
fn bits(bytes: &[u8], bit: u64, width: u8) -> Result<u64, Broken> {
    let first = usize::try_from(bit / 8).map_err(|_| Broken::Short)?;
    let shift = (bit % 8) as u32;
    let needed = (shift as usize + usize::from(width)).div_ceil(8);
    let mut number = 0_u128;
    for (index, byte) in bytes.get(first..first + needed).ok_or(Broken::Short)?.iter().enumerate() {
        number |= u128::from(*byte) << (8 * index);
    }
    let number = number >> shift;
    Ok((number & ((1_u128 << width) - 1)) as u64)
}

fn little(bytes: &[u8], at: usize, length: usize) -> Result<u64, Broken> {
    let bytes = at.checked_add(length).and_then(|end| bytes.get(at..end)).ok_or(Broken::Short)?;
    Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Differences between numbers, packed in blocks.
#[derive(Debug)]
pub(super) struct Delta {
    bytes: Bytes,
    at: usize,
    block: u64,
    miniblocks: u64,
    /// Values that were not given yet.
    left: u64,
    last: i64,
    first: bool,
    /// Within the block: the least difference, the widths, and which miniblock is the current one.
    least: i64,
    widths: usize,
    miniblock: u64,
    bit: u64,
    in_miniblock: u64,
}

impl Delta {
    pub fn new(bytes: Bytes, at: usize) -> Result<Delta, Broken> {
        let mut at = at;
        let mut number = || {
            let (number, used) = varint(bytes.get(at..).ok_or(Broken::Short)?)?;
            at += used;
            Ok(number)
        };
        let (block, miniblocks, left, first) = (number()?, number()?, number()?, zigzag(number()?));
        let length = block.checked_div(miniblocks).unwrap_or(0);
        if block > 1 << 20 || length == 0 || length % 8 != 0 || length * miniblocks != block {
            return Err(Broken::Wrong("a block of differences has a bad length"));
        }
        let miniblock = miniblocks;
        Ok(Delta {
            bytes,
            at,
            block,
            miniblocks,
            left,
            last: first,
            first: true,
            least: 0,
            widths: 0,
            miniblock,
            bit: 0,
            in_miniblock: 0,
        })
    }

    pub fn next(&mut self) -> Result<i64, Broken> {
        self.left = self.left.checked_sub(1).ok_or(Broken::Short)?;
        if std::mem::take(&mut self.first) {
            return Ok(self.last);
        }
        let length = self.block / self.miniblocks;
        if self.miniblock == self.miniblocks || self.in_miniblock == length {
            self.turn(length)?;
        }
        let width = *self.bytes.get(self.widths + self.miniblock as usize).ok_or(Broken::Short)?;
        let difference = bits(&self.bytes, self.bit, width)?;
        self.bit += u64::from(width);
        self.in_miniblock += 1;
        self.last = self.last.wrapping_add(self.least).wrapping_add(difference as i64);
        Ok(self.last)
    }

    /// To the next miniblock, of the next block if there is none in this one.
    fn turn(&mut self, length: u64) -> Result<(), Broken> {
        self.in_miniblock = 0;
        if self.miniblock < self.miniblocks {
            self.at = (self.bit / 8) as usize;
            self.miniblock += 1;
        }
        if self.miniblock == self.miniblocks {
            let (least, used) = varint(self.bytes.get(self.at..).ok_or(Broken::Short)?)?;
            self.least = zigzag(least);
            self.widths = self.at + used;
            self.at = self.widths + self.miniblocks as usize;
            self.miniblock = 0;
        }
        let width = *self.bytes.get(self.widths + self.miniblock as usize).ok_or(Broken::Short)?;
        if width > 64 {
            return Err(Broken::Wrong("a difference is too wide"));
        }
        // The miniblock is there as a whole, however few values it holds.
        let end = self.at as u64 * 8 + length * u64::from(width);
        if end > self.bytes.len() as u64 * 8 {
            return Err(Broken::Short);
        }
        self.bit = self.at as u64 * 8;
        Ok(())
    }

    /// Where the bytes behind all of them begin.
    fn end(mut self) -> Result<usize, Broken> {
        let length = self.block / self.miniblocks;
        let mut left = self.left.saturating_sub(1);
        while left > 0 {
            if self.miniblock < self.miniblocks {
                let width = *self.bytes.get(self.widths + self.miniblock as usize).ok_or(Broken::Short)?;
                self.bit += length * u64::from(width);
            }
            self.turn(length)?;
            left = left.saturating_sub(length);
        }
        if self.miniblock < self.miniblocks {
            let width = *self.bytes.get(self.widths + self.miniblock as usize).ok_or(Broken::Short)?;
            self.bit += length * u64::from(width);
            self.at = (self.bit / 8) as usize;
        }
        Ok(self.at)
    }
}

/// The values of a dictionary page, found by their number.
#[derive(Debug)]
pub(super) struct Dictionary {
    bytes: Bytes,
    physical: Physical,
    /// Where values of no fixed width begin, and behind the last one.
    starts: Vec<u32>,
}

impl Dictionary {
    pub fn new(bytes: Bytes, physical: Physical, values: u64) -> Result<Dictionary, Broken> {
        let mut starts = Vec::new();
        if physical == Physical::Bytes {
            let mut at = 0;
            for _ in 0..values {
                starts.push(at as u32);
                at += 4 + little(&bytes, at, 4)? as usize;
            }
            if at > bytes.len() {
                return Err(Broken::Short);
            }
        }
        Ok(Dictionary { bytes, physical, starts })
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.starts.len() * 4
    }

    fn value(&self, index: u64) -> Result<Raw, Broken> {
        let index = usize::try_from(index).map_err(|_| Broken::Short)?;
        let mut at = match width(self.physical) {
            Some(width) => index.checked_mul(width).ok_or(Broken::Short)?,
            None if self.physical == Physical::Boolean => {
                return Err(Broken::Wrong("booleans have a dictionary"));
            }
            None => {
                *self.starts.get(index).ok_or(Broken::Wrong("a value is not in the dictionary"))? as usize
            }
        };
        plain(&self.bytes, &mut at, self.physical)
    }
}

fn width(physical: Physical) -> Option<usize> {
    match physical {
        Physical::Int32 | Physical::Float => Some(4),
        Physical::Int64 | Physical::Double => Some(8),
        Physical::Int96 => Some(12),
        Physical::Fixed(length) => Some(length),
        Physical::Boolean | Physical::Bytes => None,
    }
}

/// The value at a place that is not a boolean; the place moves behind it.
fn plain(bytes: &Bytes, at: &mut usize, physical: Physical) -> Result<Raw, Broken> {
    let length = match width(physical) {
        Some(width) => width,
        None => {
            let length = little(bytes, *at, 4)? as usize;
            *at += 4;
            length
        }
    };
    let end = at.checked_add(length).filter(|end| *end <= bytes.len()).ok_or(Broken::Short)?;
    let value = fixed(&bytes.slice(*at..end), physical);
    *at = end;
    Ok(value)
}

/// A value from exactly its bytes.
fn fixed(bytes: &Bytes, physical: Physical) -> Raw {
    let number = little(bytes, 0, bytes.len().min(8)).unwrap_or(0);
    match physical {
        Physical::Boolean => Raw::Boolean(number != 0),
        Physical::Int32 => Raw::Integer(i64::from(number as u32 as i32)),
        Physical::Int64 => Raw::Integer(number as i64),
        Physical::Float => Raw::Float(f32::from_bits(number as u32)),
        Physical::Double => Raw::Double(f64::from_bits(number)),
        Physical::Int96 | Physical::Bytes | Physical::Fixed(_) => Raw::Bytes(bytes.clone()),
    }
}

/// The values of a page.
#[derive(Debug)]
pub(super) enum Values {
    Plain {
        bytes: Bytes,
        at: usize,
    },
    Bits {
        bytes: Bytes,
        bit: u64,
    },
    Runs(Hybrid),
    Numbers(Hybrid),
    Differences(Delta),
    /// Lengths, then the bytes of all.
    Lengths {
        lengths: Delta,
        bytes: Bytes,
        at: usize,
    },
    /// Each shares its beginning with the one before.
    Prefixes {
        prefixes: Delta,
        lengths: Delta,
        bytes: Bytes,
        at: usize,
        last: Vec<u8>,
    },
    /// The first bytes of all, then the second ones, and so on.
    Split {
        bytes: Bytes,
        at: usize,
        width: usize,
    },
}

impl Values {
    pub fn new(encoding: i64, physical: Physical, bytes: Bytes) -> Result<Values, String> {
        let values = match (encoding, physical) {
            (0, Physical::Boolean) => Values::Bits { bytes, bit: 0 },
            (0, _) => Values::Plain { bytes, at: 0 },
            (2 | 8, _) => {
                // A page of nothing but nulls may have no values at all.
                let width = bytes.first().copied().unwrap_or(0);
                Values::Numbers(Hybrid::new(bytes.slice(bytes.len().min(1)..), width))
            }
            (3, Physical::Boolean) => Values::Runs(Hybrid::new(bytes.slice(bytes.len().min(4)..), 1)),
            // Of nothing but nulls there may be not even the beginning.
            (5..=7, _) if bytes.is_empty() => Values::Plain { bytes, at: 0 },
            (5, Physical::Int32 | Physical::Int64) => Values::Differences(Delta::new(bytes, 0)?),
            (6, Physical::Bytes) => {
                let at = Delta::new(bytes.clone(), 0)?.end()?;
                Values::Lengths { lengths: Delta::new(bytes.clone(), 0)?, bytes, at }
            }
            (7, Physical::Bytes | Physical::Fixed(_)) => {
                let second = Delta::new(bytes.clone(), 0)?.end()?;
                let at = Delta::new(bytes.clone(), second)?.end()?;
                let (prefixes, lengths) = (Delta::new(bytes.clone(), 0)?, Delta::new(bytes.clone(), second)?);
                Values::Prefixes { prefixes, lengths, bytes, at, last: Vec::new() }
            }
            (9, _) if width(physical).is_some() => {
                Values::Split { bytes, at: 0, width: width(physical).unwrap_or(1) }
            }
            _ => return Err(format!("The Parquet encoding {encoding} of {physical:?} is not supported.")),
        };
        Ok(values)
    }

    pub fn next(&mut self, physical: Physical, dictionary: Option<&Dictionary>) -> Result<Raw, Broken> {
        match self {
            Values::Plain { bytes, at } => plain(bytes, at, physical),
            Values::Bits { bytes, bit } => {
                let value = bits(bytes, *bit, 1)?;
                *bit += 1;
                Ok(Raw::Boolean(value == 1))
            }
            Values::Runs(runs) => Ok(Raw::Boolean(runs.next()? == 1)),
            Values::Numbers(numbers) => {
                dictionary.ok_or(Broken::Wrong("a column has no dictionary"))?.value(numbers.next()?)
            }
            Values::Differences(delta) => {
                let number = delta.next()?;
                Ok(Raw::Integer(if physical == Physical::Int32 { i64::from(number as i32) } else { number }))
            }
            Values::Lengths { lengths, bytes, at } => {
                let value = piece(bytes, at, lengths.next()?)?;
                Ok(Raw::Bytes(value))
            }
            Values::Prefixes { prefixes, lengths, bytes, at, last } => {
                let prefix = usize::try_from(prefixes.next()?).map_err(|_| Broken::Short)?;
                if prefix > last.len() {
                    return Err(Broken::Wrong("a value shares more than there is"));
                }
                last.truncate(prefix);
                last.extend_from_slice(&piece(bytes, at, lengths.next()?)?);
                Ok(Raw::Bytes(Bytes::copy_from_slice(last)))
            }
            Values::Split { bytes, at, width } => {
                let values = bytes.len() / *width;
                if *at >= values {
                    return Err(Broken::Short);
                }
                let value: Vec<u8> = (0..*width).map(|byte| bytes[byte * values + *at]).collect();
                *at += 1;
                Ok(fixed(&value.into(), physical))
            }
        }
    }
}

fn piece(bytes: &Bytes, at: &mut usize, length: i64) -> Result<Bytes, Broken> {
    let length = usize::try_from(length).map_err(|_| Broken::Wrong("a length is negative"))?;
    let end = at.checked_add(length).filter(|end| *end <= bytes.len()).ok_or(Broken::Short)?;
    let value = bytes.slice(*at..end);
    *at = end;
    Ok(value)
}
