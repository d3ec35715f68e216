//! How S3 writes times, documents and encoded keys.

use crate::wire::{ServiceResponse, Xml};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

/// `2026-01-02T03:04:05.000Z`; S3 keeps whole seconds.
pub(super) fn iso(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

/// Milliseconds as the database keeps them.
pub(super) fn iso_ms(milliseconds: i64) -> String {
    iso(Timestamp::from_millisecond(milliseconds).unwrap_or_default())
}

/// `Fri, 02 Jan 2026 03:04:05 GMT`.
pub(super) fn http_date(milliseconds: i64) -> String {
    let time = Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A date of a conditional header in whole seconds. One that cannot be read does not count, as on AWS.
pub(super) fn parse_http_date(text: &str) -> Option<i64> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(Timestamp::as_second)
}

/// A key for `encoding-type=url`.
pub(super) fn encode_key(key: &str) -> String {
    utf8_percent_encode(key, KEY).to_string()
}

/// A document in S3's namespace.
pub(super) fn document(root: &str, children: Vec<Xml>) -> ServiceResponse {
    let inner = Xml::write_all(&children);
    let body =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"{NAMESPACE}\">{inner}</{root}>");
    ServiceResponse::bytes(body)
}

/// An entity tag with its quotation marks.
pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// A key as notifications show it: encoded like a form's value.
pub(super) fn encode_form(key: &str) -> String {
    utf8_percent_encode(key, KEY).to_string().replace("%20", "+")
}
