//! When SNS tries a delivery again.

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
