//! Members of a request that has already passed the model's constraints.

use std::sync::Arc;

use runtime::PageRequest;
use serde_json::Value;

/// A checked request.
pub(crate) struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    pub fn new(body: &'a Value) -> Fields<'a> {
        Fields(body)
    }
    /// A member; null counts as absent.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }
    /// A string that the model requires, or an empty one.
    pub fn text(&self, name: &str) -> &'a str {
        self.get(name).and_then(Value::as_str).unwrap_or_default()
    }
    pub fn optional(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(Value::as_str)
    }
    pub fn shared(&self, name: &str) -> Option<Arc<str>> {
        self.optional(name).map(Arc::from)
    }
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(Value::as_bool)
    }
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(Value::as_u64)
    }
    pub fn list(&self, name: &str) -> &'a [Value] {
        self.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }
    pub fn value(&self, name: &str) -> Option<Value> {
        self.get(name).cloned()
    }
    pub fn page(&self) -> PageRequest {
        let max_results = self.number("maxResults").and_then(|number| u32::try_from(number).ok());
        PageRequest { max_results, next_token: self.optional("nextToken").map(str::to_string) }
    }
    /// `[{key, value}]`.
    pub fn tags(&self, name: &str) -> Vec<(Arc<str>, Arc<str>)> {
        let text = |value: &Value| Arc::from(value.as_str().unwrap_or_default());
        self.list(name).iter().map(|tag| (text(&tag["key"]), text(&tag["value"]))).collect()
    }
}
