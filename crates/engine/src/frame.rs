//! Frames: the running things of an execution, a tree joined by slots.
//!
//! A frame is one line of control: the machine, a branch of a Parallel, an iteration of an inline Map. It is in at most one
//! state at a time. A Parallel or Map keeps its children as [`Fan`] in its visit: entities, never counters of them. Nothing in
//! here changes but by an event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use asl::payload::Payload;
use asl::program::Resource;
use asl::timestamp::Timestamp;

use crate::event::{StateType, TaskLabel};
use crate::ids::{FrameId, TaskId};

/// One line of control.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    /// The frame it was forked from and its place there; `None` for the machine.
    pub parent: Option<(FrameId, u32)>,
    /// `id` of the history event that its next event follows.
    pub last: u64,
    /// Whether a sibling's failure or the end of the execution stopped it; only a redrive opens it again.
    pub closed: bool,
    /// Variables of its own scope.
    pub variables: BTreeMap<Arc<str>, Payload>,
    /// Where it is.
    pub phase: Phase,
}

/// Where a frame is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Phase {
    /// About to enter a state.
    Entering {
        /// Path of the state.
        state: Arc<str>,
        /// Its raw input.
        input: Payload,
    },
    /// In a state.
    Visiting(Box<Visit>),
    /// At its end; a Map's iteration waits here to say that it succeeded.
    Ended {
        /// Output of its last state.
        output: Payload,
    },
}

/// One passage of a frame through a state.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Visit {
    /// Path in the definition.
    pub state: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Type.
    pub state_type: StateType,
    /// Raw input.
    pub input: Payload,
    /// `id` of its Entered event, which error texts name.
    pub entered_id: u64,
    /// What its Entered event followed.
    pub entered_prev: u64,
    /// When it was entered.
    pub entered_at: Timestamp,
    /// How often each retrier was used.
    pub retries: Vec<u32>,
    /// What it is doing.
    pub work: Work,
}

impl Visit {
    /// `State.RetryCount`: how often the state was tried again.
    pub fn retry_count(&self) -> u32 {
        self.retries.iter().sum()
    }
}

/// What a visit is doing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Work {
    /// To be begun.
    Begin,
    /// A Wait, until its timer.
    Waiting {
        /// `seq` of the timer.
        seq: u64,
        /// When.
        until: Timestamp,
    },
    /// A delay before a retry, until its timer.
    Retrying {
        /// `seq` of the timer.
        seq: u64,
        /// When.
        until: Timestamp,
    },
    /// A task that the world works on.
    Task(Box<TaskWork>),
    /// Branches or iterations.
    Fan(Box<Fan>),
    /// A Map Run that the world works on.
    MapRun(Box<MapRunWork>),
    /// Nothing any more: the result came or the attempt failed, and this turn's next event tells what follows; or a
    /// sibling's failure, or the end of the execution, stopped it, and a redrive may begin it again.
    Closed,
}

/// A task in flight.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TaskWork {
    /// `seq` of its TaskScheduled.
    pub task: TaskId,
    /// Label of its events.
    pub label: TaskLabel,
    /// What is called.
    pub resource: Resource,
    /// Its arguments.
    pub arguments: Payload,
    /// Role to assume.
    pub credentials_role: Option<Arc<str>>,
    /// Nonce of its token.
    pub nonce: Option<u64>,
    /// `TimeoutSeconds`.
    pub timeout: Option<Duration>,
    /// `HeartbeatSeconds`.
    pub heartbeat: Option<Duration>,
    /// When the timeout is due.
    pub timeout_at: Option<Timestamp>,
    /// When the heartbeat is due. Moved in memory, never by an event.
    pub heartbeat_at: Option<Timestamp>,
    /// Whether TaskStarted was written.
    pub started: bool,
    /// Handle of a submitted task.
    pub handle: Option<Payload>,
    /// Number of the attempt.
    pub attempt: u32,
    /// How often the state called before in this execution; counted in a test case only.
    pub invocation: u64,
}

/// Most slots of a Fan, far above what 256 KiB of items can need: a bound for what a journal may claim.
const SLOTS_MAX: u32 = 1 << 22;

/// The children of a Parallel or of an inline Map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fan {
    /// Input of every branch, or what an ItemSelector looks at.
    pub input: Payload,
    /// A Map's items.
    pub items: Option<Payload>,
    /// Outputs by slot, as children end; its length is the number of slots.
    pub outputs: Vec<Option<Payload>>,
    /// First slot that has no child yet.
    pub next: u32,
    /// Most children at a time; 0: no bound.
    pub max_concurrency: u32,
    /// Children that have not ended well, by slot.
    pub live: Vec<FrameId>,
    /// `id` of the last MapIterationSucceeded.
    pub joined_by: Option<u64>,
    /// Whether a child's failure closed it.
    pub failed: bool,
}

impl Fan {
    /// One without children yet.
    pub fn new(length: u32, input: &Payload, items: Option<Payload>, max_concurrency: u32) -> Fan {
        Fan {
            input: input.clone(),
            items,
            outputs: vec![None; length.min(SLOTS_MAX) as usize],
            next: 0,
            max_concurrency,
            live: Vec::new(),
            joined_by: None,
            failed: false,
        }
    }
    /// Whether another child may begin.
    pub fn has_room(&self) -> bool {
        let room = self.max_concurrency == 0 || self.live.len() < self.max_concurrency as usize;
        !self.failed && room && (self.next as usize) < self.outputs.len()
    }
    /// Whether every slot ended well.
    pub fn is_complete(&self) -> bool {
        !self.failed && self.live.is_empty() && self.next as usize == self.outputs.len()
    }
}

/// A Map Run in flight.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MapRunWork {
    /// `seq` of its MapRunStarted; 0 until that is written.
    pub task: TaskId,
    /// `id` of its MapRunStarted.
    pub started_id: u64,
    /// `id` of the event that told its end.
    pub ended_id: u64,
    /// Its ARN; empty until it is started.
    pub map_run_arn: Arc<str>,
    /// Items, when they come from the state's data.
    pub items: Option<Payload>,
    /// The Map state's effective input.
    pub input: Payload,
    /// Whether it ended.
    pub ended: bool,
    /// How often it was redriven.
    pub redrive: u32,
    /// Whether it is to be redriven.
    pub redriven: bool,
    /// Its result, when it ended well.
    pub output: Option<Payload>,
}

impl MapRunWork {
    /// One that is about to be started.
    pub fn new(items: Option<Payload>, input: Payload) -> MapRunWork {
        MapRunWork {
            task: TaskId(0),
            started_id: 0,
            ended_id: 0,
            map_run_arn: Arc::from(""),
            items,
            input,
            ended: false,
            redrive: 0,
            redriven: false,
            output: None,
        }
    }
}

impl Frame {
    /// A frame at the start of its workflow.
    pub fn new(parent: Option<(FrameId, u32)>, last: u64, first: Arc<str>, input: Payload) -> Frame {
        Frame {
            parent,
            last,
            closed: false,
            variables: BTreeMap::new(),
            phase: Phase::Entering { state: first, input },
        }
    }

    /// Whether it can go on without news from the world.
    pub fn is_runnable(&self) -> bool {
        !self.closed
            && match &self.phase {
                Phase::Entering { .. } => true,
                Phase::Ended { .. } => self.parent.is_some(),
                Phase::Visiting(visit) => match &visit.work {
                    Work::Begin => true,
                    Work::Fan(fan) => fan.has_room() || fan.is_complete(),
                    Work::MapRun(run) => run.redriven,
                    Work::Waiting { .. } | Work::Retrying { .. } | Work::Task(_) | Work::Closed => false,
                },
            }
    }

    /// Its visit, while it is in a state.
    pub fn visit(&self) -> Option<&Visit> {
        match &self.phase {
            Phase::Visiting(visit) => Some(visit),
            Phase::Entering { .. } | Phase::Ended { .. } => None,
        }
    }

    /// Its visit, for `apply`.
    pub fn visit_mut(&mut self) -> Option<&mut Visit> {
        match &mut self.phase {
            Phase::Visiting(visit) => Some(visit),
            Phase::Entering { .. } | Phase::Ended { .. } => None,
        }
    }
}
