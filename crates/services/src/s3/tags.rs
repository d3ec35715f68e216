//! Tags of buckets and objects.

use super::errors::malformed_xml;
use super::happening::{self, Happening};
use super::input::Element;
use super::reply::{Change, Reply};
use super::text::{document, encode_form};
use super::versions::{self, find_bucket};
use super::{Call, S3};
use crate::wire::{Form, ServiceError, ServiceResponse, Xml};
use rusqlite::{Connection, params};
use std::collections::BTreeSet;

/// AWS's quotas.
const OBJECT_TAGS_MAX: usize = 10;
const BUCKET_TAGS_MAX: usize = 50;
const KEY_LENGTH_MAX: usize = 128;
const VALUE_LENGTH_MAX: usize = 256;

pub(super) type Tags = Vec<(String, String)>;

/// The tags of an `x-amz-tagging` header: `a=b&c=d`.
pub(super) fn of_header(text: &str) -> Result<Tags, ServiceError> {
    let form = Form::parse(Some(text), &[]);
    let tags: Tags = form.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    checked(tags, OBJECT_TAGS_MAX)
}

/// A tagging document, as the fields of a form hold it, in the form of the header.
pub(super) fn form_of_document(text: &str) -> Result<String, ServiceError> {
    let tags = of_body(text.as_bytes(), OBJECT_TAGS_MAX)?;
    let pair = |(key, value): &(String, String)| format!("{}={}", encode_form(key), encode_form(value));
    Ok(tags.iter().map(pair).collect::<Vec<_>>().join("&"))
}

/// The tags among an element's children.
pub(super) fn of_element(set: &Element) -> Result<Tags, ServiceError> {
    let pair = |tag: &Element| Some((tag.text_of("Key")?.to_owned(), tag.text_of("Value")?.to_owned()));
    set.all("Tag").map(|tag| pair(tag).ok_or_else(malformed_xml)).collect()
}

fn of_body(body: &[u8], count_max: usize) -> Result<Tags, ServiceError> {
    let tagging = Element::parse(body, "Tagging")?;
    checked(of_element(tagging.child("TagSet").ok_or_else(malformed_xml)?)?, count_max)
}

fn checked(tags: Tags, count_max: usize) -> Result<Tags, ServiceError> {
    let invalid = |message: &str| Err(ServiceError::client("InvalidTag", message));
    if tags.len() > count_max {
        let what = if count_max == OBJECT_TAGS_MAX { "Object" } else { "Bucket" };
        let message = format!("{what} tags cannot be greater than {count_max}");
        return Err(ServiceError::client("BadRequest", message));
    }
    let keys: BTreeSet<&str> = tags.iter().map(|(key, _)| key.as_str()).collect();
    if keys.len() < tags.len() {
        return invalid("Cannot provide multiple Tags with the same key");
    }
    for (key, value) in &tags {
        if key.is_empty() || key.chars().count() > KEY_LENGTH_MAX {
            return invalid("The TagKey you have provided is invalid");
        }
        if value.chars().count() > VALUE_LENGTH_MAX {
            return invalid("The TagValue you have provided is invalid");
        }
    }
    Ok(tags)
}

fn answer(tags: &Tags) -> ServiceResponse {
    let tag = |(key, value): &(String, String)| {
        Xml::element("Tag").with(Xml::text("Key", key)).with(Xml::text("Value", value))
    };
    document("Tagging", vec![Xml::element("TagSet").with_children(tags.iter().map(tag))])
}

impl S3 {
    pub(super) fn get_object_tagging(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let (bucket, object) = self.database.read(|connection| {
            let bucket = find_bucket(connection, &call.account, &call.address.bucket)?;
            let object =
                versions::find(connection, &bucket, &call.address.key, call.request.query("versionId"))?;
            Ok::<_, ServiceError>((bucket, object))
        })?;
        let answer = answer(&object.head.tags);
        Ok(if bucket.has_versions() {
            answer.with_header("x-amz-version-id", &object.version)
        } else {
            answer
        })
    }

    /// Sets or, without tags, removes the tags of an object.
    pub(super) async fn set_object_tagging(
        &self,
        call: &Call,
        is_put: bool,
    ) -> Result<ServiceResponse, ServiceError> {
        let tags = if is_put { of_body(&call.document()?, OBJECT_TAGS_MAX)? } else { Tags::new() };
        let target = call.target();
        let job = move |connection: &Connection| {
            let bucket = find_bucket(connection, &target.account, &target.address.bucket)?;
            let key = &target.address.key;
            let object = versions::find(connection, &bucket, key, target.version.as_deref())?;
            happening::note(
                connection,
                &bucket,
                &target.origin,
                &Happening::tagged(&object, &bucket, is_put),
            )?;
            let mut head = object.head;
            head.tags = tags;
            let head = serde_json::to_string(&head).map_err(ServiceError::internal)?;
            connection.execute("UPDATE versions SET head = ?2 WHERE id = ?1", params![object.id, head])?;
            let mut reply = Reply::status(if is_put { 200 } else { 204 });
            if bucket.has_versions() {
                reply.header("x-amz-version-id", &object.version);
            }
            Ok(Change::of(reply))
        };
        self.commit(call, Vec::new(), job).await
    }

    pub(super) fn get_bucket_tagging(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let bucket = self.bucket(call)?;
        let tags: Option<Tags> = self.database.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT tags FROM buckets WHERE id = ?1")?;
            let text: Option<String> = statement.query_row([bucket.id], |row| row.get(0))?;
            text.map(|text| serde_json::from_str(&text).map_err(ServiceError::internal)).transpose()
        })?;
        let missing = || {
            ServiceError::new(404, "NoSuchTagSet", "The TagSet does not exist")
                .with_field("BucketName", bucket.name.as_str())
        };
        Ok(answer(&tags.ok_or_else(missing)?))
    }

    /// Sets or, without tags, removes the tags of a bucket.
    pub(super) async fn set_bucket_tagging(
        &self,
        call: &Call,
        is_put: bool,
    ) -> Result<ServiceResponse, ServiceError> {
        let tags = if is_put { Some(of_body(&call.document()?, BUCKET_TAGS_MAX)?) } else { None };
        let text =
            tags.map(|tags| serde_json::to_string(&tags)).transpose().map_err(ServiceError::internal)?;
        self.set_bucket_column(call, "tags", text, 204).await
    }
}
