//! `RetryPolicy` of EventBridge's and Scheduler's targets.

use serde_json::Value;

/// AWS's default and bound: 185 attempts more in 24 hours.
const RETRIES_MAX: i64 = 185;
const AGE_MAX_SECONDS: i64 = 86_400;
const DELAY_MAX_MS: i64 = 480_000;

/// How often and how long a target is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    /// Attempts after the first one.
    pub(crate) retries_max: i64,
    /// Milliseconds after which it is too late.
    pub(crate) age_max_ms: i64,
}

impl RetryPolicy {
    /// What holds where the user says nothing.
    pub(crate) const DEFAULT: Self = Self { retries_max: RETRIES_MAX, age_max_ms: AGE_MAX_SECONDS * 1000 };

    /// The policy of a target.
    pub(crate) fn of(target: &Value) -> Self {
        let given = |member: &str| target.pointer(&format!("/RetryPolicy/{member}")).and_then(Value::as_i64);
        Self {
            retries_max: given("MaximumRetryAttempts").unwrap_or(RETRIES_MAX).clamp(0, RETRIES_MAX),
            age_max_ms: given("MaximumEventAgeInSeconds")
                .unwrap_or(AGE_MAX_SECONDS)
                .clamp(0, AGE_MAX_SECONDS)
                * 1000,
        }
    }

    /// Milliseconds until the next attempt after `attempts` failures of what was to happen at `since_ms`.
    pub(crate) fn delay_ms(self, attempts: i64, since_ms: i64, now_ms: i64) -> Option<i64> {
        let delay = (1_000 << attempts.clamp(0, 9)).min(DELAY_MAX_MS);
        (attempts <= self.retries_max && now_ms + delay - since_ms <= self.age_max_ms).then_some(delay)
    }

    /// The member of the policy that ended the attempts, as AWS tells the dead-letter queue.
    pub(crate) fn exhausted(self, attempts: i64) -> &'static str {
        if attempts > self.retries_max { "MaximumRetryAttempts" } else { "MaximumEventAgeInSeconds" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_target_is_tried_as_often_and_as_long_as_its_policy_says() {
        let policy = RetryPolicy::of(
            &json!({"RetryPolicy": {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60}}),
        );
        let cases = [
            (1, 0, 0, Some(2_000)),
            (2, 0, 0, Some(4_000)),
            (3, 0, 0, None),
            (1, 0, 58_000, Some(2_000)),
            (1, 0, 58_001, None),
        ];
        for (attempts, since, now, expected) in cases {
            assert_eq!(policy.delay_ms(attempts, since, now), expected, "{attempts} {now}");
        }
        assert_eq!(policy.exhausted(3), "MaximumRetryAttempts");
        assert_eq!(policy.exhausted(2), "MaximumEventAgeInSeconds");
        assert_eq!(RetryPolicy::of(&json!({})).delay_ms(186, 0, 0), None);
        assert_eq!(RetryPolicy::of(&json!({})).delay_ms(100, 0, 0), Some(480_000));
    }
}
