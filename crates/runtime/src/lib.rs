//! The async shell around the pure core: shards, group commit, timers, dispatch, activities, task tokens, recovery, Express.
//!
//! Invariant: nothing leaves the process before the commit that records it, and everything that is read is committed. The
//! [`shard`] is a synchronous state machine that tests drive without tokio; [`Runtime`] drives the same one with it. The
//! crate knows neither SQL nor the API's JSON, and reads neither environment nor flags.

mod activities;
mod clock;
mod config;
mod dispatch;
mod entropy;
mod error;
mod executions;
pub mod failpoint;
mod limits;
pub mod map_run;
mod map_runs;
mod mocks;
mod names;
mod page;
mod preconditions;
mod programs;
mod quotas;
mod redrive;
mod registry;
mod runtime;
pub mod shard;
mod shell;
mod tasks;
mod trial;

pub use clock::{BoxFuture, Clock, SystemClock, TokioClock};
pub use config::RuntimeConfig;
pub use dispatch::{
    CancelReport, Dispatch, ItemsReport, MapRunChild, Secrets, TaskCall, TaskReport, TaskTrace,
};
pub use entropy::Seeds;
pub use error::Error;
pub use executions::{
    ExecutionDescription, ExecutionResult, ExecutionsPage, HistoryPage, ListExecutions, StartRequest,
    Started, SyncExecution,
};
pub use map_runs::{MapRunDescription, MapRunListItem, UpdateMapRun};
pub use mocks::{Mocks, TestCaseCall};
pub use page::PageRequest;
pub use programs::{Compile, Compilers, ProgramError, Programs, hash};
pub use quotas::Quotas;
pub use redrive::RedriveStatus;
pub use registry::{
    ActivityCreated, AliasCreated, AliasRouting, CreateActivity, CreateAlias, CreateStateMachine,
    RegistryPage, StateMachineCreated, StateMachineDescription, StateMachineUpdated, UpdateAlias,
    UpdateStateMachine, VersionPublished,
};
pub use runtime::{Follow, Runtime, RuntimeParts};
pub use shell::map_runs::MapRunChildren;
pub use shell::observers::{CommittedEvent, Observer};
pub use tasks::ActivityHandOut;

/// What the API needs of the store's words.
pub use store::{
    ActivityRecord, AliasRecord, Direction, ExecutionRow, ExecutionStatus, ListBy, Quarantined, Route, Scope,
    StateMachineRecord, StateMachineStatus, VersionRecord,
};
