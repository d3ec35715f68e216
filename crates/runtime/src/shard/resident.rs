//! Executions in memory.
//!
//! Invariant: a resident execution is replay(journal + turns in commit). It may be dropped only when no turn of it is in
//! commit, since a reload would not see those; after a failed commit all are dropped together.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use asl::program::Program;
use asl::timestamp::Timestamp;
use engine::{Effect, Execution, TimerId, TimerKind};
use store::ExecutionKey;

use super::timers::{Alarm, Due, Timers};

/// How long after a look in vain an execution is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Places for so many residents are kept when they are gone.
const PLACES_KEPT: usize = 256;

/// One execution in memory.
#[derive(Debug)]
pub(super) struct Resident {
    pub(super) key: ExecutionKey,
    pub(super) execution: Execution,
    pub(super) program: Arc<Program>,
    /// Its last event when it was loaded; 0 if it was started here.
    pub(super) loaded_seq: u64,
    /// When it was started.
    pub(super) start_date: Timestamp,
    /// When an input last came.
    pub(super) touched: Timestamp,
    /// Turns handed to the committer and not yet acknowledged.
    pub(super) in_commit: u32,
    /// A `Resumed` is queued.
    pub(super) continuing: bool,
    /// The store's row may say "parked"; the next turn has to take that back.
    pub(super) parked_row: bool,
    /// A row that says "parked" is in commit. The next input takes this back.
    pub(super) parking: bool,
    /// It has ended and owes nothing.
    pub(super) settled: bool,
    /// Its armed timers.
    timers: Vec<(TimerId, Due)>,
}

impl Resident {
    /// A new one, touched now.
    pub(super) fn new(
        key: ExecutionKey,
        execution: Execution,
        program: Arc<Program>,
        now: Timestamp,
    ) -> Resident {
        Resident {
            key,
            execution,
            program,
            loaded_seq: 0,
            start_date: now,
            touched: now,
            in_commit: 0,
            continuing: false,
            parked_row: false,
            parking: false,
            settled: false,
            timers: Vec::new(),
        }
    }

    /// An input has come: not idle, not to be parked.
    pub(super) fn touch(&mut self, now: Timestamp) {
        self.touched = now;
        if std::mem::take(&mut self.parking) {
            self.parked_row = true;
        }
    }

    /// Whether the journal alone says all that memory says. Heartbeats are not journalled: an execution that waits for one
    /// stays, or its deadline would be moved by every reload.
    fn may_park(&self) -> bool {
        let beats = self.timers.iter().any(|(timer, _)| timer.kind == TimerKind::Heartbeat);
        self.in_commit == 0 && !self.continuing && !beats
    }

    /// When its first timer is due, and whether anything else is owed.
    pub(super) fn debts(&self) -> (Option<Timestamp>, bool) {
        let due = self.timers.iter().map(|(_, (at, _))| *at).min();
        let owes =
            self.execution.outstanding().iter().any(|effect| !matches!(effect, Effect::ArmTimer { .. }));
        (due, owes)
    }

    /// Arms a timer, or moves it.
    pub(super) fn arm(&mut self, timers: &mut Timers, key: &Arc<str>, timer: TimerId, at: Timestamp) {
        if let Some(place) = self.timers.iter().position(|(armed, _)| *armed == timer) {
            let (_, due) = self.timers.swap_remove(place);
            timers.remove(due);
        }
        self.timers.push((timer, timers.set(at, key, Alarm::Timer(timer))));
    }

    /// Arms the timers among `effects` and returns the other effects.
    pub(super) fn arm_all(
        &mut self,
        timers: &mut Timers,
        key: &Arc<str>,
        effects: Vec<Effect>,
    ) -> Vec<Effect> {
        let mut others = Vec::with_capacity(effects.len());
        for effect in effects {
            match effect {
                Effect::ArmTimer { timer, at } => self.arm(timers, key, timer, at),
                other => others.push(other),
            }
        }
        others
    }

    /// A timer has fired.
    pub(super) fn fired(&mut self, due: Due) {
        self.timers.retain(|(_, armed)| *armed != due);
    }

    /// Takes all its timers off; returns when the first of them was due.
    pub(super) fn disarm(&mut self, timers: &mut Timers) -> Option<Timestamp> {
        let first = self.timers.iter().map(|(_, (at, _))| *at).min();
        for (_, due) in self.timers.drain(..) {
            timers.remove(due);
        }
        first
    }
}

/// The executions of a shard that are in memory, and the order in which they fell idle.
#[derive(Debug, Default)]
pub(super) struct Residents {
    by_arn: HashMap<Arc<str>, Resident>,
    /// Each resident once; the time is that of its last check, not of its last input.
    idle: VecDeque<(Timestamp, Arc<str>)>,
}

impl Residents {
    pub(super) fn insert(&mut self, key: &Arc<str>, resident: Resident) {
        self.idle.push_back((resident.touched, Arc::clone(key)));
        self.by_arn.insert(Arc::clone(key), resident);
    }

    pub(super) fn get(&self, key: &str) -> Option<&Resident> {
        self.by_arn.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Resident> {
        self.by_arn.get_mut(key)
    }

    pub(super) fn len(&self) -> usize {
        self.by_arn.len()
    }

    /// Drops an execution and its timers.
    pub(super) fn remove(&mut self, timers: &mut Timers, key: &str) {
        if let Some(mut resident) = self.by_arn.remove(key) {
            resident.disarm(timers);
        }
        // After many have come and gone their places must not stay taken: a resident is near a kilobyte.
        if self.by_arn.capacity() > PLACES_KEPT && self.by_arn.len() < self.by_arn.capacity() / 4 {
            self.by_arn.shrink_to(PLACES_KEPT.max(self.by_arn.len() * 2));
            self.idle.shrink_to(PLACES_KEPT.max(self.idle.len() * 2));
        }
    }

    /// Drops all.
    pub(super) fn clear(&mut self) -> Vec<Arc<str>> {
        self.idle.clear();
        self.by_arn.drain().map(|(key, _)| key).collect()
    }

    /// The next execution that had no input since `before`, if any. It stays in memory; its turn in the queue is over until
    /// [`Residents::keep`] or removal.
    pub(super) fn next_idle(&mut self, before: Timestamp) -> Option<Arc<str>> {
        while let Some((checked, _)) = self.idle.front() {
            if *checked > before {
                return None;
            }
            let (_, key) = self.idle.pop_front()?;
            let Some(resident) = self.by_arn.get(&key) else { continue };
            if resident.touched > before || !resident.may_park() {
                // Looked at again a while later; a resident that may not be parked costs a look now and then.
                let checked = resident.touched.max(before.plus(LOOK_AGAIN));
                self.idle.push_back((checked, key));
                continue;
            }
            return Some(key);
        }
        None
    }

    /// When the front of the idle queue was last looked at.
    pub(super) fn next_check(&self) -> Option<Timestamp> {
        self.idle.front().map(|(checked, _)| *checked)
    }

    /// Puts an execution back into the idle queue.
    pub(super) fn keep(&mut self, key: &Arc<str>, now: Timestamp) {
        self.idle.push_back((now, Arc::clone(key)));
    }
}
