//! Lambda: functions from folders or inline code, versions, aliases, permissions.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::tags::{TagChange, tag_map};
use super::{Context, Made};
use crate::client::{CallError, CallResult, rest, segment};
use crate::stack::StackResource;

const API: &str = "/2015-03-31/functions";
/// Lambda's own limit of an unzipped bundle.
const BUNDLE_BYTES_MAX: u64 = 250 * 1024 * 1024;
const SKIPPED: [&str; 5] = [".git", ".passo", ".aws-sam", "__pycache__", "node_modules/.cache"];

/// Replaces a folder by itself and the hash of what is in it, so that changed code is seen as a change.
pub(super) fn prepare(mut properties: Value, folder: &Path) -> Result<Value, String> {
    if let Some(path) = properties["Code"]["Passo::Folder"].as_str() {
        let bundle = bundle(&folder.join(path))?;
        let hash = hex::encode(Sha256::digest(&bundle));
        properties["Code"]["Passo::Sha256"] = hash.into();
    }
    Ok(properties)
}

/// Everything below a folder (or one archive as it is), zipped in a fixed order with fixed times.
fn bundle(path: &Path) -> Result<Vec<u8>, String> {
    let problem = |error: &dyn std::fmt::Display| format!("CodeUri {}: {error}", path.display());
    if path.is_file() {
        return std::fs::read(path).map_err(|error| problem(&error));
    }
    let mut files = Vec::new();
    walk(path, path, &mut files).map_err(|error| problem(&error))?;
    files.sort();
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let mut total = 0;
    for (name, file) in files {
        let content = std::fs::read(&file).map_err(|error| problem(&error))?;
        total += content.len() as u64;
        if total > BUNDLE_BYTES_MAX {
            return Err(problem(&"the code is larger than 250 MB"));
        }
        let options = SimpleFileOptions::default().unix_permissions(mode(&file));
        archive.start_file(name, options).map_err(|error| problem(&error))?;
        archive.write_all(&content).map_err(|error| problem(&error))?;
    }
    archive.finish().map(Cursor::into_inner).map_err(|error| problem(&error))
}

#[cfg(unix)]
fn mode(file: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).map_or(0o644, |metadata| metadata.permissions().mode() & 0o777)
}

#[cfg(not(unix))]
fn mode(_file: &Path) -> u32 {
    0o644
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<(String, PathBuf)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        if SKIPPED.iter().any(|skipped| name == *skipped || name.ends_with(&format!("/{skipped}"))) {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, files)?;
        } else {
            files.push((name, path));
        }
    }
    Ok(())
}

fn code(context: &Context<'_>, properties: &Value) -> CallResult<Value> {
    let code = &properties["Code"];
    let invalid = |what: String| CallError::invalid("lambda CreateFunction", what);
    if let Some(path) = code["Passo::Folder"].as_str() {
        let bytes = bundle(&context.folder.join(path)).map_err(invalid)?;
        return Ok(json!({ "ZipFile": STANDARD.encode(bytes) }));
    }
    if let Some(text) = code["ZipFile"].as_str() {
        // CloudFormation's inline code: one file called index.
        let runtime = properties["Runtime"].as_str().unwrap_or_default();
        let name = if runtime.starts_with("node") { "index.js" } else { "index.py" };
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let written = archive
            .start_file(name, SimpleFileOptions::default().unix_permissions(0o644))
            .and_then(|()| archive.write_all(text.as_bytes()).map_err(Into::into))
            .and_then(|()| archive.finish());
        let bytes = written.map_err(|error| invalid(error.to_string()))?.into_inner();
        return Ok(json!({ "ZipFile": STANDARD.encode(bytes) }));
    }
    Ok(code.clone())
}

const CONFIGURATION: [&str; 10] = [
    "Runtime",
    "Handler",
    "Timeout",
    "MemorySize",
    "Environment",
    "Description",
    "Role",
    "TracingConfig",
    "EphemeralStorage",
    "LoggingConfig",
];

/// Numbers may come as strings from templates' parameters.
fn configuration(properties: &Value) -> Map<String, Value> {
    let mut members = Map::new();
    for name in CONFIGURATION {
        if let Some(value) = properties.get(name) {
            let number = value.as_str().filter(|_| matches!(name, "Timeout" | "MemorySize"));
            let number = number.and_then(|text| text.parse::<u64>().ok()).map(Value::from);
            members.insert(name.into(), number.unwrap_or_else(|| value.clone()));
        }
    }
    members
}

pub(super) async fn create_function(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "FunctionName", 64);
    let mut body = configuration(properties);
    body.insert("FunctionName".into(), name.as_str().into());
    body.insert("Code".into(), code(context, properties)?);
    for field in ["Architectures", "PackageType"] {
        if let Some(value) = properties.get(field) {
            body.insert(field.into(), value.clone());
        }
    }
    body.insert("Tags".into(), Value::Object(tag_map(properties)));
    let answer = rest(context.client, "lambda", "POST", API, Some(Value::Object(body))).await?;
    if let Some(limit) = properties.get("ReservedConcurrentExecutions") {
        let path = format!("/2017-10-31/functions/{}/concurrency", segment(&name));
        let body = json!({ "ReservedConcurrentExecutions": limit });
        rest(context.client, "lambda", "PUT", &path, Some(body)).await?;
    }
    let attributes = [("Arn", answer["FunctionArn"].clone()), ("CodeSha256", answer["CodeSha256"].clone())];
    Ok(Made::new(name, &attributes))
}

pub(super) async fn update_function(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let name = current.reference.as_str().unwrap_or_default();
    let path = format!("{API}/{}", segment(name));
    let mut made = Made::same(current);
    if current.properties["Code"] != properties["Code"] || current.half_changed {
        let mut body = code(context, properties)?;
        if let Some(architectures) = properties.get("Architectures") {
            body["Architectures"] = architectures.clone();
        }
        let answer = rest(context.client, "lambda", "PUT", &format!("{path}/code"), Some(body)).await?;
        made.attributes.insert("CodeSha256".into(), answer["CodeSha256"].clone());
    }
    let mut body = configuration(properties);
    for (name, default) in defaults() {
        if current.properties.get(name).is_some() {
            body.entry(name).or_insert(default);
        }
    }
    let body = Value::Object(body);
    rest(context.client, "lambda", "PUT", &format!("{path}/configuration"), Some(body)).await?;
    update_concurrency(context, name, current, properties).await?;
    update_tags(context, current, properties).await?;
    Ok(made)
}

/// What a function has that the template says nothing of, for settings that it once did.
fn defaults() -> [(&'static str, Value); 6] {
    [
        ("Description", "".into()),
        ("Environment", json!({ "Variables": {} })),
        ("EphemeralStorage", json!({ "Size": 512 })),
        ("MemorySize", 128.into()),
        ("Timeout", 3.into()),
        ("TracingConfig", json!({ "Mode": "PassThrough" })),
    ]
}

async fn update_concurrency(
    context: &Context<'_>,
    name: &str,
    current: &StackResource,
    properties: &Value,
) -> CallResult<()> {
    const FIELD: &str = "ReservedConcurrentExecutions";
    let path = format!("/2017-10-31/functions/{}/concurrency", segment(name));
    match (current.properties.get(FIELD), properties.get(FIELD)) {
        (old, new) if old == new => Ok(()),
        (_, Some(limit)) => {
            rest(context.client, "lambda", "PUT", &path, Some(json!({ FIELD: limit }))).await.map(drop)
        }
        (_, None) => rest(context.client, "lambda", "DELETE", &path, None).await.map(drop),
    }
}

async fn update_tags(context: &Context<'_>, current: &StackResource, properties: &Value) -> CallResult<()> {
    let tags = TagChange::of(current, properties);
    let arn = current.attributes.get("Arn").and_then(Value::as_str).unwrap_or_default();
    let path = format!("/2017-03-31/tags/{}", segment(arn));
    for key in &tags.gone {
        let path = format!("{path}?tagKeys={}", segment(key));
        rest(context.client, "lambda", "DELETE", &path, None).await?;
    }
    if !tags.put.is_empty() {
        rest(context.client, "lambda", "POST", &path, Some(json!({ "Tags": tags.put }))).await?;
    }
    Ok(())
}

pub(super) async fn delete_function(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let path = format!("{API}/{}", segment(resource.reference.as_str().unwrap_or_default()));
    rest(context.client, "lambda", "DELETE", &path, None).await.map(drop)
}

pub(super) async fn locate_function(context: &Context<'_>, name: &str) -> CallResult<Made> {
    let path = format!("{API}/{}/configuration", segment(name));
    rest(context.client, "lambda", "GET", &path, None).await?;
    Ok(Made::new(name, &[]))
}

/// The path of the function that a property names, and the version or alias that may follow its name.
fn function_path(properties: &Value) -> (String, Option<String>) {
    let name = properties["FunctionName"].as_str().unwrap_or_default();
    // `name:alias`, or an ARN of eight parts.
    let parts: Vec<&str> = name.split(':').collect();
    let (name, qualifier) = match (name.starts_with("arn:"), parts.len()) {
        (true, 8) => (parts[..7].join(":"), Some(parts[7].to_string())),
        (false, 2) => (parts[0].to_string(), Some(parts[1].to_string())),
        _ => (name.to_string(), None),
    };
    (format!("{API}/{}", segment(&name)), qualifier)
}

pub(super) async fn publish_version(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let path = format!("{}/versions", function_path(properties).0);
    let mut body = json!({});
    for field in ["CodeSha256", "Description"] {
        if let Some(value) = properties.get(field) {
            body[field] = value.clone();
        }
    }
    let answer = rest(context.client, "lambda", "POST", &path, Some(body)).await?;
    let attributes = [("Version", answer["Version"].clone()), ("FunctionArn", answer["FunctionArn"].clone())];
    Ok(Made::new(answer["FunctionArn"].clone(), &attributes))
}

pub(super) async fn delete_version(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let version = resource.attributes.get("Version").and_then(Value::as_str).unwrap_or_default();
    if version.is_empty() {
        return Ok(());
    }
    let path = format!("{}?Qualifier={}", function_path(&resource.properties).0, segment(version));
    rest(context.client, "lambda", "DELETE", &path, None).await.map(drop)
}

fn alias_body(properties: &Value) -> Value {
    let mut body = json!({ "FunctionVersion": properties["FunctionVersion"],
                           "Description": properties["Description"].as_str().unwrap_or_default() });
    let weights = properties["RoutingConfig"]["AdditionalVersionWeights"].as_array().into_iter().flatten();
    let weights: Map<String, Value> = weights
        .filter_map(|weight| {
            Some((weight["FunctionVersion"].as_str()?.to_string(), weight["FunctionWeight"].clone()))
        })
        .collect();
    body["RoutingConfig"] = json!({ "AdditionalVersionWeights": weights });
    body
}

pub(super) async fn create_alias(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let path = format!("{}/aliases", function_path(properties).0);
    let mut body = alias_body(properties);
    body["Name"] = properties["Name"].clone();
    let answer = rest(context.client, "lambda", "POST", &path, Some(body)).await?;
    Ok(Made::new(answer["AliasArn"].clone(), &[("AliasArn", answer["AliasArn"].clone())]))
}

fn alias_path(properties: &Value) -> String {
    let name = properties["Name"].as_str().unwrap_or_default();
    format!("{}/aliases/{}", function_path(properties).0, segment(name))
}

pub(super) async fn update_alias(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let body = alias_body(properties);
    rest(context.client, "lambda", "PUT", &alias_path(&current.properties), Some(body)).await?;
    Ok(Made::same(current))
}

pub(super) async fn delete_alias(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    rest(context.client, "lambda", "DELETE", &alias_path(&resource.properties), None).await.map(drop)
}

pub(super) async fn locate_alias(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let answer = rest(context.client, "lambda", "GET", &alias_path(properties), None).await?;
    Ok(Made::new(answer["AliasArn"].clone(), &[]))
}

/// A statement's id is its own for each replacement, since the old one goes last.
fn statement_id(context: &Context<'_>) -> String {
    context.name(&Value::Null, "", 100)
}

fn qualified(path: String, qualifier: Option<String>) -> String {
    qualifier.map_or(path.clone(), |qualifier| format!("{path}?Qualifier={}", segment(&qualifier)))
}

pub(super) async fn add_permission(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let id = statement_id(context);
    let mut body = json!({ "StatementId": id });
    for field in ["Action", "Principal", "SourceArn", "SourceAccount", "EventSourceToken"] {
        if let Some(value) = properties.get(field) {
            body[field] = value.clone();
        }
    }
    let (function, qualifier) = function_path(properties);
    let path = qualified(format!("{function}/policy"), qualifier);
    rest(context.client, "lambda", "POST", &path, Some(body)).await?;
    Ok(Made::new(id.clone(), &[("Id", id.into())]))
}

pub(super) async fn remove_permission(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let id = resource.reference.as_str().unwrap_or_default();
    let (function, qualifier) = function_path(&resource.properties);
    let path = qualified(format!("{function}/policy/{}", segment(id)), qualifier);
    rest(context.client, "lambda", "DELETE", &path, None).await.map(drop)
}

pub(super) async fn locate_permission(context: &Context<'_>, properties: &Value) -> CallResult<Option<Made>> {
    let (function, qualifier) = function_path(properties);
    let path = qualified(format!("{function}/policy"), qualifier);
    let answer = rest(context.client, "lambda", "GET", &path, None).await?;
    let policy: Value =
        serde_json::from_str(answer["Policy"].as_str().unwrap_or_default()).unwrap_or_default();
    let id = statement_id(context);
    let mut statements = policy["Statement"].as_array().into_iter().flatten();
    Ok(statements.any(|statement| statement["Sid"] == id.as_str()).then(|| Made::new(id, &[])))
}

const MAPPINGS: &str = "/2015-03-31/event-source-mappings";

/// What the API takes of a mapping's properties. A setting that is gone takes its default again.
fn mapping(properties: &Value) -> Value {
    let number = |field: &str, default: u64| {
        let given = &properties[field];
        given.as_u64().or_else(|| given.as_str()?.parse().ok()).unwrap_or(default)
    };
    let is_off = match &properties["Enabled"] {
        Value::Bool(enabled) => !enabled,
        Value::String(text) => text.eq_ignore_ascii_case("false"),
        _ => false,
    };
    let or = |field: &str, default: Value| properties.get(field).cloned().unwrap_or(default);
    json!({ "FunctionName": properties["FunctionName"], "Enabled": !is_off, "BatchSize": number("BatchSize", 10),
        "MaximumBatchingWindowInSeconds": number("MaximumBatchingWindowInSeconds", 0),
        "FunctionResponseTypes": or("FunctionResponseTypes", json!([])),
        "FilterCriteria": or("FilterCriteria", json!({})), "ScalingConfig": or("ScalingConfig", json!({})) })
}

fn made_mapping(answer: &Value) -> Made {
    let attributes =
        [("Id", answer["UUID"].clone()), ("EventSourceMappingArn", answer["EventSourceMappingArn"].clone())];
    Made::new(answer["UUID"].clone(), &attributes)
}

pub(super) async fn create_mapping(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let mut body = mapping(properties);
    body["EventSourceArn"] = properties["EventSourceArn"].clone();
    if properties.get("Tags").is_some() {
        body["Tags"] = json!(tag_map(properties));
    }
    Ok(made_mapping(&rest(context.client, "lambda", "POST", MAPPINGS, Some(body)).await?))
}

fn mapping_path(resource: &StackResource) -> String {
    format!("{MAPPINGS}/{}", segment(resource.reference.as_str().unwrap_or_default()))
}

pub(super) async fn update_mapping(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let body = Some(mapping(properties));
    Ok(made_mapping(&rest(context.client, "lambda", "PUT", &mapping_path(current), body).await?))
}

pub(super) async fn delete_mapping(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    rest(context.client, "lambda", "DELETE", &mapping_path(resource), None).await.map(drop)
}

/// There is one at most for a function and a source.
pub(super) async fn locate_mapping(context: &Context<'_>, properties: &Value) -> CallResult<Option<Made>> {
    let text = |field: &str| segment(properties[field].as_str().unwrap_or_default());
    let path =
        format!("{MAPPINGS}?FunctionName={}&EventSourceArn={}", text("FunctionName"), text("EventSourceArn"));
    let answer = rest(context.client, "lambda", "GET", &path, None).await?;
    Ok(answer["EventSourceMappings"].as_array().and_then(|found| found.first()).map(made_mapping))
}
