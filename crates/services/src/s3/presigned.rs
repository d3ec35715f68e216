//! Presigned URLs: when they end. Their signatures are not verified on loopback, like those of headers.

use crate::wire::{ServiceError, ServiceRequest};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// AWS's longest life of a presigned URL: seven days.
const EXPIRES_SECONDS_MAX: i64 = 604_800;

/// Refuses a URL whose time is over. A request signed by its headers passes.
pub(super) fn check(request: &ServiceRequest, now: Timestamp) -> Result<(), ServiceError> {
    if request.query("X-Amz-Signature").is_some() {
        let expires = request.query("X-Amz-Expires").and_then(|text| text.parse::<i64>().ok());
        let signed = request.query("X-Amz-Date").and_then(parse);
        let (Some(expires), Some(signed)) = (expires, signed) else {
            return Err(malformed(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                 X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            ));
        };
        if !(0..=EXPIRES_SECONDS_MAX).contains(&expires) {
            return Err(malformed(
                "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds",
            ));
        }
        return until(signed.as_second() + expires, now)
            .map_err(|error| error.with_field("X-Amz-Expires", expires.to_string()));
    }
    // The older signature, which some SDKs still presign with.
    match (request.query("Signature"), request.query("Expires").map(str::parse)) {
        (Some(_), Some(Ok(expires))) => until(expires, now),
        _ => Ok(()),
    }
}

fn until(expires: i64, now: Timestamp) -> Result<(), ServiceError> {
    if now.as_second() <= expires {
        return Ok(());
    }
    let expires = Timestamp::from_second(expires).unwrap_or_default();
    Err(ServiceError::new(403, "AccessDenied", "Request has expired")
        .with_field("Expires", super::text::iso(expires))
        .with_field("ServerTime", super::text::iso(now)))
}

fn malformed(message: &str) -> ServiceError {
    ServiceError::client("AuthorizationQueryParametersError", message)
}

fn parse(text: &str) -> Option<Timestamp> {
    let time = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}
