//! Removing duplicates by deep equality, in time linear in the size of the values.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

/// Keeps the first of equal values, in order.
pub(crate) fn distinct(items: &[Value]) -> Vec<&Value> {
    let mut seen: HashMap<u64, Vec<usize>> = HashMap::with_capacity(items.len());
    let mut kept: Vec<&Value> = Vec::new();
    for item in items {
        let bucket = seen.entry(digest(item)).or_default();
        if bucket.iter().any(|&index| equal(kept[index], item)) {
            continue;
        }
        bucket.push(kept.len());
        kept.push(item);
    }
    kept
}

/// Deep equality as JSON has it: numbers by value, objects whatever their order.
pub(crate) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| equal(left, right)))
        }
        _ => left == right,
    }
}

/// Equal values have equal digests. The hasher has fixed keys, so this is deterministic.
fn digest(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    match value {
        Value::Null => 0u8.hash(&mut hasher),
        Value::Bool(value) => (1u8, value).hash(&mut hasher),
        Value::Number(number) => {
            // Adding zero makes both zeros the same bits.
            (2u8, (number.as_f64().unwrap_or(0.0) + 0.0).to_bits()).hash(&mut hasher);
        }
        Value::String(text) => (3u8, text).hash(&mut hasher),
        Value::Array(items) => {
            (4u8, items.len()).hash(&mut hasher);
            items.iter().for_each(|item| digest(item).hash(&mut hasher));
        }
        Value::Object(object) => {
            let mut sum = 0u64;
            for (key, value) in object {
                let mut entry = DefaultHasher::new();
                (key, digest(value)).hash(&mut entry);
                sum = sum.wrapping_add(entry.finish());
            }
            (5u8, sum).hash(&mut hasher);
        }
    }
    hasher.finish()
}
