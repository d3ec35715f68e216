//! Roles.

use super::call::{Call, already_exists, delete_conflict, document, limit_exceeded, no_such_entity, time};
use super::identifiers::unique_id;
use super::tags;
use crate::iam::policy::{Kind, Malformed, Policy};
use crate::wire::{ServiceError, Xml};
use rusqlite::{Connection, OptionalExtension, Row, params};

const COLUMNS: &str = "name, path, id, trust, description, session_seconds_max, created";
const TRUST_CHARACTERS_MAX: usize = 2048;
const SESSION_SECONDS_DEFAULT: i64 = 3600;

struct Role {
    name: String,
    path: String,
    id: String,
    trust: String,
    description: Option<String>,
    session_seconds_max: i64,
    created: i64,
}

impl Role {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get(0)?,
            path: row.get(1)?,
            id: row.get(2)?,
            trust: row.get(3)?,
            description: row.get(4)?,
            session_seconds_max: row.get(5)?,
            created: row.get(6)?,
        })
    }

    fn children(&self, account: &str) -> Vec<Xml> {
        let mut children = vec![
            Xml::text("Path", &self.path),
            Xml::text("RoleName", &self.name),
            Xml::text("RoleId", &self.id),
            Xml::text("Arn", format!("arn:aws:iam::{account}:role{}{}", self.path, self.name)),
            time("CreateDate", self.created),
            document("AssumeRolePolicyDocument", &self.trust),
            Xml::text("MaxSessionDuration", self.session_seconds_max),
        ];
        children.extend(self.description.as_ref().map(|text| Xml::text("Description", text)));
        children
    }
}

pub(super) fn create(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let name = call.name("RoleName", 64)?;
    refuse_boundary(call)?;
    let trust = trust_document(call, "AssumeRolePolicyDocument")?;
    if find(connection, &call.account, name)?.is_some() {
        return Err(already_exists(format!("Role with name {name} already exists.")));
    }
    let role = Role {
        name: name.to_owned(),
        path: call.path()?,
        id: unique_id("AROA"),
        trust,
        description: call.form.get("Description").map(str::to_owned),
        session_seconds_max: session_seconds_max(call)?.unwrap_or(SESSION_SECONDS_DEFAULT),
        created: call.now.as_second(),
    };
    let insert = format!("INSERT INTO roles(account, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    connection.prepare_cached(&insert)?.execute(params![
        call.account,
        role.name,
        role.path,
        role.id,
        role.trust,
        role.description,
        role.session_seconds_max,
        role.created
    ])?;
    let tags = tags::put(connection, call, name)?;
    Ok(vec![Xml::element("Role").with_children(role.children(&call.account)).with_children(tags)])
}

pub(super) fn get(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let role = required(connection, call)?;
    let tags = tags::element(connection, call, &role.name)?;
    let children = role.children(&call.account);
    Ok(vec![
        Xml::element("Role").with_children(children).with_children(tags).with(Xml::element("RoleLastUsed")),
    ])
}

pub(super) fn list(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM roles WHERE account = ?1 ORDER BY name COLLATE BINARY"
    ))?;
    let roles = statement.query_map([&call.account], Role::read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let wanted = roles.into_iter().filter(|role| call.wants_path(&role.path)).collect();
    let (page, end) = call.page(wanted, |role: &Role| &role.name)?;
    let members = page.iter().map(|role| role.children(&call.account));
    Ok(vec![Xml::list("Roles", members)].into_iter().chain(end).collect())
}

pub(super) fn update(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let role = required(connection, call)?;
    let description = call.form.get("Description").map(str::to_owned).or(role.description);
    let seconds = session_seconds_max(call)?.unwrap_or(role.session_seconds_max);
    let update =
        "UPDATE roles SET description = ?3, session_seconds_max = ?4 WHERE account = ?1 AND name = ?2";
    connection.prepare_cached(update)?.execute(params![call.account, role.name, description, seconds])?;
    Ok(Vec::new())
}

pub(super) fn update_trust(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let role = required(connection, call)?;
    let trust = trust_document(call, "PolicyDocument")?;
    let update = "UPDATE roles SET trust = ?3 WHERE account = ?1 AND name = ?2";
    connection.prepare_cached(update)?.execute(params![call.account, role.name, trust])?;
    Ok(Vec::new())
}

pub(super) fn delete(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let role = required(connection, call)?;
    refuse_in_use(connection, call, &role.name)?;
    tags::forget(connection, call, &role.name)?;
    let delete = "DELETE FROM roles WHERE account = ?1 AND name = ?2";
    connection.prepare_cached(delete)?.execute(params![call.account, role.name])?;
    Ok(Vec::new())
}

/// There are no instance profiles, so a role is in none. Tools that delete a role ask this first.
pub(super) fn list_instance_profiles(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    required(connection, call)?;
    Ok(vec![Xml::element("InstanceProfiles"), Xml::text("IsTruncated", false)])
}

/// Refuses to delete a role or user that still has policies.
pub(super) fn refuse_in_use(connection: &Connection, call: &Call, name: &str) -> Result<(), ServiceError> {
    let count = |table: &str| {
        let query =
            format!("SELECT count(*) FROM {table} WHERE account = ?1 AND owner = ?2 AND owner_name = ?3");
        connection
            .query_row(&query, params![call.account, call.owner.word(), name], |row| row.get::<_, i64>(0))
    };
    if count("attachments")? > 0 {
        return Err(delete_conflict("Cannot delete entity, must detach all policies first."));
    }
    if count("inline_policies")? > 0 {
        return Err(delete_conflict("Cannot delete entity, must delete policies first."));
    }
    Ok(())
}

/// Boundaries would have to be evaluated; until they are, a caller must know that they are not.
pub(super) fn refuse_boundary(call: &Call) -> Result<(), ServiceError> {
    match call.form.get("PermissionsBoundary") {
        Some(_) => Err(ServiceError::unsupported("iam", "PermissionsBoundary")),
        None => Ok(()),
    }
}

pub(super) fn malformed(error: Malformed) -> ServiceError {
    ServiceError::client("MalformedPolicyDocument", error.0)
}

fn trust_document(call: &Call, parameter: &str) -> Result<String, ServiceError> {
    let text = call.required(parameter)?;
    Policy::parse(text, Kind::Trust).map_err(malformed)?;
    if text.chars().filter(|character| !character.is_whitespace()).count() > TRUST_CHARACTERS_MAX {
        return Err(limit_exceeded(format!(
            "Cannot exceed quota for ACLSizePerRole: {TRUST_CHARACTERS_MAX}"
        )));
    }
    Ok(text.to_owned())
}

fn session_seconds_max(call: &Call) -> Result<Option<i64>, ServiceError> {
    let Some(text) = call.form.get("MaxSessionDuration") else { return Ok(None) };
    let seconds = text.parse().ok().filter(|seconds| (3600..=43200).contains(seconds));
    let message = "MaxSessionDuration must be between 3600 and 43200 seconds.";
    seconds.map(Some).ok_or_else(|| ServiceError::client("ValidationError", message))
}

fn required(connection: &Connection, call: &Call) -> Result<Role, ServiceError> {
    let name = call.name("RoleName", 64)?;
    let missing = || no_such_entity(format!("The role with name {name} cannot be found."));
    find(connection, &call.account, name)?.ok_or_else(missing)
}

fn find(connection: &Connection, account: &str, name: &str) -> rusqlite::Result<Option<Role>> {
    let query = format!("SELECT {COLUMNS} FROM roles WHERE account = ?1 AND name = ?2");
    connection.prepare_cached(&query)?.query_row([account, name], Role::read).optional()
}
