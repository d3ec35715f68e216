//! The permissions that an operation needs, on `arn:aws:s3:::bucket/key`.
//!
//! A missing object is told to anyone who may read it; AWS hides it from callers without `s3:ListBucket`.

use super::address::Address;
use super::copy::Source;
use super::delete::keys_to_delete;
use super::operation::Operation;
use crate::wire::{Access, ServiceRequest};

/// Condition keys that are query parameters of the listings.
const LIST_KEYS: [&str; 3] = ["prefix", "delimiter", "max-keys"];

/// Condition keys that are headers of what writes.
const PUT_KEYS: [&str; 3] = ["x-amz-acl", "x-amz-server-side-encryption", "x-amz-storage-class"];

pub(super) fn needed(operation: Operation, address: &Address, request: &ServiceRequest) -> Vec<Access> {
    let bucket = format!("arn:aws:s3:::{}", address.bucket);
    let object = format!("{bucket}/{}", address.key);
    let on_bucket = |action: &str| vec![Access::new(format!("s3:{action}"), bucket.clone())];
    let on_object = |action: &str| vec![with_version(action, object.clone(), request.query("versionId"))];
    match operation {
        Operation::ListBuckets => vec![Access::new("s3:ListAllMyBuckets", "*")],
        Operation::CreateBucket => on_bucket("CreateBucket"),
        Operation::DeleteBucket => on_bucket("DeleteBucket"),
        Operation::HeadBucket => on_bucket("ListBucket"),
        Operation::GetBucketLocation => on_bucket("GetBucketLocation"),
        Operation::GetBucketVersioning => on_bucket("GetBucketVersioning"),
        Operation::PutBucketVersioning => on_bucket("PutBucketVersioning"),
        Operation::GetBucketTagging => on_bucket("GetBucketTagging"),
        Operation::PutBucketTagging | Operation::DeleteBucketTagging => on_bucket("PutBucketTagging"),
        Operation::GetBucketPolicy => on_bucket("GetBucketPolicy"),
        Operation::PutBucketPolicy => on_bucket("PutBucketPolicy"),
        Operation::DeleteBucketPolicy => on_bucket("DeleteBucketPolicy"),
        Operation::GetBucketPolicyStatus => on_bucket("GetBucketPolicyStatus"),
        Operation::GetBucketAcl => on_bucket("GetBucketAcl"),
        Operation::PutBucketAcl => on_bucket("PutBucketAcl"),
        Operation::GetConfiguration(kind) => on_bucket(kind.actions.0),
        Operation::PutConfiguration(kind) | Operation::DeleteConfiguration(kind) => on_bucket(kind.actions.1),
        Operation::GetUnsetSetting(unset) => on_bucket(unset.action),
        Operation::ListObjects | Operation::ListObjectsV2 => vec![listing("ListBucket", &bucket, request)],
        Operation::ListObjectVersions => vec![listing("ListBucketVersions", &bucket, request)],
        Operation::ListMultipartUploads => on_bucket("ListBucketMultipartUploads"),
        Operation::DeleteObjects => deletions(&bucket, request),
        Operation::GetObject | Operation::HeadObject => on_object("GetObject"),
        Operation::GetObjectAttributes => {
            on_object("GetObject").into_iter().chain(on_object("GetObjectAttributes")).collect()
        }
        Operation::GetObjectAcl => on_object("GetObjectAcl"),
        Operation::PutObjectAcl => on_object("PutObjectAcl"),
        Operation::DeleteObject => on_object("DeleteObject"),
        Operation::GetObjectTagging => on_object("GetObjectTagging"),
        Operation::PutObjectTagging => on_object("PutObjectTagging"),
        Operation::DeleteObjectTagging => on_object("DeleteObjectTagging"),
        Operation::PutObject
        | Operation::CreateMultipartUpload
        | Operation::UploadPart
        | Operation::CompleteMultipartUpload => put(object, request),
        Operation::CopyObject | Operation::UploadPartCopy => {
            source(request).into_iter().chain(put(object, request)).collect()
        }
        Operation::AbortMultipartUpload => on_object("AbortMultipartUpload"),
        Operation::ListParts => on_object("ListMultipartUploadParts"),
        // Refused whoever asks; and a form says only in its body who sends it, so the operation itself looks.
        Operation::NotImplemented(_) | Operation::PostObject => Vec::new(),
    }
}

/// The action, or its variant for a version: `s3:GetObjectVersion`, `s3:GetObjectVersionTagging`.
fn with_version(action: &str, object: String, version: Option<&str>) -> Access {
    let Some(version) = version else { return Access::new(format!("s3:{action}"), object) };
    let action = match action.strip_suffix("Tagging") {
        Some(stem) => format!("s3:{stem}VersionTagging"),
        None => format!("s3:{action}Version"),
    };
    Access::new(action, object).with_condition("s3:VersionId", version)
}

fn listing(action: &str, bucket: &str, request: &ServiceRequest) -> Access {
    let given = |key: &str| request.query(key).map(|value| (format!("s3:{key}"), value.to_owned()));
    let access = Access::new(format!("s3:{action}"), bucket);
    LIST_KEYS
        .iter()
        .filter_map(|key| given(key))
        .fold(access, |access, (key, value)| access.with_condition(key, value))
}

pub(super) fn put(object: String, request: &ServiceRequest) -> Vec<Access> {
    let access = Access::new("s3:PutObject", object.clone());
    let given = PUT_KEYS.iter().filter_map(|key| Some((key, request.header(key)?)));
    let mut needed =
        vec![given.fold(access, |access, (key, value)| access.with_condition(format!("s3:{key}"), value))];
    if request.headers.contains_key("x-amz-tagging") {
        needed.push(Access::new("s3:PutObjectTagging", object));
    }
    needed
}

fn source(request: &ServiceRequest) -> Option<Access> {
    let source = Source::of(request).ok()?;
    let object = format!("arn:aws:s3:::{}/{}", source.address.bucket, source.address.key);
    Some(with_version("GetObject", object, source.version.as_deref()))
}

fn deletions(bucket: &str, request: &ServiceRequest) -> Vec<Access> {
    // What cannot be read is refused by the operation itself.
    let Ok(keys) = keys_to_delete(request) else { return Vec::new() };
    let access = |target: &super::delete::Target| {
        with_version("DeleteObject", format!("{bucket}/{}", target.key), target.version.as_deref())
    };
    keys.targets.iter().map(access).collect()
}
