//! Signature Version 4: the canonical form of a request, the signature over it, and how a client signs.
//!
//! Written by hand because the server must canonicalise requests anyway to verify them, for which there is no library;
//! signing is the same read the other way, and would cost thirty more crates. AWS's published examples hold it to the
//! specification, and botocore's signatures are verified by it in the end-to-end tests.

mod canonical;
#[cfg(test)]
mod tests;

pub use canonical::{canonical_query, canonical_request};

use hmac::{Hmac, Mac};
use http::header::{self, HeaderName, InvalidHeaderValue};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// The one algorithm.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The hash of a body that is not part of the signature.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// The last part of every scope.
pub const TERM: &str = "aws4_request";

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Where and when a signature counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// `20260131T235959Z`; the scope has its first eight characters.
    pub time: &'a str,
    /// The region.
    pub region: &'a str,
    /// The service's signing name.
    pub service: &'a str,
}

impl Scope<'_> {
    /// `<date>/<region>/<service>/aws4_request`.
    pub fn text(&self) -> String {
        format!("{}/{}/{}/{TERM}", self.date(), self.region, self.service)
    }

    fn date(&self) -> &str {
        self.time.get(..8).unwrap_or(self.time)
    }

    /// What is signed for a canonical request.
    pub fn string_to_sign(&self, canonical_request: &str) -> String {
        format!("{ALGORITHM}\n{}\n{}\n{}", self.time, self.text(), sha256(canonical_request.as_bytes()))
    }

    /// The signature of a text, in hexadecimal.
    pub fn sign(&self, secret: &str, text: &str) -> String {
        let mut seal = format!("AWS4{secret}").into_bytes();
        for part in [self.date(), self.region, self.service, TERM] {
            seal = keyed(&seal, part.as_bytes());
        }
        hex::encode(keyed(&seal, text.as_bytes()))
    }
}

/// With what a client signs.
#[derive(Debug, Clone, Copy)]
pub struct Signer<'a> {
    /// The access key id.
    pub access_key_id: &'a str,
    /// Its secret.
    pub secret: &'a str,
    /// The token of temporary credentials.
    pub session_token: Option<&'a str>,
}

impl Signer<'_> {
    /// Signs a request whose `host` header is set and whose URI is as it will be sent: the date, the token, for S3 the
    /// body's hash, and the signature become headers.
    pub fn sign(
        &self,
        parts: &mut Parts,
        body: &[u8],
        (region, service): (&str, &str),
        now: Timestamp,
    ) -> Result<(), InvalidHeaderValue> {
        let time = time_text(now);
        let hash = sha256(body);
        parts.headers.insert(DATE, HeaderValue::from_str(&time)?);
        if let Some(token) = self.session_token {
            parts.headers.insert(TOKEN, HeaderValue::from_str(token)?);
        }
        if service == "s3" {
            parts.headers.insert(CONTENT_SHA256, HeaderValue::from_str(&hash)?);
        }
        let signed = names_to_sign(&parts.headers);
        let scope = Scope { time: &time, region, service };
        let canonical = canonical_request(parts, &signed, &hash, service);
        let signature = scope.sign(self.secret, &scope.string_to_sign(&canonical));
        let authorization = format!(
            "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={signature}",
            self.access_key_id,
            scope.text(),
            signed.join(";")
        );
        parts.headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&authorization)?);
        Ok(())
    }
}

/// What proxies leave alone and AWS wants signed, in order.
fn names_to_sign(headers: &HeaderMap) -> Vec<String> {
    let wanted =
        |name: &&str| matches!(*name, "host" | "content-type" | "content-md5") || name.starts_with("x-amz-");
    let mut names: Vec<String> =
        headers.keys().map(HeaderName::as_str).filter(wanted).map(str::to_owned).collect();
    names.sort();
    names
}

/// A point in time as signatures write it.
pub fn time_text(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn keyed(key: &[u8], text: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length, so there is no error to hand on.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}
