//! PutObject: the bytes go to a file first, then one transaction makes them the object.

use super::checksum::{Algorithm, Checksum};
use super::conditions::WriteConditions;
use super::expected::Expected;
use super::happening::{self, Happening};
use super::head::{Head, refuse_unsupported};
use super::intake::{Received, Source, UPLOAD_BYTES_MAX, take_in};
use super::reply::{Change, Reply};
use super::text::quoted;
use super::versions::{self, Bucket, NewObject, find_bucket};
use super::{Call, S3, Target};
use crate::wire::{ServiceError, ServiceRequest, ServiceResponse};
use rusqlite::Connection;

/// An object whose bytes are on disk, but which no row names yet.
#[derive(Debug)]
pub(super) struct Incoming {
    pub head: Head,
    pub conditions: WriteConditions,
    pub received: Received,
}

impl Incoming {
    /// What the headers of a request say about an object.
    pub fn new(request: &ServiceRequest, received: Received) -> Result<Self, ServiceError> {
        let mut head = Head::of(request)?;
        head.checksum = Some(received.checksum.clone());
        Ok(Self { head, conditions: WriteConditions::of(request)?, received })
    }

    /// Makes it the object, in a transaction.
    pub fn insert(
        self,
        connection: &Connection,
        target: &Target,
        names: (&'static str, &'static str),
    ) -> Result<Inserted, ServiceError> {
        let bucket = find_bucket(connection, &target.account, &target.address.bucket)?;
        let key = target.address.key.clone();
        self.conditions.check(&key, versions::latest(connection, bucket.id, &key)?.as_ref())?;
        let Received { segment, md5: etag, .. } = self.received;
        let segments = Vec::from_iter(segment);
        let modified = target.origin.at_ms;
        let object = NewObject { key, is_marker: false, etag, modified, head: self.head, segments };
        let (version, released) = versions::insert(connection, &bucket, &object)?;
        let happening = Happening::created(names, &object, &bucket, &version);
        happening::note(connection, &bucket, &target.origin, &happening)?;
        Ok(Inserted { bucket, object, version, released })
    }
}

/// What a transaction made.
pub(super) struct Inserted {
    pub bucket: Bucket,
    pub object: NewObject,
    pub version: String,
    pub released: Vec<String>,
}

impl S3 {
    pub(super) async fn put_object(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let request = &call.request;
        refuse_unsupported(request)?;
        // All that can be known is found out before the bytes are taken; the transaction looks again.
        Head::of(request)?;
        let conditions = WriteConditions::of(request)?;
        let expected = Expected::of(request)?;
        let bucket = self.bucket(call)?;
        self.database.read(|connection| {
            let latest = versions::latest(connection, bucket.id, &call.address.key)?;
            conditions.check(&call.address.key, latest.as_ref())
        })?;
        let source = Source::of(request);
        let received =
            take_in(&self.blobs, source, &expected, Algorithm::Crc64Nvme, UPLOAD_BYTES_MAX).await?;
        let fresh = Vec::from_iter(received.segment.clone());
        let incoming = Incoming::new(request, received)?;
        let target = call.target();
        let job = move |connection: &Connection| {
            let names = ("ObjectCreated:Put", "PutObject");
            let Inserted { bucket, object, version, released } =
                incoming.insert(connection, &target, names)?;
            let mut reply = Reply::status(200);
            reply.header("etag", &quoted(&object.etag));
            object.head.checksum.iter().for_each(|checksum| checksum_headers(&mut reply, checksum));
            if let Some((name, value)) = object.head.encryption() {
                reply.header(name, value);
            }
            if bucket.has_versions() {
                reply.header("x-amz-version-id", &version);
            }
            Ok(Change { reply, released })
        };
        self.commit(call, fresh, job).await
    }
}

fn checksum_headers(reply: &mut Reply, checksum: &Checksum) {
    reply.header(checksum.algorithm.header(), &checksum.value);
    reply.header("x-amz-checksum-type", checksum.kind.name());
}
