//! Tags of functions.

use super::api::{Call, invalid};
use super::function::Function;
use crate::wire::{ServiceError, ServiceResponse};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// AWS's bound on tags of one resource.
const TAGS_MAX: usize = 50;

/// Reads a map of tags.
pub(super) fn read(given: Option<&Value>) -> Result<BTreeMap<String, String>, ServiceError> {
    let Some(given) = given.filter(|value| !value.is_null()) else { return Ok(BTreeMap::new()) };
    let tags: BTreeMap<String, String> = serde_json::from_value(given.clone())
        .map_err(|_| ServiceError::serialization("Tags must map names to strings"))?;
    if tags.len() > TAGS_MAX {
        return Err(invalid("Number of tags exceeds resource tag limit."));
    }
    Ok(tags)
}

pub(super) fn list(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let function = call.inner.catalog.get(&call.key)?;
    Ok(ServiceResponse::json(json!({"Tags": function.tags})))
}

pub(super) async fn add(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let tags = read(call.request.json()?.get("Tags"))?;
    let change = |function: &mut Function| {
        function.tags.extend(tags);
        if function.tags.len() > TAGS_MAX {
            Err(invalid("Number of tags exceeds resource tag limit."))
        } else {
            Ok(())
        }
    };
    call.inner.catalog.change(&call.key, None, change).await?;
    Ok(ServiceResponse::empty().with_status(204))
}

pub(super) async fn remove(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    // The name comes once for each tag, which a form as a map cannot hold.
    let query = call.request.uri.query().unwrap_or_default();
    let names = query.split('&').filter_map(|pair| pair.strip_prefix("tagKeys="));
    let names = names.map(|name| percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned());
    let names: Vec<String> = names.collect();
    let change = |function: &mut Function| {
        function.tags.retain(|name, _| !names.contains(name));
        Ok(())
    };
    call.inner.catalog.change(&call.key, None, change).await?;
    Ok(ServiceResponse::empty().with_status(204))
}
