//! JSONPath in the dialect AWS follows: that of Jayway, quirks and error texts included.
//!
//! A path is compiled once and evaluated by reference; only values that a path itself builds (merged
//! properties, results of functions) are owned. What matters to ASL is whether a path is *definite*:
//! a definite one gives one value or an error, an indefinite one a list that may be empty.
//! What AWS forbids on top (functions, regular expressions, set operators) is told by
//! [`JsonPath::restriction`], since the grammar itself knows it.

mod characters;
mod evaluate;
mod filter;
mod filter_parse;
mod functions;
mod java;
mod parse;
mod reference;
mod scope_path;

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

pub(crate) use evaluate::{fits, fits_within};
pub use java::java_string;
pub use reference::ResultPathMatchFailure;
pub use scope_path::{PathSource, ScopePath};

use crate::payload::Document;
use filter::Expression;
use functions::Function;

/// A compiled path such as `$.orders[?(@.total > 10)].id`.
#[derive(Debug, Clone)]
pub struct JsonPath {
    tokens: Vec<Token>,
    /// Written back from the tokens, in brackets, as error messages show it.
    canonical: String,
    definite: bool,
    root: Root,
    /// The text it was parsed from.
    text: String,
}

/// What a path starts from inside a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    /// `$`
    Document,
    /// `@`
    Item,
}

#[derive(Debug, Clone)]
enum Token {
    /// `.name`, `['name']`, `['a','b']`
    Properties { names: Vec<String>, quote: char },
    /// `[0]`, `[0,2]`
    Indexes(Vec<i32>),
    /// `[1:]`, `[:2]`, `[1:2]`
    Slice { from: Option<i32>, to: Option<i32> },
    /// `*`
    Wildcard,
    /// `..`
    Scan,
    /// `[?(…)]`
    Filter(Box<Expression>),
    /// `.length()`
    Function(Box<Function>),
}

/// What a path found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<'a> {
    /// The one value of a definite path.
    One(Cow<'a, Value>),
    /// The values of an indefinite path, in document order.
    Many(Vec<Cow<'a, Value>>),
}

impl<'a> Found<'a> {
    /// The value as AWS passes it on: what an indefinite path found is an array.
    pub fn into_value(self) -> Value {
        self.into_cow().into_owned()
    }

    /// As [`Found::into_value`], borrowed where the document holds the value.
    pub fn into_cow(self) -> Cow<'a, Value> {
        match self {
            Found::One(value) => value,
            Found::Many(values) => {
                Cow::Owned(Value::Array(values.into_iter().map(Cow::into_owned).collect()))
            }
        }
    }
}

/// Why a path could not be compiled or found nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The text is not a path (Jayway's `InvalidPathException`).
    #[error("{0}")]
    Invalid(String),
    /// The document has nothing there (Jayway's `PathNotFoundException`).
    #[error("{0}")]
    NotFound(String),
    /// A function or operator could not be applied (Jayway's `JsonPathException`).
    #[error("{0}")]
    Failed(String),
}

impl PathError {
    /// The class of Jayway's exception.
    pub fn exception(&self) -> &'static str {
        match self {
            PathError::Invalid(_) => "InvalidPathException",
            PathError::NotFound(_) => "PathNotFoundException",
            PathError::Failed(_) => "JsonPathException",
        }
    }
}

/// What Jayway knows and AWS refuses when a state machine is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restriction {
    /// `.length()` and its like.
    Function,
    /// `=~`
    RegularExpression,
    /// `subsetof`, `anyof`, `noneof`
    SetOperator,
}

impl JsonPath {
    /// Compiles a path. A text without leading `$` is read as if `$.` preceded it, as Jayway does.
    pub fn parse(text: &str) -> Result<JsonPath, PathError> {
        parse::path(text)
    }

    /// Whether the path gives exactly one value (or an error), never a list.
    pub fn is_definite(&self) -> bool {
        self.definite
    }

    /// Whether this is a Reference Path of ASL: only single names and single indexes.
    pub fn is_reference_path(&self) -> bool {
        self.tokens.iter().all(|token| match token {
            Token::Properties { names, .. } => names.len() == 1,
            Token::Indexes(indexes) => indexes.len() == 1 && indexes[0] >= 0,
            Token::Slice { .. } | Token::Wildcard | Token::Scan | Token::Filter(_) | Token::Function(_) => {
                false
            }
        })
    }

    /// Whether this is `$`, the whole document.
    pub fn is_root(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The first thing in the path that AWS does not accept.
    pub fn restriction(&self) -> Option<Restriction> {
        self.tokens.iter().find_map(|token| match token {
            Token::Function(_) => Some(Restriction::Function),
            Token::Filter(expression) => expression.restriction(),
            _ => None,
        })
    }

    /// Finds what the path names in a document.
    pub fn evaluate<'a>(&self, document: &'a Value) -> Result<Found<'a>, PathError> {
        self.evaluate_in(Document::Value(document))
    }

    /// Finds what the path names in a payload or value.
    pub fn evaluate_in<'a>(&self, document: Document<'a>) -> Result<Found<'a>, PathError> {
        evaluate::find(self, document, document, &evaluate::Budget::new())
    }

    /// The names, if the path is single names only.
    fn names(&self) -> Option<impl Iterator<Item = &str>> {
        let name = |token: &Token| matches!(token, Token::Properties { names, .. } if names.len() == 1);
        self.tokens.iter().all(name).then(|| {
            self.tokens.iter().filter_map(|token| match token {
                Token::Properties { names, .. } => names.first().map(String::as_str),
                _ => None,
            })
        })
    }

    /// The path in brackets, as error messages show it: `$['a'][0]`.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The path as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn new(text: &str, root: Root, tokens: Vec<Token>) -> JsonPath {
        let mut canonical = String::from(if root == Root::Document { "$" } else { "@" });
        for token in &tokens {
            canonical.push_str(&token.to_string());
        }
        let last = tokens.len().saturating_sub(1);
        let definite = tokens.iter().enumerate().all(|(index, token)| token.is_definite(index == last));
        JsonPath { tokens, canonical, definite, root, text: text.to_owned() }
    }
}

impl PartialEq for JsonPath {
    fn eq(&self, other: &JsonPath) -> bool {
        self.canonical == other.canonical
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical)
    }
}

impl Token {
    /// Several properties are merged into one object when they come last.
    fn is_definite(&self, last: bool) -> bool {
        match self {
            Token::Properties { names, .. } => last || names.len() == 1,
            Token::Indexes(indexes) => indexes.len() == 1,
            Token::Function(_) => true,
            Token::Slice { .. } | Token::Wildcard | Token::Scan | Token::Filter(_) => false,
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Properties { names, quote } => {
                let quoted: Vec<_> = names.iter().map(|name| format!("{quote}{name}{quote}")).collect();
                write!(f, "[{}]", quoted.join(","))
            }
            Token::Indexes(indexes) => {
                let indexes: Vec<_> = indexes.iter().map(i32::to_string).collect();
                write!(f, "[{}]", indexes.join(","))
            }
            Token::Slice { from, to } => {
                let number = |bound: &Option<i32>| bound.map(|bound| bound.to_string()).unwrap_or_default();
                write!(f, "[{}:{}]", number(from), number(to))
            }
            Token::Wildcard => f.write_str("[*]"),
            Token::Scan => f.write_str(".."),
            Token::Filter(_) => f.write_str("[?]"),
            Token::Function(function) => write!(f, ".{}()", function.name()),
        }
    }
}

#[cfg(test)]
mod tests;
