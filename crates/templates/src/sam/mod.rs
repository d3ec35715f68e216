//! SAM's resource types → CloudFormation's: functions, state machines, simple tables, with `Globals`, events, policies and
//! aliases. The resources made have the logical ids that SAM gives them.

mod events;
mod function;
mod policies;
mod state_machine;

pub use state_machine::definition_text;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::document::Document;
use crate::error::{TemplateError, Unsupported};
use crate::intrinsics::{Scope, text};
use crate::template::{Findings, Resource};

type Resources = BTreeMap<String, Resource>;
/// `Function.Alias` and `Function.Version`, by which templates name resources that SAM makes, and what those are called.
pub(crate) type Parts = BTreeMap<String, String>;

/// The expansion under way.
struct Expansion<'a> {
    document: &'a Document,
    /// Nothing where the template came alone.
    folder: Option<&'a Path>,
    scope: &'a Scope,
    findings: &'a mut Findings,
    made: Resources,
    parts: Parts,
}

/// Expands every `AWS::Serverless::*` resource that is known; others are left for the support check to refuse.
pub(crate) fn expand(
    written: Resources,
    document: &Document,
    folder: Option<&Path>,
    scope: &Scope,
    findings: &mut Findings,
) -> Result<(Resources, Parts), TemplateError> {
    let (made, parts) = (Resources::new(), Parts::new());
    let mut expansion = Expansion { document, folder, scope, findings, made, parts };
    let globals = &document.value["Globals"];
    for (id, mut resource) in written {
        expansion.refuse_connectors(&id, &resource);
        match resource.kind.as_str() {
            "AWS::Serverless::Function" => {
                merge_globals(&mut resource.properties, &globals["Function"]);
                expansion.function(&id, resource)?;
            }
            "AWS::Serverless::StateMachine" => {
                merge_globals(&mut resource.properties, &globals["StateMachine"]);
                expansion.state_machine(&id, resource)?;
            }
            "AWS::Serverless::SimpleTable" => {
                merge_globals(&mut resource.properties, &globals["SimpleTable"]);
                expansion.add(id, simple_table(resource));
            }
            _ => expansion.add(id, resource),
        }
    }
    let Expansion { mut made, parts, .. } = expansion;
    if !parts.is_empty() {
        made.values_mut().for_each(|resource| name_parts(&mut resource.properties, &parts));
    }
    Ok((made, parts))
}

/// Properties win over globals; maps merge, lists of globals come first.
fn merge_globals(properties: &mut Value, globals: &Value) {
    match (properties, globals) {
        (Value::Object(own), Value::Object(global)) => {
            for (name, value) in global {
                match own.get_mut(name) {
                    Some(mine) => merge_globals(mine, value),
                    None => {
                        own.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Array(own), Value::Array(global)) => {
            let mut all = global.clone();
            all.append(own);
            *own = all;
        }
        _ => {}
    }
}

/// `Ref: Function.Alias` becomes a reference to the alias that was made.
pub(crate) fn name_parts(value: &mut Value, parts: &Parts) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| name_parts(item, parts)),
        Value::Object(members) => {
            if let Some(Value::String(name)) = members.get_mut("Ref")
                && let Some(made) = parts.get(name)
            {
                name.clone_from(made);
            }
            members.values_mut().for_each(|member| name_parts(member, parts));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl Expansion<'_> {
    fn add(&mut self, id: String, resource: Resource) {
        // What was written into the bucket by the event of a function stays.
        match (self.made.get_mut(&id), resource) {
            (Some(present), resource) if present.kind == resource.kind => {
                let added = std::mem::replace(present, resource);
                merge_globals(&mut present.properties, &added.properties);
                present.depends_on.extend(added.depends_on);
            }
            (_, resource) => {
                self.made.insert(id, resource);
            }
        }
    }

    /// A resource that stands for a part of another.
    fn derive(&mut self, parent: &Resource, id: &str, kind: &str, properties: Value) {
        let resource = Resource {
            kind: kind.to_string(),
            properties,
            depends_on: parent.depends_on.clone(),
            pointer: parent.pointer.clone(),
            keeping: parent.keeping,
        };
        self.made.insert(id.to_string(), resource);
    }

    fn invalid(&self, resource: &Resource, field: &str, what: String) -> TemplateError {
        TemplateError::Invalid(self.document.place(&format!("{}/Properties/{field}", resource.pointer)), what)
    }

    /// A part that is refused by name, since leaving it out unasked would change what the stack does.
    fn refuse(&mut self, resource: &Resource, field: &str, what: String, reason: &str) {
        let place = self.document.place(&format!("{}/Properties/{field}", resource.pointer));
        self.findings.refused.push(Unsupported { place, what, reason: reason.into() });
    }

    fn refuse_fields(&mut self, id: &str, resource: &Resource, fields: &[&str]) {
        for field in fields.iter().filter(|field| resource.properties.get(**field).is_some()) {
            self.refuse(resource, field, format!("resource {id} ({}) has {field}", resource.kind), "");
        }
    }

    fn refuse_connectors(&mut self, id: &str, resource: &Resource) {
        if self
            .document
            .value
            .pointer(&resource.pointer)
            .is_some_and(|written| written.get("Connectors").is_some())
        {
            let place = self.document.place(&format!("{}/Connectors", resource.pointer));
            let what = format!("resource {id} has Connectors");
            let reason = "write the permission as a policy of the role".into();
            self.findings.refused.push(Unsupported { place, what, reason });
        }
    }

    /// A name that has to be known before anything is made.
    fn known_text(&self, value: &Value) -> Option<String> {
        self.scope.resolve(value).ok().map(|value| text(&value)).filter(|text| !text.is_empty())
    }
}

/// `s3://BUCKET/KEY` as the location of an object.
fn s3_location(uri: &str) -> Option<Value> {
    let (bucket, key) = uri.strip_prefix("s3://")?.split_once('/')?;
    Some(json!({ "Bucket": bucket, "Key": key }))
}

fn copy(source: &Value, target: &mut Map<String, Value>, fields: &[(&str, &str)]) {
    for (from, to) in fields {
        if let Some(value) = source.get(*from) {
            target.insert((*to).into(), value.clone());
        }
    }
}

fn simple_table(resource: Resource) -> Resource {
    let source = &resource.properties;
    let key = source.get("PrimaryKey").cloned().unwrap_or_else(|| json!({ "Name": "id", "Type": "String" }));
    let kind = match key["Type"].as_str() {
        Some("Number") => "N",
        Some("Binary") => "B",
        _ => "S",
    };
    let mut properties = json!({
        "AttributeDefinitions": [{ "AttributeName": key["Name"], "AttributeType": kind }],
        "KeySchema": [{ "AttributeName": key["Name"], "KeyType": "HASH" }],
    });
    match source.get("ProvisionedThroughput") {
        Some(throughput) => properties["ProvisionedThroughput"] = throughput.clone(),
        None => properties["BillingMode"] = "PAY_PER_REQUEST".into(),
    }
    for field in ["TableName", "SSESpecification", "Tags", "PointInTimeRecoverySpecification"] {
        if let Some(value) = source.get(field) {
            properties[field] = value.clone();
        }
    }
    Resource { kind: "AWS::DynamoDB::Table".into(), properties, ..resource }
}
