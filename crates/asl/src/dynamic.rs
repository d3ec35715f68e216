//! Values that a definition gives directly, by path or by expression ([`Dynamic`]), resolved to numbers, texts
//! and times with AWS's errors.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use crate::entropy::Entropy;
use crate::jsonpath::java_string;
use crate::program::{Dynamic, Template};
use crate::template::{self, TemplateError, View};
use crate::timestamp::Timestamp;

/// AWS's greatest number of seconds of a Wait.
const SECONDS_MAX: u64 = 99_999_999;

/// An integer of a Task's or Map's field, `TimeoutSeconds` and its like. `field` is the plain name.
pub fn integer(
    dynamic: &Dynamic<u64>,
    field: &str,
    view: &View<'_>,
    entropy: &mut dyn Entropy,
) -> Result<u64, TemplateError> {
    match dynamic {
        Dynamic::Literal(value) => Ok(*value),
        Dynamic::Path { field: path_field, source, path } => {
            let value = template::path(path, path_field, source, view, entropy)?;
            let Some(value) = whole(&value) else {
                let shown = java_string(&value);
                return Err(TemplateError::runtime(format!(
                    "The {path_field} field refers to value \"{shown}\" which is not a valid integer: {source}"
                )));
            };
            not_negative(value, field)
        }
        Dynamic::Jsonata(template) => {
            let value = template::value(template, view, entropy)?;
            match integral(&value) {
                Some(value) => not_negative(value, field),
                None => Err(unexpected_of(template, "integer", &value)),
            }
        }
    }
}

fn not_negative(value: i64, field: &str) -> Result<u64, TemplateError> {
    u64::try_from(value).map_err(|_| TemplateError::runtime(format!("{field} cannot be negative.")))
}

/// `ToleratedFailurePercentage`: from 0 to 100.
pub fn percentage(
    dynamic: &Dynamic<f64>,
    field: &str,
    view: &View<'_>,
    entropy: &mut dyn Entropy,
) -> Result<f64, TemplateError> {
    let value = match dynamic {
        Dynamic::Literal(value) => *value,
        Dynamic::Path { field: path_field, source, path } => {
            let value = template::path(path, path_field, source, view, entropy)?;
            let number = value.as_f64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
            number.filter(|number: &f64| number.is_finite()).ok_or_else(|| {
                let shown = java_string(&value);
                TemplateError::runtime(format!(
                    "The {path_field} field refers to value \"{shown}\" which is not a valid float: {source}"
                ))
            })?
        }
        Dynamic::Jsonata(template) => {
            let value = template::value(template, view, entropy)?;
            value.as_f64().ok_or_else(|| unexpected_of(template, "number", &value))?
        }
    };
    if (0.0..=100.0).contains(&value) {
        return Ok(value);
    }
    Err(TemplateError::runtime(format!("{field} must be between 0 and 100.")))
}

/// `Error`, `Cause`: a string.
pub fn text(
    dynamic: &Dynamic<Arc<str>>,
    view: &View<'_>,
    entropy: &mut dyn Entropy,
) -> Result<Arc<str>, TemplateError> {
    match dynamic {
        Dynamic::Literal(text) => Ok(text.clone()),
        Dynamic::Path { field, source, path } => {
            let value = template::path(path, field, source, view, entropy)?;
            match &*value {
                Value::String(text) => Ok(text.as_str().into()),
                other => Err(TemplateError::runtime(format!(
                    "The {field} parameter does not reference a string: {source} == {}",
                    java_string(other)
                ))),
            }
        }
        Dynamic::Jsonata(template) => {
            let value = template::value(template, view, entropy)?;
            match &*value {
                Value::String(text) => Ok(text.as_str().into()),
                other => Err(unexpected_of(template, "string", other)),
            }
        }
    }
}

/// `Seconds` of a Wait.
pub fn wait_seconds(
    dynamic: &Dynamic<u64>,
    view: &View<'_>,
    entropy: &mut dyn Entropy,
) -> Result<u64, TemplateError> {
    let seconds = match dynamic {
        Dynamic::Literal(seconds) => return Ok(*seconds),
        Dynamic::Path { field, source, path } => {
            let value = wait_input(path, field, source, view, entropy)?;
            let shown = java_string(&value);
            let seconds = whole(&value).ok_or_else(|| {
                TemplateError::runtime(format!(
                    "The {field} parameter cannot be parsed as a long value: {source} == {shown}"
                ))
            })?;
            u64::try_from(seconds).map_err(|_| {
                TemplateError::runtime(format!(
                    "The {field} parameter references a negative value: {source} == {shown}"
                ))
            })?
        }
        Dynamic::Jsonata(template) => {
            let value = template::value(template, view, entropy)?;
            let seconds = integral(&value).ok_or_else(|| unexpected_of(template, "integer", &value))?;
            u64::try_from(seconds)
                .map_err(|_| TemplateError::query("The Seconds field cannot be negative.", place(template)))?
        }
    };
    if seconds > SECONDS_MAX {
        return Err(TemplateError::runtime("Wait state delay is too long."));
    }
    Ok(seconds)
}

/// `Timestamp` of a Wait, without its fraction of a second.
pub fn wait_timestamp(
    dynamic: &Dynamic<Arc<str>>,
    view: &View<'_>,
    entropy: &mut dyn Entropy,
) -> Result<Timestamp, TemplateError> {
    let parsed = match dynamic {
        Dynamic::Literal(text) => Timestamp::parse(text).map_err(|_| invalid_timestamp(text, None)),
        Dynamic::Path { field, source, path } => {
            let value = wait_input(path, field, source, view, entropy)?;
            value.as_str().and_then(|text| Timestamp::parse(text).ok()).ok_or_else(|| {
                let shown = java_string(&value);
                TemplateError::runtime(format!(
                    "The {field} parameter does not reference a valid ISO-8601 extended offset date-time format string: {source} == {shown}"
                ))
            })
        }
        Dynamic::Jsonata(template) => {
            let value = template::value(template, view, entropy)?;
            let Value::String(text) = &*value else { return Err(unexpected_of(template, "string", &value)) };
            Timestamp::parse(text).map_err(|_| invalid_timestamp(text, place(template)))
        }
    };
    parsed.map(Timestamp::truncated_to_seconds)
}

fn invalid_timestamp(text: &str, location: Option<Arc<str>>) -> TemplateError {
    TemplateError::query(
        format!(
            "The Timestamp field cannot be parsed as an ISO-8601 extended offset date-time format string: {text}"
        ),
        location,
    )
}

/// A path of a Wait, whose absence AWS words in its own way.
fn wait_input<'a>(
    path: &crate::intrinsic::PathOrIntrinsic,
    field: &str,
    source: &str,
    view: &View<'a>,
    entropy: &mut dyn Entropy,
) -> Result<Cow<'a, Value>, TemplateError> {
    path.evaluate(&view.scope(), entropy).map_err(|_| {
        TemplateError::runtime(format!("The {field} parameter does not reference an input value: {source}"))
    })
}

/// An integer as AWS takes it from a path: a number without a point, or a text of one (recorded: `"2"`).
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) if number.is_u64() => Some(i64::try_from(number.as_u64()?).unwrap_or(i64::MAX)),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// An integer as JSONata gives it: to it 5 and 5.0 are the same number.
fn integral(value: &Value) -> Option<i64> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
    // A conversion of floats saturates.
    Some(value.as_i64().unwrap_or(number as i64))
}

fn place(template: &Template) -> Option<Arc<str>> {
    match template {
        Template::Jsonata { field, .. } => Some(field.clone()),
        Template::Literal(_) | Template::Object(_) | Template::Array(_) | Template::Path { .. } => None,
    }
}

fn unexpected_of(template: &Template, expected: &str, value: &Value) -> TemplateError {
    match template {
        Template::Jsonata { field, source, .. } => unexpected(source, field, expected, value),
        Template::Literal(_) | Template::Object(_) | Template::Array(_) | Template::Path { .. } => {
            TemplateError::query(
                format!("Expected '{expected}', but was '{}' for value: {value}", type_name(value)),
                None,
            )
        }
    }
}

/// A JSONata expression gave a value of the wrong type.
pub fn unexpected(source: &str, field: &Arc<str>, expected: &str, value: &Value) -> TemplateError {
    let cause = format!(
        "The JSONata expression '{source}' specified for the field '{field}' returned an unexpected result type. \
         Expected '{expected}', but was '{}' for value: {value}",
        type_name(value)
    );
    TemplateError::query(cause, Some(field.clone()))
}

/// A type as AWS's messages call it.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
