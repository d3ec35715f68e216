//! SNS's errors.

use crate::wire::ServiceError;

/// `InvalidParameter` with AWS's usual beginning.
pub(super) fn invalid(what: impl std::fmt::Display) -> ServiceError {
    ServiceError::client("InvalidParameter", format!("Invalid parameter: {what}"))
}

/// The topic is not there.
pub(super) fn no_topic() -> ServiceError {
    ServiceError::new(404, "NotFound", "Topic does not exist")
}

/// The subscription is not there.
pub(super) fn no_subscription() -> ServiceError {
    ServiceError::new(404, "NotFound", "Subscription does not exist")
}

/// `ResourceNotFound`, as the tagging operations answer.
pub(super) fn no_resource() -> ServiceError {
    ServiceError::new(404, "ResourceNotFound", "Resource does not exist")
}
