//! What deploying a template would change: resources to add, modify, replace and remove, and which properties differ.

use serde_json::Value;

use crate::error::TemplateError;
use crate::intrinsics::{Scope, is_unknown, text, unknown};
use crate::resources::{self, catalog};
use crate::stack::{Stack, StackResource};
use crate::template::Template;

/// What a deployment does to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It does not exist yet.
    Add,
    /// It exists and differs.
    Modify,
    /// It exists and differs in what cannot be changed: a new one takes its place, then the old one goes.
    Replace,
    /// It is no longer in the template.
    Remove,
    /// It is no longer in the template and stays, outside the stack (`DeletionPolicy: Retain`).
    Retain,
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Logical id.
    pub id: String,
    /// Its type.
    pub resource_type: String,
    /// What happens to it.
    pub kind: ChangeKind,
    /// The properties that differ, as dotted paths; empty for what is added or removed.
    pub properties: Vec<String>,
}

/// What has to happen to one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Keep,
    Add,
    Modify(Vec<String>),
    Replace(Vec<String>),
}

/// What deploying would change. It calls nothing; properties that depend on what is still to be made count as changed.
pub fn plan(template: &Template, stack: &Stack) -> Result<Vec<Change>, TemplateError> {
    let mut scope = template.scope.clone();
    let mut changes = Vec::new();
    for id in template.order()? {
        let resource = &template.resources[&id];
        let properties = resolve(template, &scope, &id)?;
        let current = stack.resources.get(&id);
        let (kind, properties) = match decide(template, stack, &id, &properties)? {
            Decision::Keep => {
                current.iter().for_each(|current| learn(&mut scope, &id, current));
                continue;
            }
            Decision::Add => {
                scope.unknown.insert(id.clone());
                (ChangeKind::Add, Vec::new())
            }
            Decision::Modify(differing) => {
                let code_changed = differing.iter().any(|path| path.starts_with("Code"));
                current.iter().for_each(|current| learn_changed(&mut scope, &id, current, code_changed));
                (ChangeKind::Modify, differing)
            }
            Decision::Replace(differing) => {
                scope.unknown.insert(id.clone());
                (ChangeKind::Replace, differing)
            }
        };
        changes.push(Change { id, resource_type: resource.kind.clone(), kind, properties });
    }
    changes.extend(leaving(template, stack));
    Ok(changes)
}

/// Would a deployment leave everything as it is: resources, outputs and description?
pub fn is_up_to_date(template: &Template, stack: &Stack) -> Result<bool, TemplateError> {
    if stack.is_unfinished() || !plan(template, stack)?.is_empty() {
        return Ok(false);
    }
    let mut scope = template.scope.clone();
    stack.resources.iter().for_each(|(id, resource)| learn(&mut scope, id, resource));
    let described = template.document.value.get("Description").map(text).unwrap_or_default();
    Ok(crate::deploy::outputs(template, &scope)? == stack.outputs && described == stack.description)
}

/// Resources that the template no longer has, last made first, and those that an earlier deployment left to be deleted.
pub(crate) fn leaving(template: &Template, stack: &Stack) -> Vec<Change> {
    let change = |id: &str, resource: &StackResource, kind| Change {
        id: id.to_string(),
        resource_type: resource.kind.clone(),
        kind,
        properties: Vec::new(),
    };
    let gone = stack.order.iter().rev().filter(|id| !template.resources.contains_key(*id));
    let gone = gone.filter_map(|id| {
        let resource = stack.resources.get(id)?;
        let kind = if resource.keeping.when_removed { ChangeKind::Retain } else { ChangeKind::Remove };
        Some(change(id, resource, kind))
    });
    let owed = stack.retired.iter().map(|retired| change(&retired.id, &retired.resource, ChangeKind::Remove));
    gone.chain(owed).collect()
}

/// What has to happen to a resource that shall have these properties.
pub(crate) fn decide(
    template: &Template,
    stack: &Stack,
    id: &str,
    properties: &Value,
) -> Result<Decision, TemplateError> {
    let resource = &template.resources[id];
    let Some(current) = stack.resources.get(id) else { return Ok(Decision::Add) };
    if current.kind != resource.kind {
        return Ok(Decision::Replace(vec!["Type".into()]));
    }
    let differing = differences(&current.properties, properties);
    let is_pending = stack.pending.as_ref().is_some_and(|pending| pending.id == id && !pending.is_new);
    if differing.is_empty() && !current.half_changed && !is_pending {
        return Ok(Decision::Keep);
    }
    let replaced_by = catalog::of(&resource.kind).map_or(&[] as &[&str], |entry| entry.replaced_by);
    let forces = |path: &&String| {
        let top = path.split('.').next().unwrap_or_default();
        replaced_by == ["*"] && top != "Tags" || replaced_by.contains(&top)
    };
    let Some(forcing) = differing.iter().find(forces) else { return Ok(Decision::Modify(differing)) };
    if let Some(name) = same_name(&resource.kind, &current.properties, properties) {
        let place = template.document.place(&format!("{}/Properties", resource.pointer));
        let what = format!(
            "{id}: CloudFormation cannot update a stack when a custom-named resource requires replacing ({forcing} \
             changed). Rename {name} and update the stack again."
        );
        return Err(TemplateError::Invalid(place, what));
    }
    Ok(Decision::Replace(differing))
}

/// The name that old and new would share, if the template gives one.
fn same_name(kind: &str, old: &Value, new: &Value) -> Option<String> {
    let property = catalog::of(kind)?.name?.0;
    let name = new[property].as_str()?;
    let region_changed = old["Region"] != new["Region"];
    (old[property].as_str() == Some(name) && !region_changed && !is_unknown(&new[property]))
        .then(|| name.to_string())
}

/// Dotted paths of the members in which two documents differ; lists count as one.
pub(crate) fn differences(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", old, new, &mut found);
    found.dedup();
    found
}

fn compare(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let (Some(old_members), Some(new_members)) = (old.as_object(), new.as_object()) else {
        if old != new {
            found.push(path.to_string());
        }
        return;
    };
    let absent = Value::Null;
    let names = new_members.keys().chain(old_members.keys().filter(|name| !new_members.contains_key(*name)));
    for name in names {
        let (old, new) = (old_members.get(name).unwrap_or(&absent), new_members.get(name).unwrap_or(&absent));
        let below = match (path, name.strip_prefix("Passo::")) {
            // What we add to a property is that property's.
            (path, Some(_)) => path.to_string(),
            ("", None) => name.clone(),
            (path, None) => format!("{path}.{name}"),
        };
        compare(&below, old, new, found);
    }
}

pub(crate) fn learn(scope: &mut Scope, id: &str, resource: &StackResource) {
    scope.references.insert(id.to_string(), resource.reference.clone());
    scope.attributes.insert(id.to_string(), resource.attributes.clone());
}

/// Attributes that a change of the resource itself changes are known only afterwards.
fn learn_changed(scope: &mut Scope, id: &str, resource: &StackResource, code_changed: bool) {
    learn(scope, id, resource);
    let volatile = match resource.kind.as_str() {
        "AWS::StepFunctions::StateMachine" => "StateMachineRevisionId",
        "AWS::Lambda::Function" if code_changed => "CodeSha256",
        _ => return,
    };
    if let Some(attributes) = scope.attributes.get_mut(id) {
        attributes.insert(volatile.into(), unknown(&format!("{id}.{volatile}")));
    }
}

/// A resource's properties with every function evaluated, ready to be compared and deployed.
pub(crate) fn resolve(template: &Template, scope: &Scope, id: &str) -> Result<Value, TemplateError> {
    let resource = &template.resources[id];
    let properties = scope.resolve(&resource.properties).map_err(|fault| {
        let place = template.document.place(&format!("{}/Properties{}", resource.pointer, fault.path));
        TemplateError::Invalid(place, format!("{id}: {}", fault.what))
    })?;
    if template.is_alone && properties["Code"].get("Passo::Folder").is_some() {
        let what = format!("{id}: code comes from S3 or stands in the template");
        return Err(TemplateError::Invalid(template.document.place(&resource.pointer), what));
    }
    let region = scope.reference("AWS::Region").map(|region| text(&region)).unwrap_or_default();
    resources::prepare(&resource.kind, properties, &template.folder, &region).map_err(|what| {
        TemplateError::Invalid(template.document.place(&resource.pointer), format!("{id}: {what}"))
    })
}
