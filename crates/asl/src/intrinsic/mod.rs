//! Intrinsic functions of the JSONPath query language, and the union of path and function that every
//! `.$` field holds.
//!
//! An invocation is parsed once, with its names and numbers of arguments checked; evaluating it reads
//! the scope and draws chance from the caller's [`Entropy`]. JSONata expressions are not known here.

mod arrays;
mod distinct;
mod numbers;
mod parse;
mod strings;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use crate::entropy::{Entropy, uuid_v4};
use crate::jsonpath::{PathError, ScopePath, fits};
use crate::payload::Payload;
use crate::scope::Scope;

pub(crate) use distinct::distinct;
pub(crate) use strings::hash_hex;

/// How deep invocations may nest.
pub const NESTING_MAX: usize = 10;

/// What `States.Array` and `States.Format` may copy in one evaluation, in about as many bytes.
const RESULT_BYTES_MAX: usize = 16 << 20;

/// The value of a `.$` field, compiled.
#[derive(Debug, Clone)]
pub enum PathOrIntrinsic {
    /// `$.a`, `$$.Execution.Id`, `$name.a`
    Path(ScopePath),
    /// `States.Format(…)`
    Intrinsic(Intrinsic),
}

/// An invocation of an intrinsic function.
#[derive(Debug, Clone)]
pub struct Intrinsic {
    function: Function,
    arguments: Vec<Argument>,
    text: Arc<str>,
}

#[derive(Debug, Clone)]
enum Argument {
    Literal(Value),
    /// A quoted string with its escapes unresolved, because `States.Format` tells `\{` from `{`.
    Text(Box<str>),
    Path(ScopePath),
    Invocation(Intrinsic),
}

/// The functions, by the name after `States.`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Array,
    ArrayContains,
    ArrayGetItem,
    ArrayLength,
    ArrayPartition,
    ArrayRange,
    ArrayUnique,
    Base64Decode,
    Base64Encode,
    Format,
    Hash,
    JsonMerge,
    JsonToString,
    MathAdd,
    MathRandom,
    StringSplit,
    StringToJson,
    Uuid,
}

/// The text is neither a path nor an invocation that AWS accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// It looks like a path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It looks like an invocation.
    #[error("{0}")]
    Intrinsic(String),
}

/// Why a path or an invocation gave no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntrinsicError {
    /// A path that stands alone found nothing. The caller knows the field and words the message.
    #[error("{0}")]
    Path(PathError),
    /// A path that is an argument found nothing.
    #[error(
        "The function '{function}' had the following error: The JsonPath argument for the field '{path}' could \
         not be found in the input '{input}'"
    )]
    Argument {
        /// The whole invocation.
        function: Arc<str>,
        /// The path.
        path: Arc<str>,
        /// The input as JSON text.
        input: String,
    },
    /// The function refused its arguments.
    #[error("The function '{function}' had the following error: {reason}")]
    Function {
        /// The whole invocation.
        function: Arc<str>,
        /// Why.
        reason: String,
    },
}

impl IntrinsicError {
    /// The error name AWS gives it.
    pub fn error_name(&self) -> &'static str {
        match self {
            IntrinsicError::Path(_) | IntrinsicError::Argument { .. } => "States.Runtime",
            IntrinsicError::Function { .. } => "States.IntrinsicFailure",
        }
    }
}

impl PathOrIntrinsic {
    /// Compiles the value of a `.$` field.
    pub fn parse(text: &str) -> Result<PathOrIntrinsic, SyntaxError> {
        if text.starts_with('$') {
            return Ok(PathOrIntrinsic::Path(ScopePath::parse(text)?));
        }
        Ok(PathOrIntrinsic::Intrinsic(Intrinsic::parse(text)?))
    }

    /// Whether a quoted string has a backslash before anything but `'`, `{`, `}` and `\`. AWS refuses it with the definition;
    /// definitions that were stored before we did keep it as it is.
    pub fn has_open_escape(&self) -> bool {
        match self {
            PathOrIntrinsic::Path(_) => false,
            PathOrIntrinsic::Intrinsic(intrinsic) => intrinsic.has_open_escape(),
        }
    }

    /// The value, borrowed from the scope if it is there.
    pub fn evaluate<'a>(
        &self,
        scope: &Scope<'a>,
        entropy: &mut dyn Entropy,
    ) -> Result<Cow<'a, Value>, IntrinsicError> {
        match self {
            PathOrIntrinsic::Path(path) => {
                path.evaluate(scope).map(|found| found.into_cow()).map_err(IntrinsicError::Path)
            }
            PathOrIntrinsic::Intrinsic(intrinsic) => intrinsic.evaluate(scope, entropy).map(Cow::Owned),
        }
    }

    /// The value, if it is a payload of its own, which is shared.
    pub fn shared(&self, scope: &Scope<'_>) -> Option<Payload> {
        self.as_path()?.shared(scope)
    }

    /// The names of the variables it reads, each once, in order of name.
    pub fn references(&self) -> Vec<&str> {
        let mut names = Vec::new();
        match self {
            PathOrIntrinsic::Path(path) => names.extend(path.variable()),
            PathOrIntrinsic::Intrinsic(intrinsic) => intrinsic.collect_variables(&mut names),
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The path, unless this is an invocation.
    pub fn as_path(&self) -> Option<&ScopePath> {
        match self {
            PathOrIntrinsic::Path(path) => Some(path),
            PathOrIntrinsic::Intrinsic(_) => None,
        }
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        match self {
            PathOrIntrinsic::Path(path) => path.text(),
            PathOrIntrinsic::Intrinsic(intrinsic) => intrinsic.text(),
        }
    }
}

impl Intrinsic {
    /// Compiles an invocation such as `States.Format('{} items', $.count)`.
    pub fn parse(text: &str) -> Result<Intrinsic, SyntaxError> {
        parse::invocation(text)
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn has_open_escape(&self) -> bool {
        self.arguments.iter().any(|argument| match argument {
            Argument::Text(text) => strings::has_open_escape(text),
            Argument::Invocation(intrinsic) => intrinsic.has_open_escape(),
            Argument::Literal(_) | Argument::Path(_) => false,
        })
    }

    /// The names of the variables it reads, each once, in order of name.
    pub fn references(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.collect_variables(&mut names);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Calls the function.
    pub fn evaluate(&self, scope: &Scope<'_>, entropy: &mut dyn Entropy) -> Result<Value, IntrinsicError> {
        let mut bytes_left = RESULT_BYTES_MAX;
        self.evaluate_within(scope, entropy, &mut bytes_left)
    }

    fn evaluate_within(
        &self,
        scope: &Scope<'_>,
        entropy: &mut dyn Entropy,
        bytes_left: &mut usize,
    ) -> Result<Value, IntrinsicError> {
        let mut values = Vec::with_capacity(self.arguments.len());
        for (index, argument) in self.arguments.iter().enumerate() {
            values.push(match argument {
                Argument::Literal(value) => Cow::Borrowed(value),
                Argument::Text(text) if self.function == Function::Format && index == 0 => {
                    Cow::Owned(Value::String(text.to_string()))
                }
                Argument::Text(text) => Cow::Owned(Value::String(strings::unescape(text))),
                Argument::Invocation(intrinsic) => {
                    Cow::Owned(intrinsic.evaluate_within(scope, entropy, bytes_left)?)
                }
                Argument::Path(path) => match path.evaluate(scope) {
                    Ok(found) => found.into_cow(),
                    Err(_) => return Err(self.missing_argument(path, scope)),
                },
            });
        }
        let refused = |reason| IntrinsicError::Function { function: self.text.clone(), reason };
        // These two repeat their arguments, of which a definition can give very many.
        let repeats = matches!(self.function, Function::Array | Function::Format);
        if repeats && !values.iter().all(|value| fits(value, bytes_left)) {
            return Err(refused("The result is too large".to_owned()));
        }
        self.call(&values, entropy).map_err(refused)
    }

    fn missing_argument(&self, path: &ScopePath, scope: &Scope<'_>) -> IntrinsicError {
        IntrinsicError::Argument {
            function: self.text.clone(),
            path: path.text().into(),
            input: scope.input.value().to_string(),
        }
    }

    fn call(&self, arguments: &[Cow<'_, Value>], entropy: &mut dyn Entropy) -> Result<Value, String> {
        match (self.function, arguments) {
            (Function::Array, items) => Ok(items.iter().map(|item| item.as_ref().clone()).collect()),
            (Function::ArrayContains, [array, item]) => arrays::contains(array, item),
            (Function::ArrayGetItem, [array, index]) => arrays::get_item(array, index),
            (Function::ArrayLength, [array]) => arrays::length(array),
            (Function::ArrayPartition, [array, size]) => arrays::partition(array, size),
            (Function::ArrayRange, [first, last, step]) => arrays::range(first, last, step),
            (Function::ArrayUnique, [array]) => arrays::unique(array),
            (Function::Base64Decode, [text]) => strings::base64_decode(text),
            (Function::Base64Encode, [text]) => strings::base64_encode(text),
            (Function::Format, [template, values @ ..]) => strings::format(template, values),
            (Function::Hash, [data, algorithm]) => strings::hash(data, algorithm),
            (Function::JsonMerge, [first, second, deep]) => strings::json_merge(first, second, deep),
            (Function::JsonToString, [value]) => Ok(value.to_string().into()),
            (Function::MathAdd, [first, second]) => numbers::add(first, second),
            (Function::MathRandom, [start, end]) => numbers::random(start, end, None, entropy),
            (Function::MathRandom, [start, end, seed]) => numbers::random(start, end, Some(seed), entropy),
            (Function::StringSplit, [text, delimiters]) => strings::split(text, delimiters),
            (Function::StringToJson, [text]) => strings::string_to_json(text),
            (Function::Uuid, []) => Ok(uuid_v4(entropy).into()),
            _ => Err("Invalid number of arguments".into()),
        }
    }

    fn collect_variables<'a>(&'a self, names: &mut Vec<&'a str>) {
        for argument in &self.arguments {
            match argument {
                Argument::Path(path) => names.extend(path.variable()),
                Argument::Invocation(intrinsic) => intrinsic.collect_variables(names),
                Argument::Literal(_) | Argument::Text(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
