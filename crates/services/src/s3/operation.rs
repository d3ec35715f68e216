//! Which operation a request means: method, address and the subresource among its query parameters. The tables below are
//! also the list of what is refused by name.

use super::address::Address;
use super::configuration::{KINDS, Kind};
use super::errors;
use crate::wire::{ServiceError, ServiceRequest};
use http::{HeaderMap, Method, header};

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
    GetBucketPolicyStatus,
    GetBucketAcl,
    PutBucketAcl,
    GetConfiguration(&'static Kind),
    PutConfiguration(&'static Kind),
    DeleteConfiguration(&'static Kind),
    ListObjects,
    ListObjectsV2,
    ListObjectVersions,
    ListMultipartUploads,
    DeleteObjects,
    GetObject,
    HeadObject,
    GetObjectAttributes,
    GetObjectAcl,
    PutObjectAcl,
    PutObject,
    PostObject,
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
    ("GET", "policyStatus", Operation::GetBucketPolicyStatus),
    ("GET", "acl", Operation::GetBucketAcl),
    ("PUT", "acl", Operation::PutBucketAcl),
    ("GET", "versions", Operation::ListObjectVersions),
    ("GET", "uploads", Operation::ListMultipartUploads),
    ("POST", "delete", Operation::DeleteObjects),
    ("GET", "accelerate", unset!("GetAccelerateConfiguration", "AccelerateConfiguration")),
    ("GET", "logging", unset!("GetBucketLogging", "BucketLoggingStatus")),
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
];

const OBJECT: &[Row] = &[
    ("GET", "tagging", Operation::GetObjectTagging),
    ("PUT", "tagging", Operation::PutObjectTagging),
    ("DELETE", "tagging", Operation::DeleteObjectTagging),
    ("GET", "acl", Operation::GetObjectAcl),
    ("PUT", "acl", Operation::PutObjectAcl),
    ("GET", "attributes", Operation::GetObjectAttributes),
    ("POST", "uploads", Operation::CreateMultipartUpload),
    ("PUT", "uploadId", Operation::UploadPart),
    ("POST", "uploadId", Operation::CompleteMultipartUpload),
    ("DELETE", "uploadId", Operation::AbortMultipartUpload),
    ("GET", "uploadId", Operation::ListParts),
];

/// Query parameters of operations that are not here, with the words for getting and for everything else.
const REFUSED: &[(&str, &str, &str)] = &[
    ("accelerate", "GetBucketAccelerateConfiguration", "PutBucketAccelerateConfiguration"),
    ("analytics", "GetBucketAnalyticsConfiguration", "PutBucketAnalyticsConfiguration"),
    ("intelligent-tiering", "GetBucketIntelligentTiering", "PutBucketIntelligentTiering"),
    ("inventory", "GetBucketInventoryConfiguration", "PutBucketInventoryConfiguration"),
    ("legal-hold", "GetObjectLegalHold", "PutObjectLegalHold"),
    ("logging", "GetBucketLogging", "PutBucketLogging"),
    ("metrics", "GetBucketMetricsConfiguration", "PutBucketMetricsConfiguration"),
    ("object-lock", "GetObjectLockConfiguration", "PutObjectLockConfiguration"),
    ("renameObject", "RenameObject", "RenameObject"),
    ("replication", "GetBucketReplication", "PutBucketReplication"),
    ("restore", "RestoreObject", "RestoreObject"),
    ("retention", "GetObjectRetention", "PutObjectRetention"),
    ("select", "SelectObjectContent", "SelectObjectContent"),
    ("session", "CreateSession", "CreateSession"),
    ("tagging", "GetTagging", "PutTagging"),
    ("torrent", "GetObjectTorrent", "GetObjectTorrent"),
    ("website", "GetBucketWebsite", "PutBucketWebsite"),
];

impl Operation {
    /// Whether the body is an object's bytes, which may be many.
    pub fn takes_bytes(self) -> bool {
        matches!(self, Self::PutObject | Self::PostObject | Self::UploadPart)
    }

    pub fn of(request: &ServiceRequest, address: &Address) -> Result<Self, ServiceError> {
        let method = &request.method;
        if address.bucket.is_empty() {
            let is_list = method == Method::GET;
            return if is_list { Ok(Self::ListBuckets) } else { Err(not_allowed(method, "SERVICE")) };
        }
        let is_bucket = address.key.is_empty();
        let rows = if is_bucket { BUCKET } else { OBJECT };
        let has = |name: &str| request.query(name).is_some();
        if is_bucket && let Some(kind) = KINDS.iter().find(|kind| has(kind.parameter)) {
            return match method.as_str() {
                "GET" => Ok(Self::GetConfiguration(kind)),
                "PUT" => Ok(Self::PutConfiguration(kind)),
                "DELETE" if kind.is_deletable => Ok(Self::DeleteConfiguration(kind)),
                _ => Err(not_allowed(method, "BUCKET")),
            };
        }
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
            "POST" if is_form(&request.method, &request.headers) => Self::PostObject,
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

/// Whether a request is a browser's upload, which bears its signature in its body.
pub(crate) fn is_form_upload(parts: &http::request::Parts) -> bool {
    let request = ServiceRequest::from_http(parts, bytes::Bytes::new()).of_service("s3");
    let address = Address::of(&request);
    address.is_ok_and(|address| Operation::of(&request, &address) == Ok(Operation::PostObject))
}

/// Whether a browser's form is sent.
pub(super) fn is_form(method: &Method, headers: &HeaderMap) -> bool {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    method == Method::POST
        && content_type.trim_start().to_ascii_lowercase().starts_with("multipart/form-data")
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
            ("PUT", "/b?acl", Operation::PutBucketAcl),
            ("PUT", "/b?cors", Operation::PutConfiguration(&KINDS[0])),
            ("PUT", "/b?website", Operation::NotImplemented("PutBucketWebsite")),
            ("GET", "/b/k?attributes", Operation::GetObjectAttributes),
            ("GET", "/b/k?cors", Operation::GetObject),
        ];
        for (method, path, expected) in cases {
            let request = ServiceRequest::rest(method.parse().unwrap(), path, Bytes::new());
            let address = Address::of(&request).unwrap();
            assert_eq!(Operation::of(&request, &address).unwrap(), expected, "{method} {path}");
        }
    }
}
