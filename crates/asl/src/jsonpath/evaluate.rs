//! Walks a document along a compiled path.
//!
//! Nothing is cloned on the way. Above the first indefinite token a missing step is an error; below
//! it, it only means that this branch finds nothing.

use std::borrow::Cow;
use std::cell::Cell;

use serde_json::{Map, Value};

use super::java::{java_class, java_string};
use super::{Found, JsonPath, PathError, Token};
use crate::payload::Document;

const PROVIDER: &str = "com.jayway.jsonpath.spi.json.JsonSmartJsonProvider";

/// The steps of one evaluation, those inside filters included: `$..*..*..*` takes powers of them.
const STEPS_MAX: u64 = 1_000_000;
/// What an indefinite path may find, in about as many bytes as it is when copied.
const FOUND_BYTES_MAX: usize = 32 << 20;
/// What a member of an object takes besides key and value.
const MEMBER_BYTES: usize = 48;

/// What is left of the steps of one evaluation, and of what it may find.
pub(super) struct Budget {
    steps: Cell<u64>,
    bytes: Cell<usize>,
}

impl Budget {
    pub(super) fn new() -> Budget {
        Budget { steps: Cell::new(STEPS_MAX), bytes: Cell::new(FOUND_BYTES_MAX) }
    }

    fn spend(&self) -> Result<(), PathError> {
        match self.steps.get().checked_sub(1) {
            Some(left) => {
                self.steps.set(left);
                Ok(())
            }
            None => Err(PathError::Failed("The path takes too many steps to evaluate".into())),
        }
    }

    /// Takes what a list of found values is when copied.
    fn take(&self, found: &[Cow<'_, Value>]) -> Result<(), PathError> {
        let mut bytes_left = self.bytes.get();
        let fits = found.iter().all(|value| fits(value, &mut bytes_left));
        self.bytes.set(bytes_left);
        if fits { Ok(()) } else { Err(PathError::Failed("The path finds too much".into())) }
    }
}

/// Finds `path` in `document`; `$` inside filters is `root`.
pub(super) fn find<'a>(
    path: &JsonPath,
    document: Document<'a>,
    root: Document<'a>,
    budget: &Budget,
) -> Result<Found<'a>, PathError> {
    let mut found = walk(path, document, root, budget)?;
    if !path.definite {
        budget.take(&found)?;
        return Ok(Found::Many(found));
    }
    match found.pop() {
        Some(value) => Ok(Found::One(value)),
        None => Err(PathError::NotFound(format!("No results for path: {}", path.canonical))),
    }
}

/// Whether `path` leads anywhere; an indefinite one always gives a list.
pub(super) fn exists(
    path: &JsonPath,
    document: Document<'_>,
    root: Document<'_>,
    budget: &Budget,
) -> Result<bool, PathError> {
    match walk(path, document, root, budget) {
        Ok(found) => Ok(!path.definite || !found.is_empty()),
        Err(PathError::NotFound(_)) => Ok(false),
        Err(other) => Err(other),
    }
}

fn walk<'a>(
    path: &JsonPath,
    document: Document<'a>,
    root: Document<'a>,
    budget: &Budget,
) -> Result<Vec<Cow<'a, Value>>, PathError> {
    let mut walk = Walk { path, root, budget, found: Vec::new() };
    walk.enter(0, document, &Trail::Root)?;
    Ok(walk.found)
}

/// How Jayway begins to say that a property on the way is not there.
pub(super) const MISSING_PROPERTY: &str = "Missing property in path";

struct Walk<'p, 'a> {
    path: &'p JsonPath,
    root: Document<'a>,
    budget: &'p Budget,
    found: Vec<Cow<'a, Value>>,
}

/// Whether a value can be copied within what is left.
pub(crate) fn fits(value: &Value, bytes_left: &mut usize) -> bool {
    fits_within(value, bytes_left, usize::MAX)
}

/// The same, and whether it nests no deeper than `depth_left` arrays and objects.
pub(crate) fn fits_within(value: &Value, bytes_left: &mut usize, depth_left: usize) -> bool {
    let own = std::mem::size_of::<Value>() + value.as_str().map_or(0, str::len);
    if !spend(bytes_left, own) {
        return false;
    }
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        Value::Array(_) | Value::Object(_) if depth_left == 0 => false,
        Value::Array(items) => items.iter().all(|item| fits_within(item, bytes_left, depth_left - 1)),
        Value::Object(object) => object.iter().all(|(key, item)| {
            spend(bytes_left, MEMBER_BYTES + key.len()) && fits_within(item, bytes_left, depth_left - 1)
        }),
    }
}

fn spend(bytes_left: &mut usize, bytes: usize) -> bool {
    let left = bytes_left.checked_sub(bytes);
    *bytes_left = left.unwrap_or(0);
    left.is_some()
}

/// The way from the root to the current value, written out only for an error.
enum Trail<'t> {
    Root,
    Property(&'t Trail<'t>, &'t str),
    Index(&'t Trail<'t>, i64),
}

impl std::fmt::Display for Trail<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trail::Root => f.write_str("$"),
            Trail::Property(parent, name) => write!(f, "{parent}['{name}']"),
            Trail::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

#[expect(clippy::ptr_arg, reason = "whether a value is borrowed decides whether its parts are")]
impl<'a> Walk<'_, 'a> {
    /// Applies the tokens from `at` on to a document whose parts need not be made into one value.
    fn enter(&mut self, at: usize, document: Document<'a>, trail: &Trail<'_>) -> Result<(), PathError> {
        let path = self.path;
        if let Document::Payload(payload) = document
            && let Some(Token::Properties { names, .. }) = path.tokens.get(at)
            && let [name] = names.as_slice()
            && let Some(members) = payload.members_at_hand()
        {
            self.budget.spend()?;
            let trail = Trail::Property(trail, name);
            return match members.get(name) {
                Some(member) => self.enter(at + 1, Document::Payload(member), &trail),
                None if at + 1 == path.tokens.len() => Ok(()),
                None => Err(PathError::NotFound(format!("{MISSING_PROPERTY} {trail}"))),
            };
        }
        self.walk(at, document.into(), trail, true)
    }

    /// Applies the tokens from `at` on. `definite` tells whether all tokens before were.
    fn walk(
        &mut self,
        at: usize,
        value: Cow<'a, Value>,
        trail: &Trail<'_>,
        definite: bool,
    ) -> Result<(), PathError> {
        self.budget.spend()?;
        let path = self.path;
        let Some(token) = path.tokens.get(at) else {
            self.found.push(value);
            return Ok(());
        };
        match token {
            Token::Properties { names, .. } => self.properties(at, names, value, trail, definite),
            Token::Indexes(indexes) => {
                if !self.is_array(at, &value, trail, definite)? {
                    return Ok(());
                }
                let definite = definite && indexes.len() == 1;
                indexes.iter().try_for_each(|&index| self.index(at, index.into(), &value, trail, definite))
            }
            Token::Slice { from, to } => {
                if !self.is_array(at, &value, trail, definite)? {
                    return Ok(());
                }
                slice(*from, *to, length(&value))
                    .try_for_each(|index| self.index(at, index, &value, trail, false))
            }
            Token::Wildcard => self.children(at + 1, &value, trail),
            Token::Scan => self.scan(at + 1, value, trail),
            Token::Filter(filter) => match value.as_ref() {
                Value::Array(items) => {
                    for (index, item) in (0..).zip(items) {
                        if filter.accepts(item, self.root, self.budget)? {
                            self.index(at, index, &value, trail, false)?;
                        }
                    }
                    Ok(())
                }
                Value::Object(_) if filter.accepts(&value, self.root, self.budget)? => {
                    self.walk(at + 1, value, trail, false)
                }
                Value::Object(_) => Ok(()),
                primitive if definite => Err(PathError::Invalid(format!(
                    "Filter: {} can not be applied to primitives. Current context is: {}",
                    self.rest(at),
                    java_string(primitive)
                ))),
                _ => Ok(()),
            },
            Token::Function(function) => {
                let result = function.apply(&value, self.root, self.budget)?;
                self.walk(at + 1, Cow::Owned(result), trail, definite)
            }
        }
    }

    fn properties(
        &mut self,
        at: usize,
        names: &[String],
        value: Cow<'a, Value>,
        trail: &Trail<'_>,
        definite: bool,
    ) -> Result<(), PathError> {
        let Value::Object(object) = value.as_ref() else {
            if !definite {
                return Ok(());
            }
            return Err(PathError::NotFound(format!(
                "Expected to find an object with property {} in path {trail} but found '{}'. This is not a json \
                 object according to the JsonProvider: '{PROVIDER}'.",
                self.path.tokens[at],
                java_class(&value),
            )));
        };
        let last = at + 1 == self.path.tokens.len();
        if last && names.len() > 1 {
            let mut merged = Map::new();
            for name in names {
                if let Some(value) = object.get(name) {
                    merged.insert(name.clone(), value.clone());
                }
            }
            self.found.push(Cow::Owned(Value::Object(merged)));
            return Ok(());
        }
        let definite = definite && names.len() == 1;
        for name in names {
            let trail = Trail::Property(trail, name);
            match child(&value, |value| value.get(name)) {
                Some(child) => self.walk(at + 1, child, &trail, definite)?,
                None if last || !definite => {}
                None => return Err(PathError::NotFound(format!("{MISSING_PROPERTY} {trail}"))),
            }
        }
        Ok(())
    }

    fn index(
        &mut self,
        at: usize,
        index: i64,
        array: &Cow<'a, Value>,
        trail: &Trail<'_>,
        definite: bool,
    ) -> Result<(), PathError> {
        let effective = if index < 0 { length(array) + index } else { index };
        let Ok(effective) = usize::try_from(effective) else {
            return Ok(());
        };
        match child(array, |array| array.get(effective)) {
            Some(child) => self.walk(at + 1, child, &Trail::Index(trail, index), definite),
            None => Ok(()),
        }
    }

    /// Whether tokens for arrays apply here; a value of another kind is an error on a definite way.
    fn is_array(
        &self,
        at: usize,
        value: &Value,
        trail: &Trail<'_>,
        definite: bool,
    ) -> Result<bool, PathError> {
        match value {
            Value::Array(_) => Ok(true),
            _ if !definite => Ok(false),
            Value::Null => Err(PathError::NotFound(format!("The path {trail} is null"))),
            other => Err(PathError::NotFound(format!(
                "Filter: {} can only be applied to arrays. Current context is: {}",
                self.rest(at),
                java_string(other)
            ))),
        }
    }

    /// Goes on at every child of an array or object.
    fn children(&mut self, next: usize, value: &Cow<'a, Value>, trail: &Trail<'_>) -> Result<(), PathError> {
        match value.as_ref() {
            Value::Array(items) => {
                for index in 0..items.len() {
                    if let Some(item) = child(value, |value| value.get(index)) {
                        self.walk(next, item, &Trail::Index(trail, index as i64), false)?;
                    }
                }
            }
            Value::Object(object) => {
                for name in object.keys() {
                    if let Some(item) = child(value, |value| value.get(name)) {
                        self.walk(next, item, &Trail::Property(trail, name), false)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Applies the token at `next` to this value and to everything below it.
    fn scan(&mut self, next: usize, value: Cow<'a, Value>, trail: &Trail<'_>) -> Result<(), PathError> {
        self.budget.spend()?;
        let applies = match self.path.tokens.get(next) {
            Some(Token::Properties { names, .. }) => match value.as_ref() {
                Value::Object(object) => {
                    let last = next + 1 == self.path.tokens.len();
                    let all = names.iter().all(|name| object.contains_key(name));
                    all || !(last || names.len() == 1)
                }
                _ => false,
            },
            Some(Token::Indexes(_) | Token::Slice { .. }) => value.is_array(),
            Some(Token::Wildcard) => true,
            Some(Token::Filter(filter)) => filter.accepts(&value, self.root, self.budget)?,
            Some(Token::Scan | Token::Function(_)) | None => false,
        };
        if applies {
            self.walk(next, value.clone(), trail, false)?;
        }
        match value.as_ref() {
            Value::Array(items) => {
                for index in 0..items.len() {
                    if let Some(item) = child(&value, |value| value.get(index)) {
                        self.scan(next, item, &Trail::Index(trail, index as i64))?;
                    }
                }
            }
            Value::Object(object) => {
                for name in object.keys() {
                    if let Some(item) = child(&value, |value| value.get(name)) {
                        self.scan(next, item, &Trail::Property(trail, name))?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn rest(&self, at: usize) -> String {
        self.path.tokens[at..].iter().map(Token::to_string).collect()
    }
}

/// A part of a value, borrowed from the document if the value is.
fn child<'a>(value: &Cow<'a, Value>, part: impl Fn(&Value) -> Option<&Value>) -> Option<Cow<'a, Value>> {
    match value {
        Cow::Borrowed(value) => part(value).map(Cow::Borrowed),
        Cow::Owned(value) => part(value).cloned().map(Cow::Owned),
    }
}

fn length(value: &Value) -> i64 {
    value.as_array().map_or(0, |items| items.len() as i64)
}

/// The indexes of a slice. Jayway does not resolve a negative start of `[from:to]`; the single indexes
/// are then counted from the end one by one.
fn slice(from: Option<i32>, to: Option<i32>, length: i64) -> std::ops::Range<i64> {
    let from_end = |index: i64| if index < 0 { length + index } else { index };
    match (from.map(i64::from), to.map(i64::from)) {
        (Some(from), None) => from_end(from).max(0)..length,
        (None, Some(to)) => 0..from_end(to).min(length),
        (Some(from), Some(to)) if length > 0 => from.max(-length)..to.min(length),
        _ => 0..0,
    }
}
