//! S3: buckets and objects, durable on disk, in path style and virtual-host style.
//!
//! Objects' bytes are files (see [`blobs`]), everything about them rows of `s3.db`; an answer is given when both are on
//! disk, and an object is what its row says, so half-written ones are never seen. Bucket names are unique per account.
//! Large bodies go from the socket to disk and back in pieces (see [`intake`] and [`outgoing`]).
//! Signatures are not verified here; presigned URLs do expire. [`operation`] lists what is done and what is refused.

mod access;
mod acl;
mod address;
mod attributes;
mod blobs;
mod body;
mod buckets;
mod checksum;
mod chunks;
mod complete;
mod conditions;
mod configuration;
mod copy;
mod cors;
mod delete;
mod errors;
mod expected;
mod form;
mod form_policy;
mod get;
mod happening;
mod head;
mod input;
mod intake;
mod list;
mod multipart;
mod notification;
mod operation;
mod outbox;
mod outgoing;
mod page;
mod plain;
mod post;
mod presigned;
mod put;
mod reply;
mod schema;
mod tags;
#[cfg(test)]
mod tests;
mod text;
mod uploads;
mod versions;

pub(crate) use address::bucket_of_parts as bucket_of_host;
pub(crate) use operation::is_form_upload;
pub(crate) use plain::plain;

use crate::environment::Environment;
use crate::front::OpenError;
use crate::guard::PageVerdict;
use crate::storage::{Database, recall, remember};
use crate::wire::{
    Access, BoxFuture, CallContext, Service, ServiceError, ServiceRequest, ServiceResponse, Xml,
};
use address::Address;
use blobs::{Blobs, Segment};
use bytes::Bytes;
use happening::Origin;
use http::request::Parts;
use jiff::Timestamp;
use operation::Operation;
use outbox::Outbox;
use reply::{Change, Reply};
use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

/// One request, with what is known about it.
#[derive(Debug)]
struct Call {
    request: ServiceRequest,
    address: Address,
    account: String,
    region: String,
    invocation_id: Option<String>,
    now: Timestamp,
    origin: Origin,
}

impl Call {
    /// The document it carries.
    fn document(&self) -> Result<Bytes, ServiceError> {
        body::document_of(&self.request)
    }

    /// What a transaction needs to find the object again.
    fn target(&self) -> Target {
        let query = |name: &str| self.request.query(name).map(str::to_owned);
        Target {
            account: self.account.clone(),
            address: self.address.clone(),
            version: query("versionId"),
            upload: query("uploadId").unwrap_or_default(),
            origin: self.origin.clone(),
        }
    }
}

/// What a call is about.
#[derive(Debug)]
struct Target {
    account: String,
    address: Address,
    version: Option<String>,
    upload: String,
    origin: Origin,
}

/// The service.
pub struct S3 {
    environment: Environment,
    database: Database,
    blobs: Blobs,
    outbox: Outbox,
}

impl S3 {
    /// Opens buckets and objects, and removes files that a crash left without an object.
    pub fn open(environment: Environment) -> Result<Self, OpenError> {
        let directory = environment.directory();
        let database = Database::open(&directory, "s3", schema::MIGRATIONS)?;
        let blobs = Blobs::open(&directory.join("s3"))?;
        let swept = database.read(|connection| blobs.sweep(|name| is_named(connection, name)));
        swept.map_err(|error| OpenError::Service { service: "s3", reason: error.to_string() })?;
        Ok(Self { environment, database, blobs, outbox: Outbox::default() })
    }

    async fn answer(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        presigned::check(&call.request, call.now)?;
        let operation = Operation::of(&call.request, &call.address)?;
        // What was done before is not looked at again: it would fail by its own effect.
        if let Some(reply) = self.known_reply(call)? {
            return Ok(reply.into());
        }
        let has_unread = !operation.takes_bytes()
            && call.request.sender.as_ref().is_some_and(|sender| sender.body().is_some());
        if has_unread {
            return Err(ServiceError::client("MaxMessageLengthExceeded", "Your request was too big."));
        }
        match operation {
            Operation::ListBuckets => self.list_buckets(call),
            Operation::CreateBucket => self.create_bucket(call).await,
            Operation::HeadBucket => self.head_bucket(call),
            Operation::DeleteBucket => self.delete_bucket(call).await,
            Operation::GetBucketLocation => self.get_bucket_location(call),
            Operation::GetBucketVersioning => self.get_bucket_versioning(call),
            Operation::PutBucketVersioning => self.put_bucket_versioning(call).await,
            Operation::GetBucketTagging => self.get_bucket_tagging(call),
            Operation::PutBucketTagging => self.set_bucket_tagging(call, true).await,
            Operation::DeleteBucketTagging => self.set_bucket_tagging(call, false).await,
            Operation::GetBucketPolicy => self.get_bucket_policy(call),
            Operation::PutBucketPolicy => self.put_bucket_policy(call).await,
            Operation::DeleteBucketPolicy => self.set_bucket_column(call, "policy", None, 204).await,
            Operation::GetBucketPolicyStatus => self.get_bucket_policy_status(call),
            Operation::GetBucketAcl | Operation::GetObjectAcl => self.get_acl(call),
            Operation::PutBucketAcl | Operation::PutObjectAcl => self.put_acl(call),
            Operation::GetConfiguration(kind) => self.get_configuration(call, kind),
            Operation::PutConfiguration(kind) => self.put_configuration(call, kind).await,
            Operation::DeleteConfiguration(kind) => self.delete_configuration(call, kind).await,
            Operation::GetUnsetSetting(unset) => self.get_unset_setting(call, unset),
            Operation::ListObjects => self.list_objects(call),
            Operation::ListObjectsV2 => self.list_objects_v2(call),
            Operation::ListObjectVersions => self.list_object_versions(call),
            Operation::ListMultipartUploads => self.list_multipart_uploads(call),
            Operation::DeleteObjects => self.delete_objects(call).await,
            Operation::GetObject => self.get_object(call, false).await,
            Operation::HeadObject => self.get_object(call, true).await,
            Operation::GetObjectAttributes => self.get_object_attributes(call),
            Operation::PutObject => self.put_object(call).await,
            Operation::PostObject => self.post_object(call).await,
            Operation::CopyObject => self.copy_object(call).await,
            Operation::DeleteObject => self.delete_object(call).await,
            Operation::GetObjectTagging => self.get_object_tagging(call),
            Operation::PutObjectTagging => self.set_object_tagging(call, true).await,
            Operation::DeleteObjectTagging => self.set_object_tagging(call, false).await,
            Operation::CreateMultipartUpload => self.create_multipart_upload(call).await,
            Operation::UploadPart => self.upload_part(call).await,
            Operation::UploadPartCopy => self.upload_part_copy(call).await,
            Operation::CompleteMultipartUpload => self.complete_multipart_upload(call).await,
            Operation::AbortMultipartUpload => self.abort_multipart_upload(call).await,
            Operation::ListParts => self.list_parts(call),
            Operation::NotImplemented(name) => Err(errors::not_implemented(name)),
        }
    }

    fn known_reply(&self, call: &Call) -> Result<Option<Reply>, ServiceError> {
        let Some(id) = call.invocation_id.as_deref() else { return Ok(None) };
        let known = self.database.read(|connection| recall(connection, Some(id), call.now))?;
        known.map(|known| serde_json::from_slice(&known).map_err(ServiceError::internal)).transpose()
    }

    /// Runs a change in a transaction, or gives the answer it gave before under the same invocation id. Files that no row
    /// names afterwards are removed: `fresh` ones if the change did not happen, the released ones if it did.
    async fn commit<J>(
        &self,
        call: &Call,
        fresh: Vec<Segment>,
        job: J,
    ) -> Result<ServiceResponse, ServiceError>
    where
        J: FnOnce(&Connection) -> Result<Change, ServiceError> + Send + 'static,
    {
        let (id, now) = (call.invocation_id.clone(), call.now);
        let write = move |connection: &Connection| -> Result<(Reply, Option<Vec<String>>), ServiceError> {
            if let Some(known) = recall(connection, id.as_deref(), now)? {
                return Ok((serde_json::from_slice(&known).map_err(ServiceError::internal)?, None));
            }
            let change = job(connection)?;
            let kept = serde_json::to_vec(&change.reply).map_err(ServiceError::internal)?;
            remember(connection, id.as_deref(), now, &kept)?;
            Ok((change.reply, Some(change.released)))
        };
        let fresh = || fresh.into_iter().map(|segment| segment.blob).collect();
        match self.database.write(write).await {
            Ok((reply, released)) => {
                self.outbox.wake();
                self.blobs.remove(released.unwrap_or_else(fresh)).await;
                Ok(reply.into())
            }
            Err(error) => {
                // After a failure of ours it is not certain that the row is not there; the next sweep will know.
                if error.status.is_client_error() {
                    self.blobs.remove(fresh()).await;
                }
                Err(error)
            }
        }
    }

    fn policy(&self, account: &str, bucket: &str) -> Option<serde_json::Value> {
        let text = self.policy_text(account, bucket);
        let text =
            text.inspect_err(|error| tracing::error!(%error, "a bucket's policy cannot be read")).ok()??;
        serde_json::from_str(&text).ok()
    }
}

/// Whether a row names this file.
fn is_named(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM segments WHERE blob = ?1 UNION ALL SELECT 1 FROM parts WHERE blob = ?1 LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([name], |_| Ok(())).optional()?.is_some())
}

/// The owner of everything in an account: its canonical user id, which here is made from the account's number.
fn owner(element: &str, account: &str) -> Xml {
    let id = hex::encode(Sha256::digest(account));
    Xml::element(element).with(Xml::text("ID", id)).with(Xml::text("DisplayName", account))
}

impl Service for S3 {
    fn name(&self) -> &'static str {
        "s3"
    }

    fn access(&self, context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        // What has no address or operation is refused by `handle` in the same words.
        let Ok(address) = Address::of(request) else { return Vec::new() };
        let Ok(operation) = Operation::of(request, &address) else { return Vec::new() };
        let with_policy = |access: Access| {
            let arn = access.resources.first().and_then(|arn| arn.strip_prefix("arn:aws:s3:::"));
            let bucket = arn.and_then(|arn| arn.split('/').next()).unwrap_or_default().to_owned();
            access.with_resource_policy(self.policy(&context.account, &bucket))
        };
        access::needed(operation, &address, request).into_iter().map(with_policy).collect()
    }

    fn page(&self, parts: &Parts) -> PageVerdict {
        self.judge_page(parts)
    }

    fn start(&self) {
        self.outbox.start(self);
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.outbox.stop())
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move {
            let address = Address::of(&request)?;
            let now = self.environment.now();
            let call = Call {
                request,
                address,
                account: context.account.clone(),
                region: context.region.clone(),
                invocation_id: context.invocation_id.clone(),
                now,
                origin: Origin::of(context, now),
            };
            self.answer(&call).await
        })
    }
}
