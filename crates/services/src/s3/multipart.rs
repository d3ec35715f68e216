//! Multipart uploads: begun, filled with parts in any order, aborted, listed. [`super::complete`] makes the object,
//! [`super::uploads`] lists the unfinished.
//!
//! A part's file belongs to its row; a part that is sent again releases the one before.

use super::blobs::{ReadError, Segment};
use super::checksum::{Algorithm, Checksum, Kind};
use super::conditions::for_read;
use super::copy::Source as CopySource;
use super::expected::{Computed, Expected};
use super::get::READ_ATTEMPTS_MAX;
use super::head::{Head, refuse_unsupported};
use super::intake::{Source, UPLOAD_BYTES_MAX, take_in, too_large};
use super::list::count_of;
use super::page::ENTRIES_MAX;
use super::reply::{Change, Reply};
use super::text::{document, iso_ms, quoted};
use super::versions::{Bucket, find_bucket};
use super::{Call, S3, errors, owner};
use crate::wire::{ServiceError, ServiceResponse, Xml};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

/// S3's bound on part numbers.
const PART_NUMBER_MAX: i64 = 10_000;

/// An upload that is neither completed nor aborted.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub id: String,
    pub head: Head,
}

/// A part as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub number: i64,
    pub segment: Segment,
    pub etag: String,
    pub checksum: Option<String>,
    pub modified: i64,
}

pub(super) fn find_upload(
    connection: &Connection,
    bucket: &Bucket,
    key: &str,
    id: &str,
) -> Result<Upload, ServiceError> {
    let sql = "SELECT head FROM uploads WHERE id = ?1 AND bucket = ?2 AND key = ?3";
    let head: Option<String> =
        connection.query_row(sql, params![id, bucket.id, key], |row| row.get(0)).optional()?;
    let head = head.ok_or_else(|| errors::no_such_upload(id))?;
    Ok(Upload { id: id.to_owned(), head: serde_json::from_str(&head).map_err(ServiceError::internal)? })
}

pub(super) fn parts(
    connection: &Connection,
    upload: &str,
    after: i64,
    limit: usize,
) -> Result<Vec<Part>, ServiceError> {
    let sql = "SELECT number, blob, size, etag, checksum, modified FROM parts \
               WHERE upload = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![upload, after, limit], |row| {
        let size = u64::try_from(row.get::<_, i64>(2)?).unwrap_or_default();
        Ok(Part {
            number: row.get(0)?,
            segment: Segment { blob: row.get(1)?, size },
            etag: row.get(3)?,
            checksum: row.get(4)?,
            modified: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

impl S3 {
    pub(super) async fn create_multipart_upload(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        refuse_unsupported(&call.request)?;
        let mut head = Head::of(&call.request)?;
        head.parts_checksum = parts_checksum(call)?;
        let (target, initiated) = (call.target(), call.now.as_millisecond());
        let id = uuid::Uuid::new_v4().simple().to_string();
        let job = move |connection: &Connection| {
            let bucket = find_bucket(connection, &target.account, &target.address.bucket)?;
            let text = serde_json::to_string(&head).map_err(ServiceError::internal)?;
            let sql = "INSERT INTO uploads(id, bucket, key, initiated, head) VALUES (?1, ?2, ?3, ?4, ?5)";
            connection.execute(sql, params![id, bucket.id, target.address.key, initiated, text])?;
            let children = vec![
                Xml::text("Bucket", &bucket.name),
                Xml::text("Key", &target.address.key),
                Xml::text("UploadId", &id),
            ];
            let mut reply = Reply::document("InitiateMultipartUploadResult", children);
            if let Some((algorithm, kind)) = head.parts_checksum {
                reply.header("x-amz-checksum-algorithm", algorithm.name());
                reply.header("x-amz-checksum-type", kind.name());
            }
            Ok(Change::of(reply))
        };
        self.commit(call, Vec::new(), job).await
    }

    pub(super) async fn upload_part(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        refuse_unsupported(&call.request)?;
        part_number(call)?;
        let upload = self.upload(call)?;
        let expected = Expected::of(&call.request)?;
        let algorithm = part_algorithm(&upload, &expected)?;
        let source = Source::of(&call.request);
        let received = take_in(&self.blobs, source, &expected, algorithm, UPLOAD_BYTES_MAX).await?;
        // An empty part has a file too, so that every part row names one.
        let segment = match received.segment {
            Some(segment) => segment,
            None => self.blobs.write(Bytes::new()).await?,
        };
        let is_kept = upload.head.parts_checksum.is_some() || received.has_callers_checksum;
        let checksum = is_kept.then_some(received.checksum);
        let mut reply = Reply::status(200);
        reply.header("etag", &quoted(&received.md5));
        if let Some(checksum) = &checksum {
            reply.header(checksum.algorithm.header(), &checksum.value);
        }
        self.put_part(call, segment, received.md5, checksum, reply).await
    }

    pub(super) async fn upload_part_copy(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        refuse_unsupported(&call.request)?;
        let source = CopySource::of(&call.request)?;
        let upload = self.upload(call)?;
        let algorithm = part_algorithm(&upload, &Expected::default())?;
        let (segment, Computed { md5, checksum, .. }) = self.copied(call, &source, algorithm).await?;
        let checksum = upload.head.parts_checksum.is_some().then_some(checksum);
        let modified = Xml::text("LastModified", iso_ms(call.now.as_millisecond()));
        let mut children = vec![modified, Xml::text("ETag", quoted(&md5))];
        if let Some(checksum) = &checksum {
            children.push(Xml::text(checksum.algorithm.element(), &checksum.value));
        }
        let reply = Reply::document("CopyPartResult", children);
        self.put_part(call, segment, md5, checksum, reply).await
    }

    async fn put_part(
        &self,
        call: &Call,
        segment: Segment,
        etag: String,
        checksum: Option<Checksum>,
        reply: Reply,
    ) -> Result<ServiceResponse, ServiceError> {
        let number = part_number(call)?;
        let fresh = vec![segment.clone()];
        let (target, modified) = (call.target(), call.now.as_millisecond());
        let job = move |connection: &Connection| {
            let bucket = find_bucket(connection, &target.account, &target.address.bucket)?;
            let upload = find_upload(connection, &bucket, &target.address.key, &target.upload)?;
            let sql = "SELECT blob FROM parts WHERE upload = ?1 AND number = ?2";
            let replaced: Option<String> =
                connection.query_row(sql, params![upload.id, number], |row| row.get(0)).optional()?;
            let size = i64::try_from(segment.size).map_err(ServiceError::internal)?;
            let value = checksum.map(|checksum| checksum.value);
            connection.execute(
                "INSERT OR REPLACE INTO parts(upload, number, blob, size, etag, checksum, modified) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![upload.id, number, segment.blob, size, etag, value, modified],
            )?;
            Ok(Change { reply, released: replaced.into_iter().collect() })
        };
        self.commit(call, fresh, job).await
    }

    /// The bytes of a source, or a range of them, in a new file.
    async fn copied(
        &self,
        call: &Call,
        source: &CopySource,
        algorithm: Algorithm,
    ) -> Result<(Segment, Computed), ServiceError> {
        let (bucket, key) = (&source.address.bucket, &source.address.key);
        for _ in 0..READ_ATTEMPTS_MAX {
            let (_, object, segments) = self.found(&call.account, bucket, key, source.version.as_deref())?;
            for_read(&call.request, "x-amz-copy-source-", &object)?;
            let range = match call.request.header("x-amz-copy-source-range") {
                Some(header) => copy_range(header, object.size)?,
                None => 0..object.size,
            };
            let size = range.end - range.start;
            if size > UPLOAD_BYTES_MAX {
                return Err(too_large(size, UPLOAD_BYTES_MAX));
            }
            let digests = Expected::default().digests_with(algorithm);
            match self.blobs.copy(segments, range, digests).await? {
                Ok(copied) => return Ok(copied),
                Err(ReadError::Gone) => {}
                Err(ReadError::Failed(error)) => return Err(ServiceError::internal(error)),
            }
        }
        Err(ServiceError::internal(format!("the bytes of {} are missing", source.address.resource())))
    }

    pub(super) async fn abort_multipart_upload(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let target = call.target();
        let job = move |connection: &Connection| {
            let bucket = find_bucket(connection, &target.account, &target.address.bucket)?;
            let upload = find_upload(connection, &bucket, &target.address.key, &target.upload)?;
            let all = parts(connection, &upload.id, 0, usize::MAX)?;
            connection.execute("DELETE FROM uploads WHERE id = ?1", [&upload.id])?;
            let released = all.into_iter().map(|part| part.segment.blob).collect();
            Ok(Change { reply: Reply::status(204), released })
        };
        self.commit(call, Vec::new(), job).await
    }

    pub(super) fn list_parts(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let upload = self.upload(call)?;
        let count_max = count_of(&call.request, "max-parts")?.min(ENTRIES_MAX);
        let after = call.request.query("part-number-marker").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut parts =
            self.database.read(|connection| parts(connection, &upload.id, after, count_max + 1))?;
        let is_truncated = parts.len() > count_max;
        parts.truncate(count_max);
        let last = parts.last().map_or(0, |part| part.number);
        let algorithm = upload.head.parts_checksum;
        let mut children = vec![
            Xml::text("Bucket", &call.address.bucket),
            Xml::text("Key", &call.address.key),
            Xml::text("UploadId", &upload.id),
            owner("Initiator", &call.account),
            owner("Owner", &call.account),
            Xml::text("StorageClass", "STANDARD"),
            Xml::text("PartNumberMarker", after),
            Xml::text("NextPartNumberMarker", last),
            Xml::text("MaxParts", count_max),
            Xml::text("IsTruncated", is_truncated),
        ];
        if let Some((algorithm, kind)) = algorithm {
            children.push(Xml::text("ChecksumAlgorithm", algorithm.name()));
            children.push(Xml::text("ChecksumType", kind.name()));
        }
        children
            .extend(parts.iter().map(|part| part_element(part, algorithm.map(|(algorithm, _)| algorithm))));
        Ok(document("ListPartsResult", children))
    }

    /// The upload that a call names.
    pub(super) fn upload(&self, call: &Call) -> Result<Upload, ServiceError> {
        let target = call.target();
        self.database.read(|connection| {
            let bucket = find_bucket(connection, &target.account, &target.address.bucket)?;
            find_upload(connection, &bucket, &target.address.key, &target.upload)
        })
    }
}

fn copy_range(header: &str, size: u64) -> Result<std::ops::Range<u64>, ServiceError> {
    let numbers = header.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let bounds = numbers.and_then(|(from, to)| Some((from.parse::<u64>().ok()?, to.parse::<u64>().ok()?)));
    match bounds {
        Some((from, to)) if from <= to && to < size => Ok(from..to + 1),
        Some(_) => {
            let message = format!("Range specified is not valid for source object of size: {size}");
            Err(errors::invalid_argument(&message, "x-amz-copy-source-range", header))
        }
        None => {
            let message = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and \
                           last are the zero-based offsets of the first and last bytes to copy";
            Err(errors::invalid_argument(message, "x-amz-copy-source-range", header))
        }
    }
}

fn part_number(call: &Call) -> Result<i64, ServiceError> {
    let text = call.request.query("partNumber").unwrap_or_default();
    let number = text.parse::<i64>().ok().filter(|number| (1..=PART_NUMBER_MAX).contains(number));
    number.ok_or_else(|| {
        let message = "Part number must be an integer between 1 and 10000, inclusive";
        errors::invalid_argument(message, "partNumber", text)
    })
}

/// What the caller says about the checksum of an upload.
fn parts_checksum(call: &Call) -> Result<Option<(Algorithm, Kind)>, ServiceError> {
    let header = |name: &str| call.request.header(name);
    let Some(name) = header("x-amz-checksum-algorithm") else { return Ok(None) };
    let invalid = || {
        errors::invalid_request(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
        )
    };
    let algorithm = Algorithm::parse(name).ok_or_else(invalid)?;
    let kind = match header("x-amz-checksum-type") {
        Some(name) => Kind::parse(name)
            .ok_or_else(|| errors::invalid_request("Value for x-amz-checksum-type header is invalid."))?,
        None => algorithm.default_kind(),
    };
    let is_possible = match kind {
        Kind::FullObject => !matches!(algorithm, Algorithm::Sha1 | Algorithm::Sha256),
        Kind::Composite => algorithm != Algorithm::Crc64Nvme,
    };
    if !is_possible {
        let message = format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            kind.name(),
            algorithm.name()
        );
        return Err(errors::invalid_request(message));
    }
    Ok(Some((algorithm, kind)))
}

/// The algorithm of a part's checksum: that of its upload, which the caller's has to be.
fn part_algorithm(upload: &Upload, expected: &Expected) -> Result<Algorithm, ServiceError> {
    match (upload.head.parts_checksum, expected.algorithm()) {
        (Some((algorithm, _)), Some(given)) if given != algorithm => {
            let message = format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                algorithm.name().to_lowercase(),
                given.name().to_lowercase()
            );
            Err(errors::invalid_request(message))
        }
        (Some((algorithm, _)), _) => Ok(algorithm),
        (None, given) => Ok(given.unwrap_or(Algorithm::Crc64Nvme)),
    }
}

fn part_element(part: &Part, algorithm: Option<Algorithm>) -> Xml {
    let mut element = Xml::element("Part")
        .with(Xml::text("PartNumber", part.number))
        .with(Xml::text("LastModified", iso_ms(part.modified)))
        .with(Xml::text("ETag", quoted(&part.etag)))
        .with(Xml::text("Size", part.segment.size));
    if let (Some(algorithm), Some(value)) = (algorithm, &part.checksum) {
        element = element.with(Xml::text(algorithm.element(), value));
    }
    element
}
