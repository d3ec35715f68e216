//! Payloads: immutable JSON that is shared, never copied.
//!
//! A [`Payload`] holds JSON text, a parsed value, or both; each is made from the other at most once,
//! when somebody asks. Cloning one is an atomic increment, so a state's output that becomes the next
//! state's input is stored once and is neither parsed nor written again on the way.
//! Text that a payload was parsed from is kept as it came, white space included, because AWS shows
//! inputs as they were sent. It has no size limit of its own: the quota belongs to the caller.

use std::sync::{Arc, LazyLock, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::json_syntax;
pub use crate::json_syntax::{DEPTH_MAX, JsonError};

/// Immutable, shared JSON.
#[derive(Clone)]
pub struct Payload(Arc<Inner>);

/// At least one of the two is set from the start.
struct Inner {
    text: OnceLock<Box<str>>,
    value: OnceLock<Value>,
}

static EMPTY_OBJECT: LazyLock<Payload> = LazyLock::new(|| Payload::trusted("{}".into()));
static NULL: LazyLock<Payload> = LazyLock::new(|| Payload::from_value(Value::Null));

impl Payload {
    /// Takes JSON text after checking it whole, including its depth ([`DEPTH_MAX`]).
    pub fn parse(text: impl Into<Box<str>>) -> Result<Payload, JsonError> {
        let text = text.into();
        json_syntax::check(&text)?;
        Ok(Payload::trusted(text))
    }

    /// Takes a value; its text is written when first asked for.
    pub fn from_value(value: Value) -> Payload {
        Payload(Arc::new(Inner { text: OnceLock::new(), value: OnceLock::from(value) }))
    }

    /// The payload `{}`, always the same one.
    pub fn empty_object() -> Payload {
        EMPTY_OBJECT.clone()
    }

    /// The payload `null`, always the same one.
    pub fn null() -> Payload {
        NULL.clone()
    }

    /// The parsed value.
    pub fn value(&self) -> &Value {
        self.0.value.get_or_init(|| {
            // The text was checked by a stricter grammar than serde_json's, so this cannot fail.
            serde_json::from_str(self.text()).unwrap_or(Value::Null)
        })
    }

    /// The JSON text: as it was parsed, or compact if the payload was made from a value.
    pub fn text(&self) -> &str {
        self.0.text.get_or_init(|| match self.0.value.get() {
            // Writing a `Value` to memory cannot fail; Display is the same compact text.
            Some(value) => value.to_string().into_boxed_str(),
            None => "null".into(),
        })
    }

    /// The length of the text in bytes of UTF-8, which is what AWS's quotas count.
    pub fn len(&self) -> usize {
        self.text().len()
    }

    /// Whether the text is empty, which it never is: no JSON is.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether both are the same shared bytes. `false` says nothing about their values.
    pub fn same(&self, other: &Payload) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn trusted(text: Box<str>) -> Payload {
        Payload(Arc::new(Inner { text: OnceLock::from(text), value: OnceLock::new() }))
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Payload) -> bool {
        if self.same(other) {
            return true;
        }
        match (self.0.text.get(), other.0.text.get()) {
            (Some(mine), Some(theirs)) if mine == theirs => true,
            _ => self.value() == other.value(),
        }
    }
}

impl Eq for Payload {}

impl Default for Payload {
    fn default() -> Payload {
        Payload::empty_object()
    }
}

impl From<Value> for Payload {
    fn from(value: Value) -> Payload {
        Payload::from_value(value)
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::fmt::Display for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Payload, D::Error> {
        let text = String::deserialize(deserializer)?;
        Payload::parse(text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_kept_as_it_came_and_value_is_made_once() {
        let payload = Payload::parse("{ \"a\" : [1, 2.50] }").unwrap();
        assert_eq!(payload.text(), "{ \"a\" : [1, 2.50] }");
        assert_eq!(payload.value(), &json!({"a": [1, 2.5]}));
        assert!(std::ptr::eq(payload.value(), payload.clone().value()));
        assert_eq!(payload, Payload::from_value(json!({"a": [1, 2.5]})));
        assert_ne!(payload, Payload::empty_object());
    }

    #[test]
    fn a_value_is_written_compactly_and_in_order() {
        let payload = Payload::from_value(json!({"b": 1, "a": [null, "é"]}));
        assert_eq!(payload.text(), "{\"b\":1,\"a\":[null,\"é\"]}");
        assert_eq!(payload.len(), 23);
    }

    #[test]
    fn serde_carries_the_text() {
        let payload = Payload::parse("[1, 2]").unwrap();
        let written = serde_json::to_string(&payload).unwrap();
        assert_eq!(written, "\"[1, 2]\"");
        assert_eq!(serde_json::from_str::<Payload>(&written).unwrap(), payload);
        assert!(serde_json::from_str::<Payload>("\"{\"").is_err());
    }
}
