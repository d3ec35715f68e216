//! Events of a Map Run, with stable tags. All are private: AWS shows a Map Run by DescribeMapRun only.
//!
//! Invariant: an event is a few bytes. What a child was started with and how it ended are in its row ([`ChildChange`]), written
//! in the same transaction; what the Map Run was started with is in the journal of the execution that waits for it.

use std::sync::Arc;

use asl::payload::Payload;
use asl::timestamp::Timestamp;

use crate::ids::TaskId;
use crate::map_run::state::{Cursor, MapRun};
use crate::record::{Decoder, Encoder, Record, RecordError, record_enum, record_struct};
use crate::start::{Failure, Start};

/// What a Map Run is started with: all that its Map state knew, pinned by the journal of the execution that waits for it.
#[derive(Clone, Debug, PartialEq)]
pub struct MapRunStart {
    /// Its ARN.
    pub map_run_arn: Arc<str>,
    /// The task of the execution that waits for it.
    pub task: TaskId,
    /// How often it was redriven.
    pub redrive: u32,
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

impl ChildResult {
    pub(crate) fn status(&self) -> ChildStatus {
        match self {
            ChildResult::Succeeded(_) => ChildStatus::Succeeded,
            ChildResult::Failed(_) => ChildStatus::Failed,
            ChildResult::TimedOut(_) => ChildStatus::TimedOut,
            ChildResult::Aborted => ChildStatus::Aborted,
        }
    }
}

/// [`ChildResult`] without what it gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildStatus {
    /// SUCCEEDED.
    Succeeded,
    /// FAILED.
    Failed,
    /// TIMED_OUT.
    TimedOut,
    /// ABORTED.
    Aborted,
}

record_enum!(ChildStatus { 0 => Succeeded, 1 => Failed, 2 => TimedOut, 3 => Aborted });

/// What becomes of a child's row, in the transaction of the events of the same step.
#[derive(Clone, Debug)]
pub enum ChildChange {
    /// It is owed to the world: how it is to be started, and how many items it takes.
    Scheduled {
        /// Its index.
        index: u64,
        /// Its start.
        start: Arc<Start>,
        /// Items it takes.
        items: u64,
    },
    /// It is to go on after a redrive.
    Redriven {
        /// Its index.
        index: u64,
        /// How often it will have been redriven.
        redrives: u32,
    },
    /// It ended.
    Ended {
        /// Its index.
        index: u64,
        /// How.
        result: ChildResult,
    },
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
    /// It begins, or begins anew after a redrive that finds no children: for whom, whether its children are Express, with its thresholds, with the ItemReader's and ResultWriter's evaluated arguments, the number of
    /// items if they come from the state's data, and how many a child takes at most.
    1 Began {
        map_run_arn: Arc<str>,
        execution_arn: Arc<str>,
        task: TaskId,
        redrive: u32,
        express: bool,
        thresholds: Thresholds,
        reader: Option<Payload>,
        writer: Option<Payload>,
        items_total: Option<u64>,
        items_per_child: u64,
    }
    /// A child is owed to the world: how many items it takes, and the cursor after them.
    2 ChildScheduled { index: u64, items: u64, cursor: Cursor }
    /// A child ended.
    3 ChildEnded { index: u64, status: ChildStatus }
    /// There are no items beyond the cursor.
    4 ItemsExhausted {}
    /// UpdateMapRun.
    5 Updated { thresholds: Thresholds }
    /// No further child begins, the live ones are to be stopped; why.
    6 Stopping { status: MapRunStatus, failure: Failure }
    /// All children are through; the results are to be gathered or written.
    7 Collecting {}
    /// It ended: its result, or its failure.
    8 Ended { status: MapRunStatus, output: Option<Payload>, failure: Failure }
    /// It goes on: first with the children that did not succeed.
    9 Redriven { task: TaskId, redrive: u32 }
    /// A child that had ended like this goes on, redriven so often; an end of before is not its end.
    10 ChildRedriven { index: u64, items: u64, was: ChildStatus, redrives: u32 }
    /// No child that did not succeed is left behind.
    11 RedriveExhausted {}
    /// The whole state; all older events may be dropped.
    12 Checkpoint { state: Box<MapRun> }
}
