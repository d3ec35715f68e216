//! `Effect`: all that an execution may ask of the world.
//!
//! Effects are owed, not sent: [`crate::Execution::outstanding`] computes them from state, so a shell that lost them asks again.
//! Nothing may be carried out before the events of the same step are on disk.

use std::sync::Arc;
use std::time::Duration;

use asl::payload::Payload;
use asl::program::Resource;
use asl::timestamp::Timestamp;

use crate::ids::{TaskId, TimerId};
use crate::start::Failure;

/// One request to the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Carry out a task; answered by TaskSubmitted, TaskSucceeded or TaskFailed (activities: TaskStarted first).
    ScheduleTask(Box<ScheduleTask>),
    /// Watch a submitted `.sync` task until it ends, never start it again.
    ObserveTask(Box<ObserveTask>),
    /// Stop working on a task whose result nobody wants; answered by TaskCancelled. Owed also after the terminal event.
    /// A call in flight must come to its end first, so that its handle is known.
    CancelTask(Box<CancelTask>),
    /// Send TimerElapsed at this time. An already armed timer of the same id is moved.
    ArmTimer {
        /// The timer.
        timer: TimerId,
        /// When it is due.
        at: Timestamp,
    },
    /// Start (or find again) a Map Run; answered by MapRunEnded.
    StartMapRun(Box<StartMapRun>),
    /// Stop a Map Run and its children; answered by TaskCancelled. Owed also after the terminal event.
    StopMapRun(Box<StopMapRun>),
    /// The execution has ended. The shell tells those who wait for it.
    Finished {
        /// How.
        finished: Finished,
        /// How often it had been redriven by then.
        redrives: u32,
    },
}

/// [`Effect::ScheduleTask`].
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleTask {
    /// The task; with the execution's ARN it is the invocation's stable id.
    pub task: TaskId,
    /// Path of the state in the definition.
    pub state: Arc<str>,
    /// Name of the state.
    pub name: Arc<str>,
    /// What is called.
    pub resource: Resource,
    /// Its arguments.
    pub arguments: Payload,
    /// Role to assume for the call, from `Credentials`.
    pub credentials_role: Option<Arc<str>>,
    /// Task token, when the pattern has one.
    pub token: Option<Arc<str>>,
    /// 0 for the first try, then the number of the retry.
    pub attempt: u32,
    /// How often the state called before in this execution, in whatever frame: what a test case's responses are numbered
    /// by. 0 outside test cases.
    pub invocation: u64,
    /// `TimeoutSeconds`.
    pub timeout: Option<Duration>,
    /// `HeartbeatSeconds`.
    pub heartbeat: Option<Duration>,
}

/// [`Effect::ObserveTask`].
#[derive(Clone, Debug, PartialEq)]
pub struct ObserveTask {
    /// The task.
    pub task: TaskId,
    /// What was called.
    pub resource: Resource,
    /// What TaskSubmitted gave.
    pub handle: Payload,
    /// Role to assume for the calls.
    pub credentials_role: Option<Arc<str>>,
}

/// [`Effect::CancelTask`].
#[derive(Clone, Debug, PartialEq)]
pub struct CancelTask {
    /// The task.
    pub task: TaskId,
    /// What was called.
    pub resource: Resource,
    /// What TaskSubmitted gave, if it came.
    pub handle: Option<Payload>,
    /// Role to assume for the calls.
    pub credentials_role: Option<Arc<str>>,
}

/// [`Effect::StartMapRun`].
#[derive(Clone, Debug, PartialEq)]
pub struct StartMapRun {
    /// `seq` of the `MapRunStarted` event; [`crate::InputKind::MapRunEnded`] names it.
    pub task: TaskId,
    /// ARN of the Map Run.
    pub map_run_arn: Arc<str>,
    /// Path of the Map state.
    pub state: Arc<str>,
    /// How often it was redriven; above 0 it exists already and its unsuccessful children go on.
    pub redrive: u32,
    /// Items, when they come from the state's data.
    pub items: Option<Payload>,
    /// The Map state's effective input: what the ItemReader, ItemSelector and ResultWriter evaluate over.
    pub input: Payload,
    /// The context object of the Map state.
    pub context: Payload,
    /// The variables that the Map state sees.
    pub variables: Vec<(Arc<str>, Payload)>,
}

/// [`Effect::StopMapRun`].
#[derive(Clone, Debug, PartialEq)]
pub struct StopMapRun {
    /// `seq` of the `MapRunStarted` event.
    pub task: TaskId,
    /// ARN of the Map Run.
    pub map_run_arn: Arc<str>,
}

/// [`Effect::Finished`].
#[derive(Clone, Debug, PartialEq)]
pub enum Finished {
    /// SUCCEEDED.
    Succeeded(Payload),
    /// FAILED.
    Failed(Failure),
    /// TIMED_OUT.
    TimedOut(Failure),
    /// ABORTED.
    Aborted(Failure),
}
