//! The functions on arrays.

use serde_json::Value;

use super::distinct::{distinct, equal};
use super::numbers::integer;

/// The most elements `States.ArrayRange` gives.
const RANGE_ITEMS_MAX: i64 = 1000;

fn array(value: &Value) -> Result<&Vec<Value>, String> {
    value.as_array().ok_or_else(|| format!("The first argument must be an array, but was: {value}"))
}

pub(super) fn contains(items: &Value, item: &Value) -> Result<Value, String> {
    Ok(array(items)?.iter().any(|one| equal(one, item)).into())
}

pub(super) fn get_item(items: &Value, index: &Value) -> Result<Value, String> {
    let (items, index) = (array(items)?, integer(index)?);
    let item = usize::try_from(index).ok().and_then(|index| items.get(index));
    item.cloned().ok_or_else(|| format!("The index {index} is out of bounds for length {}", items.len()))
}

pub(super) fn length(items: &Value) -> Result<Value, String> {
    Ok(array(items)?.len().into())
}

pub(super) fn partition(items: &Value, size: &Value) -> Result<Value, String> {
    let (items, size) = (array(items)?, integer(size)?);
    match usize::try_from(size) {
        Ok(size) if size > 0 => Ok(items.chunks(size).map(|chunk| Value::Array(chunk.to_vec())).collect()),
        _ => Err(format!("The chunk size must be a positive integer, but was: {size}")),
    }
}

pub(super) fn range(first: &Value, last: &Value, step: &Value) -> Result<Value, String> {
    let (first, last, step) = (integer(first)?, integer(last)?, integer(step)?);
    if step == 0 {
        return Err("The step must not be zero".into());
    }
    let distance = last.checked_sub(first).ok_or("The range is out of bounds")?;
    let count = match distance.checked_div(step) {
        Some(steps) if distance == 0 || (distance < 0) == (step < 0) => steps.saturating_add(1),
        _ => 0,
    };
    if count > RANGE_ITEMS_MAX {
        return Err(format!("The range has more than {RANGE_ITEMS_MAX} elements"));
    }
    Ok((0..count).map(|index| first + index * step).collect())
}

pub(super) fn unique(items: &Value) -> Result<Value, String> {
    Ok(distinct(array(items)?).into_iter().cloned().collect())
}
