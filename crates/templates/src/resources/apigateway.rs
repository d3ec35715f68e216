//! API Gateway: REST APIs with resources, methods, deployments and stages.

use serde_json::{Map, Value, json};

use super::tags::tag_map;
use super::{Context, Made};
use crate::client::{CallError, CallResult, rest, segment};
use crate::intrinsics::text;
use crate::stack::StackResource;

async fn call(context: &Context<'_>, method: &str, path: &str, body: Option<Value>) -> CallResult<Value> {
    rest(context.client, "apigateway", method, path, body).await
}

fn api_path(properties: &Value) -> String {
    format!("/restapis/{}", segment(&text(&properties["RestApiId"])))
}

/// The first letter small, as the API has it; names below are the user's own or follow the same rule.
fn lowered(source: &Value, members: &[&str]) -> Value {
    let mut body = Map::new();
    for member in members {
        if let Some(value) = source.get(*member) {
            body.insert(lower(member), value.clone());
        }
    }
    Value::Object(body)
}

fn lower(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// Booleans of templates may be texts.
fn truths(value: &Value) -> Value {
    let members = value.as_object().into_iter().flatten();
    let truth = |value: &Value| Value::from(text(value).eq_ignore_ascii_case("true"));
    members.map(|(name, value)| (name.clone(), truth(value))).collect()
}

pub(super) async fn create_api(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let mut body = lowered(properties, &["Description", "ApiKeySourceType", "Policy"]);
    body["name"] = context.name(properties, "Name", 255).into();
    if let Some(types) = properties["EndpointConfiguration"].get("Types") {
        body["endpointConfiguration"] = json!({ "types": types });
    }
    body["tags"] = Value::Object(tag_map(properties));
    let answer = call(context, "POST", "/restapis", Some(body)).await?;
    let id = answer["id"].clone();
    Ok(Made::new(id.clone(), &[("RestApiId", id), ("RootResourceId", answer["rootResourceId"].clone())]))
}

pub(super) async fn update_api(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let replaced = |member: &str, value: Value| json!({ "op": "replace", "path": member, "value": value });
    let description = text(properties.get("Description").unwrap_or(&Value::from("")));
    let operations = json!([
        replaced("/name", context.name(properties, "Name", 255).into()),
        replaced("/description", description.into()),
    ]);
    let path = format!("/restapis/{}", segment(&text(&current.reference)));
    call(context, "PATCH", &path, Some(json!({ "patchOperations": operations }))).await?;
    Ok(Made::same(current))
}

pub(super) async fn delete_api(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let path = format!("/restapis/{}", segment(&text(&resource.reference)));
    call(context, "DELETE", &path, None).await.map(drop)
}

pub(super) async fn create_resource(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let path = format!("{}/resources/{}", api_path(properties), segment(&text(&properties["ParentId"])));
    let body = json!({ "pathPart": properties["PathPart"] });
    let answer = call(context, "POST", &path, Some(body)).await?;
    let id = answer["id"].clone();
    Ok(Made::new(id.clone(), &[("ResourceId", id)]))
}

pub(super) async fn delete_resource(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let path =
        format!("{}/resources/{}", api_path(&resource.properties), segment(&text(&resource.reference)));
    call(context, "DELETE", &path, None).await.map(drop)
}

fn method_path(properties: &Value) -> String {
    let (resource, method) = (text(&properties["ResourceId"]), text(&properties["HttpMethod"]));
    format!("{}/resources/{}/methods/{}", api_path(properties), segment(&resource), segment(&method))
}

pub(super) async fn put_method(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let path = method_path(properties);
    let mut body = lowered(properties, &["AuthorizationType", "OperationName", "RequestModels"]);
    body["requestParameters"] = truths(&properties["RequestParameters"]);
    if properties.get("ApiKeyRequired").is_some_and(|value| text(value).eq_ignore_ascii_case("true")) {
        body["apiKeyRequired"] = true.into();
    }
    call(context, "PUT", &path, Some(body)).await?;
    for response in properties["MethodResponses"].as_array().into_iter().flatten() {
        let body = json!({ "responseModels": response["ResponseModels"],
                           "responseParameters": truths(&response["ResponseParameters"]) });
        let path = format!("{path}/responses/{}", segment(&text(&response["StatusCode"])));
        call(context, "PUT", &path, Some(body)).await?;
    }
    if let Some(integration) = properties.get("Integration") {
        put_integration(context, &path, integration).await?;
    }
    Ok(Made::new(context.name(&Value::Null, "", 100), &[]))
}

async fn put_integration(context: &Context<'_>, path: &str, integration: &Value) -> CallResult<()> {
    let members = [
        "ContentHandling",
        "Credentials",
        "IntegrationHttpMethod",
        "PassthroughBehavior",
        "RequestParameters",
        "RequestTemplates",
        "TimeoutInMillis",
        "Type",
        "Uri",
    ];
    let path = format!("{path}/integration");
    call(context, "PUT", &path, Some(lowered(integration, &members))).await?;
    for response in integration["IntegrationResponses"].as_array().into_iter().flatten() {
        let members = ["ContentHandling", "ResponseParameters", "ResponseTemplates", "SelectionPattern"];
        let path = format!("{path}/responses/{}", segment(&text(&response["StatusCode"])));
        call(context, "PUT", &path, Some(lowered(response, &members))).await?;
    }
    Ok(())
}

/// The API has no call that changes all of a method, so it is put anew; what is deployed stays as it is meanwhile.
pub(super) async fn update_method(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    call(context, "DELETE", &method_path(&current.properties), None).await.or_else(gone)?;
    put_method(context, properties).await?;
    Ok(Made::same(current))
}

fn gone(error: CallError) -> CallResult<Value> {
    if error.code() == "NotFoundException" { Ok(Value::Null) } else { Err(error) }
}

pub(super) async fn delete_method(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    call(context, "DELETE", &method_path(&resource.properties), None).await.map(drop)
}

pub(super) async fn create_deployment(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let body = lowered(properties, &["Description", "StageName"]);
    let answer = call(context, "POST", &format!("{}/deployments", api_path(properties)), Some(body)).await?;
    let id = answer["id"].clone();
    Ok(Made::new(id.clone(), &[("DeploymentId", id)]))
}

pub(super) async fn delete_deployment(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let api = api_path(&resource.properties);
    if let Some(stage) = resource.properties["StageName"].as_str() {
        // The stage that came with the deployment goes with it.
        call(context, "DELETE", &format!("{api}/stages/{}", segment(stage)), None).await.or_else(gone)?;
    }
    let path = format!("{api}/deployments/{}", segment(&text(&resource.reference)));
    call(context, "DELETE", &path, None).await.map(drop)
}

pub(super) async fn create_stage(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let mut body = lowered(properties, &["DeploymentId", "Description", "StageName", "Variables"]);
    body["tags"] = Value::Object(tag_map(properties));
    let answer = call(context, "POST", &format!("{}/stages", api_path(properties)), Some(body)).await?;
    Ok(Made::new(answer["stageName"].clone(), &[]))
}

fn stage_path(resource: &StackResource) -> String {
    format!("{}/stages/{}", api_path(&resource.properties), segment(&text(&resource.reference)))
}

pub(super) async fn update_stage(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let replaced = |path: String, value: Value| json!({ "op": "replace", "path": path, "value": value });
    let mut operations = vec![
        replaced("/deploymentId".into(), properties["DeploymentId"].clone()),
        replaced("/description".into(), properties.get("Description").cloned().unwrap_or_else(|| "".into())),
    ];
    for (name, _) in current.properties["Variables"].as_object().into_iter().flatten() {
        operations.push(json!({ "op": "remove", "path": format!("/variables/{name}") }));
    }
    for (name, value) in properties["Variables"].as_object().into_iter().flatten() {
        operations.push(replaced(format!("/variables/{name}"), value.clone()));
    }
    let body = json!({ "patchOperations": operations });
    call(context, "PATCH", &stage_path(current), Some(body)).await?;
    Ok(Made::same(current))
}

pub(super) async fn delete_stage(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    call(context, "DELETE", &stage_path(resource), None).await.map(drop)
}

/// The account's settings, of which there are one.
pub(super) async fn put_account(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let role = properties.get("CloudWatchRoleArn").cloned().unwrap_or_else(|| "".into());
    let operations = json!([{ "op": "replace", "path": "/cloudwatchRoleArn", "value": role }]);
    call(context, "PATCH", "/account", Some(json!({ "patchOperations": operations }))).await?;
    let id = context.name(&Value::Null, "", 100);
    Ok(Made::new(id.clone(), &[("Id", id.into())]))
}
