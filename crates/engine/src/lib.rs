//! The pure interpreter of the Amazon States Language.
//!
//! An [`Execution`] is moved by one [`Input`] at a time: [`step`] yields [`Event`]s and [`Effect`]s, and every event is applied to
//! the state by the code that replay uses. No clock, no chance, no I/O: time and entropy come with the input. It does not know
//! the API's shapes, the store, nor how a task is carried out.

mod apply;
mod context;
mod context_use;
mod data_flow;
pub mod effect;
pub mod event;
pub mod execution;
mod fault;
mod frame;
pub mod ids;
pub mod input;
mod lineage;
pub mod map_run;
pub mod record;
mod retry_catch;
pub mod start;
mod states;
pub mod step;
pub mod token;
pub mod trial;
mod turn;
mod variables;

pub use asl::payload::Payload;
pub use asl::program::StateMachineType;
pub use asl::timestamp::Timestamp;
pub use effect::{CancelTask, Effect, Finished, ObserveTask, ScheduleTask, StartMapRun, StopMapRun};
pub use event::{Apart, Event, EventKind, StateType, TaskFamily, TaskLabel};
pub use execution::{Execution, Status};
pub use ids::{FrameId, TaskId, TimerId, TimerKind};
pub use input::{Ignored, Input, InputKind, MapRunResult, Outcome, Stage};
pub use record::{Decoder, EncodedTurn, Encoder, Record, RecordError};
pub use start::{DefinitionHash, Failure, Limits, MapRunLink, Start};
pub use states::map_run::label_of as map_run_label;
pub use step::{NoPreconditions, PlannedTask, Preconditions, Step, step, step_with};
