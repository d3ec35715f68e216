//! AWS's quotas of an account in a region, as far as they bound what may be kept here; the operator may set others.
//!
//! Invariant: the running executions of an account are counted in the order of their commits, and before the answer that
//! tells of them, so whoever has seen a start answered is counted already. After a start the count is whole once everything
//! open was found again.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use engine::{Event, EventKind, Start, StateMachineType};

use crate::error::Error;

/// How much of something an account may have in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// State machines.
    pub state_machines: u64,
    /// Activities.
    pub activities: u64,
    /// Running Standard executions; children of Map Runs are bounded by their Map Run.
    pub open_executions: u64,
    /// Workers that may wait at one activity.
    pub activity_workers: usize,
    /// Versions of a state machine.
    pub versions: usize,
    /// Aliases of a state machine.
    pub aliases: usize,
}

impl Default for Quotas {
    /// AWS's.
    fn default() -> Quotas {
        Quotas {
            state_machines: 100_000,
            activities: 100_000,
            open_executions: 1_000_000,
            activity_workers: 1_000,
            versions: 1_000,
            aliases: 100,
        }
    }
}

impl Quotas {
    pub(crate) fn check_versions(&self, present: usize) -> Result<(), Error> {
        match present < self.versions {
            true => Ok(()),
            false => Err(Error::ServiceQuotaExceeded(
                "The maximum number of versions for the state machine has been reached.".to_owned(),
            )),
        }
    }

    pub(crate) fn check_aliases(&self, present: usize) -> Result<(), Error> {
        match present < self.aliases {
            true => Ok(()),
            false => Err(Error::ServiceQuotaExceeded(
                "The maximum number of aliases for the state machine has been reached.".to_owned(),
            )),
        }
    }
}

/// The executions that run, by account and region: each as the hash of its ARN.
#[derive(Debug, Default)]
pub(crate) struct OpenExecutions(Mutex<HashMap<u64, HashSet<u64>>>);

impl OpenExecutions {
    /// What a committed turn changes.
    pub(crate) fn saw(&self, start: &Start, events: &[Event]) {
        if !is_counted(start) {
            return;
        }
        for event in events {
            match &event.kind {
                EventKind::ExecutionStarted { .. } | EventKind::ExecutionRedriven { .. } => {
                    self.opened(&start.account, &start.region, &start.execution_arn);
                }
                kind if kind.ends_execution() => self.closed(start),
                _ => {}
            }
        }
    }

    /// One that runs.
    pub(crate) fn opened(&self, account: &str, region: &str, execution_arn: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(hash((account, region))).or_default().insert(hash(execution_arn));
    }

    fn closed(&self, start: &Start) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = all.get_mut(&hash((&*start.account, &*start.region))) {
            open.remove(&hash(&*start.execution_arn));
        }
    }

    /// Whether this one may run beside the others. One that runs may be asked for again.
    pub(crate) fn check(
        &self,
        (account, region): (&str, &str),
        execution_arn: &str,
        quotas: &Quotas,
    ) -> Result<(), Error> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = all.get(&hash((account, region)));
        let is_open = open.is_some_and(|open| open.contains(&hash(execution_arn)));
        match is_open || (open.map_or(0, HashSet::len) as u64) < quotas.open_executions {
            true => Ok(()),
            false => Err(Error::ExecutionLimitExceeded),
        }
    }
}

fn is_counted(start: &Start) -> bool {
    start.machine_type == StateMachineType::Standard && start.map_run.is_none()
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_regions_are_counted_apart() {
        let open = OpenExecutions::default();
        let quotas = Quotas { open_executions: 2, ..Quotas::default() };
        for arn in ["a", "b", "b"] {
            open.opened("1", "us-east-1", arn);
        }
        open.opened("1", "eu-west-1", "a");
        assert!(matches!(open.check(("1", "us-east-1"), "c", &quotas), Err(Error::ExecutionLimitExceeded)));
        assert!(open.check(("1", "us-east-1"), "b", &quotas).is_ok(), "it runs already");
        assert!(open.check(("1", "eu-west-1"), "c", &quotas).is_ok());
        assert!(open.check(("2", "us-east-1"), "c", &quotas).is_ok());
    }
}
