//! The operations on connections. They run as jobs on the file, so each happens whole or not at all.

use super::super::rules::{paged, valid_name};
use super::super::{required, text, validation};
use super::parameters;
use crate::seal::Sealer;
use crate::service_file::Call;
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Value, json};

/// AWS's default quota.
const CONNECTIONS_MAX: i64 = 3_000;
const PAGE_MAX: i64 = 100;
const DESCRIPTION_MAX: usize = 512;

fn missing(name: &str) -> ServiceError {
    let message = format!("Failed to describe the connection(s). Connection '{name}' does not exist.");
    ServiceError::client("ResourceNotFoundException", message)
}

/// What is authorized by itself is so at once; OAuth has to ask first.
fn first_state(kind: &str) -> &'static str {
    if kind == "OAUTH_CLIENT_CREDENTIALS" { "AUTHORIZING" } else { "AUTHORIZED" }
}

fn check_common(input: &Value) -> Result<(), ServiceError> {
    if input.get("InvocationConnectivityParameters").is_some() {
        return Err(validation("Connections to private APIs are not implemented by this server."));
    }
    if text(input, "Description").is_some_and(|description| description.len() > DESCRIPTION_MAX) {
        return Err(validation(format!("Description is longer than {DESCRIPTION_MAX} characters.")));
    }
    Ok(())
}

fn sealed(sealer: &Sealer, arn: &str, parameters: &Value) -> Result<Vec<u8>, ServiceError> {
    sealer.seal(arn, parameters.to_string().as_bytes())
}

pub(super) fn create(
    connection: &Connection,
    call: &Call,
    input: &Value,
    sealer: &Sealer,
) -> Result<Value, ServiceError> {
    let name = required(input, "Name")?;
    valid_name(name, "name", 64)?;
    let kind = required(input, "AuthorizationType")?;
    let parameters = input.get("AuthParameters").cloned().unwrap_or_default();
    parameters::check(kind, &parameters)?;
    check_common(input)?;
    let place = params![call.account, call.region, name];
    let sql = "SELECT 1 FROM connections WHERE account = ?1 AND region = ?2 AND name = ?3";
    if connection.prepare_cached(sql)?.exists(place)? {
        let message = format!("Connection {name} already exists.");
        return Err(ServiceError::client("ResourceAlreadyExistsException", message));
    }
    let sql = "SELECT count(*) FROM connections WHERE account = ?1 AND region = ?2";
    let count: i64 = connection.query_row(sql, params![call.account, call.region], |row| row.get(0))?;
    if count >= CONNECTIONS_MAX {
        let message = "The requested resource exceeds the maximum number allowed.";
        return Err(ServiceError::client("LimitExceededException", message));
    }
    let id = uuid::Uuid::new_v4().to_string();
    let arn = call.arn("events", &format!("connection/{name}/{id}"));
    // AWS keeps what it was given as a secret of this name; permissions are evaluated for it.
    let secret_id = uuid::Uuid::new_v4();
    let suffix = &secret_id.simple().to_string()[..6];
    let secret = call.arn("secretsmanager", &format!("secret:events!connection/{name}/{secret_id}-{suffix}"));
    let state = first_state(kind);
    let authorized = (state == "AUTHORIZED").then_some(call.now_ms);
    let sql = "INSERT INTO connections(account, region, name, id, secret, description, kind, state, kms_key, shown, sealed,
                 created, modified, authorized) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13)";
    let row = params![
        call.account,
        call.region,
        name,
        id,
        secret,
        text(input, "Description"),
        kind,
        state,
        text(input, "KmsKeyIdentifier").filter(|key| !key.is_empty()),
        parameters::shown(&parameters).to_string(),
        sealed(sealer, &arn, &parameters)?,
        call.now_ms,
        authorized
    ];
    connection.execute(sql, row)?;
    Ok(json!({"ConnectionArn": arn, "ConnectionState": state, "CreationTime": seconds(call.now_ms),
        "LastModifiedTime": seconds(call.now_ms)}))
}

pub(super) fn update(
    connection: &Connection,
    call: &Call,
    input: &Value,
    sealer: &Sealer,
) -> Result<Value, ServiceError> {
    let name = required(input, "Name")?;
    check_common(input)?;
    let (old_kind, old_sealed, arn) = kept(connection, call, name)?;
    let kind = text(input, "AuthorizationType").unwrap_or(&old_kind);
    let given = input.get("AuthParameters").cloned().unwrap_or_else(|| json!({}));
    // What was sealed with a key that is lost does not stand in the way of what is given now.
    let mut old = sealer.unseal(&arn, &old_sealed).map_or_else(
        |_| Ok(json!({})),
        |opened| serde_json::from_slice(&opened).map_err(ServiceError::internal),
    )?;
    if let Some(members) = old.as_object_mut().filter(|_| kind != old_kind) {
        members.remove(parameters::member_of(&old_kind)?);
    }
    let parameters = parameters::merged(old, &given);
    parameters::check(kind, &parameters)?;
    let sql = "UPDATE connections SET description = coalesce(?4, description), kind = ?5, state = ?6, reason = NULL,
                 kms_key = coalesce(?7, kms_key), shown = ?8, sealed = ?9, modified = ?10, token = NULL, token_until = NULL,
                 authorized = iif(?6 = 'AUTHORIZED', ?10, authorized)
               WHERE account = ?1 AND region = ?2 AND name = ?3";
    let row = params![
        call.account,
        call.region,
        name,
        text(input, "Description"),
        kind,
        first_state(kind),
        text(input, "KmsKeyIdentifier"),
        parameters::shown(&parameters).to_string(),
        sealed(sealer, &arn, &parameters)?,
        call.now_ms
    ];
    connection.execute(sql, row)?;
    brief(connection, call, name)
}

/// Type, sealed parameters and ARN.
fn kept(connection: &Connection, call: &Call, name: &str) -> Result<(String, Vec<u8>, String), ServiceError> {
    let sql = "SELECT kind, sealed, id FROM connections WHERE account = ?1 AND region = ?2 AND name = ?3";
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?));
    let found = connection.query_row(sql, params![call.account, call.region, name], read).optional()?;
    let (kind, sealed, id) = found.ok_or_else(|| missing(name))?;
    Ok((kind, sealed, call.arn("events", &format!("connection/{name}/{id}"))))
}

/// Takes the parameters away; UpdateConnection can give new ones.
pub(super) fn deauthorize(
    connection: &Connection,
    call: &Call,
    input: &Value,
    sealer: &Sealer,
) -> Result<Value, ServiceError> {
    let name = required(input, "Name")?;
    let (_, _, arn) = kept(connection, call, name)?;
    let sql = "UPDATE connections SET state = 'DEAUTHORIZED', reason = NULL, sealed = ?4, token = NULL,
                 token_until = NULL, modified = ?5 WHERE account = ?1 AND region = ?2 AND name = ?3";
    let nothing = sealed(sealer, &arn, &json!({}))?;
    connection.execute(sql, params![call.account, call.region, name, nothing, call.now_ms])?;
    let mut answer = brief(connection, call, name)?;
    answer["ConnectionState"] = json!("DEAUTHORIZING");
    Ok(answer)
}

pub(super) fn delete(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = required(input, "Name")?;
    let mut answer = brief(connection, call, name)?;
    let sql = "DELETE FROM connections WHERE account = ?1 AND region = ?2 AND name = ?3";
    connection.execute(sql, params![call.account, call.region, name])?;
    answer["ConnectionState"] = json!("DELETING");
    Ok(answer)
}

const COLUMNS: &str =
    "name, id, state, kind, reason, created, modified, authorized, description, secret, shown, kms_key";

fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

/// As lists show it.
fn listed(call: &Call, row: &Row<'_>) -> rusqlite::Result<Value> {
    let (name, id): (String, String) = (row.get(0)?, row.get(1)?);
    let arn = call.arn("events", &format!("connection/{name}/{id}"));
    let mut shown = json!({"ConnectionArn": arn, "Name": name, "ConnectionState": row.get::<_, String>(2)?,
        "AuthorizationType": row.get::<_, String>(3)?});
    if let Some(reason) = row.get::<_, Option<String>>(4)? {
        shown["StateReason"] = json!(reason);
    }
    for (column, member) in [(5, "CreationTime"), (6, "LastModifiedTime"), (7, "LastAuthorizedTime")] {
        if let Some(at) = row.get::<_, Option<i64>>(column)? {
            shown[member] = json!(seconds(at));
        }
    }
    Ok(shown)
}

fn described(call: &Call, row: &Row<'_>) -> rusqlite::Result<Value> {
    let mut shown = listed(call, row)?;
    for (column, member) in [(8, "Description"), (9, "SecretArn"), (11, "KmsKeyIdentifier")] {
        if let Some(text) = row.get::<_, Option<String>>(column)? {
            shown[member] = json!(text);
        }
    }
    let parameters: String = row.get(10)?;
    shown["AuthParameters"] = serde_json::from_str(&parameters).unwrap_or_default();
    Ok(shown)
}

fn found(connection: &Connection, call: &Call, name: &str) -> Result<Value, ServiceError> {
    let sql = format!("SELECT {COLUMNS} FROM connections WHERE account = ?1 AND region = ?2 AND name = ?3");
    let place = params![call.account, call.region, name];
    let found = connection.query_row(&sql, place, |row| described(call, row)).optional()?;
    found.ok_or_else(|| missing(name))
}

/// As changes answer it.
fn brief(connection: &Connection, call: &Call, name: &str) -> Result<Value, ServiceError> {
    let mut shown = found(connection, call, name)?;
    if let Some(members) = shown.as_object_mut() {
        members.retain(|name, _| {
            ["ConnectionArn", "ConnectionState"].contains(&name.as_str()) || name.ends_with("Time")
        });
    }
    Ok(shown)
}

pub(super) fn describe(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    found(connection, call, required(input, "Name")?)
}

pub(super) fn list(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (prefix, after) = (text(input, "NamePrefix").unwrap_or(""), text(input, "NextToken").unwrap_or(""));
    let limit = input.get("Limit").and_then(Value::as_i64).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let sql = format!(
        "SELECT {COLUMNS} FROM connections WHERE account = ?1 AND region = ?2 AND name > ?3
         AND substr(name, 1, length(?4)) = ?4 AND (?5 IS NULL OR state = ?5) ORDER BY name LIMIT ?6"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let row = params![call.account, call.region, after, prefix, text(input, "ConnectionState"), limit + 1];
    let rows = statement.query_map(row, |row| listed(call, row))?;
    Ok(paged("Connections", "Name", rows.collect::<Result<_, _>>()?, limit))
}
