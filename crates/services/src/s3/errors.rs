//! S3's errors: code, status, message and the further elements of `<Error>`, as AWS writes them.

use crate::wire::ServiceError;

pub(super) fn no_such_bucket(bucket: &str) -> ServiceError {
    ServiceError::new(404, "NoSuchBucket", "The specified bucket does not exist")
        .with_field("BucketName", bucket)
}

pub(super) fn no_such_key(key: &str) -> ServiceError {
    ServiceError::new(404, "NoSuchKey", "The specified key does not exist.").with_field("Key", key)
}

pub(super) fn no_such_version(key: &str, version: &str) -> ServiceError {
    ServiceError::new(404, "NoSuchVersion", "The specified version does not exist.")
        .with_field("Key", key)
        .with_field("VersionId", version)
}

pub(super) fn no_such_upload(upload: &str) -> ServiceError {
    let message = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been \
                   aborted or completed.";
    ServiceError::new(404, "NoSuchUpload", message).with_field("UploadId", upload)
}

pub(super) fn invalid_argument(message: &str, name: &str, value: &str) -> ServiceError {
    ServiceError::client("InvalidArgument", message)
        .with_field("ArgumentName", name)
        .with_field("ArgumentValue", value)
}

pub(super) fn invalid_request(message: impl Into<String>) -> ServiceError {
    ServiceError::client("InvalidRequest", message)
}

pub(super) fn malformed_xml() -> ServiceError {
    let message = "The XML you provided was not well-formed or did not validate against our published schema";
    ServiceError::client("MalformedXML", message)
}

pub(super) fn precondition_failed(condition: &str) -> ServiceError {
    let message = "At least one of the pre-conditions you specified did not hold";
    ServiceError::new(412, "PreconditionFailed", message).with_field("Condition", condition)
}

pub(super) fn method_not_allowed(method: &str, kind: &str) -> ServiceError {
    ServiceError::new(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
        .with_field("Method", method)
        .with_field("ResourceType", kind)
}

/// An operation that S3 has and this server has not.
pub(super) fn not_implemented(operation: &str) -> ServiceError {
    ServiceError::new(501, "NotImplemented", format!("s3:{operation} is not implemented by this server."))
}

/// A header whose effect this server does not have; ignoring it would be a lie.
pub(super) fn header_not_implemented(header: &str) -> ServiceError {
    let message = "A header you provided implies functionality that is not implemented";
    ServiceError::new(501, "NotImplemented", message).with_field("Header", header)
}

pub(super) fn bad_digest(what: &str) -> ServiceError {
    ServiceError::client(
        "BadDigest",
        format!("The {what} you specified did not match the calculated checksum."),
    )
}
