//! GetObjectAttributes: what is known about an object, without its bytes.

use super::errors::{invalid_argument, invalid_request};
use super::text::{document, http_date};
use super::{Call, S3};
use crate::wire::{ServiceError, ServiceResponse, Xml};

const NAMES: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];
const PARTS_MAX: usize = 1000;

impl S3 {
    pub(super) fn get_object_attributes(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let request = &call.request;
        let values = request.headers.get_all("x-amz-object-attributes");
        let texts: Vec<&str> = values.iter().filter_map(|value| value.to_str().ok()).collect();
        let wanted: Vec<&str> = texts.iter().flat_map(|text| text.split(',')).map(str::trim).collect();
        if wanted.is_empty() {
            return Err(invalid_request(
                "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty",
            ));
        }
        if let Some(unknown) = wanted.iter().find(|name| !NAMES.contains(name)) {
            return Err(invalid_argument(
                "Invalid attribute name specified.",
                "x-amz-object-attributes",
                unknown,
            ));
        }
        let (bucket, object, segments) =
            self.found(&call.account, &call.address.bucket, &call.address.key, request.query("versionId"))?;
        let is_wanted = |name: &str| wanted.contains(&name);
        let mut children = Vec::new();
        if is_wanted("ETag") {
            children.push(Xml::text("ETag", &object.etag));
        }
        if let Some(checksum) = object.head.checksum.as_ref().filter(|_| is_wanted("Checksum")) {
            let element = Xml::element("Checksum")
                .with(Xml::text(checksum.algorithm.element(), &checksum.value))
                .with(Xml::text("ChecksumType", checksum.kind.name()));
            children.push(element);
        }
        if is_wanted("ObjectParts") && object.etag.contains('-') {
            let number = |name: &str| request.header(name).and_then(|text| text.parse::<usize>().ok());
            let after = number("x-amz-part-number-marker").unwrap_or(0);
            let count_max = number("x-amz-max-parts").unwrap_or(PARTS_MAX).min(PARTS_MAX);
            let last = (after + count_max).min(segments.len());
            // The parts' own checksums are not kept, and without them AWS lists none.
            let parts = Xml::element("ObjectParts")
                .with(Xml::text("TotalPartsCount", segments.len()))
                .with(Xml::text("PartNumberMarker", after))
                .with(Xml::text("NextPartNumberMarker", last))
                .with(Xml::text("MaxParts", count_max))
                .with(Xml::text("IsTruncated", last < segments.len()));
            children.push(parts);
        }
        if is_wanted("StorageClass") {
            children.push(Xml::text("StorageClass", "STANDARD"));
        }
        if is_wanted("ObjectSize") {
            children.push(Xml::text("ObjectSize", object.size));
        }
        let answer = document("GetObjectAttributesResponse", children)
            .with_header("last-modified", &http_date(object.modified));
        Ok(if bucket.has_versions() {
            answer.with_header("x-amz-version-id", &object.version)
        } else {
            answer
        })
    }
}
