//! Findings about a definition, in AWS's words and with a place for people.
//!
//! A [`Diagnostic`] has AWS's code, message and location, which go on the wire as they are, and the bytes
//! of the text it is about, which AWS does not have. It is data: nothing here decides what is wrong.

use std::fmt;
use std::ops::Range;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The definition cannot be stored.
    Error,
    /// It can, but probably does not mean what its author thinks.
    Warning,
}

impl Severity {
    /// `ERROR`, `WARNING`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Warning => "WARNING",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// AWS's diagnostic codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// As AWS writes it.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// The text is not JSON.
    InvalidJsonDescription = "INVALID_JSON_DESCRIPTION",
    /// A field is missing, not supported, or of the wrong form.
    SchemaValidationFailed = "SCHEMA_VALIDATION_FAILED",
    /// A Task's resource is refused.
    InvalidResource = "INVALID_RESOURCE",
    /// No state ends the machine.
    MissingEndState = "MISSING_END_STATE",
    /// A state name is there twice.
    DuplicateStateName = "DUPLICATE_STATE_NAME",
    /// A state name is empty or too long.
    InvalidStateName = "INVALID_STATE_NAME",
    /// A Map's label is there twice.
    DuplicateLabelName = "DUPLICATE_LABEL_NAME",
    /// A Map's label has forbidden characters or is too long.
    InvalidLabelName = "INVALID_LABEL_NAME",
    /// A transition leads nowhere, or nothing leads to a state.
    MissingTransitionTarget = "MISSING_TRANSITION_TARGET",
    /// Too many scopes inside each other.
    TooDeeplyNested = "TOO_DEEPLY_NESTED",
    /// A JSONata expression does not parse.
    InvalidJsonataExpression = "INVALID_JSONATA_EXPRESSION",
    /// A JSONata expression refers to what is not there.
    UnsupportedJsonataExpression = "UNSUPPORTED_JSONATA_EXPRESSION",
    /// `Assign` of `states`.
    ReservedVariableName = "RESERVED_VARIABLE_NAME",
    /// `Assign` of something that is no identifier.
    InvalidVariableName = "INVALID_VARIABLE_NAME",
    /// `Assign` of a name that an outer scope assigns.
    DuplicateVariableName = "DUPLICATE_VARIABLE_NAME",
    /// Warning: a path without `.$`.
    NoDollar = "NO_DOLLAR",
    /// Warning: a path in a field whose name does not end with `Path`.
    NoPath = "NO_PATH",
    /// Warning: a path in a Pass state's `Result`.
    PassResultIsStatic = "PASS_RESULT_IS_STATIC",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// AWS's code.
    pub code: Code,
    /// AWS's message.
    pub message: String,
    /// AWS's location, `/States/X/Field`; for the whole machine there is none.
    pub location: Option<String>,
    /// The bytes it is about.
    pub span: Range<usize>,
}

impl fmt::Display for Diagnostic {
    /// `CODE: message at location`, as AWS writes it into messages (a missing location is Java's `null`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} at {}", self.code, self.message, self.location.as_deref().unwrap_or("null"))
    }
}

/// The text between the quotes of AWS's `Invalid State Machine Definition: '…'`.
pub fn joined(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    errors.map(Diagnostic::to_string).collect::<Vec<_>>().join(", ")
}

/// Line and column of a byte, both from 1; columns count characters.
pub fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
