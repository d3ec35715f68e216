//! Objects' bytes, each in a file of its own that is never changed: `s3/<two digits>/<id>`.
//!
//! Invariant: when [`Blobs::write`] or [`Blobs::link`] answers, file and name survive a power cut. A file is written
//! under another name first, so a name without suffix is always whole. A file that no row names (a crash between file
//! and row, or between row and removal) is removed by [`Blobs::sweep`] when the service is opened.
//!
//! Bodies are held in memory: the listener bounds them. It does not stream.

use crate::storage::{StorageError, create_directory};
use crate::wire::ServiceError;
use bytes::Bytes;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file on its way; anything so named was not acknowledged.
const UNFINISHED: &str = ".unfinished";
/// Buffer for bytes that are only looked at.
const CHUNK_BYTES: usize = 256 * 1024;

/// A file and its length in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub blob: String,
    pub size: u64,
}

/// The directory of the files. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Blobs {
    directory: Arc<Path>,
}

/// Why bytes cannot be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The file is gone: the object was replaced or deleted meanwhile. Look again.
    Gone,
    /// The disk's fault.
    Failed(std::io::Error),
}

impl From<std::io::Error> for ReadError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == ErrorKind::NotFound { Self::Gone } else { Self::Failed(error) }
    }
}

impl Blobs {
    pub fn open(directory: &Path) -> Result<Self, StorageError> {
        create_directory(directory)?;
        Ok(Self { directory: directory.into() })
    }

    /// Writes bytes to a new file.
    pub async fn write(&self, bytes: Bytes) -> Result<Segment, ServiceError> {
        let (blobs, size) = (self.clone(), bytes.len() as u64);
        let blob = in_background(move || blobs.create(|path| write_new(path, &bytes))).await?;
        Ok(Segment { blob, size })
    }

    /// Gives the same bytes a second name, for copies.
    pub async fn link(
        &self,
        segments: Vec<Segment>,
    ) -> Result<Result<Vec<Segment>, ReadError>, ServiceError> {
        let blobs = self.clone();
        in_background(move || {
            let link = |segment: &Segment| -> Result<Segment, ReadError> {
                let from = blobs.path(&segment.blob);
                let blob = blobs.create(|path| std::fs::hard_link(&from, path)).map_err(ReadError::from)?;
                Ok(Segment { blob, size: segment.size })
            };
            Ok(segments.iter().map(link).collect())
        })
        .await
    }

    /// Reads the bytes of `range` of what the segments hold one after the other.
    pub async fn read(
        &self,
        segments: Vec<Segment>,
        range: Range<u64>,
    ) -> Result<Result<Bytes, ReadError>, ServiceError> {
        let blobs = self.clone();
        in_background(move || Ok(blobs.read_now(&segments, range))).await
    }

    /// Shows every byte of the segments, in order, to `look`.
    pub async fn look<T: Send + 'static>(
        &self,
        segments: Vec<Segment>,
        mut state: T,
        look: impl Fn(&mut T, &[u8]) + Send + 'static,
    ) -> Result<Result<T, ReadError>, ServiceError> {
        let blobs = self.clone();
        in_background(move || {
            let mut run = || -> Result<(), ReadError> {
                let mut buffer = vec![0; CHUNK_BYTES];
                for segment in &segments {
                    let mut file = File::open(blobs.path(&segment.blob))?;
                    loop {
                        let length = file.read(&mut buffer)?;
                        if length == 0 {
                            break;
                        }
                        look(&mut state, &buffer[..length]);
                    }
                }
                Ok(())
            };
            let seen = run();
            Ok(seen.map(|()| state))
        })
        .await
    }

    /// Removes files that no row names any more. What cannot be removed is left to the next sweep.
    pub async fn remove(&self, names: Vec<String>) {
        if names.is_empty() {
            return;
        }
        let blobs = self.clone();
        let removed = in_background(move || {
            names.iter().for_each(|name| remove_logged(&blobs.path(name)));
            Ok(())
        });
        // A failure to start is logged where it arises, and the sweep comes anyway.
        let _ = removed.await;
    }

    /// Removes every file that is unfinished or that `is_known` does not know.
    pub fn sweep(&self, is_known: impl Fn(&str) -> rusqlite::Result<bool>) -> Result<(), ServiceError> {
        for shard in std::fs::read_dir(&self.directory).map_err(ServiceError::internal)? {
            let shard = shard.map_err(ServiceError::internal)?.path();
            if !shard.is_dir() {
                continue;
            }
            for file in std::fs::read_dir(&shard).map_err(ServiceError::internal)? {
                let file = file.map_err(ServiceError::internal)?;
                let name = file.file_name().to_string_lossy().into_owned();
                if name.ends_with(UNFINISHED) || !is_known(&name)? {
                    tracing::info!(file = %file.path().display(), "bytes without an object are removed");
                    remove_logged(&file.path());
                }
            }
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(&name[..2.min(name.len())]).join(name)
    }

    fn create(&self, fill: impl FnOnce(&Path) -> std::io::Result<()>) -> std::io::Result<String> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let path = self.path(&name);
        let shard = path.parent().unwrap_or(&self.directory);
        create_directory(shard).map_err(std::io::Error::other)?;
        let unfinished = path.with_extension(&UNFINISHED[1..]);
        let filled = fill(&unfinished)
            .and_then(|()| std::fs::rename(&unfinished, &path))
            .and_then(|()| File::open(shard)?.sync_all());
        if let Err(error) = filled {
            let _ = std::fs::remove_file(&unfinished);
            return Err(error);
        }
        Ok(name)
    }

    fn read_now(&self, segments: &[Segment], range: Range<u64>) -> Result<Bytes, ReadError> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or_default();
        let mut bytes = Vec::with_capacity(length);
        let mut begin = 0;
        for segment in segments {
            let end = begin + segment.size;
            let (from, to) = (range.start.max(begin), range.end.min(end));
            if from < to {
                let mut file = File::open(self.path(&segment.blob))?;
                file.seek(SeekFrom::Start(from - begin))?;
                let read = file.take(to - from).read_to_end(&mut bytes)?;
                if read as u64 != to - from {
                    return Err(ReadError::Failed(ErrorKind::UnexpectedEof.into()));
                }
            }
            begin = end;
        }
        Ok(Bytes::from(bytes))
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn remove_logged(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a file of S3 cannot be removed");
        }
        _ => {}
    }
}

async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ServiceError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(ServiceError::internal)?;
    done.map_err(ServiceError::internal)
}
