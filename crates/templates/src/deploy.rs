//! Carrying out: a template's changes in an order that holds at every moment, back again when something fails, and the
//! deletion of a whole stack.
//!
//! New resources come before the old ones go: what is replaced or removed is deleted only when everything else has
//! succeeded, so that a failed deployment can go back without having lost anything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::client::Client;
use crate::error::TemplateError;
use crate::intrinsics::{Scope, text};
use crate::plan::{Change, ChangeKind, Decision, decide, learn, leaving, plan, resolve};
use crate::resources::{self, Context, Place};
use crate::roll_back::{fail, roll_back, settle};
use crate::stack::{Before, Output, PendingResource, Retired, Stack, StackResource, importers};
use crate::template::Template;

/// Told about each change when it is done, or undone when a deployment is rolled back.
pub type Progress<'a> = &'a (dyn Fn(&Change) + Send + Sync);

/// What a deployment did.
#[derive(Clone, Debug, Default)]
pub struct Deployed {
    /// Changes made, in order; empty when the stack was up to date.
    pub changes: Vec<Change>,
    /// What could not be deleted after the stack was complete, and why. The next deployment tries again.
    pub left_over: Vec<String>,
}

/// A deployment under way.
pub(crate) struct Work<'a> {
    pub template: Option<&'a Template>,
    pub client: &'a dyn Client,
    pub stack: &'a mut Stack,
    pub progress: Progress<'a>,
    pub place: Place,
    pub done: Deployed,
}

impl<'a> Work<'a> {
    pub fn context<'c>(&'c self, id: &'c str, generation: u32) -> Context<'c> {
        let folder = self.template.map_or(std::path::Path::new("."), |template| &template.folder);
        Context { client: self.client, id, stack: &self.stack.name, folder, place: &self.place, generation }
    }

    pub async fn keep(&mut self) -> Result<(), TemplateError> {
        self.stack.keep(self.client).await
    }

    fn record(&mut self, change: Change) {
        (self.progress)(&change);
        self.done.changes.push(change);
    }
}

/// Makes the stack as the template says. On failure it is brought back to what it was.
pub async fn deploy(
    template: &Template,
    client: &dyn Client,
    stack: &mut Stack,
    progress: Progress<'_>,
) -> Result<Deployed, TemplateError> {
    let changes = plan(template, stack)?;
    check_exports_in_use(template, client, stack).await?;
    let is_new = !stack.exists();
    let place = template.place.clone();
    let mut work =
        Work { template: Some(template), client, stack, progress, place, done: Deployed::default() };
    if changes.is_empty() && !work.stack.is_unfinished() && !is_new {
        return finish_unchanged(template, work).await;
    }
    work.begin(template).await?;
    match work.apply(template).await {
        Ok(()) => {}
        // Where nothing can be kept or called, nothing can be undone: the next deployment goes on from what is kept.
        Err(error @ (TemplateError::Unkept(_) | TemplateError::Unreachable { .. })) => return Err(error),
        Err(cause) if template.keeps_failed => return Err(leave(work, cause).await),
        Err(cause) => return Err(roll_back(work, cause).await),
    }
    work.clean_up().await?;
    Ok(work.done)
}

/// A failed deployment is left as it is; the next one goes on from there.
async fn leave(mut work: Work<'_>, cause: TemplateError) -> TemplateError {
    fail(&mut work, &cause);
    let verb = if work.stack.before.as_ref().is_none_or(|before| before.order.is_empty()) {
        "CREATE"
    } else {
        "UPDATE"
    };
    work.stack.status = format!("{verb}_FAILED");
    match work.keep().await {
        Ok(()) => cause,
        Err(error) => error,
    }
}

/// Outputs, parameters and policies may differ where no resource does.
async fn finish_unchanged(template: &Template, mut work: Work<'_>) -> Result<Deployed, TemplateError> {
    let before = work.stack.clone();
    let mut scope = template.scope.clone();
    before.resources.iter().for_each(|(id, resource)| learn(&mut scope, id, resource));
    work.describe(template, &scope)?;
    if *work.stack != before {
        work.keep().await?;
    }
    Ok(work.done)
}

/// AWS refuses to take an export away from those that import it.
async fn check_exports_in_use(
    template: &Template,
    client: &dyn Client,
    stack: &Stack,
) -> Result<(), TemplateError> {
    let mut kept = BTreeSet::new();
    for output in template.outputs.values() {
        kept.extend(template.scope.resolve(&output["Export"]["Name"]).ok().map(|name| text(&name)));
    }
    let exports = stack.outputs.values().filter_map(|output| output.export.as_ref());
    for export in exports.filter(|export| !kept.contains(*export)) {
        in_use(client, export, "deleted").await?;
    }
    Ok(())
}

async fn in_use(client: &dyn Client, export: &str, what: &str) -> Result<(), TemplateError> {
    let users = importers(client, export).await?;
    if users.is_empty() {
        return Ok(());
    }
    let message = format!("Export {export} cannot be {what} as it is in use by {}", users.join(", "));
    Err(TemplateError::Refused {
        resource: "Outputs".into(),
        operation: "cloudformation".into(),
        code: "ValidationError".into(),
        message,
    })
}

impl Work<'_> {
    /// Remembers what to go back to, and deals with what an earlier deployment that died left half made.
    async fn begin(&mut self, template: &Template) -> Result<(), TemplateError> {
        self.stack.failed = None;
        if self.stack.before.is_none() {
            let before = Before { resources: self.stack.resources.clone(), order: self.stack.order.clone() };
            self.stack.before = Some(Box::new(before));
        }
        // A creation that died is one still.
        let is_creation = self.stack.before.as_ref().is_none_or(|before| before.order.is_empty());
        self.stack.status = if is_creation { "CREATE_IN_PROGRESS" } else { "UPDATE_IN_PROGRESS" }.into();
        self.stack.id = template.stack_id();
        self.keep().await?;
        settle(self).await
    }

    async fn apply(&mut self, template: &Template) -> Result<(), TemplateError> {
        let mut scope = template.scope.clone();
        for id in template.order()? {
            let properties = resolve(template, &scope, &id)?;
            let decision = decide(template, self.stack, &id, &properties)?;
            if decision != Decision::Keep {
                self.change(template, &id, properties, decision).await?;
            }
            if let Some(resource) = self.stack.resources.get_mut(&id) {
                resource.keeping = template.resources[&id].keeping;
                learn(&mut scope, &id, resource);
            }
        }
        self.check_changed_exports(template, &scope).await?;
        self.commit(template, &scope).await
    }

    async fn change(
        &mut self,
        template: &Template,
        id: &str,
        properties: Value,
        decision: Decision,
    ) -> Result<(), TemplateError> {
        let kind = template.resources[id].kind.clone();
        let current = self.stack.resources.get(id).cloned();
        let (change, generation, differing) = match (decision, &current) {
            (Decision::Modify(differing), Some(current)) => {
                (ChangeKind::Modify, current.generation, differing)
            }
            (Decision::Replace(differing), Some(current)) => {
                (ChangeKind::Replace, current.generation + 1, differing)
            }
            _ => (ChangeKind::Add, 0, Vec::new()),
        };
        let is_new = change != ChangeKind::Modify;
        let seen = if is_new { self.seen(id, &kind, &properties, generation).await? } else { None };
        self.stack.pending = Some(PendingResource {
            id: id.into(),
            kind: kind.clone(),
            properties: properties.clone(),
            generation,
            is_new,
            seen,
        });
        self.keep().await?;
        let context = self.context(id, generation);
        let made = match &current {
            Some(current) if !is_new => resources::update(&context, current, &properties).await,
            _ => resources::create(&context, &kind, &properties).await,
        };
        let made = made.map_err(|error| error.on(id))?;
        let resource = StackResource {
            kind: kind.clone(),
            properties,
            reference: made.reference,
            attributes: made.attributes,
            generation,
            keeping: template.resources[id].keeping,
            half_changed: false,
        };
        self.stack.resources.insert(id.to_string(), resource);
        if !self.stack.order.iter().any(|other| other == id) {
            self.stack.order.push(id.to_string());
        }
        if let (ChangeKind::Replace, Some(old)) = (change, current) {
            self.stack.retired.push(Retired { id: id.to_string(), resource: old });
        }
        self.stack.pending = None;
        self.record(Change { id: id.to_string(), resource_type: kind, kind: change, properties: differing });
        Ok(())
    }

    /// What is there already under the name. It is not ours: it stays as it is, and unless such things are shared, the
    /// deployment cannot go on.
    async fn seen(
        &self,
        id: &str,
        kind: &str,
        properties: &Value,
        generation: u32,
    ) -> Result<Option<Value>, TemplateError> {
        let context = self.context(id, generation);
        let found = resources::locate(&context, kind, properties).await.map_err(|error| error.on(id))?;
        let Some(found) = found else { return Ok(None) };
        if resources::is_shared(kind) {
            return Ok(Some(found.reference));
        }
        let name = text(&found.reference);
        Err(TemplateError::Refused {
            resource: id.to_string(),
            operation: "create".into(),
            code: "AlreadyExists".into(),
            message: format!("Resource of type '{kind}' with identifier '{name}' already exists."),
        })
    }

    async fn check_changed_exports(&self, template: &Template, scope: &Scope) -> Result<(), TemplateError> {
        let outputs = outputs(template, scope)?;
        for old in self.stack.outputs.values() {
            let Some(export) = &old.export else { continue };
            let new = outputs.values().find(|output| output.export.as_ref() == Some(export));
            if new.is_some_and(|new| new.value != old.value) {
                in_use(self.client, export, "updated").await?;
            }
        }
        Ok(())
    }

    fn describe(&mut self, template: &Template, scope: &Scope) -> Result<(), TemplateError> {
        self.stack.outputs = outputs(template, scope)?;
        self.stack.imports = template.imports(scope);
        self.stack.parameters = template.parameters.clone();
        self.stack.description = text(&template.document.value["Description"]);
        if template.document.value["Description"].is_null() {
            self.stack.description.clear();
        }
        for (id, resource) in &mut self.stack.resources {
            resource.keeping = template.resources.get(id).map_or(resource.keeping, |written| written.keeping);
        }
        Ok(())
    }

    /// From here on the stack is what the template says; what is no longer part of it is still to be deleted.
    async fn commit(&mut self, template: &Template, scope: &Scope) -> Result<(), TemplateError> {
        self.describe(template, scope)?;
        let mut retired: Vec<Retired> = self.stack.retired.drain(..).rev().collect();
        retired.retain(|retired| !retired.resource.keeping.when_replaced);
        for change in leaving(template, self.stack) {
            let Some(resource) = self.stack.resources.remove(&change.id) else { continue };
            if change.kind == ChangeKind::Retain {
                self.record(change);
            } else {
                retired.push(Retired { id: change.id, resource });
            }
        }
        self.stack.retired = retired;
        self.stack.order = template.order()?;
        let was_empty = self.stack.before.take().is_none_or(|before| before.order.is_empty());
        self.stack.status = if was_empty { "CREATE_COMPLETE" } else { "UPDATE_COMPLETE" }.into();
        self.keep().await
    }

    /// Deletes what no longer belongs to the stack. What refuses is told and tried again by the next deployment.
    async fn clean_up(&mut self) -> Result<(), TemplateError> {
        let mut refused = Vec::new();
        for retired in std::mem::take(&mut self.stack.retired) {
            let context = self.context(&retired.id, retired.resource.generation);
            match resources::delete(&context, &retired.resource).await {
                Ok(()) if self.stack.resources.contains_key(&retired.id) => {}
                Ok(()) => self.record(Change {
                    id: retired.id,
                    resource_type: retired.resource.kind,
                    kind: ChangeKind::Remove,
                    properties: Vec::new(),
                }),
                Err(error) => {
                    self.done.left_over.push(error.on(&retired.id).to_string());
                    refused.push(retired);
                }
            }
        }
        self.stack.retired = refused;
        self.keep().await
    }
}

pub(crate) fn outputs(template: &Template, scope: &Scope) -> Result<BTreeMap<String, Output>, TemplateError> {
    let mut outputs = BTreeMap::new();
    for (name, written) in &template.outputs {
        let evaluated = |member: &str, value: &Value| {
            scope.resolve(value).map_err(|fault| {
                let place = template.document.place(&format!("/Outputs/{name}/{member}{}", fault.path));
                TemplateError::Invalid(place, format!("output {name}: {}", fault.what))
            })
        };
        let value = evaluated("Value", &written["Value"])?;
        let export = match written["Export"].get("Name") {
            Some(name) => Some(text(&evaluated("Export/Name", name)?)),
            None => None,
        };
        let description = written["Description"].as_str().unwrap_or_default().to_string();
        outputs.insert(name.clone(), Output { value, description, export });
    }
    Ok(outputs)
}

/// Deletes every resource of the stack, last made first, and the stack with them. Those that refuse stay in it; a resource
/// whose `DeletionPolicy` says so is left where it is.
pub async fn delete(
    client: &dyn Client,
    stack: &mut Stack,
    place: &Place,
    progress: Progress<'_>,
) -> Result<Deployed, TemplateError> {
    for export in stack.outputs.values().filter_map(|output| output.export.as_ref()) {
        in_use(client, export, "deleted").await?;
    }
    let place = place.clone();
    let mut work = Work { template: None, client, stack, progress, place, done: Deployed::default() };
    work.stack.status = "DELETE_IN_PROGRESS".into();
    work.keep().await?;
    settle(&mut work).await?;
    for id in work.stack.order.clone().into_iter().rev() {
        work.remove(&id).await?;
    }
    work.clean_up().await?;
    if work.done.left_over.is_empty() {
        work.stack.forget(client).await?;
    } else {
        work.stack.status = "DELETE_FAILED".into();
        work.keep().await?;
    }
    Ok(work.done)
}

impl Work<'_> {
    async fn remove(&mut self, id: &str) -> Result<(), TemplateError> {
        let Some(resource) = self.stack.resources.get(id).cloned() else { return Ok(()) };
        let kind = if resource.keeping.when_removed { ChangeKind::Retain } else { ChangeKind::Remove };
        if kind == ChangeKind::Remove {
            let context = self.context(id, resource.generation);
            if let Err(error) = resources::delete(&context, &resource).await {
                self.done.left_over.push(error.on(id).to_string());
                return Ok(());
            }
        }
        self.stack.resources.remove(id);
        self.stack.order.retain(|other| other != id);
        self.keep().await?;
        let resource_type = resource.kind;
        self.record(Change { id: id.to_string(), resource_type, kind, properties: Vec::new() });
        Ok(())
    }
}

/// Names of exports that functions below `value` import.
pub(crate) fn imported(value: &Value, scope: &Scope, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| imported(item, scope, found)),
        Value::Object(members) => {
            if let Some(name) = members.get("Fn::ImportValue") {
                found.extend(scope.resolve(name).ok().map(|name| text(&name)));
            }
            members.values().for_each(|member| imported(member, scope, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
