//! Evaluates the condition of a filter, `[?(…)]`, for one item.
//!
//! Comparison is Jayway's: numbers equal the strings that spell them, other types never compare, and
//! an undefined operand satisfies only `!=`, `!==` and `nin`.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::evaluate::{Budget, exists, find};
use super::java::java_number;
use super::{Found, JsonPath, PathError, Restriction, Root};
use crate::payload::Document;

/// A condition.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    Or(Vec<Expression>),
    And(Vec<Expression>),
    Not(Box<Expression>),
    /// `@.a` or, if not `wanted`, `!@.a`
    Exists {
        path: JsonPath,
        wanted: bool,
    },
    Compare {
        left: Operand,
        operator: Operator,
        right: Operand,
    },
}

#[derive(Debug, Clone)]
pub(super) enum Operand {
    Path(JsonPath),
    Literal(Value),
    Regex(regex::Regex),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    TypeSafeEqual,
    TypeSafeNotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    In,
    NotIn,
    Contains,
    All,
    Size,
    Empty,
    SubsetOf,
    AnyOf,
    NoneOf,
}

impl Operator {
    pub(super) fn parse(text: &str) -> Result<Operator, PathError> {
        Ok(match text.to_uppercase().as_str() {
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            "===" => Operator::TypeSafeEqual,
            "!==" => Operator::TypeSafeNotEqual,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            "=~" => Operator::Matches,
            "IN" => Operator::In,
            "NIN" => Operator::NotIn,
            "CONTAINS" => Operator::Contains,
            "ALL" => Operator::All,
            "SIZE" => Operator::Size,
            "EMPTY" => Operator::Empty,
            "SUBSETOF" => Operator::SubsetOf,
            "ANYOF" => Operator::AnyOf,
            "NONEOF" => Operator::NoneOf,
            other => {
                return Err(PathError::Invalid(format!("Filter operator {other} is not supported!")));
            }
        })
    }
}

impl Expression {
    pub(super) fn restriction(&self) -> Option<Restriction> {
        match self {
            Expression::Or(parts) | Expression::And(parts) => parts.iter().find_map(Expression::restriction),
            Expression::Not(part) => part.restriction(),
            Expression::Exists { path, .. } => path.restriction(),
            Expression::Compare { left, operator, right } => match operator {
                Operator::Matches => Some(Restriction::RegularExpression),
                Operator::SubsetOf | Operator::AnyOf | Operator::NoneOf => Some(Restriction::SetOperator),
                _ => left.restriction().or_else(|| right.restriction()),
            },
        }
    }

    /// Whether an item of the array (or the object) being filtered satisfies the condition.
    pub(super) fn accepts(
        &self,
        item: &Value,
        root: Document<'_>,
        budget: &Budget,
    ) -> Result<bool, PathError> {
        match self {
            Expression::Or(parts) => {
                for part in parts {
                    if part.accepts(item, root, budget)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Expression::And(parts) => {
                for part in parts {
                    if !part.accepts(item, root, budget)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Expression::Not(part) => Ok(!part.accepts(item, root, budget)?),
            Expression::Exists { path, wanted } => {
                Ok(exists(path, start_of(path, item, root), root, budget)? == *wanted)
            }
            Expression::Compare { left, operator, right } => {
                let left = left.value(item, root, budget)?;
                if *operator == Operator::Matches {
                    return Ok(matches_regex(left.as_deref(), right));
                }
                let right = right.value(item, root, budget)?;
                compare(left.as_deref(), *operator, right.as_deref())
            }
        }
    }
}

impl Operand {
    fn restriction(&self) -> Option<Restriction> {
        match self {
            Operand::Path(path) => path.restriction(),
            Operand::Literal(_) => None,
            Operand::Regex(_) => Some(Restriction::RegularExpression),
        }
    }

    /// `None` is undefined: a path that found nothing.
    fn value<'a>(
        &'a self,
        item: &'a Value,
        root: Document<'a>,
        budget: &Budget,
    ) -> Result<Option<Cow<'a, Value>>, PathError> {
        match self {
            Operand::Path(path) => resolve(path, item, root, budget),
            Operand::Literal(value) => Ok(Some(Cow::Borrowed(value))),
            Operand::Regex(_) => Ok(None),
        }
    }
}

/// Where a path in a filter begins.
fn start_of<'a>(path: &JsonPath, item: &'a Value, root: Document<'a>) -> Document<'a> {
    if path.root == Root::Document { root } else { Document::Value(item) }
}

fn resolve<'a>(
    path: &JsonPath,
    item: &'a Value,
    root: Document<'a>,
    budget: &Budget,
) -> Result<Option<Cow<'a, Value>>, PathError> {
    match find(path, start_of(path, item, root), root, budget).map(Found::into_cow) {
        Ok(value) => Ok(Some(value)),
        Err(PathError::NotFound(_)) => Ok(None),
        Err(other) => Err(other),
    }
}

fn matches_regex(left: Option<&Value>, right: &Operand) -> bool {
    let Operand::Regex(regex) = right else {
        return false;
    };
    match left {
        Some(Value::String(text)) => regex.is_match(text),
        Some(Value::Number(number)) => regex.is_match(&java_number(number)),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).any(|text| regex.is_match(text)),
        _ => false,
    }
}

fn compare(left: Option<&Value>, operator: Operator, right: Option<&Value>) -> Result<bool, PathError> {
    Ok(match operator {
        Operator::Equal => equal(left, right),
        Operator::NotEqual => !equal(left, right),
        Operator::TypeSafeEqual => same_type(left, right) && equal(left, right),
        Operator::TypeSafeNotEqual => !(same_type(left, right) && equal(left, right)),
        Operator::Less => order(left, right).is_some_and(Ordering::is_lt),
        Operator::LessOrEqual => order(left, right).is_some_and(Ordering::is_le),
        Operator::Greater => order(left, right).is_some_and(Ordering::is_gt),
        Operator::GreaterOrEqual => order(left, right).is_some_and(Ordering::is_ge),
        Operator::Matches => false,
        Operator::In => is_in(left, right)?,
        Operator::NotIn => !is_in(left, right)?,
        Operator::Contains => match (left, right) {
            (Some(Value::Array(items)), _) => items.iter().any(|item| equal(Some(item), right)),
            (Some(Value::String(text)), Some(Value::String(part))) => text.contains(part.as_str()),
            _ => false,
        },
        Operator::All => match (left, right) {
            (Some(Value::Array(items)), Some(Value::Array(wanted))) => {
                wanted.iter().all(|one| items.iter().any(|item| equal(Some(item), Some(one))))
            }
            _ => false,
        },
        Operator::Size => {
            let size = match left {
                Some(Value::Array(items)) => Some(items.len()),
                Some(Value::String(text)) => Some(text.encode_utf16().count()),
                _ => None,
            };
            size.is_some() && size.map(|size| size as f64) == right.and_then(Value::as_f64)
        }
        Operator::Empty => {
            let empty = match left {
                Some(Value::Array(items)) => Some(items.is_empty()),
                Some(Value::Object(object)) => Some(object.is_empty()),
                Some(Value::String(text)) => Some(text.is_empty()),
                _ => None,
            };
            empty.is_some() && empty == right.and_then(Value::as_bool)
        }
        Operator::SubsetOf => sets(left, right, |left, right| left.iter().all(|one| member(one, right))),
        Operator::AnyOf => sets(left, right, |left, right| left.iter().any(|one| member(one, right))),
        Operator::NoneOf => sets(left, right, |left, right| !left.iter().any(|one| member(one, right))),
    })
}

fn member(value: &Value, items: &[Value]) -> bool {
    items.iter().any(|item| equal(Some(item), Some(value)))
}

fn sets(left: Option<&Value>, right: Option<&Value>, test: impl Fn(&[Value], &[Value]) -> bool) -> bool {
    match (left, right) {
        (Some(Value::Array(left)), Some(Value::Array(right))) => test(left, right),
        _ => false,
    }
}

fn is_in(left: Option<&Value>, right: Option<&Value>) -> Result<bool, PathError> {
    match right {
        Some(Value::Array(items)) => Ok(items.iter().any(|item| equal(left, Some(item)))),
        Some(Value::Object(_)) | None => Ok(false),
        Some(_) => Err(PathError::Invalid("Expected value list node".into())),
    }
}

fn same_type(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => std::mem::discriminant(left) == std::mem::discriminant(right),
        _ => false,
    }
}

/// A number equals the string that spells it; undefined equals nothing, not even itself.
fn equal(left: Option<&Value>, right: Option<&Value>) -> bool {
    let (Some(left), Some(right)) = (left, right) else {
        return false;
    };
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (Value::Number(number), Value::String(text)) => {
            text.parse::<f64>().is_ok_and(|parsed| Some(parsed) == number.as_f64())
        }
        (Value::String(text), Value::Number(number)) => *text == java_number(number),
        _ => left == right,
    }
}

fn order(left: Option<&Value>, right: Option<&Value>) -> Option<Ordering> {
    match (left?, right?) {
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
        },
        // `String.compareTo` goes by UTF-16 code units.
        (Value::String(left), Value::String(right)) => Some(left.encode_utf16().cmp(right.encode_utf16())),
        _ => None,
    }
}
