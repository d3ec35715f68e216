//! Functions and their versions: create, change, publish, show, delete.

use super::api::{Call, invalid, page};
use super::catalog::not_found;
use super::code;
use super::function::{Function, FunctionKey, LATEST, Version};
use super::interpreter::Family;
use super::{Inner, tags};
use crate::configuration::Enforce;
use crate::wire::{CallContext, ServiceError, ServiceRequest, ServiceResponse};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Variables that AWS lets nobody set.
const RESERVED_VARIABLES: [&str; 16] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_TASK_ROOT",
];
const VARIABLES_BYTES_MAX: usize = 4096;

/// Settings that change what a function does and that are not there: refused, unless they say "nothing".
const UNSUPPORTED: [&str; 9] = [
    "Layers",
    "VpcConfig",
    "FileSystemConfigs",
    "ImageConfig",
    "CodeSigningConfigArn",
    "KMSKeyArn",
    "DeadLetterConfig",
    "CapacityProviderConfig",
    "DurableConfig",
];

pub(super) async fn create(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let input = call.request.json()?;
    if call.key.name.len() > 64 {
        return Err(validation(
            "functionName",
            &call.key.name,
            "Member must have length less than or equal to 64",
        ));
    }
    refuse_unsupported(input)?;
    let zip = uploaded(call, input.get("Code").unwrap_or(&Value::Null)).await?;
    for required in ["Role", "Runtime", "Handler"] {
        if input.get(required).and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(missing(required));
        }
    }
    let mut version = Version {
        version: LATEST.to_owned(),
        runtime: String::new(),
        role: String::new(),
        handler: String::new(),
        description: String::new(),
        timeout_seconds: 3,
        memory_megabytes: 128,
        ephemeral_storage_megabytes: 512,
        variables: None,
        architectures: vec!["x86_64".to_owned()],
        tracing_mode: "PassThrough".to_owned(),
        log_group: None,
        code_sha256: code::sha256(&zip),
        code_size_bytes: zip.len() as u64,
        last_modified: String::new(),
        revision_id: String::new(),
    };
    configure(&mut version, input)?;
    set_architectures(&mut version, input)?;
    check_role(call.inner, &version).await?;
    touch(&mut version);
    let mut function = Function {
        key: call.key.clone(),
        latest: version,
        versions: BTreeMap::new(),
        last_version: 0,
        aliases: BTreeMap::new(),
        tags: tags::read(input.get("Tags"))?,
        policies: BTreeMap::new(),
        policy_revisions: BTreeMap::new(),
        reserved_concurrency: None,
    };
    let mut shown = LATEST.to_owned();
    if input.get("Publish").and_then(Value::as_bool) == Some(true) {
        shown = publish_version(&mut function, None);
    }
    let function = call.inner.catalog.create(function, zip).await?;
    let version = function.version(&shown).unwrap_or(&function.latest);
    Ok(ServiceResponse::json(function.configuration(version, shown != LATEST)).with_status(201))
}

pub(super) async fn update_code(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let input = call.request.json()?;
    let zip = uploaded(call, input).await?;
    let (sha256, size) = (code::sha256(&zip), zip.len() as u64);
    if input.get("DryRun").and_then(Value::as_bool) == Some(true) {
        let function = call.inner.catalog.get(&call.key)?;
        return Ok(ServiceResponse::json(function.configuration(&function.latest, false)));
    }
    let change = |function: &mut Function| {
        check_revision(input, &function.latest.revision_id)?;
        set_architectures(&mut function.latest, input)?;
        function.latest.code_sha256 = sha256;
        function.latest.code_size_bytes = size;
        touch(&mut function.latest);
        let publish = input.get("Publish").and_then(Value::as_bool) == Some(true);
        Ok(publish.then(|| publish_version(function, None)))
    };
    let (function, published) = call.inner.catalog.change(&call.key, Some(zip), change).await?;
    call.inner.pools.retire(&call.key);
    let version =
        published.as_deref().and_then(|version| function.version(version)).unwrap_or(&function.latest);
    Ok(ServiceResponse::json(function.configuration(version, published.is_some())))
}

pub(super) async fn update_configuration(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let input = call.request.json()?;
    refuse_unsupported(input)?;
    let mut changed = call.inner.catalog.get(&call.key)?.latest.clone();
    configure(&mut changed, input)?;
    check_role(call.inner, &changed).await?;
    let change = |function: &mut Function| {
        check_revision(input, &function.latest.revision_id)?;
        configure(&mut function.latest, input)?;
        touch(&mut function.latest);
        Ok(())
    };
    let (function, ()) = call.inner.catalog.change(&call.key, None, change).await?;
    call.inner.pools.retire(&call.key);
    Ok(ServiceResponse::json(function.configuration(&function.latest, false)))
}

pub(super) fn get(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let (function, version) = shown(call)?;
    let endpoint = call.inner.environment.endpoint();
    let location = format!(
        "{endpoint}/2015-03-31/functions/{}/code?Qualifier={}",
        function.key.name,
        version.version.replace('$', "%24")
    );
    let mut shape = json!({
        "Configuration": function.configuration(&version, call.qualifier.is_some()),
        "Code": {"RepositoryType": "S3", "Location": location},
    });
    if !function.tags.is_empty() {
        shape["Tags"] = json!(function.tags);
    }
    if let Some(reserved) = function.reserved_concurrency {
        shape["Concurrency"] = json!({"ReservedConcurrentExecutions": reserved});
    }
    Ok(ServiceResponse::json(shape))
}

pub(super) fn get_configuration(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let (function, version) = shown(call)?;
    Ok(ServiceResponse::json(function.configuration(&version, call.qualifier.is_some())))
}

pub(super) fn download_code(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let (_, version) = shown(call)?;
    let zip = call.inner.catalog.code(&version.code_sha256)?;
    Ok(ServiceResponse::bytes(zip).with_header("content-type", "application/zip"))
}

pub(super) fn list(
    inner: &Inner,
    context: &CallContext,
    request: &ServiceRequest,
) -> Result<ServiceResponse, ServiceError> {
    let limit = request.query("MaxItems").and_then(|n| n.parse().ok()).unwrap_or(50).clamp(1, 50);
    let after = request.query("Marker").unwrap_or_default();
    let mut functions = inner.catalog.list(&context.account, &context.region, after, limit + 1);
    let more = functions.len() > limit;
    functions.truncate(limit);
    let next = functions.last().filter(|_| more).map(|function| function.key.name.clone());
    let all = request.query("FunctionVersion") == Some("ALL");
    let shapes: Vec<Value> = functions
        .iter()
        .flat_map(|function| {
            let published = function.versions.values().filter(|_| all);
            let latest = std::iter::once(function.configuration(&function.latest, all));
            latest.chain(published.map(|version| function.configuration(version, true))).collect::<Vec<_>>()
        })
        .map(listed)
        .collect();
    Ok(ServiceResponse::json(with_marker(json!({"Functions": shapes}), next)))
}

pub(super) async fn delete(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    if let Some(qualifier) = call.qualifier.as_deref() {
        if qualifier == LATEST {
            return Err(invalid("$LATEST version cannot be deleted without deleting the function."));
        }
        let change = |function: &mut Function| {
            if let Some(alias) = function.aliases.values().find(|alias| alias.version == qualifier) {
                let message = format!(
                    "Version is referenced by an alias: {}:{}. Please delete the alias first.",
                    function.key.arn(),
                    alias.name
                );
                return Err(ServiceError::new(409, "ResourceConflictException", message));
            }
            qualifier.parse().ok().and_then(|number: u64| function.versions.remove(&number));
            Ok(())
        };
        call.inner.catalog.change(&call.key, None, change).await?;
    } else {
        call.inner.catalog.delete(&call.key).await?;
    }
    call.inner.pools.retire(&call.key);
    Ok(ServiceResponse::empty().with_status(204))
}

pub(super) async fn publish(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let input = call.request.json()?;
    let change = |function: &mut Function| {
        check_revision(input, &function.latest.revision_id)?;
        if let Some(expected) = input.get("CodeSha256").and_then(Value::as_str)
            && expected != function.latest.code_sha256
        {
            return Err(invalid(format!(
                "CodeSHA256 ({expected}) is different from current CodeSHA256 in $LATEST ({}). Please try again with \
                 the CodeSHA256 in $LATEST.",
                function.latest.code_sha256
            )));
        }
        Ok(publish_version(function, input.get("Description").and_then(Value::as_str)))
    };
    let (function, published) = call.inner.catalog.change(&call.key, None, change).await?;
    let version = function.version(&published).unwrap_or(&function.latest);
    Ok(ServiceResponse::json(function.configuration(version, true)).with_status(201))
}

pub(super) fn list_versions(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let function = call.inner.catalog.get(&call.key)?;
    let versions: Vec<&Version> =
        std::iter::once(&function.latest).chain(function.versions.values()).collect();
    let (versions, next) = page(call.request, versions, |version| version.version.clone());
    let shapes: Vec<Value> =
        versions.iter().map(|version| listed(function.configuration(version, true))).collect();
    Ok(ServiceResponse::json(with_marker(json!({"Versions": shapes}), next)))
}

/// Publishes `$LATEST`; when nothing changed since the last version, that one is the answer.
fn publish_version(function: &mut Function, description: Option<&str>) -> String {
    let same = |version: &Version| {
        let mut version = version.clone();
        version.version.clone_from(&function.latest.version);
        version.description.clone_from(&function.latest.description);
        version.last_modified.clone_from(&function.latest.last_modified);
        version.revision_id.clone_from(&function.latest.revision_id);
        version == function.latest
    };
    if let Some(last) = function.versions.values().next_back().filter(|version| same(version)) {
        return last.version.clone();
    }
    function.last_version += 1;
    let number = function.last_version;
    let mut version = function.latest.clone();
    version.version = number.to_string();
    if let Some(description) = description {
        description.clone_into(&mut version.description);
    }
    touch(&mut version);
    function.versions.insert(number, version);
    number.to_string()
}

fn shown(call: &Call<'_>) -> Result<(Arc<Function>, Version), ServiceError> {
    let function = call.inner.catalog.get(&call.key)?;
    let target = function.target(call.qualifier.as_deref(), 1.0);
    let target = target.ok_or_else(|| not_found_qualified(&call.key, call.qualifier.as_deref()))?;
    Ok((function, target.version))
}

/// AWS's answer for a version or alias that is not there.
pub(super) fn not_found_qualified(key: &FunctionKey, qualifier: Option<&str>) -> ServiceError {
    not_found(&qualifier.map_or_else(|| key.arn(), |qualifier| format!("{}:{qualifier}", key.arn())))
}

/// Applies the settings that an input names.
fn configure(version: &mut Version, input: &Value) -> Result<(), ServiceError> {
    let text = |name: &str| input.get(name).and_then(Value::as_str);
    if let Some(runtime) = text("Runtime") {
        check_runtime(runtime)?;
        runtime.clone_into(&mut version.runtime);
    }
    if let Some(role) = text("Role") {
        check_role_arn(role)?;
        role.clone_into(&mut version.role);
    }
    if let Some(handler) = text("Handler") {
        handler.clone_into(&mut version.handler);
    }
    if let Some(description) = text("Description") {
        description.clone_into(&mut version.description);
    }
    if let Some(timeout) = number(input, "Timeout", 1, 900)? {
        version.timeout_seconds = timeout;
    }
    if let Some(memory) = number(input, "MemorySize", 128, 10_240)? {
        version.memory_megabytes = memory;
    }
    if let Some(size) =
        input.get("EphemeralStorage").map(|s| number(s, "Size", 512, 10_240)).transpose()?.flatten()
    {
        version.ephemeral_storage_megabytes = size;
    }
    if let Some(environment) = input.get("Environment") {
        version.variables = variables(environment.get("Variables"))?;
    }
    if let Some(mode) = input.pointer("/TracingConfig/Mode").and_then(Value::as_str) {
        mode.clone_into(&mut version.tracing_mode);
    }
    if let Some(logging) = input.get("LoggingConfig") {
        if logging.get("LogFormat").and_then(Value::as_str).is_some_and(|format| format != "Text") {
            return Err(invalid("LoggingConfig.LogFormat JSON is not supported by this server; use Text."));
        }
        version.log_group = logging.get("LogGroup").and_then(Value::as_str).map(str::to_owned);
    }
    Ok(())
}

fn set_architectures(version: &mut Version, input: &Value) -> Result<(), ServiceError> {
    if let Some(architectures) = input.get("Architectures").filter(|value| !value.is_null()) {
        let named: Vec<String> = serde_json::from_value(architectures.clone()).unwrap_or_default();
        if named.len() != 1 || !["x86_64", "arm64"].contains(&named[0].as_str()) {
            let value = architectures.to_string();
            let constraint =
                "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64]]";
            return Err(validation("architectures", &value, constraint));
        }
        version.architectures = named;
    }
    Ok(())
}

fn variables(given: Option<&Value>) -> Result<Option<BTreeMap<String, String>>, ServiceError> {
    let Some(given) = given.filter(|value| !value.is_null()) else { return Ok(None) };
    let variables: BTreeMap<String, String> = serde_json::from_value(given.clone())
        .map_err(|_| ServiceError::serialization("Environment.Variables must map names to strings"))?;
    let reserved: Vec<&str> =
        variables.keys().map(String::as_str).filter(|n| RESERVED_VARIABLES.contains(n)).collect();
    let unable = "Lambda was unable to configure your environment variables because the environment variables you have \
                  provided";
    if !reserved.is_empty() {
        return Err(invalid(format!(
            "{unable} contains reserved keys that are currently not supported for modification. Reserved keys used in \
             this request: {}",
            reserved.join(", ")
        )));
    }
    let size = serde_json::to_string(&variables).map_or(0, |text| text.len());
    if size > VARIABLES_BYTES_MAX {
        return Err(invalid(format!("{unable} exceeded the 4KB limit. String measured: {given}")));
    }
    Ok((!variables.is_empty()).then_some(variables))
}

fn number(input: &Value, name: &str, min: u32, max: u32) -> Result<Option<u32>, ServiceError> {
    let Some(value) = input.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    let given =
        value.as_i64().ok_or_else(|| ServiceError::serialization(format!("{name} must be a number")))?;
    let member = format!("{}{}", name[..1].to_lowercase(), &name[1..]);
    if given < i64::from(min) {
        let constraint = format!("Member must have value greater than or equal to {min}");
        return Err(validation(&member, &given.to_string(), &constraint));
    }
    if given > i64::from(max) {
        let constraint = format!("Member must have value less than or equal to {max}");
        return Err(validation(&member, &given.to_string(), &constraint));
    }
    Ok(u32::try_from(given).ok())
}

fn check_runtime(runtime: &str) -> Result<(), ServiceError> {
    if Family::of(runtime).is_some() {
        return Ok(());
    }
    if ["java", "dotnet", "ruby", "go1"].iter().any(|family| runtime.starts_with(family)) {
        return Err(invalid(format!(
            "The runtime {runtime} is not supported by this server: functions run as python3.x, nodejsNN.x or provided.*"
        )));
    }
    Err(invalid(format!(
        "Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs20.x, \
         nodejs22.x, provided.al2, provided.al2023, python3.9, python3.10, python3.11, python3.12, python3.13] or be a \
         valid ARN"
    )))
}

fn check_role_arn(role: &str) -> Result<(), ServiceError> {
    let parts: Vec<&str> = role.splitn(6, ':').collect();
    let is_role = matches!(parts.as_slice(), ["arn", _, "iam", "", account, name]
        if account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) && name.starts_with("role/"));
    if is_role {
        return Ok(());
    }
    let constraint = "Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-\
                      9+=,.@\\-_/]+";
    Err(validation("role", role, constraint))
}

/// Where permissions are enforced, the role must be there and trust Lambda.
async fn check_role(inner: &Inner, version: &Version) -> Result<(), ServiceError> {
    if inner.environment.config().enforce != Enforce::On {
        return Ok(());
    }
    let iam = inner.environment.iam();
    let assumed = iam.assume_role_for_service(&version.role, "lambda.amazonaws.com", "CreateFunction").await;
    assumed.map(drop).map_err(|_| invalid("The role defined for the function cannot be assumed by Lambda."))
}

async fn uploaded(call: &Call<'_>, code: &Value) -> Result<Vec<u8>, ServiceError> {
    if code.get("ImageUri").is_some_and(|value| !value.is_null()) {
        return Err(invalid("Code.ImageUri is not supported by this server; use ZipFile."));
    }
    if let (Some(bucket), Some(key)) = (code["S3Bucket"].as_str(), code["S3Key"].as_str()) {
        return code::fetched(call, bucket, key, code["S3ObjectVersion"].as_str()).await;
    }
    match code.get("ZipFile").and_then(Value::as_str) {
        Some(zip) => code::read(zip),
        None => Err(invalid("Please provide a source for function code.")),
    }
}

fn refuse_unsupported(input: &Value) -> Result<(), ServiceError> {
    if input.get("PackageType").and_then(Value::as_str).is_some_and(|kind| kind != "Zip") {
        return Err(invalid("PackageType Image is not supported by this server; use Zip."));
    }
    if input.pointer("/SnapStart/ApplyOn").and_then(Value::as_str).is_some_and(|on| on != "None") {
        return Err(invalid("SnapStart is not supported by this server."));
    }
    let named = UNSUPPORTED.iter().find(|name| input.get(**name).is_some_and(says_something));
    named.map_or(Ok(()), |name| Err(invalid(format!("{name} is not supported by this server."))))
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) | Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => items.iter().any(says_something),
        Value::Object(members) => members.values().any(says_something),
    }
}

fn check_revision(input: &Value, current: &str) -> Result<(), ServiceError> {
    if input.get("RevisionId").and_then(Value::as_str).is_some_and(|given| given != current) {
        let message = "The Revision Id provided does not match the latest Revision Id. Call the \
                       GetFunction/GetAlias API to retrieve the latest Revision Id";
        return Err(ServiceError::new(412, "PreconditionFailedException", message));
    }
    Ok(())
}

fn touch(version: &mut Version) {
    version.last_modified = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string();
    version.revision_id = uuid::Uuid::new_v4().to_string();
}

/// Lists leave out what AWS leaves out of them.
fn listed(mut configuration: Value) -> Value {
    if let Some(members) = configuration.as_object_mut() {
        for name in ["State", "LastUpdateStatus"] {
            members.shift_remove(name);
        }
    }
    configuration
}

pub(super) fn with_marker(mut shape: Value, next: Option<String>) -> Value {
    if let Some(next) = next {
        shape["NextMarker"] = next.into();
    }
    shape
}

fn missing(name: &str) -> ServiceError {
    let member = format!("{}{}", name[..1].to_lowercase(), &name[1..]);
    let text = format!(
        "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
    );
    ServiceError::client("ValidationException", text)
}

fn validation(member: &str, value: &str, constraint: &str) -> ServiceError {
    let text = format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"
    );
    ServiceError::client("ValidationException", text)
}
