//! `Fault`: why a state could not be worked out, before it becomes a [`Failure`] with AWS's words.

use asl::program::State;

use crate::frame::Visit;
use crate::start::Failure;

/// A failure of the state itself, as opposed to one that its task reports.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// `States.Runtime`: nothing catches it.
    Runtime(String),
    /// A JSONata expression failed: `States.QueryEvaluationError` and an EvaluationFailed event.
    Query {
        /// What is wrong.
        text: String,
        /// Place of the expression.
        location: Option<String>,
    },
    /// Another of AWS's error names.
    Named(&'static str, String),
    /// Words that bear no mention of the state.
    Bare(Failure),
}

impl Fault {
    /// A payload above the limit; `what` is the state's name, or the task's service or ARN.
    pub fn too_large(what: &str) -> Fault {
        let cause = format!(
            "The state/task '{what}' returned a result with a size exceeding the maximum number of bytes service limit."
        );
        Fault::Bare(Failure::new("States.DataLimitExceeded", cause))
    }

    /// The failure in AWS's words.
    pub fn into_failure(self, state: &State, visit: &Visit) -> Failure {
        self.worded(|text| {
            format!(
                "An error occurred while executing the state '{}' (entered at the event id #{}). {text}",
                state.name, visit.entered_id
            )
        })
    }

    /// The failure as TestState tells it, which has no event to name.
    pub fn into_bare_failure(self) -> Failure {
        self.worded(|text| text)
    }

    fn worded(self, cause: impl FnOnce(String) -> String) -> Failure {
        match self {
            Fault::Bare(failure) => failure,
            Fault::Runtime(text) => Failure::new("States.Runtime", cause(text)),
            Fault::Query { text, .. } => Failure::new("States.QueryEvaluationError", cause(text)),
            Fault::Named(error, text) => Failure::new(error, cause(text)),
        }
    }
}
