//! CompleteMultipartUpload: the listed parts become the segments of one object, the others go.

use super::blobs::Segment;
use super::checksum::{Algorithm, Checksum, Kind};
use super::conditions::WriteConditions;
use super::errors::{self, malformed_xml};
use super::happening::{self, Happening};
use super::input::Element;
use super::multipart::{Part, Upload, find_upload, parts};
use super::reply::{Change, Reply};
use super::text::quoted;
use super::versions::{self, NewObject, find_bucket};
use super::{Call, S3};
use crate::wire::{ServiceError, ServiceResponse, Xml};
use md5::{Digest, Md5};
use rusqlite::Connection;
use std::collections::BTreeMap;

/// S3's bounds: on the parts of an object, and on the size of each but the last.
const PARTS_MAX: usize = 10_000;
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;

/// A part as the caller lists it.
#[derive(Debug, Clone)]
struct Listed {
    number: i64,
    etag: String,
    checksums: Vec<(Algorithm, String)>,
}

impl S3 {
    pub(super) async fn complete_multipart_upload(
        &self,
        call: &Call,
    ) -> Result<ServiceResponse, ServiceError> {
        // A small document; digests that come with it are those of the object, not of the document.
        let listed = listed(&call.request.body)?;
        let conditions = WriteConditions::of(&call.request)?;
        let upload = self.upload(call)?;
        let found = self.database.read(|connection| parts(connection, &upload.id, 0, PARTS_MAX))?;
        let chosen = choose(&upload, &listed, &found)?;
        let checksum = self.whole_checksum(&upload, &chosen).await?;
        if let Some(checksum) = &checksum {
            check_given(call, checksum)?;
        }
        let expected: Vec<Segment> = chosen.into_iter().map(|part| part.segment).collect();
        let location = format!("{}{}", self.environment.endpoint(), call.address.resource());
        let (target, modified) = (call.target(), call.now.as_millisecond());
        let job = move |connection: &Connection| {
            let bucket = find_bucket(connection, &target.account, &target.address.bucket)?;
            let key = target.address.key;
            let upload = find_upload(connection, &bucket, &key, &target.upload)?;
            conditions.check(&key, versions::latest(connection, bucket.id, &key)?.as_ref())?;
            let found = parts(connection, &upload.id, 0, PARTS_MAX)?;
            let chosen = choose(&upload, &listed, &found)?;
            let segments: Vec<Segment> = chosen.iter().map(|part| part.segment.clone()).collect();
            if segments != expected {
                let message = "A conflicting conditional operation is currently in progress against this resource. \
                               Please try again.";
                return Err(ServiceError::new(409, "OperationAborted", message));
            }
            let etag = etag(&chosen);
            let mut head = upload.head.clone();
            (head.checksum, head.parts_checksum) = (checksum.clone(), None);
            connection.execute("DELETE FROM uploads WHERE id = ?1", [&upload.id])?;
            let unused = found.iter().filter(|part| !segments.contains(&part.segment));
            let mut released: Vec<String> = unused.map(|part| part.segment.blob.clone()).collect();
            let object = NewObject { key, is_marker: false, etag, modified, head, segments };
            let (version, mut replaced) = versions::insert(connection, &bucket, &object)?;
            released.append(&mut replaced);
            let names = ("ObjectCreated:CompleteMultipartUpload", "CompleteMultipartUpload");
            let happening = Happening::created(names, &object, &bucket, &version);
            happening::note(connection, &bucket, &target.origin, &happening)?;
            let mut children = vec![
                Xml::text("Location", location),
                Xml::text("Bucket", &bucket.name),
                Xml::text("Key", &object.key),
                Xml::text("ETag", quoted(&object.etag)),
            ];
            if let Some(checksum) = &checksum {
                children.push(Xml::text(checksum.algorithm.element(), &checksum.value));
                children.push(Xml::text("ChecksumType", checksum.kind.name()));
            }
            let mut reply = Reply::document("CompleteMultipartUploadResult", children);
            if bucket.has_versions() {
                reply.header("x-amz-version-id", &version);
            }
            Ok(Change { reply, released })
        };
        self.commit(call, Vec::new(), job).await
    }

    async fn whole_checksum(
        &self,
        upload: &Upload,
        chosen: &[Part],
    ) -> Result<Option<Checksum>, ServiceError> {
        match upload.head.parts_checksum {
            None => Ok(None),
            Some((algorithm, Kind::Composite)) => {
                let values: Option<Vec<&str>> = chosen.iter().map(|part| part.checksum.as_deref()).collect();
                Ok(values.and_then(|values| Checksum::composite(algorithm, &values)))
            }
            Some((algorithm, Kind::FullObject)) => {
                let segments = chosen.iter().map(|part| part.segment.clone()).collect();
                let (_, value) = self.digests(segments, algorithm).await?;
                Ok(Some(Checksum { algorithm, value, kind: Kind::FullObject }))
            }
        }
    }
}

fn check_given(call: &Call, checksum: &Checksum) -> Result<(), ServiceError> {
    let given = call.request.header(checksum.algorithm.header());
    // Callers may leave out how many parts a composite checksum is over.
    let bare = checksum.value.split('-').next();
    match given {
        Some(given) if given != checksum.value && Some(given) != bare => {
            Err(errors::bad_digest(checksum.algorithm.name()))
        }
        _ => Ok(()),
    }
}

fn listed(body: &[u8]) -> Result<Vec<Listed>, ServiceError> {
    let document = Element::parse(body, "CompleteMultipartUpload")?;
    let mut listed: Vec<Listed> = Vec::new();
    for part in document.all("Part") {
        let number =
            part.text_of("PartNumber").and_then(|text| text.trim().parse().ok()).ok_or_else(malformed_xml)?;
        let etag = part.text_of("ETag").ok_or_else(malformed_xml)?.trim().trim_matches('"').to_owned();
        let sum = |algorithm: Algorithm| Some((algorithm, part.text_of(&algorithm.element())?.to_owned()));
        let checksums = Algorithm::ALL.into_iter().filter_map(sum).collect();
        if listed.last().is_some_and(|last| last.number >= number) {
            let message =
                "The list of parts was not in ascending order. Parts must be ordered by part number.";
            return Err(ServiceError::client("InvalidPartOrder", message));
        }
        listed.push(Listed { number, etag, checksums });
    }
    if listed.is_empty() || listed.len() > PARTS_MAX {
        return Err(malformed_xml());
    }
    Ok(listed)
}

/// The stored parts that the caller lists, if all are there and none but the last is too small.
fn choose(upload: &Upload, listed: &[Listed], found: &[Part]) -> Result<Vec<Part>, ServiceError> {
    let by_number: BTreeMap<i64, &Part> = found.iter().map(|part| (part.number, part)).collect();
    let algorithm = upload.head.parts_checksum.map(|(algorithm, _)| algorithm);
    let mut chosen = Vec::with_capacity(listed.len());
    for (position, wanted) in listed.iter().enumerate() {
        let is_wanted = |part: &&Part| {
            let given = wanted.checksums.iter().find(|(name, _)| Some(*name) == algorithm);
            part.etag == wanted.etag && given.is_none_or(|(_, value)| part.checksum.as_ref() == Some(value))
        };
        let Some(part) = by_number.get(&wanted.number).copied().filter(is_wanted) else {
            return Err(invalid_part(upload, wanted));
        };
        if position + 1 < listed.len() && part.segment.size < PART_BYTES_MIN {
            let message = "Your proposed upload is smaller than the minimum allowed size";
            return Err(ServiceError::client("EntityTooSmall", message)
                .with_field("ProposedSize", part.segment.size.to_string())
                .with_field("MinSizeAllowed", PART_BYTES_MIN.to_string())
                .with_field("PartNumber", part.number.to_string())
                .with_field("ETag", part.etag.as_str()));
        }
        chosen.push(part.clone());
    }
    Ok(chosen)
}

fn invalid_part(upload: &Upload, wanted: &Listed) -> ServiceError {
    let message = "One or more of the specified parts could not be found.  The part may not have been uploaded, or the \
                   specified entity tag may not match the part's entity tag.";
    ServiceError::client("InvalidPart", message)
        .with_field("UploadId", upload.id.as_str())
        .with_field("PartNumber", wanted.number.to_string())
        .with_field("ETag", wanted.etag.as_str())
}

/// The MD5 of the parts' MD5s, and how many they are.
fn etag(parts: &[Part]) -> String {
    let mut digest = Md5::new();
    // Tags are our own hexadecimal MD5s, so none fails to decode.
    parts.iter().filter_map(|part| hex::decode(&part.etag).ok()).for_each(|md5| digest.update(md5));
    format!("{}-{}", hex::encode(digest.finalize()), parts.len())
}
