//! State machines and tags.

use std::sync::Arc;

use asl::program::StateMachineType;
use runtime::{CreateStateMachine, StateMachineDescription, StateMachineStatus, UpdateStateMachine};
use serde_json::{Map, Value, json};

use super::{Answer, Shown, nothing, page, roles};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::{Api, Caller};

/// `type`, STANDARD unless said otherwise.
pub(super) fn machine_type(fields: &Fields<'_>) -> StateMachineType {
    match fields.optional("type") {
        Some("EXPRESS") => StateMachineType::Express,
        _ => StateMachineType::Standard,
    }
}

pub(super) fn type_name(machine_type: StateMachineType) -> &'static str {
    match machine_type {
        StateMachineType::Standard => "STANDARD",
        StateMachineType::Express => "EXPRESS",
    }
}

pub(super) async fn create(api: &Api, caller: &Caller, fields: &Fields<'_>) -> Answer {
    check_version_description(fields)?;
    check_log_group(api, fields).await?;
    roles::check_created(api, caller, fields).await?;
    let request = CreateStateMachine {
        name: fields.text("name").into(),
        definition: fields.text("definition").into(),
        role_arn: fields.text("roleArn").into(),
        machine_type: machine_type(fields),
        logging: fields.value("loggingConfiguration"),
        tracing: fields.value("tracingConfiguration"),
        encryption: fields.value("encryptionConfiguration"),
        tags: fields.tags("tags"),
        publish: fields.flag("publish").unwrap_or(false),
        version_description: fields.shared("versionDescription"),
    };
    let created = api.runtime.create_state_machine(&caller.scope, request).await?;
    let logging = fields.get("loggingConfiguration").unwrap_or(&Value::Null);
    for destination in logging["destinations"].as_array().into_iter().flatten() {
        if let Some(arn) = destination["cloudWatchLogsLogGroup"]["logGroupArn"].as_str() {
            (api.surroundings.announce_logging)(arn.strip_suffix(":*").unwrap_or(arn).to_owned()).await;
        }
    }
    Ok(Shown::new()
        .with("stateMachineArn", &*created.arn)
        .date("creationDate", created.created_at)
        .maybe("stateMachineVersionArn", created.version_arn)
        .done())
}

pub(super) async fn update(api: &Api, caller: &Caller, fields: &Fields<'_>) -> Answer {
    check_version_description(fields)?;
    check_log_group(api, fields).await?;
    roles::check_updated(api, caller, fields).await?;
    let request = UpdateStateMachine {
        definition: fields.shared("definition"),
        role_arn: fields.shared("roleArn"),
        logging: fields.value("loggingConfiguration"),
        tracing: fields.value("tracingConfiguration"),
        encryption: fields.value("encryptionConfiguration"),
        publish: fields.flag("publish").unwrap_or(false),
        version_description: fields.shared("versionDescription"),
    };
    let updated = api.runtime.update_state_machine(fields.text("stateMachineArn"), request).await?;
    Ok(Shown::new()
        .date("updateDate", updated.updated_at)
        .maybe("revisionId", updated.revision_id)
        .maybe("stateMachineVersionArn", updated.version_arn)
        .done())
}

fn check_version_description(fields: &Fields<'_>) -> Result<(), ApiError> {
    if fields.optional("versionDescription").is_some() && fields.flag("publish") != Some(true) {
        return Err(ApiError::validation("Version description can only be set when publish is true"));
    }
    Ok(())
}

/// The log group must exist when a level asks for it (recorded: "Log Destination not found.").
async fn check_log_group(api: &Api, fields: &Fields<'_>) -> Result<(), ApiError> {
    let Some(logging) = fields.get("loggingConfiguration") else { return Ok(()) };
    for destination in logging["destinations"].as_array().into_iter().flatten() {
        let arn = destination["cloudWatchLogsLogGroup"]["logGroupArn"].as_str().unwrap_or_default();
        let group = arn.strip_suffix(":*");
        let exists = match group {
            Some(group) => (api.surroundings.log_group_exists)(group.to_string()).await,
            None => false,
        };
        if !exists {
            let message = "Invalid Logging Configuration: Log Destination not found.";
            return Err(ApiError::new("InvalidLoggingConfiguration", message));
        }
    }
    Ok(())
}

pub(super) async fn describe(api: &Api, fields: &Fields<'_>) -> Answer {
    let described = api.runtime.describe_state_machine(fields.text("stateMachineArn")).await?;
    let status = match described.machine.status {
        StateMachineStatus::Active => "ACTIVE",
        StateMachineStatus::Deleting => "DELETING",
    };
    let shown = shown(&described, metadata_only(fields))
        .with("status", status)
        .with("type", type_name(described.machine.machine_type))
        .date("creationDate", described.created_at)
        .maybe("description", described.description.as_ref());
    Ok(shown.done())
}

pub(super) async fn describe_for_execution(api: &Api, fields: &Fields<'_>) -> Answer {
    let described = api.runtime.describe_state_machine_for_execution(fields.text("executionArn")).await?;
    let mut shown = shown(&described, metadata_only(fields)).date("updateDate", described.machine.updated_at);
    if described.machine.encryption.is_none() {
        shown = shown.with("encryptionConfiguration", json!({ "type": "AWS_OWNED_KEY" }));
    }
    Ok(shown.done())
}

pub(super) fn metadata_only(fields: &Fields<'_>) -> bool {
    fields.optional("includedData") == Some("METADATA_ONLY")
}

/// What both descriptions share.
fn shown(described: &StateMachineDescription, metadata_only: bool) -> Shown {
    let machine = &described.machine;
    let definition = if metadata_only { "{}" } else { &*described.definition };
    let logging =
        machine.logging.clone().unwrap_or_else(|| json!({ "level": "OFF", "includeExecutionData": false }));
    let mut logging = logging;
    if let Some(members) = logging.as_object_mut() {
        members.retain(|_, value| !value.is_null());
        members.entry("level").or_insert_with(|| "OFF".into());
        members.entry("includeExecutionData").or_insert_with(|| false.into());
    }
    let mut tracing = machine.tracing.clone().unwrap_or_else(|| json!({ "enabled": false }));
    if let Some(members) = tracing.as_object_mut() {
        members.entry("enabled").or_insert_with(|| false.into());
    }
    let mut shown = Shown::new()
        .with("stateMachineArn", &*described.arn)
        .with("name", &*machine.name)
        .with("definition", definition)
        .with("roleArn", &*machine.role_arn)
        .with("loggingConfiguration", logging)
        .with("tracingConfiguration", tracing)
        .maybe("revisionId", machine.revision_id.as_ref());
    if let Some(encryption) = &machine.encryption {
        shown = shown.with("encryptionConfiguration", encryption.clone());
    }
    match references(described) {
        Some(references) if !metadata_only => shown.with("variableReferences", references),
        _ => shown,
    }
}

/// Variables by state, for machines that use any.
fn references(described: &StateMachineDescription) -> Option<Value> {
    let program = asl::compile_stored(&described.definition, described.machine.machine_type).ok()?;
    let references: Map<String, Value> =
        asl::variable_references(&program).into_iter().map(|(state, names)| (state, names.into())).collect();
    (!references.is_empty()).then_some(Value::Object(references))
}

pub(super) async fn list(api: &Api, caller: &Caller, fields: &Fields<'_>) -> Answer {
    let listed = api.runtime.list_state_machines(&caller.scope, fields.page()).await?;
    let items = listed.items.iter().map(|machine| {
        Shown::new()
            .with("stateMachineArn", &*machine.arn)
            .with("name", &*machine.name)
            .with("type", type_name(machine.machine_type))
            .date("creationDate", machine.created_at)
            .done()
    });
    Ok(page("stateMachines", items.collect(), listed.next_token))
}

pub(super) async fn delete(api: &Api, fields: &Fields<'_>) -> Answer {
    api.runtime.delete_state_machine(fields.text("stateMachineArn")).await?;
    Ok(nothing())
}

pub(super) async fn tag(api: &Api, fields: &Fields<'_>) -> Answer {
    api.runtime.tag_resource(fields.text("resourceArn"), fields.tags("tags")).await?;
    Ok(nothing())
}

pub(super) async fn untag(api: &Api, fields: &Fields<'_>) -> Answer {
    let keys: Vec<Arc<str>> =
        fields.list("tagKeys").iter().filter_map(Value::as_str).map(Arc::from).collect();
    api.runtime.untag_resource(fields.text("resourceArn"), &keys).await?;
    Ok(nothing())
}

pub(super) async fn tags(api: &Api, fields: &Fields<'_>) -> Answer {
    let tags = api.runtime.list_tags(fields.text("resourceArn")).await?;
    let tags: Vec<Value> =
        tags.iter().map(|(key, value)| json!({ "key": &**key, "value": &**value })).collect();
    Ok(json!({ "tags": tags }))
}
