//! Step Functions: state machines, versions, aliases, activities.

use serde_json::{Map, Value, json};

use super::{Context, Made};
use crate::client::{CallError, CallResult, json as call};
use crate::deploy::StackResource;
use crate::intrinsics::text;

async fn states(context: &Context<'_>, action: &str, body: Value) -> CallResult<Value> {
    call(context.client, "states", &format!("AWSStepFunctions.{action}"), body).await
}

/// The definition's text with `${Name}` replaced by the substitutions, as CloudFormation does.
fn definition(properties: &Value) -> CallResult<String> {
    let mut definition = match (&properties["DefinitionString"], &properties["Definition"]) {
        (Value::String(text), _) => text.clone(),
        (_, Value::Object(object)) => Value::Object(object.clone()).to_string(),
        _ => {
            let what = "DefinitionS3Location is not supported yet: give DefinitionUri or Definition";
            return Err(CallError::invalid("states CreateStateMachine", what));
        }
    };
    for (name, value) in properties["DefinitionSubstitutions"].as_object().into_iter().flatten() {
        definition = definition.replace(&format!("${{{name}}}"), &text(value));
    }
    Ok(definition)
}

/// CloudFormation's PascalCase configuration as the API's camelCase.
fn camel(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| {
                let mut letters = name.chars();
                let first = letters.next().map(|c| c.to_ascii_lowercase());
                (first.into_iter().chain(letters).collect::<String>(), camel(member))
            })
            .collect::<Map<String, Value>>()
            .into(),
        Value::Array(items) => items.iter().map(camel).collect(),
        other => other.clone(),
    }
}

/// The log group's ARN must end in `:*`; templates that omit it are mended, as CloudFormation does.
fn logging(properties: &Value) -> Option<Value> {
    let mut logging = camel(properties.get("LoggingConfiguration")?);
    for destination in logging["destinations"].as_array_mut().into_iter().flatten() {
        let arn = &mut destination["cloudWatchLogsLogGroup"]["logGroupArn"];
        if let Some(given) = arn.as_str().filter(|given| !given.ends_with(":*")) {
            *arn = format!("{given}:*").into();
        }
    }
    Some(logging)
}

fn configuration(properties: &Value) -> CallResult<Value> {
    let mut body = json!({ "definition": definition(properties)?, "roleArn": properties["RoleArn"] });
    if let Some(logging) = logging(properties) {
        body["loggingConfiguration"] = logging;
    }
    for (from, to) in [
        ("TracingConfiguration", "tracingConfiguration"),
        ("EncryptionConfiguration", "encryptionConfiguration"),
    ] {
        if let Some(value) = properties.get(from) {
            body[to] = camel(value);
        }
    }
    Ok(body)
}

/// The first revision has no id of its own; publishing calls it INITIAL.
fn revision(answer: &Value) -> Value {
    answer["revisionId"].as_str().unwrap_or("INITIAL").into()
}

pub(super) async fn create_state_machine(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "StateMachineName", 80);
    let mut body = configuration(properties)?;
    body["name"] = name.as_str().into();
    body["type"] = properties.get("StateMachineType").cloned().unwrap_or_else(|| "STANDARD".into());
    if let Value::Array(tags) = camel(&properties["Tags"]) {
        body["tags"] = tags.into();
    }
    let answer = states(context, "CreateStateMachine", body).await?;
    let arn = answer["stateMachineArn"].clone();
    let attributes =
        [("Arn", arn.clone()), ("Name", name.into()), ("StateMachineRevisionId", revision(&answer))];
    Ok(Made::new(arn, &attributes))
}

pub(super) async fn update_state_machine(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let renamed = current.attributes.get("Name").and_then(Value::as_str)
        != Some(&context.name(properties, "StateMachineName", 80));
    if renamed || current.properties["StateMachineType"] != properties["StateMachineType"] {
        delete_state_machine(context, current).await?;
        return create_state_machine(context, properties).await;
    }
    let mut body = configuration(properties)?;
    body["stateMachineArn"] = current.reference.clone();
    let answer = states(context, "UpdateStateMachine", body).await?;
    let mut attributes = current.attributes.clone();
    attributes.insert("StateMachineRevisionId".into(), revision(&answer));
    Ok(Made { reference: current.reference.clone(), attributes })
}

pub(super) async fn delete_state_machine(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    states(context, "DeleteStateMachine", json!({ "stateMachineArn": resource.reference })).await.map(drop)
}

pub(super) async fn publish_version(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let mut body = json!({ "stateMachineArn": properties["StateMachineArn"] });
    for (from, to) in [("StateMachineRevisionId", "revisionId"), ("Description", "description")] {
        if let Some(value) = properties.get(from) {
            body[to] = value.clone();
        }
    }
    let answer = states(context, "PublishStateMachineVersion", body).await?;
    let arn = answer["stateMachineVersionArn"].clone();
    Ok(Made::new(arn.clone(), &[("Arn", arn)]))
}

/// Versions that an alias still routes to stay until the state machine goes.
pub(super) async fn delete_version(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let body = json!({ "stateMachineVersionArn": resource.reference });
    match states(context, "DeleteStateMachineVersion", body).await {
        Err(error) if error.code() != "ConflictException" => Err(error),
        _ => Ok(()),
    }
}

pub(super) async fn put_alias(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let routing = match properties.get("RoutingConfiguration") {
        Some(routing) => camel(routing),
        None => {
            let version = &properties["DeploymentPreference"]["StateMachineVersionArn"];
            json!([{ "stateMachineVersionArn": version, "weight": 100 }])
        }
    };
    let name = context.name(properties, "Name", 80);
    let body = json!({ "name": name, "routingConfiguration": routing });
    let answer = match states(context, "CreateStateMachineAlias", body).await {
        Err(error) if error.code() == "ConflictException" => {
            let version = routing[0]["stateMachineVersionArn"].as_str().unwrap_or_default();
            let machine = version.rsplit_once(':').map_or(version, |(machine, _)| machine);
            let arn = format!("{machine}:{name}");
            let body = json!({ "stateMachineAliasArn": arn, "routingConfiguration": routing });
            states(context, "UpdateStateMachineAlias", body).await?;
            json!({ "stateMachineAliasArn": arn })
        }
        answer => answer?,
    };
    let arn = answer["stateMachineAliasArn"].clone();
    Ok(Made::new(arn.clone(), &[("Arn", arn)]))
}

pub(super) async fn delete_alias(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let body = json!({ "stateMachineAliasArn": resource.reference });
    states(context, "DeleteStateMachineAlias", body).await.map(drop)
}

pub(super) async fn create_activity(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "Name", 80);
    let answer = states(context, "CreateActivity", json!({ "name": name })).await?;
    let arn = answer["activityArn"].clone();
    Ok(Made::new(arn.clone(), &[("Arn", arn), ("Name", name.into())]))
}

pub(super) async fn delete_activity(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    states(context, "DeleteActivity", json!({ "activityArn": resource.reference })).await.map(drop)
}
