//! Back to the last complete state: after a failure, and, for what a killed deployment left half made, at the next start.

use std::collections::BTreeMap;

use crate::deploy::Work;
use crate::error::TemplateError;
use crate::plan::{Change, ChangeKind};
use crate::resources;
use crate::stack::{FailedResource, StackResource};

/// What was being created when an earlier deployment died is deleted: it was not there before that deployment looked, so
/// it is the stack's own. What was being changed is marked, since the change may have happened in part.
pub(crate) async fn settle(work: &mut Work<'_>) -> Result<(), TemplateError> {
    let Some(pending) = work.stack.pending.clone() else { return Ok(()) };
    let id = pending.id.as_str();
    if pending.is_new {
        let context = work.context(id, pending.generation);
        let on = |error: crate::client::CallError| error.on(id);
        let found = resources::locate(&context, &pending.kind, &pending.properties).await.map_err(on)?;
        if let Some(left_over) = found.filter(|found| pending.seen.as_ref() != Some(&found.reference)) {
            resources::delete(&context, &left_over).await.map_err(on)?;
        }
    } else if let Some(resource) = work.stack.resources.get_mut(id) {
        resource.half_changed = true;
    }
    work.stack.pending = None;
    work.keep().await
}

/// Says in the kept state which resource ended the deployment, and why.
pub(crate) fn fail(work: &mut Work<'_>, cause: &TemplateError) {
    let reason = match cause {
        TemplateError::Refused { message, .. } if !message.is_empty() => message.clone(),
        other => other.to_string(),
    };
    let id = work.stack.pending.as_ref().map(|pending| pending.id.clone());
    work.stack.failed = Some(FailedResource { id: id.unwrap_or_default(), reason });
}

/// Undoes a failed deployment. The error says why it failed, and what could not be undone.
pub(crate) async fn roll_back(mut work: Work<'_>, cause: TemplateError) -> TemplateError {
    let mut stuck = Vec::new();
    let is_creation = work.stack.before.as_ref().is_none_or(|before| before.order.is_empty());
    let word = if is_creation { "ROLLBACK" } else { "UPDATE_ROLLBACK" };
    fail(&mut work, &cause);
    work.stack.status = format!("{word}_IN_PROGRESS");
    if let Err(error) = work.keep().await {
        return TemplateError::RolledBack { cause: Box::new(cause), stuck: vec![error.to_string()] };
    }
    if let Err(error) = settle(&mut work).await {
        stuck.push(error.to_string());
    }
    let before = work.stack.before.clone().unwrap_or_default();
    for id in work.stack.order.clone().into_iter().rev() {
        if let Err(error) = undo(&mut work, &id, &before.resources).await {
            stuck.push(error.to_string());
        }
    }
    let is_undone = stuck.is_empty();
    if is_undone {
        work.stack.order.clone_from(&before.order);
        work.stack.before = None;
        work.stack.failed = None;
    }
    let end = if is_undone { "COMPLETE" } else { "FAILED" };
    work.stack.status = format!("{word}_{end}");
    let kept = if work.stack.resources.is_empty() && is_undone && before.order.is_empty() {
        work.stack.forget(work.client).await
    } else {
        work.keep().await
    };
    stuck.extend(kept.err().map(|error| error.to_string()));
    TemplateError::RolledBack { cause: Box::new(cause), stuck }
}

/// Created resources go, replaced ones come back, changed ones get their old properties.
async fn undo(
    work: &mut Work<'_>,
    id: &str,
    before: &BTreeMap<String, StackResource>,
) -> Result<(), TemplateError> {
    let Some(current) = work.stack.resources.get(id).cloned() else { return Ok(()) };
    let context = work.context(id, current.generation);
    let kind = match before.get(id) {
        Some(old)
            if !current.half_changed
                && old.properties == current.properties
                && old.reference == current.reference =>
        {
            return Ok(());
        }
        Some(old) if old.generation == current.generation && old.kind == current.kind => {
            let made = resources::update(&context, &current, &old.properties).await;
            let made = made.map_err(|error| error.on(id))?;
            let restored =
                StackResource { reference: made.reference, attributes: made.attributes, ..old.clone() };
            work.stack.resources.insert(id.to_string(), restored);
            ChangeKind::Modify
        }
        Some(old) => {
            resources::delete(&context, &current).await.map_err(|error| error.on(id))?;
            work.stack.resources.insert(id.to_string(), old.clone());
            work.stack.retired.retain(|retired| retired.id != id);
            ChangeKind::Replace
        }
        None => {
            resources::delete(&context, &current).await.map_err(|error| error.on(id))?;
            work.stack.resources.remove(id);
            work.stack.order.retain(|other| other != id);
            ChangeKind::Remove
        }
    };
    (work.progress)(&Change {
        id: id.to_string(),
        resource_type: current.kind,
        kind,
        properties: Vec::new(),
    });
    Ok(())
}
