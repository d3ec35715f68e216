//! The file as text: JSON with places, so that everything wrong is named by line and column.
//!
//! As lenient as Step Functions Local where files in use may rely on it: a mocked response may be empty, and may be missing
//! as long as no state is answered by it. What could only be a slip (an unknown member, a range that ends before it begins)
//! is refused.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use asl::json::{self, Kind, Member, Node, Object};

use super::{Attempts, MockConfiguration, Response};

/// Most bytes of a file.
const BYTES_MAX: u64 = 16 << 20;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MockError {
    /// It cannot be read.
    #[error("{file}: {1}", file = .0.display())]
    Unreadable(PathBuf, std::io::Error),
    /// It is larger than anything written by hand or by a test.
    #[error("{file}: larger than {BYTES_MAX} bytes", file = .0.display())]
    TooLarge(PathBuf),
    /// It has errors.
    #[error("{text}", text = shown(.0, .1))]
    Wrong(PathBuf, Vec<Finding>),
}

fn shown(file: &Path, findings: &[Finding]) -> String {
    let lines = findings.iter().map(|finding| format!("{}:{finding}", file.display()));
    lines.collect::<Vec<_>>().join("\n")
}

/// Something wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

pub(super) fn read(path: &Path) -> Result<MockConfiguration, MockError> {
    let unreadable = |error| MockError::Unreadable(path.to_path_buf(), error);
    if std::fs::metadata(path).map_err(unreadable)?.len() > BYTES_MAX {
        return Err(MockError::TooLarge(path.to_path_buf()));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&text).map_err(|findings| MockError::Wrong(path.to_path_buf(), findings))
}

/// What a text says, or everything that is wrong with it.
pub(super) fn parse(text: &str) -> Result<MockConfiguration, Vec<Finding>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = json::read(text).map_err(|error| {
        vec![Finding { line: error.line, column: error.column, message: error.message.clone() }]
    })?;
    let mut reading = Reading { text, findings: Vec::new(), configuration: MockConfiguration::default() };
    reading.root(&root);
    match reading.findings.is_empty() {
        true => Ok(reading.configuration),
        false => Err(reading.findings),
    }
}

struct Reading<'a> {
    text: &'a str,
    findings: Vec<Finding>,
    configuration: MockConfiguration,
}

impl Reading<'_> {
    fn find(&mut self, span: &Range<usize>, message: impl Into<String>) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        self.findings.push(Finding { line, column, message: message.into() });
    }

    fn object<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n Object> {
        let object = node.as_object();
        if object.is_none() {
            self.find(&node.span, format!("{what} must be an object"));
        }
        object
    }

    fn unknown(&mut self, member: &Member, known: &str) {
        self.find(&member.key_span, format!("unknown member '{}'; expected {known}", member.key));
    }

    fn root(&mut self, root: &Node) {
        let Some(root) = self.object(root, "a mock configuration") else { return };
        for member in root.effective() {
            match member.key.as_str() {
                "StateMachines" => self.machines(&member.value),
                "MockedResponses" => self.responses(&member.value),
                _ => self.unknown(member, "'StateMachines' and 'MockedResponses'"),
            }
        }
    }

    fn machines(&mut self, node: &Node) {
        let Some(machines) = self.object(node, "'StateMachines'") else { return };
        for machine in machines.effective() {
            let Some(members) = self.object(&machine.value, "a state machine") else { continue };
            let mut cases = HashMap::new();
            for member in members.effective() {
                match member.key.as_str() {
                    "TestCases" => cases = self.test_cases(&member.value),
                    _ => self.unknown(member, "'TestCases'"),
                }
            }
            self.configuration.machines.insert(machine.key.clone(), cases);
        }
    }

    fn test_cases(&mut self, node: &Node) -> HashMap<String, HashMap<String, String>> {
        let Some(cases) = self.object(node, "'TestCases'") else { return HashMap::new() };
        let mut read = HashMap::new();
        for case in cases.effective() {
            let Some(states) = self.object(&case.value, "a test case") else { continue };
            let mut named = HashMap::new();
            for state in states.effective() {
                match state.value.as_str() {
                    Some(response) => drop(named.insert(state.key.clone(), response.to_owned())),
                    None => self.find(
                        &state.value.span,
                        format!("the state '{}' must be given the name of a mocked response", state.key),
                    ),
                }
            }
            read.insert(case.key.clone(), named);
        }
        read
    }

    fn responses(&mut self, node: &Node) {
        let Some(responses) = self.object(node, "'MockedResponses'") else { return };
        for member in responses.effective() {
            let Some(numbered) = self.object(&member.value, "a mocked response") else { continue };
            let attempts: Vec<Attempts> =
                numbered.effective().filter_map(|attempt| self.attempts(attempt)).collect();
            self.configuration.responses.insert(member.key.clone(), attempts);
        }
    }

    fn attempts(&mut self, member: &Member) -> Option<Attempts> {
        let Some((first, last)) = numbers(&member.key) else {
            let message =
                format!("'{}' is no number of a call: expected \"0\" or a range, \"1-3\"", member.key);
            self.find(&member.key_span, message);
            return None;
        };
        let response = self.response(&member.value)?;
        Some(Attempts { first, last, response })
    }

    fn response(&mut self, node: &Node) -> Option<Response> {
        let object = self.object(node, "a response")?;
        let mut members = object.effective();
        let (Some(member), None) = (members.next(), members.next()) else {
            self.find(&node.span, "a response must have either 'Return' or 'Throw'");
            return None;
        };
        match member.key.as_str() {
            "Return" => Some(Response::Return(member.value.to_value())),
            "Throw" => self.throw(&member.value),
            _ => {
                self.unknown(member, "'Return' or 'Throw'");
                None
            }
        }
    }

    fn throw(&mut self, node: &Node) -> Option<Response> {
        let object = self.object(node, "'Throw'")?;
        let (mut error, mut cause) = (None, None);
        for member in object.effective() {
            match (member.key.as_str(), &member.value.kind) {
                ("Error", Kind::String(text)) => error = Some(text.clone()),
                ("Cause", Kind::String(text)) => cause = Some(text.clone()),
                ("Error" | "Cause", _) => {
                    self.find(&member.value.span, format!("'{}' must be a string", member.key));
                    return None;
                }
                _ => self.unknown(member, "'Error' and 'Cause'"),
            }
        }
        match error {
            Some(error) => Some(Response::Throw { error, cause }),
            None => {
                self.find(&node.span, "'Throw' needs an 'Error'");
                None
            }
        }
    }
}

/// `"2"` or `"2-5"`.
fn numbers(key: &str) -> Option<(u64, u64)> {
    let digits = |text: &str| -> Option<u64> {
        let text = text.trim();
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
    };
    let (first, last) = match key.split_once('-') {
        Some((first, last)) => (digits(first)?, digits(last)?),
        None => (digits(key)?, digits(key)?),
    };
    (first <= last).then_some((first, last))
}
