//! What an expression can see: the input, the context object and the variables.
//!
//! Everything is borrowed; evaluation copies only what it returns.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::payload::{Document, Payload};

/// The variables visible to a state, by name without the leading `$`.
pub trait Variables {
    /// The value of a variable, if it was assigned.
    fn get(&self, name: &str) -> Option<&Value>;

    /// The same to walk into, with its parts to be shared where it is a payload.
    fn document(&self, name: &str) -> Option<Document<'_>> {
        self.get(name).map(Document::Value)
    }
}

/// No variables.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoVariables;

impl Variables for NoVariables {
    fn get(&self, _name: &str) -> Option<&Value> {
        None
    }
}

impl Variables for BTreeMap<String, Value> {
    fn get(&self, name: &str) -> Option<&Value> {
        BTreeMap::get(self, name)
    }
}

impl Variables for BTreeMap<String, Payload> {
    fn get(&self, name: &str) -> Option<&Value> {
        BTreeMap::get(self, name).map(Payload::value)
    }

    fn document(&self, name: &str) -> Option<Document<'_>> {
        BTreeMap::get(self, name).map(Document::Payload)
    }
}

impl Variables for serde_json::Map<String, Value> {
    fn get(&self, name: &str) -> Option<&Value> {
        serde_json::Map::get(self, name)
    }
}

/// What a path or an intrinsic function of the JSONPath query language sees.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// `$`
    pub input: &'a Payload,
    /// `$$`
    pub context: &'a Value,
    /// `$name`
    pub variables: &'a dyn Variables,
}
