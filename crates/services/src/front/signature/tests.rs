use super::*;
use crate::wire::sigv4::Signer;
use http::{HeaderValue, Request};

const NOW: &str = "2026-03-04T05:06:07Z";
const KEY: &str = "AKIAEXAMPLE";
const SECRET: &str = "secret/+";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn secret_of(key: &str) -> Option<String> {
    (key == KEY).then(|| SECRET.to_owned())
}

fn signed(service: &str, uri: &str, body: &[u8], skew_seconds: i64) -> Parts {
    let request = Request::post(uri).header("host", "localhost:4566").header("x-amz-target", "T.A");
    let mut parts = request.body(()).unwrap().into_parts().0;
    let signer = Signer { access_key_id: KEY, secret: SECRET, session_token: Some("token") };
    let at = now() + SignedDuration::from_secs(skew_seconds);
    signer.sign(&mut parts, body, ("us-east-1", service), at).unwrap();
    parts
}

fn code(parts: &Parts, body: &[u8], service: &str) -> String {
    match verify(parts, body, now(), secret_of) {
        Ok(()) => "good".to_owned(),
        Err(fault) => fault.into_error(service, Protocol::AwsJson10).to_string(),
    }
}

#[test]
fn a_good_signature_passes_and_every_change_is_seen() {
    let body = b"{}";
    for (service, uri) in
        [("dynamodb", "/"), ("lambda", "/a/arn%3Aaws?b=%20&a=1"), ("s3", "/b/k%20/%C3%A7?x")]
    {
        let good = signed(service, uri, body, 0);
        assert_eq!(code(&good, body, service), "good", "{service}");
        let mut other = good.clone();
        other.uri = "/other".parse().unwrap();
        assert_ne!(code(&other, body, service), "good", "the path");
        let mut other = good.clone();
        other.uri = format!("{uri}{}z=1", if uri.contains('?') { "&" } else { "?" }).parse().unwrap();
        assert_ne!(code(&other, body, service), "good", "the query");
        let mut other = good.clone();
        other.headers.insert("x-amz-target", HeaderValue::from_static("T.B"));
        assert_ne!(code(&other, body, service), "good", "a header");
        let mut other = good.clone();
        other.method = http::Method::GET;
        assert_ne!(code(&other, body, service), "good", "the method");
        assert_ne!(code(&good, b"{ }", service), "good", "the body");
    }
}

#[test]
fn clocks_that_differ_are_told_with_the_times() {
    let cases = [
        (
            -901,
            "Signature expired: 20260304T045106Z is now earlier than 20260304T045107Z (20260304T050607Z - 15 min.)",
        ),
        (
            901,
            "Signature not yet current: 20260304T052108Z is still later than 20260304T052107Z (20260304T050607Z + 15 min.)",
        ),
    ];
    for (skew, message) in cases {
        let parts = signed("dynamodb", "/", b"", skew);
        assert_eq!(code(&parts, b"", "dynamodb"), format!("InvalidSignatureException: {message}"));
        let parts = signed("s3", "/b", b"", skew);
        assert!(code(&parts, b"", "s3").starts_with("RequestTimeTooSkewed: "));
    }
    assert_eq!(code(&signed("dynamodb", "/", b"", -899), b"", "dynamodb"), "good");
}

#[test]
fn headers_that_cannot_be_read_are_refused_with_what_they_lack() {
    let with = |authorization: &str| {
        let mut parts = signed("dynamodb", "/", b"", 0);
        parts.headers.insert(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
        code(&parts, b"", "dynamodb")
    };
    let rest = "SignedHeaders=host, Signature=0";
    let cases = [
        ("Bearer x".to_owned(), "IncompleteSignatureException: Authorization header requires 'AWS4-HMAC-SHA256'."),
        (
            format!("AWS4-HMAC-SHA256 Credential={KEY}/x"),
            "IncompleteSignatureException: Authorization header requires 'Signature' parameter. Authorization header \
             requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256",
        ),
        (
            format!("AWS4-HMAC-SHA256 Credential={KEY}/x, {rest}"),
            "IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. \
             keyid/date/region/service/term, got 'AKIAEXAMPLE/x'",
        ),
        (
            format!("AWS4-HMAC-SHA256 Credential={KEY}/20260303/r/dynamodb/aws4_request, {rest}"),
            "IncompleteSignatureException: Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date \
             from HTTP: '20260303' != '20260304', from '20260304T050607Z'.",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=AKIAOTHER/20260304/r/dynamodb/aws4_request, SignedHeaders=host, Signature=0".to_owned(),
            "UnrecognizedClientException: The security token included in the request is invalid.",
        ),
        (
            format!("AWS4-HMAC-SHA256 Credential={KEY}/20260304/r/dynamodb/aws4_request, SignedHeaders=x-amz-date, Signature=0"),
            "IncompleteSignatureException: 'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ),
    ];
    for (authorization, expected) in cases {
        assert_eq!(with(&authorization), expected, "{authorization}");
    }
    let unsigned = Request::post("/").header("host", "h").body(()).unwrap().into_parts().0;
    assert!(code(&unsigned, b"", "dynamodb").starts_with("MissingAuthenticationTokenException: "));
    assert_eq!(code(&unsigned, b"", "s3"), "AccessDenied: Access Denied");
}

/// A presigned URL made by hand.
fn presigned(expires: &str, age_seconds: i64) -> Parts {
    let time = time_text(now() - SignedDuration::from_secs(age_seconds));
    let query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY}%2F{}%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date={time}\
         &X-Amz-Expires={expires}&X-Amz-SignedHeaders=host",
        &time[..8]
    );
    let parts = |query: &str| {
        let request = Request::get(format!("/bucket/key?{query}")).header("host", "localhost");
        request.body(()).unwrap().into_parts().0
    };
    let scope = Scope { time: &time, region: "us-east-1", service: "s3" };
    let canonical = canonical_request(&parts(&query), &["host".to_owned()], UNSIGNED_PAYLOAD, "s3");
    let signature = scope.sign(SECRET, &scope.string_to_sign(&canonical));
    parts(&format!("{query}&X-Amz-Signature={signature}"))
}

#[test]
fn presigned_requests_are_good_until_they_end() {
    assert_eq!(code(&presigned("60", 59), b"", "s3"), "good");
    assert_eq!(code(&presigned("604800", 604_000), b"", "s3"), "good");
    assert_eq!(code(&presigned("60", 61), b"", "s3"), "AccessDenied: Request has expired");
    assert!(code(&presigned("60", -1000), b"", "s3").starts_with("RequestTimeTooSkewed"));
    for expires in ["604801", "-1", "x"] {
        assert!(
            code(&presigned(expires, 0), b"", "s3").starts_with("AuthorizationQueryParametersError"),
            "{expires}"
        );
    }
    let mut other = presigned("60", 0);
    other.uri = other.uri.to_string().replace("/key", "/other").parse().unwrap();
    assert!(code(&other, b"", "s3").starts_with("SignatureDoesNotMatch"));
}

#[test]
fn the_older_signature_of_s3_is_verified_too() {
    let url = |signature: &str| {
        let uri = format!("/b/k?AWSAccessKeyId={KEY}&Signature={signature}&Expires=2000000000");
        Request::get(uri).header("host", "localhost").body(()).unwrap().into_parts().0
    };
    let signature = older_signature::sign(SECRET, "GET\n\n\n2000000000\n/b/k");
    let encoded =
        percent_encoding::utf8_percent_encode(&signature, percent_encoding::NON_ALPHANUMERIC).to_string();
    assert_eq!(code(&url(&encoded), b"", "s3"), "good");
    assert!(code(&url("AAAA"), b"", "s3").starts_with("SignatureDoesNotMatch"));
}
