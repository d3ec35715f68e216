//! The binary form of what is journalled: [`Encoder`], [`Decoder`] and the trait [`Record`].
//!
//! A turn's events refer to payloads by number, so that a state's output, its Exited event and the next Entered event share
//! bytes; strings that are the same `Arc` are written once. Decoding is total and bounded: unknown tags and lengths that
//! exceed the bytes at hand are errors, never skipped, never allocated for. Framing, checksums and rows belong to `store`.

use std::sync::Arc;
use std::time::Duration;

use asl::payload::Payload;
use asl::program::{Pattern, Resource, ResourceKind, StateMachineType};
use asl::timestamp::Timestamp;

use crate::event::Event;

/// How many recent strings or payloads are looked through for an equal pointer.
const WINDOW: usize = 48;

/// Why bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end too early.
    #[error("record ends within {0}")]
    Truncated(&'static str),
    /// A tag that this binary does not know.
    #[error("unknown tag {tag} of {of}")]
    UnknownTag {
        /// The enum.
        of: &'static str,
        /// The tag.
        tag: u64,
    },
    /// A reference to a string or payload that is not there.
    #[error("dangling reference to {0}")]
    Dangling(&'static str),
    /// Bytes that are no UTF-8, a number out of range.
    #[error("malformed {0}")]
    Malformed(&'static str),
}

/// Something with a binary form.
pub trait Record: Sized {
    /// Appends it.
    fn encode(&self, encoder: &mut Encoder);
    /// Reads it back.
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError>;
}

/// The events of a turn as bytes, and the payloads they refer to by their place in this list.
#[derive(Clone, Debug, Default)]
pub struct EncodedTurn {
    /// All events, back to back.
    pub events: Vec<u8>,
    /// Each payload once.
    pub payloads: Vec<Payload>,
}

/// Encodes the events of one turn.
pub fn encode(events: &[Event]) -> EncodedTurn {
    let mut encoder = Encoder::default();
    for event in events {
        event.encode(&mut encoder);
    }
    encoder.finish()
}

/// Decodes the events of one turn.
pub fn decode(events: &[u8], payloads: &[Payload]) -> Result<Vec<Event>, RecordError> {
    let mut decoder = Decoder::new(events, payloads);
    let mut decoded = Vec::new();
    while !decoder.is_empty() {
        decoded.push(Event::decode(&mut decoder)?);
    }
    Ok(decoded)
}

/// Writes records.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
    payloads: Vec<Payload>,
    strings: Vec<Arc<str>>,
    pub(crate) previous: Previous,
}

/// What an event's header is written relative to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Previous {
    pub seq: u64,
    pub at: i64,
    pub history_id: u64,
}

impl Encoder {
    /// The bytes and the payloads.
    pub fn finish(self) -> EncodedTurn {
        EncodedTurn { events: self.bytes, payloads: self.payloads }
    }
    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
    /// One byte.
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }
    /// An unsigned number, seven bits a byte.
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }
    /// A signed number, small ones short.
    pub fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)) as u64);
    }
    fn string(&mut self, string: &Arc<str>) {
        let window = self.strings.len().saturating_sub(WINDOW);
        if let Some(place) = self.strings[window..].iter().rposition(|known| Arc::ptr_eq(known, string)) {
            return self.number((window + place + 1) as u64);
        }
        self.strings.push(Arc::clone(string));
        self.number(0);
        self.number(string.len() as u64);
        self.raw(string.as_bytes());
    }
    fn payload(&mut self, payload: &Payload) {
        let window = self.payloads.len().saturating_sub(WINDOW);
        let place = self.payloads[window..].iter().rposition(|known| known.same(payload));
        let number = match place {
            Some(place) => window + place,
            None => {
                self.payloads.push(payload.clone());
                self.payloads.len() - 1
            }
        };
        self.number(number as u64);
    }
}

/// Reads records.
#[derive(Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    payloads: &'a [Payload],
    strings: Vec<Arc<str>>,
    pub(crate) previous: Previous,
}

impl<'a> Decoder<'a> {
    /// Over the bytes and payloads of one turn.
    pub fn new(bytes: &'a [u8], payloads: &'a [Payload]) -> Decoder<'a> {
        Decoder { bytes, payloads, strings: Vec::new(), previous: Previous::default() }
    }
    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
    /// The next `length` bytes.
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (head, tail) = self.bytes.split_at_checked(length).ok_or(RecordError::Truncated("bytes"))?;
        self.bytes = tail;
        Ok(head)
    }
    /// One byte.
    pub fn byte(&mut self) -> Result<u8, RecordError> {
        let (&byte, tail) = self.bytes.split_first().ok_or(RecordError::Truncated("byte"))?;
        self.bytes = tail;
        Ok(byte)
    }
    /// An unsigned number.
    pub fn number(&mut self) -> Result<u64, RecordError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(RecordError::Malformed("number"))
    }
    /// A signed number.
    pub fn signed(&mut self) -> Result<i64, RecordError> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }
    /// A length, which cannot exceed the bytes that are left (each element takes one at least).
    fn length(&mut self) -> Result<usize, RecordError> {
        let length = usize::try_from(self.number()?).map_err(|_| RecordError::Malformed("length"))?;
        if length > self.bytes.len() { Err(RecordError::Truncated("sequence")) } else { Ok(length) }
    }
    fn string(&mut self) -> Result<Arc<str>, RecordError> {
        match self.number()? {
            0 => {
                let length = self.length()?;
                let text =
                    std::str::from_utf8(self.raw(length)?).map_err(|_| RecordError::Malformed("string"))?;
                let string: Arc<str> = Arc::from(text);
                self.strings.push(Arc::clone(&string));
                Ok(string)
            }
            place => {
                let known = usize::try_from(place - 1).ok().and_then(|place| self.strings.get(place));
                known.cloned().ok_or(RecordError::Dangling("string"))
            }
        }
    }
    fn payload(&mut self) -> Result<Payload, RecordError> {
        let place = self.number()?;
        let known = usize::try_from(place).ok().and_then(|place| self.payloads.get(place));
        known.cloned().ok_or(RecordError::Dangling("payload"))
    }
}

/// `Record` for a struct: its fields in the order given, which is the format. Fields that came later stand `apart`: whoever
/// writes the struct writes them, under a tag of its own.
macro_rules! record_struct {
    ($name:ident { $($field:ident),* $(,)? } $(apart { $($apart:ident),* })?) => {
        impl $crate::record::Record for $name {
            fn encode(&self, encoder: &mut $crate::record::Encoder) {
                $( $crate::record::Record::encode(&self.$field, encoder); )*
            }
            fn decode(decoder: &mut $crate::record::Decoder<'_>) -> Result<Self, $crate::record::RecordError> {
                Ok($name {
                    $( $field: $crate::record::Record::decode(decoder)?, )*
                    $( $( $apart: Default::default(), )* )?
                })
            }
        }
    };
}
pub(crate) use record_struct;

/// `Record` for an enum without fields: explicit tags, which are the format.
macro_rules! record_enum {
    ($name:ident { $($tag:literal => $variant:ident),* $(,)? }) => {
        impl $crate::record::Record for $name {
            fn encode(&self, encoder: &mut $crate::record::Encoder) {
                encoder.byte(match self { $( $name::$variant => $tag, )* });
            }
            fn decode(decoder: &mut $crate::record::Decoder<'_>) -> Result<Self, $crate::record::RecordError> {
                match decoder.byte()? {
                    $( $tag => Ok($name::$variant), )*
                    tag => Err($crate::record::RecordError::UnknownTag { of: stringify!($name), tag: tag.into() }),
                }
            }
        }
    };
}
pub(crate) use record_enum;

record_enum!(StateMachineType { 0 => Standard, 1 => Express });
record_enum!(Pattern { 0 => RequestResponse, 1 => Sync, 2 => Sync2, 3 => WaitForTaskToken });

impl Record for u64 {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.number(*self);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        decoder.number()
    }
}

impl Record for u32 {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.number(u64::from(*self));
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        u32::try_from(decoder.number()?).map_err(|_| RecordError::Malformed("u32"))
    }
}

impl Record for bool {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.byte(u8::from(*self));
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        match decoder.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(RecordError::UnknownTag { of: "bool", tag: tag.into() }),
        }
    }
}

impl Record for Arc<str> {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.string(self);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        decoder.string()
    }
}

impl Record for Payload {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.payload(self);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        decoder.payload()
    }
}

impl Record for Timestamp {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.signed(self.epoch_millis());
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        Ok(Timestamp::from_epoch_millis(decoder.signed()?))
    }
}

impl Record for Duration {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.number(u64::try_from(self.as_millis()).unwrap_or(u64::MAX));
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        Ok(Duration::from_millis(decoder.number()?))
    }
}

impl<T: Record> Record for Option<T> {
    fn encode(&self, encoder: &mut Encoder) {
        match self {
            None => encoder.byte(0),
            Some(value) => {
                encoder.byte(1);
                value.encode(encoder);
            }
        }
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        if bool::decode(decoder)? { T::decode(decoder).map(Some) } else { Ok(None) }
    }
}

impl<T: Record> Record for Vec<T> {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.number(self.len() as u64);
        for element in self {
            element.encode(encoder);
        }
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        let length = decoder.length()?;
        (0..length).map(|_| T::decode(decoder)).collect()
    }
}

impl<A: Record, B: Record> Record for (A, B) {
    fn encode(&self, encoder: &mut Encoder) {
        self.0.encode(encoder);
        self.1.encode(encoder);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        Ok((A::decode(decoder)?, B::decode(decoder)?))
    }
}

impl<T: Record> Record for Box<T> {
    fn encode(&self, encoder: &mut Encoder) {
        self.as_ref().encode(encoder);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        T::decode(decoder).map(Box::new)
    }
}

impl<T: Record> Record for Arc<T> {
    fn encode(&self, encoder: &mut Encoder) {
        self.as_ref().encode(encoder);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        T::decode(decoder).map(Arc::new)
    }
}

impl Record for Resource {
    fn encode(&self, encoder: &mut Encoder) {
        self.arn.encode(encoder);
        match &self.kind {
            ResourceKind::Lambda => encoder.byte(0),
            ResourceKind::Activity => encoder.byte(1),
            ResourceKind::Service { service, action, pattern } => {
                encoder.byte(2);
                service.encode(encoder);
                action.encode(encoder);
                pattern.encode(encoder);
            }
        }
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        let arn = Record::decode(decoder)?;
        let kind = match decoder.byte()? {
            0 => ResourceKind::Lambda,
            1 => ResourceKind::Activity,
            2 => ResourceKind::Service {
                service: Record::decode(decoder)?,
                action: Record::decode(decoder)?,
                pattern: Record::decode(decoder)?,
            },
            tag => return Err(RecordError::UnknownTag { of: "ResourceKind", tag: tag.into() }),
        };
        Ok(Resource { arn, kind })
    }
}
