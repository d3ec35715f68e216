//! Objects put together of payloads, and payloads taken apart into members.
//!
//! Every member is *compact*: its text is what its value is written as. So the text of the whole is the texts of the members
//! with keys and commas between, byte for byte what writing the whole value would give.

use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::{Inner, Payload};

/// The members of an object, in order, each a payload.
#[derive(Clone, Default)]
pub struct Members(IndexMap<Arc<str>, Payload, RandomState>);

/// How large and how deep a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// About as many bytes as its value takes in memory.
    pub bytes: usize,
    /// How many arrays and objects nest; 0 of a scalar.
    pub depth: usize,
}

/// What a member of an object takes besides key and value.
const MEMBER_BYTES: usize = 48;

impl Members {
    /// None yet, with room for so many.
    pub fn with_capacity(members: usize) -> Members {
        Members(IndexMap::with_capacity_and_hasher(members, RandomState::default()))
    }

    /// The payload of a member.
    pub fn get(&self, name: &str) -> Option<&Payload> {
        self.0.get(name)
    }

    /// Adds a member, or replaces one in its place.
    pub fn insert(&mut self, name: Arc<str>, payload: &Payload) {
        self.0.insert(name, payload.compact());
    }

    /// Names and payloads, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &Payload)> {
        self.0.iter()
    }

    /// The length of the whole text.
    pub(super) fn text_length(&self) -> usize {
        let members = self.0.iter().map(|(name, member)| key_length(name) + 1 + member.len()).sum::<usize>();
        members + self.0.len().saturating_sub(1) + 2
    }

    /// Writes the whole text. Members that are put together themselves keep no text of their own for it.
    pub(super) fn write(&self, text: &mut String) {
        let mut separator = '{';
        for (name, member) in &self.0 {
            text.push(separator);
            push_key(text, name);
            text.push(':');
            match (member.0.text.get(), member.0.members.get()) {
                (None, Some(Some(members))) => members.write(text),
                _ => text.push_str(member.text()),
            }
            separator = ',';
        }
        if self.0.is_empty() {
            text.push('{');
        }
        text.push('}');
    }

    fn split(object: Map<String, Value>) -> Members {
        let members = object.into_iter();
        Members(members.map(|(name, value)| (name.into(), Payload::from_value(value))).collect())
    }
}

impl FromIterator<(Arc<str>, Payload)> for Members {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Payload)>>(members: I) -> Members {
        Members(members.into_iter().map(|(name, member)| (name, member.compact())).collect())
    }
}

impl Payload {
    /// The object of these members, which are shared.
    pub fn from_members(members: Members) -> Payload {
        Payload(Arc::new(Inner { members: OnceLock::from(Some(Box::new(members))), ..Inner::default() }))
    }

    /// The members, if this is an object. Of a payload that is held as a value only, they are copies, made once.
    pub fn members(&self) -> Option<&Members> {
        let members = self.0.members.get_or_init(|| {
            let object = match self.0.value.get().map(|value| &**value) {
                Some(Value::Object(object)) => object.clone(),
                Some(_) => return None,
                None if !self.text().trim_start().starts_with('{') => return None,
                None => match self.parsed() {
                    Value::Object(object) => object,
                    _ => return None,
                },
            };
            Some(Box::new(Members::split(object)))
        });
        members.as_deref()
    }

    /// The members, if they are there or come with the one parse that looking into the payload takes anyway.
    pub fn members_at_hand(&self) -> Option<&Members> {
        let only_as_value = self.0.value.get().is_some() && self.0.members.get().is_none();
        if only_as_value { None } else { self.members() }
    }

    /// How large and how deep it is, found out once.
    pub fn extent(&self) -> Extent {
        *self.0.extent.get_or_init(|| match self.members_at_hand() {
            Some(members) => members.iter().fold(CONTAINER, |whole, (name, member)| {
                let member = member.extent();
                whole.around(Extent { bytes: MEMBER_BYTES + name.len() + member.bytes, ..member })
            }),
            None => extent_of(self.value()),
        })
    }

    /// The same JSON as values are written: itself, unless its text came from outside.
    pub(crate) fn compact(&self) -> Payload {
        if !self.0.raw {
            return self.clone();
        }
        let compact = self.0.compact.get_or_init(|| match self.members() {
            Some(members) => Payload::from_members(members.clone()),
            None => Payload::from_value(self.value().clone()),
        });
        compact.clone()
    }
}

/// An array or object without items.
const CONTAINER: Extent = Extent { bytes: std::mem::size_of::<Value>(), depth: 1 };

impl Extent {
    fn around(self, item: Extent) -> Extent {
        Extent { bytes: self.bytes.saturating_add(item.bytes), depth: self.depth.max(item.depth + 1) }
    }
}

fn extent_of(value: &Value) -> Extent {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Extent { depth: 0, ..CONTAINER },
        Value::String(text) => Extent { bytes: CONTAINER.bytes + text.len(), depth: 0 },
        Value::Array(items) => items.iter().map(extent_of).fold(CONTAINER, Extent::around),
        Value::Object(object) => object.iter().fold(CONTAINER, |whole, (name, item)| {
            let item = extent_of(item);
            whole.around(Extent { bytes: MEMBER_BYTES + name.len() + item.bytes, ..item })
        }),
    }
}

pub(super) fn to_value(members: &Members) -> Value {
    Value::Object(members.iter().map(|(name, member)| (name.to_string(), member.value().clone())).collect())
}

/// Whether JSON writes a key as it is, between quotes.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
}

fn key_length(name: &str) -> usize {
    if is_plain(name) { name.len() + 2 } else { Value::from(name).to_string().len() }
}

fn push_key(text: &mut String, name: &str) {
    if is_plain(name) {
        text.push('"');
        text.push_str(name);
        text.push('"');
    } else {
        text.push_str(&Value::from(name).to_string());
    }
}
