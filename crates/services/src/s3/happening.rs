//! What happens to objects, told to whom the bucket's notification configuration names: EventBridge, queues, topics and
//! functions. What is owed is written in the transaction of the change itself, so that neither is ever without the other;
//! [`super::outbox`] delivers it.

use super::notification::{Configuration, Destination};
use super::text::encode_form;
use super::versions::{Bucket, NewObject, Object};
use crate::wire::{CallContext, ServiceError};
use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

/// The request that makes something happen.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    pub request_id: String,
    pub requester: String,
    pub principal: String,
    pub source_ip: String,
    pub at_ms: i64,
}

impl Origin {
    pub fn of(context: &CallContext, now: Timestamp) -> Self {
        Self {
            request_id: context.request_id.clone(),
            requester: context.principal.account().to_owned(),
            principal: context.principal.arn(),
            source_ip: context.source_ip.map_or_else(|| "127.0.0.1".to_owned(), |ip| ip.to_string()),
            at_ms: now.as_millisecond(),
        }
    }
}

/// Something that happened to an object.
#[derive(Debug)]
pub(super) struct Happening<'a> {
    /// `ObjectCreated:Put` and the like, as queues, topics and functions hear it.
    name: &'static str,
    /// What EventBridge calls it.
    detail_type: &'static str,
    /// The API that did it; of tags there is none.
    reason: Option<&'static str>,
    deletion_type: Option<&'static str>,
    key: &'a str,
    size: Option<u64>,
    etag: Option<&'a str>,
    version: Option<&'a str>,
}

impl<'a> Happening<'a> {
    /// An object came, by way of an API: the event's name and the reason.
    pub fn created(
        (name, reason): (&'static str, &'static str),
        object: &'a NewObject,
        bucket: &Bucket,
        version: &'a str,
    ) -> Self {
        Self {
            name,
            detail_type: "Object Created",
            reason: Some(reason),
            deletion_type: None,
            key: &object.key,
            size: Some(object.segments.iter().map(|segment| segment.size).sum()),
            etag: Some(&object.etag),
            version: bucket.has_versions().then_some(version),
        }
    }

    /// An object or version is gone for ever.
    pub fn removed(object: &'a Object, bucket: &Bucket) -> Self {
        Self {
            name: "ObjectRemoved:Delete",
            detail_type: "Object Deleted",
            reason: Some("DeleteObject"),
            deletion_type: Some("Permanently Deleted"),
            key: &object.key,
            size: None,
            etag: (!object.is_marker).then_some(object.etag.as_str()),
            version: bucket.has_versions().then_some(object.version.as_str()),
        }
    }

    /// A delete marker came.
    pub fn marked(key: &'a str, version: &'a str) -> Self {
        Self {
            name: "ObjectRemoved:DeleteMarkerCreated",
            detail_type: "Object Deleted",
            reason: Some("DeleteObject"),
            deletion_type: Some("Delete Marker Created"),
            key,
            size: None,
            etag: None,
            version: Some(version),
        }
    }

    /// An object's tags were set, or removed.
    pub fn tagged(object: &'a Object, bucket: &Bucket, has_tags: bool) -> Self {
        let (name, detail_type) = match has_tags {
            true => ("ObjectTagging:Put", "Object Tags Added"),
            false => ("ObjectTagging:Delete", "Object Tags Deleted"),
        };
        Self {
            name,
            detail_type,
            reason: None,
            deletion_type: None,
            key: &object.key,
            size: None,
            etag: Some(&object.etag),
            version: bucket.has_versions().then_some(object.version.as_str()),
        }
    }

    /// The detail of an EventBridge event.
    fn detail(&self, bucket: &Bucket, origin: &Origin, sequencer: &str) -> Value {
        let mut object = json!({ "key": self.key });
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                object[name] = value;
            }
        };
        set("size", self.size.map(Value::from));
        set("etag", self.etag.map(Value::from));
        set("version-id", self.version.map(Value::from));
        set("sequencer", Some(Value::from(sequencer)));
        let mut detail = json!({
            "version": "0", "bucket": { "name": bucket.name }, "object": object, "request-id": origin.request_id,
            "requester": origin.requester, "source-ip-address": origin.source_ip });
        if let Some(reason) = self.reason {
            detail["reason"] = json!(reason);
        }
        if let Some(deletion_type) = self.deletion_type {
            detail["deletion-type"] = json!(deletion_type);
        }
        detail
    }

    /// The message that queues, topics and functions get.
    fn records(&self, bucket: &Bucket, origin: &Origin, sequencer: &str, configuration: &str) -> Value {
        let mut object = json!({ "key": encode_form(self.key) });
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                object[name] = value;
            }
        };
        set("size", self.size.map(Value::from));
        set("eTag", self.etag.map(Value::from));
        set("versionId", self.version.map(Value::from));
        set("sequencer", Some(Value::from(sequencer)));
        let at = Timestamp::from_millisecond(origin.at_ms).unwrap_or_default();
        json!({ "Records": [{
            "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": bucket.region,
            "eventTime": at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(), "eventName": self.name,
            "userIdentity": { "principalId": origin.principal },
            "requestParameters": { "sourceIPAddress": origin.source_ip },
            "responseElements": { "x-amz-request-id": origin.request_id, "x-amz-id-2": origin.request_id },
            "s3": {
                "s3SchemaVersion": "1.0", "configurationId": configuration,
                "bucket": { "name": bucket.name, "ownerIdentity": { "principalId": origin.requester },
                            "arn": format!("arn:aws:s3:::{}", bucket.name) },
                "object": object } }] })
    }
}

/// Writes down what is owed because of it.
pub(super) fn note(
    connection: &Connection,
    bucket: &Bucket,
    origin: &Origin,
    happening: &Happening<'_>,
) -> Result<(), ServiceError> {
    let Some(configuration) = Configuration::of_bucket(connection, bucket.id)? else { return Ok(()) };
    // Later changes have greater ones, as the order of rows is that of the changes.
    let sql = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0) + 1";
    let next: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    let sequencer = format!("{:016X}{next:08X}", origin.at_ms);
    let owe = |target: &str, body: Value| -> Result<(), ServiceError> {
        let sql = "INSERT INTO outbox(bucket, account, region, target, detail_type, at, body, due) \
                   VALUES (?1, (SELECT account FROM buckets WHERE name = ?1 AND id = ?2), ?3, ?4, ?5, ?6, ?7, ?6)";
        connection.prepare_cached(sql)?.execute(params![
            bucket.name,
            bucket.id,
            bucket.region,
            target,
            happening.detail_type,
            origin.at_ms,
            body.to_string()
        ])?;
        Ok(())
    };
    if configuration.has_event_bridge {
        owe(super::outbox::EVENT_BRIDGE, happening.detail(bucket, origin, &sequencer))?;
    }
    for Destination { id, arn, .. } in configuration.interested(happening.name, happening.key) {
        owe(arn, happening.records(bucket, origin, &sequencer, id))?;
    }
    Ok(())
}
