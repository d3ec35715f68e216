//! Secrets without their values: names, tags, deletion and its time of grace.

use super::values;
use crate::service_file::Call;
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value, json};

const NAME_MAX: usize = 512;
const TAGS_MAX: usize = 50;
const PAGE_MAX: usize = 100;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// One secret.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Secret {
    pub name: String,
    pub arn: String,
    /// `Description`, `KmsKeyId`, `Tags`, `LastChangedDate`, `DeletedDate`, as DescribeSecret shows them.
    pub document: Map<String, Value>,
    pub created_ms: i64,
    /// When it is gone, for one that is marked for deletion.
    pub purge_ms: Option<i64>,
}

pub(super) fn invalid_request(message: &str) -> ServiceError {
    ServiceError::client("InvalidRequestException", message)
}

pub(super) fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::client("InvalidParameterException", message)
}

pub(super) fn missing() -> ServiceError {
    ServiceError::client("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

pub(super) fn seconds(milliseconds: i64) -> Value {
    json!(milliseconds as f64 / 1000.0)
}

const COLUMNS: &str =
    "SELECT name, arn, document, created, purge FROM secrets WHERE account = ?1 AND region = ?2";

impl Secret {
    fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Secret> {
        let document: String = row.get(2)?;
        Ok(Secret {
            name: row.get(0)?,
            arn: row.get(1)?,
            document: serde_json::from_str(&document).unwrap_or_default(),
            created_ms: row.get(3)?,
            purge_ms: row.get(4)?,
        })
    }

    /// By name, ARN, or ARN without the six letters at its end. One whose time of grace is over is gone.
    pub fn find(connection: &Connection, call: &Call, id: &str) -> Result<Secret, ServiceError> {
        let sql = format!("{COLUMNS} AND (name = ?3 OR arn = ?3 OR substr(arn, 1, length(arn) - 7) = ?3)");
        let row = params![call.account, call.region, id];
        let found = connection.prepare_cached(&sql)?.query_row(row, Secret::of).optional()?;
        found.filter(|secret| secret.purge_ms.is_none_or(|at| at > call.now_ms)).ok_or_else(missing)
    }

    /// As [`Secret::find`], for what cannot be done to one that is marked for deletion.
    pub fn living(connection: &Connection, call: &Call, id: &str) -> Result<Secret, ServiceError> {
        let secret = Secret::find(connection, call, id)?;
        match secret.purge_ms {
            None => Ok(secret),
            Some(_) => Err(invalid_request(
                "You can't perform this operation on the secret because it was marked for deletion.",
            )),
        }
    }

    /// A new one; the name must be free.
    pub fn new(connection: &Connection, call: &Call, name: &str) -> Result<Secret, ServiceError> {
        let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "-/_+=.@!".contains(letter);
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(is_allowed) {
            // The code is recorded by what SDKs make of it: it is none of the modelled ones.
            let message = "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: \
                           -/_+=.@!";
            return Err(ServiceError::client("ValidationException", message));
        }
        purge(connection, call)?;
        match Secret::find(connection, call, name) {
            Err(_) => {}
            Ok(Secret { purge_ms: Some(_), .. }) => {
                return Err(invalid_request(
                    "You can't create this secret because a secret with this name is already scheduled for deletion.",
                ));
            }
            Ok(_) => {
                let message = format!("The operation failed because the secret {name} already exists.");
                return Err(ServiceError::client("ResourceExistsException", message));
            }
        }
        let letters: String = uuid::Uuid::new_v4().simple().to_string().chars().take(6).collect();
        let arn = call.arn("secretsmanager", &format!("secret:{name}-{letters}"));
        Ok(Secret {
            name: name.to_owned(),
            arn,
            document: Map::new(),
            created_ms: call.now_ms,
            purge_ms: None,
        })
    }

    pub fn save(&self, connection: &Connection, call: &Call) -> Result<(), ServiceError> {
        let document = Value::Object(self.document.clone()).to_string();
        let sql = "INSERT OR REPLACE INTO secrets VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let row =
            params![call.account, call.region, self.name, self.arn, document, self.created_ms, self.purge_ms];
        connection.prepare_cached(sql)?.execute(row)?;
        Ok(())
    }

    pub fn changed(&mut self, call: &Call) {
        self.document.insert("LastChangedDate".into(), seconds(call.now_ms));
    }

    /// Members that a caller may set.
    pub fn describe(&mut self, input: &Value) -> Result<(), ServiceError> {
        for member in ["Description", "KmsKeyId"] {
            if let Some(value) = input.get(member).filter(|value| value.is_string()) {
                self.document.insert(member.into(), value.clone());
            }
        }
        if let Some(tags) = input.get("Tags").filter(|tags| !tags.is_null()) {
            self.add_tags(tags)?;
        }
        Ok(())
    }

    fn add_tags(&mut self, given: &Value) -> Result<(), ServiceError> {
        let mut tags = self.document.get("Tags").and_then(Value::as_array).cloned().unwrap_or_default();
        for tag in given.as_array().into_iter().flatten() {
            tags.retain(|present| present["Key"] != tag["Key"]);
            tags.push(tag.clone());
        }
        if tags.len() > TAGS_MAX {
            return Err(invalid("The request exceeds the maximum number of tags."));
        }
        self.document.insert("Tags".into(), tags.into());
        Ok(())
    }

    fn shown(&self, connection: &Connection) -> Result<Value, ServiceError> {
        let mut shown = Value::Object(self.document.clone());
        shown["ARN"] = self.arn.as_str().into();
        shown["Name"] = self.name.as_str().into();
        shown["CreatedDate"] = seconds(self.created_ms);
        if let Some(members) = shown.as_object_mut() {
            members.entry("Tags").or_insert_with(|| json!([]));
        }
        let stages = values::stages(connection, &self.arn)?;
        let stages = stages.into_iter().filter(|(_, stages)| !stages.is_empty());
        shown["VersionIdsToStages"] = stages.map(|(id, stages)| (id, json!(stages))).collect();
        Ok(shown)
    }
}

/// Removes what is gone.
fn purge(connection: &Connection, call: &Call) -> Result<(), ServiceError> {
    let sql = "DELETE FROM versions WHERE arn IN (SELECT arn FROM secrets WHERE purge <= ?1)";
    connection.execute(sql, [call.now_ms])?;
    connection.execute("DELETE FROM secrets WHERE purge <= ?1", [call.now_ms])?;
    Ok(())
}

pub(super) fn secret_id(input: &Value) -> Result<&str, ServiceError> {
    let id = input["SecretId"].as_str().filter(|id| !id.is_empty());
    id.ok_or_else(|| invalid("You must provide a SecretId."))
}

pub(super) fn describe(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    Secret::find(connection, call, secret_id(input)?)?.shown(connection)
}

pub(super) fn no_policy(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let secret = Secret::find(connection, call, secret_id(input)?)?;
    Ok(json!({ "ARN": secret.arn, "Name": secret.name }))
}

pub(super) fn list(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let most = input["MaxResults"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(PAGE_MAX);
    let most = most.clamp(1, PAGE_MAX);
    let includes_deleted = input["IncludePlannedDeletion"] == true;
    let after = input["NextToken"].as_str().unwrap_or_default();
    let sql = format!("{COLUMNS} AND name > ?3 ORDER BY name");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![call.account, call.region, after], Secret::of)?;
    let mut found = Vec::new();
    for secret in rows {
        let secret = secret?;
        let is_shown = match secret.purge_ms {
            None => true,
            Some(at) => includes_deleted && at > call.now_ms,
        };
        if is_shown && fits(&secret, &input["Filters"]) {
            found.push(secret);
        }
        if found.len() > most {
            break;
        }
    }
    let has_more = found.len() > most;
    found.truncate(most);
    let next = found.last().filter(|_| has_more).map(|secret| secret.name.clone());
    let mut shown = Vec::new();
    for secret in &found {
        let mut secret = secret.shown(connection)?;
        secret["SecretVersionsToStages"] = secret["VersionIdsToStages"].take();
        secret.as_object_mut().map(|members| members.remove("VersionIdsToStages"));
        shown.push(secret);
    }
    let mut answer = json!({ "SecretList": shown });
    if let Some(next) = next {
        answer["NextToken"] = next.into();
    }
    Ok(answer)
}

/// Every filter must fit; a value fits what begins with it.
fn fits(secret: &Secret, filters: &Value) -> bool {
    let tags = || secret.document.get("Tags").and_then(Value::as_array).into_iter().flatten();
    filters.as_array().into_iter().flatten().all(|filter| {
        let values = filter["Values"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut values = values.map(|value| value.to_ascii_lowercase());
        let begins = |text: &str, value: &str| text.to_ascii_lowercase().starts_with(value);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let description = secret.document.get("Description").map(&text).unwrap_or_default();
        values.any(|value| match filter["Key"].as_str() {
            Some("name") => begins(&secret.name, &value),
            Some("description") => begins(&description, &value),
            Some("tag-key") => tags().any(|tag| begins(&text(&tag["Key"]), &value)),
            Some("tag-value") => tags().any(|tag| begins(&text(&tag["Value"]), &value)),
            Some("all") => begins(&secret.name, &value) || begins(&description, &value),
            _ => false,
        })
    })
}

pub(super) fn delete(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let is_forced = input["ForceDeleteWithoutRecovery"] == true;
    let days = input["RecoveryWindowInDays"].as_i64();
    if is_forced && days.is_some() {
        return Err(invalid(
            "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.",
        ));
    }
    let days = days.unwrap_or(30);
    if !(7..=30).contains(&days) {
        return Err(invalid("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive)."));
    }
    purge(connection, call)?;
    let mut secret = match Secret::find(connection, call, secret_id(input)?) {
        Ok(secret) if is_forced => secret,
        Ok(_) => Secret::living(connection, call, secret_id(input)?)?,
        Err(error) => return Err(error),
    };
    let purge_ms = if is_forced { call.now_ms } else { call.now_ms + days * DAY_MS };
    secret.purge_ms = Some(purge_ms);
    secret.document.insert("DeletedDate".into(), seconds(purge_ms));
    secret.save(connection, call)?;
    purge(connection, call)?;
    Ok(json!({ "ARN": secret.arn, "Name": secret.name, "DeletionDate": seconds(purge_ms) }))
}

pub(super) fn restore(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let mut secret = Secret::find(connection, call, secret_id(input)?)?;
    secret.purge_ms = None;
    secret.document.remove("DeletedDate");
    secret.save(connection, call)?;
    Ok(json!({ "ARN": secret.arn, "Name": secret.name }))
}

pub(super) fn tag(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let mut secret = Secret::living(connection, call, secret_id(input)?)?;
    secret.add_tags(&input["Tags"])?;
    secret.save(connection, call)?;
    Ok(json!({}))
}

pub(super) fn untag(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let mut secret = Secret::living(connection, call, secret_id(input)?)?;
    let gone = input["TagKeys"].as_array().cloned().unwrap_or_default();
    if let Some(tags) = secret.document.get_mut("Tags").and_then(Value::as_array_mut) {
        tags.retain(|tag| !gone.contains(&tag["Key"]));
    }
    secret.save(connection, call)?;
    Ok(json!({}))
}
