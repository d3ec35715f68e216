//! GetObject and HeadObject: ranges, parts, conditions and the overrides of response headers.

use super::blobs::{ReadError, Segment};
use super::checksum::Kind;
use super::conditions::{Verdict, for_read};
use super::outgoing::send;
use super::reply::insert;
use super::text::{http_date, quoted};
use super::versions::{self, Bucket, Object, find_bucket};
use super::{Call, S3, errors};
use crate::wire::{ServiceError, ServiceRequest, ServiceResponse};
use std::ops::Range;

/// How often an object is looked up again because it was replaced between row and file.
pub(super) const READ_ATTEMPTS_MAX: usize = 8;
/// More than this is made while it is sent, if the client came over HTTP.
const WHOLE_BYTES_MAX: u64 = 1024 * 1024;
/// Callers inside the process are given no more than this at once; they read larger objects in ranges.
const READ_BYTES_MAX: u64 = 512 * 1024 * 1024;

const OVERRIDES: [(&str, &str); 6] = [
    ("response-cache-control", "cache-control"),
    ("response-content-disposition", "content-disposition"),
    ("response-content-encoding", "content-encoding"),
    ("response-content-language", "content-language"),
    ("response-content-type", "content-type"),
    ("response-expires", "expires"),
];

/// The bytes that are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Extent {
    range: Range<u64>,
    is_partial: bool,
    parts_count: Option<usize>,
}

impl S3 {
    /// What a read finds at this moment.
    pub(super) fn found(
        &self,
        account: &str,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> Result<(Bucket, Object, Vec<Segment>), ServiceError> {
        self.database.read(|connection| {
            let bucket = find_bucket(connection, account, bucket)?;
            let object = versions::find(connection, &bucket, key, version)?;
            let segments = versions::segments(connection, object.id)?;
            Ok((bucket, object, segments))
        })
    }

    pub(super) async fn get_object(
        &self,
        call: &Call,
        is_head: bool,
    ) -> Result<ServiceResponse, ServiceError> {
        let (address, request) = (&call.address, &call.request);
        for _ in 0..READ_ATTEMPTS_MAX {
            let version = request.query("versionId");
            let (bucket, object, segments) =
                self.found(&call.account, &address.bucket, &address.key, version)?;
            if for_read(request, "", &object)? == Verdict::NotModified {
                return Ok(not_modified(&bucket, &object));
            }
            let extent = extent(request, &object, &segments)?;
            let length = extent.range.end - extent.range.start;
            if is_head {
                return Ok(answer(request, &bucket, &object, &extent, ServiceResponse::empty()));
            }
            if length > WHOLE_BYTES_MAX && request.sender.is_some() {
                match send(&self.blobs, &segments, extent.range.clone()) {
                    Ok(body) => {
                        return Ok(answer(request, &bucket, &object, &extent, ServiceResponse::stream(body)));
                    }
                    Err(_) => continue,
                }
            }
            if length > READ_BYTES_MAX {
                let message =
                    format!("Objects are read in ranges of at most {READ_BYTES_MAX} bytes by this server.");
                return Err(ServiceError::new(501, "NotImplemented", message));
            }
            match self.blobs.read(segments, extent.range.clone()).await? {
                Ok(bytes) => {
                    return Ok(answer(request, &bucket, &object, &extent, ServiceResponse::bytes(bytes)));
                }
                Err(ReadError::Gone) => {}
                Err(ReadError::Failed(error)) => return Err(ServiceError::internal(error)),
            }
        }
        Err(ServiceError::internal(format!("the bytes of {} are missing", address.resource())))
    }
}

fn not_modified(bucket: &Bucket, object: &Object) -> ServiceResponse {
    let answer = ServiceResponse::empty()
        .with_status(304)
        .with_header("etag", &quoted(&object.etag))
        .with_header("last-modified", &http_date(object.modified));
    if bucket.has_versions() { answer.with_header("x-amz-version-id", &object.version) } else { answer }
}

fn answer(
    request: &ServiceRequest,
    bucket: &Bucket,
    object: &Object,
    extent: &Extent,
    response: ServiceResponse,
) -> ServiceResponse {
    let Range { start, end } = extent.range;
    let mut response = response
        .with_status(if extent.is_partial { 206 } else { 200 })
        .with_header("accept-ranges", "bytes")
        .with_header("content-length", &(end - start).to_string())
        .with_header("etag", &quoted(&object.etag))
        .with_header("last-modified", &http_date(object.modified));
    if extent.is_partial && end > start {
        response =
            response.with_header("content-range", &format!("bytes {start}-{}/{}", end - 1, object.size));
    }
    object.head.response_headers().for_each(|(name, value)| insert(&mut response, &name, value));
    for (parameter, header) in OVERRIDES {
        if let Some(value) = request.query(parameter) {
            insert(&mut response, header, value);
        }
    }
    if bucket.has_versions() {
        insert(&mut response, "x-amz-version-id", &object.version);
    }
    if !object.head.tags.is_empty() {
        insert(&mut response, "x-amz-tagging-count", &object.head.tags.len().to_string());
    }
    if let Some(count) = extent.parts_count {
        insert(&mut response, "x-amz-mp-parts-count", &count.to_string());
    }
    let is_asked =
        request.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("ENABLED"));
    // A checksum of the whole would not fit a part of it.
    if let Some(checksum) = object.head.checksum.as_ref().filter(|_| is_asked && !extent.is_partial) {
        insert(&mut response, checksum.algorithm.header(), &checksum.value);
        insert(&mut response, "x-amz-checksum-type", checksum.kind.name());
        debug_assert!(checksum.kind == Kind::FullObject || checksum.value.contains('-'));
    }
    response
}

fn extent(request: &ServiceRequest, object: &Object, segments: &[Segment]) -> Result<Extent, ServiceError> {
    let whole = Extent { range: 0..object.size, is_partial: false, parts_count: None };
    if let Some(number) = request.query("partNumber") {
        if request.headers.contains_key("range") {
            return Err(errors::invalid_request(
                "Cannot specify both Range header and partNumber query parameter",
            ));
        }
        return part_extent(number, object, segments);
    }
    let Some(header) = request.header("range") else { return Ok(whole) };
    match parse_range(header, object.size) {
        // Several ranges and other units are not for S3: the whole object is sent.
        None => Ok(whole),
        Some(Some(range)) => Ok(Extent { range, is_partial: true, parts_count: None }),
        Some(None) => Err(ServiceError::new(416, "InvalidRange", "The requested range is not satisfiable")
            .with_field("RangeRequested", header)
            .with_field("ActualObjectSize", object.size.to_string())),
    }
}

fn part_extent(number: &str, object: &Object, segments: &[Segment]) -> Result<Extent, ServiceError> {
    let invalid = || {
        errors::invalid_argument(
            "Part number must be an integer between 1 and 10000, inclusive",
            "partNumber",
            number,
        )
    };
    let position = number.parse::<usize>().ok().filter(|number| *number >= 1).ok_or_else(invalid)?;
    let is_multipart = object.etag.contains('-');
    let sizes: Vec<u64> =
        if is_multipart { segments.iter().map(|segment| segment.size).collect() } else { vec![object.size] };
    let Some(size) = sizes.get(position - 1) else {
        return Err(ServiceError::new(
            416,
            "InvalidPartNumber",
            "The requested partnumber is not satisfiable",
        ));
    };
    let begin: u64 = sizes[..position - 1].iter().sum();
    let parts_count = is_multipart.then_some(sizes.len());
    Ok(Extent { range: begin..begin + size, is_partial: true, parts_count })
}

/// `None`: not a range that counts. `Some(None)`: one that the object does not have.
pub(super) fn parse_range(header: &str, size: u64) -> Option<Option<Range<u64>>> {
    let (from, to) = header.trim().strip_prefix("bytes=")?.split_once('-')?;
    let (from, to) = (from.trim(), to.trim());
    if from.is_empty() {
        let length: u64 = to.parse().ok()?;
        let is_there = length > 0 && size > 0;
        return Some(is_there.then(|| size.saturating_sub(length)..size));
    }
    let from: u64 = from.parse().ok()?;
    let last: u64 = if to.is_empty() { u64::MAX } else { to.parse().ok()? };
    if last < from {
        return None;
    }
    Some((from < size).then(|| from..last.saturating_add(1).min(size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_to_the_object_or_not_satisfiable() {
        let cases = [
            ("bytes=0-3", 10, Some(Some(0..4))),
            ("bytes=5-", 10, Some(Some(5..10))),
            ("bytes=-3", 10, Some(Some(7..10))),
            ("bytes=-30", 10, Some(Some(0..10))),
            ("bytes=8-99", 10, Some(Some(8..10))),
            ("bytes=10-", 10, Some(None)),
            ("bytes=0-", 0, Some(None)),
            ("bytes=-0", 10, Some(None)),
            ("bytes=3-1", 10, None),
            ("bytes=0-1,3-4", 10, None),
            ("lines=0-1", 10, None),
        ];
        for (header, size, expected) in cases {
            assert_eq!(parse_range(header, size), expected, "{header}");
        }
    }
}
