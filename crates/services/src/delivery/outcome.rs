//! How an attempt to deliver ended.

use crate::wire::ServiceError;

/// How one attempt ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The endpoint has it.
    Delivered,
    /// It will never take it; no further attempt.
    Refused(String),
    /// It may take it later.
    Failed(String),
}

impl Outcome {
    /// The answer of another service: its own failure may pass, a refusal will not.
    pub(crate) fn of_service(answer: Result<impl Sized, ServiceError>) -> Self {
        match answer {
            Ok(_) => Self::Delivered,
            Err(error) if may_pass(&error) => Self::Failed(error.to_string()),
            Err(error) => Self::Refused(error.to_string()),
        }
    }
}

fn may_pass(error: &ServiceError) -> bool {
    let is_throttled =
        ["Throttl", "TooManyRequests", "LimitExceeded"].iter().any(|part| error.code.contains(part));
    error.status.is_server_error() || error.status.as_u16() == 429 || is_throttled
}
