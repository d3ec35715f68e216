//! `Event`: a fact of one execution, the only thing that changes its state.
//!
//! AWS's `HistoryEvent`s are a projection of these, made from the event alone. A kind's tag and fields are the format of the
//! journal: they never change meaning; a change is a new kind. Kinds without a `history_id` are private, because AWS has no
//! word for them.

use std::sync::Arc;
use std::time::Duration;

use asl::payload::Payload;
use asl::program::Resource;
use asl::timestamp::Timestamp;

use crate::ids::{FrameId, TaskId};
use crate::input::Stage;
use crate::record::{Decoder, Encoder, Record, RecordError, record_enum, record_struct};
use crate::start::{Failure, Start};

/// One fact.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// 1, 2, 3 … without a gap.
    pub seq: u64,
    /// The line of control it belongs to.
    pub frame: FrameId,
    /// When the turn's input came in.
    pub at: Timestamp,
    /// `id` of the HistoryEvent; `None` for private kinds.
    pub history_id: Option<u64>,
    /// `previousEventId`.
    pub prev: u64,
    /// What happened.
    pub kind: EventKind,
}

/// The eight state types, as history events name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateType {
    /// Task.
    Task,
    /// Parallel.
    Parallel,
    /// Map.
    Map,
    /// Pass.
    Pass,
    /// Wait.
    Wait,
    /// Choice.
    Choice,
    /// Succeed.
    Succeed,
    /// Fail.
    Fail,
}

record_enum!(StateType {
    0 => Task, 1 => Parallel, 2 => Map, 3 => Pass, 4 => Wait, 5 => Choice, 6 => Succeed, 7 => Fail
});
record_enum!(Stage { 0 => Schedule, 1 => Start, 2 => Submit, 3 => Run });

impl StateType {
    /// The word in `TaskStateEntered`.
    pub fn name(self) -> &'static str {
        match self {
            StateType::Task => "Task",
            StateType::Parallel => "Parallel",
            StateType::Map => "Map",
            StateType::Pass => "Pass",
            StateType::Wait => "Wait",
            StateType::Choice => "Choice",
            StateType::Succeed => "Succeed",
            StateType::Fail => "Fail",
        }
    }
}

/// The three families of task events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskFamily {
    /// `Task…` events.
    Service,
    /// `LambdaFunction…` events.
    Lambda,
    /// `Activity…` events.
    Activity,
}

/// Which family a task's events are of, and how AWS labels those of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskLabel {
    /// `Task…` events.
    Service {
        /// `lambda`, `aws-sdk:s3`.
        resource_type: Arc<str>,
        /// `invoke`, `startExecution.sync:2`.
        resource: Arc<str>,
    },
    /// `LambdaFunction…` events.
    Lambda,
    /// `Activity…` events.
    Activity,
}

impl TaskLabel {
    /// The family.
    pub fn family(&self) -> TaskFamily {
        match self {
            TaskLabel::Service { .. } => TaskFamily::Service,
            TaskLabel::Lambda => TaskFamily::Lambda,
            TaskLabel::Activity => TaskFamily::Activity,
        }
    }
}

impl Record for TaskLabel {
    fn encode(&self, encoder: &mut Encoder) {
        match self {
            TaskLabel::Service { resource_type, resource } => {
                encoder.byte(0);
                resource_type.encode(encoder);
                resource.encode(encoder);
            }
            TaskLabel::Lambda => encoder.byte(1),
            TaskLabel::Activity => encoder.byte(2),
        }
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        match decoder.byte()? {
            0 => Ok(TaskLabel::Service {
                resource_type: Record::decode(decoder)?,
                resource: Record::decode(decoder)?,
            }),
            1 => Ok(TaskLabel::Lambda),
            2 => Ok(TaskLabel::Activity),
            tag => Err(RecordError::UnknownTag { of: "TaskLabel", tag: tag.into() }),
        }
    }
}

/// [`EventKind::TaskScheduled`].
#[derive(Clone, Debug, PartialEq)]
pub struct TaskScheduled {
    /// Family and label of all the task's events.
    pub label: TaskLabel,
    /// What is called.
    pub resource: Resource,
    /// Region of the call.
    pub region: Arc<str>,
    /// `parameters` (`input` of Lambda and activities).
    pub parameters: Payload,
    /// `timeoutInSeconds`.
    pub timeout: Option<Duration>,
    /// `heartbeatInSeconds`.
    pub heartbeat: Option<Duration>,
    /// `taskCredentials.roleArn`.
    pub credentials_role: Option<Arc<str>>,
    /// Nonce of the task token, when the pattern has one. Private.
    pub nonce: Option<u64>,
}

record_struct!(TaskScheduled {
    label,
    resource,
    region,
    parameters,
    timeout,
    heartbeat,
    credentials_role,
    nonce
});

/// Declares the kinds of events: each with its tag, whether AWS shows it, and its fields in the order of the format.
macro_rules! events {
    ($( $(#[$doc:meta])* $tag:literal $visibility:ident $kind:ident { $( $(#[$field_doc:meta])* $field:ident : $type:ty ),* $(,)? } )*) => {
        /// What happened. Each kind says who writes it, what it does to its frame, and what AWS calls it.
        #[derive(Clone, Debug, PartialEq)]
        pub enum EventKind {
            $( $(#[$doc])* $kind { $( $(#[$field_doc])* $field: $type ),* }, )*
        }

        impl EventKind {
            /// The stable number of the kind in the journal.
            pub fn tag(&self) -> u16 {
                match self { $( EventKind::$kind { .. } => $tag, )* }
            }
            /// Whether AWS's history shows it; only such events have a `history_id`.
            pub fn is_public(&self) -> bool {
                match self { $( EventKind::$kind { .. } => events!(@ $visibility), )* }
            }
            fn encode_fields(&self, encoder: &mut Encoder) {
                match self { $( EventKind::$kind { $( $field ),* } => { $( $field.encode(encoder); )* } )* }
            }
            fn decode_fields(tag: u64, decoder: &mut Decoder<'_>) -> Result<EventKind, RecordError> {
                match tag {
                    $( $tag => Ok(EventKind::$kind { $( $field: Record::decode(decoder)? ),* }), )*
                    tag => Err(RecordError::UnknownTag { of: "EventKind", tag }),
                }
            }
        }
    };
    (@ public) => { true };
    (@ private) => { false };
}

events! {
    /// First event of every execution; makes the root frame. AWS: ExecutionStarted.
    1 public ExecutionStarted {
        /// Everything it was started with.
        start: Arc<Start>,
        /// When the execution times out.
        deadline: Option<Timestamp>,
        /// First state.
        first: Arc<str>,
    }
    /// The root frame ran to its end. AWS: ExecutionSucceeded.
    2 public ExecutionSucceeded {
        /// Output of the last state.
        output: Payload,
    }
    /// An error that nothing caught. AWS: ExecutionFailed.
    3 public ExecutionFailed {
        /// The error.
        failure: Failure,
    }
    /// The machine's `TimeoutSeconds` passed. AWS: ExecutionTimedOut.
    4 public ExecutionTimedOut {
        /// `States.Timeout`.
        failure: Failure,
    }
    /// StopExecution. AWS: ExecutionAborted.
    5 public ExecutionAborted {
        /// What the caller gave.
        failure: Failure,
    }
    /// RedriveExecution: open frames are armed again, retriers and timeouts start anew. AWS: ExecutionRedriven.
    6 public ExecutionRedriven {
        /// 1 for the first redrive.
        count: u32,
        /// When the execution times out now.
        deadline: Option<Timestamp>,
        /// `clientToken` of the request, by which it is known again. Private.
        client_token: Apart,
    }
    /// A frame enters a state. AWS: `…StateEntered`.
    10 public StateEntered {
        /// Path in the definition.
        state: Arc<str>,
        /// Name.
        name: Arc<str>,
        /// Type.
        state_type: StateType,
        /// Raw input.
        input: Payload,
    }
    /// A frame leaves its state, well or by a Catch. AWS: `…StateExited`.
    11 public StateExited {
        /// Name.
        name: Arc<str>,
        /// Type.
        state_type: StateType,
        /// Output, the next state's input.
        output: Payload,
        /// `Assign`, evaluated.
        assigned: Vec<(Arc<str>, Payload)>,
        /// Path of the next state; none: the frame ends with this output.
        next: Option<Arc<str>>,
    }
    /// A sibling failed and takes this state with it. AWS: `{Task,Wait,Parallel,Map}StateAborted`.
    12 public StateAborted {
        /// Type.
        state_type: StateType,
    }
    /// A JSONata expression failed; the state goes to Retry and Catch. AWS: EvaluationFailed.
    13 public EvaluationFailed {
        /// Name of the state.
        name: Arc<str>,
        /// `States.QueryEvaluationError` and its text.
        failure: Failure,
        /// Place of the expression.
        location: Option<Arc<str>>,
    }
    /// A task is owed to the world. AWS: TaskScheduled, LambdaFunctionScheduled, ActivityScheduled.
    20 public TaskScheduled {
        /// All about it.
        task: Box<TaskScheduled>,
    }
    /// Timeouts count from here. AWS: TaskStarted, LambdaFunctionStarted, ActivityStarted.
    21 public TaskStarted {
        /// The task.
        task: TaskId,
        /// Its label.
        label: TaskLabel,
        /// Name that the activity's worker gave.
        worker_name: Option<Arc<str>>,
    }
    /// The start call of a job or callback returned. AWS: TaskSubmitted.
    22 public TaskSubmitted {
        /// The task.
        task: TaskId,
        /// Its label.
        label: TaskLabel,
        /// What the call answered.
        output: Payload,
        /// What to observe and cancel it by. Private.
        handle: Payload,
    }
    /// The task's result, before any shaping. AWS: TaskSucceeded, LambdaFunctionSucceeded, ActivitySucceeded.
    23 public TaskSucceeded {
        /// The task.
        task: TaskId,
        /// Its label.
        label: TaskLabel,
        /// The result.
        output: Payload,
    }
    /// The task failed. AWS: TaskFailed, TaskStartFailed, TaskSubmitFailed, LambdaFunction…, Activity….
    24 public TaskFailed {
        /// The task.
        task: TaskId,
        /// Its label.
        label: TaskLabel,
        /// The error.
        failure: Failure,
        /// How far it had come.
        stage: Stage,
    }
    /// `TimeoutSeconds` or `HeartbeatSeconds` passed; the task is to be cancelled. AWS: `…TimedOut`.
    25 public TaskTimedOut {
        /// The task.
        task: TaskId,
        /// Its label.
        label: TaskLabel,
        /// `States.Timeout`.
        failure: Failure,
    }
    /// The branches begin, also again on a retry. AWS: ParallelStateStarted.
    30 public ParallelStateStarted {
        /// How many.
        branches: u32,
        /// Each branch's input.
        input: Payload,
    }
    /// All branches ended well. AWS: ParallelStateSucceeded.
    31 public ParallelStateSucceeded {}
    /// A branch failed and no retrier wants it. AWS: ParallelStateFailed.
    32 public ParallelStateFailed {
        /// The branch's error. Private.
        failure: Failure,
    }
    /// The iterations begin, also again on a retry. AWS: MapStateStarted.
    33 public MapStateStarted {
        /// How many, 0 when an ItemReader will tell.
        length: u32,
        /// The items (an array, or the object iterated over), unless an ItemReader reads them. Private.
        items: Option<Payload>,
        /// Effective input that an ItemSelector looks at. Private.
        input: Payload,
        /// Most iterations at a time; 0: no bound. Private.
        max_concurrency: u32,
        /// Whether a Map Run does the work. Private.
        distributed: bool,
    }
    /// All iterations ended well. AWS: MapStateSucceeded.
    34 public MapStateSucceeded {}
    /// An iteration failed and no retrier wants it. AWS: MapStateFailed.
    35 public MapStateFailed {
        /// The iteration's error. Private.
        failure: Failure,
    }
    /// A new frame for one item; `Event::frame` is the new one. AWS: MapIterationStarted.
    36 public MapIterationStarted {
        /// The Map's frame.
        parent: FrameId,
        /// Name of the Map state.
        name: Arc<str>,
        /// Index of the item.
        index: u32,
        /// First state.
        first: Arc<str>,
        /// The iteration's input.
        input: Payload,
    }
    /// The iteration's frame ended well. AWS: MapIterationSucceeded.
    37 public MapIterationSucceeded {
        /// Name of the Map state.
        name: Arc<str>,
        /// Index of the item.
        index: u32,
    }
    /// The iteration's frame failed. AWS: MapIterationFailed.
    38 public MapIterationFailed {
        /// Name of the Map state.
        name: Arc<str>,
        /// Index of the item.
        index: u32,
    }
    /// A sibling failed. AWS: MapIterationAborted.
    39 public MapIterationAborted {
        /// Name of the Map state.
        name: Arc<str>,
        /// Index of the item.
        index: u32,
    }
    /// A Map Run is owed to the world. AWS: MapRunStarted.
    40 public MapRunStarted {
        /// Its ARN.
        map_run_arn: Arc<str>,
    }
    /// The Map Run ended well. AWS: MapRunSucceeded.
    41 public MapRunSucceeded {
        /// Its result. Private.
        output: Payload,
    }
    /// The Map Run failed. AWS: MapRunFailed.
    42 public MapRunFailed {
        /// The error.
        failure: Failure,
    }
    /// The Map Run was stopped. AWS: MapRunAborted.
    43 public MapRunAborted {}
    /// The Map Run goes on after a redrive of its parent. AWS: MapRunRedriven.
    44 public MapRunRedriven {
        /// Its ARN.
        map_run_arn: Arc<str>,
        /// 1 for the first redrive.
        count: u32,
    }
    /// A new frame for one branch; `Event::frame` is the new one. Private: AWS shows only the branch's first state.
    50 private BranchStarted {
        /// The Parallel's frame.
        parent: FrameId,
        /// Which branch.
        index: u32,
        /// First state.
        first: Arc<str>,
        /// The branch's input.
        input: Payload,
    }
    /// A Wait state knows when it is over. Private: AWS's history does not tell resolved times.
    51 private WaitScheduled {
        /// When.
        until: Timestamp,
    }
    /// The state will be tried again. Private: AWS shows only the next attempt.
    52 private RetryScheduled {
        /// When, jitter included.
        until: Timestamp,
        /// Which retrier.
        retrier: u32,
        /// What it is retried for.
        failure: Failure,
    }
    /// The world let go of a task that nobody wanted any more; also after the terminal event. Private.
    53 private TaskCancelled {
        /// The task.
        task: TaskId,
    }
}

/// A text that came to an event kind after its format was fixed. It is written behind the kind's other fields, under a tag of
/// its own; without it, the kind's bytes are what they always were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Apart(pub Option<Arc<str>>);

impl Record for Apart {
    fn encode(&self, _: &mut Encoder) {}
    fn decode(_: &mut Decoder<'_>) -> Result<Self, RecordError> {
        Ok(Apart(None))
    }
}

/// An ExecutionStarted whose start names a test case: the fields of tag 1, then the test case.
const STARTED_IN_TEST_CASE: u16 = 7;

/// An ExecutionRedriven with a client token: the fields of tag 6, then the token.
const REDRIVEN_BY_TOKEN: u16 = 8;

impl EventKind {
    /// Whether the execution has ended with it, until a redrive.
    pub fn ends_execution(&self) -> bool {
        matches!(
            self,
            EventKind::ExecutionSucceeded { .. }
                | EventKind::ExecutionFailed { .. }
                | EventKind::ExecutionTimedOut { .. }
                | EventKind::ExecutionAborted { .. }
        )
    }

    /// The text that is written apart, and the tag it is written under.
    fn apart(&self) -> Option<(u16, &Arc<str>)> {
        match self {
            EventKind::ExecutionStarted { start, .. } => {
                Some((STARTED_IN_TEST_CASE, start.test_case.as_ref()?))
            }
            EventKind::ExecutionRedriven { client_token, .. } => {
                Some((REDRIVEN_BY_TOKEN, client_token.0.as_ref()?))
            }
            _ => None,
        }
    }

    fn decode_apart(tag: u64, decoder: &mut Decoder<'_>) -> Result<EventKind, RecordError> {
        let bare = match u16::try_from(tag) {
            Ok(STARTED_IN_TEST_CASE) => 1,
            Ok(REDRIVEN_BY_TOKEN) => 6,
            _ => tag,
        };
        let kind = EventKind::decode_fields(bare, decoder)?;
        if bare == tag {
            return Ok(kind);
        }
        let text: Arc<str> = Record::decode(decoder)?;
        Ok(match kind {
            EventKind::ExecutionStarted { start, deadline, first } => {
                let start = Start { test_case: Some(text), ..Arc::unwrap_or_clone(start) };
                EventKind::ExecutionStarted { start: Arc::new(start), deadline, first }
            }
            EventKind::ExecutionRedriven { count, deadline, .. } => {
                EventKind::ExecutionRedriven { count, deadline, client_token: Apart(Some(text)) }
            }
            kind => kind,
        })
    }
}

impl Record for FrameId {
    fn encode(&self, encoder: &mut Encoder) {
        self.0.encode(encoder);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        Ok(FrameId(Record::decode(decoder)?))
    }
}

impl Record for TaskId {
    fn encode(&self, encoder: &mut Encoder) {
        self.0.encode(encoder);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        Ok(TaskId(Record::decode(decoder)?))
    }
}

/// Header fields are written relative to the event before, so that they take a byte each.
impl Record for Event {
    fn encode(&self, encoder: &mut Encoder) {
        let previous = encoder.previous;
        let apart = self.kind.apart();
        encoder.number(u64::from(apart.map_or(self.kind.tag(), |(tag, _)| tag)));
        encoder.number(self.seq.wrapping_sub(previous.seq));
        self.frame.encode(encoder);
        encoder.signed(self.at.epoch_millis().wrapping_sub(previous.at));
        let history_id = self.history_id.unwrap_or(previous.history_id);
        encoder.number(history_id.wrapping_sub(previous.history_id));
        encoder.signed(history_id.wrapping_sub(self.prev) as i64);
        encoder.previous.seq = self.seq;
        encoder.previous.at = self.at.epoch_millis();
        encoder.previous.history_id = history_id;
        self.kind.encode_fields(encoder);
        if let Some((_, text)) = apart {
            text.encode(encoder);
        }
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        let tag = decoder.number()?;
        let seq = decoder.previous.seq.wrapping_add(decoder.number()?);
        let frame = FrameId::decode(decoder)?;
        let at = decoder.previous.at.wrapping_add(decoder.signed()?);
        let step = decoder.number()?;
        let history_id = decoder.previous.history_id.wrapping_add(step);
        let prev = history_id.wrapping_sub(decoder.signed()? as u64);
        decoder.previous.seq = seq;
        decoder.previous.at = at;
        decoder.previous.history_id = history_id;
        let kind = EventKind::decode_apart(tag, decoder)?;
        let history_id = kind.is_public().then_some(history_id);
        Ok(Event { seq, frame, at: Timestamp::from_epoch_millis(at), history_id, prev, kind })
    }
}
