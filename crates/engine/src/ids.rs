//! Names of the things inside one execution. None of them means anything outside it.

use std::fmt;

/// One line of control: the machine itself, a branch or an iteration. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct FrameId(pub u32);

impl FrameId {
    /// The machine's own frame.
    pub const ROOT: FrameId = FrameId(0);
}

/// A task: the `seq` of its `TaskScheduled` event, so that a stale report is told from a live one by comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub u64);

impl fmt::Display for TaskId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// A timer. Arming the same timer again moves it; there is never more than one of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId {
    /// `seq` of the event that it belongs to: the wait, the retry, the task's `TaskScheduled`, the start or redrive.
    pub seq: u64,
    /// What it is for.
    pub kind: TimerKind,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TimerKind {
    /// A Wait state.
    Wait,
    /// The delay before a retry.
    Retry,
    /// A task's `TimeoutSeconds`.
    TaskTimeout,
    /// A task's `HeartbeatSeconds`.
    Heartbeat,
    /// The machine's `TimeoutSeconds`.
    Execution,
}
