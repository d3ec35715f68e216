//! What is kept about an object beside its bytes: the headers it is given back with, the caller's metadata, tags and the
//! checksum. Headers whose effect is not here are refused, since ignoring them would be a lie.

use super::checksum::{Algorithm, Checksum, Kind};
use super::{acl, errors, tags};
use crate::wire::{ServiceError, ServiceRequest};
use serde::{Deserialize, Serialize};

/// S3's bound on user metadata in bytes, names and values together.
const METADATA_BYTES_MAX: usize = 2048;
const METADATA_PREFIX: &str = "x-amz-meta-";

/// Headers that S3 stores with an object.
const STORED: [&str; 7] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    // AES256 and nothing else, see `ONLY`: said as AWS says it. What is on disk is as safe as the disk.
    "x-amz-server-side-encryption",
];

/// Headers that ask for something this server does not do.
const REFUSED: [&str; 9] = [
    "x-amz-server-side-encryption-",
    "x-amz-object-lock-",
    "x-amz-bucket-object-lock-enabled",
    "x-amz-website-redirect-location",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-write-offset-bytes",
    "x-amz-bucket-namespace",
    "x-amz-mp-object-size",
    // Asks to unpack an archive, as Snowball and MinIO do.
    "x-amz-meta-snowball-auto-extract",
];

/// Headers of which only AWS's default is here.
const ONLY: [(&str, &[&str]); 3] = [
    ("x-amz-server-side-encryption", &["AES256"]),
    ("x-amz-storage-class", &["STANDARD"]),
    ("x-amz-object-ownership", &["BucketOwnerEnforced"]),
];

/// Refuses what the headers ask for and this server does not do.
pub(super) fn refuse_unsupported(request: &ServiceRequest) -> Result<(), ServiceError> {
    acl::refuse_others(request)?;
    for name in request.headers.keys().map(http::HeaderName::as_str) {
        if REFUSED.iter().any(|refused| name.starts_with(refused)) {
            return Err(errors::header_not_implemented(name));
        }
    }
    for (name, supported) in ONLY {
        if request.header(name).is_some_and(|value| !supported.contains(&value)) {
            return Err(errors::header_not_implemented(name));
        }
    }
    Ok(())
}

/// The stored head of an object, or of an upload on its way to be one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub headers: Vec<(String, String)>,
    pub metadata: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    /// Of an upload: the algorithm its parts agree on, and how the whole is made from them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts_checksum: Option<(Algorithm, Kind)>,
}

impl Head {
    pub fn of(request: &ServiceRequest) -> Result<Self, ServiceError> {
        let mut head = Self { headers: stored_headers(request), ..Self::default() };
        for (name, value) in &request.headers {
            if let Some(name) = name.as_str().strip_prefix(METADATA_PREFIX) {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                head.metadata.push((name.to_owned(), value));
            }
        }
        let size: usize = head.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if size > METADATA_BYTES_MAX {
            let message = "Your metadata headers exceed the maximum allowed metadata size";
            return Err(ServiceError::client("MetadataTooLarge", message)
                .with_field("Size", size.to_string())
                .with_field("MaxSizeAllowed", METADATA_BYTES_MAX.to_string()));
        }
        if let Some(given) = request.header("x-amz-tagging") {
            head.tags = tags::of_header(given)?;
        }
        Ok(head)
    }

    /// The header that says how the object is encrypted, if the caller asked for it.
    pub fn encryption(&self) -> Option<(&str, &str)> {
        let found = self.headers.iter().find(|(name, _)| name == "x-amz-server-side-encryption");
        found.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All headers that give the head back.
    pub fn response_headers(&self) -> impl Iterator<Item = (String, &str)> {
        let stored = self.headers.iter().map(|(name, value)| (name.clone(), value.as_str()));
        let metadata =
            self.metadata.iter().map(|(name, value)| (format!("{METADATA_PREFIX}{name}"), value.as_str()));
        stored.chain(metadata)
    }
}

fn stored_headers(request: &ServiceRequest) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for name in STORED {
        let Some(value) = request.headers.get(name) else { continue };
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let value = if name == "content-encoding" { without_chunks(&value) } else { value };
        if !value.is_empty() {
            headers.push((name.to_owned(), value));
        }
    }
    if !headers.iter().any(|(name, _)| name == "content-type") {
        headers.push(("content-type".to_owned(), "binary/octet-stream".to_owned()));
    }
    headers
}

/// `aws-chunked` is about the transfer, not about the object.
fn without_chunks(encoding: &str) -> String {
    let parts = encoding.split(',').map(str::trim).filter(|part| !part.is_empty() && *part != "aws-chunked");
    parts.collect::<Vec<_>>().join(",")
}
