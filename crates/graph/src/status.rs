//! How far an execution is, state by state, read from its history.
//!
//! Names are unique within a state machine, so a history's names are enough. A state that was visited often shows the
//! worst of its visits.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

/// What the console colours a state by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Entered and left.
    Succeeded,
    /// Entered and not left.
    InProgress,
    /// Stopped because another failed, or by someone.
    Aborted,
    /// Failed, and a Catch went on.
    CaughtError,
    /// Failed.
    Failed,
}

impl Status {
    /// As the console says it.
    pub fn word(self) -> &'static str {
        match self {
            Status::Succeeded => "Succeeded",
            Status::InProgress => "In progress",
            Status::Aborted => "Aborted",
            Status::CaughtError => "Caught error",
            Status::Failed => "Failed",
        }
    }

    /// As a class of the drawing.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Status::Succeeded => "succeeded",
            Status::InProgress => "progress",
            Status::Aborted => "aborted",
            Status::CaughtError => "caught",
            Status::Failed => "failed",
        }
    }
}

/// The states and edges that an execution has seen.
#[derive(Clone, Debug, Default)]
pub struct Statuses {
    /// By the state's name.
    pub states: BTreeMap<String, Status>,
    /// Edges that were taken, by the names at their ends; an empty name is the start or the end.
    pub taken: BTreeSet<(String, String)>,
    /// Status of the whole execution, as AWS writes it.
    pub execution: String,
}

/// An open or closed visit.
struct Visit {
    name: String,
    /// `Parallel`, as the event is called.
    kind: String,
    failed: bool,
}

impl Statuses {
    /// Reads the events of `GetExecutionHistory`, oldest first.
    pub fn of_history(events: &[Value], execution: &str) -> Statuses {
        let mut reader = Reader::default();
        events.iter().for_each(|event| reader.event(event));
        reader.finish(execution)
    }
}

#[derive(Default)]
struct Reader {
    /// Visits by the id of their StateEntered.
    visits: BTreeMap<u64, Visit>,
    open: BTreeSet<u64>,
    /// The visit that an event belongs to.
    visit_of: HashMap<u64, u64>,
    /// The state that an event leaves, for the edge to the next.
    left: HashMap<u64, String>,
    seen: BTreeMap<String, Status>,
    taken: BTreeSet<(String, String)>,
}

impl Reader {
    fn event(&mut self, event: &Value) {
        let id = event["id"].as_u64().unwrap_or(0);
        let previous = event["previousEventId"].as_u64().unwrap_or(0);
        let kind = event["type"].as_str().unwrap_or_default();
        if kind.ends_with("StateEntered") {
            let name = event["stateEnteredEventDetails"]["name"].as_str().unwrap_or_default().to_owned();
            let from = self.left.get(&previous).cloned().unwrap_or_default();
            self.taken.insert((from, name.clone()));
            let kind = kind.trim_end_matches("StateEntered").to_owned();
            let failed = kind == "Fail";
            self.visits.insert(id, Visit { name, kind, failed });
            self.open.insert(id);
            self.visit_of.insert(id, id);
            return;
        }
        if kind.ends_with("StateExited") {
            let name = event["stateExitedEventDetails"]["name"].as_str().unwrap_or_default().to_owned();
            self.exited(previous, &name);
            self.left.insert(id, name);
            return;
        }
        let Some(visit) = self.visit_of.get(&previous).copied() else { return };
        self.visit_of.insert(id, visit);
        let failed = kind.ends_with("Failed") || kind.ends_with("TimedOut");
        let again = kind.ends_with("Scheduled") || kind.ends_with("StateStarted");
        if let Some(visit) = self.visits.get_mut(&visit).filter(|_| failed || again) {
            // A retry clears what failed before it.
            visit.failed = failed;
        }
        if matches!(kind, "ParallelStateFailed" | "MapStateFailed") {
            self.fan_out_failed(visit, kind.trim_end_matches("StateFailed"));
        }
    }

    /// The state around a failing child has failed, too; the event hangs on the child.
    fn fan_out_failed(&mut self, child: u64, kind: &str) {
        let is_around = |id: &&u64| self.visits.get(id).is_some_and(|visit| visit.kind == kind);
        let around = self.open.range(..=child).rev().find(is_around).copied();
        if let Some(visit) = around.and_then(|id| self.visits.get_mut(&id)) {
            visit.failed = true;
        }
    }

    fn exited(&mut self, previous: u64, name: &str) {
        let of = |id: &u64| self.visits.get(id).is_some_and(|visit| visit.name == name);
        let direct = self.visit_of.get(&previous).filter(|id| of(id) && self.open.contains(id)).copied();
        let found = direct.or_else(|| self.open.iter().rev().find(|id| of(id)).copied());
        let Some(id) = found else { return };
        self.open.remove(&id);
        let failed = self.visits.get(&id).is_some_and(|visit| visit.failed);
        self.note(name.to_owned(), if failed { Status::CaughtError } else { Status::Succeeded });
    }

    fn note(&mut self, name: String, status: Status) {
        let known = self.seen.entry(name).or_insert(status);
        *known = (*known).max(status);
    }

    fn finish(mut self, execution: &str) -> Statuses {
        let running = matches!(execution, "RUNNING" | "PENDING_REDRIVE");
        for id in std::mem::take(&mut self.open) {
            let Some(visit) = self.visits.get(&id) else { continue };
            let status = match (visit.failed, running) {
                (true, _) => Status::Failed,
                (false, true) => Status::InProgress,
                (false, false) => Status::Aborted,
            };
            self.note(visit.name.clone(), status);
        }
        let last = self.left.iter().max_by_key(|(id, _)| **id).map(|(_, name)| name.clone());
        if let Some(last) = last.filter(|_| execution == "SUCCEEDED") {
            self.taken.insert((last, String::new()));
        }
        Statuses { states: self.seen, taken: self.taken, execution: execution.to_owned() }
    }
}
