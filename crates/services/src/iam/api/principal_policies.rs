//! Policies of a role or user: written inline, or managed ones attached.

use super::call::{Call, Owner, document, limit_exceeded, no_such_entity};
use super::policies;
use super::roles::malformed;
use super::tags::existing_owner;
use crate::iam::policy::{Kind, Policy};
use crate::wire::{ServiceError, Xml};
use rusqlite::{Connection, OptionalExtension, params};

const ATTACHED_MAX: i64 = 10;

pub(super) fn put(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let owner = existing_owner(connection, call)?;
    let name = call.name("PolicyName", 128)?;
    let text = call.required("PolicyDocument")?;
    Policy::parse(text, Kind::Identity).map_err(malformed)?;
    let insert = "INSERT OR REPLACE INTO inline_policies(account, owner, owner_name, name, document)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(insert)?.execute(params![
        call.account,
        call.owner.word(),
        owner,
        name,
        text
    ])?;
    refuse_too_long(connection, call, &owner)?;
    Ok(Vec::new())
}

pub(super) fn get(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let owner = existing_owner(connection, call)?;
    let name = call.name("PolicyName", 128)?;
    let query = "SELECT document FROM inline_policies
        WHERE account = ?1 AND owner = ?2 AND owner_name = ?3 AND name = ?4";
    let values = params![call.account, call.owner.word(), owner, name];
    let found =
        connection.prepare_cached(query)?.query_row(values, |row| row.get::<_, String>(0)).optional()?;
    let text = found.ok_or_else(|| not_found(call.owner, name))?;
    Ok(vec![
        Xml::text(call.owner.parameter(), owner),
        Xml::text("PolicyName", name),
        document("PolicyDocument", &text),
    ])
}

pub(super) fn delete(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let owner = existing_owner(connection, call)?;
    let name = call.name("PolicyName", 128)?;
    let delete = "DELETE FROM inline_policies
        WHERE account = ?1 AND owner = ?2 AND owner_name = ?3 AND name = ?4";
    let values = params![call.account, call.owner.word(), owner, name];
    match connection.prepare_cached(delete)?.execute(values)? {
        0 => Err(not_found(call.owner, name)),
        _ => Ok(Vec::new()),
    }
}

pub(super) fn list(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let owner = existing_owner(connection, call)?;
    let mut statement = connection.prepare_cached(
        "SELECT name FROM inline_policies WHERE account = ?1 AND owner = ?2 AND owner_name = ?3 ORDER BY name",
    )?;
    let rows = statement.query_map(params![call.account, call.owner.word(), owner], |row| row.get(0))?;
    let names = rows.collect::<rusqlite::Result<Vec<String>>>()?;
    let (page, end) = call.page(names, |name| name)?;
    Ok(vec![Xml::text_list("PolicyNames", page)].into_iter().chain(end).collect())
}

pub(super) fn attach(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let owner = existing_owner(connection, call)?;
    let arn = call.required("PolicyArn")?;
    if !policies::exists(connection, arn)? {
        return Err(no_such_entity(format!("Policy {arn} does not exist or is not attachable.")));
    }
    let insert =
        "INSERT OR IGNORE INTO attachments(account, owner, owner_name, policy_arn) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(insert)?.execute(params![call.account, call.owner.word(), owner, arn])?;
    let query = "SELECT count(*) FROM attachments WHERE account = ?1 AND owner = ?2 AND owner_name = ?3";
    let attached: i64 =
        connection.query_row(query, params![call.account, call.owner.word(), owner], |row| row.get(0))?;
    if attached > ATTACHED_MAX {
        let quota = if call.owner == Owner::Role { "PoliciesPerRole" } else { "PoliciesPerUser" };
        return Err(limit_exceeded(format!("Cannot exceed quota for {quota}: {ATTACHED_MAX}")));
    }
    Ok(Vec::new())
}

pub(super) fn detach(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let owner = existing_owner(connection, call)?;
    let arn = call.required("PolicyArn")?;
    let delete = "DELETE FROM attachments
        WHERE account = ?1 AND owner = ?2 AND owner_name = ?3 AND policy_arn = ?4";
    match connection.prepare_cached(delete)?.execute(params![call.account, call.owner.word(), owner, arn])? {
        0 => Err(no_such_entity(format!("Policy {arn} was not found."))),
        _ => Ok(Vec::new()),
    }
}

pub(super) fn list_attached(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let owner = existing_owner(connection, call)?;
    let mut statement = connection.prepare_cached(
        "SELECT policy_arn FROM attachments
         WHERE account = ?1 AND owner = ?2 AND owner_name = ?3 ORDER BY policy_arn",
    )?;
    let rows = statement.query_map(params![call.account, call.owner.word(), owner], |row| row.get(0))?;
    let arns = rows.collect::<rusqlite::Result<Vec<String>>>()?;
    let (page, end) = call.page(arns, |arn| arn)?;
    let member = |arn: &String| {
        let name = arn.rsplit('/').next().unwrap_or_default();
        vec![Xml::text("PolicyName", name), Xml::text("PolicyArn", arn)]
    };
    Ok(vec![Xml::list("AttachedPolicies", page.iter().map(member))].into_iter().chain(end).collect())
}

/// White space does not count, as on AWS.
fn refuse_too_long(connection: &Connection, call: &Call, owner: &str) -> Result<(), ServiceError> {
    let mut statement = connection.prepare_cached(
        "SELECT document FROM inline_policies WHERE account = ?1 AND owner = ?2 AND owner_name = ?3",
    )?;
    let rows = statement.query_map(params![call.account, call.owner.word(), owner], |row| row.get(0))?;
    let documents = rows.collect::<rusqlite::Result<Vec<String>>>()?;
    let characters = documents.iter().flat_map(|text| text.chars());
    let length = characters.filter(|character| !character.is_whitespace()).count();
    let length_max = if call.owner == Owner::Role { 10_240 } else { 2_048 };
    if length > length_max {
        let word = call.owner.word();
        let message = format!("Maximum policy size of {length_max} bytes exceeded for {word} {owner}");
        return Err(limit_exceeded(message));
    }
    Ok(())
}

fn not_found(owner: Owner, name: &str) -> ServiceError {
    no_such_entity(format!("The {} policy with name {name} cannot be found.", owner.word()))
}
