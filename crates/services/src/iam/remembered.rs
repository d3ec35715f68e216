//! What every call asks for, kept in memory: who an access key is, and the policies of a role or user.
//!
//! Invariant: nothing read before a change is kept after it. A reader notes the generation first, and what it read is
//! kept only if no change came in between.

use super::policy::Policy;
use crate::wire::Principal;
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Entries of each kind; when there are more, all are dropped, which costs a read each.
const ENTRIES_MAX: usize = 10_000;

/// A caller known by an access key.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) principal: Principal,
    pub(super) secret: String,
    /// The session's token and end; none for a user's lasting key.
    pub(super) session: Option<(String, Timestamp)>,
}

/// The policies that speak for a role or user.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub(super) policies: Vec<Policy>,
}

/// A role as those who assume it see it.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) id: String,
    /// None for a damaged document, which trusts nobody.
    pub(super) trust: Option<Policy>,
    pub(super) session_seconds_max: i64,
}

#[derive(Default)]
pub(super) struct Remembered {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    generation: u64,
    callers: HashMap<String, Caller>,
    identities: HashMap<String, Arc<Identity>>,
    roles: HashMap<String, Arc<Role>>,
    warned: HashSet<String>,
}

impl Remembered {
    /// To be noted before reading what is then kept.
    pub(super) fn generation(&self) -> u64 {
        self.entries().generation
    }

    pub(super) fn forget(&self) {
        let mut entries = self.entries();
        let generation = entries.generation + 1;
        *entries = Entries { generation, ..Entries::default() };
    }

    pub(super) fn caller(&self, access_key_id: &str) -> Option<Caller> {
        self.entries().callers.get(access_key_id).cloned()
    }

    pub(super) fn keep_caller(&self, generation: u64, access_key_id: &str, caller: &Caller) {
        let mut entries = self.entries();
        if entries.generation == generation {
            make_room(&mut entries.callers);
            entries.callers.insert(access_key_id.to_owned(), caller.clone());
        }
    }

    pub(super) fn identity(&self, arn: &str) -> Option<Arc<Identity>> {
        self.entries().identities.get(arn).cloned()
    }

    pub(super) fn keep_identity(&self, generation: u64, arn: &str, identity: &Arc<Identity>) {
        let mut entries = self.entries();
        if entries.generation == generation {
            make_room(&mut entries.identities);
            entries.identities.insert(arn.to_owned(), identity.clone());
        }
    }

    pub(super) fn role(&self, arn: &str) -> Option<Arc<Role>> {
        self.entries().roles.get(arn).cloned()
    }

    pub(super) fn keep_role(&self, generation: u64, arn: &str, role: &Arc<Role>) {
        let mut entries = self.entries();
        if entries.generation == generation {
            make_room(&mut entries.roles);
            entries.roles.insert(arn.to_owned(), role.clone());
        }
    }

    /// Whether this warning is the first of its text since the last change.
    pub(super) fn warns_first(&self, text: &str) -> bool {
        let mut entries = self.entries();
        if entries.warned.len() >= ENTRIES_MAX {
            entries.warned.clear();
        }
        entries.warned.insert(text.to_owned())
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room<T>(map: &mut HashMap<String, T>) {
    if map.len() >= ENTRIES_MAX {
        map.clear();
    }
}
