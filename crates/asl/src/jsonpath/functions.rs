//! The functions of Jayway paths, `.length()` and its like.
//!
//! AWS refuses them when a state machine is created; they exist so that the dialect is whole and a
//! refusal can be told from a syntax error.

use serde_json::{Number, Value};

use super::evaluate::{Budget, find};
use super::java::java_string;
use super::{Found, JsonPath, PathError};
use crate::payload::Document;

#[derive(Debug, Clone)]
pub(super) struct Function {
    kind: Kind,
    parameters: Vec<Parameter>,
}

#[derive(Debug, Clone)]
pub(super) enum Parameter {
    Path(JsonPath),
    Json(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Length,
    Size,
    Keys,
    Min,
    Max,
    Avg,
    Sum,
    StdDev,
    Concat,
    Append,
    First,
    Last,
    Index,
}

impl Function {
    pub(super) fn new(name: &str, parameters: Vec<Parameter>) -> Result<Function, PathError> {
        let kind = match name {
            "length" => Kind::Length,
            "size" => Kind::Size,
            "keys" => Kind::Keys,
            "min" => Kind::Min,
            "max" => Kind::Max,
            "avg" => Kind::Avg,
            "sum" => Kind::Sum,
            "stddev" => Kind::StdDev,
            "concat" => Kind::Concat,
            "append" => Kind::Append,
            "first" => Kind::First,
            "last" => Kind::Last,
            "index" => Kind::Index,
            _ => {
                return Err(PathError::Invalid(format!("Function with name: {name} does not exist.")));
            }
        };
        Ok(Function { kind, parameters })
    }

    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Length => "length",
            Kind::Size => "size",
            Kind::Keys => "keys",
            Kind::Min => "min",
            Kind::Max => "max",
            Kind::Avg => "avg",
            Kind::Sum => "sum",
            Kind::StdDev => "stddev",
            Kind::Concat => "concat",
            Kind::Append => "append",
            Kind::First => "first",
            Kind::Last => "last",
            Kind::Index => "index",
        }
    }

    pub(super) fn apply(
        &self,
        value: &Value,
        root: Document<'_>,
        budget: &Budget,
    ) -> Result<Value, PathError> {
        let mut arguments = Vec::with_capacity(self.parameters.len());
        for parameter in &self.parameters {
            arguments.push(match parameter {
                Parameter::Json(value) => value.clone(),
                Parameter::Path(path) => find(path, root, root, budget).map(Found::into_value)?,
            });
        }
        match self.kind {
            Kind::Length | Kind::Size => Ok(match value {
                Value::Array(items) => items.len().into(),
                Value::Object(object) => object.len().into(),
                _ => Value::Null,
            }),
            Kind::Keys => Ok(match value {
                Value::Object(object) => object.keys().cloned().collect(),
                _ => Value::Null,
            }),
            Kind::Concat => {
                let mut text = String::new();
                if let Value::Array(items) = value {
                    text.extend(items.iter().filter_map(Value::as_str));
                }
                arguments.iter().for_each(|argument| text.push_str(&java_string(argument)));
                Ok(text.into())
            }
            Kind::Append => {
                let mut items = value.as_array().cloned().unwrap_or_default();
                items.extend(arguments);
                Ok(Value::Array(items))
            }
            Kind::First => element(value, 0),
            Kind::Last => element(value, -1),
            Kind::Index => element(value, arguments.first().and_then(Value::as_i64).unwrap_or(0)),
            Kind::Min | Kind::Max | Kind::Avg | Kind::Sum | Kind::StdDev => self.aggregate(value, &arguments),
        }
    }

    fn aggregate(&self, value: &Value, arguments: &[Value]) -> Result<Value, PathError> {
        let mut numbers: Vec<f64> = Vec::new();
        if let Value::Array(items) = value {
            numbers.extend(items.iter().filter_map(Value::as_f64));
        }
        for argument in arguments {
            match argument {
                Value::Array(items) => numbers.extend(items.iter().filter_map(Value::as_f64)),
                other => numbers.extend(other.as_f64()),
            }
        }
        if numbers.is_empty() {
            let message = "Aggregation function attempted to calculate value using empty array";
            return Err(PathError::Failed(message.into()));
        }
        let count = numbers.len() as f64;
        let sum: f64 = numbers.iter().sum();
        let result = match self.kind {
            Kind::Min => numbers.iter().copied().fold(f64::INFINITY, f64::min),
            Kind::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Kind::Avg => sum / count,
            Kind::StdDev => {
                let squares: f64 = numbers.iter().map(|number| number * number).sum();
                (squares / count - sum * sum / count / count).sqrt()
            }
            _ => sum,
        };
        Ok(Number::from_f64(result).map_or(Value::Null, Value::Number))
    }
}

fn element(value: &Value, index: i64) -> Result<Value, PathError> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let index = if index < 0 { index + items.len() as i64 } else { index };
    usize::try_from(index).ok().and_then(|index| items.get(index)).cloned().ok_or_else(|| {
        PathError::Failed("Aggregation function attempted to calculate value using empty array".into())
    })
}
