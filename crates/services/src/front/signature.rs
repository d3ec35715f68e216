//! Signatures of requests: read from header or query, verified against the secret of the access key, and refused in AWS's
//! words. It is asked only when access keys are configured; otherwise any signature is taken for good.
//!
//! Of a body only the hash is signed; for S3 it is what the header says. A body that is read here is compared with it.

use super::older_signature;
use crate::wire::aws_query::Form;
use crate::wire::sigv4::{ALGORITHM, Scope, TERM, UNSIGNED_PAYLOAD, canonical_request, sha256, time_text};
use crate::wire::{Protocol, ServiceError};
use http::header::AUTHORIZATION;
use http::request::Parts;
use jiff::{SignedDuration, Timestamp};

/// Clocks may differ by this much.
const SKEW_MAX: SignedDuration = SignedDuration::from_mins(15);
/// A presigned request is good for a week at most.
const EXPIRES_SECONDS_MAX: i64 = 7 * 24 * 3600;

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The request is not signed.
    Missing,
    /// Something of the signature is missing or cannot be read.
    Incomplete(String),
    /// The same of a presigned query.
    IncompleteQuery(String),
    /// Nobody has this access key.
    UnknownKey(String),
    /// The clocks differ too much.
    Skewed { given: Timestamp, now: Timestamp },
    /// A presigned request is used too late.
    Expired { at: Timestamp, now: Timestamp },
    /// The signature is another one. Boxed, since it is what S3 shows to those who look for their mistake.
    Mismatch(Box<Mismatch>),
    /// The body is not the one whose hash is signed.
    OtherBody { given: String, found: String },
    /// An algorithm that is not Version 4.
    Unsupported,
}

/// What was compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mismatch {
    access_key_id: String,
    given: String,
    string_to_sign: String,
    canonical_request: String,
}

/// A signature as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Presented {
    access_key_id: String,
    region: String,
    service: String,
    signed: Vec<String>,
    signature: String,
    time: String,
    /// Seconds that a presigned request is good for; none for a signature in the header.
    expires: Option<i64>,
}

/// Verifies the signature of a request; `secret_of` knows the access keys.
pub(super) fn verify(
    parts: &Parts,
    body: &[u8],
    now: Timestamp,
    secret_of: impl Fn(&str) -> Option<String>,
) -> Result<(), Fault> {
    let form = Form::parse(parts.uri.query(), &[]);
    if parts.headers.get(AUTHORIZATION).is_none() && older_signature::is_borne(&form) {
        return verify_older(parts, &form, secret_of);
    }
    let presented = Presented::read(parts, &form)?;
    let secret = secret_of(&presented.access_key_id);
    let secret = secret.ok_or_else(|| Fault::UnknownKey(presented.access_key_id.clone()))?;
    presented.check_time(now)?;
    if !presented.signed.iter().any(|name| name == "host") {
        let message = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
        return Err(Fault::Incomplete(message.to_owned()));
    }
    let hash = presented.payload_hash(parts, body);
    let canonical = canonical_request(parts, &presented.signed, &hash, &presented.service);
    let scope = Scope { time: &presented.time, region: &presented.region, service: &presented.service };
    let string_to_sign = scope.string_to_sign(&canonical);
    if is_equal(&scope.sign(&secret, &string_to_sign), &presented.signature) {
        return check_body(body, hash);
    }
    Err(Fault::Mismatch(Box::new(Mismatch {
        access_key_id: presented.access_key_id,
        given: presented.signature,
        string_to_sign,
        canonical_request: canonical,
    })))
}

/// Compares a body that is at hand with the hash that is signed for it.
fn check_body(body: &[u8], given: String) -> Result<(), Fault> {
    let is_hash = given.len() == 64 && given.bytes().all(|byte| byte.is_ascii_hexdigit());
    if body.is_empty() || !is_hash {
        return Ok(());
    }
    let found = sha256(body);
    if given.eq_ignore_ascii_case(&found) { Ok(()) } else { Err(Fault::OtherBody { given, found }) }
}

/// The same of the older signature, which only S3 takes.
fn verify_older(parts: &Parts, form: &Form, secret_of: impl Fn(&str) -> Option<String>) -> Result<(), Fault> {
    let key = form.get("AWSAccessKeyId").unwrap_or_default().to_owned();
    let secret = secret_of(&key).ok_or_else(|| Fault::UnknownKey(key.clone()))?;
    let given = form.get("Signature").unwrap_or_default().to_owned();
    let string_to_sign =
        older_signature::string_to_sign(parts, form, crate::s3::bucket_of_host(parts).as_deref());
    if is_equal(&older_signature::sign(&secret, &string_to_sign), &given) {
        return Ok(());
    }
    let canonical_request = String::new();
    Err(Fault::Mismatch(Box::new(Mismatch { access_key_id: key, given, string_to_sign, canonical_request })))
}

/// Compares without telling by the time it takes where the first difference is.
pub(crate) fn is_equal(one: &str, other: &str) -> bool {
    let difference = one.bytes().zip(other.bytes()).fold(0, |all, (one, other)| all | (one ^ other));
    one.len() == other.len() && difference == 0
}

impl Presented {
    fn read(parts: &Parts, form: &Form) -> Result<Self, Fault> {
        if let Some(header) = parts.headers.get(AUTHORIZATION) {
            let text = header.to_str().unwrap_or_default();
            let time = parts.headers.get("x-amz-date").and_then(|value| value.to_str().ok());
            return Self::of_header(text, time);
        }
        if form.get("X-Amz-Algorithm").is_some() || form.get("X-Amz-Signature").is_some() {
            return Self::of_query(form);
        }
        Err(Fault::Missing)
    }

    fn of_header(text: &str, time: Option<&str>) -> Result<Self, Fault> {
        let Some(fields) = text.strip_prefix(ALGORITHM) else {
            return Err(Fault::Unsupported);
        };
        let field = |name: &str| {
            fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
        };
        let names = ["Credential", "Signature", "SignedHeaders"];
        let mut missing: Vec<String> = names
            .iter()
            .filter(|name| field(name).is_none_or(str::is_empty))
            .map(|name| format!("Authorization header requires '{name}' parameter."))
            .collect();
        if time.is_none() {
            missing.push(
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
                    .to_owned(),
            );
        }
        if !missing.is_empty() {
            let message = format!("{} Authorization={ALGORITHM}", missing.join(" "));
            return Err(Fault::Incomplete(message));
        }
        let value = |name: &str| field(name).unwrap_or_default();
        Self::of_parts(
            value("Credential"),
            value("SignedHeaders"),
            value("Signature"),
            time.unwrap_or_default(),
        )
        .map_err(Fault::Incomplete)
    }

    fn of_query(form: &Form) -> Result<Self, Fault> {
        let value = |name: &str| form.get(name).filter(|value| !value.is_empty());
        let parameters = (
            value("X-Amz-Credential"),
            value("X-Amz-SignedHeaders"),
            value("X-Amz-Signature"),
            value("X-Amz-Date"),
            value("X-Amz-Expires"),
        );
        let (Some(credential), Some(signed), Some(signature), Some(time), Some(expires)) = parameters else {
            let message = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                           X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.";
            return Err(Fault::IncompleteQuery(message.to_owned()));
        };
        if value("X-Amz-Algorithm") != Some(ALGORITHM) {
            let message = "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256\"";
            return Err(Fault::IncompleteQuery(message.to_owned()));
        }
        let expires: i64 = expires
            .parse()
            .map_err(|_| Fault::IncompleteQuery("X-Amz-Expires should be a number".to_owned()))?;
        if !(0..=EXPIRES_SECONDS_MAX).contains(&expires) {
            let message = "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be \
                           less than 604800 seconds";
            return Err(Fault::IncompleteQuery(message.to_owned()));
        }
        let mut presented =
            Self::of_parts(credential, signed, signature, time).map_err(Fault::IncompleteQuery)?;
        presented.expires = Some(expires);
        Ok(presented)
    }

    fn of_parts(credential: &str, signed: &str, signature: &str, time: &str) -> Result<Self, String> {
        // The access key itself may hold a slash, so the scope is read from the right.
        let mut words = credential.rsplitn(5, '/');
        let scope = (words.next(), words.next(), words.next(), words.next(), words.next());
        let (Some(term), Some(service), Some(region), Some(date), Some(key)) = scope else {
            return Err(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
                 '{credential}'"
            ));
        };
        if term != TERM {
            return Err(format!(
                "Credential should be scoped with a valid terminator: '{TERM}', not '{term}'."
            ));
        }
        if time.get(..8) != Some(date) {
            return Err(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{date}' != \
                 '{}', from '{time}'.",
                time.get(..8).unwrap_or(time)
            ));
        }
        Ok(Self {
            access_key_id: key.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed: signed.split(';').map(str::to_ascii_lowercase).collect(),
            signature: signature.to_owned(),
            time: time.to_owned(),
            expires: None,
        })
    }

    fn check_time(&self, now: Timestamp) -> Result<(), Fault> {
        let given = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", &self.time)
            .and_then(|time| time.to_datetime())
            .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC));
        let Ok(given) = given.map(|zoned| zoned.timestamp()) else {
            let message = format!(
                "Date must be in ISO-8601 'basic format'. Got '{}'. See http://en.wikipedia.org/wiki/ISO_8601",
                self.time
            );
            return Err(Fault::Incomplete(message));
        };
        let at = match self.expires {
            None if given.duration_since(now).abs() > SKEW_MAX => return Err(Fault::Skewed { given, now }),
            None => return Ok(()),
            Some(_) if given.duration_since(now) > SKEW_MAX => return Err(Fault::Skewed { given, now }),
            Some(seconds) => given.saturating_add(SignedDuration::from_secs(seconds)),
        };
        // A time that cannot be reckoned lies outside of all that a server sees.
        match at {
            Ok(at) if at < now => Err(Fault::Expired { at, now }),
            _ => Ok(()),
        }
    }

    fn payload_hash(&self, parts: &Parts, body: &[u8]) -> String {
        if self.service != "s3" {
            return sha256(body);
        }
        let given = parts.headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok());
        given.unwrap_or(UNSIGNED_PAYLOAD).to_owned()
    }
}

impl Fault {
    /// The refusal in the words of the service and the shape of its protocol.
    pub fn into_error(self, service: &str, protocol: Protocol) -> ServiceError {
        if service == "s3" {
            return self.in_s3();
        }
        // The XML protocols and the JSON ones differ in codes and status, not in texts.
        let is_query = matches!(protocol, Protocol::AwsQuery | Protocol::RestXml);
        let is_rest = protocol == Protocol::RestJson;
        let error = |query: &'static str, json: &'static str, message: String| {
            let (status, code) =
                if is_query { (403, query) } else { (if is_rest { 403 } else { 400 }, json) };
            ServiceError::new(status, code, message)
        };
        let mismatch = |message: String| error("SignatureDoesNotMatch", "InvalidSignatureException", message);
        let incomplete =
            |message: String| error("IncompleteSignature", "IncompleteSignatureException", message);
        match self {
            Self::Missing => error(
                "MissingAuthenticationToken",
                "MissingAuthenticationTokenException",
                "Request is missing Authentication Token".to_owned(),
            ),
            Self::Incomplete(message) | Self::IncompleteQuery(message) => incomplete(message),
            Self::Unsupported => incomplete(format!("Authorization header requires '{ALGORITHM}'.")),
            Self::UnknownKey(_) => error(
                "InvalidClientTokenId",
                "UnrecognizedClientException",
                "The security token included in the request is invalid.".to_owned(),
            ),
            Self::Skewed { given, now } => mismatch(skew(given, now)),
            Self::OtherBody { .. } => mismatch("The body is not the one that was signed.".to_owned()),
            Self::Expired { at, now } => mismatch(format!(
                "Signature expired: {} is now earlier than {}",
                time_text(at),
                time_text(now)
            )),
            Self::Mismatch(_) => mismatch(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details."
                    .to_owned(),
            ),
        }
    }

    fn in_s3(self) -> ServiceError {
        match self {
            Self::Missing => ServiceError::new(403, "AccessDenied", "Access Denied"),
            Self::Incomplete(message) => ServiceError::client("AuthorizationHeaderMalformed", message),
            Self::IncompleteQuery(message) => {
                ServiceError::client("AuthorizationQueryParametersError", message)
            }
            Self::Unsupported => ServiceError::client(
                "InvalidRequest",
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
            ),
            Self::OtherBody { given, found } => ServiceError::client(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
            .with_field("ClientComputedContentSHA256", given)
            .with_field("S3ComputedContentSHA256", found),
            Self::UnknownKey(key) => ServiceError::new(
                403,
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
            )
            .with_field("AWSAccessKeyId", key),
            Self::Skewed { given, now } => ServiceError::new(
                403,
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
            )
            .with_field("RequestTime", time_text(given))
            .with_field("ServerTime", now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
            .with_field("MaxAllowedSkewMilliseconds", SKEW_MAX.as_millis().to_string()),
            Self::Expired { at, now } => ServiceError::new(403, "AccessDenied", "Request has expired")
                .with_field("Expires", at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
                .with_field("ServerTime", now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            Self::Mismatch(mismatch) => ServiceError::new(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your key and \
                 signing method.",
            )
            .with_field("AWSAccessKeyId", mismatch.access_key_id)
            .with_field("StringToSign", mismatch.string_to_sign)
            .with_field("SignatureProvided", mismatch.given)
            .with_field("CanonicalRequest", mismatch.canonical_request),
        }
    }
}

/// AWS's text for clocks that differ.
fn skew(given: Timestamp, now: Timestamp) -> String {
    let (given_text, now_text) = (time_text(given), time_text(now));
    let moved = |skew: SignedDuration| now.saturating_add(skew).map(time_text).unwrap_or_default();
    if given < now {
        let bound = moved(-SKEW_MAX);
        format!("Signature expired: {given_text} is now earlier than {bound} ({now_text} - 15 min.)")
    } else {
        let bound = moved(SKEW_MAX);
        format!("Signature not yet current: {given_text} is still later than {bound} ({now_text} + 15 min.)")
    }
}

#[cfg(test)]
mod tests;
