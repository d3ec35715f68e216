//! A SQLite file per service, with one writer that groups commits.
//!
//! Invariant: [`Database::write`] answers only after the transaction that holds the job's effect is on disk
//! (`synchronous=FULL`), for results and for errors alike, since an error may rest on a neighbour's uncommitted effect.
//! A file of a newer version is refused by name. Readers see committed state only.

mod invocations;
mod writer;

pub use invocations::{advance, recall, remember, watermark};

use rusqlite::{Connection, OpenFlags};
use std::future::Future;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use writer::Writer;

/// Why a service's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refuses the directory or file.
    #[error("{path}: {source}")]
    File {
        /// The directory or file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A newer version of the program wrote it.
    #[error(
        "{path} has format {found}, written by a newer version; this one reads up to {supported}. \
         Use the newer version, or another data directory."
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: i64,
        /// The newest version this program reads.
        supported: i64,
    },
    /// SQLite refuses.
    #[error("{path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The writer is gone or a job panicked.
    #[error("{path}: {reason}")]
    Writer {
        /// The file.
        path: PathBuf,
        /// What happened.
        reason: &'static str,
    },
}

/// One service's file. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Writer,
    reader: Mutex<Connection>,
    path: Arc<Path>,
}

impl Database {
    /// Opens `<directory>/<name>.db`, creating directory (mode 0700) and file.
    ///
    /// `migrations[n]` brings a file from version `n` to `n + 1`; a released one never changes.
    pub fn open(directory: &Path, name: &str, migrations: &[&str]) -> Result<Self, StorageError> {
        create_directory(directory)?;
        let path: Arc<Path> = directory.join(format!("{name}.db")).into();
        let failed = |source| StorageError::Sqlite { path: path.to_path_buf(), source };
        if !path.exists() {
            create(&path, migrations)?;
        }
        let mut connection = Connection::open(&path).map_err(failed)?;
        configure(&connection).map_err(failed)?;
        migrate(&mut connection, &path, migrations)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(&path, flags).map_err(failed)?;
        // A reader waits while a crashed file is recovered or its log is reset.
        reader.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
        let writer = Writer::spawn(connection, path.clone(), name)?;
        Ok(Self { inner: Arc::new(Inner { writer, reader: Mutex::new(reader), path }) })
    }

    /// Runs `job` in a transaction and answers when it is on disk. An `Err` undoes what the job did.
    ///
    /// Jobs of one database run one after the other, so a job may check and act without a lock. It must be short.
    pub fn write<T, E, J>(&self, job: J) -> impl Future<Output = Result<T, E>> + Send + 'static
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        J: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let database = self.clone();
        async move { database.inner.writer.run(job).await }
    }

    /// Reads committed state. Must be short: it runs on the caller's thread.
    pub fn read<T, E>(&self, job: impl FnOnce(&Connection) -> Result<T, E>) -> Result<T, E> {
        let connection = self.inner.reader.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        job(&connection)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }
}

/// Creates a directory and its parents with mode 0700, and makes their names as durable as what is later put in them.
pub fn create_directory(directory: &Path) -> Result<(), StorageError> {
    let failed = |source| StorageError::File { path: directory.to_owned(), source };
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing = directory.ancestors().take_while(is_missing).count();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    for parent in directory.ancestors().skip(1).take(missing) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        std::fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
    }
    Ok(())
}

/// Makes a new file under another name and moves it to its place when it is whole and on disk: that takes three syncs where
/// a file that is made in its place takes a dozen, and a first start makes a file for every service.
fn create(path: &Path, migrations: &[&str]) -> Result<(), StorageError> {
    let unfinished = path.with_extension("db.new");
    let failed = |source| StorageError::File { path: unfinished.clone(), source };
    let refused = |source| StorageError::Sqlite { path: unfinished.clone(), source };
    // What a server left that was killed here, and the log of a file that somebody took away: SQLite would play it into this.
    for name in ["db.new", "db.new-journal", "db-wal", "db-shm"] {
        match std::fs::remove_file(path.with_extension(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    let mut connection = Connection::open(&unfinished).map_err(refused)?;
    connection.pragma_update(None, "synchronous", "OFF").map_err(refused)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(refused)?;
    migrate(&mut connection, &unfinished, migrations)?;
    // Only now, so that all of it is in the file itself.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(refused)?;
    connection.close().map_err(|(_, source)| refused(source))?;
    std::fs::File::open(&unfinished).and_then(|file| file.sync_all()).map_err(failed)?;
    std::fs::rename(&unfinished, path).map_err(failed)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // A second process on the same data directory must wait or fail, never corrupt; SQLite sees to that.
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)
}

fn migrate(connection: &mut Connection, path: &Path, migrations: &[&str]) -> Result<(), StorageError> {
    let failed = |source| StorageError::Sqlite { path: path.to_owned(), source };
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let supported = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    if found > supported {
        return Err(StorageError::Newer { path: path.to_owned(), found, supported });
    }
    let transaction = connection.transaction().map_err(failed)?;
    transaction.execute_batch(invocations::SCHEMA).map_err(failed)?;
    let done = usize::try_from(found).unwrap_or_default();
    for migration in migrations.iter().skip(done) {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", supported).map_err(failed)?;
    transaction.commit().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "CREATE TABLE t(x INTEGER PRIMARY KEY)";

    fn count(database: &Database) -> i64 {
        let read =
            |connection: &Connection| connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0));
        database.read(read).unwrap()
    }

    #[derive(Debug)]
    struct Refused;

    impl From<StorageError> for Refused {
        fn from(_: StorageError) -> Self {
            Self
        }
    }

    impl From<rusqlite::Error> for Refused {
        fn from(_: rusqlite::Error) -> Self {
            Self
        }
    }

    #[tokio::test]
    async fn a_failed_or_panicked_job_undoes_itself_and_not_its_neighbours() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path(), "x", &[TABLE]).unwrap();
        let insert = |x: i64, end: fn() -> Result<(), Refused>| {
            database.write(move |connection| {
                connection.execute("INSERT INTO t VALUES (?1)", [x])?;
                end()
            })
        };
        let (good, bad, panicked, last) = tokio::join!(
            insert(1, || Ok(())),
            insert(2, || Err(Refused)),
            insert(3, || panic!("a bug in a job")),
            insert(4, || Ok(()))
        );
        assert!(good.is_ok() && bad.is_err() && panicked.is_err() && last.is_ok());
        assert_eq!(count(&database), 2);
    }

    #[tokio::test]
    async fn a_full_disk_is_an_error_and_afterwards_work_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path(), "x", &[TABLE, "CREATE TABLE b(x BLOB)"]).unwrap();
        let pages = |count: i64| {
            database.write(move |connection| -> Result<(), Refused> {
                Ok(connection.pragma_update_and_check(None, "max_page_count", count, |_| Ok(()))?)
            })
        };
        let insert = |x: i64| {
            database.write(move |connection| -> Result<(), Refused> {
                connection.execute("INSERT INTO t VALUES (?1)", [x]).map(drop).map_err(Refused::from)
            })
        };
        let fill = database.write(|connection| -> Result<(), Refused> {
            connection
                .execute("INSERT INTO b VALUES (zeroblob(1000000))", [])
                .map(drop)
                .map_err(Refused::from)
        });
        pages(20).await.unwrap();
        let (before, full, after) = tokio::join!(insert(1), fill, insert(2));
        assert!(full.is_err());
        let acknowledged = [before, after].iter().filter(|answer| answer.is_ok()).count();
        pages(1_000_000).await.unwrap();
        insert(3).await.unwrap();
        assert!(count(&database) > i64::try_from(acknowledged).unwrap());
        drop(database);
        let again = Database::open(directory.path(), "x", &[TABLE, "CREATE TABLE b(x BLOB)"]).unwrap();
        assert!(count(&again) > i64::try_from(acknowledged).unwrap());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = create_directory(&file.join("services")).unwrap_err().to_string();
        assert!(error.contains("file/services"), "{error}");
    }

    #[tokio::test]
    async fn a_file_of_a_newer_version_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        drop(Database::open(directory.path(), "x", &[TABLE, "CREATE TABLE u(x)"]).unwrap());
        let refused = Database::open(directory.path(), "x", &[TABLE]).err().unwrap().to_string();
        assert!(refused.contains("x.db has format 2") && refused.contains("newer version"), "{refused}");
    }

    #[tokio::test]
    async fn an_invocation_is_recalled_for_a_day() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path(), "x", &[]).unwrap();
        let day = 24 * 3600;
        let run = |at: i64| {
            database.write(move |connection| -> Result<Option<Vec<u8>>, Refused> {
                let now = jiff::Timestamp::from_second(at).map_err(|_| Refused)?;
                let known = recall(connection, Some("i-1"), now)?;
                if known.is_none() {
                    remember(connection, Some("i-1"), now, b"answer")?;
                }
                Ok(known)
            })
        };
        assert_eq!(run(1_000_000).await.unwrap(), None);
        assert_eq!(run(1_000_000 + day - 1).await.unwrap().as_deref(), Some(&b"answer"[..]));
        assert_eq!(run(1_000_000 + day + 1).await.unwrap(), None);
    }
}
