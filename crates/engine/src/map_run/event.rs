//! Events of a Map Run, with stable tags. All are private: AWS shows a Map Run by DescribeMapRun only.

use std::sync::Arc;

use asl::payload::Payload;
use asl::timestamp::Timestamp;

use crate::ids::TaskId;
use crate::map_run::state::{Cursor, MapRun};
use crate::record::{Decoder, Encoder, Record, RecordError, record_enum, record_struct};
use crate::start::{Failure, Start};

/// What a Map Run is started with: all that its Map state knew, pinned.
#[derive(Clone, Debug, PartialEq)]
pub struct MapRunStart {
    /// Its ARN.
    pub map_run_arn: Arc<str>,
    /// The task of the execution that waits for it.
    pub task: TaskId,
    /// Start of that execution: definition, role, account.
    pub parent: Arc<Start>,
    /// Path of the Map state.
    pub state: Arc<str>,
    /// Label in ARNs.
    pub label: Arc<str>,
    /// Items, when they come from the state's data.
    pub items: Option<Payload>,
    /// The Map state's effective input.
    pub input: Payload,
    /// The Map state's context object.
    pub context: Payload,
    /// The variables that the Map state sees.
    pub variables: Vec<(Arc<str>, Payload)>,
}

record_struct!(MapRunStart { map_run_arn, task, parent, state, label, items, input, context, variables });

/// What UpdateMapRun can change.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// Most children at a time.
    pub max_concurrency: u64,
    /// `ToleratedFailureCount`.
    pub tolerated_failure_count: Option<u64>,
    /// `ToleratedFailurePercentage`, in millionths so that equality is exact.
    pub tolerated_failure_millionths: Option<u64>,
}

record_struct!(Thresholds { max_concurrency, tolerated_failure_count, tolerated_failure_millionths });

/// How a child ended.
#[derive(Clone, Debug, PartialEq)]
pub enum ChildResult {
    /// SUCCEEDED.
    Succeeded(Payload),
    /// FAILED.
    Failed(Failure),
    /// TIMED_OUT.
    TimedOut(Failure),
    /// ABORTED.
    Aborted,
}

impl Record for ChildResult {
    fn encode(&self, encoder: &mut Encoder) {
        match self {
            ChildResult::Succeeded(output) => {
                encoder.byte(0);
                output.encode(encoder);
            }
            ChildResult::Failed(failure) => {
                encoder.byte(1);
                failure.encode(encoder);
            }
            ChildResult::TimedOut(failure) => {
                encoder.byte(2);
                failure.encode(encoder);
            }
            ChildResult::Aborted => encoder.byte(3),
        }
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        match decoder.byte()? {
            0 => Ok(ChildResult::Succeeded(Record::decode(decoder)?)),
            1 => Ok(ChildResult::Failed(Record::decode(decoder)?)),
            2 => Ok(ChildResult::TimedOut(Record::decode(decoder)?)),
            3 => Ok(ChildResult::Aborted),
            tag => Err(RecordError::UnknownTag { of: "ChildResult", tag: tag.into() }),
        }
    }
}

/// Where a Map Run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MapRunStatus {
    /// RUNNING.
    #[default]
    Running,
    /// SUCCEEDED.
    Succeeded,
    /// FAILED.
    Failed,
    /// ABORTED.
    Aborted,
}

impl MapRunStatus {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            MapRunStatus::Running => "RUNNING",
            MapRunStatus::Succeeded => "SUCCEEDED",
            MapRunStatus::Failed => "FAILED",
            MapRunStatus::Aborted => "ABORTED",
        }
    }
}

record_enum!(MapRunStatus { 0 => Running, 1 => Succeeded, 2 => Failed, 3 => Aborted });

/// One fact of a Map Run.
#[derive(Clone, Debug, PartialEq)]
pub struct MapRunEvent {
    /// 1, 2, 3 … without a gap.
    pub seq: u64,
    /// When the input came in.
    pub at: Timestamp,
    /// What happened.
    pub kind: MapRunEventKind,
}

record_struct!(MapRunEvent { seq, at, kind });

macro_rules! events {
    ($( $(#[$doc:meta])* $tag:literal $kind:ident { $( $field:ident : $type:ty ),* $(,)? } )*) => {
        /// What happened.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)] // Each kind says what its fields are.
        pub enum MapRunEventKind { $( $(#[$doc])* $kind { $( $field: $type ),* }, )* }

        impl Record for MapRunEventKind {
            fn encode(&self, encoder: &mut Encoder) {
                match self { $( MapRunEventKind::$kind { $( $field ),* } => {
                    encoder.number($tag);
                    $( $field.encode(encoder); )*
                } )* }
            }
            fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
                match decoder.number()? {
                    $( $tag => Ok(MapRunEventKind::$kind { $( $field: Record::decode(decoder)? ),* }), )*
                    tag => Err(RecordError::UnknownTag { of: "MapRunEventKind", tag }),
                }
            }
        }
    };
}

events! {
    /// It begins: with its thresholds, and with the ItemReader's and ResultWriter's evaluated arguments.
    1 Began { start: Arc<MapRunStart>, thresholds: Thresholds, reader: Option<Payload>, writer: Option<Payload> }
    /// A child is owed to the world: its start, how many items it takes, and the cursor after them.
    2 ChildScheduled { index: u64, start: Arc<Start>, items: u64, cursor: Cursor }
    /// The child is journalled: its start need not be kept.
    3 ChildStarted { index: u64 }
    /// A child ended. The store keeps a row of it.
    4 ChildEnded { index: u64, result: ChildResult }
    /// There are no items beyond the cursor.
    5 ItemsExhausted {}
    /// UpdateMapRun.
    6 Updated { thresholds: Thresholds }
    /// No further child begins, the live ones are to be stopped; why.
    7 Stopping { status: MapRunStatus, failure: Failure }
    /// All children are through; the results are to be gathered or written.
    8 Collecting {}
    /// It ended: its result, or its failure.
    9 Ended { status: MapRunStatus, output: Option<Payload>, failure: Failure }
    /// The whole state; older events may be dropped.
    10 Checkpoint { state: Box<MapRun> }
}
