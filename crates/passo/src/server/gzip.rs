//! Bodies of requests for Step Functions: their bound, and packed ones: `Content-Encoding: gzip` on requests for Step Functions, and on answers to whoever accepts it.
//!
//! Invariant: what is unpacked is bounded, whatever a small body claims to become. Other services do their own: CloudWatch's
//! requests are unpacked there, and S3 keeps the encoding of an object as it is told.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Response, header};

/// Most bytes of a request, unpacked; far above AWS's quota of 1 MiB a request.
const UNPACKED_BYTES_MAX: u64 = 8 << 20;

/// Answers below this are not worth packing.
const WORTH_PACKING: usize = 1_024;

/// Why a body cannot be read.
pub(super) struct Unreadable {
    pub status: u16,
    pub code: &'static str,
    pub message: &'static str,
}

fn encoding(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_ENCODING)?.to_str().ok().map(str::trim)
}

/// The body as it was before it was packed.
pub(super) fn unpacked(headers: &HeaderMap, body: Bytes) -> Result<Bytes, Unreadable> {
    let too_large =
        Unreadable { status: 413, code: "RequestEntityTooLarge", message: "The request body is too large." };
    match encoding(headers) {
        None | Some("" | "identity") if body.len() as u64 > UNPACKED_BYTES_MAX => return Err(too_large),
        None | Some("" | "identity") => return Ok(body),
        Some(name) if name.eq_ignore_ascii_case("gzip") => {}
        Some(_) => {
            let message = "Only gzip is supported as Content-Encoding.";
            return Err(Unreadable { status: 415, code: "UnsupportedMediaType", message });
        }
    }
    let mut text = Vec::new();
    let read = MultiGzDecoder::new(&body[..]).take(UNPACKED_BYTES_MAX + 1).read_to_end(&mut text);
    if read.is_err() {
        let message = "The request body is not what its Content-Encoding says.";
        return Err(Unreadable { status: 400, code: "SerializationException", message });
    }
    match text.len() as u64 > UNPACKED_BYTES_MAX {
        true => Err(too_large),
        false => Ok(text.into()),
    }
}

/// Whether the caller reads packed answers.
pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    let accepted =
        headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        named && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// The answer packed, if that is worth it.
pub(super) fn packed(answer: Response<Bytes>) -> Response<Bytes> {
    if answer.body().len() < WORTH_PACKING {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    let written = encoder.write_all(&body).and_then(|()| encoder.finish());
    let Ok(packed) = written else { return Response::from_parts(parts, body) };
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    Response::from_parts(parts, packed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn an_answer_is_packed_and_a_request_is_unpacked() {
        let text = Bytes::from("state ".repeat(1_000));
        let packed = packed(Response::new(text.clone()));
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        assert!(packed.body().len() < 200);
        let unpacked = unpacked(packed.headers(), packed.body().clone());
        assert_eq!(unpacked.ok(), Some(text));
    }

    #[test]
    fn small_answers_and_plain_requests_stay_as_they_are() {
        let small = packed(Response::new(Bytes::from("{}")));
        assert!(!small.headers().contains_key(header::CONTENT_ENCODING));
        assert_eq!(unpacked(&HeaderMap::new(), Bytes::from("{}")).ok(), Some(Bytes::from("{}")));
    }

    #[test]
    fn what_is_no_gzip_or_becomes_too_large_is_refused() {
        let gzip = headers(header::CONTENT_ENCODING, "gzip");
        let status =
            |headers: &HeaderMap, body: Bytes| unpacked(headers, body).err().map(|error| error.status);
        assert_eq!(status(&gzip, Bytes::from("{}")), Some(400));
        let bomb = packed(Response::new(Bytes::from(vec![b' '; 9 << 20])));
        assert_eq!(status(&gzip, bomb.into_body()), Some(413));
        assert_eq!(status(&headers(header::CONTENT_ENCODING, "br"), Bytes::from("{}")), Some(415));
    }

    #[test]
    fn accepting_is_read_with_its_weights() {
        for (value, accepted) in
            [("gzip", true), ("br, GZIP;q=0.5", true), ("identity", false), ("gzip;q=0", false), ("*", false)]
        {
            assert_eq!(is_accepted(&headers(header::ACCEPT_ENCODING, value)), accepted, "{value}");
        }
    }
}
