//! The tables of `sqs.db`. A message's `position` is its place in the queue and never used twice. The two indexes are
//! the two orders in which messages leave: by visibility, and by age (FIFO, retention).

pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE queues(
        id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
        created INTEGER NOT NULL, modified INTEGER NOT NULL, attributes TEXT NOT NULL, tags TEXT NOT NULL,
        UNIQUE (account, region, name));
    CREATE TABLE messages(
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        queue INTEGER NOT NULL REFERENCES queues(id) ON DELETE CASCADE,
        id TEXT NOT NULL, body TEXT NOT NULL, attributes TEXT NOT NULL, system_attributes TEXT NOT NULL,
        sent INTEGER NOT NULL, visible INTEGER NOT NULL, receipt TEXT,
        first_received INTEGER, receive_count INTEGER NOT NULL DEFAULT 0, group_id TEXT);
    CREATE INDEX messages_visible ON messages(queue, visible, position);
    CREATE INDEX messages_sent ON messages(queue, sent);
    CREATE TABLE deduplication(
        queue INTEGER NOT NULL REFERENCES queues(id) ON DELETE CASCADE,
        key TEXT NOT NULL, at INTEGER NOT NULL, message_id TEXT NOT NULL, position INTEGER NOT NULL,
        PRIMARY KEY (queue, key)) WITHOUT ROWID;
    CREATE INDEX deduplication_at ON deduplication(queue, at);"];
