//! The functions AWS adds to JSONata, and the built-ins replaced because they could hang.
//!
//! Chance comes from the caller: before an evaluation its entropy seeds a generator of the thread,
//! which `$uuid()` and `$random()` draw from, so that the same entropy gives the same result.

use std::cell::RefCell;
use std::sync::LazyLock;

use jlens_core::{Bindings, Error, HostCall, HostFunction};
use serde_json::Value;

use super::error::with_whole_numbers;
use crate::entropy::{Entropy, JavaRandom, SeededEntropy, uuid_v4};
use crate::intrinsic::{distinct, hash_hex};
use crate::json;

/// The functions that draw chance.
pub(super) const CHANCE: [&str; 3] = ["random", "shuffle", "uuid"];

/// The most items `$range` gives on AWS before the evaluation exceeds its memory.
const RANGE_ITEMS_MAX: f64 = 360_145.0;

thread_local! {
    static GENERATOR: RefCell<SeededEntropy> = RefCell::new(SeededEntropy::new(0));
}

/// Seeds the generator for the evaluation that follows on this thread.
pub(super) fn seed(seed: u64) {
    GENERATOR.set(SeededEntropy::new(seed));
}

static BINDINGS: LazyLock<Bindings> = LazyLock::new(|| {
    type Body = fn(&[Option<Value>]) -> jlens_core::Result<Option<Value>>;
    // AWS's functions check what they are given themselves: what is left out makes most of them undefined.
    let functions: [(&str, usize, Body); 6] = [
        ("partition", 2, partition),
        ("range", 3, range),
        ("hash", 2, hash),
        ("random", 1, random),
        ("uuid", 0, uuid),
        ("parse", 1, parse),
    ];
    let mut bindings = Bindings::new();
    for (name, arity, body) in functions {
        let checked = move |args: &[Option<Value>], _: &HostCall<'_>| match args.get(arity) {
            Some(_) => Err(mismatch(arity)),
            None => body(args),
        };
        bindings = bindings.function(name, HostFunction::new(arity, checked).without_input());
    }
    // A signature that does not parse would be found by the first test.
    if let Ok(function) = HostFunction::with_signature("<x:x>", |args, _| distinct_items(args)) {
        bindings = bindings.function("distinct", function.without_input());
    }
    bindings
});

/// AWS has no `$eval`; naming it gives the error of calling what is no function.
static WITHOUT_EVAL: LazyLock<Bindings> = LazyLock::new(|| BINDINGS.clone().var("eval", Value::Null));

/// The functions, to be cloned for each evaluation at the cost of a counter, unless `$eval` is named.
pub(super) fn bindings(names_eval: bool) -> &'static Bindings {
    if names_eval { &WITHOUT_EVAL } else { &BINDINGS }
}

/// The functions for an expression that passes `$replace` about as a value. The built-in checks the size
/// of its result only after building it, and calls through a variable cannot be foreseen.
pub(super) fn bindings_with_replace(bindings: Bindings, string_bytes_max: usize) -> Bindings {
    let body = move |args: &[Option<Value>], _: &HostCall<'_>| replace(args, string_bytes_max);
    match HostFunction::with_signature("<s-(sf)(sf)n?:s>", body) {
        Ok(function) => bindings.function("replace", function.without_input()),
        Err(_) => bindings,
    }
}

fn replace(args: &[Option<Value>], string_bytes_max: usize) -> jlens_core::Result<Option<Value>> {
    let text = |index: usize| args.get(index).and_then(Option::as_ref).and_then(Value::as_str);
    let Some(subject) = text(0) else {
        return Ok(None);
    };
    let (Some(pattern), Some(replacement)) = (text(1), text(2)) else {
        return Err(failure("$replace passed as a value takes strings only"));
    };
    if pattern.is_empty() {
        return Err(Error::new("D3010").with("value", "").with("index", 2));
    }
    let count = number(args, 3).map_or(usize::MAX, |limit| limit.max(0.0) as usize);
    let found = subject.matches(pattern).take(count).count();
    if found.saturating_mul(replacement.len()) > string_bytes_max {
        return Err(Error::new("U1001").with("message", "The string would be too long"));
    }
    Ok(Some(subject.replacen(pattern, replacement, count).into()))
}

/// The functions and JSONata's own `$eval`, for the official suite.
#[cfg(test)]
pub(super) fn bindings_with_eval() -> &'static Bindings {
    &BINDINGS
}

static BUILT_IN: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| jlens_core::function_catalog().into_iter().map(|function| function.name).collect());

/// Whether a name is a function of JSONata or AWS, unless a variable of that name exists.
pub(super) fn is_function(name: &str) -> bool {
    name == "eval" || BINDINGS.get_function(name).is_some() || BUILT_IN.contains(&name)
}

fn failure(message: impl Into<String>) -> Error {
    Error::new("D3137").with("message", message.into())
}

fn number(args: &[Option<Value>], index: usize) -> Option<f64> {
    args.get(index)?.as_ref()?.as_f64()
}

/// A whole number as JSON, without a fraction where it has none.
pub(super) fn json_number(number: f64) -> Value {
    with_whole_numbers(number.into())
}

/// JSONata's error for an argument of the wrong type, counted here from 0. The engine adds the function's name.
fn mismatch(index: usize) -> Error {
    Error::new("T0410").with("index", index + 1)
}

fn given(args: &[Option<Value>], index: usize) -> Option<&Value> {
    args.get(index)?.as_ref()
}

/// A number without its fraction, as AWS takes it: -1.7 is -1. None if there is no such argument.
fn whole(args: &[Option<Value>], index: usize) -> jlens_core::Result<Option<f64>> {
    match given(args, index) {
        None => Ok(None),
        Some(value) => value.as_f64().map(|number| Some(number.trunc())).ok_or_else(|| mismatch(index)),
    }
}

fn text(args: &[Option<Value>], index: usize) -> jlens_core::Result<Option<&str>> {
    match given(args, index) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| mismatch(index)),
    }
}

fn partition(args: &[Option<Value>]) -> jlens_core::Result<Option<Value>> {
    let items = match given(args, 0) {
        None => return Ok(None),
        Some(Value::Array(items)) => items,
        // The words of AWS: it does not say of what the array must be.
        Some(_) => return Err(Error::new("T0412").with("index", 1)),
    };
    if items.is_empty() {
        return Ok(None);
    }
    match whole(args, 1)? {
        None => Ok(Some(Value::Array(vec![Value::Array(items.clone())]))),
        Some(size) if size < 0.0 => Err(failure("Second argument must be zero or greater")),
        Some(0.0) => Ok(None),
        Some(size) => {
            let chunks = items.chunks(size as usize);
            Ok(Some(chunks.map(|chunk| Value::Array(chunk.to_vec())).collect()))
        }
    }
}

fn range(args: &[Option<Value>]) -> jlens_core::Result<Option<Value>> {
    let first = whole(args, 0)?.ok_or_else(|| mismatch(0))?;
    let last = whole(args, 1)?.ok_or_else(|| mismatch(1))?;
    let Some(step) = whole(args, 2)?.filter(|step| *step != 0.0) else {
        return Ok(None);
    };
    let steps = ((last - first) / step).floor();
    if steps >= RANGE_ITEMS_MAX {
        return Err(Error::new("U1001").with("message", "The range has too many items"));
    }
    let item = |index: u32| json_number(first + f64::from(index) * step);
    match steps {
        0.0 => Ok(Some(item(0))),
        steps if steps > 0.0 => Ok(Some((0..=steps as u32).map(item).collect())),
        _ => Ok(None),
    }
}

fn hash(args: &[Option<Value>]) -> jlens_core::Result<Option<Value>> {
    let data = text(args, 0)?.ok_or_else(|| mismatch(0))?;
    let Some(algorithm) = text(args, 1)? else {
        return Ok(None);
    };
    match hash_hex(data, algorithm) {
        Some(digest) => Ok(Some(digest.into())),
        None => Err(failure(format!(
            "Hash algorithm '{algorithm}' must be one of SHA-1, SHA-384, SHA-256, SHA-512, MD5"
        ))),
    }
}

fn random(args: &[Option<Value>]) -> jlens_core::Result<Option<Value>> {
    let drawn = match whole(args, 0)? {
        Some(seed) => JavaRandom::new(seed as i64).next_f64(),
        None => {
            let bits = GENERATOR.with_borrow_mut(Entropy::next_u64);
            (bits >> 11) as f64 / (1u64 << 53) as f64
        }
    };
    Ok(Some(drawn.into()))
}

fn uuid(_: &[Option<Value>]) -> jlens_core::Result<Option<Value>> {
    Ok(Some(GENERATOR.with_borrow_mut(|generator| uuid_v4(generator)).into()))
}

fn parse(args: &[Option<Value>]) -> jlens_core::Result<Option<Value>> {
    let Some(text) = text(args, 0)? else {
        return Ok(None);
    };
    let unique = json::read(text).is_ok_and(|node| node.has_no_duplicates());
    match unique.then(|| serde_json::from_str(text).ok()).flatten() {
        Some(value) => Ok(Some(value)),
        None => Err(failure("Invalid JSON")),
    }
}

/// As the built-in, but by hashing: comparing each pair takes minutes for 100,000 items.
fn distinct_items(args: &[Option<Value>]) -> jlens_core::Result<Option<Value>> {
    match args.first() {
        Some(Some(Value::Array(items))) if items.len() > 1 => {
            Ok(Some(distinct(items).into_iter().cloned().collect()))
        }
        other => Ok(other.cloned().flatten()),
    }
}
