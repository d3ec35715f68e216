//! The tables of `s3.db`. A row of `versions` is an object, one of its versions, or a delete marker; the newest of a key
//! is marked as its latest. Its bytes are its `segments`, in order: files of [`super::blobs`], named by no other row. What
//! notifications owe is in `outbox`, written with the change it tells of.

pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE buckets(
        id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, name TEXT NOT NULL, region TEXT NOT NULL,
        created INTEGER NOT NULL, versioning TEXT NOT NULL DEFAULT '', tags TEXT, policy TEXT,
        UNIQUE (account, name));
    CREATE TABLE versions(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        bucket INTEGER NOT NULL REFERENCES buckets(id),
        key TEXT NOT NULL, version TEXT NOT NULL, is_latest INTEGER NOT NULL, is_marker INTEGER NOT NULL,
        size INTEGER NOT NULL, etag TEXT NOT NULL, modified INTEGER NOT NULL, head TEXT NOT NULL,
        UNIQUE (bucket, key, version));
    CREATE UNIQUE INDEX versions_latest ON versions(bucket, key) WHERE is_latest = 1;
    CREATE INDEX versions_newest ON versions(bucket, key, id DESC);
    CREATE TABLE segments(
        object INTEGER NOT NULL REFERENCES versions(id) ON DELETE CASCADE,
        number INTEGER NOT NULL, blob TEXT NOT NULL UNIQUE, size INTEGER NOT NULL,
        PRIMARY KEY (object, number)) WITHOUT ROWID;
    CREATE TABLE uploads(
        id TEXT PRIMARY KEY, bucket INTEGER NOT NULL REFERENCES buckets(id),
        key TEXT NOT NULL, initiated INTEGER NOT NULL, head TEXT NOT NULL);
    CREATE INDEX uploads_key ON uploads(bucket, key, initiated);
    CREATE TABLE parts(
        upload TEXT NOT NULL REFERENCES uploads(id) ON DELETE CASCADE,
        number INTEGER NOT NULL, blob TEXT NOT NULL UNIQUE, size INTEGER NOT NULL,
        etag TEXT NOT NULL, checksum TEXT, modified INTEGER NOT NULL,
        PRIMARY KEY (upload, number)) WITHOUT ROWID;", "
    CREATE TABLE configurations(
        bucket INTEGER NOT NULL REFERENCES buckets(id) ON DELETE CASCADE,
        name TEXT NOT NULL, document TEXT NOT NULL,
        PRIMARY KEY (bucket, name)) WITHOUT ROWID;
    CREATE TABLE outbox(
        id INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT NOT NULL, account TEXT NOT NULL, region TEXT NOT NULL,
        target TEXT NOT NULL, detail_type TEXT NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL,
        due INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0);
    CREATE INDEX outbox_due ON outbox(due);"];
