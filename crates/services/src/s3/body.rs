//! The bytes a request carries: taken out of AWS's chunks, and compared with the digests that came with them.
//!
//! Signatures of chunks are not verified, as no signatures are.

use super::checksum::{Algorithm, Checksum, Kind};
use super::errors;
use crate::wire::{ServiceError, ServiceRequest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use md5::{Digest, Md5};

/// A body that agrees with its digests.
#[derive(Debug)]
pub(super) struct Payload {
    pub bytes: Bytes,
    /// MD5 in hexadecimal.
    pub md5: String,
    /// The checksum the caller sent.
    pub checksum: Option<Checksum>,
}

impl Payload {
    pub fn read(request: &ServiceRequest) -> Result<Self, ServiceError> {
        let (bytes, trailers) =
            if is_chunked(request) { dechunk(request)? } else { (request.body.clone(), Vec::new()) };
        let md5 = Md5::digest(&bytes);
        if let Some(given) = request.header("content-md5") {
            check_md5(given, &md5)?;
        }
        let trailer =
            |name: &str| trailers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let sent = |algorithm: Algorithm| {
            let name = algorithm.header();
            request.header(name).or_else(|| trailer(name)).map(|value| (algorithm, value.to_owned()))
        };
        let mut checksum = None;
        for (algorithm, value) in Algorithm::ALL.into_iter().filter_map(sent) {
            if checksum.is_some() {
                return Err(errors::invalid_request(
                    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
                ));
            }
            if algorithm.of(&bytes) != value {
                return Err(errors::bad_digest(algorithm.name()));
            }
            checksum = Some(Checksum { algorithm, value, kind: Kind::FullObject });
        }
        Ok(Self { md5: hex::encode(md5), bytes, checksum })
    }

    /// The caller's checksum, or the one that S3 computes by itself.
    pub fn checksum_to_keep(&self) -> Checksum {
        self.checksum.clone().unwrap_or_else(|| {
            let algorithm = Algorithm::Crc64Nvme;
            Checksum { algorithm, value: algorithm.of(&self.bytes), kind: Kind::FullObject }
        })
    }
}

fn check_md5(given: &str, md5: &[u8]) -> Result<(), ServiceError> {
    let decoded = STANDARD.decode(given).ok().filter(|digest| digest.len() == 16);
    let Some(decoded) = decoded else {
        return Err(ServiceError::client("InvalidDigest", "The Content-MD5 you specified was invalid.")
            .with_field("Content-MD5", given));
    };
    if decoded == md5 {
        return Ok(());
    }
    Err(ServiceError::client("BadDigest", "The Content-MD5 you specified did not match what we received.")
        .with_field("ExpectedDigest", given)
        .with_field("CalculatedDigest", STANDARD.encode(md5)))
}

pub(super) fn is_chunked(request: &ServiceRequest) -> bool {
    let is_streaming =
        request.header("x-amz-content-sha256").is_some_and(|value| value.starts_with("STREAMING-"));
    let encoding = request.header("content-encoding").unwrap_or_default();
    is_streaming || encoding.split(',').any(|part| part.trim() == "aws-chunked")
}

pub(super) type Trailers = Vec<(String, String)>;

/// `<hexadecimal size>[;chunk-signature=…]\r\n<bytes>\r\n`…, a chunk of size 0, then `name:value` lines.
pub(super) fn dechunk(request: &ServiceRequest) -> Result<(Bytes, Trailers), ServiceError> {
    let incomplete = || {
        let message = "You did not provide the number of bytes specified by the Content-Length HTTP header";
        ServiceError::client("IncompleteBody", message)
    };
    let mut rest = request.body.clone();
    let mut bytes = BytesMut::with_capacity(rest.len());
    loop {
        let line = take_line(&mut rest).ok_or_else(incomplete)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| incomplete())?;
        if size == 0 {
            break;
        }
        if size > rest.len() {
            return Err(incomplete());
        }
        bytes.extend_from_slice(&rest.split_to(size));
        if take_line(&mut rest).is_none_or(|line| !line.is_empty()) {
            return Err(incomplete());
        }
    }
    let announced =
        request.header("x-amz-decoded-content-length").and_then(|text| text.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced != bytes.len()) {
        return Err(incomplete());
    }
    let mut trailers = Trailers::new();
    while let Some(line) = take_line(&mut rest) {
        if let Some((name, value)) = line.split_once(':') {
            trailers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    Ok((bytes.freeze(), trailers))
}

/// A line without its end; the last one may lack the end.
fn take_line(rest: &mut Bytes) -> Option<String> {
    if rest.is_empty() {
        return None;
    }
    let end = rest.iter().position(|byte| *byte == b'\n');
    let line = rest.split_to(end.map_or(rest.len(), |end| end + 1));
    Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
}
