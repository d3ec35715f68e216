//! The bytes of a turn of a Map Run: section 6 of `FORMAT.md`.
//!
//! Invariant: as with [`crate::turn`], decoding is total, and a blob found under another Map Run is an error.

use engine::map_run::{MapRunEvent, MapRunEventKind};
use engine::{Decoder, Encoder, Record};

use crate::turn::{self, TurnError, corrupt};
use crate::{ExecutionKey, ScopeId, StoreError};

const MAGIC: u8 = b'M';

/// Whether events replace all that was written before them.
pub fn is_checkpoint(events: &[MapRunEvent]) -> bool {
    events.first().is_some_and(|event| matches!(event.kind, MapRunEventKind::Checkpoint { .. }))
}

/// The bytes of a turn. Refuses one without events, with gaps in `seq`, or with a checkpoint that does not stand alone.
pub fn encode(scope: ScopeId, map_run_arn: &str, events: &[MapRunEvent]) -> Result<Vec<u8>, StoreError> {
    let refuse = |why: &str| StoreError::Refused(format!("a turn of {map_run_arn} {why}"));
    let first = events.first().ok_or_else(|| refuse("has no events"))?.seq;
    let consecutive = events.iter().zip(first..).all(|(event, seq)| event.seq == seq);
    if first == 0 || first >= 1 << 40 || !consecutive {
        return Err(refuse("has events that do not follow each other"));
    }
    if events.len() > 1 && events.iter().any(|event| is_checkpoint(std::slice::from_ref(event))) {
        return Err(refuse("has a checkpoint among other events"));
    }
    let mut encoder = Encoder::default();
    events.iter().for_each(|event| event.encode(&mut encoder));
    let section = encoder.finish();
    let mut blob = Vec::with_capacity(section.events.len() + 64);
    blob.extend_from_slice(&[MAGIC, turn::FORMAT, turn::CODEC_PLAIN, 0, 0, 0, 0, 0]);
    turn::put_number(&mut blob, u64::from(scope.0));
    blob.extend_from_slice(&crc32c::crc32c(map_run_arn.as_bytes()).to_le_bytes());
    for number in [first, events.len() as u64, section.events.len() as u64] {
        turn::put_number(&mut blob, number);
    }
    blob.extend_from_slice(&section.events);
    turn::put_payloads(&mut blob, first, &section.payloads, usize::MAX);
    if blob.len() > turn::TURN_BYTES_MAX {
        return Err(refuse("is too large"));
    }
    let checksum = crc32c::crc32c(&blob[turn::CHECKSUM.end..]);
    blob[turn::CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    Ok(blob)
}

/// Reads a turn of this Map Run.
pub fn decode(scope: ScopeId, map_run_arn: &str, blob: &[u8]) -> Result<Vec<MapRunEvent>, TurnError> {
    let mut decoder = Decoder::new(turn::checked(blob, MAGIC)?, &[]);
    let found = decoder.number()?;
    let checksum = crc32c::crc32c(map_run_arn.as_bytes()).to_le_bytes();
    if found != u64::from(scope.0) || decoder.raw(4)? != checksum {
        return Err(corrupt("turn of another Map Run found here"));
    }
    let (first, count) = (decoder.number()?, decoder.number()?);
    let size = usize::try_from(decoder.number()?).map_err(|_| corrupt("section out of range"))?;
    let section = decoder.raw(size)?;
    let nowhere = ExecutionKey { scope, number: 0 };
    let payloads = turn::take_payloads(&mut decoder, nowhere, first, &mut |_, _| Ok(None))?;
    if !decoder.is_empty() {
        return Err(corrupt("bytes after the end"));
    }
    let mut decoder = Decoder::new(section, &payloads);
    let mut events = Vec::new();
    while !decoder.is_empty() {
        events.push(MapRunEvent::decode(&mut decoder)?);
    }
    let consecutive = events.iter().zip(first..).all(|(event, seq)| event.seq == seq);
    if events.is_empty() || events.len() as u64 != count || !consecutive {
        return Err(corrupt("events are not those of the header"));
    }
    Ok(events)
}

/// The rows of a Map Run follow each other from seq 1 or a checkpoint on; the seq where they do not.
pub(crate) fn gap(events: &[MapRunEvent]) -> Option<u64> {
    let first = events.first()?.seq;
    if first != 1 && !is_checkpoint(&events[..1]) {
        return Some(first);
    }
    events.iter().zip(first..).find(|(event, seq)| event.seq != *seq).map(|(_, seq)| seq)
}
