//! Clusters: names that tasks are run in.

use super::api::{Call, invalid, no_cluster, page};
use super::catalog::cluster;
use super::task::{Status, cluster_arn};
use crate::wire::ServiceError;
use rusqlite::params;
use serde_json::{Value, json};

pub(super) async fn create(call: &Call<'_>) -> Result<Value, ServiceError> {
    let name = call.text("clusterName").unwrap_or("default").to_owned();
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !is_word || name.len() > 255 {
        return Err(invalid(
            "Identifier is invalid. It must contain only letters, numbers, hyphens and underscores.",
        ));
    }
    let document = json!({
        "clusterArn": cluster_arn(&call.context.account, &call.context.region, &name),
        "clusterName": name,
        "status": "ACTIVE",
        "tags": call.input.get("tags").cloned().unwrap_or_else(|| json!([])),
        "settings": call.input.get("settings").cloned()
            .unwrap_or_else(|| json!([{"name": "containerInsights", "value": "disabled"}])),
        "capacityProviders": call.input.get("capacityProviders").cloned().unwrap_or_else(|| json!([])),
        "defaultCapacityProviderStrategy":
            call.input.get("defaultCapacityProviderStrategy").cloned().unwrap_or_else(|| json!([])),
    });
    let (account, region) = call.place();
    let written = call.inner.catalog.database.write(move |connection| -> Result<Value, ServiceError> {
        // AWS gives back the cluster that is there.
        if let Some(present) = cluster(connection, &account, &region, &name)? {
            return Ok(present);
        }
        connection.execute(
            "INSERT INTO clusters VALUES (?1, ?2, ?3, ?4)",
            params![account, region, name, document.to_string()],
        )?;
        Ok(document)
    });
    let cluster = written.await?;
    Ok(json!({"cluster": shape(call, cluster)}))
}

pub(super) fn describe(call: &Call<'_>) -> Result<Value, ServiceError> {
    let mut names = call.list("clusters");
    if names.is_empty() {
        names.push("default".to_owned());
    }
    let (mut clusters, mut failures) = (Vec::new(), Vec::new());
    for named in names {
        let name = named.rsplit('/').next().unwrap_or(&named).to_owned();
        match call.inner.catalog.cluster(&call.context.account, &call.context.region, &name)? {
            Some(cluster) => clusters.push(shape(call, cluster)),
            None => {
                let arn = cluster_arn(&call.context.account, &call.context.region, &name);
                failures.push(json!({"arn": arn, "reason": "MISSING"}));
            }
        }
    }
    Ok(json!({"clusters": clusters, "failures": failures}))
}

pub(super) fn list(call: &Call<'_>) -> Result<Value, ServiceError> {
    let (account, region) = call.place();
    let names: Vec<String> = call.inner.catalog.database.read(|connection| -> Result<_, ServiceError> {
        let mut statement = connection
            .prepare_cached("SELECT name FROM clusters WHERE account = ?1 AND region = ?2 ORDER BY name")?;
        Ok(statement.query_map([&account, &region], |row| row.get(0))?.collect::<Result<_, _>>()?)
    })?;
    let arns = names.iter().map(|name| cluster_arn(&account, &region, name)).collect();
    let (arns, next) = page(call, arns);
    Ok(json!({"clusterArns": arns, "nextToken": next}))
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Value, ServiceError> {
    let name = call.cluster();
    let (account, region) = call.place();
    let mut cluster = call.inner.catalog.cluster(&account, &region, &name)?.ok_or_else(no_cluster)?;
    if count(call, &name, |status| status != Status::Stopped) > 0 {
        let message = "The Cluster cannot be deleted while Tasks are active.";
        return Err(ServiceError::client("ClusterContainsTasksException", message));
    }
    let written = call.inner.catalog.database.write(move |connection| -> Result<(), ServiceError> {
        connection.execute(
            "DELETE FROM clusters WHERE account = ?1 AND region = ?2 AND name = ?3",
            params![account, region, name],
        )?;
        Ok(())
    });
    written.await?;
    cluster["status"] = "INACTIVE".into();
    Ok(json!({"cluster": shape(call, cluster)}))
}

fn shape(call: &Call<'_>, mut cluster: Value) -> Value {
    let name = cluster["clusterName"].as_str().unwrap_or_default().to_owned();
    cluster["registeredContainerInstancesCount"] = 0.into();
    cluster["runningTasksCount"] = count(call, &name, |status| status == Status::Running).into();
    cluster["pendingTasksCount"] = count(call, &name, |status| status < Status::Running).into();
    cluster["activeServicesCount"] = 0.into();
    cluster["statistics"] = json!([]);
    cluster
}

fn count(call: &Call<'_>, cluster: &str, wanted: impl Fn(Status) -> bool) -> usize {
    let tasks = call.inner.catalog.tasks().into_iter().map(|cell| cell.get());
    tasks
        .filter(|task| task.account == call.context.account && task.region == call.context.region)
        .filter(|task| task.cluster == cluster && wanted(task.status))
        .count()
}
