//! The functions on numbers. Fractions are rounded as Java's `Math.round` does: halves upwards.

use serde_json::Value;

use crate::entropy::{Entropy, JavaRandom};

/// An integer argument.
pub(super) fn integer(value: &Value) -> Result<i64, String> {
    match (value.as_i64(), value.as_f64()) {
        (Some(integer), _) => Ok(integer),
        // The conversion saturates, as Java's does.
        (None, Some(float)) => Ok((float + 0.5).floor() as i64),
        (None, None) => Err(format!("The argument must be a number, but was: {value}")),
    }
}

/// An integer argument in the range of Java's `int`.
fn int(value: &Value) -> Result<i32, String> {
    let integer = integer(value)?;
    i32::try_from(integer).map_err(|_| format!("The number {integer} is out of the range of an integer"))
}

pub(super) fn add(first: &Value, second: &Value) -> Result<Value, String> {
    let (first, second) = (int(first)?, int(second)?);
    match first.checked_add(second) {
        Some(sum) => Ok(sum.into()),
        None => Err(format!("The sum of {first} and {second} is out of the range of an integer")),
    }
}

pub(super) fn random(
    start: &Value,
    end: &Value,
    seed: Option<&Value>,
    entropy: &mut dyn Entropy,
) -> Result<Value, String> {
    let (start, end) = (int(start)?, int(end)?);
    if start >= end {
        return Err(format!("The start {start} must be less than the end {end}"));
    }
    let seed = match seed {
        Some(seed) => integer(seed)?,
        None => entropy.next_u64() as i64,
    };
    Ok(JavaRandom::new(seed).next_between(start, end).into())
}
