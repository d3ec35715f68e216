//! Evaluation of what a definition holds: templates, paths and expressions over the data of a moment.
//!
//! Pure: chance comes in as [`Entropy`], time stands in the context object. Literals are shared, not copied.
//! Errors carry AWS's name and words, but not the sentence "An error occurred while executing the state …",
//! because only the engine knows the event that it must name.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

use crate::entropy::Entropy;
use crate::intrinsic::{IntrinsicError, PathOrIntrinsic};
use crate::jsonata::{Expression, JsonataScope, Limits};
use crate::payload::Payload;
use crate::program::{PathSelector, Template};
use crate::scope::{Scope, Variables};
use crate::timestamp::Timestamp;

/// AWS's name for what JSONPath and intrinsic functions cannot do with their data.
pub const RUNTIME: &str = "States.Runtime";
/// AWS's name for what a JSONata expression cannot do.
pub const QUERY_EVALUATION: &str = "States.QueryEvaluationError";

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
        Scope { input: self.input.value(), context: self.context, variables: self.variables }
    }

    /// What JSONata sees of it.
    pub fn jsonata(&self) -> JsonataScope<'a> {
        JsonataScope {
            input: self.input.value(),
            result: self.result.map(Payload::value),
            error_output: self.error_output.map(Payload::value),
            context: self.context,
            variables: self.variables,
            now: self.now,
        }
    }

    /// A value found in this view as a payload: what is a payload whole is shared, the rest copied.
    fn share(&self, value: Cow<'_, Value>) -> Payload {
        let Cow::Borrowed(found) = value else { return Payload::from_value(value.into_owned()) };
        let wholes = [Some(self.input), self.result, self.error_output];
        let whole = wholes.into_iter().flatten().find(|payload| std::ptr::eq(payload.value(), found));
        whole.cloned().unwrap_or_else(|| Payload::from_value(found.clone()))
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

    /// A path that found nothing, in the words that name its field.
    pub fn path(source: &str, field: &str, input: &str) -> TemplateError {
        TemplateError::runtime(format!(
            "The JSONPath '{source}' specified for the field '{field}' could not be found in the input '{input}'"
        ))
    }
}

/// Evaluates a template. A literal comes back as it is.
pub fn evaluate(
    template: &Template,
    view: &View<'_>,
    entropy: &mut dyn Entropy,
) -> Result<Payload, TemplateError> {
    match template {
        Template::Literal(payload) => Ok(payload.clone()),
        other => value(other, view, entropy).map(|value| view.share(value)),
    }
}

/// Evaluates an `Assign` to names and values. All are evaluated before any is assigned.
pub fn assign(
    template: &Template,
    view: &View<'_>,
    entropy: &mut dyn Entropy,
) -> Result<Vec<(Arc<str>, Payload)>, TemplateError> {
    match template {
        Template::Object(members) => members
            .iter()
            .map(|(name, member)| Ok((name.clone(), evaluate(member, view, entropy)?)))
            .collect(),
        other => {
            // The compiler makes objects only; a template made by hand may still be a literal.
            let payload = evaluate(other, view, entropy)?;
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
    match template {
        Template::Literal(payload) => Ok(Cow::Borrowed(payload.value())),
        Template::Object(members) => {
            let mut object = Map::with_capacity(members.len());
            for (key, member) in members {
                object.insert(key.to_string(), value(member, view, entropy)?.into_owned());
            }
            Ok(Cow::Owned(Value::Object(object)))
        }
        Template::Array(elements) => {
            let elements = elements.iter().map(|element| Ok(value(element, view, entropy)?.into_owned()));
            Ok(Cow::Owned(Value::Array(elements.collect::<Result<_, TemplateError>>()?)))
        }
        Template::Path { field, source, expression } => path(expression, field, source, view, entropy),
        Template::Jsonata { field, source, expression } => jsonata(expression, field, source, view, entropy),
    }
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
        // Only the keys of payload templates are named; of fields such as OutputPath AWS shows Jayway's words.
        IntrinsicError::Path(_) if field.ends_with(".$") => {
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
            let selected = path(expression, field, expression.text(), &view, entropy)?;
            Ok(view.share(selected))
        }
    }
}
