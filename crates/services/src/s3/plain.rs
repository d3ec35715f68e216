//! A request for another S3: in path style, its body whole and out of AWS's chunks. Signatures do not survive this.

use super::address::Address;
use super::body::dechunk;
use crate::wire::{ServiceError, ServiceRequest};
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

/// The path and the body; `headers` say afterwards what the chunks said.
pub(crate) fn plain(
    parts: &Parts,
    body: Bytes,
    headers: &mut HeaderMap,
) -> Result<(String, Bytes), ServiceError> {
    let request = ServiceRequest::from_http(parts, body).of_service("s3");
    let path = match super::address::bucket_of_parts(parts) {
        Some(bucket) => format!("/{bucket}{}", parts.uri.path()),
        None => parts.uri.path().to_owned(),
    };
    // What cannot be addressed here would be refused there in other words.
    Address::of(&request)?;
    if !super::expected::is_chunked(&request) {
        return Ok((path, request.body));
    }
    let (bytes, trailers) = dechunk(&request)?;
    headers.remove("x-amz-decoded-content-length");
    headers.remove("x-amz-trailer");
    let encodings = request.header("content-encoding").unwrap_or_default().split(',').map(str::trim);
    let kept: Vec<&str> =
        encodings.filter(|encoding| !encoding.is_empty() && *encoding != "aws-chunked").collect();
    headers.remove(header::CONTENT_ENCODING);
    set(headers, "content-encoding", &kept.join(", "));
    for (name, value) in trailers.iter().filter(|(name, _)| name.starts_with("x-amz-checksum-")) {
        set(headers, name, value);
    }
    Ok((path, bytes))
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    let (Ok(name), Ok(header)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) else { return };
    if !value.is_empty() {
        headers.insert(name, header);
    }
}
