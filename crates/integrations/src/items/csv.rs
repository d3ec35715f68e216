//! Records of a CSV file, by the rules of the ItemReader's documentation.
//!
//! A record ends with a newline; quotes are optional and a quoted field may hold delimiters and newlines; `""` in it is a quote;
//! a backslash escapes only a backslash, a quote and the delimiter, any other backslash vanishes.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

/// Longest header row, AWS's bound.
const HEADER_BYTES_MAX: usize = 10 * 1024;

/// The record at the start of the text and its length; `None`: more text is needed.
pub(super) fn record(text: &[u8], delimiter: u8, no_more: bool) -> Option<(Vec<String>, usize)> {
    let mut fields = Vec::new();
    let (mut field, mut quoted, mut fresh) = (Vec::new(), false, true);
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let next = text.get(at + 1).copied();
        if next.is_none() && !no_more && matches!(byte, b'\\' | b'"' | b'\r') {
            return None;
        }
        at += 1;
        match byte {
            b'\\' => {
                if let Some(escaped) = next.filter(|next| matches!(next, b'\\' | b'"') || *next == delimiter)
                {
                    field.push(escaped);
                    at += 1;
                }
            }
            b'"' if quoted && next == Some(b'"') => {
                field.push(b'"');
                at += 1;
            }
            b'"' if quoted => quoted = false,
            b'"' if fresh => quoted = true,
            b'\n' if !quoted => {
                fields.push(owned(&field));
                return Some((fields, at));
            }
            b'\r' if !quoted && matches!(next, Some(b'\n') | None) => continue,
            _ if byte == delimiter && !quoted => {
                fields.push(owned(&field));
                field.clear();
                fresh = true;
                continue;
            }
            _ => field.push(byte),
        }
        fresh = false;
    }
    if !no_more {
        return None;
    }
    fields.push(owned(&field));
    Some((fields, text.len()))
}

fn owned(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

/// Headers as they are used; or AWS's complaint.
pub(super) fn headers(names: Vec<String>) -> Result<Vec<Arc<str>>, String> {
    if names.iter().map(String::len).sum::<usize>() > HEADER_BYTES_MAX {
        return Err("CSV headers cannot exceed 10 KiB.".into());
    }
    let mut seen = HashSet::new();
    if !names.iter().all(|name| seen.insert(name.as_str())) {
        return Err("CSV headers cannot contain duplicates.".into());
    }
    Ok(names.into_iter().map(Arc::from).collect())
}

/// A row as an item: missing fields are empty, surplus ones are dropped. The members stand in the order of Java's hash map,
/// as AWS writes them (recorded: an empty header comes before `H1`).
pub(super) fn item(headers: &[Arc<str>], fields: Vec<String>) -> Value {
    let mut fields = fields.into_iter();
    let mut members: Vec<(u32, String, Value)> = headers
        .iter()
        .map(|name| (bucket(name, headers.len()), name.to_string(), fields.next().unwrap_or_default().into()))
        .collect();
    members.sort_by_key(|(bucket, ..)| *bucket);
    Value::Object(members.into_iter().map(|(_, name, value)| (name, value)).collect())
}

/// Bucket of a name in a `java.util.HashMap` of so many entries, which grows at three quarters of its capacity.
fn bucket(name: &str, entries: usize) -> u32 {
    let hash =
        name.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    let mut capacity = 16_u32;
    while entries as u64 * 4 > u64::from(capacity) * 3 {
        capacity *= 2;
    }
    (hash ^ (hash >> 16)) & (capacity - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str, delimiter: u8) -> Vec<Vec<String>> {
        let mut rest = text.as_bytes();
        let mut all = Vec::new();
        while !rest.is_empty() {
            let Some((fields, used)) = record(rest, delimiter, true) else { break };
            all.push(fields);
            rest = &rest[used..];
        }
        all
    }

    #[test]
    fn quotes_and_escapes_follow_the_documented_rules() {
        let cases = [
            ("a,b\n,,,\n   \n", b',', vec![vec!["a", "b"], vec!["", "", "", ""], vec!["   "]]),
            ("\"a,\"\"b\"\"\n\",c\r\n", b',', vec![vec!["a,\"b\"\n", "c"]]),
            (r"x\,y,\\,\n", b',', vec![vec!["x,y", r"\", "n"]]),
            ("a|'b'|", b'|', vec![vec!["a", "'b'", ""]]),
        ];
        for (text, delimiter, expected) in cases {
            assert_eq!(records(text, delimiter), expected, "{text}");
        }
    }

    #[test]
    fn a_record_is_not_told_before_its_end_is_there() {
        for text in ["a,b", "\"a\n", "a\\", "\"a\"", "a\r"] {
            assert_eq!(record(text.as_bytes(), b',', false), None, "{text}");
        }
    }
}
