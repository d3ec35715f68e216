//! Users and their access keys. Groups, passwords and devices are not here.

use super::call::{Call, already_exists, delete_conflict, limit_exceeded, no_such_entity, time};
use super::identifiers::{issued_key, secret, unique_id};
use super::roles::{refuse_boundary, refuse_in_use};
use super::tags;
use crate::wire::{Principal, ServiceError, Xml};
use rusqlite::{Connection, OptionalExtension, Row, params};

const COLUMNS: &str = "name, path, id, created";
const ACCESS_KEYS_MAX: i64 = 2;

struct User {
    name: String,
    path: String,
    id: String,
    created: i64,
}

impl User {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { name: row.get(0)?, path: row.get(1)?, id: row.get(2)?, created: row.get(3)? })
    }

    fn children(&self, account: &str) -> Vec<Xml> {
        vec![
            Xml::text("Path", &self.path),
            Xml::text("UserName", &self.name),
            Xml::text("UserId", &self.id),
            Xml::text("Arn", format!("arn:aws:iam::{account}:user{}{}", self.path, self.name)),
            time("CreateDate", self.created),
        ]
    }
}

pub(super) fn create(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let name = call.name("UserName", 64)?;
    refuse_boundary(call)?;
    if find(connection, &call.account, name)?.is_some() {
        return Err(already_exists(format!("User with name {name} already exists.")));
    }
    let (path, id) = (call.path()?, unique_id("AIDA"));
    let user = User { name: name.to_owned(), path, id, created: call.now.as_second() };
    let insert = format!("INSERT INTO users(account, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5)");
    let values = params![call.account, user.name, user.path, user.id, user.created];
    connection.prepare_cached(&insert)?.execute(values)?;
    let tags = tags::put(connection, call, name)?;
    Ok(vec![Xml::element("User").with_children(user.children(&call.account)).with_children(tags)])
}

pub(super) fn get(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    if call.form.get("UserName").is_none()
        && let Principal::Root { account } = &call.caller
    {
        let children =
            vec![Xml::text("UserId", account), Xml::text("Arn", call.caller.arn()), time("CreateDate", 0)];
        return Ok(vec![Xml::element("User").with_children(children)]);
    }
    let user = named_or_calling(connection, call)?;
    let tags = tags::element(connection, call, &user.name)?;
    Ok(vec![Xml::element("User").with_children(user.children(&call.account)).with_children(tags)])
}

pub(super) fn list(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM users WHERE account = ?1 ORDER BY name COLLATE BINARY"
    ))?;
    let users = statement.query_map([&call.account], User::read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let wanted = users.into_iter().filter(|user| call.wants_path(&user.path)).collect();
    let (page, end) = call.page(wanted, |user: &User| &user.name)?;
    let members = page.iter().map(|user| user.children(&call.account));
    Ok(vec![Xml::list("Users", members)].into_iter().chain(end).collect())
}

pub(super) fn delete(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    call.name("UserName", 64)?;
    let user = named_or_calling(connection, call)?;
    if count_access_keys(connection, call, &user.name)? > 0 {
        return Err(delete_conflict("Cannot delete entity, must delete access keys first."));
    }
    refuse_in_use(connection, call, &user.name)?;
    tags::forget(connection, call, &user.name)?;
    let delete = "DELETE FROM users WHERE account = ?1 AND name = ?2";
    connection.prepare_cached(delete)?.execute(params![call.account, user.name])?;
    Ok(Vec::new())
}

/// There are no groups, so a user is in none. Tools that delete a user ask this first.
pub(super) fn list_groups(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    named_or_calling(connection, call)?;
    Ok(vec![Xml::element("Groups"), Xml::text("IsTruncated", false)])
}

pub(super) fn create_access_key(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let user = named_or_calling(connection, call)?;
    if count_access_keys(connection, call, &user.name)? >= ACCESS_KEYS_MAX {
        return Err(limit_exceeded(format!("Cannot exceed quota for AccessKeysPerUser: {ACCESS_KEYS_MAX}")));
    }
    let (id, secret, created) = (issued_key("AKIA"), secret(40), call.now.as_second());
    let insert = "INSERT INTO access_keys(id, account, user, secret, status, created)
        VALUES (?1, ?2, ?3, ?4, 'Active', ?5)";
    connection.prepare_cached(insert)?.execute(params![id, call.account, user.name, secret, created])?;
    let key = Xml::element("AccessKey")
        .with(Xml::text("UserName", &user.name))
        .with(Xml::text("AccessKeyId", id))
        .with(Xml::text("Status", "Active"))
        .with(Xml::text("SecretAccessKey", secret))
        .with(time("CreateDate", created));
    Ok(vec![key])
}

pub(super) fn update_access_key(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let user = named_or_calling(connection, call)?;
    let (id, status) = (call.required("AccessKeyId")?, call.required("Status")?);
    if !matches!(status, "Active" | "Inactive") {
        return Err(ServiceError::client("ValidationError", "Status must be Active or Inactive."));
    }
    let update = "UPDATE access_keys SET status = ?4 WHERE account = ?1 AND user = ?2 AND id = ?3";
    let changed = connection.prepare_cached(update)?.execute(params![call.account, user.name, id, status])?;
    one_changed(changed, id)
}

pub(super) fn delete_access_key(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let user = named_or_calling(connection, call)?;
    let id = call.required("AccessKeyId")?;
    let delete = "DELETE FROM access_keys WHERE account = ?1 AND user = ?2 AND id = ?3";
    let changed = connection.prepare_cached(delete)?.execute(params![call.account, user.name, id])?;
    one_changed(changed, id)
}

pub(super) fn list_access_keys(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let user = named_or_calling(connection, call)?;
    let mut statement = connection.prepare_cached(
        "SELECT id, status, created FROM access_keys WHERE account = ?1 AND user = ?2 ORDER BY id",
    )?;
    let read =
        |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?));
    let keys =
        statement.query_map(params![call.account, user.name], read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let member = |(id, status, created): &(String, String, i64)| {
        vec![
            Xml::text("UserName", &user.name),
            Xml::text("AccessKeyId", id),
            Xml::text("Status", status),
            time("CreateDate", *created),
        ]
    };
    let (page, end) = call.page(keys, |key| &key.0)?;
    Ok(vec![Xml::list("AccessKeyMetadata", page.iter().map(member))].into_iter().chain(end).collect())
}

fn one_changed(changed: usize, id: &str) -> Result<Vec<Xml>, ServiceError> {
    if changed == 0 {
        return Err(no_such_entity(format!("The Access Key with id {id} cannot be found.")));
    }
    Ok(Vec::new())
}

fn count_access_keys(connection: &Connection, call: &Call, name: &str) -> rusqlite::Result<i64> {
    let query = "SELECT count(*) FROM access_keys WHERE account = ?1 AND user = ?2";
    connection.query_row(query, params![call.account, name], |row| row.get(0))
}

/// The user named, or else the user who calls.
fn named_or_calling(connection: &Connection, call: &Call) -> Result<User, ServiceError> {
    let name = match (call.form.get("UserName"), &call.caller) {
        (None, Principal::User { name, .. }) => name.as_str(),
        (None, Principal::Root { .. } | Principal::RoleSession { .. } | Principal::Service { .. }) => {
            let message = "Must specify userName when calling with non-User credentials";
            return Err(ServiceError::client("ValidationError", message));
        }
        (Some(_), _) => call.name("UserName", 64)?,
    };
    let missing = || no_such_entity(format!("The user with name {name} cannot be found."));
    find(connection, &call.account, name)?.ok_or_else(missing)
}

fn find(connection: &Connection, account: &str, name: &str) -> rusqlite::Result<Option<User>> {
    let query = format!("SELECT {COLUMNS} FROM users WHERE account = ?1 AND name = ?2");
    connection.prepare_cached(&query)?.query_row([account, name], User::read).optional()
}
