//! Which bucket and key a request means: path style (`/bucket/key`) and virtual-host style (`bucket.s3.…`, or
//! `bucket.localhost`, which SDKs make of an endpoint at localhost).

use crate::wire::{ServiceError, ServiceRequest};
use http::header;
use percent_encoding::percent_decode_str;

/// S3's bound on a key in bytes.
pub(super) const KEY_BYTES_MAX: usize = 1024;

/// What a request is addressed to. Both are empty for the service itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Address {
    pub bucket: String,
    pub key: String,
}

impl Address {
    pub fn of(request: &ServiceRequest) -> Result<Self, ServiceError> {
        let path = request.uri.path();
        let path = path.strip_prefix('/').unwrap_or(path);
        let address = match bucket_of_host(request) {
            Some(bucket) => Self { bucket, key: decode(path)? },
            None => Self::of_path(path)?,
        };
        let size = address.key.len();
        if size > KEY_BYTES_MAX {
            return Err(ServiceError::client("KeyTooLongError", "Your key is too long")
                .with_field("Size", size.to_string())
                .with_field("MaxSizeAllowed", KEY_BYTES_MAX.to_string()));
        }
        Ok(address)
    }

    /// `bucket/key`, percent-encoded. The key keeps every slash it has.
    pub fn of_path(path: &str) -> Result<Self, ServiceError> {
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        Ok(Self { bucket: decode(bucket)?, key: decode(key)? })
    }

    /// The path of the object, for messages and locations.
    pub fn resource(&self) -> String {
        format!("/{}{}{}", self.bucket, if self.key.is_empty() { "" } else { "/" }, self.key)
    }
}

fn decode(text: &str) -> Result<String, ServiceError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| ServiceError::client("InvalidURI", "Couldn't parse the specified URI."))
}

fn bucket_of_host(request: &ServiceRequest) -> Option<String> {
    bucket_in(request.header(header::HOST.as_str()).or_else(|| request.uri.host())?)
}

/// The bucket that a request's host names, if it does.
pub(crate) fn bucket_of_parts(parts: &http::request::Parts) -> Option<String> {
    bucket_in(parts.headers.get(header::HOST)?.to_str().ok()?)
}

fn bucket_in(host: &str) -> Option<String> {
    let host =
        host.rsplit_once(':').map_or(host, |(name, _)| name).trim_end_matches('.').to_ascii_lowercase();
    // The service's own names come first: `s3.localhost` is no bucket called `s3`.
    if host.starts_with("s3.") || host.starts_with("s3-") {
        return None;
    }
    let labels = [".s3.", ".s3-"].iter().filter_map(|label| host.rfind(label)).max();
    let end = labels.or_else(|| host.ends_with(".localhost").then(|| host.len() - ".localhost".len()))?;
    Some(host[..end].to_owned()).filter(|bucket| !bucket.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderValue, Method};

    #[test]
    fn bucket_and_key_are_read_from_host_and_path() {
        let cases = [
            ("localhost:4566", "/", "", ""),
            ("localhost:4566", "/b", "b", ""),
            ("127.0.0.1:4566", "/b/a%2Fb//c/", "b", "a/b//c/"),
            ("s3.localhost:4566", "/b/k", "b", "k"),
            ("s3.us-east-1.amazonaws.com", "/b/k", "b", "k"),
            ("my.bucket.s3.localhost:4566", "/k%20x", "my.bucket", "k x"),
            ("b.s3.eu-west-1.amazonaws.com", "/", "b", ""),
            ("b.s3-eu-west-1.amazonaws.com", "/k", "b", "k"),
            ("b.localhost:4566", "/k", "b", "k"),
        ];
        for (host, path, bucket, key) in cases {
            let mut request = ServiceRequest::rest(Method::GET, path, Bytes::new());
            request.headers.insert("host", HeaderValue::from_static(host));
            let expected = Address { bucket: bucket.to_owned(), key: key.to_owned() };
            assert_eq!(Address::of(&request), Ok(expected), "{host} {path}");
        }
    }
}
