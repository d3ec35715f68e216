//! CloudFormation's functions: `Ref`, `Fn::GetAtt`, `Fn::Sub`, `Fn::If` and the rest.

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
    /// Exports of other stacks.
    pub exports: BTreeMap<String, Value>,
}

/// A function that cannot be evaluated, in words.
pub(crate) type Evaluated<T> = Result<T, String>;

impl Scope {
    /// Evaluates every function below `value`; `AWS::NoValue` members vanish.
    pub fn resolve(&self, value: &Value) -> Evaluated<Value> {
        match value {
            Value::Array(items) => {
                let resolved: Vec<Value> =
                    items.iter().map(|item| self.resolve(item)).collect::<Evaluated<_>>()?;
                Ok(Value::Array(resolved.into_iter().filter(|item| !is_no_value(item)).collect()))
            }
            Value::Object(members) => match single(members) {
                Some((name, argument)) if is_function(name, argument) => self.call(name, argument),
                _ => {
                    let mut resolved = Map::new();
                    for (name, member) in members {
                        let member = self.resolve(member)?;
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
            "Fn::If" => {
                let parts = self.parts(argument, "Fn::If", 3)?;
                let chosen = self.condition(parts[0].as_str().unwrap_or_default())?;
                self.resolve(if chosen { &parts[1] } else { &parts[2] })
            }
            "Fn::FindInMap" => self.find_in_map(argument),
            "Fn::Base64" => {
                use base64::Engine;
                let text = text(&self.resolve(argument)?);
                Ok(base64::engine::general_purpose::STANDARD.encode(text).into())
            }
            "Fn::GetAZs" => {
                let region = text(&self.reference("AWS::Region")?);
                Ok(["a", "b", "c"].iter().map(|zone| Value::from(format!("{region}{zone}"))).collect())
            }
            "Fn::ImportValue" => {
                let name = text(&self.resolve(argument)?);
                self.exports.get(&name).cloned().ok_or_else(|| format!("No export named {name} found"))
            }
            "Fn::Equals" | "Fn::Not" | "Fn::And" | "Fn::Or" => Ok(self.test(name, argument)?.into()),
            other => Err(format!("the function {other} is not supported")),
        }
    }

    fn parts<'v>(&self, argument: &'v Value, name: &str, count: usize) -> Evaluated<&'v [Value]> {
        match argument.as_array() {
            Some(items) if items.len() == count => Ok(items),
            _ => Err(format!("{name} takes a list of {count} values")),
        }
    }

    pub(crate) fn reference(&self, name: &str) -> Evaluated<Value> {
        if name == "AWS::NoValue" {
            return Ok(no_value());
        }
        let found = self.values.get(name).or_else(|| self.references.get(name));
        found.cloned().ok_or_else(|| format!("Ref to {name}, which is neither a parameter nor a resource"))
    }

    fn attribute(&self, argument: &Value) -> Evaluated<Value> {
        let (id, name) = match argument {
            Value::String(dotted) => dotted.split_once('.').unwrap_or((dotted, "")),
            Value::Array(parts) if parts.len() == 2 => {
                (parts[0].as_str().unwrap_or_default(), parts[1].as_str().unwrap_or_default())
            }
            _ => return Err("Fn::GetAtt takes a resource and an attribute".into()),
        };
        let attributes =
            self.attributes.get(id).ok_or_else(|| format!("Fn::GetAtt of {id}, which is not a resource"))?;
        attributes.get(name).cloned().ok_or_else(|| format!("the resource {id} has no attribute {name}"))
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

    fn join(&self, argument: &Value) -> Evaluated<Value> {
        let parts = self.parts(argument, "Fn::Join", 2)?;
        let items = self.resolve(&parts[1])?;
        let items = items.as_array().ok_or("Fn::Join takes a delimiter and a list")?;
        let texts: Vec<String> = items.iter().map(text).collect();
        Ok(texts.join(parts[0].as_str().unwrap_or_default()).into())
    }

    fn select(&self, argument: &Value) -> Evaluated<Value> {
        let parts = self.parts(argument, "Fn::Select", 2)?;
        let index: usize =
            text(&self.resolve(&parts[0])?).parse().map_err(|_| "Fn::Select takes an index")?;
        let items = self.resolve(&parts[1])?;
        items.get(index).cloned().ok_or_else(|| format!("Fn::Select: the list has no element {index}"))
    }

    fn split(&self, argument: &Value) -> Evaluated<Value> {
        let parts = self.parts(argument, "Fn::Split", 2)?;
        let source = text(&self.resolve(&parts[1])?);
        Ok(source.split(parts[0].as_str().unwrap_or_default()).map(Value::from).collect())
    }

    fn find_in_map(&self, argument: &Value) -> Evaluated<Value> {
        let parts = self.parts(argument, "Fn::FindInMap", 3)?;
        let names: Vec<String> =
            parts.iter().map(|part| Ok(text(&self.resolve(part)?))).collect::<Evaluated<_>>()?;
        let found = &self.mappings[&names[0]][&names[1]][&names[2]];
        if found.is_null() { Err(format!("Mappings has no {}", names.join("/"))) } else { Ok(found.clone()) }
    }

    fn condition(&self, name: &str) -> Evaluated<bool> {
        self.conditions.get(name).copied().ok_or_else(|| format!("the condition {name} is not defined"))
    }

    /// A condition function.
    pub fn test(&self, name: &str, argument: &Value) -> Evaluated<bool> {
        let items = argument.as_array().ok_or_else(|| format!("{name} takes a list"))?;
        let truth = |item: &Value| -> Evaluated<bool> {
            self.resolve(item)?.as_bool().ok_or_else(|| format!("{name} takes conditions"))
        };
        match name {
            "Fn::Equals" => {
                let parts = self.parts(argument, name, 2)?;
                Ok(text(&self.resolve(&parts[0])?) == text(&self.resolve(&parts[1])?))
            }
            "Fn::Not" => Ok(!truth(items.first().ok_or("Fn::Not takes one condition")?)?),
            "Fn::And" => items.iter().map(truth).try_fold(true, |all, item| Ok(all && item?)),
            _ => items.iter().map(truth).try_fold(false, |any, item| Ok(any || item?)),
        }
    }
}

/// Names of all resources that functions below `value` refer to.
pub(crate) fn mentioned(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| mentioned(item, found)),
        Value::Object(members) => {
            match single(members) {
                Some(("Ref", Value::String(name))) => drop(found.insert(name.clone())),
                Some(("Fn::GetAtt", Value::Array(parts))) => {
                    found.extend(parts.first().and_then(Value::as_str).map(str::to_string));
                }
                Some(("Fn::GetAtt", Value::String(dotted))) => {
                    found.extend(dotted.split('.').next().map(str::to_string));
                }
                Some(("Fn::Sub", argument)) => {
                    let template = argument.as_str().or_else(|| argument[0].as_str()).unwrap_or_default();
                    let names = template.split("${").skip(1).filter_map(|part| part.split('}').next());
                    // `${!Literal}` is text, and names of the function's own map are no resources.
                    let names =
                        names.filter(|name| !name.starts_with('!') && argument[1].get(*name).is_none());
                    found.extend(
                        names.map(|name| name.split('.').next().unwrap_or_default().trim().to_string()),
                    );
                }
                _ => {}
            }
            members.values().for_each(|member| mentioned(member, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
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

fn no_value() -> Value {
    NO_VALUE.into()
}

fn is_no_value(value: &Value) -> bool {
    value.as_str() == Some(NO_VALUE)
}

/// A scalar as CloudFormation writes it into strings.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
