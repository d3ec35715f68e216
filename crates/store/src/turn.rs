//! The bytes of a turn: section 4 of `FORMAT.md`.
//!
//! Invariant: decoding is total; any bytes give the turn that was written or a [`TurnError`], and a blob found under
//! another key is an error. It frames and checks; what an event looks like is `engine::record`'s business.

use engine::record::{self, Decoder};
use engine::{Event, Payload};

use crate::{ExecutionKey, ScopeId, StoreError};

/// Payloads of so many bytes are rows of their own.
pub const PAYLOAD_ROW_MIN: usize = 4096;

const MAGIC: u8 = b'P';
pub(crate) const FORMAT: u8 = 1;
pub(crate) const CODEC_PLAIN: u8 = 0;
pub(crate) const CHECKSUM: std::ops::Range<usize> = 4..8;
const TAG_HERE: u8 = 0;
const TAG_ROW: u8 = 1;
/// Payloads of a turn, which also keeps the numbers of rows apart (see [`row_number`]).
const PAYLOADS_MAX: usize = 1 << 20;
/// Half of what SQLite takes for a blob; a turn's budget ends long before.
pub(crate) const TURN_BYTES_MAX: usize = 1 << 29;

/// A turn, ready to be written.
#[derive(Clone, Debug)]
pub struct EncodedTurn {
    /// The blob of the journal's row.
    pub blob: Vec<u8>,
    /// Payloads that become rows, with their numbers.
    pub rows: Vec<(u64, Payload)>,
}

/// A turn, read back.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedTurn {
    /// Whose.
    pub execution: ExecutionKey,
    /// What happened.
    pub events: Vec<Event>,
}

/// Why bytes are not a turn.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// They were changed, or cut off, or belong elsewhere.
    #[error("{0}")]
    Corrupt(String),
    /// Written by something newer.
    #[error("unknown {what} {found}: written by a newer Passo")]
    Unknown {
        /// Format, codec, flags or payload tag.
        what: &'static str,
        /// Its number.
        found: u8,
    },
    /// The row of a payload could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<record::RecordError> for TurnError {
    fn from(error: record::RecordError) -> TurnError {
        TurnError::Corrupt(error.to_string())
    }
}

/// The bytes of a turn. Refuses one without events, with gaps in `seq`, or beyond the bounds.
pub fn encode(execution: ExecutionKey, events: &[Event]) -> Result<EncodedTurn, StoreError> {
    let first_seq = check_sequence(execution, events)?;
    let section = record::encode(events);
    if section.payloads.len() > PAYLOADS_MAX {
        return Err(StoreError::Refused(format!(
            "a turn of {execution} has {} payloads",
            section.payloads.len()
        )));
    }
    let mut blob = Vec::with_capacity(section.events.len() + 64);
    blob.extend_from_slice(&[MAGIC, FORMAT, CODEC_PLAIN, 0, 0, 0, 0, 0]);
    for number in [
        u64::from(execution.scope.0),
        execution.number,
        first_seq,
        events.len() as u64,
        section.events.len() as u64,
    ] {
        put_number(&mut blob, number);
    }
    blob.extend_from_slice(&section.events);
    let rows = put_payloads(&mut blob, first_seq, &section.payloads, PAYLOAD_ROW_MIN);
    if blob.len() > TURN_BYTES_MAX {
        return Err(StoreError::Refused(format!("a turn of {execution} takes {} bytes", blob.len())));
    }
    let checksum = crc32c::crc32c(&blob[CHECKSUM.end..]);
    blob[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    Ok(EncodedTurn { blob, rows })
}

/// Reads a turn; `fetch` gives the row of a payload by its number.
pub fn decode(
    blob: &[u8],
    fetch: &mut dyn FnMut(ExecutionKey, u64) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<DecodedTurn, TurnError> {
    let mut decoder = Decoder::new(checked(blob, MAGIC)?, &[]);
    let scope = u32::try_from(decoder.number()?).map_err(|_| corrupt("scope out of range"))?;
    let execution = ExecutionKey { scope: ScopeId(scope), number: decoder.number()? };
    let first_seq = decoder.number()?;
    let count = decoder.number()?;
    let size = usize::try_from(decoder.number()?).map_err(|_| corrupt("section out of range"))?;
    let section = decoder.raw(size)?;
    let payloads = take_payloads(&mut decoder, execution, first_seq, fetch)?;
    if !decoder.is_empty() {
        return Err(corrupt("bytes after the end"));
    }
    let events = record::decode(section, &payloads)?;
    let consecutive = events.iter().zip(first_seq..).all(|(event, seq)| event.seq == seq);
    if events.is_empty() || events.len() as u64 != count || !consecutive {
        return Err(corrupt("events are not those of the header"));
    }
    Ok(DecodedTurn { execution, events })
}

/// Number of a payload's row within its execution.
fn row_number(first_seq: u64, index: usize) -> u64 {
    first_seq * PAYLOADS_MAX as u64 + index as u64
}

fn check_sequence(execution: ExecutionKey, events: &[Event]) -> Result<u64, StoreError> {
    let first =
        events.first().ok_or_else(|| StoreError::Refused(format!("a turn of {execution} has no events")))?;
    let consecutive = events.iter().zip(first.seq..).all(|(event, seq)| event.seq == seq);
    if first.seq == 0 || first.seq >= 1 << 40 || !consecutive {
        return Err(StoreError::Refused(format!(
            "the events of a turn of {execution} do not follow each other"
        )));
    }
    Ok(first.seq)
}

/// What follows the checksum, if it is right.
pub(crate) fn checked(blob: &[u8], magic: u8) -> Result<&[u8], TurnError> {
    let (head, body) = blob.split_at_checked(CHECKSUM.end).ok_or_else(|| corrupt("cut off"))?;
    if head[0] != magic {
        return Err(corrupt("not a turn"));
    }
    for (what, found, known) in
        [("format", head[1], FORMAT), ("codec", head[2], CODEC_PLAIN), ("flags", head[3], 0)]
    {
        if found != known {
            return Err(TurnError::Unknown { what, found });
        }
    }
    if head[CHECKSUM] != crc32c::crc32c(body).to_le_bytes() {
        return Err(corrupt("checksum mismatch"));
    }
    Ok(body)
}

/// Payloads of `row_min` bytes and more become rows.
pub(crate) fn put_payloads(
    blob: &mut Vec<u8>,
    first_seq: u64,
    payloads: &[Payload],
    row_min: usize,
) -> Vec<(u64, Payload)> {
    let mut rows = Vec::new();
    put_number(blob, payloads.len() as u64);
    for (index, payload) in payloads.iter().enumerate() {
        let text = payload.text().as_bytes();
        if text.len() < row_min {
            blob.push(TAG_HERE);
            put_number(blob, text.len() as u64);
            blob.extend_from_slice(text);
        } else {
            blob.push(TAG_ROW);
            put_number(blob, text.len() as u64);
            blob.extend_from_slice(&crc32c::crc32c(text).to_le_bytes());
            rows.push((row_number(first_seq, index), payload.clone()));
        }
    }
    rows
}

pub(crate) fn take_payloads(
    decoder: &mut Decoder<'_>,
    execution: ExecutionKey,
    first_seq: u64,
    fetch: &mut dyn FnMut(ExecutionKey, u64) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<Vec<Payload>, TurnError> {
    let count = usize::try_from(decoder.number()?).map_err(|_| corrupt("payloads out of range"))?;
    if count > PAYLOADS_MAX || first_seq >= 1 << 40 {
        return Err(corrupt("payloads out of range"));
    }
    let mut payloads = Vec::new();
    for index in 0..count {
        let tag = decoder.byte()?;
        let size = usize::try_from(decoder.number()?).map_err(|_| corrupt("payload out of range"))?;
        payloads.push(match tag {
            TAG_HERE => payload(decoder.raw(size)?.to_vec())?,
            TAG_ROW => {
                let checksum = decoder.raw(4)?;
                let number = row_number(first_seq, index);
                let bytes = fetch(execution, number)?
                    .ok_or_else(|| corrupt(&format!("payload {number} is missing")))?;
                if bytes.len() != size || crc32c::crc32c(&bytes).to_le_bytes() != *checksum {
                    return Err(corrupt(&format!("payload {number} has another checksum")));
                }
                payload(bytes)?
            }
            found => return Err(TurnError::Unknown { what: "payload tag", found }),
        });
    }
    Ok(payloads)
}

fn payload(bytes: Vec<u8>) -> Result<Payload, TurnError> {
    let text = String::from_utf8(bytes).map_err(|_| corrupt("payload is no UTF-8"))?;
    Payload::parse(text).map_err(|error| corrupt(&format!("payload is no JSON: {error}")))
}

pub(crate) fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

pub(crate) fn corrupt(reason: &str) -> TurnError {
    TurnError::Corrupt(reason.into())
}
