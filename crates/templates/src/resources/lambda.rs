//! Lambda: functions from folders or inline code, versions, aliases, permissions.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{Context, Made, tag_map};
use crate::client::{CallError, CallResult, rest, segment};
use crate::deploy::StackResource;

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

const CONFIGURATION: [&str; 13] = [
    "Runtime",
    "Handler",
    "Timeout",
    "MemorySize",
    "Environment",
    "Description",
    "Layers",
    "Role",
    "TracingConfig",
    "EphemeralStorage",
    "VpcConfig",
    "LoggingConfig",
    "KmsKeyArn",
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
    Ok(Made::new(name, &[("Arn", answer["FunctionArn"].clone())]))
}

pub(super) async fn update_function(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let name = current.reference.as_str().unwrap_or_default();
    if context.name(properties, "FunctionName", 64) != name {
        delete_function(context, current).await?;
        return create_function(context, properties).await;
    }
    let path = format!("{API}/{}", segment(name));
    if current.properties["Code"] != properties["Code"] {
        let body = code(context, properties)?;
        rest(context.client, "lambda", "PUT", &format!("{path}/code"), Some(body)).await?;
    }
    let body = Value::Object(configuration(properties));
    rest(context.client, "lambda", "PUT", &format!("{path}/configuration"), Some(body)).await?;
    Ok(Made { reference: current.reference.clone(), attributes: current.attributes.clone() })
}

pub(super) async fn delete_function(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let path = format!("{API}/{}", segment(resource.reference.as_str().unwrap_or_default()));
    rest(context.client, "lambda", "DELETE", &path, None).await.map(drop)
}

fn function_path(properties: &Value) -> String {
    format!("{API}/{}", segment(properties["FunctionName"].as_str().unwrap_or_default()))
}

pub(super) async fn publish_version(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let path = format!("{}/versions", function_path(properties));
    let answer = rest(context.client, "lambda", "POST", &path, Some(json!({}))).await?;
    let attributes = [("Version", answer["Version"].clone()), ("FunctionArn", answer["FunctionArn"].clone())];
    Ok(Made::new(answer["FunctionArn"].clone(), &attributes))
}

pub(super) async fn put_alias(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let path = format!("{}/aliases", function_path(properties));
    let name = properties["Name"].as_str().unwrap_or_default();
    let body = json!({ "Name": name, "FunctionVersion": properties["FunctionVersion"] });
    let answer = match rest(context.client, "lambda", "POST", &path, Some(body.clone())).await {
        Err(error) if error.code() == "ResourceConflictException" => {
            rest(context.client, "lambda", "PUT", &format!("{path}/{}", segment(name)), Some(body)).await?
        }
        answer => answer?,
    };
    Ok(Made::new(answer["AliasArn"].clone(), &[("AliasArn", answer["AliasArn"].clone())]))
}

pub(super) async fn delete_alias(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let name = resource.properties["Name"].as_str().unwrap_or_default();
    let path = format!("{}/aliases/{}", function_path(&resource.properties), segment(name));
    rest(context.client, "lambda", "DELETE", &path, None).await.map(drop)
}

pub(super) async fn add_permission(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let mut body = json!({ "StatementId": context.id });
    for field in ["Action", "Principal", "SourceArn", "SourceAccount", "EventSourceToken"] {
        if let Some(value) = properties.get(field) {
            body[field] = value.clone();
        }
    }
    let path = format!("{}/policy", function_path(properties));
    rest(context.client, "lambda", "POST", &path, Some(body)).await?;
    Ok(Made::new(context.id, &[]))
}

pub(super) async fn remove_permission(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let path = format!("{}/policy/{}", function_path(&resource.properties), segment(context.id));
    rest(context.client, "lambda", "DELETE", &path, None).await.map(drop)
}
