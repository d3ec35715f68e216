//! What a value becomes in JSON.
//!
//! Numbers, booleans and text as they are; timestamps milliseconds since 1970; dates, times and UUIDs as text; decimals numbers;
//! bytes that are no text in base64. What JSON has no number for (NaN, the infinities) is text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

use super::encoding::Raw;
use super::schema::{Leaf, Meaning, Physical};

/// The Julian day of 1 January 1970.
const JULIAN_1970: i64 = 2_440_588;

/// Longest decimal; no writer has more than 32.
const DECIMAL_BYTES_MAX: usize = 64;

/// A value of a column.
pub(super) fn json(raw: Raw, leaf: Leaf) -> Value {
    match (raw, leaf.meaning) {
        (Raw::Boolean(value), _) => value.into(),
        (Raw::Float(value), _) => float(value),
        (Raw::Double(value), _) => double(value),
        (Raw::Integer(value), meaning) => integer(value, meaning, leaf.physical),
        (Raw::Bytes(bytes), _) if leaf.physical == Physical::Int96 => int96(&bytes).into(),
        (Raw::Bytes(bytes), Meaning::Decimal { scale }) if bytes.len() <= DECIMAL_BYTES_MAX => {
            decimal(&bytes, scale)
        }
        (Raw::Bytes(bytes), Meaning::Uuid) => uuid::Uuid::from_slice(&bytes)
            .map_or_else(|_| STANDARD.encode(&bytes), |uuid| uuid.to_string())
            .into(),
        (Raw::Bytes(bytes), Meaning::Float16) => half(&bytes),
        (Raw::Bytes(bytes), Meaning::Text) => String::from_utf8_lossy(&bytes).into(),
        // Some writers do not say that text is text.
        (Raw::Bytes(bytes), _) if leaf.physical == Physical::Bytes => match std::str::from_utf8(&bytes) {
            Ok(text) => text.into(),
            Err(_) => STANDARD.encode(&bytes).into(),
        },
        (Raw::Bytes(bytes), _) => STANDARD.encode(&bytes).into(),
    }
}

fn integer(value: i64, meaning: Meaning, physical: Physical) -> Value {
    match meaning {
        Meaning::Unsigned if physical == Physical::Int32 => (value as u32).into(),
        Meaning::Unsigned => (value as u64).into(),
        Meaning::Decimal { scale } => decimal(&value.to_be_bytes(), scale),
        Meaning::Date => date(value).into(),
        Meaning::Time { units } => time(value, units).into(),
        Meaning::Timestamp { units } => value.div_euclid(units / 1_000).into(),
        Meaning::Plain | Meaning::Text | Meaning::Uuid | Meaning::Float16 => value.into(),
    }
}

/// The shortest number that is this one: 0.1, not 0.10000000149011612.
fn float(value: f32) -> Value {
    double(value.to_string().parse().unwrap_or(f64::from(value)))
}

fn double(value: f64) -> Value {
    Number::from_f64(value).map_or_else(
        || {
            let text = if value.is_nan() {
                "NaN"
            } else if value > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            };
            text.into()
        },
        Value::Number,
    )
}

fn half(bytes: &[u8]) -> Value {
    let bits = bytes.iter().rev().fold(0_u16, |bits, byte| bits << 8 | u16::from(*byte));
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction / 1024.0 * 2_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    };
    double(if bits >> 15 == 1 { -size } else { size })
}

/// A number in two's complement, the greatest byte first, so many digits of which are behind the point.
fn decimal(bytes: &[u8], scale: u32) -> Value {
    let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    let mut digits = vec![0_u8];
    let mut carry = u16::from(negative);
    let mut size = bytes.to_vec();
    if negative {
        for byte in size.iter_mut().rev() {
            let sum = u16::from(!*byte) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
    }
    for byte in size {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 10) as u8;
            carry /= 10;
        }
        while carry > 0 {
            digits.push((carry % 10) as u8);
            carry /= 10;
        }
    }
    let scale = scale as usize;
    while digits.len() <= scale {
        digits.push(0);
    }
    let mut text = if negative { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.iter().enumerate().rev() {
        text.push(char::from(b'0' + digit));
        if place == scale && scale > 0 {
            text.push('.');
        }
    }
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

fn int96(bytes: &[u8]) -> i64 {
    let number = |from: usize, to: usize| {
        bytes
            .get(from..to)
            .unwrap_or_default()
            .iter()
            .rev()
            .fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let (nanoseconds, day) = (number(0, 8) as i64, i64::from(number(8, 12) as u32));
    (day - JULIAN_1970) * 86_400_000 + nanoseconds.div_euclid(1_000_000)
}

fn date(days: i64) -> String {
    let epoch = jiff::civil::date(1970, 1, 1);
    match epoch.checked_add(jiff::SignedDuration::from_hours(days.clamp(-10_000_000, 10_000_000) * 24)) {
        Ok(date) => date.to_string(),
        Err(_) => days.to_string(),
    }
}

fn time(value: i64, units: i64) -> String {
    let (seconds, part) = (value.div_euclid(units), value.rem_euclid(units));
    let fraction = match units {
        1_000 => format!("{part:03}"),
        1_000_000 => format!("{part:06}"),
        _ => format!("{part:09}"),
    };
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{:02}:{:02}:{:02}{point}{fraction}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
