//! SQLite: one file, one connection that writes and checkpoints, readers that only read.
//!
//! Invariant: an `append` is one transaction, synced before it returns (`synchronous=FULL` in WAL mode). Nothing else
//! writes, so what the writer remembers (interned ARNs, the next position) is what is in the file. After an error all
//! of that is read anew.

mod directory;
mod failure;
mod interned;
mod map_runs;
mod read;
mod rows;
mod schema;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use self::directory::DirectoryLock;
use self::failure::Doing;
use self::interned::InternedArns;
use self::read::SqliteReader;
use crate::{Batch, Committed, Difference, Keys, Reader, Scope, Store, StoreError};

/// Commits between two looks at the size of the log.
const LOG_LOOK_EVERY: u64 = 256;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// What `Ok` from an append means.
    pub durability: Durability,
    /// A registered SQLite VFS other than the system's: for tests that cut the power.
    pub vfs: Option<String>,
    /// How long SQLite waits for a lock that another program holds (a backup, the `sqlite3` shell).
    pub busy_timeout: Duration,
}

impl Default for SqliteOptions {
    fn default() -> SqliteOptions {
        SqliteOptions { durability: Durability::Full, vfs: None, busy_timeout: Duration::from_secs(5) }
    }
}

/// What an acknowledged commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// A power cut.
    #[default]
    Full,
    /// The end of the process, but no power cut: for tests and measurements only.
    ProcessCrashOnly,
}

/// The embedded store.
pub struct SqliteStore {
    writer: Connection,
    path: PathBuf,
    reader: Arc<SqliteReader>,
    keys: Keys,
    /// How many scopes are on disk.
    scopes_known: usize,
    arns: InternedArns,
    position: u64,
    commits: u64,
    /// Last, so that the connections are closed before the directory is given up.
    _lock: DirectoryLock,
}

impl SqliteStore {
    /// Opens the store in a directory, making both if they are not there.
    pub fn open(directory: &Path, options: &SqliteOptions) -> Result<SqliteStore, StoreError> {
        let lock = directory::acquire(directory)?;
        let path = directory.join("passo.db");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let writer = connect(&path, flags, options)?;
        schema::prepare_writer(&writer, &path, options)?;
        directory::sync(directory)?;
        let fail = |error| failure::classify(error, &path, Doing::Work);
        let scopes = read_scopes(&writer).map_err(fail)?;
        let scopes_known = scopes.len();
        let position = read_position(&writer).map_err(fail)?;
        let keys = Keys::new(read_number(&writer, scopes_known).map_err(fail)? + 1, scopes);
        let reader = Arc::new(SqliteReader::new(path.clone(), options.clone(), keys.clone()));
        let arns = InternedArns::default();
        Ok(SqliteStore { writer, path, reader, keys, scopes_known, arns, position, commits: 0, _lock: lock })
    }

    /// Whether readers have kept the log from being begun anew for too long.
    fn log_is_urgent(&self) -> bool {
        let log = self.path.with_extension("db-wal");
        std::fs::metadata(log).is_ok_and(|log| log.len() > schema::LOG_BYTES_URGENT)
    }
}

impl Store for SqliteStore {
    fn append(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        if batch.is_empty() {
            return Ok(Committed { position: self.position, conflicts: Vec::new() });
        }
        let committed = self.write(batch)?;
        self.commits += 1;
        if self.commits.is_multiple_of(LOG_LOOK_EVERY) && self.log_is_urgent() {
            // The batch is on disk whatever becomes of this.
            if let Err(error) = self.checkpoint() {
                tracing::warn!(%error, "the log of the database could not be emptied");
            }
        }
        Ok(committed)
    }

    fn reader(&self) -> Arc<dyn Reader> {
        self.reader.clone()
    }

    fn keys(&self) -> Keys {
        self.keys.clone()
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        schema::truncate_log(&self.writer, self.reader.options())
            .map_err(|error| failure::classify(error, &self.path, Doing::Work))
    }

    fn verify(&self) -> Result<Vec<Difference>, StoreError> {
        self.reader.verify()
    }
}

/// A connection without SQLite's own mutex: each of ours is used by one thread at a time.
fn connect(path: &Path, flags: OpenFlags, options: &SqliteOptions) -> Result<Connection, StoreError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = match &options.vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str()),
        None => Connection::open_with_flags(path, flags),
    };
    opened.map_err(|error| failure::classify_open(error, path))
}

fn read_scopes(connection: &Connection) -> rusqlite::Result<Vec<Scope>> {
    let mut statement = connection.prepare("SELECT account, region FROM scopes ORDER BY id")?;
    let scopes = statement.query_map([], |row| {
        let (account, region): (String, String) = (row.get(0)?, row.get(1)?);
        Ok(Scope { account: account.into(), region: region.into() })
    })?;
    scopes.collect()
}

fn read_position(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT max(coalesce((SELECT max(position) FROM journal), 0),
                          coalesce((SELECT value FROM counters WHERE name = 'position'), 0))";
    connection.query_row(sql, [], |row| row.get(0))
}

/// The highest number given to an execution; one look into the primary key for each scope.
fn read_number(connection: &Connection, scopes: usize) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce((SELECT value FROM counters WHERE name = 'number'), 0)";
    let mut highest: u64 = connection.query_row(sql, [], |row| row.get(0))?;
    let mut statement = connection.prepare("SELECT max(number) FROM executions WHERE scope = ?1")?;
    for scope in 1..=scopes {
        let number: Option<u64> = statement.query_row([scope], |row| row.get(0))?;
        highest = highest.max(number.unwrap_or(0));
    }
    Ok(highest)
}
