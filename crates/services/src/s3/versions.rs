//! Rows of buckets and objects: found, inserted and removed. Of a key's rows exactly one is the latest, unless it has none.

use super::blobs::Segment;
use super::errors;
use super::head::Head;
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The version of objects that are written without versioning.
pub(super) const NULL_VERSION: &str = "null";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versioning {
    /// Never enabled.
    Off,
    Enabled,
    Suspended,
}

impl Versioning {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::Off),
            "Enabled" => Some(Self::Enabled),
            "Suspended" => Some(Self::Suspended),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "",
            Self::Enabled => "Enabled",
            Self::Suspended => "Suspended",
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Bucket {
    pub id: i64,
    pub name: String,
    pub region: String,
    pub created: i64,
    pub versioning: Versioning,
}

impl Bucket {
    pub const COLUMNS: &str = "id, name, region, created, versioning";

    pub fn of_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let versioning: String = row.get(4)?;
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
            region: row.get(2)?,
            created: row.get(3)?,
            versioning: Versioning::parse(&versioning).unwrap_or(Versioning::Off),
        })
    }

    /// Whether answers name versions.
    pub fn has_versions(&self) -> bool {
        self.versioning != Versioning::Off
    }
}

pub(super) fn find_bucket(
    connection: &Connection,
    account: &str,
    name: &str,
) -> Result<Bucket, ServiceError> {
    let sql = format!("SELECT {} FROM buckets WHERE account = ?1 AND name = ?2", Bucket::COLUMNS);
    let mut statement = connection.prepare_cached(&sql)?;
    let bucket = statement.query_row([account, name], Bucket::of_row).optional()?;
    bucket.ok_or_else(|| errors::no_such_bucket(name))
}

/// An object, a version of it, or a delete marker.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub id: i64,
    pub key: String,
    pub version: String,
    pub is_latest: bool,
    pub is_marker: bool,
    pub size: u64,
    pub etag: String,
    pub modified: i64,
    pub head: Head,
}

impl Object {
    /// An object without anything, for tests to fill in.
    #[cfg(test)]
    pub fn nothing() -> Self {
        Self {
            id: 0,
            key: String::new(),
            version: String::new(),
            is_latest: true,
            is_marker: false,
            size: 0,
            etag: String::new(),
            modified: 0,
            head: Head::default(),
        }
    }

    pub const COLUMNS: &str = "id, key, version, is_latest, is_marker, size, etag, modified, head";

    pub fn of_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let head: String = row.get(8)?;
        let broken = |error| {
            rusqlite::Error::FromSqlConversionFailure(8, rusqlite::types::Type::Text, Box::new(error))
        };
        Ok(Self {
            id: row.get(0)?,
            key: row.get(1)?,
            version: row.get(2)?,
            is_latest: row.get(3)?,
            is_marker: row.get(4)?,
            size: u64::try_from(row.get::<_, i64>(5)?).unwrap_or_default(),
            etag: row.get(6)?,
            modified: row.get(7)?,
            head: serde_json::from_str(&head).map_err(broken)?,
        })
    }
}

/// The newest row of a key, which may be a delete marker.
pub(super) fn latest(
    connection: &Connection,
    bucket: i64,
    key: &str,
) -> Result<Option<Object>, ServiceError> {
    let columns = Object::COLUMNS;
    let sql = format!("SELECT {columns} FROM versions WHERE bucket = ?1 AND key = ?2 AND is_latest = 1");
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row(params![bucket, key], Object::of_row).optional()?)
}

/// The row of a version.
pub(super) fn exact(
    connection: &Connection,
    bucket: i64,
    key: &str,
    version: &str,
) -> Result<Option<Object>, ServiceError> {
    let columns = Object::COLUMNS;
    let sql = format!("SELECT {columns} FROM versions WHERE bucket = ?1 AND key = ?2 AND version = ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row(params![bucket, key, version], Object::of_row).optional()?)
}

/// The object to be read: the latest, or that of the version.
pub(super) fn find(
    connection: &Connection,
    bucket: &Bucket,
    key: &str,
    version: Option<&str>,
) -> Result<Object, ServiceError> {
    let Some(version) = version else {
        let object = latest(connection, bucket.id, key)?.filter(|object| !object.is_marker);
        return object.ok_or_else(|| errors::no_such_key(key));
    };
    match exact(connection, bucket.id, key, version)? {
        Some(object) if object.is_marker => Err(errors::method_not_allowed("GET", "DeleteMarker")),
        Some(object) => Ok(object),
        None => Err(errors::no_such_version(key, version)),
    }
}

/// The files of an object, in order.
pub(super) fn segments(connection: &Connection, object: i64) -> Result<Vec<Segment>, ServiceError> {
    let sql = "SELECT blob, size FROM segments WHERE object = ?1 ORDER BY number";
    let mut statement = connection.prepare_cached(sql)?;
    let segment = |row: &Row<'_>| {
        Ok(Segment { blob: row.get(0)?, size: u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default() })
    };
    let rows = statement.query_map([object], segment)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A row to be written; without segments and with `is_marker` a delete marker.
#[derive(Debug, Clone, Default)]
pub(super) struct NewObject {
    pub key: String,
    pub is_marker: bool,
    pub etag: String,
    pub modified: i64,
    pub head: Head,
    pub segments: Vec<Segment>,
}

/// Writes the row as the latest of its key. Answers its version and the files that are not needed any more.
pub(super) fn insert(
    connection: &Connection,
    bucket: &Bucket,
    object: &NewObject,
) -> Result<(String, Vec<String>), ServiceError> {
    let mut released = Vec::new();
    let version = if bucket.versioning == Versioning::Enabled {
        uuid::Uuid::new_v4().simple().to_string()
    } else {
        if let Some(replaced) = exact(connection, bucket.id, &object.key, NULL_VERSION)? {
            released = delete_row(connection, replaced.id)?;
        }
        NULL_VERSION.to_owned()
    };
    let step_down = "UPDATE versions SET is_latest = 0 WHERE bucket = ?1 AND key = ?2 AND is_latest = 1";
    connection.prepare_cached(step_down)?.execute(params![bucket.id, object.key])?;
    let head = serde_json::to_string(&object.head).map_err(ServiceError::internal)?;
    let size: u64 = object.segments.iter().map(|segment| segment.size).sum();
    let size = i64::try_from(size).map_err(ServiceError::internal)?;
    connection
        .prepare_cached(
            "INSERT INTO versions(bucket, key, version, is_latest, is_marker, size, etag, modified, head) \
             VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            bucket.id,
            object.key,
            version,
            object.is_marker,
            size,
            object.etag,
            object.modified,
            head
        ])?;
    insert_segments(connection, connection.last_insert_rowid(), &object.segments)?;
    Ok((version, released))
}

fn insert_segments(connection: &Connection, object: i64, segments: &[Segment]) -> Result<(), ServiceError> {
    let sql = "INSERT INTO segments(object, number, blob, size) VALUES (?1, ?2, ?3, ?4)";
    let mut statement = connection.prepare_cached(sql)?;
    for (number, segment) in (1_i64..).zip(segments) {
        let size = i64::try_from(segment.size).map_err(ServiceError::internal)?;
        statement.execute(params![object, number, segment.blob, size])?;
    }
    Ok(())
}

/// Removes a row; the newest of the others becomes the latest. Answers the files that are not needed any more.
pub(super) fn remove(
    connection: &Connection,
    bucket: &Bucket,
    object: &Object,
) -> Result<Vec<String>, ServiceError> {
    let released = delete_row(connection, object.id)?;
    if object.is_latest {
        let sql = "UPDATE versions SET is_latest = 1 WHERE id = \
                   (SELECT max(id) FROM versions WHERE bucket = ?1 AND key = ?2)";
        connection.prepare_cached(sql)?.execute(params![bucket.id, object.key])?;
    }
    Ok(released)
}

fn delete_row(connection: &Connection, id: i64) -> Result<Vec<String>, ServiceError> {
    let released = segments(connection, id)?.into_iter().map(|segment| segment.blob).collect();
    connection.prepare_cached("DELETE FROM versions WHERE id = ?1")?.execute([id])?;
    Ok(released)
}
