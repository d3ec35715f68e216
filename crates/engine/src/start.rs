//! What an execution is started with, and an ASL error as data.

use std::sync::Arc;

use asl::payload::Payload;
use asl::program::StateMachineType;

use crate::record::{Decoder, Encoder, Record, RecordError, record_struct};

/// SHA-256 of a definition's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DefinitionHash(pub [u8; 32]);

/// Everything an execution knows about itself from its first event on. It never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// `arn:…:execution:MACHINE:NAME`.
    pub execution_arn: Arc<str>,
    /// Name of the execution.
    pub name: Arc<str>,
    /// Unqualified ARN of the state machine (`NAME/LABEL` for a child of a Map Run).
    pub state_machine_arn: Arc<str>,
    /// Name of the state machine.
    pub state_machine_name: Arc<str>,
    /// ARN of the version it runs, when started through a version or an alias.
    pub version_arn: Option<Arc<str>>,
    /// ARN of the alias it was started through.
    pub alias_arn: Option<Arc<str>>,
    /// Role that it acts as.
    pub role_arn: Arc<str>,
    /// The definition it runs, pinned.
    pub definition: DefinitionHash,
    /// Revision of the state machine that it was started from.
    pub revision_id: Option<Arc<str>>,
    /// Path of the workflow that is run: empty for the machine, the ItemProcessor's path for a child of a Map Run.
    pub workflow: Arc<str>,
    /// Its input.
    pub input: Payload,
    /// STANDARD or EXPRESS.
    pub machine_type: StateMachineType,
    /// X-Ray header of the caller.
    pub trace_header: Option<Arc<str>>,
    /// The Map Run that it is a child of.
    pub map_run: Option<MapRunLink>,
    /// Region of the request that started it.
    pub region: Arc<str>,
    /// Account of the caller.
    pub account: Arc<str>,
    /// Test case of the mock configuration that it runs: the part after `#` of the ARN it was started by.
    pub test_case: Option<Arc<str>>,
    /// Whether StartSyncExecution waits for it. Such an execution has no journal, so this is never written.
    pub synchronous: bool,
    /// Bounds, AWS's unless the operator raised them.
    pub limits: Limits,
}

impl Start {
    /// An execution of a Standard state machine in its account and region that says no more than it must: without role,
    /// version and trace, within AWS's limits.
    pub fn of(state_machine_arn: &str, name: &str, definition: DefinitionHash, input: Payload) -> Start {
        let part = |index| state_machine_arn.split(':').nth(index).unwrap_or_default();
        Start {
            execution_arn: format!("{}:{name}", state_machine_arn.replace(":stateMachine:", ":execution:"))
                .into(),
            name: name.into(),
            state_machine_arn: state_machine_arn.into(),
            state_machine_name: part(6).into(),
            version_arn: None,
            alias_arn: None,
            role_arn: Arc::default(),
            definition,
            revision_id: None,
            workflow: Arc::default(),
            input,
            machine_type: StateMachineType::Standard,
            trace_header: None,
            map_run: None,
            region: part(3).into(),
            account: part(4).into(),
            test_case: None,
            synchronous: false,
            limits: Limits::default(),
        }
    }
}

record_struct!(Start {
    execution_arn,
    name,
    state_machine_arn,
    state_machine_name,
    version_arn,
    alias_arn,
    role_arn,
    definition,
    revision_id,
    workflow,
    input,
    machine_type,
    trace_header,
    map_run,
    region,
    account,
    limits
} apart { test_case, synchronous });

/// How a child of a Map Run refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRunLink {
    /// ARN of the Map Run.
    pub map_run_arn: Arc<str>,
    /// Index of the child among the Map Run's children; its start is idempotent by it.
    pub index: u64,
    /// Label of the Map state.
    pub label: Arc<str>,
}

record_struct!(MapRunLink { map_run_arn, index, label });

/// Bounds of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most history events; the last of them is the ExecutionFailed. 0: no bound (Express).
    pub events_max: u64,
    /// Most bytes of an input, output, result or variable.
    pub payload_max: u64,
}

record_struct!(Limits { events_max, payload_max });

impl Default for Limits {
    fn default() -> Self {
        Limits { events_max: 25_000, payload_max: 262_144 }
    }
}

/// An ASL error: data that flows to Retry and Catch, never a Rust error.
#[derive(Clone, Debug, PartialEq, Eq, Default, Hash)]
pub struct Failure {
    /// Error name; absent when the reporter gave none.
    pub error: Option<Arc<str>>,
    /// What happened.
    pub cause: Option<Arc<str>>,
}

record_struct!(Failure { error, cause });

impl Failure {
    /// An error with a cause.
    pub fn new(error: impl Into<Arc<str>>, cause: impl Into<Arc<str>>) -> Failure {
        Failure { error: Some(error.into()), cause: Some(cause.into()) }
    }
    /// An error without a cause.
    pub fn named(error: impl Into<Arc<str>>) -> Failure {
        Failure { error: Some(error.into()), cause: None }
    }
    /// `States.Runtime`, which nothing catches.
    pub fn runtime(cause: impl Into<Arc<str>>) -> Failure {
        Failure::new("States.Runtime", cause)
    }
    /// The error's name, empty when there is none.
    pub fn error(&self) -> &str {
        self.error.as_deref().unwrap_or_default()
    }
}

impl Record for DefinitionHash {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.raw(&self.0);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, RecordError> {
        let mut hash = [0; 32];
        hash.copy_from_slice(decoder.raw(32)?);
        Ok(DefinitionHash(hash))
    }
}
