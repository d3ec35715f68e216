//! Conditional requests: `If-Match` and its kin, for reading, for the source of a copy, and for writing.

use super::errors::{no_such_key, precondition_failed};
use super::text::parse_http_date;
use super::versions::Object;
use crate::wire::{ServiceError, ServiceRequest};

/// Whether the object is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    NotModified,
}

/// Evaluates the conditions of a read. `prefix` is `x-amz-copy-source-` for the source of a copy.
pub(super) fn for_read(
    request: &ServiceRequest,
    prefix: &str,
    object: &Object,
) -> Result<Verdict, ServiceError> {
    let header = |name: &str| request.header(&format!("{prefix}{name}"));
    let seconds = object.modified.div_euclid(1000);
    let date = |name: &str| header(name).and_then(parse_http_date);
    // The tag outweighs the date, as RFC 9110 has it.
    match header("if-match") {
        Some(tags) if !matches(tags, &object.etag) => return Err(precondition_failed("If-Match")),
        Some(_) => {}
        None if date("if-unmodified-since").is_some_and(|date| seconds > date) => {
            return Err(precondition_failed("If-Unmodified-Since"));
        }
        None => {}
    }
    let is_unmodified = match header("if-none-match") {
        Some(tags) => matches(tags, &object.etag),
        None => date("if-modified-since").is_some_and(|date| seconds <= date),
    };
    match (is_unmodified, prefix) {
        (false, _) => Ok(Verdict::Send),
        (true, "") => Ok(Verdict::NotModified),
        (true, _) => Err(precondition_failed("x-amz-copy-source-If-None-Match")),
    }
}

/// The conditions of a write, taken from the request so that the transaction can evaluate them.
#[derive(Debug, Clone, Default)]
pub(super) struct WriteConditions {
    if_match: Option<String>,
    if_none_match: Option<String>,
}

impl WriteConditions {
    pub fn of(request: &ServiceRequest) -> Result<Self, ServiceError> {
        let header = |name: &str| request.header(name).map(str::to_owned);
        let conditions = Self { if_match: header("if-match"), if_none_match: header("if-none-match") };
        // S3 writes conditionally on absence only, not on another tag.
        if conditions.if_none_match.as_deref().is_some_and(|tags| tags.trim() != "*") {
            return Err(super::errors::header_not_implemented("If-None-Match"));
        }
        Ok(conditions)
    }

    pub fn check(&self, key: &str, latest: Option<&Object>) -> Result<(), ServiceError> {
        let existing = latest.filter(|object| !object.is_marker);
        if self.if_none_match.is_some() && existing.is_some() {
            return Err(precondition_failed("If-None-Match"));
        }
        match (&self.if_match, existing) {
            (Some(_), None) => Err(no_such_key(key)),
            (Some(tags), Some(object)) if !matches(tags, &object.etag) => {
                Err(precondition_failed("If-Match"))
            }
            _ => Ok(()),
        }
    }
}

fn matches(tags: &str, etag: &str) -> bool {
    tags.split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/").trim_matches('"') == etag)
}
