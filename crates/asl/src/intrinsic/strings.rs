//! The functions on strings and JSON text.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::json_syntax;
use crate::jsonpath::java_string;

/// The longest text that `Base64Encode`, `Base64Decode` and `Hash` take.
const TEXT_CHARS_MAX: usize = 10_000;

/// Resolves `\'`, `\{`, `\}` and `\\`; any other backslash stays.
pub(super) fn unescape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match (c, characters.peek()) {
            ('\\', Some(&escaped @ ('\'' | '{' | '}' | '\\'))) => {
                result.push(escaped);
                characters.next();
            }
            _ => result.push(c),
        }
    }
    result
}

/// Whether a backslash stands before anything but what it may escape.
pub(super) fn has_open_escape(text: &str) -> bool {
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c == '\\' && !matches!(characters.next(), Some('\'' | '{' | '}' | '\\')) {
            return true;
        }
    }
    false
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("The argument must be a string, but was: {value}"))
}

fn short_text(value: &Value) -> Result<&str, String> {
    let text = text(value)?;
    if text.chars().count() > TEXT_CHARS_MAX {
        return Err(format!("The argument is longer than {TEXT_CHARS_MAX} characters"));
    }
    Ok(text)
}

/// Replaces each `{}` of the template by the next value, as Java prints it.
pub(super) fn format(template: &Value, values: &[Cow<'_, Value>]) -> Result<Value, String> {
    let template = text(template)?;
    let mut result = String::with_capacity(template.len());
    let mut values = values.iter();
    let mut rest = template;
    let mismatch = || "The number of arguments does not match the number of occurrences of {}".to_owned();
    while let Some(index) = rest.find(['\\', '{']) {
        result.push_str(&rest[..index]);
        rest = &rest[index..];
        if let Some(after) = rest.strip_prefix("{}") {
            result.push_str(&java_string(values.next().ok_or_else(mismatch)?));
            rest = after;
        } else {
            let escaped = ["\\'", "\\{", "\\}", "\\\\"].iter().any(|escape| rest.starts_with(escape));
            let shown = usize::from(escaped);
            result.push_str(&rest[shown..shown + 1]);
            rest = &rest[shown + 1..];
        }
    }
    result.push_str(rest);
    match values.next() {
        None => Ok(result.into()),
        Some(_) => Err(mismatch()),
    }
}

/// Every character of `delimiters` splits; empty parts are dropped.
pub(super) fn split(value: &Value, delimiters: &Value) -> Result<Value, String> {
    let (value, delimiters) = (text(value)?, text(delimiters)?);
    let parts = value.split(|c| delimiters.contains(c)).filter(|part| !part.is_empty());
    Ok(parts.map(Value::from).collect())
}

pub(super) fn base64_encode(value: &Value) -> Result<Value, String> {
    Ok(STANDARD.encode(short_text(value)?).into())
}

pub(super) fn base64_decode(value: &Value) -> Result<Value, String> {
    // MIME base64 skips white space and everything else outside the alphabet.
    let mut encoded: String =
        short_text(value)?.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/')).collect();
    while !encoded.len().is_multiple_of(4) {
        encoded.push('=');
    }
    match STANDARD.decode(encoded) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned().into()),
        Err(_) => Err("The argument is not valid Base64".into()),
    }
}

pub(super) fn hash(data: &Value, algorithm: &Value) -> Result<Value, String> {
    let written;
    let data = match data {
        Value::String(_) => short_text(data)?,
        other => {
            written = Value::String(other.to_string());
            short_text(&written)?
        }
    };
    hash_hex(data, text(algorithm)?).map(Value::from).ok_or_else(|| {
        format!("The algorithm {algorithm} is not one of MD5, SHA-1, SHA-256, SHA-384, SHA-512")
    })
}

/// The digest of a text in lower-case hexadecimal; none if there is no such algorithm.
pub(crate) fn hash_hex(data: &str, algorithm: &str) -> Option<String> {
    Some(match algorithm {
        "MD5" => hex::encode(Md5::digest(data)),
        "SHA-1" => hex::encode(Sha1::digest(data)),
        "SHA-256" => hex::encode(Sha256::digest(data)),
        "SHA-384" => hex::encode(Sha384::digest(data)),
        "SHA-512" => hex::encode(Sha512::digest(data)),
        _ => return None,
    })
}

pub(super) fn json_merge(first: &Value, second: &Value, deep: &Value) -> Result<Value, String> {
    if deep != &Value::Bool(false) {
        return Err("Only shallow merging is supported: the third argument must be false".into());
    }
    let (Value::Object(first), Value::Object(second)) = (first, second) else {
        return Err("The first two arguments must be JSON objects".into());
    };
    let mut merged = first.clone();
    merged.extend(second.iter().map(|(key, value)| (key.clone(), value.clone())));
    Ok(Value::Object(merged))
}

pub(super) fn string_to_json(value: &Value) -> Result<Value, String> {
    let text = text(value)?;
    json_syntax::check(text).map_err(|error| error.full_message())?;
    serde_json::from_str(text).map_err(|error| error.to_string())
}
