//! What functions below a value refer to, with the places where they do.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::single;

/// A name that a function uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    /// JSON pointer below the value that was searched.
    pub path: String,
    /// Parameter or resource.
    pub name: String,
    /// What `Fn::GetAtt` or `${Name.Attribute}` asks of it.
    pub attribute: Option<String>,
}

/// Every parameter, pseudo parameter and resource that functions below `value` refer to. What `Fn::If` does not choose is
/// not looked at.
pub(crate) fn mentioned(value: &Value, conditions: &BTreeMap<String, bool>) -> Vec<Mention> {
    let mut found = Vec::new();
    search(value, "", conditions, &mut found);
    found
}

fn search(value: &Value, path: &str, conditions: &BTreeMap<String, bool>, found: &mut Vec<Mention>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                search(item, &format!("{path}/{index}"), conditions, found);
            }
        }
        Value::Object(members) => {
            if let Some(("Fn::If", Value::Array(parts))) = single(members)
                && let Some(truth) =
                    parts.first().and_then(Value::as_str).and_then(|name| conditions.get(name))
            {
                let index = if *truth { 1 } else { 2 };
                let chosen = parts.get(index).unwrap_or(&Value::Null);
                return search(chosen, &format!("{path}/Fn::If/{index}"), conditions, found);
            }
            own(members, path, found);
            for (name, member) in members {
                search(member, &format!("{path}/{name}"), conditions, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn own(members: &Map<String, Value>, path: &str, found: &mut Vec<Mention>) {
    let mut add = |name: &str, attribute: Option<&str>| {
        let mention = Mention {
            path: path.to_string(),
            name: name.trim().to_string(),
            attribute: attribute.map(|attribute| attribute.trim().to_string()),
        };
        found.push(mention);
    };
    let dotted = |text: &str| {
        text.split_once('.')
            .map(|(name, attribute)| (name.to_string(), Some(attribute.to_string())))
            .unwrap_or((text.to_string(), None))
    };
    match single(members) {
        Some(("Ref", Value::String(name))) => add(name, None),
        Some(("Fn::GetAtt", Value::Array(parts))) => {
            let name = parts.first().and_then(Value::as_str).unwrap_or_default();
            add(name, parts.get(1).and_then(Value::as_str));
        }
        Some(("Fn::GetAtt", Value::String(text))) => {
            let (name, attribute) = dotted(text);
            add(&name, attribute.as_deref());
        }
        Some(("Fn::Sub", argument)) => {
            let template = argument.as_str().or_else(|| argument[0].as_str()).unwrap_or_default();
            let names = template.split("${").skip(1).filter_map(|part| part.split('}').next());
            // `${!Literal}` is text, and names of the function's own map are no resources.
            for text in names.filter(|name| !name.starts_with('!') && argument[1].get(name.trim()).is_none())
            {
                let (name, attribute) = dotted(text);
                add(&name, attribute.as_deref());
            }
        }
        _ => {}
    }
}
