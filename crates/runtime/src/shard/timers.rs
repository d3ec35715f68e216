//! Due times of a shard's executions.
//!
//! Invariant: an entry fires no earlier than it is due, and at most one entry exists for each timer of an execution and one
//! wake-up for each parked execution. Firing twice or for nothing would be harmless (the core ignores it); firing never would not.

use std::collections::BTreeMap;
use std::sync::Arc;

use asl::timestamp::Timestamp;
use engine::TimerId;

/// Place of an entry: its time, then the order in which entries were made.
pub(super) type Due = (Timestamp, u64);

/// What becomes due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// A timer of a resident execution.
    Timer(TimerId),
    /// A parked execution has a timer that is due about now: load it.
    Wake,
}

/// Alarms by due time.
#[derive(Debug, Default)]
pub(super) struct Timers {
    alarms: BTreeMap<Due, (Arc<str>, Alarm)>,
    made: u64,
}

impl Timers {
    /// Sets an alarm.
    pub(super) fn set(&mut self, at: Timestamp, execution: &Arc<str>, alarm: Alarm) -> Due {
        self.made += 1;
        let due = (at, self.made);
        self.alarms.insert(due, (Arc::clone(execution), alarm));
        due
    }

    /// Removes an alarm.
    pub(super) fn remove(&mut self, due: Due) {
        self.alarms.remove(&due);
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.alarms.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes one that is due by `now`.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<(Due, Arc<str>, Alarm)> {
        if self.next_due()? > now {
            return None;
        }
        self.alarms.pop_first().map(|(due, (execution, alarm))| (due, execution, alarm))
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.alarms.clear();
    }
}
