//! The data directory: made for us alone, and held by one server at a time.
//!
//! Invariant: while a [`DirectoryLock`] lives, no other process or store has this directory. The lock is an SQLite lock
//! on a file of its own, because that works on every system SQLite works on, ends with the process however it ends,
//! and needs no code of ours to be unsafe. It does not hold other users out; the directory's mode does.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::failure::{self, Doing};
use crate::StoreError;

/// A held data directory.
pub(super) struct DirectoryLock {
    /// Its open transaction is the lock.
    _connection: Connection,
    pid_path: PathBuf,
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Only a courtesy: a stale number is never believed without the lock.
        let _ = fs::remove_file(&self.pid_path);
    }
}

/// Makes the directory (mode 0700) unless it is there, and locks it.
pub(super) fn acquire(directory: &Path) -> Result<DirectoryLock, StoreError> {
    create(directory).map_err(|error| failure::classify_io(&error, directory))?;
    let pid_path = directory.join("passo.pid");
    let connection = lock(directory, &pid_path)?;
    let pid = std::process::id().to_string();
    fs::write(&pid_path, pid).map_err(|error| failure::classify_io(&error, &pid_path))?;
    Ok(DirectoryLock { _connection: connection, pid_path })
}

/// Makes the names of new files durable, too.
pub(super) fn sync(directory: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| failure::classify_io(&error, directory))?;
    }
    Ok(())
}

fn create(directory: &Path) -> std::io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn lock(directory: &Path, pid_path: &Path) -> Result<Connection, StoreError> {
    let path = directory.join("passo.lock");
    let connection = Connection::open(&path).map_err(|error| failure::classify_open(error, &path))?;
    let held = connection
        .busy_timeout(Duration::ZERO)
        .and_then(|()| connection.execute_batch("PRAGMA journal_mode=MEMORY; BEGIN EXCLUSIVE"));
    match held {
        Ok(()) => Ok(connection),
        Err(error)
            if matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
            ) =>
        {
            let pid = fs::read_to_string(pid_path).ok().and_then(|text| text.trim().parse().ok());
            Err(StoreError::Busy { directory: directory.into(), pid })
        }
        Err(error) => Err(failure::classify(error, &path, Doing::Work)),
    }
}
