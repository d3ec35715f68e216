//! Taking in the bytes of an object or part: from the request or, when they are many, from the socket, in pieces. They go
//! to a new file and through the digests on the way; never more than a few pieces are in memory.
//!
//! Invariant: an answer means that all bytes arrived, agree with what the caller said of them, and are on disk. Otherwise
//! no file is left.

use super::blobs::{Blobs, NewFile, Segment, in_background};
use super::checksum::{Algorithm, Checksum};
use super::chunks::{Chunks, Trailers};
use super::expected::{Computed, Digests, Expected};
use super::form::FormFile;
use crate::wire::stream::Pieces;
use crate::wire::{ServiceError, ServiceRequest};
use bytes::Bytes;

/// S3's bound on a single upload.
pub(super) const UPLOAD_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;
/// Bytes that are gathered before they are written.
const WRITTEN_AT_ONCE: usize = 512 * 1024;

/// The body of a request.
pub(super) enum RequestBody {
    Whole(Option<Bytes>),
    Pieces(Pieces),
}

impl RequestBody {
    pub fn of(request: &ServiceRequest) -> Self {
        match request.sender.as_ref().and_then(|sender| sender.body()) {
            Some(pieces) => Self::Pieces(pieces),
            None => Self::Whole(Some(request.body.clone())),
        }
    }

    /// The next bytes; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ServiceError> {
        match self {
            Self::Whole(bytes) => Ok(bytes.take()),
            Self::Pieces(pieces) => pieces.next().await,
        }
    }
}

/// Where the bytes of an object come from.
pub(super) enum Source {
    Body(RequestBody),
    Form(FormFile),
}

impl Source {
    pub fn of(request: &ServiceRequest) -> Self {
        Self::Body(RequestBody::of(request))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ServiceError> {
        match self {
            Self::Body(body) => body.next().await,
            Self::Form(file) => file.next().await,
        }
    }
}

/// Bytes that are on disk.
#[derive(Debug)]
pub(super) struct Received {
    /// The file; none if there was not one byte.
    pub segment: Option<Segment>,
    /// MD5 in hexadecimal.
    pub md5: String,
    /// The caller's checksum, or the one that was asked for.
    pub checksum: Checksum,
    /// Whether the caller sent it.
    pub has_callers_checksum: bool,
}

/// A file on its way, with the digests of what is in it.
struct Intake {
    blobs: Blobs,
    file: Option<NewFile>,
    digests: Digests,
}

impl Intake {
    fn written(mut self, pieces: &[Bytes]) -> std::io::Result<Self> {
        for piece in pieces {
            self.digests.update(piece);
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(self.blobs.begin()?),
            };
            file.write(piece)?;
        }
        Ok(self)
    }

    fn finish(self) -> std::io::Result<(Option<Segment>, Computed)> {
        let segment = self.file.map(NewFile::finish).transpose()?;
        Ok((segment, self.digests.finish()))
    }
}

/// Takes in what `source` gives, with the checksum of the caller or else that of `algorithm`.
pub(super) async fn take_in(
    blobs: &Blobs,
    mut source: Source,
    expected: &Expected,
    algorithm: Algorithm,
    bytes_max: u64,
) -> Result<Received, ServiceError> {
    let too_large = |size: u64| too_large(size, bytes_max);
    if let Some(length) = expected.length.filter(|length| *length > bytes_max) {
        return Err(too_large(length));
    }
    let digests = expected.digests_with(algorithm);
    let mut intake = Intake { blobs: blobs.clone(), file: None, digests };
    let mut chunks = expected.is_chunked.then(Chunks::new);
    let (mut gathered, mut waiting, mut total) = (Vec::new(), 0, 0);
    while let Some(piece) = source.next().await? {
        let first = gathered.len();
        match &mut chunks {
            Some(chunks) => chunks.feed(piece, &mut gathered)?,
            None => gathered.push(piece),
        }
        let added: usize = gathered[first..].iter().map(Bytes::len).sum();
        waiting += added;
        total += added as u64;
        if total > bytes_max {
            return Err(too_large(total));
        }
        if waiting >= WRITTEN_AT_ONCE {
            let pieces = std::mem::take(&mut gathered);
            intake = in_background(move || intake.written(&pieces)).await?;
            waiting = 0;
        }
    }
    let trailers = chunks.map_or_else(|| Ok(Trailers::new()), Chunks::finish)?;
    let end = move || {
        gathered.retain(|piece| !piece.is_empty());
        intake.written(&gathered).and_then(Intake::finish)
    };
    let (segment, computed) = in_background(end).await?;
    match expected.check(computed, &trailers) {
        Ok(Computed { md5, checksum, .. }) => {
            Ok(Received { segment, md5, checksum, has_callers_checksum: expected.algorithm().is_some() })
        }
        Err(error) => {
            blobs.remove(segment.into_iter().map(|segment| segment.blob).collect()).await;
            Err(error)
        }
    }
}

pub(super) fn too_large(size: u64, bytes_max: u64) -> ServiceError {
    ServiceError::client("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        .with_field("ProposedSize", size.to_string())
        .with_field("MaxSizeAllowed", bytes_max.to_string())
}
