//! What can be wrong with a template or its deployment, said so that the reader knows where and what to do.

use std::fmt;

/// A place in a file, 1-based.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Place {
    /// The file as the user named it.
    pub file: String,
    /// Line, 0 when unknown.
    pub line: usize,
    /// Column, 0 when unknown.
    pub column: usize,
}

impl fmt::Display for Place {
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
    File(Place, String),
    /// Text that is neither YAML nor JSON.
    #[error("{0}: {1}")]
    Syntax(Place, String),
    /// A template that does not hold together.
    #[error("{0}: {1}")]
    Invalid(Place, String),
    /// Resource types that cannot be made here, each with its line.
    #[error("{}", list_unsupported(.0))]
    Unsupported(Vec<(Place, String, String)>),
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

fn list_unsupported(found: &[(Place, String, String)]) -> String {
    let lines: Vec<String> = found
        .iter()
        .map(|(place, id, kind)| {
            format!("{place}: resource {id} has type {kind}, which is not supported yet")
        })
        .collect();
    lines.join("\n")
}
