//! The canonical form: one text for all ways to write the same request.

use http::HeaderMap;
use http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// RFC 3986's unreserved characters stay as they are.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: &AsciiSet = &STRICT.remove(b'/');

/// The canonical request, with the `signed` headers (lower case, in the order of the signature).
pub fn canonical_request(parts: &Parts, signed: &[String], payload_hash: &str, service: &str) -> String {
    let mut text = format!(
        "{}\n{}\n{}\n",
        parts.method,
        canonical_path(parts.uri.path(), service),
        canonical_query(parts.uri.query().unwrap_or_default())
    );
    for name in signed {
        text.push_str(&format!("{name}:{}\n", canonical_value(&parts.headers, name)));
    }
    text.push_str(&format!("\n{}\n{payload_hash}", signed.join(";")));
    text
}

/// S3 signs keys as they are; the others encode the path once more, and take out what means nothing in it.
fn canonical_path(path: &str, service: &str) -> String {
    if service == "s3" {
        let decoded: Vec<u8> = percent_decode_str(path).collect();
        return percent_encoding::percent_encode(&decoded, PATH).to_string();
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let ends_open = path.ends_with('/') && !segments.is_empty();
    let plain = format!("/{}{}", segments.join("/"), if ends_open { "/" } else { "" });
    utf8_percent_encode(&plain, PATH).to_string()
}

/// The parameters in order, without the signature itself.
pub fn canonical_query(query: &str) -> String {
    let encoded = |text: &str| {
        let decoded: Vec<u8> = percent_decode_str(text).collect();
        percent_encoding::percent_encode(&decoded, STRICT).to_string()
    };
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    let mut pairs: Vec<(String, String)> = parameters
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
        .map(|(name, value)| (encoded(name), encoded(value)))
        .filter(|(name, _)| name != "X-Amz-Signature")
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// All values of a header, each with single spaces.
fn canonical_value(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter().map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes());
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    values.collect::<Vec<_>>().join(",")
}
