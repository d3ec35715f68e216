//! What can go wrong with a store, split by who can act on it.
//!
//! It carries facts (path, ARN, seq) for the one who reads it; it never decides whether to go on. The committer does:
//! after anything but `Busy` from an append the process stops, since the shards have stepped ahead of the disk.

use std::path::PathBuf;
use std::sync::Arc;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The commit was asked for and its outcome is not known: reopen and look. Nobody may be answered from it.
    #[error("the commit failed and may or may not be on disk: {reason}")]
    Unknown {
        /// What the system said.
        reason: String,
    },
    /// The disk or the file's size limit is full; nothing of this batch was written.
    #[error("no space left for {path}: free some space and start again; everything acknowledged is safe")]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// The bytes of one execution are not what was written. The others are not concerned.
    #[error("the journal of {arn} is corrupt at event {seq}: {reason}")]
    Corrupt {
        /// The execution, or its key if even that cannot be read.
        arn: Arc<str>,
        /// First event of the turn in question.
        seq: u64,
        /// What was found.
        reason: String,
    },
    /// A row outside the journal cannot be read.
    #[error("{what} is corrupt: {reason}")]
    CorruptRecord {
        /// Table and key.
        what: String,
        /// What was found.
        reason: String,
    },
    /// Written by a newer Passo.
    #[error(
        "{path} was written by a newer Passo (format {found}; this one knows up to {known}): \
         start that version, or give another directory with --data"
    )]
    NewerVersion {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest we know.
        known: i64,
    },
    /// The file is an SQLite database of somebody else, or none at all.
    #[error("{path} is not a Passo store ({reason}): give another directory with --data")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why we think so.
        reason: String,
    },
    /// Another server owns the data directory.
    #[error("the data directory {directory} is in use by another Passo server{}: stop it, or give another directory with --data",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Busy {
        /// The directory.
        directory: PathBuf,
        /// The other server, when it wrote its number.
        pid: Option<u32>,
    },
    /// We may not write there.
    #[error(
        "no permission to write to {path}: change its owner or mode, or give another directory with --data"
    )]
    Permission {
        /// Directory or file.
        path: PathBuf,
    },
    /// A batch that breaks the rules of the port. A bug of the caller; nothing was written.
    #[error("refused batch: {0}")]
    Refused(String),
    /// Anything else the system said.
    #[error("{path}: {reason}")]
    Io {
        /// Directory or file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}
