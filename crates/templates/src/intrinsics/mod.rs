//! CloudFormation's functions: `Ref`, `Fn::GetAtt`, `Fn::Sub`, `Fn::If` and the rest.
//!
//! What depends on a resource that is still to be made is unknown while planning: a marker stands for it.

mod mentions;
mod network;

pub(crate) use mentions::{Mention, mentioned};

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// What functions can see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// Parameters and pseudo parameters by name.
    pub values: BTreeMap<String, Value>,
    /// Conditions, evaluated.
    pub conditions: BTreeMap<String, bool>,
    /// `Mappings`.
    pub mappings: Value,
    /// Physical ids of resources made so far (what `Ref` gives).
    pub references: BTreeMap<String, Value>,
    /// Attributes of resources made so far (what `Fn::GetAtt` gives).
    pub attributes: BTreeMap<String, Map<String, Value>>,
    /// Resources that are still to be made.
    pub unknown: BTreeSet<String>,
    /// Exports of other stacks.
    pub exports: BTreeMap<String, Value>,
}

/// A function that cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// JSON pointer of the place below the value that was to be evaluated.
    pub path: String,
    /// What is wrong.
    pub what: String,
}

impl<T: Into<String>> From<T> for Fault {
    fn from(what: T) -> Fault {
        Fault { path: String::new(), what: what.into() }
    }
}

impl Fault {
    fn below(mut self, segment: &dyn std::fmt::Display) -> Fault {
        self.path = format!("/{segment}{}", self.path);
        self
    }
}

pub(crate) type Evaluated<T> = Result<T, Fault>;

impl Scope {
    /// Evaluates every function below `value`; `AWS::NoValue` members vanish.
    pub fn resolve(&self, value: &Value) -> Evaluated<Value> {
        match value {
            Value::Array(items) => {
                let mut resolved = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    resolved.push(self.resolve(item).map_err(|fault| fault.below(&index))?);
                }
                resolved.retain(|item| !is_no_value(item));
                Ok(Value::Array(resolved))
            }
            Value::Object(members) => match single(members) {
                Some((name, argument)) if is_function(name, argument) => {
                    self.call(name, argument).map_err(|fault| fault.below(&name))
                }
                _ => {
                    let mut resolved = Map::new();
                    for (name, member) in members {
                        let member = self.resolve(member).map_err(|fault| fault.below(name))?;
                        if !is_no_value(&member) {
                            resolved.insert(name.clone(), member);
                        }
                    }
                    Ok(Value::Object(resolved))
                }
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(value.clone()),
        }
    }

    fn call(&self, name: &str, argument: &Value) -> Evaluated<Value> {
        match name {
            "Ref" => self.reference(argument.as_str().unwrap_or_default()),
            "Condition" => Ok(self.condition(argument.as_str().unwrap_or_default())?.into()),
            "Fn::GetAtt" => self.attribute(argument),
            "Fn::Sub" => self.substitute(argument),
            "Fn::Join" => self.join(argument),
            "Fn::Select" => self.select(argument),
            "Fn::Split" => self.split(argument),
            "Fn::If" => self.choose(argument),
            "Fn::FindInMap" => self.find_in_map(argument),
            "Fn::Base64" => {
                use base64::Engine;
                let text = self.text_of(argument)?;
                Ok(base64::engine::general_purpose::STANDARD.encode(text).into())
            }
            "Fn::GetAZs" => {
                let region = text(&self.reference("AWS::Region")?);
                Ok(["a", "b", "c"].iter().map(|zone| Value::from(format!("{region}{zone}"))).collect())
            }
            "Fn::ImportValue" => {
                let name = self.text_of(argument)?;
                let found = self.exports.get(&name).cloned();
                found.ok_or_else(|| format!("No export named {name} found.").into())
            }
            "Fn::Cidr" => self.cidr(argument),
            "Fn::Length" => {
                let list = self.resolve(argument)?;
                let list = list.as_array().ok_or("Fn::Length takes a list")?;
                Ok(list.len().into())
            }
            "Fn::ToJsonString" => Ok(self.resolve(argument)?.to_string().into()),
            "Fn::Equals" | "Fn::Not" | "Fn::And" | "Fn::Or" => Ok(self.test(name, argument)?.into()),
            other => Err(format!("the function {other} is not supported").into()),
        }
    }

    fn text_of(&self, argument: &Value) -> Evaluated<String> {
        Ok(text(&self.resolve(argument)?))
    }

    fn parts<'v>(&self, argument: &'v Value, name: &str, count: usize) -> Evaluated<&'v [Value]> {
        match argument.as_array() {
            Some(items) if items.len() == count => Ok(items),
            _ => Err(format!("{name} takes a list of {count} values").into()),
        }
    }

    pub(crate) fn reference(&self, name: &str) -> Evaluated<Value> {
        if name == "AWS::NoValue" {
            return Ok(no_value());
        }
        if self.unknown.contains(name) {
            return Ok(unknown(name));
        }
        let found = self.values.get(name).or_else(|| self.references.get(name));
        found
            .cloned()
            .ok_or_else(|| format!("Ref to {name}, which is neither a parameter nor a resource").into())
    }

    fn attribute(&self, argument: &Value) -> Evaluated<Value> {
        let (id, name) = match argument {
            Value::String(dotted) => {
                let (id, name) = dotted.split_once('.').unwrap_or((dotted, ""));
                (id, name.to_string())
            }
            Value::Array(parts) if parts.len() == 2 => {
                (parts[0].as_str().unwrap_or_default(), self.text_of(&parts[1])?)
            }
            _ => return Err("Fn::GetAtt takes a resource and an attribute".into()),
        };
        if self.unknown.contains(id) {
            return Ok(unknown(&format!("{id}.{name}")));
        }
        let attributes =
            self.attributes.get(id).ok_or_else(|| format!("Fn::GetAtt of {id}, which is not a resource"))?;
        attributes
            .get(&name)
            .cloned()
            .ok_or_else(|| format!("the resource {id} has no attribute {name}").into())
    }

    fn substitute(&self, argument: &Value) -> Evaluated<Value> {
        let (template, local) = match argument {
            Value::String(text) => (text.as_str(), Map::new()),
            Value::Array(parts) if parts.len() == 2 => {
                let local = self.resolve(&parts[1])?;
                (parts[0].as_str().unwrap_or_default(), local.as_object().cloned().unwrap_or_default())
            }
            _ => return Err("Fn::Sub takes a string, or a string and a map".into()),
        };
        let mut out = String::new();
        let mut rest = template;
        while let Some(start) = rest.find("${") {
            out.push_str(&rest[..start]);
            let end = rest[start..].find('}').map(|end| start + end).ok_or("Fn::Sub: '${' without '}'")?;
            let name = rest[start + 2..end].trim();
            match name.strip_prefix('!') {
                Some(literal) => out.push_str(&format!("${{{literal}}}")),
                None => out.push_str(&text(&self.variable(name, &local)?)),
            }
            rest = &rest[end + 1..];
        }
        out.push_str(rest);
        Ok(out.into())
    }

    fn variable(&self, name: &str, local: &Map<String, Value>) -> Evaluated<Value> {
        if let Some(value) = local.get(name) {
            return Ok(value.clone());
        }
        match name.split_once('.') {
            Some(_) => self.attribute(&name.into()),
            None => self.reference(name),
        }
    }

    fn choose(&self, argument: &Value) -> Evaluated<Value> {
        let parts = self.parts(argument, "Fn::If", 3)?;
        let index = if self.condition(parts[0].as_str().unwrap_or_default())? { 1 } else { 2 };
        self.resolve(&parts[index]).map_err(|fault| fault.below(&index))
    }

    fn join(&self, argument: &Value) -> Evaluated<Value> {
        let parts = self.parts(argument, "Fn::Join", 2)?;
        let items = self.resolve(&parts[1]).map_err(|fault| fault.below(&1))?;
        if is_unknown(&items) {
            return Ok(items);
        }
        let items = items.as_array().ok_or("Fn::Join takes a delimiter and a list")?;
        let texts: Vec<String> = items.iter().map(text).collect();
        Ok(texts.join(parts[0].as_str().unwrap_or_default()).into())
    }

    fn select(&self, argument: &Value) -> Evaluated<Value> {
        let parts = self.parts(argument, "Fn::Select", 2)?;
        let index: usize = self.text_of(&parts[0])?.parse().map_err(|_| "Fn::Select takes an index")?;
        let items = self.resolve(&parts[1]).map_err(|fault| fault.below(&1))?;
        let cut_short = |items: &Vec<Value>| items.iter().find(|item| is_unknown(item)).cloned();
        if let Some(unknown) =
            items.as_array().and_then(cut_short).or(is_unknown(&items).then(|| items.clone()))
        {
            return Ok(unknown);
        }
        let items = items.as_array().ok_or("Fn::Select takes an index and a list")?;
        items.get(index).cloned().ok_or_else(|| format!("Fn::Select: the list has no element {index}").into())
    }

    fn split(&self, argument: &Value) -> Evaluated<Value> {
        let parts = self.parts(argument, "Fn::Split", 2)?;
        let source = self.resolve(&parts[1]).map_err(|fault| fault.below(&1))?;
        if is_unknown(&source) {
            return Ok(Value::Array(vec![source]));
        }
        Ok(text(&source).split(parts[0].as_str().unwrap_or_default()).map(Value::from).collect())
    }

    fn find_in_map(&self, argument: &Value) -> Evaluated<Value> {
        let parts = self.parts(argument, "Fn::FindInMap", 3)?;
        let names: Vec<String> = parts.iter().map(|part| self.text_of(part)).collect::<Evaluated<_>>()?;
        let found = &self.mappings[&names[0]][&names[1]][&names[2]];
        if found.is_null() {
            let what = format!("Mappings has no {} (Fn::FindInMap)", names.join("/"));
            return Err(what.into());
        }
        Ok(found.clone())
    }

    fn cidr(&self, argument: &Value) -> Evaluated<Value> {
        let parts = argument.as_array().filter(|parts| (2..=3).contains(&parts.len()));
        let parts = parts.ok_or("Fn::Cidr takes an address block, a count and a number of bits")?;
        let number = |part: &Value| -> Evaluated<u32> {
            self.text_of(part)?.parse().map_err(|_| "Fn::Cidr takes numbers after the address block".into())
        };
        let block = self.text_of(&parts[0])?;
        let bits = parts.get(2).map_or(Ok(8), number)?;
        Ok(network::blocks(&block, number(&parts[1])?, bits)?.into())
    }

    fn condition(&self, name: &str) -> Evaluated<bool> {
        self.conditions
            .get(name)
            .copied()
            .ok_or_else(|| format!("the condition {name} is not defined").into())
    }

    /// A condition function.
    fn test(&self, name: &str, argument: &Value) -> Evaluated<bool> {
        let items = argument.as_array().ok_or_else(|| format!("{name} takes a list"))?;
        let truth = |item: &Value| -> Evaluated<bool> {
            self.resolve(item)?.as_bool().ok_or_else(|| format!("{name} takes conditions").into())
        };
        let bounded = || match items.len() {
            2..=10 => Ok(()),
            _ => Err(Fault::from(format!("{name} takes 2 to 10 conditions"))),
        };
        match name {
            "Fn::Equals" => {
                let parts = self.parts(argument, name, 2)?;
                Ok(self.text_of(&parts[0])? == self.text_of(&parts[1])?)
            }
            "Fn::Not" => Ok(!truth(&self.parts(argument, name, 1)?[0])?),
            "Fn::And" => {
                bounded().and_then(|()| items.iter().map(truth).try_fold(true, |all, item| Ok(all && item?)))
            }
            _ => {
                bounded().and_then(|()| items.iter().map(truth).try_fold(false, |any, item| Ok(any || item?)))
            }
        }
    }
}

fn single(members: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut entries = members.iter();
    let (name, value) = entries.next()?;
    entries.next().is_none().then_some((name.as_str(), value))
}

/// `Condition` is also an ordinary member of policy statements, where it holds an object.
fn is_function(name: &str, argument: &Value) -> bool {
    name == "Ref" || name.starts_with("Fn::") || (name == "Condition" && argument.is_string())
}

const NO_VALUE: &str = "\u{0}AWS::NoValue";
const UNKNOWN: &str = "\u{0}known after deploy:";

fn no_value() -> Value {
    NO_VALUE.into()
}

fn is_no_value(value: &Value) -> bool {
    value.as_str() == Some(NO_VALUE)
}

/// Stands for what only the deployment can tell.
pub(crate) fn unknown(what: &str) -> Value {
    format!("{UNKNOWN}{what}\u{0}").into()
}

/// Text that holds what only the deployment can tell.
pub(crate) fn is_unknown(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains(UNKNOWN))
}

/// A scalar as CloudFormation writes it into strings.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
