//! The small bodies: documents, taken out of AWS's chunks and compared with the digests that came with them. Bytes of
//! objects are taken in by [`super::intake`].

use super::chunks::{Chunks, Trailers, incomplete};
use super::expected::Expected;
use crate::wire::{ServiceError, ServiceRequest};
use bytes::Bytes;

/// The document that a request carries, if it agrees with its digests.
pub(super) fn document_of(request: &ServiceRequest) -> Result<Bytes, ServiceError> {
    let expected = Expected::of(request)?;
    let mut digests = expected.digests();
    let (bytes, trailers) =
        if expected.is_chunked { dechunk(request)? } else { (request.body.clone(), Vec::new()) };
    digests.update(&bytes);
    expected.check(digests.finish(), &trailers)?;
    Ok(bytes)
}

/// The whole body out of AWS's chunks, and what followed it.
pub(super) fn dechunk(request: &ServiceRequest) -> Result<(Bytes, Trailers), ServiceError> {
    let (mut chunks, mut found) = (Chunks::new(), Vec::new());
    chunks.feed(request.body.clone(), &mut found)?;
    let bytes = Bytes::from(found.concat());
    let announced =
        request.header("x-amz-decoded-content-length").and_then(|text| text.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced != bytes.len()) {
        return Err(incomplete());
    }
    Ok((bytes, chunks.finish()?))
}
