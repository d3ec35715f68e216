//! Test cases of a mock configuration: executions some of whose states are answered from a file instead of by services.
//!
//! Invariant: which response a call gets follows from the journal alone (the engine counts the calls of a state), so a
//! restart neither skips nor repeats one. What the responses are is the port's business: [`Mocks`].

use std::sync::Arc;

use engine::{PlannedTask, ScheduleTask, Start};

use crate::error::Error;

/// A mock configuration. Implemented by the binary.
pub trait Mocks: Send + Sync {
    /// Why an execution of a machine cannot be started in a test case. May read a file.
    fn check(&self, machine: &str, test_case: &str) -> Result<(), Error>;
    /// Whether a state is answered from the file. Asked while a turn is stepped: answers at once.
    fn is_mocked(&self, machine: &str, test_case: &str, state: &str) -> bool;
}

/// A call of a state in a test case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestCaseCall {
    /// Name of the machine.
    pub machine: Arc<str>,
    /// The test case.
    pub test_case: Arc<str>,
    /// Name of the state.
    pub state: Arc<str>,
    /// Number of the call among all calls of the state in this execution, from 0.
    pub invocation: u64,
}

impl TestCaseCall {
    pub(crate) fn new(start: &Start, task: &ScheduleTask) -> Option<TestCaseCall> {
        Some(TestCaseCall {
            machine: machine_of(start).into(),
            test_case: start.test_case.clone()?,
            state: Arc::clone(&task.name),
            invocation: task.invocation,
        })
    }
}

/// Name of the machine that the file knows: a child of a Map Run is of its parent's.
fn machine_of(start: &Start) -> &str {
    start.state_machine_name.split('/').next().unwrap_or_default()
}

/// Whether a task is answered from the file.
pub(crate) fn is_mocked(mocks: Option<&dyn Mocks>, task: &PlannedTask<'_>) -> bool {
    match (mocks, &task.start.test_case) {
        (Some(mocks), Some(test_case)) => mocks.is_mocked(machine_of(task.start), test_case, task.state),
        _ => false,
    }
}

/// The ARN without and the test case after `#`; without a mock configuration, `#` is a character like any other.
pub(crate) fn split<'a>(mocks: Option<&dyn Mocks>, arn: &'a str) -> (&'a str, Option<&'a str>) {
    match (mocks, arn.split_once('#')) {
        (Some(_), Some((arn, test_case))) => (arn, Some(test_case)),
        _ => (arn, None),
    }
}
