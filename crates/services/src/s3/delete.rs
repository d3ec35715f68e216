//! DeleteObject and DeleteObjects: an object goes, or a delete marker takes its place, as the bucket's versioning says.

use super::body::document_of;
use super::conditions::WriteConditions;
use super::errors::malformed_xml;
use super::happening::{self, Happening, Origin};
use super::input::Element;
use super::reply::{Change, Reply};
use super::versions::{self, Bucket, NewObject, Versioning, find_bucket};
use super::{Call, S3};
use crate::wire::{ServiceError, ServiceRequest, ServiceResponse, Xml};
use rusqlite::Connection;

/// S3's bound on the keys of one DeleteObjects.
const KEYS_MAX: usize = 1000;

/// An object to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub key: String,
    pub version: Option<String>,
}

/// The input of DeleteObjects.
#[derive(Debug, Clone, Default)]
pub(super) struct Targets {
    pub targets: Vec<Target>,
    is_quiet: bool,
}

/// Reads the body of DeleteObjects.
pub(super) fn keys_to_delete(request: &ServiceRequest) -> Result<Targets, ServiceError> {
    let delete = Element::parse(&document_of(request)?, "Delete")?;
    let mut targets = Vec::new();
    for object in delete.all("Object") {
        let key = object.text_of("Key").filter(|key| !key.is_empty()).ok_or_else(malformed_xml)?;
        // Conditional deletes of many are not here; ignoring the condition would delete too much.
        if let Some(condition) =
            ["ETag", "LastModifiedTime", "Size"].iter().find(|name| object.child(name).is_some())
        {
            return Err(super::errors::not_implemented(&format!("DeleteObjects with {condition}")));
        }
        targets.push(Target { key: key.to_owned(), version: object.text_of("VersionId").map(str::to_owned) });
    }
    if targets.is_empty() || targets.len() > KEYS_MAX {
        return Err(malformed_xml());
    }
    Ok(Targets { targets, is_quiet: delete.text_of("Quiet") == Some("true") })
}

/// What became of one object.
#[derive(Debug, Default)]
struct Deleted {
    /// The version that is gone, or the delete marker that came.
    version: Option<String>,
    is_marker: bool,
    released: Vec<String>,
}

impl S3 {
    pub(super) async fn delete_object(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let conditions = WriteConditions::of(&call.request)?;
        let target = call.target();
        let job = move |connection: &Connection| {
            let bucket = find_bucket(connection, &target.account, &target.address.bucket)?;
            let key = target.address.key;
            conditions.check(&key, versions::latest(connection, bucket.id, &key)?.as_ref())?;
            let deleted =
                delete(connection, &bucket, &Target { key, version: target.version }, &target.origin)?;
            let mut reply = Reply::status(204);
            if deleted.is_marker {
                reply.header("x-amz-delete-marker", "true");
            }
            if let Some(version) = &deleted.version {
                reply.header("x-amz-version-id", version);
            }
            Ok(Change { reply, released: deleted.released })
        };
        self.commit(call, Vec::new(), job).await
    }

    pub(super) async fn delete_objects(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let keys = keys_to_delete(&call.request)?;
        let (target, origin) = (call.target(), call.origin.clone());
        let job = move |connection: &Connection| {
            let bucket = find_bucket(connection, &target.account, &target.address.bucket)?;
            let (mut children, mut released) = (Vec::new(), Vec::new());
            for target in &keys.targets {
                match delete(connection, &bucket, target, &origin) {
                    Ok(mut deleted) => {
                        released.append(&mut deleted.released);
                        children.extend((!keys.is_quiet).then(|| deleted_element(target, &deleted)));
                    }
                    Err(error) if error.status.is_client_error() => {
                        children.push(error_element(target, &error))
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(Change { reply: Reply::document("DeleteResult", children), released })
        };
        self.commit(call, Vec::new(), job).await
    }
}

fn delete(
    connection: &Connection,
    bucket: &Bucket,
    target: &Target,
    origin: &Origin,
) -> Result<Deleted, ServiceError> {
    if let Some(version) = &target.version {
        return match versions::exact(connection, bucket.id, &target.key, version)? {
            Some(object) => {
                happening::note(connection, bucket, origin, &Happening::removed(&object, bucket))?;
                Ok(Deleted {
                    released: versions::remove(connection, bucket, &object)?,
                    is_marker: object.is_marker,
                    version: bucket.has_versions().then_some(object.version),
                })
            }
            // What is not there is as good as deleted.
            None => Ok(Deleted { version: Some(version.clone()), ..Deleted::default() }),
        };
    }
    if bucket.versioning == Versioning::Off {
        let released = match versions::latest(connection, bucket.id, &target.key)? {
            Some(object) => {
                happening::note(connection, bucket, origin, &Happening::removed(&object, bucket))?;
                versions::remove(connection, bucket, &object)?
            }
            None => Vec::new(),
        };
        return Ok(Deleted { released, ..Deleted::default() });
    }
    let modified = origin.at_ms;
    let marker = NewObject { key: target.key.clone(), is_marker: true, modified, ..NewObject::default() };
    let (version, released) = versions::insert(connection, bucket, &marker)?;
    happening::note(connection, bucket, origin, &Happening::marked(&marker.key, &version))?;
    Ok(Deleted { version: Some(version), is_marker: true, released })
}

fn deleted_element(target: &Target, deleted: &Deleted) -> Xml {
    let mut element = Xml::element("Deleted").with(Xml::text("Key", &target.key));
    if let Some(version) = &target.version {
        element = element.with(Xml::text("VersionId", version));
    }
    if let (true, Some(version)) = (deleted.is_marker, &deleted.version) {
        element =
            element.with(Xml::text("DeleteMarker", true)).with(Xml::text("DeleteMarkerVersionId", version));
    }
    element
}

fn error_element(target: &Target, error: &ServiceError) -> Xml {
    Xml::element("Error")
        .with(Xml::text("Key", &target.key))
        .with(Xml::text("Code", error.short_code()))
        .with(Xml::text("Message", &error.message))
}
