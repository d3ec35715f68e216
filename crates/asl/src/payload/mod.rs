//! Payloads: immutable JSON that is shared, never copied.
//!
//! A [`Payload`] holds JSON text, a parsed value, or the payloads of an object's members; each is made from another at most
//! once, when somebody asks. Cloning one is an atomic increment, so a state's output that becomes the next state's input is
//! stored once and is neither parsed nor written again on the way. An object that was put together of payloads ([`Members`])
//! shares them: its length is a sum, and its text is theirs, strung together.
//!
//! Text that a payload was parsed from is kept as it came, white space included, because AWS shows inputs as they were sent;
//! inside of an object that is put together, payloads are written compactly, as every value is.
//! It has no size limit of its own: the quota belongs to the caller.

mod document;
mod members;

use std::sync::{Arc, LazyLock, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::json_syntax;
pub use crate::json_syntax::{DEPTH_MAX, JsonError};
pub use document::Document;
pub use members::{Extent, Members};

/// Immutable, shared JSON.
#[derive(Clone)]
pub struct Payload(Arc<Inner>);

/// At least one of text, value and members is set from the start.
#[derive(Default)]
struct Inner {
    text: OnceLock<Box<str>>,
    value: OnceLock<Box<Value>>,
    /// Of an object; `None` in it says that this is none.
    members: OnceLock<Option<Box<Members>>>,
    /// Of the text, where that is strung together only when it is wanted.
    length: OnceLock<usize>,
    extent: OnceLock<Extent>,
    /// The same as values are written, if the text came from outside.
    compact: OnceLock<Payload>,
    /// Whether the text came from outside.
    raw: bool,
}

static EMPTY_OBJECT: LazyLock<Payload> = LazyLock::new(|| Payload::from_members(Members::default()));
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
        Payload(Arc::new(Inner { value: OnceLock::from(Box::new(value)), ..Inner::default() }))
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
        self.0.value.get_or_init(|| match self.0.members.get() {
            Some(Some(members)) => Box::new(members::to_value(members)),
            _ => Box::new(self.parsed()),
        })
    }

    fn parsed(&self) -> Value {
        // The text was checked by a stricter grammar than serde_json's, so this cannot fail.
        serde_json::from_str(self.text()).unwrap_or(Value::Null)
    }

    /// The JSON text: as it was parsed, or compact if the payload was made from a value or of members.
    pub fn text(&self) -> &str {
        self.0.text.get_or_init(|| match (self.0.members.get(), self.0.value.get()) {
            (Some(Some(members)), _) => {
                let mut text = String::with_capacity(self.len());
                members.write(&mut text);
                text.into_boxed_str()
            }
            // Writing a `Value` to memory cannot fail. It is the text of its Display, at half the cost.
            (_, Some(value)) => serde_json::to_string(&**value).unwrap_or_default().into_boxed_str(),
            _ => "null".into(),
        })
    }

    /// The length of the text in bytes of UTF-8, which is what AWS's quotas count.
    pub fn len(&self) -> usize {
        match (self.0.text.get(), self.0.members.get()) {
            (Some(text), _) => text.len(),
            (None, Some(Some(members))) => *self.0.length.get_or_init(|| members.text_length()),
            (None, _) => self.text().len(),
        }
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
        Payload(Arc::new(Inner { text: OnceLock::from(text), raw: true, ..Inner::default() }))
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
    fn an_object_of_shared_members_is_written_as_its_value_is() {
        let raw = Payload::parse("{ \"n\": 2.50, \"n\": 1e2, \"t\": \"\\u00e9\" }").unwrap();
        let text = Payload::from_value(json!("say \"hi\"\n"));
        let members = [("a\"b", raw.clone()), ("é", text), ("none", Payload::empty_object())];
        let whole: Payload =
            Payload::from_members(members.into_iter().map(|(name, member)| (name.into(), member)).collect());
        let length = whole.len();
        assert_eq!(whole.text(), r#"{"a\"b":{"n":100.0,"t":"é"},"é":"say \"hi\"\n","none":{}}"#);
        assert_eq!(whole.text(), whole.value().to_string());
        assert_eq!(whole.len(), length);
        assert_eq!(raw.text().len(), raw.len());
        assert_eq!(whole.extent().depth, 2);
        assert!(
            whole
                .members()
                .is_some_and(|members| members.get("none").unwrap().same(&Payload::empty_object()))
        );
    }

    #[test]
    fn an_extent_is_the_same_however_a_payload_was_made() {
        let value = json!({"a": [1, {"b": "text"}], "c": {"d": {}}, "e": null});
        let parsed = Payload::parse(value.to_string()).unwrap();
        let split = Payload::parse(value.to_string()).unwrap();
        let members = split.members().unwrap().clone();
        let extents =
            [parsed, Payload::from_members(members), Payload::from_value(value)].map(|p| p.extent());
        assert_eq!(extents[0], extents[1]);
        assert_eq!(extents[1], extents[2]);
        assert_eq!(extents[0].depth, 3);
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
