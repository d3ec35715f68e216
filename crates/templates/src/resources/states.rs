//! Step Functions: state machines, versions, aliases, activities.

use serde_json::{Map, Value, json};

use super::tags::{TagChange, pairs, tag_map};
use super::{Context, Made};
use crate::client::{CallError, CallResult, json as call, rest_xml, segment};
use crate::intrinsics::text;
use crate::sam::definition_text;
use crate::stack::StackResource;

async fn states(context: &Context<'_>, action: &str, body: Value) -> CallResult<Value> {
    call(context.client, "states", &format!("AWSStepFunctions.{action}"), body).await
}

/// The definition's text with `${Name}` replaced by the substitutions, as CloudFormation does.
async fn definition(context: &Context<'_>, properties: &Value) -> CallResult<String> {
    let mut definition = match (&properties["DefinitionString"], &properties["Definition"]) {
        (Value::String(text), _) => text.clone(),
        (_, Value::Object(object)) => Value::Object(object.clone()).to_string(),
        _ => located(context, &properties["DefinitionS3Location"]).await?,
    };
    for (name, value) in properties["DefinitionSubstitutions"].as_object().into_iter().flatten() {
        definition = definition.replace(&format!("${{{name}}}"), &text(value));
    }
    Ok(definition)
}

/// The text of the object in S3 that holds the definition.
async fn located(context: &Context<'_>, location: &Value) -> CallResult<String> {
    let (Some(bucket), Some(key)) = (location["Bucket"].as_str(), location["Key"].as_str()) else {
        let what = "Property DefinitionString, Definition or DefinitionS3Location is required.";
        return Err(CallError::invalid("states CreateStateMachine", what));
    };
    let key: Vec<String> = key.split('/').map(segment).collect();
    let version = location["Version"].as_str().map(|version| format!("?versionId={}", segment(version)));
    let path = format!("/{}/{}{}", segment(bucket), key.join("/"), version.unwrap_or_default());
    let text = rest_xml(context.client, "s3", "GET", &path, String::new()).await?;
    definition_text(&path, text)
        .map_err(|error| CallError::invalid("states CreateStateMachine", error.to_string()))
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

async fn configuration(context: &Context<'_>, properties: &Value) -> CallResult<Value> {
    let mut body =
        json!({ "definition": definition(context, properties).await?, "roleArn": properties["RoleArn"] });
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
    let mut body = configuration(context, properties).await?;
    body["name"] = name.as_str().into();
    body["type"] = properties.get("StateMachineType").cloned().unwrap_or_else(|| "STANDARD".into());
    if properties.get("Tags").is_some() {
        body["tags"] = pairs(&tag_map(properties), "key", "value");
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
    let mut body = configuration(context, properties).await?;
    body["stateMachineArn"] = current.reference.clone();
    let answer = states(context, "UpdateStateMachine", body).await?;
    update_tags(context, current, properties).await?;
    let mut made = Made::same(current);
    made.attributes.insert("StateMachineRevisionId".into(), revision(&answer));
    Ok(made)
}

async fn update_tags(context: &Context<'_>, current: &StackResource, properties: &Value) -> CallResult<()> {
    let (arn, tags) = (&current.reference, TagChange::of(current, properties));
    if !tags.gone.is_empty() {
        states(context, "UntagResource", json!({ "resourceArn": arn, "tagKeys": tags.gone })).await?;
    }
    if !tags.put.is_empty() {
        let body = json!({ "resourceArn": arn, "tags": pairs(&tags.put, "key", "value") });
        states(context, "TagResource", body).await?;
    }
    Ok(())
}

pub(super) async fn locate_state_machine(context: &Context<'_>, name: &str) -> CallResult<Made> {
    let arn = context.arn("states", &format!("stateMachine:{name}"));
    states(context, "DescribeStateMachine", json!({ "stateMachineArn": arn })).await?;
    Ok(Made::new(arn, &[]))
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

fn routing(properties: &Value) -> Value {
    match properties.get("RoutingConfiguration") {
        Some(routing) => camel(routing),
        None => {
            let version = &properties["DeploymentPreference"]["StateMachineVersionArn"];
            json!([{ "stateMachineVersionArn": version, "weight": 100 }])
        }
    }
}

pub(super) async fn create_alias(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "Name", 80);
    let mut body = json!({ "name": name, "routingConfiguration": routing(properties) });
    if let Some(description) = properties.get("Description") {
        body["description"] = description.clone();
    }
    let arn = states(context, "CreateStateMachineAlias", body).await?["stateMachineAliasArn"].clone();
    Ok(Made::new(arn.clone(), &[("Arn", arn)]))
}

pub(super) async fn update_alias(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let body = json!({ "stateMachineAliasArn": current.reference, "routingConfiguration": routing(properties),
                       "description": properties["Description"].as_str().unwrap_or_default() });
    states(context, "UpdateStateMachineAlias", body).await?;
    Ok(Made::same(current))
}

pub(super) async fn locate_alias(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let routing = routing(properties);
    let version = routing[0]["stateMachineVersionArn"].as_str().unwrap_or_default();
    let machine = version.rsplit_once(':').map_or(version, |(machine, _)| machine);
    let arn = format!("{machine}:{}", context.name(properties, "Name", 80));
    states(context, "DescribeStateMachineAlias", json!({ "stateMachineAliasArn": arn })).await?;
    Ok(Made::new(arn, &[]))
}

pub(super) async fn delete_alias(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let body = json!({ "stateMachineAliasArn": resource.reference });
    states(context, "DeleteStateMachineAlias", body).await.map(drop)
}

pub(super) async fn create_activity(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "Name", 80);
    let tags = pairs(&tag_map(properties), "key", "value");
    let answer = states(context, "CreateActivity", json!({ "name": name, "tags": tags })).await?;
    let arn = answer["activityArn"].clone();
    Ok(Made::new(arn.clone(), &[("Arn", arn), ("Name", name.into())]))
}

pub(super) async fn update_activity(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    update_tags(context, current, properties).await?;
    Ok(Made::same(current))
}

pub(super) async fn delete_activity(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    states(context, "DeleteActivity", json!({ "activityArn": resource.reference })).await.map(drop)
}

pub(super) async fn locate_activity(context: &Context<'_>, name: &str) -> CallResult<Made> {
    let arn = context.arn("states", &format!("activity:{name}"));
    states(context, "DescribeActivity", json!({ "activityArn": arn })).await?;
    Ok(Made::new(arn, &[]))
}
