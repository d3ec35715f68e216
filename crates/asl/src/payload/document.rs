//! What a path walks into: a value, or a payload whose members may be payloads.

use std::borrow::Cow;

use serde_json::Value;

use super::Payload;

/// A borrowed document. As long as a way into it leads through payloads, what is found can be shared instead of copied.
#[derive(Clone, Copy)]
pub enum Document<'a> {
    /// A payload.
    Payload(&'a Payload),
    /// A part of one, or a value made for the moment.
    Value(&'a Value),
}

impl<'a> Document<'a> {
    /// Its value.
    pub fn value(self) -> &'a Value {
        match self {
            Document::Payload(payload) => payload.value(),
            Document::Value(value) => value,
        }
    }

    /// Whether it is an object, and its member of this name. `None` if it is no object.
    pub fn member(self, name: &str) -> Option<Option<Document<'a>>> {
        if let Document::Payload(payload) = self
            && let Some(members) = payload.members_at_hand()
        {
            return Some(members.get(name).map(Document::Payload));
        }
        self.value().as_object().map(|object| object.get(name).map(Document::Value))
    }
}

impl<'a> From<Document<'a>> for Cow<'a, Value> {
    fn from(document: Document<'a>) -> Cow<'a, Value> {
        Cow::Borrowed(document.value())
    }
}

/// What is found is shared if it is a payload, and copied otherwise.
impl From<Document<'_>> for Payload {
    fn from(document: Document<'_>) -> Payload {
        match document {
            Document::Payload(payload) => payload.clone(),
            Document::Value(value) => Payload::from_value(value.clone()),
        }
    }
}
