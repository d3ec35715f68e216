//! Task definitions: families with numbered revisions that never change.

use super::api::{Call, client, page};
use crate::wire::ServiceError;
use rusqlite::{OptionalExtension, params};
use serde_json::{Map, Value, json};

/// AWS's bound on a revision.
const DEFINITION_BYTES_MAX: usize = 65_536;

pub(super) async fn register(call: &Call<'_>) -> Result<Value, ServiceError> {
    let family = call.text("family").ok_or_else(|| client("Family should not be null or empty."))?.to_owned();
    let is_word = family.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !is_word || family.len() > 255 {
        return Err(client(
            "Family contains invalid characters. It must contain only letters, numbers, hyphens and underscores.",
        ));
    }
    if call.input.to_string().len() > DEFINITION_BYTES_MAX {
        return Err(client(format!(
            "Actual length: '{}'. Max allowed length is '65536' bytes.",
            call.input.to_string().len()
        )));
    }
    let mut definition = call.input.as_object().cloned().unwrap_or_default();
    let tags = definition.shift_remove("tags").unwrap_or_else(|| json!([]));
    check(&definition)?;
    complete(&mut definition, call);
    let (account, region) = call.place();
    let prefix = call.context.arn("ecs", &format!("task-definition/{family}"));
    let written = call.inner.catalog.database.write(move |connection| -> Result<Value, ServiceError> {
        let last: Option<i64> = connection
            .query_row(
                "SELECT max(revision) FROM definitions WHERE account = ?1 AND region = ?2 AND family = ?3",
                params![account, region, family],
                |row| row.get(0),
            )
            .optional()?
            .flatten();
        let revision = last.unwrap_or(0) + 1;
        definition.insert("taskDefinitionArn".into(), format!("{prefix}:{revision}").into());
        definition.insert("revision".into(), revision.into());
        let stored = json!({"definition": definition, "tags": tags});
        connection.execute(
            "INSERT INTO definitions VALUES (?1, ?2, ?3, ?4, 1, ?5)",
            params![account, region, family, revision, stored.to_string()],
        )?;
        Ok(stored)
    });
    let stored = written.await?;
    Ok(json!({"taskDefinition": stored["definition"], "tags": stored["tags"]}))
}

pub(super) fn describe(call: &Call<'_>) -> Result<Value, ServiceError> {
    let named = call.text("taskDefinition").ok_or_else(|| client("Task definition can not be blank."))?;
    let stored = find(call, named)?.ok_or_else(|| client("Unable to describe task definition."))?;
    let mut answer = json!({"taskDefinition": stored["definition"]});
    if call.includes("TAGS") {
        answer["tags"] = stored["tags"].clone();
    }
    Ok(answer)
}

pub(super) async fn deregister(call: &Call<'_>) -> Result<Value, ServiceError> {
    let named = call.text("taskDefinition").ok_or_else(|| client("Task definition can not be blank."))?;
    let (family, revision) = parse(named);
    let revision = revision.ok_or_else(|| client("Revision is missing."))?;
    let mut stored = find(call, named)?.ok_or_else(|| client("Unable to describe task definition."))?;
    stored["definition"]["status"] = "INACTIVE".into();
    stored["definition"]["deregisteredAt"] =
        super::task::seconds(call.inner.environment.now().as_millisecond());
    let (account, region) = call.place();
    let document = stored.to_string();
    let written = call.inner.catalog.database.write(move |connection| -> Result<(), ServiceError> {
        connection.execute(
            "UPDATE definitions SET active = 0, document = ?5
                WHERE account = ?1 AND region = ?2 AND family = ?3 AND revision = ?4",
            params![account, region, family, revision, document],
        )?;
        Ok(())
    });
    written.await?;
    Ok(json!({"taskDefinition": stored["definition"]}))
}

pub(super) fn list(call: &Call<'_>) -> Result<Value, ServiceError> {
    let active = call.text("status").unwrap_or("ACTIVE") == "ACTIVE";
    let wanted = call.text("familyPrefix");
    let mut found = names(call, active)?;
    found.retain(|(family, _)| wanted.is_none_or(|wanted| family == wanted));
    if call.text("sort") == Some("DESC") {
        found.reverse();
    }
    let arns = found
        .iter()
        .map(|(family, revision)| call.context.arn("ecs", &format!("task-definition/{family}:{revision}")));
    let (arns, next) = page(call, arns.collect());
    Ok(json!({"taskDefinitionArns": arns, "nextToken": next}))
}

pub(super) fn list_families(call: &Call<'_>) -> Result<Value, ServiceError> {
    let status = call.text("status").unwrap_or("ALL");
    let prefix = call.text("familyPrefix").unwrap_or_default();
    let mut families: Vec<String> = Vec::new();
    for active in
        [true, false].into_iter().filter(|active| status == "ALL" || (status == "ACTIVE") == *active)
    {
        families.extend(names(call, active)?.into_iter().map(|(family, _)| family));
    }
    families.retain(|family| family.starts_with(prefix));
    families.sort();
    families.dedup();
    let (families, next) = page(call, families);
    Ok(json!({"families": families, "nextToken": next}))
}

/// A stored definition (`definition` and `tags`) by family, `family:revision` or ARN.
pub(super) fn find(call: &Call<'_>, named: &str) -> Result<Option<Value>, ServiceError> {
    let (family, revision) = parse(named);
    call.inner.catalog.definition(&call.context.account, &call.context.region, &family, revision)
}

/// Splits a family from its revision.
pub(super) fn parse(named: &str) -> (String, Option<i64>) {
    let name = named.rsplit('/').next().unwrap_or(named);
    match name.split_once(':') {
        Some((family, revision)) => (family.to_owned(), Some(revision.parse().unwrap_or(-1))),
        None => (name.to_owned(), None),
    }
}

fn names(call: &Call<'_>, active: bool) -> Result<Vec<(String, i64)>, ServiceError> {
    call.inner.catalog.database.read(|connection| {
        let mut statement = connection.prepare_cached(
            "SELECT family, revision FROM definitions WHERE account = ?1 AND region = ?2 AND active = ?3
                ORDER BY family, revision",
        )?;
        let rows = statement
            .query_map(params![call.context.account, call.context.region, active], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        Ok(rows.collect::<Result<_, _>>()?)
    })
}

fn check(definition: &Map<String, Value>) -> Result<(), ServiceError> {
    let containers = definition.get("containerDefinitions").and_then(Value::as_array);
    let containers = containers.filter(|containers| !containers.is_empty());
    let containers = containers.ok_or_else(|| client("Container list cannot be empty."))?;
    let text = |name: &str| definition.get(name).and_then(Value::as_str);
    let required = definition.get("requiresCompatibilities").and_then(Value::as_array);
    let fargate = required.is_some_and(|list| list.iter().any(|item| item == "FARGATE"));
    for container in containers {
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() {
            return Err(client("Container.name should not be null or empty."));
        }
        if container.get("image").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(client("Container.image should not be null or empty."));
        }
        let has_memory =
            ["memory", "memoryReservation"].iter().any(|member| container.get(*member).is_some());
        if !has_memory && text("memory").is_none() {
            return Err(client(format!(
                "Invalid setting for container '{name}'. At least one of 'memory' or 'memoryReservation' must be specified."
            )));
        }
    }
    if fargate && text("networkMode") != Some("awsvpc") {
        return Err(client("Fargate only supports network mode 'awsvpc'."));
    }
    for member in ["cpu", "memory"].into_iter().filter(|_| fargate) {
        if text(member).is_none() {
            return Err(client(format!("Fargate requires that '{member}' be defined at the task level.")));
        }
    }
    if containers.iter().all(|container| container.get("essential") == Some(&Value::Bool(false))) {
        return Err(client("At least one container in the task definition must be marked as essential."));
    }
    Ok(())
}

/// Adds what AWS adds.
fn complete(definition: &mut Map<String, Value>, call: &Call<'_>) {
    let containers = definition.get_mut("containerDefinitions").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
        for (name, default) in [("cpu", json!(0)), ("essential", json!(true))] {
            container.entry(name).or_insert(default);
        }
        for name in ["portMappings", "environment", "mountPoints", "volumesFrom", "systemControls"] {
            container.entry(name).or_insert_with(|| json!([]));
        }
    }
    for name in ["volumes", "placementConstraints"] {
        definition.entry(name).or_insert_with(|| json!([]));
    }
    let awsvpc = definition.get("networkMode").and_then(Value::as_str) == Some("awsvpc");
    let fits_fargate = awsvpc && definition.contains_key("cpu") && definition.contains_key("memory");
    let compatibilities = if fits_fargate { json!(["EC2", "FARGATE"]) } else { json!(["EC2"]) };
    definition.insert("compatibilities".into(), compatibilities);
    definition.insert("status".into(), "ACTIVE".into());
    let now = call.inner.environment.now().as_millisecond();
    definition.insert("registeredAt".into(), super::task::seconds(now));
    definition.insert("registeredBy".into(), call.context.principal.arn().into());
}
