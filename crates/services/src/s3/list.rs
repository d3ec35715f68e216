//! ListObjects, ListObjectsV2 and ListObjectVersions.

use super::page::{ENTRIES_MAX, Entry, Page, Position, Query, Rows};
use super::text::{document, encode_key, iso_ms, quoted};
use super::versions::{Bucket, Object, exact};
use super::{Call, S3, errors, owner};
use crate::wire::{ServiceError, ServiceRequest, ServiceResponse, Xml};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The input that the listings share.
pub(super) struct Listing<'a> {
    pub prefix: &'a str,
    pub delimiter: &'a str,
    count_max: usize,
    is_encoded: bool,
}

impl<'a> Listing<'a> {
    pub fn of(request: &'a ServiceRequest, count: &str) -> Result<Self, ServiceError> {
        let text = |name: &str| request.query(name).unwrap_or_default();
        let is_encoded = match request.query("encoding-type") {
            None => false,
            Some("url") => true,
            Some(other) => {
                let message = "Invalid Encoding Method specified in Request";
                return Err(errors::invalid_argument(message, "encoding-type", other));
            }
        };
        let count_max = count_of(request, count)?;
        Ok(Self { prefix: text("prefix"), delimiter: text("delimiter"), count_max, is_encoded })
    }

    pub fn query(&self, rows: Rows) -> Query<'a> {
        Query {
            rows,
            prefix: self.prefix,
            delimiter: self.delimiter,
            count_max: self.count_max.min(ENTRIES_MAX),
        }
    }

    /// An element that holds a key or a part of one.
    pub fn key(&self, name: &str, key: &str) -> Xml {
        if self.is_encoded { Xml::text(name, encode_key(key)) } else { Xml::text(name, key) }
    }

    /// The elements that every listing begins with.
    fn begin(&self, bucket: &Bucket) -> Vec<Xml> {
        let mut children = vec![Xml::text("Name", &bucket.name), self.key("Prefix", self.prefix)];
        if !self.delimiter.is_empty() {
            children.push(self.key("Delimiter", self.delimiter));
        }
        if self.is_encoded {
            children.push(Xml::text("EncodingType", "url"));
        }
        children.push(Xml::text("MaxKeys", self.count_max.min(ENTRIES_MAX)));
        children
    }

    fn common_prefixes(&self, page: &Page) -> Vec<Xml> {
        let element = |prefix: &str| Xml::element("CommonPrefixes").with(self.key("Prefix", prefix));
        page.common_prefixes().map(element).collect()
    }

    fn contents(&self, object: &Object, account: Option<&str>) -> Xml {
        let mut element = Xml::element("Contents")
            .with(self.key("Key", &object.key))
            .with(Xml::text("LastModified", iso_ms(object.modified)))
            .with(Xml::text("ETag", quoted(&object.etag)));
        if let Some(checksum) = &object.head.checksum {
            element = element
                .with(Xml::text("ChecksumAlgorithm", checksum.algorithm.name()))
                .with(Xml::text("ChecksumType", checksum.kind.name()));
        }
        element = element.with(Xml::text("Size", object.size));
        if let Some(account) = account {
            element = element.with(owner("Owner", account));
        }
        element.with(Xml::text("StorageClass", "STANDARD"))
    }
}

/// A page's size as the caller wants it.
pub(super) fn count_of(request: &ServiceRequest, name: &str) -> Result<usize, ServiceError> {
    let Some(text) = request.query(name).filter(|text| !text.is_empty()) else { return Ok(ENTRIES_MAX) };
    text.parse::<i32>().ok().and_then(|count| usize::try_from(count).ok()).ok_or_else(|| {
        errors::invalid_argument("Argument maxKeys must be an integer between 0 and 2147483647", name, text)
    })
}

impl S3 {
    pub(super) fn list_objects(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let bucket = self.bucket(call)?;
        let listing = Listing::of(&call.request, "max-keys")?;
        let query = listing.query(Rows::Objects);
        let marker = call.request.query("marker").unwrap_or_default();
        let begin = query.after_marker(marker);
        let page = self.database.read(|connection| query.page(connection, bucket.id, begin))?;
        let mut children = listing.begin(&bucket);
        children.push(listing.key("Marker", marker));
        children.push(Xml::text("IsTruncated", page.is_truncated));
        if let (true, false, Some(last)) =
            (page.is_truncated, listing.delimiter.is_empty(), page.entries.last())
        {
            let marker = match last {
                Entry::Object(object) => &object.key,
                Entry::CommonPrefix(prefix) => prefix,
            };
            children.push(listing.key("NextMarker", marker));
        }
        children.extend(page.objects().map(|object| listing.contents(object, Some(&call.account))));
        children.extend(listing.common_prefixes(&page));
        Ok(document("ListBucketResult", children))
    }

    pub(super) fn list_objects_v2(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let bucket = self.bucket(call)?;
        let listing = Listing::of(&call.request, "max-keys")?;
        let query = listing.query(Rows::Objects);
        let (token, start) = (call.request.query("continuation-token"), call.request.query("start-after"));
        let begin = match token {
            Some(token) => position(token).ok_or_else(|| {
                let message = "The continuation token provided is incorrect";
                errors::invalid_argument(message, "continuation-token", token)
            })?,
            None => Position::after(start.unwrap_or_default()),
        };
        let page = self.database.read(|connection| query.page(connection, bucket.id, begin))?;
        let mut children = listing.begin(&bucket);
        if let Some(start) = start.filter(|start| !start.is_empty()) {
            children.push(listing.key("StartAfter", start));
        }
        children.extend(token.map(|token| Xml::text("ContinuationToken", token)));
        if let (true, Some(last)) = (page.is_truncated, page.entries.last()) {
            children.push(Xml::text("NextContinuationToken", next_token(last)));
        }
        children.push(Xml::text("KeyCount", page.entries.len()));
        children.push(Xml::text("IsTruncated", page.is_truncated));
        let account = (call.request.query("fetch-owner") == Some("true")).then_some(call.account.as_str());
        children.extend(page.objects().map(|object| listing.contents(object, account)));
        children.extend(listing.common_prefixes(&page));
        Ok(document("ListBucketResult", children))
    }

    pub(super) fn list_object_versions(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let bucket = self.bucket(call)?;
        let listing = Listing::of(&call.request, "max-keys")?;
        let query = listing.query(Rows::Versions);
        let key_marker = call.request.query("key-marker").unwrap_or_default();
        let version_marker = call.request.query("version-id-marker").filter(|marker| !marker.is_empty());
        let page = self.database.read(|connection| {
            let begin = match version_marker {
                Some(version) => match exact(connection, bucket.id, key_marker, version)? {
                    Some(object) => Position::after_version(key_marker, object.id),
                    None => return Err(invalid_version_marker(version)),
                },
                None => query.after_marker(key_marker),
            };
            query.page(connection, bucket.id, begin)
        })?;
        let mut children = listing.begin(&bucket);
        children.push(listing.key("KeyMarker", key_marker));
        children.push(Xml::text("VersionIdMarker", version_marker.unwrap_or_default()));
        children.push(Xml::text("IsTruncated", page.is_truncated));
        match page.entries.last().filter(|_| page.is_truncated) {
            Some(Entry::Object(object)) => {
                children.push(listing.key("NextKeyMarker", &object.key));
                children.push(Xml::text("NextVersionIdMarker", &object.version));
            }
            Some(Entry::CommonPrefix(prefix)) => children.push(listing.key("NextKeyMarker", prefix)),
            None => {}
        }
        children.extend(page.objects().map(|object| version_element(&listing, object, &call.account)));
        children.extend(listing.common_prefixes(&page));
        Ok(document("ListVersionsResult", children))
    }
}

fn invalid_version_marker(version: &str) -> ServiceError {
    errors::invalid_argument("Invalid version id specified", "version-id-marker", version)
}

fn version_element(listing: &Listing<'_>, object: &Object, account: &str) -> Xml {
    let element = Xml::element(if object.is_marker { "DeleteMarker" } else { "Version" })
        .with(listing.key("Key", &object.key))
        .with(Xml::text("VersionId", &object.version))
        .with(Xml::text("IsLatest", object.is_latest))
        .with(Xml::text("LastModified", iso_ms(object.modified)))
        .with(owner("Owner", account));
    if object.is_marker {
        return element;
    }
    element
        .with(Xml::text("ETag", quoted(&object.etag)))
        .with(Xml::text("Size", object.size))
        .with(Xml::text("StorageClass", "STANDARD"))
}

/// A continuation token says whether the last entry was a key or a common prefix, and which.
pub(super) fn next_token(entry: &Entry) -> String {
    URL_SAFE_NO_PAD.encode(match entry {
        Entry::Object(object) => format!("k{}", object.key),
        Entry::CommonPrefix(prefix) => format!("p{prefix}"),
    })
}

pub(super) fn position(token: &str) -> Option<Position> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    match text.split_at_checked(1)? {
        ("k", key) => Some(Position::after(key)),
        ("p", prefix) => Some(Position::past(prefix)),
        _ => None,
    }
}
