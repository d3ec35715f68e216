//! Aliases: names for published versions, with an optional second version by weight.

use super::api::{Call, invalid, page};
use super::catalog::not_found;
use super::function::{Alias, Function, LATEST};
use super::functions::with_marker;
use crate::wire::{ServiceError, ServiceResponse};
use serde_json::{Value, json};

pub(super) async fn create(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let input = call.request.json()?;
    let name = input.get("Name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if name.is_empty() || name.len() > 128 || !is_word || name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ServiceError::client(
            "ValidationException",
            format!(
                "1 validation error detected: Value '{name}' at 'name' failed to satisfy constraint: Member must \
                 satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)"
            ),
        ));
    }
    let change = |function: &mut Function| {
        let arn = format!("{}:{name}", function.key.arn());
        if function.aliases.contains_key(&name) {
            return Err(ServiceError::new(
                409,
                "ResourceConflictException",
                format!("Alias already exists: {arn}"),
            ));
        }
        let mut alias = Alias {
            name: name.clone(),
            version: LATEST.to_owned(),
            description: String::new(),
            additional: None,
            revision_id: String::new(),
        };
        apply(function, &mut alias, input)?;
        let shape = function.alias_shape(&alias);
        function.aliases.insert(name.clone(), alias);
        Ok(shape)
    };
    let (_, shape) = call.inner.catalog.change(&call.key, None, change).await?;
    Ok(ServiceResponse::json(shape).with_status(201))
}

pub(super) async fn update(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let input = call.request.json()?;
    let name = &call.route.item;
    let change = |function: &mut Function| {
        let mut alias = function.aliases.get(name).cloned().ok_or_else(|| missing(function, name))?;
        apply(function, &mut alias, input)?;
        let shape = function.alias_shape(&alias);
        function.aliases.insert(name.clone(), alias);
        Ok(shape)
    };
    let (_, shape) = call.inner.catalog.change(&call.key, None, change).await?;
    Ok(ServiceResponse::json(shape))
}

pub(super) fn get(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let function = call.inner.catalog.get(&call.key)?;
    let name = &call.route.item;
    let alias = function.aliases.get(name).ok_or_else(|| missing(&function, name))?;
    Ok(ServiceResponse::json(function.alias_shape(alias)))
}

pub(super) fn list(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let function = call.inner.catalog.get(&call.key)?;
    let version = call.request.query("FunctionVersion");
    let aliases =
        function.aliases.values().filter(|alias| version.is_none_or(|version| alias.version == version));
    let (aliases, next) = page(call.request, aliases.collect(), |alias: &&Alias| alias.name.clone());
    let shapes: Vec<Value> = aliases.iter().map(|alias| function.alias_shape(alias)).collect();
    Ok(ServiceResponse::json(with_marker(json!({"Aliases": shapes}), next)))
}

pub(super) async fn delete(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let change = |function: &mut Function| {
        // AWS answers 204 for an alias that is not there.
        function.aliases.remove(&call.route.item);
        Ok(())
    };
    call.inner.catalog.change(&call.key, None, change).await?;
    Ok(ServiceResponse::empty().with_status(204))
}

fn missing(function: &Function, name: &str) -> ServiceError {
    let message = format!("Cannot find alias arn: {}:{name}", function.key.arn());
    ServiceError { message, ..not_found("") }
}

fn apply(function: &Function, alias: &mut Alias, input: &Value) -> Result<(), ServiceError> {
    if let Some(version) = input.get("FunctionVersion").and_then(Value::as_str) {
        check_version(function, version)?;
        version.clone_into(&mut alias.version);
    }
    if let Some(description) = input.get("Description").and_then(Value::as_str) {
        description.clone_into(&mut alias.description);
    }
    if let Some(routing) = input.get("RoutingConfig").filter(|routing| !routing.is_null()) {
        let weights = routing.get("AdditionalVersionWeights").and_then(Value::as_object);
        alias.additional = None;
        for (version, weight) in weights.into_iter().flatten() {
            let weight = weight.as_f64().filter(|weight| (0.0..=1.0).contains(weight));
            let weight = weight.ok_or_else(|| invalid("The weight of a version must be between 0 and 1"))?;
            check_version(function, version)?;
            if alias.version == LATEST || version == LATEST {
                return Err(invalid("$LATEST is not supported for an alias pointing to more than 1 version"));
            }
            if alias.additional.replace((version.clone(), weight)).is_some() {
                return Err(invalid("Number of items in AdditionalVersionWeights cannot be greater than 1"));
            }
        }
    }
    alias.revision_id = uuid::Uuid::new_v4().to_string();
    Ok(())
}

fn check_version(function: &Function, version: &str) -> Result<(), ServiceError> {
    match function.version(version) {
        Some(_) => Ok(()),
        None => Err(not_found(&format!("{}:{version}", function.key.arn()))),
    }
}
