//! Errors of JSONata in AWS's words.

use serde_json::Value;

/// An expression that does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct JsonataError {
    /// JSONata's code, such as `S0201`.
    pub code: String,
    /// JSONata's message.
    pub message: String,
    /// Where, in UTF-16 code units from the start.
    pub position: Option<usize>,
}

impl JsonataError {
    pub(super) fn new(error: &jlens_core::Error) -> JsonataError {
        JsonataError { code: error.code().to_owned(), message: error.message(), position: error.position() }
    }
}

/// An evaluation that failed. Displayed, it is the end of AWS's sentence "The JSONata expression '…'
/// specified for the field '…' …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// JSONata raised an error.
    #[error("threw an error during evaluation. {code}: {message}")]
    Threw {
        /// JSONata's code, such as `T1006`.
        code: String,
        /// JSONata's message.
        message: String,
    },
    /// The result is a function.
    #[error("returned an unsupported result type.")]
    UnsupportedResult,
    /// It took too many steps or too long.
    #[error("threw an error during evaluation. Expression evaluation timeout")]
    Timeout,
    /// It built too much.
    #[error("threw an error during evaluation. Expression evaluation memory limit exceeded")]
    MemoryLimit,
    /// It nested too deeply.
    #[error("threw an error during evaluation. Stack overflow error")]
    StackOverflow,
}

impl EvaluationError {
    /// The error name AWS gives every one of them.
    pub const ERROR_NAME: &'static str = "States.QueryEvaluationError";

    pub(super) fn new(error: &jlens_core::Error) -> EvaluationError {
        match error.code() {
            "D1011" => EvaluationError::StackOverflow,
            "D1012" | "U1003" | "U1006" => EvaluationError::Timeout,
            "U1001" if nested_too_deeply(error) => EvaluationError::StackOverflow,
            "U1001" => EvaluationError::MemoryLimit,
            code => EvaluationError::Threw { code: code.to_owned(), message: error.message() },
        }
    }

    /// The engine broke; it says so like any other failure of the expression.
    pub(super) fn panicked() -> EvaluationError {
        EvaluationError::Threw {
            code: "U1000".into(),
            message: "The expression could not be evaluated".into(),
        }
    }
}

fn nested_too_deeply(error: &jlens_core::Error) -> bool {
    error
        .detail("message")
        .and_then(Value::as_str)
        .is_some_and(|message| message.contains("nested more than"))
}
