//! How an attempt to deliver ended, and when the next one is due.

use crate::wire::ServiceError;

/// How one attempt ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The endpoint has it.
    Delivered,
    /// It will never take it; no further attempt.
    Refused(String),
    /// It may take it later.
    Failed(String),
}

impl Outcome {
    /// The answer of another service: its own failure may pass, a refusal will not.
    pub(super) fn of_service(answer: Result<impl Sized, ServiceError>) -> Self {
        match answer {
            Ok(_) => Self::Delivered,
            Err(error) if error.status.is_server_error() || error.status.as_u16() == 429 => {
                Self::Failed(error.to_string())
            }
            Err(error) => Self::Refused(error.to_string()),
        }
    }
}

/// Attempts for queues and functions, as on AWS: about 23 days.
const ATTEMPTS_WITHIN_AWS_MAX: i64 = 100_015;
/// Attempts for HTTP and mail, as on AWS: about an hour.
const ATTEMPTS_OUTSIDE_MAX: i64 = 50;

/// Milliseconds until the next attempt after `attempts` failures, or nothing when it was the last.
pub(super) fn retry_delay_ms(protocol: &str, attempts: i64) -> Option<i64> {
    let most =
        if ["sqs", "lambda"].contains(&protocol) { ATTEMPTS_WITHIN_AWS_MAX } else { ATTEMPTS_OUTSIDE_MAX };
    if attempts >= most {
        return None;
    }
    Some(match attempts {
        ..=3 => 100,
        4..=5 => 1_000,
        6..=10 => 1_000 << (attempts - 5).min(4),
        _ => 20_000,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_slow_down_and_end() {
        assert_eq!(retry_delay_ms("http", 1), Some(100));
        assert_eq!(retry_delay_ms("http", 49), Some(20_000));
        assert_eq!(retry_delay_ms("http", 50), None);
        assert_eq!(retry_delay_ms("sqs", 50), Some(20_000));
    }
}
