//! What a firing is called: its context attributes, its execution's name, and the notification that targets without an
//! input get. All of it follows from schedule and time, so that a second attempt says the same.

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// One firing of a schedule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Firing<'a> {
    pub(super) schedule_arn: &'a str,
    pub(super) scheduled: Timestamp,
    /// The first attempt is 1.
    pub(super) attempt: i64,
}

/// Of the longest name a schedule may have, what an execution's name has room for.
const NAME_PART_MAX: usize = 48;

impl Firing<'_> {
    fn digest(&self, more: &str) -> String {
        hex::encode(Sha256::digest(format!("{} {} {more}", self.schedule_arn, self.scheduled)))
    }

    /// `2026-03-08T10:00:00Z`.
    pub(super) fn scheduled_time(&self) -> String {
        format!("{:.0}", self.scheduled)
    }

    /// AWS's id of one attempt.
    pub(super) fn execution_id(&self) -> String {
        self.digest(&self.attempt.to_string())[..16].to_owned()
    }

    /// The name of the execution that a firing starts: readable, and another for every schedule and time.
    pub(super) fn execution_name(&self) -> String {
        let name = self.schedule_arn.rsplit('/').next().unwrap_or("");
        // Executions' names have no dots.
        let part: String =
            name.chars().take(NAME_PART_MAX).map(|letter| if letter == '.' { '-' } else { letter }).collect();
        format!("{part}_{}_{}", self.scheduled.strftime("%Y%m%dT%H%M%SZ"), &self.digest("")[..8])
    }

    /// Replaces `<aws.scheduler.…>` wherever it stands.
    pub(super) fn fill(&self, input: &str) -> String {
        if !input.contains("<aws.scheduler.") {
            return input.to_owned();
        }
        let values = [
            ("<aws.scheduler.schedule-arn>", self.schedule_arn.to_owned()),
            ("<aws.scheduler.scheduled-time>", self.scheduled_time()),
            ("<aws.scheduler.execution-id>", self.execution_id()),
            ("<aws.scheduler.attempt-number>", self.attempt.to_string()),
        ];
        values.iter().fold(input.to_owned(), |input, (keyword, value)| input.replace(keyword, value))
    }

    /// AWS's default notification, for schedules without an input.
    pub(super) fn notification(&self) -> Value {
        let mut place = self.schedule_arn.split(':').skip(3);
        let (region, account) = (place.next(), place.next());
        let digest = self.digest("notification");
        let id = uuid::Uuid::parse_str(&digest[..32]).unwrap_or_default();
        json!({
            "version": "0", "id": id.to_string(), "detail-type": "Scheduled Event", "source": "aws.scheduler",
            "account": account, "time": self.scheduled_time(), "region": region, "resources": [self.schedule_arn],
            "detail": "{}",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_firing_is_called_the_same_at_every_attempt_but_for_its_number() {
        let firing = |attempt: i64| Firing {
            schedule_arn: "arn:aws:scheduler:eu-west-1:123456789012:schedule/default/a.daily",
            scheduled: "2026-03-08T10:00:00Z".parse().unwrap(),
            attempt,
        };
        assert!(firing(1).execution_name().starts_with("a-daily_20260308T100000Z_"));
        assert_eq!(firing(1).execution_name(), firing(2).execution_name());
        assert_eq!(firing(1).notification(), firing(2).notification());
        assert_ne!(firing(1).execution_id(), firing(2).execution_id());
        assert_eq!(
            firing(2).fill("<aws.scheduler.scheduled-time> #<aws.scheduler.attempt-number> <aws.other>"),
            "2026-03-08T10:00:00Z #2 <aws.other>"
        );
        let longest = Firing { schedule_arn: &format!("a/{}", "x".repeat(64)), ..firing(1) };
        assert!(longest.execution_name().len() <= 80);
    }
}
