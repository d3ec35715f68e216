//! Which operation a request means: method, address and the subresource among its query parameters. The tables below are
//! also the list of what is refused by name.

use super::address::Address;
use super::errors;
use crate::wire::{ServiceError, ServiceRequest};
use http::Method;

/// The operations that are performed, and those that are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    ListBuckets,
    CreateBucket,
    HeadBucket,
    DeleteBucket,
    GetBucketLocation,
    GetBucketVersioning,
    PutBucketVersioning,
    GetBucketTagging,
    PutBucketTagging,
    DeleteBucketTagging,
    GetBucketPolicy,
    PutBucketPolicy,
    DeleteBucketPolicy,
    /// A setting that cannot be made here, asked for: the answer is that of a bucket without it.
    GetUnsetSetting(&'static Unset),
    ListObjects,
    ListObjectsV2,
    ListObjectVersions,
    ListMultipartUploads,
    DeleteObjects,
    GetObject,
    HeadObject,
    PutObject,
    CopyObject,
    DeleteObject,
    GetObjectTagging,
    PutObjectTagging,
    DeleteObjectTagging,
    CreateMultipartUpload,
    UploadPart,
    UploadPartCopy,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
    /// Refused by name.
    NotImplemented(&'static str),
}

/// What AWS answers about a setting nobody made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unset {
    pub action: &'static str,
    /// Code and message of the error, or the root element of an empty document.
    pub answer: Result<&'static str, (&'static str, &'static str)>,
}

macro_rules! unset {
    ($action:literal, $code:literal, $message:literal) => {
        Operation::GetUnsetSetting(&Unset { action: $action, answer: Err(($code, $message)) })
    };
    ($action:literal, $root:literal) => {
        Operation::GetUnsetSetting(&Unset { action: $action, answer: Ok($root) })
    };
}

type Row = (&'static str, &'static str, Operation);

/// Method, query parameter, operation. The first row that fits counts.
const BUCKET: &[Row] = &[
    ("GET", "location", Operation::GetBucketLocation),
    ("GET", "versioning", Operation::GetBucketVersioning),
    ("PUT", "versioning", Operation::PutBucketVersioning),
    ("GET", "tagging", Operation::GetBucketTagging),
    ("PUT", "tagging", Operation::PutBucketTagging),
    ("DELETE", "tagging", Operation::DeleteBucketTagging),
    ("GET", "policy", Operation::GetBucketPolicy),
    ("PUT", "policy", Operation::PutBucketPolicy),
    ("DELETE", "policy", Operation::DeleteBucketPolicy),
    ("GET", "versions", Operation::ListObjectVersions),
    ("GET", "uploads", Operation::ListMultipartUploads),
    ("POST", "delete", Operation::DeleteObjects),
    ("GET", "accelerate", unset!("GetAccelerateConfiguration", "AccelerateConfiguration")),
    ("GET", "notification", unset!("GetBucketNotification", "NotificationConfiguration")),
    ("GET", "logging", unset!("GetBucketLogging", "BucketLoggingStatus")),
    (
        "GET",
        "cors",
        unset!("GetBucketCORS", "NoSuchCORSConfiguration", "The CORS configuration does not exist"),
    ),
    (
        "GET",
        "lifecycle",
        unset!(
            "GetLifecycleConfiguration",
            "NoSuchLifecycleConfiguration",
            "The lifecycle configuration does not exist"
        ),
    ),
    (
        "GET",
        "website",
        unset!(
            "GetBucketWebsite",
            "NoSuchWebsiteConfiguration",
            "The specified bucket does not have a website configuration"
        ),
    ),
    (
        "GET",
        "replication",
        unset!(
            "GetReplicationConfiguration",
            "ReplicationConfigurationNotFoundError",
            "The replication configuration was not found"
        ),
    ),
    (
        "GET",
        "object-lock",
        unset!(
            "GetBucketObjectLockConfiguration",
            "ObjectLockConfigurationNotFoundError",
            "Object Lock configuration does not exist for this bucket"
        ),
    ),
    (
        "GET",
        "publicAccessBlock",
        unset!(
            "GetBucketPublicAccessBlock",
            "NoSuchPublicAccessBlockConfiguration",
            "The public access block configuration was not found"
        ),
    ),
    (
        "GET",
        "encryption",
        unset!(
            "GetEncryptionConfiguration",
            "ServerSideEncryptionConfigurationNotFoundError",
            "The server side encryption configuration was not found"
        ),
    ),
];

const OBJECT: &[Row] = &[
    ("GET", "tagging", Operation::GetObjectTagging),
    ("PUT", "tagging", Operation::PutObjectTagging),
    ("DELETE", "tagging", Operation::DeleteObjectTagging),
    ("POST", "uploads", Operation::CreateMultipartUpload),
    ("PUT", "uploadId", Operation::UploadPart),
    ("POST", "uploadId", Operation::CompleteMultipartUpload),
    ("DELETE", "uploadId", Operation::AbortMultipartUpload),
    ("GET", "uploadId", Operation::ListParts),
];

/// Query parameters of operations that are not here, with the words for getting and for everything else.
const REFUSED: &[(&str, &str, &str)] = &[
    ("acl", "GetAcl", "PutAcl"),
    ("accelerate", "GetBucketAccelerateConfiguration", "PutBucketAccelerateConfiguration"),
    ("analytics", "GetBucketAnalyticsConfiguration", "PutBucketAnalyticsConfiguration"),
    ("attributes", "GetObjectAttributes", "GetObjectAttributes"),
    ("cors", "GetBucketCors", "PutBucketCors"),
    ("encryption", "GetBucketEncryption", "PutBucketEncryption"),
    ("intelligent-tiering", "GetBucketIntelligentTiering", "PutBucketIntelligentTiering"),
    ("inventory", "GetBucketInventoryConfiguration", "PutBucketInventoryConfiguration"),
    ("legal-hold", "GetObjectLegalHold", "PutObjectLegalHold"),
    ("lifecycle", "GetBucketLifecycleConfiguration", "PutBucketLifecycleConfiguration"),
    ("logging", "GetBucketLogging", "PutBucketLogging"),
    ("metrics", "GetBucketMetricsConfiguration", "PutBucketMetricsConfiguration"),
    ("notification", "GetBucketNotificationConfiguration", "PutBucketNotificationConfiguration"),
    ("object-lock", "GetObjectLockConfiguration", "PutObjectLockConfiguration"),
    ("ownershipControls", "GetBucketOwnershipControls", "PutBucketOwnershipControls"),
    ("policyStatus", "GetBucketPolicyStatus", "GetBucketPolicyStatus"),
    ("publicAccessBlock", "GetPublicAccessBlock", "PutPublicAccessBlock"),
    ("renameObject", "RenameObject", "RenameObject"),
    ("replication", "GetBucketReplication", "PutBucketReplication"),
    ("requestPayment", "GetBucketRequestPayment", "PutBucketRequestPayment"),
    ("restore", "RestoreObject", "RestoreObject"),
    ("retention", "GetObjectRetention", "PutObjectRetention"),
    ("select", "SelectObjectContent", "SelectObjectContent"),
    ("session", "CreateSession", "CreateSession"),
    ("tagging", "GetTagging", "PutTagging"),
    ("torrent", "GetObjectTorrent", "GetObjectTorrent"),
    ("website", "GetBucketWebsite", "PutBucketWebsite"),
];

impl Operation {
    pub fn of(request: &ServiceRequest, address: &Address) -> Result<Self, ServiceError> {
        let method = &request.method;
        if address.bucket.is_empty() {
            let is_list = method == Method::GET;
            return if is_list { Ok(Self::ListBuckets) } else { Err(not_allowed(method, "SERVICE")) };
        }
        let is_bucket = address.key.is_empty();
        let rows = if is_bucket { BUCKET } else { OBJECT };
        let has = |name: &str| request.query(name).is_some();
        let row = rows.iter().find(|(verb, parameter, _)| method.as_str() == *verb && has(parameter));
        if let Some((_, _, operation)) = row {
            let is_copy = request.headers.contains_key("x-amz-copy-source");
            let is_part_copy = *operation == Self::UploadPart && is_copy;
            return Ok(if is_part_copy { Self::UploadPartCopy } else { *operation });
        }
        if let Some((_, get, other)) = REFUSED.iter().find(|(parameter, _, _)| has(parameter)) {
            return Ok(Self::NotImplemented(if method == Method::GET { get } else { other }));
        }
        let plain = if is_bucket { Self::of_bucket(request) } else { Self::of_object(request) };
        plain.ok_or_else(|| not_allowed(method, if is_bucket { "BUCKET" } else { "OBJECT" }))
    }

    fn of_bucket(request: &ServiceRequest) -> Option<Self> {
        Some(match request.method.as_str() {
            "GET" if request.query("list-type") == Some("2") => Self::ListObjectsV2,
            "GET" => Self::ListObjects,
            "PUT" => Self::CreateBucket,
            "HEAD" => Self::HeadBucket,
            "DELETE" => Self::DeleteBucket,
            "POST" => Self::NotImplemented("PostObject"),
            _ => return None,
        })
    }

    fn of_object(request: &ServiceRequest) -> Option<Self> {
        Some(match request.method.as_str() {
            "GET" => Self::GetObject,
            "HEAD" => Self::HeadObject,
            "PUT" if request.headers.contains_key("x-amz-copy-source") => Self::CopyObject,
            "PUT" => Self::PutObject,
            "DELETE" => Self::DeleteObject,
            _ => return None,
        })
    }
}

fn not_allowed(method: &Method, kind: &str) -> ServiceError {
    errors::method_not_allowed(method.as_str(), kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn method_address_and_query_name_the_operation() {
        let cases = [
            ("GET", "/", Operation::ListBuckets),
            ("PUT", "/b", Operation::CreateBucket),
            ("GET", "/b?list-type=2&prefix=x", Operation::ListObjectsV2),
            ("GET", "/b?versions", Operation::ListObjectVersions),
            ("POST", "/b?delete", Operation::DeleteObjects),
            ("PUT", "/b/k", Operation::PutObject),
            ("PUT", "/b/k?partNumber=1&uploadId=u", Operation::UploadPart),
            ("GET", "/b/k?versionId=v", Operation::GetObject),
            ("PUT", "/b?acl", Operation::NotImplemented("PutAcl")),
            ("GET", "/b/k?attributes", Operation::NotImplemented("GetObjectAttributes")),
        ];
        for (method, path, expected) in cases {
            let request = ServiceRequest::rest(method.parse().unwrap(), path, Bytes::new());
            let address = Address::of(&request).unwrap();
            assert_eq!(Operation::of(&request, &address).unwrap(), expected, "{method} {path}");
        }
    }
}
