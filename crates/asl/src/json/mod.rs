//! JSON that remembers where it stands: each key and value with its bytes in the text.
//!
//! The grammar itself is checked by [`crate::json_syntax`] (with AWS's error texts) before anything is
//! built, so the reader only walks text that is known to be well-formed, at a bounded depth. Members keep
//! their order and duplicates; [`Object::get`] answers like Jackson, with the last one.
//! It is for definitions only: payloads are never read with spans.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_json::{Map, Number, Value};

use crate::json_syntax::{self, JsonError};

mod reader;

/// A value and its place in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The bytes it takes.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

/// The seven kinds of JSON values (`true` and `false` are one).
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number as serde_json holds it.
    Number(Number),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Node>),
    /// An object.
    Object(Object),
}

/// The members of an object, in order, duplicates included.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object {
    /// As written.
    pub members: Vec<Member>,
}

/// `"key": value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The key, unescaped.
    pub key: String,
    /// The bytes of the key, quotes included.
    pub key_span: Range<usize>,
    /// The value.
    pub value: Node,
}

/// Reads a whole JSON text.
pub fn read(text: &str) -> Result<Node, JsonError> {
    json_syntax::check(text)?;
    Ok(reader::Reader::new(text).document())
}

impl Node {
    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub fn as_object(&self) -> Option<&Object> {
        match &self.kind {
            Kind::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    pub fn as_array(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }

    /// Whether no object in it has a key twice.
    pub fn has_no_duplicates(&self) -> bool {
        match &self.kind {
            Kind::Array(elements) => elements.iter().all(Node::has_no_duplicates),
            Kind::Object(object) => {
                object.duplicates().next().is_none()
                    && object.members.iter().all(|member| member.value.has_no_duplicates())
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => true,
        }
    }

    /// The same value without places.
    pub fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(number) => Value::Number(number.clone()),
            Kind::String(text) => Value::String(text.clone()),
            Kind::Array(elements) => Value::Array(elements.iter().map(Node::to_value).collect()),
            Kind::Object(object) => Value::Object(object.to_map()),
        }
    }
}

impl Object {
    /// The value of a key; the last one if the key is there twice.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.member(key).map(|member| &member.value)
    }

    /// Key and value; the last one if the key is there twice.
    pub fn member(&self, key: &str) -> Option<&Member> {
        self.members.iter().rev().find(|member| member.key == key)
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.member(key).is_some()
    }

    /// The members that count: of equal keys only the last.
    pub fn effective(&self) -> impl Iterator<Item = &Member> {
        let last: HashMap<&str, usize> =
            self.members.iter().enumerate().map(|(index, member)| (member.key.as_str(), index)).collect();
        let members = self.members.iter().enumerate();
        members.filter(move |(index, member)| last[member.key.as_str()] == *index).map(|(_, member)| member)
    }

    /// The members whose key was there before.
    pub fn duplicates(&self) -> impl Iterator<Item = &Member> {
        let mut seen = HashSet::new();
        self.members.iter().filter(move |member| !seen.insert(member.key.as_str()))
    }

    /// The same object without places.
    pub fn to_map(&self) -> Map<String, Value> {
        self.members.iter().map(|member| (member.key.clone(), member.value.to_value())).collect()
    }
}
