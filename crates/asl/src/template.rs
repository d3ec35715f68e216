//! Evaluation of what a definition holds: templates, paths and expressions over the data of a moment.
//!
//! Bounded: what one template copies and builds is counted ([`COPIED_BYTES_MAX`]), because a small definition can name a large
//! input many times.
//!
//! Pure: chance comes in as [`Entropy`], time stands in the context object. Literals are shared, not copied.
//! Errors carry AWS's name and words, but not the sentence "An error occurred while executing the state …",
//! because only the engine knows the event that it must name.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::entropy::Entropy;
use crate::intrinsic::{IntrinsicError, PathOrIntrinsic};
use crate::jsonata::{Expression, JsonataScope, Limits};
use crate::jsonpath::fits_within;
use crate::payload::{DEPTH_MAX, Members, Payload};
use crate::program::{PathSelector, Template};
use crate::scope::{Scope, Variables};
use crate::timestamp::Timestamp;

/// AWS's name for what JSONPath and intrinsic functions cannot do with their data.
pub const RUNTIME: &str = "States.Runtime";
/// AWS's name for what a JSONata expression cannot do.
pub const QUERY_EVALUATION: &str = "States.QueryEvaluationError";

/// AWS's name for what is too large.
pub const DATA_LIMIT: &str = "States.DataLimitExceeded";

/// What one template, or one Assign, may copy and build, in about as many bytes of memory. A payload of AWS's 256 KiB takes
/// at most a third of it, whatever it holds.
const COPIED_BYTES_MAX: usize = 32 << 20;

/// What the expressions of a state see, in either language.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// `$` in JSONPath; `$states.input` in JSONata.
    pub input: &'a Payload,
    /// `$$`; `$states.context`.
    pub context: &'a Value,
    /// `$name`.
    pub variables: &'a dyn Variables,
    /// `$states.result`, where there is one.
    pub result: Option<&'a Payload>,
    /// `$states.errorOutput`, in a catcher.
    pub error_output: Option<&'a Payload>,
    /// The time that JSONata's `$now()` tells.
    pub now: Timestamp,
    /// The bounds of each JSONata expression.
    pub limits: &'a Limits,
}

static DEFAULT_LIMITS: LazyLock<Limits> = LazyLock::new(Limits::default);

impl<'a> View<'a> {
    /// What there is before a state's work.
    pub fn new(
        input: &'a Payload,
        context: &'a Value,
        variables: &'a dyn Variables,
        now: Timestamp,
    ) -> View<'a> {
        View { input, context, variables, result: None, error_output: None, now, limits: &DEFAULT_LIMITS }
    }

    /// The same with another `$`.
    pub fn with_input(self, input: &'a Payload) -> View<'a> {
        View { input, ..self }
    }

    /// The same with the result of the work, as `$states.result`.
    pub fn with_result(self, result: &'a Payload) -> View<'a> {
        View { result: Some(result), ..self }
    }

    /// The same in a catcher, with `$states.errorOutput`.
    pub fn with_error_output(self, error_output: &'a Payload) -> View<'a> {
        View { error_output: Some(error_output), ..self }
    }

    /// What JSONPath sees of it.
    pub fn scope(&self) -> Scope<'a> {
        Scope { input: self.input, context: self.context, variables: self.variables }
    }

    /// What JSONata sees of it.
    pub fn jsonata(&self) -> JsonataScope<'a> {
        JsonataScope {
            input: self.input,
            result: self.result,
            error_output: self.error_output,
            context: self.context,
            variables: self.variables,
            now: self.now,
        }
    }
}

/// Why something could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}: {cause}")]
pub struct TemplateError {
    /// AWS's error name.
    pub error: &'static str,
    /// AWS's words, without the sentence that names state and event.
    pub cause: String,
    /// The place, `Output/result`, for EvaluationFailed; JSONata only, and not always.
    pub location: Option<Arc<str>>,
}

impl TemplateError {
    /// A `States.Runtime` error.
    pub fn runtime(cause: impl Into<String>) -> TemplateError {
        TemplateError { error: RUNTIME, cause: cause.into(), location: None }
    }

    /// A `States.QueryEvaluationError`.
    pub fn query(cause: impl Into<String>, location: Option<Arc<str>>) -> TemplateError {
        TemplateError { error: QUERY_EVALUATION, cause: cause.into(), location }
    }

    /// What a template gives is too large.
    fn too_large() -> TemplateError {
        let cause = "The payload template gives a result with a size or nesting exceeding the service limit.";
        TemplateError { error: DATA_LIMIT, cause: cause.to_owned(), location: None }
    }

    /// A path that found nothing, in the words that name its field.
    pub fn path(source: &str, field: &str, input: &str) -> TemplateError {
        TemplateError::runtime(format!(
            "The JSONPath '{source}' specified for the field '{field}' could not be found in the input '{input}'"
        ))
    }
}

/// What a template may still copy and build, and how deep its parts may nest: what is deeper than [`DEPTH_MAX`] is no payload.
struct Budget {
    bytes_left: usize,
    depth_left: usize,
}

impl Budget {
    fn new() -> Budget {
        Budget { bytes_left: COPIED_BYTES_MAX, depth_left: DEPTH_MAX }
    }

    /// Shared or copied: what is shared now may be copied when the whole is looked at as one value.
    fn charge(&mut self, payload: &Payload) -> Result<(), TemplateError> {
        let extent = payload.extent();
        match self.bytes_left.checked_sub(extent.bytes) {
            Some(left) if extent.depth <= self.depth_left => {
                self.bytes_left = left;
                Ok(())
            }
            _ => Err(TemplateError::too_large()),
        }
    }

    fn charge_value(&mut self, value: &Value) -> Result<(), TemplateError> {
        let fits = fits_within(value, &mut self.bytes_left, self.depth_left);
        if fits { Ok(()) } else { Err(TemplateError::too_large()) }
    }

    /// One level down.
    fn below<R>(&mut self, work: impl FnOnce(&mut Budget) -> R) -> R {
        let depth_left = self.depth_left;
        self.depth_left = depth_left.saturating_sub(1);
        let result = work(self);
        self.depth_left = depth_left;
        result
    }
}

/// Evaluates a template. A literal comes back as it is.
pub fn evaluate(
    template: &Template,
    view: &View<'_>,
    entropy: &mut dyn Entropy,
) -> Result<Payload, TemplateError> {
    evaluate_within(template, view, entropy, &mut Budget::new())
}

fn evaluate_within(
    template: &Template,
    view: &View<'_>,
    entropy: &mut dyn Entropy,
    budget: &mut Budget,
) -> Result<Payload, TemplateError> {
    match shared(template, view) {
        Some(payload) => Ok(payload),
        None => make(template, view, entropy, budget),
    }
}

/// A part of an object, charged if it was not written in the definition.
fn member(
    template: &Template,
    view: &View<'_>,
    entropy: &mut dyn Entropy,
    budget: &mut Budget,
) -> Result<Payload, TemplateError> {
    match shared(template, view) {
        Some(payload) => {
            if template.is_expression() {
                budget.charge(&payload)?;
            }
            Ok(payload)
        }
        None => make(template, view, entropy, budget),
    }
}

/// Evaluates what cannot be shared whole. The members of an object are payloads, each shared or made.
fn make(
    template: &Template,
    view: &View<'_>,
    entropy: &mut dyn Entropy,
    budget: &mut Budget,
) -> Result<Payload, TemplateError> {
    if let Template::Object(members) = template {
        return budget.below(|budget| {
            let mut parts = Members::with_capacity(members.len());
            for (name, part) in members {
                parts.insert(name.clone(), &member(part, view, entropy, budget)?);
            }
            Ok(Payload::from_members(parts))
        });
    }
    let value = value_within(template, view, entropy, budget)?;
    // What was found is charged before it is copied.
    if template.is_expression() {
        budget.charge_value(&value)?;
    }
    Ok(Payload::from_value(value.into_owned()))
}

/// What a template names, where that is a payload of its own.
fn shared(template: &Template, view: &View<'_>) -> Option<Payload> {
    match template {
        Template::Literal(payload) => Some(payload.clone()),
        Template::Path { expression, .. } => expression.shared(&view.scope()),
        Template::Jsonata { expression, .. } => expression.shared(&view.jsonata()),
        Template::Object(_) | Template::Array(_) => None,
    }
}

/// Evaluates an `Assign` to names and values. All are evaluated before any is assigned.
pub fn assign(
    template: &Template,
    view: &View<'_>,
    entropy: &mut dyn Entropy,
) -> Result<Vec<(Arc<str>, Payload)>, TemplateError> {
    let mut budget = Budget::new();
    match template {
        Template::Object(members) => members
            .iter()
            .map(|(name, member)| Ok((name.clone(), evaluate_within(member, view, entropy, &mut budget)?)))
            .collect(),
        other => {
            // The compiler makes objects only; a template made by hand may still be a literal.
            let payload = evaluate_within(other, view, entropy, &mut budget)?;
            let members = payload.value().as_object();
            let members = members.into_iter().flatten();
            Ok(members
                .map(|(name, value)| (Arc::from(&**name), Payload::from_value(value.clone())))
                .collect())
        }
    }
}

/// Evaluates a template to a value, borrowed where it is already there.
pub fn value<'a>(
    template: &'a Template,
    view: &View<'a>,
    entropy: &mut dyn Entropy,
) -> Result<Cow<'a, Value>, TemplateError> {
    value_within(template, view, entropy, &mut Budget::new())
}

fn value_within<'a>(
    template: &'a Template,
    view: &View<'a>,
    entropy: &mut dyn Entropy,
    budget: &mut Budget,
) -> Result<Cow<'a, Value>, TemplateError> {
    match template {
        Template::Literal(payload) => Ok(Cow::Borrowed(payload.value())),
        Template::Object(_) => {
            make(template, view, entropy, budget).map(|payload| Cow::Owned(payload.value().clone()))
        }
        Template::Array(elements) => budget.below(|budget| {
            let elements = elements.iter().map(|element| part(element, view, entropy, budget));
            Ok(Cow::Owned(Value::Array(elements.collect::<Result<_, TemplateError>>()?)))
        }),
        Template::Path { field, source, expression } => path(expression, field, source, view, entropy),
        Template::Jsonata { field, source, expression } => jsonata(expression, field, source, view, entropy),
    }
}

/// A part of an array, copied if need be. Literals are bounded by the definition, objects and arrays by their parts.
fn part<'a>(
    template: &'a Template,
    view: &View<'a>,
    entropy: &mut dyn Entropy,
    budget: &mut Budget,
) -> Result<Value, TemplateError> {
    let value = value_within(template, view, entropy, budget)?;
    if template.is_expression() {
        budget.charge_value(&value)?;
    }
    Ok(value.into_owned())
}

fn jsonata<'a>(
    expression: &Expression,
    field: &Arc<str>,
    source: &str,
    view: &View<'a>,
    entropy: &mut dyn Entropy,
) -> Result<Cow<'a, Value>, TemplateError> {
    let failed = |how: &dyn std::fmt::Display| {
        let cause = format!("The JSONata expression '{source}' specified for the field '{field}' {how}");
        TemplateError::query(cause, Some(field.clone()))
    };
    match expression.evaluate(&view.jsonata(), entropy, view.limits) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(failed(&"returned nothing (undefined).")),
        Err(error) => Err(failed(&error)),
    }
}

/// Evaluates a path or an intrinsic function that stands in `field`: a template's key with its `.$`, or a field.
pub fn path<'a>(
    expression: &PathOrIntrinsic,
    field: &str,
    source: &str,
    view: &View<'a>,
    entropy: &mut dyn Entropy,
) -> Result<Cow<'a, Value>, TemplateError> {
    expression.evaluate(&view.scope(), entropy).map_err(|error| match &error {
        // The keys of payload templates are named, and the fields that take intrinsic functions, too; of fields such as
        // OutputPath AWS shows Jayway's words.
        IntrinsicError::Path(_) if field.ends_with(".$") || matches!(field, "ErrorPath" | "CausePath") => {
            TemplateError::path(source, field, view.input.text())
        }
        IntrinsicError::Path(error) => TemplateError::runtime(format!("Invalid path '{source}' : {error}")),
        IntrinsicError::Argument { .. } | IntrinsicError::Function { .. } => {
            TemplateError { error: error.error_name(), cause: error.to_string(), location: None }
        }
    })
}

/// Applies `InputPath` or `OutputPath` (named by `field`) to a payload; `$` shares it.
pub fn select(
    selector: &PathSelector,
    field: &str,
    payload: &Payload,
    view: &View<'_>,
    entropy: &mut dyn Entropy,
) -> Result<Payload, TemplateError> {
    match selector {
        PathSelector::Whole => Ok(payload.clone()),
        PathSelector::Empty => Ok(Payload::empty_object()),
        PathSelector::Path(expression) => {
            let view = view.with_input(payload);
            if let Some(payload) = expression.shared(&view.scope()) {
                return Ok(payload);
            }
            let selected = path(expression, field, expression.text(), &view, entropy)?;
            Budget::new().charge_value(&selected)?;
            Ok(Payload::from_value(selected.into_owned()))
        }
    }
}
