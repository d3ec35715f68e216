//! Planning and carrying out: what changes, in which order, and back again when something fails.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::client::Client;
use crate::error::TemplateError;
use crate::intrinsics::{Scope, text};
use crate::resources::{self, Context};
use crate::template::Template;

/// What is known of a deployed stack; the caller keeps it between deployments.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stack {
    /// Stack name.
    pub name: String,
    /// Resources by logical id.
    pub resources: BTreeMap<String, StackResource>,
    /// Logical ids in the order in which they were made.
    pub order: Vec<String>,
    /// Outputs, evaluated.
    pub outputs: BTreeMap<String, Value>,
    /// Logical id of the resource that was being created when this was kept: after a crash it may or may not exist.
    #[serde(default)]
    pub creating: Option<String>,
}

/// One deployed resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StackResource {
    /// `AWS::Lambda::Function`.
    pub kind: String,
    /// Its properties as deployed, functions evaluated.
    pub properties: Value,
    /// What `Ref` gives.
    pub reference: Value,
    /// What `Fn::GetAtt` gives.
    pub attributes: Map<String, Value>,
}

/// What a deployment does to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It does not exist yet.
    Create,
    /// It exists and differs.
    Update,
    /// It is no longer in the template.
    Delete,
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
}

/// Told about each change when it is done (or undone, when a deployment is rolled back).
pub type Progress<'a> = &'a (dyn Fn(&Change) + Send + Sync);

/// Keeps the stack durably; called before a resource is created and after each change, so that a crash in the middle of a
/// deployment leaves nothing that the next one does not know.
pub type Keep<'a> = &'a (dyn Fn(&Stack) -> Result<(), String> + Send + Sync);

/// What a deployment did.
#[derive(Clone, Debug, Default)]
pub struct Deployed {
    /// Changes made, in order; empty when the stack was up to date.
    pub changes: Vec<Change>,
}

/// What deploying would change, as far as it can be told before anything is made: properties that depend on resources
/// still to be created count as changed.
pub fn plan(template: &Template, stack: &Stack) -> Result<Vec<Change>, TemplateError> {
    let mut scope = template.scope.clone();
    let mut changes = Vec::new();
    for id in template.order()? {
        let resource = &template.resources[&id];
        let properties = resolve(template, &scope, &id).ok();
        let deployed = stack.resources.get(&id).filter(|deployed| deployed.kind == resource.kind);
        let kind = match deployed {
            None => Some(ChangeKind::Create),
            Some(deployed) if properties.as_ref() == Some(&deployed.properties) => {
                learn(&mut scope, &id, deployed);
                None
            }
            Some(deployed) => {
                learn(&mut scope, &id, deployed);
                Some(ChangeKind::Update)
            }
        };
        changes.extend(kind.map(|kind| Change { id, resource_type: resource.kind.clone(), kind }));
    }
    changes.extend(removed(template, stack));
    Ok(changes)
}

fn removed(template: &Template, stack: &Stack) -> Vec<Change> {
    let gone = stack.order.iter().rev().filter(|id| !template.resources.contains_key(*id));
    gone.filter_map(|id| {
        let resource_type = stack.resources.get(id)?.kind.clone();
        Some(Change { id: id.clone(), resource_type, kind: ChangeKind::Delete })
    })
    .collect()
}

fn learn(scope: &mut Scope, id: &str, resource: &StackResource) {
    scope.references.insert(id.to_string(), resource.reference.clone());
    scope.attributes.insert(id.to_string(), resource.attributes.clone());
}

fn resolve(template: &Template, scope: &Scope, id: &str) -> Result<Value, TemplateError> {
    let resource = &template.resources[id];
    let place = || template.document.place(&resource.pointer);
    let properties = scope
        .resolve(&resource.properties)
        .map_err(|what| TemplateError::Invalid(place(), format!("{id}: {what}")))?;
    let region = scope.reference("AWS::Region").map(|region| text(&region)).unwrap_or_default();
    resources::prepare(&resource.kind, properties, &template.folder, &region)
        .map_err(|what| TemplateError::Invalid(place(), format!("{id}: {what}")))
}

/// Makes the stack as the template says. On failure everything done is undone; `stack` is true at every moment.
pub async fn deploy(
    template: &Template,
    client: &dyn Client,
    stack: &mut Stack,
    progress: Progress<'_>,
    keep: Keep<'_>,
) -> Result<Deployed, TemplateError> {
    let before = stack.clone();
    let mut deployed = Deployed::default();
    let outcome = apply(template, client, stack, progress, keep, &mut deployed).await;
    if outcome.is_err() {
        roll_back(template, client, stack, &before, &deployed.changes, progress).await;
        stack.creating = None;
    }
    let kept = keep(stack).map_err(TemplateError::Unkept);
    outcome.and(kept).map(|()| deployed)
}

async fn apply(
    template: &Template,
    client: &dyn Client,
    stack: &mut Stack,
    progress: Progress<'_>,
    keep: Keep<'_>,
    deployed: &mut Deployed,
) -> Result<(), TemplateError> {
    let left_over = stack.creating.take();
    let mut scope = template.scope.clone();
    for id in template.order()? {
        let properties = resolve(template, &scope, &id)?;
        let kind = &template.resources[&id].kind;
        let context = Context { client, id: &id, stack: &stack.name, folder: &template.folder };
        let current = stack.resources.get(&id).filter(|current| current.kind == *kind).cloned();
        let change = match &current {
            Some(current) if current.properties == properties => {
                learn(&mut scope, &id, current);
                continue;
            }
            Some(_) => ChangeKind::Update,
            None => ChangeKind::Create,
        };
        let made = match current {
            Some(current) => resources::update(&context, kind, &current, &properties).await,
            None => {
                stack.creating = Some(id.clone());
                keep(stack).map_err(TemplateError::Unkept)?;
                if left_over.as_ref() == Some(&id) {
                    let cleared = resources::clear_left_over(&context, kind, &properties).await;
                    cleared.map_err(|error| error.on(&id))?;
                }
                resources::create(&context, kind, &properties).await
            }
        };
        let made = made.map_err(|error| error.on(&id))?;
        let resource = StackResource {
            kind: kind.clone(),
            properties,
            reference: made.reference,
            attributes: made.attributes,
        };
        learn(&mut scope, &id, &resource);
        stack.resources.insert(id.clone(), resource);
        if !stack.order.contains(&id) {
            stack.order.push(id.clone());
        }
        stack.creating = None;
        keep(stack).map_err(TemplateError::Unkept)?;
        record(deployed, progress, Change { id, resource_type: kind.clone(), kind: change });
    }
    for change in removed(template, stack) {
        remove(template, client, stack, &change.id).await?;
        record(deployed, progress, change);
    }
    stack.outputs = outputs(template, &scope)?;
    Ok(())
}

fn record(deployed: &mut Deployed, progress: Progress<'_>, change: Change) {
    progress(&change);
    deployed.changes.push(change);
}

fn outputs(template: &Template, scope: &Scope) -> Result<BTreeMap<String, Value>, TemplateError> {
    let mut outputs = BTreeMap::new();
    for (name, output) in &template.outputs {
        let value = scope.resolve(&output["Value"]).map_err(|what| {
            TemplateError::Invalid(template.document.place(&format!("/Outputs/{name}")), what)
        })?;
        outputs.insert(name.clone(), value);
    }
    Ok(outputs)
}

async fn remove(
    template: &Template,
    client: &dyn Client,
    stack: &mut Stack,
    id: &str,
) -> Result<(), TemplateError> {
    let Some(resource) = stack.resources.get(id).cloned() else { return Ok(()) };
    let context = Context { client, id, stack: &stack.name, folder: &template.folder };
    resources::delete(&context, &resource).await.map_err(|error| error.on(id))?;
    stack.resources.remove(id);
    stack.order.retain(|other| other != id);
    Ok(())
}

/// Undoes changes, last first: created resources go, updated ones get their old properties, deleted ones come back.
/// What cannot be undone stays in `stack` as it is, so that a later deployment or deletion still knows it.
async fn roll_back(
    template: &Template,
    client: &dyn Client,
    stack: &mut Stack,
    before: &Stack,
    changes: &[Change],
    progress: Progress<'_>,
) {
    for change in changes.iter().rev() {
        let id = change.id.as_str();
        let old = before.resources.get(id);
        let name = stack.name.clone();
        let context = Context { client, id, stack: &name, folder: &template.folder };
        let undone = match (change.kind, old) {
            (ChangeKind::Create, _) => remove(template, client, stack, id).await.is_ok(),
            (ChangeKind::Update, Some(old)) => {
                let current = stack.resources.get(id).cloned().unwrap_or_else(|| old.clone());
                restore(
                    stack,
                    id,
                    old,
                    resources::update(&context, &old.kind, &current, &old.properties).await,
                )
            }
            (ChangeKind::Delete, Some(old)) => {
                restore(stack, id, old, resources::create(&context, &old.kind, &old.properties).await)
            }
            (ChangeKind::Update | ChangeKind::Delete, None) => false,
        };
        if undone {
            progress(&Change { kind: undoing(change.kind), ..change.clone() });
        }
    }
}

fn undoing(kind: ChangeKind) -> ChangeKind {
    match kind {
        ChangeKind::Create => ChangeKind::Delete,
        ChangeKind::Update => ChangeKind::Update,
        ChangeKind::Delete => ChangeKind::Create,
    }
}

fn restore(
    stack: &mut Stack,
    id: &str,
    old: &StackResource,
    made: crate::client::CallResult<resources::Made>,
) -> bool {
    let Ok(made) = made else { return false };
    let resource = StackResource { reference: made.reference, attributes: made.attributes, ..old.clone() };
    stack.resources.insert(id.to_string(), resource);
    if !stack.order.iter().any(|other| other == id) {
        stack.order.push(id.to_string());
    }
    true
}

/// Deletes every resource of the stack, last made first. Stops at the first that refuses, which stays in `stack`.
pub async fn delete(
    client: &dyn Client,
    stack: &mut Stack,
    progress: Progress<'_>,
) -> Result<(), TemplateError> {
    for id in stack.order.clone().into_iter().rev() {
        let Some(resource) = stack.resources.get(&id).cloned() else { continue };
        let context = Context { client, id: &id, stack: &stack.name, folder: std::path::Path::new(".") };
        resources::delete(&context, &resource).await.map_err(|error| error.on(&id))?;
        stack.resources.remove(&id);
        stack.order.retain(|other| *other != id);
        progress(&Change { id, resource_type: resource.kind, kind: ChangeKind::Delete });
    }
    stack.outputs.clear();
    Ok(())
}
