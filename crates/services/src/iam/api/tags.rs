//! Tags of roles, users and policies.

use super::call::{Call, Owner, limit_exceeded, no_such_entity};
use super::policies;
use crate::wire::{ServiceError, Xml};
use rusqlite::{Connection, OptionalExtension, params};

const TAGS_MAX: usize = 50;

/// `TagRole`, `TagUser`, `TagPolicy`.
pub(super) fn tag(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let name = existing_owner(connection, call)?;
    put(connection, call, &name)?;
    Ok(Vec::new())
}

/// `UntagRole`, `UntagUser`, `UntagPolicy`.
pub(super) fn untag(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let name = existing_owner(connection, call)?;
    let delete = "DELETE FROM tags WHERE account = ?1 AND owner = ?2 AND owner_name = ?3 AND key = ?4";
    for key in call.form.list("TagKeys") {
        connection.prepare_cached(delete)?.execute(params![call.account, call.owner.word(), name, key])?;
    }
    Ok(Vec::new())
}

/// `ListRoleTags`, `ListUserTags`, `ListPolicyTags`.
pub(super) fn list(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let name = existing_owner(connection, call)?;
    let (page, end) = call.page(read(connection, call, &name)?, |tag| &tag.0)?;
    Ok(vec![element_of(&page)].into_iter().chain(end).collect())
}

/// Adds the call's `Tags` to an owner; the answer's `Tags` element, if there are any.
pub(super) fn put(connection: &Connection, call: &Call, name: &str) -> Result<Option<Xml>, ServiceError> {
    let insert =
        "INSERT OR REPLACE INTO tags(account, owner, owner_name, key, value) VALUES (?1, ?2, ?3, ?4, ?5)";
    for tag in call.form.structures("Tags") {
        let key = tag.get("Key").filter(|key| !key.is_empty() && key.chars().count() <= 128);
        let value = tag.get("Value").unwrap_or_default();
        let (Some(key), true) = (key, value.chars().count() <= 256) else {
            return Err(ServiceError::client(
                "ValidationError",
                "A tag has no key, or its key or value is too long.",
            ));
        };
        connection.prepare_cached(insert)?.execute(params![
            call.account,
            call.owner.word(),
            name,
            key,
            value
        ])?;
    }
    let tags = read(connection, call, name)?;
    if tags.len() > TAGS_MAX {
        return Err(limit_exceeded(format!("The number of tags has reached the maximum limit: {TAGS_MAX}.")));
    }
    Ok((!tags.is_empty()).then(|| element_of(&tags)))
}

/// The `Tags` element of an owner, if it has any.
pub(super) fn element(connection: &Connection, call: &Call, name: &str) -> rusqlite::Result<Option<Xml>> {
    let tags = read(connection, call, name)?;
    Ok((!tags.is_empty()).then(|| element_of(&tags)))
}

/// Removes the tags of an owner that is deleted.
pub(super) fn forget(connection: &Connection, call: &Call, name: &str) -> rusqlite::Result<()> {
    let delete = "DELETE FROM tags WHERE account = ?1 AND owner = ?2 AND owner_name = ?3";
    connection.prepare_cached(delete)?.execute(params![call.account, call.owner.word(), name]).map(|_| ())
}

/// The name of the owner as stored; an error in IAM's words when it is not there.
pub(super) fn existing_owner(connection: &Connection, call: &Call) -> Result<String, ServiceError> {
    let name = call.owner_name()?;
    if call.owner == Owner::Policy {
        return policies::required(connection, name).map(|policy| policy.arn);
    }
    let word = call.owner.word();
    let query = format!("SELECT name FROM {word}s WHERE account = ?1 AND name = ?2");
    let found =
        connection.prepare_cached(&query)?.query_row([&call.account, name], |row| row.get(0)).optional()?;
    found.ok_or_else(|| no_such_entity(format!("The {word} with name {name} cannot be found.")))
}

fn read(connection: &Connection, call: &Call, name: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = connection.prepare_cached(
        "SELECT key, value FROM tags WHERE account = ?1 AND owner = ?2 AND owner_name = ?3 ORDER BY key",
    )?;
    let rows = statement
        .query_map(params![call.account, call.owner.word(), name], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn element_of(tags: &[(String, String)]) -> Xml {
    let member = |(key, value): &(String, String)| vec![Xml::text("Key", key), Xml::text("Value", value)];
    Xml::list("Tags", tags.iter().map(member))
}
