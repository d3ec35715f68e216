//! From SQLite's errors to ours.
//!
//! Invariant: `Full`, `Permission` and `Refused` mean that nothing was written; whatever else goes wrong while a commit
//! is under way is `Unknown`.

use std::fs::OpenOptions;
use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::StoreError;

/// What was being done when the error came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// Anything that a rollback undoes.
    Work,
    /// The commit itself.
    Commit,
}

pub(super) fn classify(error: Error, path: &Path, doing: Doing) -> StoreError {
    let reason = error.to_string();
    let path = path.to_path_buf();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { path },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreError::Permission { path },
        Some(ErrorCode::NotADatabase) => StoreError::Foreign { path, reason },
        Some(ErrorCode::DatabaseCorrupt) => {
            StoreError::CorruptRecord { what: path.display().to_string(), reason }
        }
        Some(ErrorCode::ConstraintViolation) => StoreError::Refused(reason),
        _ if doing == Doing::Commit => StoreError::Unknown { reason },
        _ => StoreError::Io { path, reason },
    }
}

/// The same for a file that could not be opened. SQLite does not say why, so the system is asked once more.
pub(super) fn classify_open(error: Error, path: &Path) -> StoreError {
    if error.sqlite_error_code() != Some(ErrorCode::CannotOpen) {
        return classify(error, path, Doing::Work);
    }
    match OpenOptions::new().read(true).append(true).create(true).open(path) {
        Err(why) => classify_io(&why, path),
        Ok(_) => StoreError::Io { path: path.to_path_buf(), reason: error.to_string() },
    }
}

/// The same for plain files.
pub(super) fn classify_io(error: &std::io::Error, path: &Path) -> StoreError {
    let path = path.to_path_buf();
    match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::Permission { path }
        }
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full { path },
        _ => StoreError::Io { path, reason: error.to_string() },
    }
}
