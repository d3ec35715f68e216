//! CBOR to JSON values and back, for the protocol that current SDKs speak to CloudWatch.
//!
//! Timestamps (tag 1) are seconds of the epoch on the JSON side; which members are timestamps is known by name when
//! writing. Depth and size are bounded; half floats and big numbers, which no SDK sends, are refused.

use minicbor::data::{IanaTag, Type};
use minicbor::{Decoder, Encoder};
use serde_json::{Map, Value, json};
use std::convert::Infallible;

const DEPTH_MAX: usize = 32;

/// Reads one item that fills the whole body. The error is a sentence.
pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    let mut decoder = Decoder::new(bytes);
    let value = item(&mut decoder, 0)?;
    if decoder.position() == bytes.len() { Ok(value) } else { Err("bytes follow the CBOR item".to_owned()) }
}

fn item(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, String> {
    if depth > DEPTH_MAX {
        return Err("the CBOR item is nested too deeply".to_owned());
    }
    let refused = |error: minicbor::decode::Error| error.to_string();
    Ok(match decoder.datatype().map_err(refused)? {
        Type::Bool => json!(decoder.bool().map_err(refused)?),
        Type::Null | Type::Undefined => {
            decoder.skip().map_err(refused)?;
            Value::Null
        }
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => json!(decoder.u64().map_err(refused)?),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => json!(decoder.i64().map_err(refused)?),
        Type::F32 => number(f64::from(decoder.f32().map_err(refused)?)),
        Type::F64 => number(decoder.f64().map_err(refused)?),
        Type::String => json!(decoder.str().map_err(refused)?),
        Type::StringIndef => {
            let parts = decoder.str_iter().map_err(refused)?;
            json!(parts.collect::<Result<String, _>>().map_err(refused)?)
        }
        Type::Array | Type::ArrayIndef => {
            let mut length = decoder.array().map_err(refused)?;
            let mut list = Vec::new();
            while goes_on(decoder, &mut length)? {
                list.push(item(decoder, depth + 1)?);
            }
            Value::Array(list)
        }
        Type::Map | Type::MapIndef => {
            let mut length = decoder.map().map_err(refused)?;
            let mut object = Map::new();
            while goes_on(decoder, &mut length)? {
                let Value::String(key) = item(decoder, depth + 1)? else {
                    return Err("a key of a CBOR map is not a string".to_owned());
                };
                object.insert(key, item(decoder, depth + 1)?);
            }
            Value::Object(object)
        }
        Type::Tag => {
            decoder.tag().map_err(refused)?;
            item(decoder, depth + 1)?
        }
        other => return Err(format!("CBOR items of the type {other} are not supported")),
    })
}

/// JSON has no word for what is not finite; the service refuses the text.
fn number(number: f64) -> Value {
    if number.is_finite() { json!(number) } else { json!(number.to_string()) }
}

/// Whether another element follows; for an indefinite length, the break is consumed.
fn goes_on(decoder: &mut Decoder<'_>, length: &mut Option<u64>) -> Result<bool, String> {
    match length {
        Some(0) => Ok(false),
        Some(left) => {
            *left -= 1;
            Ok(true)
        }
        None => {
            let is_break = decoder.datatype().map_err(|error| error.to_string())? == Type::Break;
            if is_break {
                decoder.skip().map_err(|error| error.to_string())?;
            }
            Ok(!is_break)
        }
    }
}

/// Writes a value; numbers in members that are timestamps get their tag.
pub(super) fn write(value: &Value, is_timestamp: fn(&str) -> bool) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    // Writing to memory cannot fail.
    let Ok(()) = put(&mut encoder, value, false, is_timestamp);
    encoder.into_writer()
}

fn put(
    encoder: &mut Encoder<Vec<u8>>,
    value: &Value,
    tagged: bool,
    is_timestamp: fn(&str) -> bool,
) -> Result<(), Infallible> {
    let done = |_: &mut Encoder<Vec<u8>>| ();
    match value {
        Value::Null => encoder.null().map(done).map_err(never)?,
        Value::Bool(value) => encoder.bool(*value).map(done).map_err(never)?,
        Value::String(text) => encoder.str(text).map(done).map_err(never)?,
        Value::Number(number) => {
            if tagged {
                encoder.tag(IanaTag::Timestamp).map_err(never)?;
            }
            match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => encoder.u64(number).map(done).map_err(never)?,
                (None, Some(number)) => encoder.i64(number).map(done).map_err(never)?,
                (None, None) => encoder.f64(number.as_f64().unwrap_or_default()).map(done).map_err(never)?,
            }
        }
        Value::Array(list) => {
            encoder.array(list.len() as u64).map_err(never)?;
            for value in list {
                put(encoder, value, tagged, is_timestamp)?;
            }
        }
        Value::Object(object) => {
            encoder.map(object.len() as u64).map_err(never)?;
            for (key, value) in object {
                encoder.str(key).map_err(never)?;
                put(encoder, value, is_timestamp(key), is_timestamp)?;
            }
        }
    }
    Ok(())
}

fn never(error: minicbor::encode::Error<Infallible>) -> Infallible {
    // An encoder over a vector has no way to fail; a message would be a defect of the library.
    unreachable!("writing CBOR to memory failed: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_a_round_trip() {
        let value = json!({"a": [1, -2, 2.5, "x", true, null], "Timestamp": 1_700_000_000.5, "b": {}});
        let bytes = write(&value, |name| name == "Timestamp");
        assert_eq!(read(&bytes).expect("read"), value);
        assert!(bytes.windows(2).any(|pair| pair == [0xc1, 0xfb]), "the timestamp is tagged");
    }

    #[test]
    fn indefinite_lengths_are_read() {
        // {_ "a": [_ 1, 2], "b": (_ "x", "y")}
        let bytes =
            [0xbf, 0x61, b'a', 0x9f, 1, 2, 0xff, 0x61, b'b', 0x7f, 0x61, b'x', 0x61, b'y', 0xff, 0xff];
        assert_eq!(read(&bytes).expect("read"), json!({"a": [1, 2], "b": "xy"}));
    }

    #[test]
    fn nonsense_is_refused_without_a_panic() {
        let deep = [0x81; 100];
        for bytes in [
            &[][..],
            &[0xff],
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &deep,
            &[1, 2],
            &[0xa1, 1, 1],
        ] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }
}
