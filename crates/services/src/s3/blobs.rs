//! Objects' bytes, each in a file of its own that is never changed: `s3/<two digits>/<id>`.
//!
//! Invariant: when [`NewFile::finish`] or [`Blobs::link`] answers, file and name survive a power cut: the bytes are
//! synced under another name, the file is renamed, its directory is synced; only then does a row name it, in a
//! transaction that is synced before the caller is answered. So a name without suffix is always whole, and an object is
//! seen whole or not at all. A file that no row names (a crash between file and row, or between row and removal) is
//! removed by [`Blobs::sweep`] when the service is opened. A file that is being read is removed when the reader is done.

use super::expected::{Computed, Digests};
use crate::storage::{StorageError, create_directory};
use crate::wire::ServiceError;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    in_use: Arc<Mutex<InUse>>,
}

/// Files that are being read, and those among them that wait to be removed.
#[derive(Debug, Default)]
struct InUse {
    readers: BTreeMap<String, usize>,
    released: BTreeSet<String>,
}

/// Keeps files from being removed while they are read.
#[derive(Debug)]
pub(super) struct Lease {
    blobs: Blobs,
    names: Vec<String>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut in_use = self.blobs.in_use();
        for name in &self.names {
            let Some(readers) = in_use.readers.get_mut(name) else { continue };
            *readers -= 1;
            if *readers == 0 {
                in_use.readers.remove(name);
                if in_use.released.remove(name) {
                    remove_logged(&self.blobs.path(name));
                }
            }
        }
    }
}

/// A file that is being written. Dropped before it is finished, it leaves nothing.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    unfinished: PathBuf,
    name: String,
    file: File,
    size: u64,
    is_finished: bool,
}

impl NewFile {
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.size += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Gives the file its name. The order of syncs is the module's invariant.
    pub fn finish(mut self) -> std::io::Result<Segment> {
        self.file.sync_all()?;
        std::fs::rename(&self.unfinished, &self.path)?;
        self.is_finished = true;
        sync_directory_of(&self.path)?;
        Ok(Segment { blob: self.name.clone(), size: self.size })
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_finished {
            remove_logged(&self.unfinished);
        }
    }
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
        Ok(Self { directory: directory.into(), in_use: Arc::default() })
    }

    /// Writes bytes to a new file.
    pub async fn write(&self, bytes: Bytes) -> Result<Segment, ServiceError> {
        let blobs = self.clone();
        in_background(move || {
            let mut file = blobs.begin()?;
            file.write(&bytes)?;
            file.finish()
        })
        .await
    }

    /// Begins a new file.
    pub fn begin(&self) -> std::io::Result<NewFile> {
        let (name, path) = self.new_path()?;
        let unfinished = path.with_extension(&UNFINISHED[1..]);
        let file = OpenOptions::new().write(true).create_new(true).open(&unfinished)?;
        Ok(NewFile { path, unfinished, name, file, size: 0, is_finished: false })
    }

    /// Copies a range of what the segments hold to a new file, and computes digests of it.
    pub async fn copy(
        &self,
        segments: Vec<Segment>,
        range: Range<u64>,
        mut digests: Digests,
    ) -> Result<Result<(Segment, Computed), ReadError>, ServiceError> {
        let blobs = self.clone();
        in_background(move || {
            let mut file = blobs.begin()?;
            let copied = blobs.each_chunk(&segments, range, |bytes| {
                digests.update(bytes);
                file.write(bytes)
            });
            match copied {
                Ok(()) => Ok(Ok((file.finish()?, digests.finish()))),
                Err(error) => Ok(Err(error)),
            }
        })
        .await
    }

    /// Keeps these files until the lease is dropped, unless they are on their way out already.
    pub fn lease(&self, segments: &[Segment]) -> Result<Lease, ReadError> {
        let mut in_use = self.in_use();
        if segments.iter().any(|segment| in_use.released.contains(&segment.blob)) {
            return Err(ReadError::Gone);
        }
        let names: Vec<String> = segments.iter().map(|segment| segment.blob.clone()).collect();
        names.iter().for_each(|name| *in_use.readers.entry(name.clone()).or_default() += 1);
        drop(in_use);
        let lease = Lease { blobs: self.clone(), names };
        // Files are removed together, so the first one speaks for all.
        match segments.first().is_none_or(|segment| self.path(&segment.blob).exists()) {
            true => Ok(lease),
            false => Err(ReadError::Gone),
        }
    }

    /// Opens a file that a lease keeps.
    pub fn file(&self, segment: &Segment) -> std::io::Result<File> {
        File::open(self.path(&segment.blob))
    }

    fn in_use(&self) -> MutexGuard<'_, InUse> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
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
                let (blob, path) = blobs.new_path()?;
                std::fs::hard_link(&from, &path)?;
                sync_directory_of(&path)?;
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

    /// Shows every byte of the segments to the digests.
    pub async fn digest(
        &self,
        segments: Vec<Segment>,
        mut digests: Digests,
    ) -> Result<Result<Computed, ReadError>, ServiceError> {
        let blobs = self.clone();
        in_background(move || {
            let size = segments.iter().map(|segment| segment.size).sum();
            let seen = blobs.each_chunk(&segments, 0..size, |bytes| {
                digests.update(bytes);
                Ok(())
            });
            Ok(seen.map(|()| digests.finish()))
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
            // Under the lock, so that a reader finds all of an object's files or none.
            let mut in_use = blobs.in_use();
            for name in names {
                if in_use.readers.contains_key(&name) {
                    in_use.released.insert(name);
                } else {
                    remove_logged(&blobs.path(&name));
                }
            }
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

    fn new_path(&self) -> std::io::Result<(String, PathBuf)> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let path = self.path(&name);
        create_directory(path.parent().unwrap_or(&self.directory)).map_err(std::io::Error::other)?;
        Ok((name, path))
    }

    /// Shows `look` a range of what the segments hold, in order, a chunk at a time.
    fn each_chunk(
        &self,
        segments: &[Segment],
        range: Range<u64>,
        mut look: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), ReadError> {
        let mut buffer = vec![0; CHUNK_BYTES];
        for (segment, part) in parts_of(segments, range) {
            let mut file = self.file(segment)?;
            file.seek(SeekFrom::Start(part.start))?;
            let mut left = part.end - part.start;
            while left > 0 {
                let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
                file.read_exact(&mut buffer[..wanted])?;
                look(&buffer[..wanted]).map_err(ReadError::Failed)?;
                left -= wanted as u64;
            }
        }
        Ok(())
    }

    fn read_now(&self, segments: &[Segment], range: Range<u64>) -> Result<Bytes, ReadError> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or_default();
        let mut bytes = Vec::with_capacity(length);
        self.each_chunk(segments, range, |chunk| {
            bytes.extend_from_slice(chunk);
            Ok(())
        })?;
        Ok(Bytes::from(bytes))
    }
}

/// The segments that hold bytes of a range, each with the part of it that does.
pub(super) fn parts_of(
    segments: &[Segment],
    range: Range<u64>,
) -> impl Iterator<Item = (&Segment, Range<u64>)> {
    let mut begin = 0;
    segments.iter().filter_map(move |segment| {
        let end = begin + segment.size;
        let part = range.start.max(begin)..range.end.min(end);
        let inside = part.start.saturating_sub(begin)..part.end.saturating_sub(begin);
        begin = end;
        (part.start < part.end).then_some((segment, inside))
    })
}

fn sync_directory_of(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn remove_logged(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a file of S3 cannot be removed");
        }
        _ => {}
    }
}

pub(super) async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ServiceError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(ServiceError::internal)?;
    done.map_err(ServiceError::internal)
}
