//! The tables of `iam.db`. Names compare without regard to case, as IAM's do.

pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE roles(
        account TEXT NOT NULL, name TEXT NOT NULL COLLATE NOCASE, path TEXT NOT NULL, id TEXT NOT NULL,
        trust TEXT NOT NULL, description TEXT, session_seconds_max INTEGER NOT NULL, created INTEGER NOT NULL,
        PRIMARY KEY (account, name)) WITHOUT ROWID;
    CREATE TABLE users(
        account TEXT NOT NULL, name TEXT NOT NULL COLLATE NOCASE, path TEXT NOT NULL, id TEXT NOT NULL,
        created INTEGER NOT NULL,
        PRIMARY KEY (account, name)) WITHOUT ROWID;
    CREATE TABLE access_keys(
        id TEXT PRIMARY KEY, account TEXT NOT NULL, user TEXT NOT NULL COLLATE NOCASE, secret TEXT NOT NULL,
        status TEXT NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX access_keys_user ON access_keys(account, user);
    CREATE TABLE inline_policies(
        account TEXT NOT NULL, owner TEXT NOT NULL, owner_name TEXT NOT NULL COLLATE NOCASE,
        name TEXT NOT NULL, document TEXT NOT NULL,
        PRIMARY KEY (account, owner, owner_name, name)) WITHOUT ROWID;
    CREATE TABLE policies(
        arn TEXT PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL COLLATE NOCASE, path TEXT NOT NULL,
        id TEXT NOT NULL, description TEXT, created INTEGER NOT NULL, updated INTEGER NOT NULL,
        default_version INTEGER NOT NULL, last_version INTEGER NOT NULL,
        UNIQUE (account, name)) WITHOUT ROWID;
    CREATE TABLE policy_versions(
        arn TEXT NOT NULL, version INTEGER NOT NULL, document TEXT NOT NULL, created INTEGER NOT NULL,
        PRIMARY KEY (arn, version)) WITHOUT ROWID;
    CREATE TABLE attachments(
        account TEXT NOT NULL, owner TEXT NOT NULL, owner_name TEXT NOT NULL COLLATE NOCASE, policy_arn TEXT NOT NULL,
        PRIMARY KEY (account, owner, owner_name, policy_arn)) WITHOUT ROWID;
    CREATE INDEX attachments_policy ON attachments(policy_arn);
    CREATE TABLE tags(
        account TEXT NOT NULL, owner TEXT NOT NULL, owner_name TEXT NOT NULL COLLATE NOCASE,
        key TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (account, owner, owner_name, key)) WITHOUT ROWID;
    CREATE TABLE sessions(
        access_key_id TEXT PRIMARY KEY, account TEXT NOT NULL, role_arn TEXT NOT NULL, role_id TEXT NOT NULL,
        session_name TEXT NOT NULL, secret TEXT NOT NULL, token TEXT NOT NULL,
        expires INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX sessions_expires ON sessions(expires);"];
