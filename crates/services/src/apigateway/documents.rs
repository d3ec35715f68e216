//! An API as it is kept: one document, whose parts have the shapes in which the control plane shows them.
//!
//! `api` is what GetRestApi shows, `resources` (by id), `deployments` (by id, each with its copy of the resources) and
//! `stages` (by name). Methods, integrations and their responses are nested as AWS nests them.

use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value, json};

const APIS_MAX: i64 = 600;

/// Whose API it is, and the API.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Api {
    pub id: String,
    pub account: String,
    pub region: String,
    pub document: Value,
}

pub(super) fn not_found(what: &str) -> ServiceError {
    ServiceError::new(404, "NotFoundException", format!("Invalid {what} identifier specified"))
}

/// Ten letters and digits, or six for what is inside an API.
pub(super) fn new_id(length: usize) -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let bytes = uuid::Uuid::new_v4().into_bytes();
    bytes.iter().take(length).map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

impl Api {
    /// An API by its id alone: ids are unique, and callers of deployed APIs know nothing else.
    pub fn find(connection: &Connection, id: &str) -> Result<Option<Api>, ServiceError> {
        let sql = "SELECT account, region, document FROM apis WHERE id = ?1";
        let found = connection.prepare_cached(sql)?.query_row([id], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        });
        let Some((account, region, document)) = found.optional()? else { return Ok(None) };
        let document = serde_json::from_str(&document).map_err(ServiceError::internal)?;
        Ok(Some(Api { id: id.to_owned(), account, region, document }))
    }

    /// An API of this account and region.
    pub fn own(connection: &Connection, place: (&str, &str), id: &str) -> Result<Api, ServiceError> {
        let found = Api::find(connection, id)?;
        let own = found.filter(|api| (api.account.as_str(), api.region.as_str()) == place);
        own.ok_or_else(|| {
            ServiceError::new(
                404,
                "NotFoundException",
                "Invalid API identifier specified ".to_owned() + place.0 + ":" + id,
            )
        })
    }

    pub fn all(connection: &Connection, place: (&str, &str)) -> Result<Vec<Value>, ServiceError> {
        let sql = "SELECT document FROM apis WHERE account = ?1 AND region = ?2 ORDER BY created, id";
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map([place.0, place.1], |row| row.get::<_, String>(0))?;
        let documents = rows.collect::<Result<Vec<_>, _>>()?;
        let shown = |text: &String| serde_json::from_str::<Value>(text).map(|mut api| api["api"].take());
        documents.iter().map(|text| shown(text).map_err(ServiceError::internal)).collect()
    }

    /// A new API with its root.
    pub fn new(place: (&str, &str), input: &Value, now_seconds: i64) -> Result<Api, ServiceError> {
        let name = input["name"]
            .as_str()
            .filter(|name| !name.is_empty())
            .ok_or_else(|| ServiceError::client("BadRequestException", "Rest API name must be specified"))?;
        let (id, root) = (new_id(10), new_id(10));
        let types = input["endpointConfiguration"]["types"].clone();
        let types = if types.is_null() { json!(["EDGE"]) } else { types };
        let mut api = json!({ "id": id, "name": name, "createdDate": now_seconds, "apiKeySource": "HEADER",
            "endpointConfiguration": { "types": types, "ipAddressType": "ipv4" }, "tags": {},
            "disableExecuteApiEndpoint": false, "rootResourceId": root });
        for member in ["description", "version", "tags", "apiKeySource", "minimumCompressionSize", "policy"] {
            if let Some(value) = input.get(member).filter(|value| !value.is_null()) {
                api[member] = value.clone();
            }
        }
        let resources = json!({ root.clone(): { "id": root, "path": "/" } });
        let document = json!({ "api": api, "resources": resources, "deployments": {}, "stages": {} });
        Ok(Api { id, account: place.0.to_owned(), region: place.1.to_owned(), document })
    }

    pub fn insert(&self, connection: &Connection, now_ms: i64) -> Result<(), ServiceError> {
        let sql = "SELECT count(*) FROM apis WHERE account = ?1 AND region = ?2";
        let count: i64 =
            connection.prepare_cached(sql)?.query_row([&self.account, &self.region], |row| row.get(0))?;
        if count >= APIS_MAX {
            return Err(ServiceError::new(429, "LimitExceededException", "Too many APIs"));
        }
        let sql = "INSERT INTO apis VALUES (?1, ?2, ?3, ?4, ?5)";
        let row = params![self.id, self.account, self.region, now_ms, self.document.to_string()];
        connection.prepare_cached(sql)?.execute(row)?;
        Ok(())
    }

    pub fn save(&self, connection: &Connection) -> Result<(), ServiceError> {
        let sql = "UPDATE apis SET document = ?2 WHERE id = ?1";
        connection.prepare_cached(sql)?.execute([&self.id, &self.document.to_string()])?;
        Ok(())
    }

    pub fn delete(&self, connection: &Connection) -> Result<(), ServiceError> {
        connection.prepare_cached("DELETE FROM apis WHERE id = ?1")?.execute([&self.id])?;
        Ok(())
    }

    /// A part of the document; `what` names it in AWS's refusal.
    pub fn part(&mut self, path: &[&str], what: &str) -> Result<&mut Value, ServiceError> {
        let mut found = Some(&mut self.document);
        for step in path {
            found = found.and_then(|value| value.get_mut(*step));
        }
        found.ok_or_else(|| not_found(what))
    }

    /// A map of parts, made if it is not there yet.
    pub fn parts<'a>(value: &'a mut Value, name: &str) -> Result<&'a mut Map<String, Value>, ServiceError> {
        if !value[name].is_object() {
            value[name] = json!({});
        }
        value[name].as_object_mut().ok_or_else(|| ServiceError::internal("an API has lost a part"))
    }
}
