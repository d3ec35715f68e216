//! `Execution`: the state of one execution, a tree of frames that only events change.

use std::sync::Arc;

use asl::timestamp::Timestamp;

use crate::effect::Effect;
use crate::event::{Event, EventKind};
use crate::start::Start;

/// Where an execution stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Status {
    /// Before its first event, and until its last.
    #[default]
    Running,
    /// SUCCEEDED.
    Succeeded,
    /// FAILED.
    Failed,
    /// TIMED_OUT.
    TimedOut,
    /// ABORTED.
    Aborted,
}

/// One execution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Execution {
    start: Option<Arc<Start>>,
    status: Status,
    seq: u64,
    history_id: u64,
}

impl Execution {
    /// Before its first event.
    pub fn new() -> Execution {
        Execution::default()
    }

    /// The state that these events lead to.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Execution {
        let mut execution = Execution::new();
        for event in events {
            execution.apply(event);
        }
        execution
    }

    /// Takes in one event. Total; evaluates nothing.
    pub fn apply(&mut self, event: &Event) {
        self.seq = event.seq;
        self.history_id = event.history_id.unwrap_or(self.history_id);
        if let EventKind::ExecutionStarted { start, .. } = &event.kind {
            self.start = Some(Arc::clone(start));
        }
    }

    /// All effects still owed: what a shell that lost its memory must ask for again.
    pub fn outstanding(&self) -> Vec<Effect> {
        Vec::new()
    }

    /// Heartbeats are not journalled: after a replay their deadlines count from here. Call before [`Execution::outstanding`].
    pub fn recovered(&mut self, _at: Timestamp) {}

    /// What it was started with; `None` before the first event.
    pub fn start(&self) -> Option<&Arc<Start>> {
        self.start.as_ref()
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        self.status
    }

    /// `seq` of its last event.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// `id` of its last history event.
    pub fn history_id(&self) -> u64 {
        self.history_id
    }
}
