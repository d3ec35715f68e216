//! What a caller says about the bytes it sends: their length, their MD5, their SHA-256, a checksum. All of it is compared
//! with what arrives, also when the checksum comes only after the bytes.

use super::checksum::{Algorithm, Checksum, Kind, Sum};
use super::chunks::{Trailers, incomplete};
use super::errors;
use crate::wire::{ServiceError, ServiceRequest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha2::Sha256;

/// The caller's words.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    /// The bytes are in AWS's chunks.
    pub is_chunked: bool,
    /// How many bytes the object has, if the caller says.
    pub length: Option<u64>,
    md5: Option<String>,
    sha256: Option<String>,
    checksum: Option<Promise>,
}

/// A checksum that is given, or announced to follow.
#[derive(Debug, Clone)]
struct Promise {
    algorithm: Algorithm,
    value: Option<String>,
}

/// What was computed over the bytes that arrived.
#[derive(Debug)]
pub(super) struct Computed {
    pub length: u64,
    /// MD5 in hexadecimal.
    pub md5: String,
    pub checksum: Checksum,
    sha256: Option<String>,
}

impl Expected {
    pub fn of(request: &ServiceRequest) -> Result<Self, ServiceError> {
        let content_sha256 = request.header("x-amz-content-sha256").unwrap_or_default();
        let is_chunked = is_chunked(request);
        let is_digest =
            content_sha256.len() == 64 && content_sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        let length = if is_chunked { "x-amz-decoded-content-length" } else { "content-length" };
        Ok(Self {
            is_chunked,
            length: request.header(length).and_then(|text| text.parse().ok()),
            md5: request.header("content-md5").map(str::to_owned),
            sha256: is_digest.then(|| content_sha256.to_ascii_lowercase()),
            checksum: promise(request)?,
        })
    }

    /// The algorithm of the caller's checksum.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.checksum.as_ref().map(|promise| promise.algorithm)
    }

    /// Digests for the bytes, with the caller's checksum or S3's own.
    pub fn digests(&self) -> Digests {
        self.digests_with(Algorithm::Crc64Nvme)
    }

    /// Digests for the bytes, with the caller's checksum or, if it gives none, this one.
    pub fn digests_with(&self, algorithm: Algorithm) -> Digests {
        let algorithm = self.algorithm().unwrap_or(algorithm);
        Digests {
            length: 0,
            md5: Md5::new(),
            sha256: self.sha256.is_some().then(Sha256::new),
            algorithm,
            sum: Sum::new(algorithm),
        }
    }

    /// Compares what arrived with what was said.
    pub fn check(&self, computed: Computed, trailers: &Trailers) -> Result<Computed, ServiceError> {
        if self.length.is_some_and(|length| length != computed.length) {
            return Err(incomplete());
        }
        if let Some(given) = &self.md5 {
            check_md5(given, &computed.md5)?;
        }
        if let (Some(given), Some(found)) = (&self.sha256, &computed.sha256)
            && given != found
        {
            let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
            return Err(ServiceError::client("XAmzContentSHA256Mismatch", message)
                .with_field("ClientComputedContentSHA256", given.as_str())
                .with_field("S3ComputedContentSHA256", found.as_str()));
        }
        let Some(Promise { algorithm, value }) = &self.checksum else { return Ok(computed) };
        let trailer = || trailers.iter().find(|(name, _)| name == algorithm.header()).map(|(_, value)| value);
        match value.as_ref().or_else(trailer) {
            Some(value) if *value == computed.checksum.value => Ok(computed),
            Some(_) => Err(errors::bad_digest(algorithm.name())),
            None => {
                let message = "The request contained trailing data that was not well-formed or did not conform to our \
                               published schema.";
                Err(ServiceError::client("MalformedTrailerError", message))
            }
        }
    }
}

/// Whether the body is in AWS's chunks.
pub(super) fn is_chunked(request: &ServiceRequest) -> bool {
    let is_streaming =
        request.header("x-amz-content-sha256").is_some_and(|value| value.starts_with("STREAMING-"));
    let encoding = request.header("content-encoding").unwrap_or_default();
    is_streaming || encoding.split(',').any(|part| part.trim() == "aws-chunked")
}

/// The one checksum that a request gives or announces.
fn promise(request: &ServiceRequest) -> Result<Option<Promise>, ServiceError> {
    let announced = request.header("x-amz-trailer").unwrap_or_default();
    let is_announced = |algorithm: &Algorithm| {
        announced.split(',').any(|name| name.trim().eq_ignore_ascii_case(algorithm.header()))
    };
    let mut found = None;
    for algorithm in Algorithm::ALL {
        let value = request.header(algorithm.header()).map(str::to_owned);
        if value.is_none() && !is_announced(&algorithm) {
            continue;
        }
        if value.as_deref().is_some_and(|value| !algorithm.is_value(value)) {
            let message = format!("Value for {} header is invalid.", algorithm.header());
            return Err(errors::invalid_request(message));
        }
        if found.is_some() {
            return Err(errors::invalid_request(
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
        found = Some(Promise { algorithm, value });
    }
    Ok(found)
}

fn check_md5(given: &str, computed: &str) -> Result<(), ServiceError> {
    let decoded = STANDARD.decode(given).ok().filter(|digest| digest.len() == 16);
    let Some(decoded) = decoded else {
        return Err(ServiceError::client("InvalidDigest", "The Content-MD5 you specified was invalid.")
            .with_field("Content-MD5", given));
    };
    if hex::encode(&decoded) == computed {
        return Ok(());
    }
    let calculated = STANDARD.encode(hex::decode(computed).unwrap_or_default());
    Err(ServiceError::client("BadDigest", "The Content-MD5 you specified did not match what we received.")
        .with_field("ExpectedDigest", given)
        .with_field("CalculatedDigest", calculated))
}

/// Digests that are being computed.
pub(super) struct Digests {
    length: u64,
    md5: Md5,
    sha256: Option<Sha256>,
    algorithm: Algorithm,
    sum: Sum,
}

impl Digests {
    pub fn update(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.md5.update(bytes);
        self.sum.update(bytes);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
    }

    pub fn finish(self) -> Computed {
        let checksum =
            Checksum { algorithm: self.algorithm, value: self.sum.finish(), kind: Kind::FullObject };
        Computed {
            length: self.length,
            md5: hex::encode(self.md5.finalize()),
            checksum,
            sha256: self.sha256.map(|sha256| hex::encode(sha256.finalize())),
        }
    }
}
