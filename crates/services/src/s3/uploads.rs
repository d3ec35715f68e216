//! ListMultipartUploads: the uploads that are neither completed nor aborted, by key and id, with keys beyond a delimiter
//! rolled up into common prefixes as in the listings of objects.

use super::list::{Listing, count_of};
use super::page::{ENTRIES_MAX, Rows};
use super::text::{document, iso_ms};
use super::{Call, S3, owner};
use crate::wire::{ServiceError, ServiceResponse, Xml};
use rusqlite::{Connection, params};

/// One entry of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Upload { key: String, id: String, initiated: i64 },
    CommonPrefix(String),
}

/// Where a page begins: after an upload, or after all of a key or common prefix.
#[derive(Debug, Clone, Copy)]
struct Marker<'a> {
    key: &'a str,
    id: &'a str,
}

impl S3 {
    pub(super) fn list_multipart_uploads(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let bucket = self.bucket(call)?;
        let listing = Listing::of(&call.request, "max-uploads")?;
        let query = |name: &str| call.request.query(name).unwrap_or_default();
        let marker = Marker { key: query("key-marker"), id: query("upload-id-marker") };
        let count_max = count_of(&call.request, "max-uploads")?.min(ENTRIES_MAX);
        let mut entries = self.database.read(|connection| {
            // One more than the page holds tells whether there is more.
            uploads(connection, bucket.id, &listing, marker, count_max + 1)
        })?;
        let is_truncated = entries.len() > count_max;
        entries.truncate(count_max);
        let mut children = vec![
            Xml::text("Bucket", &bucket.name),
            listing.key("KeyMarker", marker.key),
            Xml::text("UploadIdMarker", marker.id),
            listing.key("Prefix", listing.prefix),
            Xml::text("MaxUploads", count_max),
            Xml::text("IsTruncated", is_truncated),
        ];
        if !listing.delimiter.is_empty() {
            children.push(listing.key("Delimiter", listing.delimiter));
        }
        match entries.last().filter(|_| is_truncated) {
            Some(Entry::Upload { key, id, .. }) => {
                children.push(listing.key("NextKeyMarker", key));
                children.push(Xml::text("NextUploadIdMarker", id));
            }
            Some(Entry::CommonPrefix(prefix)) => children.push(listing.key("NextKeyMarker", prefix)),
            None => {}
        }
        children.extend(entries.iter().map(|entry| element(entry, &listing, &call.account)));
        Ok(document("ListMultipartUploadsResult", children))
    }
}

fn uploads(
    connection: &Connection,
    bucket: i64,
    listing: &Listing<'_>,
    marker: Marker<'_>,
    limit: usize,
) -> Result<Vec<Entry>, ServiceError> {
    let sql = "SELECT key, id, initiated FROM uploads WHERE bucket = ?1 AND key >= ?2 \
               AND (key > ?3 OR (key = ?3 AND ?4 <> '' AND id > ?4)) ORDER BY key, id";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![bucket, listing.prefix, marker.key, marker.id])?;
    let query = listing.query(Rows::Objects);
    let mut entries: Vec<Entry> = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        if entries.len() == limit || !key.starts_with(listing.prefix) {
            break;
        }
        let entry = match query.rolled_up(&key) {
            // A marker that is itself a common prefix stands for all below it.
            Some(prefix) if prefix == marker.key => continue,
            Some(prefix) => Entry::CommonPrefix(prefix),
            None => Entry::Upload { key, id: row.get(1)?, initiated: row.get(2)? },
        };
        if entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    Ok(entries)
}

fn element(entry: &Entry, listing: &Listing<'_>, account: &str) -> Xml {
    match entry {
        Entry::Upload { key, id, initiated } => Xml::element("Upload")
            .with(listing.key("Key", key))
            .with(Xml::text("UploadId", id))
            .with(owner("Initiator", account))
            .with(owner("Owner", account))
            .with(Xml::text("StorageClass", "STANDARD"))
            .with(Xml::text("Initiated", iso_ms(*initiated))),
        Entry::CommonPrefix(prefix) => Xml::element("CommonPrefixes").with(listing.key("Prefix", prefix)),
    }
}
