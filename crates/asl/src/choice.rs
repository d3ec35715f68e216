//! The tests of Choice rules.
//!
//! Nothing is converted: a test on a value of another type is false. Strings compare by UTF-16 code units, as
//! Java's do. A `Variable` that leads nowhere is an error, except to `IsPresent`.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::{Number, Value};

use crate::entropy::Entropy;
use crate::jsonpath::ScopePath;
use crate::program::{Condition, Template};
use crate::template::{self, TemplateError, View};
use crate::timestamp::Timestamp;

/// One comparison.
#[derive(Debug, Clone)]
pub struct DataTest {
    /// `Variable`.
    pub variable: Subject,
    /// The operator with what it compares to.
    pub operator: Operator,
}

/// A path in a test.
#[derive(Debug, Clone)]
pub struct Subject {
    /// As written.
    pub source: Arc<str>,
    /// Compiled.
    pub path: ScopePath,
}

/// The operators: 6 properties, 16 comparisons with a literal or a path, and `StringMatches`; with `And`,
/// `Or` and `Not` AWS's 42.
#[derive(Debug, Clone)]
pub enum Operator {
    /// `IsString: true` and its like.
    Is {
        /// Which.
        property: Property,
        /// `true` or `false`.
        expected: bool,
    },
    /// `StringMatches`.
    Matches(Pattern),
    /// `NumericLessThan: 5` and its like.
    Compare {
        /// Type on both sides.
        operand: Operand,
        /// How they must stand.
        relation: Relation,
        /// The right side.
        to: Value,
    },
    /// `NumericLessThanPath: "$.max"` and its like.
    ComparePath {
        /// Type on both sides.
        operand: Operand,
        /// How they must stand.
        relation: Relation,
        /// Where the right side is.
        to: Subject,
    },
}

/// What `Is…` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// `IsNull`
    Null,
    /// `IsPresent`
    Present,
    /// `IsNumeric`
    Numeric,
    /// `IsString`
    String,
    /// `IsBoolean`
    Boolean,
    /// `IsTimestamp`
    Timestamp,
}

/// The type a comparison wants on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// `String…`
    String,
    /// `Numeric…`
    Numeric,
    /// `Boolean…`
    Boolean,
    /// `Timestamp…`
    Timestamp,
}

/// How the left side must stand to the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `…Equals`
    Equals,
    /// `…LessThan`
    LessThan,
    /// `…LessThanEquals`
    LessThanEquals,
    /// `…GreaterThan`
    GreaterThan,
    /// `…GreaterThanEquals`
    GreaterThanEquals,
}

/// A pattern of `StringMatches`: `*` stands for any characters, `\\*` for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The literal parts between the wildcards; one part means no wildcard.
    parts: Vec<String>,
}

impl Pattern {
    /// Reads a pattern. A backslash makes the next character a plain one.
    pub fn new(text: &str) -> Pattern {
        let mut parts = vec![String::new()];
        let mut part = 0;
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '*' => {
                    parts.push(String::new());
                    part += 1;
                }
                '\\' => parts[part].push(characters.next().unwrap_or('\\')),
                plain => parts[part].push(plain),
            }
        }
        Pattern { parts }
    }

    /// Whether the whole text is of this form. Linear in the text for each part: no backtracking is needed
    /// where only `*` is a wildcard.
    pub fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.parts.first().is_some_and(|only| only == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for part in middle {
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last.as_str())
    }
}

/// Whether a rule's condition holds.
pub fn matches(
    condition: &Condition,
    view: &View<'_>,
    entropy: &mut dyn Entropy,
) -> Result<bool, TemplateError> {
    match condition {
        Condition::And(conditions) => {
            for condition in conditions {
                if !matches(condition, view, entropy)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Condition::Or(conditions) => {
            for condition in conditions {
                if matches(condition, view, entropy)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Condition::Not(condition) => Ok(!matches(condition, view, entropy)?),
        Condition::Test(test) => data_test(test, view),
        Condition::Jsonata(template) => jsonata(template, view, entropy),
    }
}

fn jsonata(template: &Template, view: &View<'_>, entropy: &mut dyn Entropy) -> Result<bool, TemplateError> {
    let value = template::value(template, view, entropy)?;
    match (&*value, template) {
        (Value::Bool(value), _) => Ok(*value),
        (other, Template::Jsonata { field, source, .. }) => {
            Err(crate::dynamic::unexpected(source, field, "boolean", other))
        }
        (other, _) => {
            Err(TemplateError::query(format!("Condition must be a boolean but was: {other}"), None))
        }
    }
}

fn data_test(test: &DataTest, view: &View<'_>) -> Result<bool, TemplateError> {
    let found = test.variable.path.evaluate(&view.scope()).ok().map(|found| found.into_cow());
    if let Operator::Is { property: Property::Present, expected } = test.operator {
        return Ok(found.is_some() == expected);
    }
    let Some(value) = found else { return Err(missing(&test.variable)) };
    let value: &Value = &value;
    Ok(match &test.operator {
        Operator::Is { property, expected } => has(*property, value) == *expected,
        Operator::Matches(pattern) => value.as_str().is_some_and(|text| pattern.matches(text)),
        Operator::Compare { operand, relation, to } => compare(*operand, *relation, value, to),
        Operator::ComparePath { operand, relation, to } => {
            let right = to.path.evaluate(&view.scope()).map_err(|_| missing(to))?.into_cow();
            compare(*operand, *relation, value, &right)
        }
    })
}

fn missing(subject: &Subject) -> TemplateError {
    TemplateError::runtime(format!(
        "Invalid path '{}': The choice state's condition path references an invalid value.",
        subject.source
    ))
}

fn has(property: Property, value: &Value) -> bool {
    match property {
        Property::Present => true,
        Property::Null => value.is_null(),
        Property::Numeric => value.is_number(),
        Property::String => value.is_string(),
        Property::Boolean => value.is_boolean(),
        Property::Timestamp => value.as_str().is_some_and(|text| Timestamp::parse(text).is_ok()),
    }
}

fn compare(operand: Operand, relation: Relation, left: &Value, right: &Value) -> bool {
    let ordering = match operand {
        Operand::String => left
            .as_str()
            .zip(right.as_str())
            .map(|(left, right)| left.encode_utf16().cmp(right.encode_utf16())),
        Operand::Numeric => match (left, right) {
            (Value::Number(left), Value::Number(right)) => number_ordering(left, right),
            _ => None,
        },
        Operand::Boolean => left.as_bool().zip(right.as_bool()).map(|(left, right)| left.cmp(&right)),
        Operand::Timestamp => {
            let time = |value: &Value| Timestamp::parse(value.as_str()?).ok();
            time(left).zip(time(right)).map(|(left, right)| left.cmp(&right))
        }
    };
    ordering.is_some_and(|ordering| match relation {
        Relation::Equals => ordering == Ordering::Equal,
        Relation::LessThan => ordering == Ordering::Less,
        Relation::LessThanEquals => ordering != Ordering::Greater,
        Relation::GreaterThan => ordering == Ordering::Greater,
        Relation::GreaterThanEquals => ordering != Ordering::Less,
    })
}

/// Integers compare exactly, everything else as doubles.
fn number_ordering(left: &Number, right: &Number) -> Option<Ordering> {
    let integer = |number: &Number| number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
    match integer(left).zip(integer(right)) {
        Some((left, right)) => Some(left.cmp(&right)),
        None => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}
