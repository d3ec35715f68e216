//! PutObject: the bytes go to a file first, then one transaction makes them the object.

use super::checksum::Checksum;
use super::conditions::WriteConditions;
use super::head::{Head, refuse_unsupported};
use super::reply::{Change, Reply};
use super::text::quoted;
use super::versions::{self, NewObject, find_bucket};
use super::{Call, S3};
use crate::wire::{ServiceError, ServiceResponse};
use rusqlite::Connection;

impl S3 {
    pub(super) async fn put_object(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        refuse_unsupported(&call.request)?;
        let payload = call.payload()?;
        let mut head = Head::of(&call.request)?;
        let checksum = payload.checksum_to_keep();
        head.checksum = Some(checksum.clone());
        let conditions = WriteConditions::of(&call.request)?;
        // Found out before the bytes are written; the transaction looks again.
        self.bucket(call)?;
        let segments =
            if payload.bytes.is_empty() { Vec::new() } else { vec![self.blobs.write(payload.bytes).await?] };
        let (target, modified) = (call.target(), call.now.as_millisecond());
        let fresh = segments.clone();
        let job = move |connection: &Connection| {
            let bucket = find_bucket(connection, &target.account, &target.address.bucket)?;
            let key = target.address.key;
            conditions.check(&key, versions::latest(connection, bucket.id, &key)?.as_ref())?;
            let etag = payload.md5;
            let object = NewObject { key, is_marker: false, etag, modified, head, segments };
            let (version, released) = versions::insert(connection, &bucket, &object)?;
            let mut reply = Reply::status(200);
            reply.header("etag", &quoted(&object.etag));
            checksum_headers(&mut reply, &checksum);
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
