//! CopyObject. The bytes are not copied: their files get second names, so source and copy live and die apart.

use super::address::Address;
use super::blobs::{ReadError, Segment};
use super::checksum::{Algorithm, Checksum, Kind};
use super::conditions::{WriteConditions, for_read};
use super::expected::Expected;
use super::get::READ_ATTEMPTS_MAX;
use super::happening::{self, Happening};
use super::head::{Head, refuse_unsupported};
use super::reply::{Change, Reply};
use super::text::{iso_ms, quoted};
use super::versions::{self, Bucket, NewObject, Object, find_bucket};
use super::{Call, S3, errors};
use crate::wire::{ServiceError, ServiceRequest, ServiceResponse, Xml};
use rusqlite::Connection;

/// The object named by `x-amz-copy-source`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub address: Address,
    pub version: Option<String>,
}

impl Source {
    pub fn of(request: &ServiceRequest) -> Result<Self, ServiceError> {
        let header = request.header("x-amz-copy-source").unwrap_or_default();
        let (path, version) = match header.split_once("?versionId=") {
            Some((path, version)) => (path, Some(version.to_owned())),
            None => (header, None),
        };
        let address = Address::of_path(path.strip_prefix('/').unwrap_or(path))?;
        if address.bucket.is_empty() || address.key.is_empty() {
            let message = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey";
            return Err(errors::invalid_argument(message, "x-amz-copy-source", header));
        }
        Ok(Self { address, version })
    }
}

/// A source as it was found, with the files of the copy.
struct Copied {
    bucket: Bucket,
    object: Object,
    segments: Vec<Segment>,
}

impl S3 {
    pub(super) async fn copy_object(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let request = &call.request;
        refuse_unsupported(request)?;
        let source = Source::of(request)?;
        let replaces = |header: &str| request.header(header).is_some_and(|value| value == "REPLACE");
        let replaces_metadata = replaces("x-amz-metadata-directive");
        if source.address == call.address && source.version.is_none() && !replaces_metadata {
            return Err(errors::invalid_request(
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes.",
            ));
        }
        let conditions = WriteConditions::of(request)?;
        self.bucket(call)?;
        let given = Head::of(request)?;
        let copied = self.link_source(call, &source).await?;
        let mut head = copied.object.head.clone();
        if replaces_metadata {
            (head.headers, head.metadata) = (given.headers, given.metadata);
        }
        if replaces("x-amz-tagging-directive") {
            head.tags = given.tags;
        }
        let wanted = request.header("x-amz-checksum-algorithm").and_then(Algorithm::parse);
        let etag = self.redigest(&copied, &mut head, wanted).await?;
        let Copied { bucket: source_bucket, object: source_object, segments } = copied;
        let (target, modified, fresh) = (call.target(), call.now.as_millisecond(), segments.clone());
        let job = move |connection: &Connection| {
            let bucket = find_bucket(connection, &target.account, &target.address.bucket)?;
            let key = target.address.key;
            conditions.check(&key, versions::latest(connection, bucket.id, &key)?.as_ref())?;
            let object = NewObject { key, is_marker: false, etag, modified, head, segments };
            let (version, released) = versions::insert(connection, &bucket, &object)?;
            let happening =
                Happening::created(("ObjectCreated:Copy", "CopyObject"), &object, &bucket, &version);
            happening::note(connection, &bucket, &target.origin, &happening)?;
            let mut reply = Reply::document("CopyObjectResult", result(&object));
            if bucket.has_versions() {
                reply.header("x-amz-version-id", &version);
            }
            if source_bucket.has_versions() {
                reply.header("x-amz-copy-source-version-id", &source_object.version);
            }
            Ok(Change { reply, released })
        };
        self.commit(call, fresh, job).await
    }

    async fn link_source(&self, call: &Call, source: &Source) -> Result<Copied, ServiceError> {
        let Address { bucket, key } = &source.address;
        for _ in 0..READ_ATTEMPTS_MAX {
            let (bucket, object, segments) =
                self.found(&call.account, bucket, key, source.version.as_deref())?;
            for_read(&call.request, "x-amz-copy-source-", &object)?;
            match self.blobs.link(segments).await? {
                Ok(segments) => return Ok(Copied { bucket, object, segments }),
                Err(ReadError::Gone) => {}
                Err(ReadError::Failed(error)) => return Err(ServiceError::internal(error)),
            }
        }
        Err(ServiceError::internal(format!("the bytes of {} are missing", source.address.resource())))
    }

    /// A copy is one object, whatever the source was: its tag is the MD5 of the bytes, its checksum that of the whole.
    async fn redigest(
        &self,
        copied: &Copied,
        head: &mut Head,
        wanted: Option<Algorithm>,
    ) -> Result<String, ServiceError> {
        let kept = head.checksum.take().filter(|checksum| checksum.kind == Kind::FullObject);
        let was_composite = copied.object.head.checksum.as_ref().map(|checksum| checksum.algorithm);
        let kept = kept.filter(|checksum| wanted.is_none_or(|wanted| wanted == checksum.algorithm));
        if kept.is_some() && !copied.object.etag.contains('-') {
            head.checksum = kept;
            return Ok(copied.object.etag.clone());
        }
        let algorithm = wanted.or(was_composite).unwrap_or(Algorithm::Crc64Nvme);
        let (md5, value) = self.digests(copied.segments.clone(), algorithm).await?;
        head.checksum = Some(Checksum { algorithm, value, kind: Kind::FullObject });
        Ok(md5)
    }

    /// MD5 in hexadecimal and the checksum of all bytes.
    pub(super) async fn digests(
        &self,
        segments: Vec<Segment>,
        algorithm: Algorithm,
    ) -> Result<(String, String), ServiceError> {
        let digests = Expected::default().digests_with(algorithm);
        match self.blobs.digest(segments, digests).await? {
            Ok(computed) => Ok((computed.md5, computed.checksum.value)),
            Err(error) => Err(ServiceError::internal(format!("bytes cannot be read: {error:?}"))),
        }
    }
}

fn result(object: &NewObject) -> Vec<Xml> {
    let mut children =
        vec![Xml::text("LastModified", iso_ms(object.modified)), Xml::text("ETag", quoted(&object.etag))];
    if let Some(checksum) = &object.head.checksum {
        children.push(Xml::text(checksum.algorithm.element(), &checksum.value));
        children.push(Xml::text("ChecksumType", checksum.kind.name()));
    }
    children
}
