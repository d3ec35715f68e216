//! What a state machine asks of its role before it exists: AWS looks when a definition is created or updated.
//!
//! This module says what is needed; whether the role grants it is for the surroundings to say.

use serde_json::Value;

use crate::error::ApiError;
use crate::fields::Fields;
use crate::{Api, Caller, RoleUse};

/// For CreateStateMachine.
pub(super) async fn check_created(api: &Api, caller: &Caller, fields: &Fields<'_>) -> Result<(), ApiError> {
    let logging = fields.get("loggingConfiguration");
    check(api, caller, fields.text("roleArn"), fields.text("definition"), logging).await
}

/// For UpdateStateMachine: what is not given stays as it is.
pub(super) async fn check_updated(api: &Api, caller: &Caller, fields: &Fields<'_>) -> Result<(), ApiError> {
    if ["roleArn", "definition", "loggingConfiguration"].iter().all(|name| fields.get(name).is_none()) {
        return Ok(());
    }
    let current = api.runtime.describe_state_machine(fields.text("stateMachineArn")).await?;
    let role = fields.optional("roleArn").unwrap_or(&current.machine.role_arn);
    let definition = fields.optional("definition").unwrap_or(&current.definition);
    let logging = fields.get("loggingConfiguration").or(current.machine.logging.as_ref());
    check(api, caller, role, definition, logging).await
}

async fn check(
    api: &Api,
    caller: &Caller,
    role_arn: &str,
    definition: &str,
    logging: Option<&Value>,
) -> Result<(), ApiError> {
    check_arn(role_arn)?;
    // A definition that is no JSON is refused with its own diagnostics a moment later.
    let definition: Value = serde_json::from_str(definition).unwrap_or_default();
    let mut resources = Vec::new();
    collect(&definition, &mut resources);
    let logs = logging.is_some_and(|logging| {
        logging["level"].as_str().is_some_and(|level| level != "OFF")
            && logging["destinations"].as_array().is_some_and(|destinations| !destinations.is_empty())
    });
    let wanted = RoleUse { scope: caller.scope.clone(), role_arn: role_arn.into(), resources, logs };
    match (api.surroundings.role_refusal)(wanted).await {
        Some(message) => Err(ApiError::new("AccessDeniedException", message)),
        None => Ok(()),
    }
}

/// Whether it is the ARN of a role at all.
pub(super) fn check_arn(role_arn: &str) -> Result<(), ApiError> {
    let parts: Vec<&str> = role_arn.splitn(6, ':').collect();
    match parts[..] {
        ["arn", _, "iam", "", _, role] if role.starts_with("role/") => Ok(()),
        _ => Err(ApiError::new("InvalidArn", format!("Invalid Role Arn: '{role_arn}'"))),
    }
}

/// Resources of all Task states, wherever they are nested.
fn collect(definition: &Value, resources: &mut Vec<String>) {
    for state in definition["States"].as_object().into_iter().flat_map(|states| states.values()) {
        resources.extend(state["Resource"].as_str().map(str::to_string));
        let branches = state["Branches"].as_array().into_iter().flatten();
        branches
            .chain([&state["ItemProcessor"], &state["Iterator"]])
            .for_each(|nested| collect(nested, resources));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn resources_are_found_in_branches_and_item_processors() {
        let task = |resource: &str| json!({ "States": { "T": { "Type": "Task", "Resource": resource } } });
        let definition = json!({ "States": {
            "A": { "Type": "Task", "Resource": "a" },
            "B": { "Type": "Parallel", "Branches": [task("b"), task("c")] },
            "C": { "Type": "Map", "ItemProcessor": task("d") },
            "D": { "Type": "Map", "Iterator": task("e") },
        } });
        let mut found = Vec::new();
        collect(&definition, &mut found);
        assert_eq!(found, ["a", "b", "c", "d", "e"]);
    }
}
