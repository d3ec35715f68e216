//! Step Functions Local's mock configuration file: test cases of state machines, some of whose states are answered from it.
//!
//! Invariant: a state that is mocked never reaches a service, and whatever cannot be answered fails with `States.Runtime`
//! instead. The file is read at the start and again, when it has changed, at a start with a test case; executions under
//! way see what was read last. Which response a call gets is the journal's business (`runtime::Mocks`).

mod read;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use asl::resource::{Problem, Resource, ResourceCatalog};
use integrations::Catalog;
use runtime::{Error, Mocks, TestCaseCall};
use serde_json::Value;

pub use read::MockError;

/// What one file says.
#[derive(Debug, Default, PartialEq)]
pub struct MockConfiguration {
    /// By machine and test case: the name of the mocked response of each state.
    machines: HashMap<String, HashMap<String, HashMap<String, String>>>,
    responses: HashMap<String, Vec<Attempts>>,
}

/// `"0": …` or `"1-3": …`.
#[derive(Debug, PartialEq)]
struct Attempts {
    first: u64,
    last: u64,
    response: Response,
}

/// What a state is answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// `Return`
    Return(Value),
    /// `Throw`
    Throw {
        /// `Error`
        error: String,
        /// `Cause`
        cause: Option<String>,
    },
}

impl MockConfiguration {
    /// The answer to a call; `None` for a state that calls the service itself. The error is the cause of `States.Runtime`.
    fn response(&self, call: &TestCaseCall) -> Result<Option<&Response>, String> {
        let TestCaseCall { machine, test_case, state, invocation } = call;
        let states =
            self.machines.get(&**machine).and_then(|cases| cases.get(&**test_case)).ok_or_else(|| {
                format!("The mock configuration has no test case {test_case} of the state machine {machine}.")
            })?;
        let Some(name) = states.get(&**state) else { return Ok(None) };
        let attempts = self.responses.get(name).ok_or_else(|| {
            format!("The mock configuration has no mocked response {name}, which the state {state} is given in the test case {test_case}.")
        })?;
        let found = attempts.iter().find(|attempt| (attempt.first..=attempt.last).contains(invocation));
        let missing = || {
            format!(
                "The mocked response {name} has no response for call {invocation} of the state {state} in the test case {test_case}."
            )
        };
        found.map(|attempt| Some(&attempt.response)).ok_or_else(missing)
    }

    /// Names of mocked responses that states are given and that are not there. No fault before such a state is entered.
    fn dangling(&self) -> Vec<&str> {
        let names = self.machines.values().flat_map(HashMap::values).flat_map(HashMap::values);
        let missing = names.filter(|name| !self.responses.contains_key(*name));
        let mut missing: Vec<&str> = missing.map(String::as_str).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }
}

/// A file that is followed.
#[derive(Debug)]
pub struct MockFile {
    path: PathBuf,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    stamp: Stamp,
    configuration: Arc<MockConfiguration>,
}

/// By which a change is seen.
type Stamp = Option<(SystemTime, u64)>;

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

impl MockFile {
    /// Reads a file, or says all that is wrong with it.
    pub fn open(path: PathBuf) -> Result<MockFile, MockError> {
        let read = Mutex::new(load(&path)?);
        Ok(MockFile { path, read })
    }

    /// The answer to a call; `None` for a state that calls the service itself. The error is the cause of `States.Runtime`.
    pub fn response(&self, call: &TestCaseCall) -> Result<Option<Response>, String> {
        let configuration = Arc::clone(&self.lock().configuration);
        Ok(configuration.response(call)?.cloned())
    }

    fn refresh(&self) -> Result<(), MockError> {
        if self.lock().stamp == stamp(&self.path) {
            return Ok(());
        }
        let read = load(&self.path)?;
        tracing::info!(file = %self.path.display(), "the mock configuration has changed and was read again");
        *self.lock() = read;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(path: &Path) -> Result<Read, MockError> {
    // Before the text, so that a change in between is seen the next time.
    let stamp = stamp(path);
    let configuration = Arc::new(read::read(path)?);
    for name in configuration.dangling() {
        tracing::warn!(file = %path.display(), "the mock configuration has no mocked response {name}; states that are given it will fail");
    }
    Ok(Read { stamp, configuration })
}

/// The integrations of a server with a mock configuration: what it cannot carry out itself may be in definitions, too, since
/// it may be answered from the file. Called without a mock, it fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct MockableCatalog;

impl ResourceCatalog for MockableCatalog {
    fn check(&self, resource: &Resource, arguments: Option<&Value>) -> Vec<Problem> {
        match Catalog.is_absent_here(resource) {
            true => Vec::new(),
            false => Catalog.check(resource, arguments),
        }
    }
}

impl Mocks for MockFile {
    fn check(&self, machine: &str, test_case: &str) -> Result<(), Error> {
        let unusable = |error: MockError| Error::validation(format!("The mock configuration file: {error}"));
        self.refresh().map_err(unusable)?;
        let configuration = Arc::clone(&self.lock().configuration);
        let cases = configuration.machines.get(machine).map(|cases| cases.keys().collect::<Vec<_>>());
        let mut known = cases.unwrap_or_default();
        if known.iter().any(|known| *known == test_case) {
            return Ok(());
        }
        known.sort_unstable();
        let known = match known.as_slice() {
            [] => "none".to_owned(),
            all => all.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", "),
        };
        Err(Error::InvalidArn(format!(
            "Invalid Arn: 'The mock configuration has no test case {test_case} of the state machine {machine}; it has: {known}'"
        )))
    }

    fn is_mocked(&self, machine: &str, test_case: &str, state: &str) -> bool {
        let configuration = Arc::clone(&self.lock().configuration);
        let states = configuration.machines.get(machine).and_then(|cases| cases.get(test_case));
        states.is_some_and(|states| states.contains_key(state))
    }
}
