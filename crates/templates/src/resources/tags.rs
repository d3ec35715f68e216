//! Tags: what a change takes away and what it puts.

use serde_json::{Map, Value, json};

use crate::intrinsics::text;
use crate::stack::StackResource;

/// The tags of a resource, given as pairs or as a map.
pub(super) fn tag_map(properties: &Value) -> Map<String, Value> {
    match &properties["Tags"] {
        Value::Array(tags) => tags
            .iter()
            .filter_map(|tag| Some((tag["Key"].as_str()?.to_string(), tag["Value"].clone())))
            .collect(),
        Value::Object(tags) => tags.clone(),
        _ => Map::new(),
    }
}

/// The difference between two sets of tags.
pub(super) struct TagChange {
    /// Keys to be taken away.
    pub gone: Vec<String>,
    /// Tags to be put; empty when none differs.
    pub put: Map<String, Value>,
}

impl TagChange {
    pub fn of(current: &StackResource, properties: &Value) -> TagChange {
        let (old, new) = (tag_map(&current.properties), tag_map(properties));
        let gone = old.keys().filter(|key| !new.contains_key(*key)).cloned().collect();
        let put = new.into_iter().filter(|(key, value)| current.half_changed || old.get(key) != Some(value));
        TagChange { gone, put: put.collect() }
    }
}

/// `[{"Key": …, "Value": …}]`, with the members named as the service does.
pub(super) fn pairs(tags: &Map<String, Value>, key: &str, value: &str) -> Value {
    tags.iter().map(|(name, content)| json!({ key: name, value: text(content) })).collect()
}

/// The fields of a form: `Tags.member.N.Key` and `.Value`.
pub(super) fn fields(tags: &Map<String, Value>) -> Vec<(String, String)> {
    let field = |(index, (key, value)): (usize, (&String, &Value))| {
        let path = format!("Tags.member.{}", index + 1);
        [(format!("{path}.Key"), key.clone()), (format!("{path}.Value"), text(value))]
    };
    tags.iter().enumerate().flat_map(field).collect()
}

/// The fields of a form: `TagKeys.member.N`.
pub(super) fn key_fields(keys: &[String]) -> Vec<(String, String)> {
    let field = |(index, key): (usize, &String)| (format!("TagKeys.member.{}", index + 1), key.clone());
    keys.iter().enumerate().map(field).collect()
}
