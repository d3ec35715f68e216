//! What can be wrong with a template or its deployment, said so that the reader knows where and what to do.

use std::fmt;

/// A place in a file, 1-based.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FilePlace {
    /// The file as the user named it.
    pub file: String,
    /// Line, 0 when unknown.
    pub line: usize,
    /// Column, 0 when unknown.
    pub column: usize,
}

impl fmt::Display for FilePlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}", self.file),
            line => write!(formatter, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// Why a template cannot be deployed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TemplateError {
    /// A file that cannot be read.
    #[error("{0}: {1}")]
    File(FilePlace, String),
    /// Text that is neither YAML nor JSON.
    #[error("{0}: {1}")]
    Syntax(FilePlace, String),
    /// A template that does not hold together.
    #[error("{0}: {1}")]
    Invalid(FilePlace, String),
    /// What cannot be made here, each with its line.
    #[error("{}", list_unsupported(.0))]
    Unsupported(Vec<Unsupported>),
    /// The API refused a call.
    #[error("{resource}: {operation}: {code}: {message}")]
    Refused {
        /// Logical id.
        resource: String,
        /// Service and action.
        operation: String,
        /// AWS's code.
        code: String,
        /// AWS's message.
        message: String,
    },
    /// What was deployed could not be written down.
    #[error("the state of the stack could not be kept: {0}")]
    Unkept(String),
    /// A deployment failed and was undone, as far as it could be.
    #[error("{cause}\n{}", told_of_roll_back(.stuck))]
    RolledBack {
        /// Why it failed.
        cause: Box<TemplateError>,
        /// What could not be undone, and why.
        stuck: Vec<String>,
    },
    /// The API could not be reached.
    #[error("{resource}: {operation}: {reason}")]
    Unreachable {
        /// Logical id.
        resource: String,
        /// Service and action.
        operation: String,
        /// What happened.
        reason: String,
    },
}

impl TemplateError {
    /// In the words of CloudFormation's API: without the file's name, and without hints for the command line.
    pub fn api_message(&self) -> String {
        match self {
            TemplateError::File(_, what) => format!("Template format error: {what}"),
            TemplateError::Syntax(place, what) => {
                let FilePlace { line, column, .. } = place;
                format!("Template format error: YAML not well-formed. (line {line}, column {column}): {what}")
            }
            TemplateError::Invalid(_, what) => {
                let what = what.split("; give it with --parameter").next().unwrap_or_default();
                let is_whole = ["Parameter", "Circular", "Template", "No export", "Invalid template"];
                let is_whole = is_whole.iter().any(|start| what.starts_with(start));
                if is_whole { what.to_string() } else { format!("Template format error: {what}") }
            }
            TemplateError::Unsupported(found) => unrecognized(found),
            TemplateError::Refused { message, code, .. } if message.is_empty() => code.clone(),
            TemplateError::Refused { resource, message, code, .. } => {
                format!("{resource}: {message} (Error Code: {code})")
            }
            TemplateError::RolledBack { cause, .. } => cause.api_message(),
            TemplateError::Unkept(_) | TemplateError::Unreachable { .. } => self.to_string(),
        }
    }
}

fn unrecognized(found: &[Unsupported]) -> String {
    let kinds: Vec<&str> =
        found.iter().filter_map(|part| part.what.split_once(" has type ").map(|(_, kind)| kind)).collect();
    if !kinds.is_empty() {
        let reasons: Vec<&str> =
            found.iter().map(|part| part.reason.as_str()).filter(|text| !text.is_empty()).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
        return format!(
            "Template format error: Unrecognized resource types: [{}]{reasons}",
            kinds.join(", ")
        );
    }
    let parts: Vec<String> = found.iter().map(ToString::to_string).collect();
    format!("Template format error: {}", parts.join("; "))
}

/// A part of a template that is refused by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Where it stands.
    pub place: FilePlace,
    /// `resource Site has type AWS::CloudFront::Distribution`.
    pub what: String,
    /// Why, or what to use instead; may be empty.
    pub reason: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}, which is not supported", self.place, self.what)?;
        if self.reason.is_empty() { Ok(()) } else { write!(formatter, ": {}", self.reason) }
    }
}

fn list_unsupported(found: &[Unsupported]) -> String {
    let mut lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    lines.push("hint: --skip-unsupported goes on without them".into());
    lines.join("\n")
}

fn told_of_roll_back(stuck: &[String]) -> String {
    if stuck.is_empty() {
        return "rolled back: the stack is as it was before".into();
    }
    format!("rolled back, except: {}\nhint: the next deployment tries again", stuck.join("; "))
}
