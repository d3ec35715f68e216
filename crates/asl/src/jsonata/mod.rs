//! JSONata behind one port: version 2.0.6 as AWS runs it, without `$eval`, with AWS's additions.
//!
//! An [`Expression`] is compiled once, with its references found; evaluating it borrows the scope
//! and copies at most what the expression reads. Every evaluation runs under [`Limits`] and cannot take the
//! process down: steps, depth and sizes are bounded, and a panic of the engine becomes an error. The
//! engine (`jlens-core`) is named in no signature, so that it can be replaced.
//!
//! No clock is read here: the time of `$now()` comes with the scope. The one clock under it is the engine's own, which ends
//! an evaluation after [`Limits::time_max`], as AWS does after a second. It is the second line: steps and sizes are bounded
//! to about that much work, the same on every machine. What only the clock can end (a regular expression that backtracks) is
//! an error like any other: it is recorded in an event, and replay copies events and evaluates nothing, so that a slower or
//! quicker machine never sees another past. Until its event is on disk nobody has seen the outcome.

mod analysis;
mod delimiters;
mod documents;
mod error;
mod evaluate;
mod functions;
mod meter;
mod non_finite;
mod plain_path;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;

pub use delimiters::{Malformed, is_expression};
pub use error::{EvaluationError, JsonataError};

use crate::payload::{Document, Payload};
use crate::scope::Variables;
use crate::timestamp::Timestamp;

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Expression(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    engine: jlens_core::Expression,
    /// What is read of each variable, so that no more of it is copied.
    reads: jlens_core::reads::Reads,
    analysis: analysis::Analysis,
    references: References,
    reads_context: bool,
    /// The functions it names, which variables may replace.
    functions_named: Vec<String>,
    /// The same as an expression that copies nothing, once it was evaluated, if it can be made into one.
    reading: OnceLock<Option<documents::Reading>>,
}

/// What an expression refers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// Variables, without `$states` and what the expression itself binds, in order of name.
    pub variables: Vec<Arc<str>>,
    /// Members of `$states`, such as `input`, in order of name.
    pub states: BTreeSet<Arc<str>>,
    /// Whether `$states` is used whole.
    pub whole_states: bool,
    /// Names read of the context item, which ASL does not have: `phone` in `phone.number`, in order of name.
    pub top_level: Vec<Arc<str>>,
    /// Whether `$$`, the context item of the whole, is used.
    pub root: bool,
}

/// What an expression sees.
#[derive(Clone, Copy)]
pub struct JsonataScope<'a> {
    /// `$states.input`
    pub input: &'a Payload,
    /// `$states.result`, where there is one.
    pub result: Option<&'a Payload>,
    /// `$states.errorOutput`, in a Catch.
    pub error_output: Option<&'a Payload>,
    /// `$states.context`
    pub context: &'a Value,
    /// `$name`
    pub variables: &'a dyn Variables,
    /// The time that `$now()` and `$millis()` tell.
    pub now: Timestamp,
}

impl<'a> JsonataScope<'a> {
    /// A member of `$states`.
    pub fn member(&self, name: &str) -> Option<Document<'a>> {
        match name {
            "input" => Some(Document::Payload(self.input)),
            "result" => self.result.map(Document::Payload),
            "errorOutput" => self.error_output.map(Document::Payload),
            "context" => Some(Document::Value(self.context)),
            _ => None,
        }
    }
}

/// The bounds of one evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Nodes evaluated and functions called.
    pub steps_max: u64,
    /// How deep evaluation may nest.
    pub depth_max: usize,
    /// The longest string it may build.
    pub string_bytes_max: usize,
    /// The longest array it may build.
    pub array_items_max: usize,
    /// The largest result, and the largest arguments of AWS's own functions, as JSON text.
    pub result_bytes_max: usize,
    /// All that may be built in one evaluation, as far as it can be told.
    pub built_bytes_max: usize,
    /// How long an evaluation may take; AWS allows a second.
    pub time_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            steps_max: 4_000_000,
            // What AWS was measured to allow: 100 deep, and a range of 873,782 items.
            depth_max: 100,
            string_bytes_max: 4 << 20,
            array_items_max: 873_782,
            result_bytes_max: 4 << 20,
            built_bytes_max: 96 << 20,
            time_max: Duration::from_secs(1),
        }
    }
}

impl Expression {
    /// Compiles the text between `{%` and `%}`.
    pub fn compile(text: &str) -> Result<Expression, JsonataError> {
        let engine = jlens_core::Expression::compile(text).map_err(|error| JsonataError::new(&error))?;
        let reads = engine.reads_with(functions::bindings(true));
        let analysis = analysis::Analysis::of(engine.ast());
        let mut references = references(&reads);
        references.root = analysis.names.contains("$");
        let functions_named =
            analysis.names.iter().filter(|name| functions::is_function(name)).cloned().collect();
        let reads_context = references.whole_states || references.states.contains("context");
        let reading = OnceLock::new();
        Ok(Expression(Arc::new(Compiled {
            engine,
            reads,
            analysis,
            references,
            reads_context,
            functions_named,
            reading,
        })))
    }

    /// The text it was compiled from.
    pub fn text(&self) -> &str {
        self.0.engine.source()
    }

    /// Whether it looks at the context object.
    pub fn reads_context(&self) -> bool {
        self.0.reads_context
    }

    /// The variables and members of `$states` it refers to.
    pub fn references(&self) -> &References {
        &self.0.references
    }
}

fn references(reads: &jlens_core::reads::Reads) -> References {
    let mut references = References::default();
    for (name, read) in reads.bindings() {
        match (name.as_str(), read.fields()) {
            ("states", None) => references.whole_states = true,
            ("states", Some(fields)) => {
                references.states = fields.keys().map(|name| name.as_str().into()).collect();
            }
            _ if functions::is_function(name) => {}
            _ => references.variables.push(name.as_str().into()),
        }
    }
    let top_level = reads.input().and_then(jlens_core::reads::Read::fields);
    references.top_level =
        top_level.into_iter().flat_map(|fields| fields.keys()).map(|name| name.as_str().into()).collect();
    references
}

#[cfg(test)]
mod tests;
