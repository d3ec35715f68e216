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
    #[error("threw an error during evaluation: Expression evaluation timeout: Check for infinite loop")]
    Timeout,
    /// It built too much.
    #[error(
        "threw an error during evaluation: Expression evaluation memory limit exceeded: Check for excessive memory usage"
    )]
    MemoryLimit,
    /// It nested too deeply.
    #[error(
        "threw an error during evaluation: Stack overflow error: Check for non-terminating recursive function. Consider rewriting as tail-recursive."
    )]
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
            code => EvaluationError::Threw { code: code.to_owned(), message: message(error) },
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

/// What the engine's messages may show of the values at fault.
const SHOWN: [&str; 5] = ["value", "value2", "index", "token", "exp"];

/// The message, with numbers as JavaScript writes them: the engine shows 99 as 99.0.
fn message(error: &jlens_core::Error) -> String {
    let mut error = error.clone();
    for name in SHOWN {
        if let Some(shown) = error.detail(name).cloned() {
            error = error.with(name, with_whole_numbers(shown));
        }
    }
    error.message()
}

/// A value whose numbers without a fraction are integers, as far as AWS's 64 bits hold them.
pub(super) fn with_whole_numbers(mut value: Value) -> Value {
    match &mut value {
        Value::Number(number) => {
            let float = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0);
            if let Some(float) = float.filter(|float| float.abs() < INTEGERS_BELOW) {
                return (float as i64).into();
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| *item = with_whole_numbers(item.take()));
        }
        Value::Object(members) => {
            members.values_mut().for_each(|member| *member = with_whole_numbers(member.take()));
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
    value
}

/// 2^63: from there on AWS writes a whole number with an exponent.
const INTEGERS_BELOW: f64 = 9_223_372_036_854_775_808.0;

fn nested_too_deeply(error: &jlens_core::Error) -> bool {
    error
        .detail("message")
        .and_then(Value::as_str)
        .is_some_and(|message| message.contains("nested more than"))
}
