//! The functions AWS adds to JSONata, and the built-ins replaced because they could hang.
//!
//! Chance comes from the caller: before an evaluation its entropy seeds a generator of the thread,
//! which `$uuid()` and `$random()` draw from, so that the same entropy gives the same result.

use std::cell::RefCell;
use std::sync::LazyLock;

use jlens_core::{Bindings, Error, HostFunction};
use serde_json::Value;

use crate::entropy::{Entropy, JavaRandom, SeededEntropy, uuid_v4};
use crate::intrinsic::{distinct, hash_hex};
use crate::json_syntax;

/// The functions that draw chance.
pub(super) const CHANCE: [&str; 3] = ["random", "shuffle", "uuid"];

/// The most items `$range` gives.
const RANGE_ITEMS_MAX: f64 = 1_000_000.0;

thread_local! {
    static GENERATOR: RefCell<SeededEntropy> = RefCell::new(SeededEntropy::new(0));
}

/// Seeds the generator for the evaluation that follows on this thread.
pub(super) fn seed(seed: u64) {
    GENERATOR.set(SeededEntropy::new(seed));
}

static BINDINGS: LazyLock<Bindings> = LazyLock::new(|| {
    type Body = fn(&[Option<Value>]) -> jlens_core::Result<Option<Value>>;
    let functions: [(&str, &str, Body); 7] = [
        ("partition", "<an:a>", partition),
        ("range", "<nnn:a>", range),
        ("hash", "<ss:s>", hash),
        ("random", "<n?:n>", random),
        ("uuid", "<:s>", uuid),
        ("parse", "<s:x>", parse),
        ("distinct", "<x:x>", distinct_items),
    ];
    let mut bindings = Bindings::new();
    for (name, signature, body) in functions {
        // A signature that does not parse would be found by the first test.
        if let Ok(function) = HostFunction::with_signature(signature, move |args, _| body(args)) {
            bindings = bindings.function(name, function.without_input());
        }
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
    let body = move |args: &[Option<Value>], _: &jlens_core::HostCall<'_>| replace(args, string_bytes_max);
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
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        (number as i64).into()
    } else {
        number.into()
    }
}

fn partition(args: &[Option<Value>]) -> jlens_core::Result<Option<Value>> {
    let (Some(Some(Value::Array(items))), Some(size)) = (args.first(), number(args, 1)) else {
        return Ok(None);
    };
    if size < 1.0 {
        return Err(failure("The second argument of $partition must be a positive integer"));
    }
    let size = size.floor() as usize;
    Ok(Some(items.chunks(size).map(|chunk| Value::Array(chunk.to_vec())).collect()))
}

fn range(args: &[Option<Value>]) -> jlens_core::Result<Option<Value>> {
    let (Some(first), Some(last), Some(step)) = (number(args, 0), number(args, 1), number(args, 2)) else {
        return Ok(None);
    };
    let (first, last, step) = (first.floor(), last.floor(), step.floor());
    if step == 0.0 {
        return Err(failure("The third argument of $range must not be zero"));
    }
    let steps = ((last - first) / step).floor();
    if steps >= RANGE_ITEMS_MAX {
        return Err(Error::new("U1001").with("message", "The range has too many items"));
    }
    if steps < 0.0 {
        return Ok(Some(Value::Array(Vec::new())));
    }
    Ok(Some((0..=steps as u32).map(|index| json_number(first + f64::from(index) * step)).collect()))
}

fn hash(args: &[Option<Value>]) -> jlens_core::Result<Option<Value>> {
    let (Some(Some(Value::String(data))), Some(Some(Value::String(algorithm)))) = (args.first(), args.get(1))
    else {
        return Ok(None);
    };
    match hash_hex(data, algorithm) {
        Some(digest) => Ok(Some(digest.into())),
        None => Err(failure(format!("Invalid hashing algorithm: {algorithm}"))),
    }
}

fn random(args: &[Option<Value>]) -> jlens_core::Result<Option<Value>> {
    let drawn = match number(args, 0) {
        Some(seed) => JavaRandom::new(seed.floor() as i64).next_f64(),
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
    let Some(Some(Value::String(text))) = args.first() else {
        return Ok(None);
    };
    json_syntax::check(text).map_err(|error| failure(error.full_message()))?;
    serde_json::from_str(text).map(Some).map_err(|error| failure(error.to_string()))
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
