//! Values of secrets: versions, sealed, and the staging labels that point at them.
//!
//! Of each secret at most one version has a label. Where `AWSCURRENT` moves, `AWSPREVIOUS` goes to the version that had it.

use super::secrets::{Secret, invalid, seconds, secret_id};
use crate::seal::Sealer;
use crate::service_file::Call;
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";
const VALUE_BYTES_MAX: usize = 65_536;
/// Versions without a label beyond this number are dropped, the oldest first.
const UNLABELLED_MAX: i64 = 100;

/// The value in a request, as it is sealed.
fn given(input: &Value) -> Result<Option<Value>, ServiceError> {
    let value = match (input["SecretString"].as_str(), input["SecretBinary"].as_str()) {
        (Some(_), Some(_)) => {
            return Err(invalid(
                "You can't specify both a binary secret value and a string secret value in the same secret.",
            ));
        }
        (Some(text), None) => json!({ "SecretString": text }),
        (None, Some(bytes)) => json!({ "SecretBinary": bytes }),
        (None, None) => return Ok(None),
    };
    if value.to_string().len() > VALUE_BYTES_MAX * 2 {
        let message = "1 validation error detected: Value at 'secretString' failed to satisfy constraint: Member must have \
                       length less than or equal to 65536";
        return Err(ServiceError::client("ValidationException", message));
    }
    Ok(Some(value))
}

fn owner(arn: &str, version: &str) -> String {
    format!("{arn}/{version}")
}

/// The id that a new version gets: the caller's token.
fn version_id(input: &Value) -> String {
    let token = input["ClientRequestToken"].as_str().filter(|token| !token.is_empty());
    token.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

/// Versions with their labels, oldest first.
pub(super) fn stages(connection: &Connection, arn: &str) -> Result<Vec<(String, Vec<String>)>, ServiceError> {
    let sql = "SELECT id, stages FROM versions WHERE arn = ?1 ORDER BY created, id";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([arn], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().map(|(id, stages)| (id, serde_json::from_str(&stages).unwrap_or_default())).collect())
}

fn write_stages(connection: &Connection, arn: &str, id: &str, stages: &[String]) -> Result<(), ServiceError> {
    let sql = "UPDATE versions SET stages = ?3 WHERE arn = ?1 AND id = ?2";
    connection.prepare_cached(sql)?.execute([arn, id, &json!(stages).to_string()])?;
    Ok(())
}

/// Gives a label to a version, and takes it from the one that had it.
fn label(connection: &Connection, arn: &str, label: &str, to: Option<&str>) -> Result<(), ServiceError> {
    let all = stages(connection, arn)?;
    let had =
        all.iter().find(|(_, stages)| stages.iter().any(|stage| stage == label)).map(|(id, _)| id.as_str());
    if had == to {
        return Ok(());
    }
    let passes_on = had.filter(|_| label == CURRENT && to.is_some());
    for (id, stages) in &all {
        let mut new: Vec<String> = stages.iter().filter(|stage| *stage != label).cloned().collect();
        if passes_on.is_some() {
            new.retain(|stage| stage != PREVIOUS);
        }
        if Some(id.as_str()) == to {
            new.push(label.to_owned());
        }
        if Some(id.as_str()) == passes_on {
            new.push(PREVIOUS.to_owned());
        }
        if new != *stages {
            write_stages(connection, arn, id, &new)?;
        }
    }
    Ok(())
}

/// Adds a version; the same token with the same value is the same version.
fn add(
    connection: &Connection,
    call: &Call,
    secret: &Secret,
    version: (&str, &Value),
    labels: &[String],
    sealer: &Sealer,
) -> Result<(), ServiceError> {
    let (id, value) = version;
    let arn = secret.arn.as_str();
    let sql = "SELECT sealed FROM versions WHERE arn = ?1 AND id = ?2";
    let present: Option<Vec<u8>> =
        connection.prepare_cached(sql)?.query_row([arn, id], |row| row.get(0)).optional()?;
    if let Some(present) = present {
        let opened = sealer.unseal(&owner(arn, id), &present)?;
        if opened != value.to_string().as_bytes() {
            let message = format!(
                "You can't use ClientRequestToken {id} because that value is already in use for a version of secret {arn}."
            );
            return Err(ServiceError::client("ResourceExistsException", message));
        }
        // A repetition: its labels were moved then, and may have moved on since.
        return Ok(());
    }
    let sealed = sealer.seal(&owner(arn, id), value.to_string().as_bytes())?;
    let sql = "INSERT INTO versions VALUES (?1, ?2, ?3, '[]', ?4)";
    connection.prepare_cached(sql)?.execute(params![arn, id, call.now_ms, sealed])?;
    for one in labels {
        label(connection, arn, one, Some(id))?;
    }
    let sql = "DELETE FROM versions WHERE arn = ?1 AND stages = '[]' AND id <> ?2 AND id NOT IN
               (SELECT id FROM versions WHERE arn = ?1 AND stages = '[]' ORDER BY created DESC, id LIMIT ?3)";
    connection.prepare_cached(sql)?.execute(params![arn, id, UNLABELLED_MAX])?;
    Ok(())
}

pub(super) fn create(
    connection: &Connection,
    call: &Call,
    input: &Value,
    sealer: &Sealer,
) -> Result<Value, ServiceError> {
    let value = given(input)?;
    let mut secret = Secret::new(connection, call, input["Name"].as_str().unwrap_or_default())?;
    secret.describe(input)?;
    secret.changed(call);
    secret.save(connection, call)?;
    let mut answer = json!({ "ARN": secret.arn, "Name": secret.name });
    if let Some(value) = value {
        let id = version_id(input);
        add(connection, call, &secret, (&id, &value), &[CURRENT.to_owned()], sealer)?;
        answer["VersionId"] = id.into();
    }
    Ok(answer)
}

pub(super) fn put(
    connection: &Connection,
    call: &Call,
    input: &Value,
    sealer: &Sealer,
) -> Result<Value, ServiceError> {
    let value =
        given(input)?.ok_or_else(|| invalid("You must provide either SecretString or SecretBinary."))?;
    let mut secret = Secret::living(connection, call, secret_id(input)?)?;
    let listed = input["VersionStages"].as_array();
    let labels: Vec<String> = match listed {
        Some(listed) => listed.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        None => vec![CURRENT.to_owned()],
    };
    let id = version_id(input);
    add(connection, call, &secret, (&id, &value), &labels, sealer)?;
    secret.changed(call);
    secret.save(connection, call)?;
    Ok(json!({ "ARN": secret.arn, "Name": secret.name, "VersionId": id, "VersionStages": labels }))
}

pub(super) fn update(
    connection: &Connection,
    call: &Call,
    input: &Value,
    sealer: &Sealer,
) -> Result<Value, ServiceError> {
    let value = given(input)?;
    let mut secret = Secret::living(connection, call, secret_id(input)?)?;
    secret.describe(input)?;
    secret.changed(call);
    secret.save(connection, call)?;
    let mut answer = json!({ "ARN": secret.arn, "Name": secret.name });
    if let Some(value) = value {
        let id = version_id(input);
        add(connection, call, &secret, (&id, &value), &[CURRENT.to_owned()], sealer)?;
        answer["VersionId"] = id.into();
    }
    Ok(answer)
}

pub(super) fn get(
    connection: &Connection,
    call: &Call,
    input: &Value,
    sealer: &Sealer,
) -> Result<Value, ServiceError> {
    let secret = Secret::living(connection, call, secret_id(input)?)?;
    let (wanted, stage) = (input["VersionId"].as_str(), input["VersionStage"].as_str());
    let stage = stage.or(wanted.is_none().then_some(CURRENT));
    let fits = |(id, stages): &(String, Vec<String>)| {
        wanted.is_none_or(|wanted| wanted == id)
            && stage.is_none_or(|stage| stages.iter().any(|one| one == stage))
    };
    let Some((id, labels)) = stages(connection, &secret.arn)?.into_iter().find(fits) else {
        let what = match (wanted, stage) {
            (Some(id), _) => format!("VersionId: {id}"),
            (None, stage) => format!("staging label: {}", stage.unwrap_or(CURRENT)),
        };
        let message = format!("Secrets Manager can't find the specified secret value for {what}");
        return Err(ServiceError::client("ResourceNotFoundException", message));
    };
    let sql = "SELECT sealed, created FROM versions WHERE arn = ?1 AND id = ?2";
    let (sealed, created): (Vec<u8>, i64) = connection
        .prepare_cached(sql)?
        .query_row([&secret.arn, &id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let opened = sealer.unseal(&owner(&secret.arn, &id), &sealed)?;
    let mut answer: Value = serde_json::from_slice(&opened).map_err(ServiceError::internal)?;
    answer["ARN"] = secret.arn.into();
    answer["Name"] = secret.name.into();
    answer["VersionId"] = id.into();
    answer["VersionStages"] = json!(labels);
    answer["CreatedDate"] = seconds(created);
    Ok(answer)
}

pub(super) fn list(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let secret = Secret::find(connection, call, secret_id(input)?)?;
    let includes_all = input["IncludeDeprecated"] == true;
    let all = stages(connection, &secret.arn)?;
    let shown = all.iter().filter(|(_, stages)| includes_all || !stages.is_empty());
    let shown: Vec<Value> =
        shown.map(|(id, stages)| json!({ "VersionId": id, "VersionStages": stages })).collect();
    Ok(json!({ "ARN": secret.arn, "Name": secret.name, "Versions": shown }))
}

pub(super) fn move_stage(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let secret = Secret::living(connection, call, secret_id(input)?)?;
    let stage = input["VersionStage"].as_str().unwrap_or_default();
    let (to, from) = (input["MoveToVersionId"].as_str(), input["RemoveFromVersionId"].as_str());
    let all = stages(connection, &secret.arn)?;
    let had = all.iter().find(|(_, stages)| stages.iter().any(|one| one == stage)).map(|(id, _)| id.as_str());
    if had.is_some() && had != to && from != had {
        let id = had.unwrap_or_default();
        let message = format!(
            "The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently attached to version {id}, so \
             you must explicitly reference that version in RemoveFromVersionId."
        );
        return Err(invalid(message));
    }
    if stage == CURRENT && to.is_none() {
        return Err(invalid(
            "You can only move staging label AWSCURRENT to a different secret version. It can't be completely removed.",
        ));
    }
    if let Some(to) = to.filter(|to| !all.iter().any(|(id, _)| id == to)) {
        let message = format!("Secrets Manager can't find the specified secret value for VersionId: {to}");
        return Err(ServiceError::client("ResourceNotFoundException", message));
    }
    label(connection, &secret.arn, stage, to)?;
    Ok(json!({ "ARN": secret.arn, "Name": secret.name }))
}
