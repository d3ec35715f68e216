//! The bytes of an object on their way to the client: read a chunk at a time, when the client has taken the one before.

use super::blobs::{Blobs, Lease, ReadError, Segment, parts_of};
use crate::wire::stream::Outgoing;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::task::JoinHandle;

/// What is in memory for one answer.
const CHUNK_BYTES: u64 = 512 * 1024;

/// Reads from one file after the other.
struct Reader {
    blobs: Blobs,
    parts: VecDeque<(Segment, Range<u64>)>,
    file: Option<File>,
    /// The files stay until the client has them all, also if the object is deleted meanwhile.
    _lease: Lease,
}

impl Reader {
    fn read(&mut self) -> std::io::Result<Bytes> {
        let Some((segment, part)) = self.parts.front_mut() else { return Ok(Bytes::new()) };
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut file = self.blobs.file(segment)?;
                file.seek(SeekFrom::Start(part.start))?;
                self.file.insert(file)
            }
        };
        let size = CHUNK_BYTES.min(part.end - part.start);
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        if file.by_ref().take(size).read_to_end(&mut bytes)? as u64 != size {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        part.start += size;
        if part.start == part.end {
            self.parts.pop_front();
            self.file = None;
        }
        Ok(Bytes::from(bytes))
    }
}

type Reading = JoinHandle<(Reader, std::io::Result<Bytes>)>;

struct ObjectBody {
    left: u64,
    reader: Option<Reader>,
    reading: Option<Reading>,
}

impl Body for ObjectBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if let Some(mut reader) = self.reader.take() {
            self.reading = Some(tokio::task::spawn_blocking(move || {
                let bytes = reader.read();
                (reader, bytes)
            }));
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        let bytes = match read {
            Ok((reader, Ok(bytes))) => {
                self.reader = Some(reader);
                bytes
            }
            Ok((_, Err(error))) => return Poll::Ready(Some(Err(error))),
            Err(error) => return Poll::Ready(Some(Err(std::io::Error::other(error)))),
        };
        self.left -= bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A range of what the segments hold, to be sent.
pub(super) fn send(blobs: &Blobs, segments: &[Segment], range: Range<u64>) -> Result<Outgoing, ReadError> {
    let lease = blobs.lease(segments)?;
    let left = range.end.saturating_sub(range.start);
    let parts = parts_of(segments, range).map(|(segment, part)| (segment.clone(), part)).collect();
    let reader = Reader { blobs: blobs.clone(), parts, file: None, _lease: lease };
    Ok(Outgoing::new(ObjectBody { left, reader: Some(reader), reading: None }))
}
