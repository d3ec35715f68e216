//! Tags of clusters, task definitions and tasks.

use super::api::{Call, invalid};
use super::definitions;
use crate::wire::ServiceError;
use rusqlite::params;
use serde_json::{Value, json};

pub(super) async fn add(call: &Call<'_>) -> Result<Value, ServiceError> {
    let added = call.input["tags"].as_array().cloned().unwrap_or_default();
    change(call, move |tags| {
        tags.retain(|tag| added.iter().all(|new| new["key"] != tag["key"]));
        tags.extend(added);
    })
    .await
}

pub(super) async fn remove(call: &Call<'_>) -> Result<Value, ServiceError> {
    let removed = call.list("tagKeys");
    change(call, move |tags| {
        tags.retain(|tag| removed.iter().all(|key| tag["key"] != key.as_str()));
    })
    .await
}

pub(super) fn list(call: &Call<'_>) -> Result<Value, ServiceError> {
    let arn = call.text("resourceArn").unwrap_or_default();
    let tags = match resource(arn)? {
        ("cluster", name) => call
            .inner
            .catalog
            .cluster(&call.context.account, &call.context.region, name)?
            .map(|c| c["tags"].clone()),
        ("task", _) => call.inner.catalog.task(arn).map(|cell| cell.get().tags.clone().into()),
        _ => definitions::find(call, arn)?.map(|stored| stored["tags"].clone()),
    };
    Ok(json!({"tags": tags.ok_or_else(not_found)?}))
}

async fn change(
    call: &Call<'_>,
    change: impl FnOnce(&mut Vec<Value>) + Send + 'static,
) -> Result<Value, ServiceError> {
    let arn = call.text("resourceArn").unwrap_or_default().to_owned();
    let (account, region) = call.place();
    match resource(&arn)? {
        ("task", _) => {
            let cell = call.inner.catalog.task(&arn).ok_or_else(not_found)?;
            call.inner.catalog.change(&cell, |task| change(&mut task.tags)).await?;
        }
        ("cluster", name) => {
            let name = name.to_owned();
            let mut cluster = call.inner.catalog.cluster(&account, &region, &name)?.ok_or_else(not_found)?;
            let mut tags = cluster["tags"].as_array().cloned().unwrap_or_default();
            change(&mut tags);
            cluster["tags"] = tags.into();
            let document = cluster.to_string();
            let written = call.inner.catalog.database.write(move |connection| -> Result<(), ServiceError> {
                let update =
                    "UPDATE clusters SET document = ?4 WHERE account = ?1 AND region = ?2 AND name = ?3";
                connection.execute(update, params![account, region, name, document])?;
                Ok(())
            });
            written.await?;
        }
        _ => {
            let mut stored = definitions::find(call, &arn)?.ok_or_else(not_found)?;
            let (family, revision) = definitions::parse(&arn);
            let mut tags = stored["tags"].as_array().cloned().unwrap_or_default();
            change(&mut tags);
            stored["tags"] = tags.into();
            let document = stored.to_string();
            let written = call.inner.catalog.database.write(move |connection| -> Result<(), ServiceError> {
                let update = "UPDATE definitions SET document = ?5
                    WHERE account = ?1 AND region = ?2 AND family = ?3 AND revision = ?4";
                connection.execute(update, params![account, region, family, revision, document])?;
                Ok(())
            });
            written.await?;
        }
    }
    Ok(json!({}))
}

/// The kind and the rest of a resource's name.
fn resource(arn: &str) -> Result<(&str, &str), ServiceError> {
    let name = arn.splitn(6, ':').nth(5).and_then(|name| name.split_once('/'));
    name.filter(|(kind, _)| ["cluster", "task", "task-definition"].contains(kind)).ok_or_else(|| {
        invalid("Invalid identifier: The identifier must be an ARN of a cluster, task or task definition.")
    })
}

fn not_found() -> ServiceError {
    ServiceError::client("ResourceNotFoundException", "The specified resource was not found.")
}
