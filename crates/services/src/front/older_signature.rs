//! The signature before Version 4, as presigned URLs of S3 still bear it: an HMAC-SHA1 over method, a few headers, and the
//! resource with the parameters that say what is meant. When such a URL ends is S3's business.

use crate::wire::aws_query::Form;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use http::request::Parts;
use percent_encoding::percent_decode_str;
use sha1::Sha1;
use std::collections::BTreeMap;

/// Parameters that are part of the resource.
const OF_RESOURCE: [&str; 33] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
];

/// Whether the request bears such a signature.
pub(super) fn is_borne(form: &Form) -> bool {
    ["AWSAccessKeyId", "Signature", "Expires"].iter().all(|name| form.get(name).is_some())
}

/// What is signed. `bucket` is that of a host name, if it names one.
pub(super) fn string_to_sign(parts: &Parts, form: &Form, bucket: Option<&str>) -> String {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let either = |name: &str| form.get(name).or_else(|| header(name)).unwrap_or_default().trim().to_owned();
    let mut text = format!(
        "{}\n{}\n{}\n{}\n",
        parts.method,
        either("content-md5"),
        either("content-type"),
        form.get("Expires").unwrap_or_default()
    );
    for (name, value) in amazons(parts) {
        text.push_str(&format!("{name}:{value}\n"));
    }
    if let Some(bucket) = bucket {
        text.push_str(&format!("/{bucket}"));
    }
    text.push_str(parts.uri.path());
    text.push_str(&subresource(parts.uri.query().unwrap_or_default()));
    text
}

/// Headers and parameters of AWS's own, in order.
fn amazons(parts: &Parts) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, value) in &parts.headers {
        if name.as_str().starts_with("x-amz-") {
            let value = String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
            found
                .entry(name.as_str().to_owned())
                .and_modify(|all: &mut String| *all = format!("{all},{value}"))
                .or_insert(value);
        }
    }
    for parameter in parts.uri.query().unwrap_or_default().split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name.to_ascii_lowercase().starts_with("x-amz-") {
            found.insert(name.to_ascii_lowercase(), decoded(value));
        }
    }
    found
}

fn subresource(query: &str) -> String {
    let mut kept: Vec<(&str, Option<String>)> = query
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((name, value)) => (name, Some(decoded(value))),
            None => (parameter, None),
        })
        .filter(|(name, _)| OF_RESOURCE.contains(name))
        .collect();
    kept.sort();
    let shown = |(name, value): (&str, Option<String>)| match value {
        Some(value) => format!("{name}={value}"),
        None => name.to_owned(),
    };
    let kept: Vec<String> = kept.into_iter().map(shown).collect();
    if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) }
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// The signature in base64.
pub(super) fn sign(secret: &str, text: &str) -> String {
    // HMAC takes keys of any length, so there is no error to hand on.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of S3's reference: a GET by query string.
    #[test]
    fn the_example_of_s3s_reference_has_its_published_signature() {
        let uri = "/photos/puppy.jpg?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=x&Expires=1175139620";
        let request = http::Request::get(uri).header("host", "awsexamplebucket1.s3.us-west-1.amazonaws.com");
        let parts = request.body(()).unwrap().into_parts().0;
        let form = Form::parse(parts.uri.query(), &[]);
        assert!(is_borne(&form));
        let text = string_to_sign(&parts, &form, Some("awsexamplebucket1"));
        assert_eq!(text, "GET\n\n\n1175139620\n/awsexamplebucket1/photos/puppy.jpg");
    }

    #[test]
    fn parameters_that_say_what_is_meant_are_signed() {
        let uri = "/b/k?versionId=1&response-content-type=text%2Fplain&X-Amz-Security-Token=t%2B&Expires=1&acl&other=2";
        let parts = http::Request::get(uri).body(()).unwrap().into_parts().0;
        let text = string_to_sign(&parts, &Form::parse(parts.uri.query(), &[]), None);
        assert_eq!(
            text,
            "GET\n\n\n1\nx-amz-security-token:t+\n/b/k?acl&response-content-type=text/plain&versionId=1"
        );
    }
}
