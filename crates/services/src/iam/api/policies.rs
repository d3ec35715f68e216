//! Managed policies of the account, with versions, beside AWS's own, which cannot be changed.

use super::call::{Call, already_exists, delete_conflict, document, limit_exceeded, no_such_entity, time};
use super::identifiers::unique_id;
use super::roles::malformed;
use super::tags;
use crate::iam::managed::{self, ManagedPolicy};
use crate::iam::policy::{Kind, Policy};
use crate::wire::{ServiceError, Xml};
use rusqlite::{Connection, OptionalExtension, Row, params};

const COLUMNS: &str = "arn, name, path, id, description, created, updated, default_version, last_version";
const POLICY_CHARACTERS_MAX: usize = 6144;
const VERSIONS_MAX: i64 = 5;

/// A managed policy.
pub(super) struct Managed {
    pub(super) arn: String,
    name: String,
    path: String,
    id: String,
    description: Option<String>,
    created: i64,
    updated: i64,
    default_version: i64,
    last_version: i64,
}

impl Managed {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            arn: row.get(0)?,
            name: row.get(1)?,
            path: row.get(2)?,
            id: row.get(3)?,
            description: row.get(4)?,
            created: row.get(5)?,
            updated: row.get(6)?,
            default_version: row.get(7)?,
            last_version: row.get(8)?,
        })
    }

    fn built_in(policy: &ManagedPolicy) -> Self {
        Self {
            arn: policy.arn(),
            name: policy.name().to_owned(),
            path: policy.path().to_owned(),
            id: format!("ANPA{:A<17.17}", policy.name().to_ascii_uppercase()),
            description: None,
            created: 0,
            updated: 0,
            default_version: 1,
            last_version: 1,
        }
    }

    fn children(&self, connection: &Connection) -> rusqlite::Result<Vec<Xml>> {
        let query = "SELECT count(*) FROM attachments WHERE policy_arn = ?1";
        let attached: i64 = connection.query_row(query, [&self.arn], |row| row.get(0))?;
        let mut children = vec![
            Xml::text("PolicyName", &self.name),
            Xml::text("PolicyId", &self.id),
            Xml::text("Arn", &self.arn),
            Xml::text("Path", &self.path),
            Xml::text("DefaultVersionId", format!("v{}", self.default_version)),
            Xml::text("AttachmentCount", attached),
            Xml::text("PermissionsBoundaryUsageCount", 0),
            Xml::text("IsAttachable", true),
        ];
        children.extend(self.description.as_ref().map(|text| Xml::text("Description", text)));
        children.extend([time("CreateDate", self.created), time("UpdateDate", self.updated)]);
        Ok(children)
    }
}

pub(super) fn create(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let name = call.name("PolicyName", 128)?;
    let path = call.path()?;
    let text = identity_document(call)?;
    let arn = format!("arn:aws:iam::{}:policy{path}{name}", call.account);
    let taken = "SELECT 1 FROM policies WHERE account = ?1 AND name = ?2";
    if connection.prepare_cached(taken)?.exists([&call.account, name])? {
        let message = format!("A policy called {name} already exists. Duplicate names are not allowed.");
        return Err(already_exists(message));
    }
    let now = call.now.as_second();
    let policy = Managed {
        arn,
        name: name.to_owned(),
        path,
        id: unique_id("ANPA"),
        description: call.form.get("Description").map(str::to_owned),
        created: now,
        updated: now,
        default_version: 1,
        last_version: 1,
    };
    let insert =
        format!("INSERT INTO policies(account, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, 1, 1)");
    let Managed { arn, name, path, id, description, .. } = &policy;
    connection.prepare_cached(&insert)?.execute(params![
        call.account,
        arn,
        name,
        path,
        id,
        description,
        now
    ])?;
    insert_version(connection, arn, 1, text, now)?;
    let tags = tags::put(connection, call, arn)?;
    Ok(vec![Xml::element("Policy").with_children(policy.children(connection)?).with_children(tags)])
}

pub(super) fn get(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let policy = required(connection, call.required("PolicyArn")?)?;
    let tags = tags::element(connection, call, &policy.arn)?;
    Ok(vec![Xml::element("Policy").with_children(policy.children(connection)?).with_children(tags)])
}

pub(super) fn list(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let scope = call.form.get("Scope").unwrap_or("All");
    let mut policies = Vec::new();
    if scope != "AWS" {
        let query = format!("SELECT {COLUMNS} FROM policies WHERE account = ?1");
        let mut statement = connection.prepare_cached(&query)?;
        policies = statement.query_map([&call.account], Managed::read)?.collect::<rusqlite::Result<_>>()?;
    }
    if scope != "Local" {
        policies.extend(managed::all().iter().map(Managed::built_in));
    }
    policies.retain(|policy| call.wants_path(&policy.path));
    if call.form.get("OnlyAttached") == Some("true") {
        let mut attached = connection.prepare_cached("SELECT 1 FROM attachments WHERE policy_arn = ?1")?;
        policies.retain(|policy| attached.exists([&policy.arn]).unwrap_or(false));
    }
    policies.sort_by(|a, b| a.arn.cmp(&b.arn));
    let (page, end) = call.page(policies, |policy| &policy.arn)?;
    let members =
        page.iter().map(|policy| policy.children(connection)).collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(vec![Xml::list("Policies", members)].into_iter().chain(end).collect())
}

pub(super) fn delete(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let policy = own(connection, call)?;
    let attached = "SELECT 1 FROM attachments WHERE policy_arn = ?1";
    if connection.prepare_cached(attached)?.exists([&policy.arn])? {
        return Err(delete_conflict("Cannot delete a policy attached to entities."));
    }
    if versions(connection, &policy.arn)?.len() > 1 {
        return Err(delete_conflict(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's \
             versions. The default version is deleted with the policy.",
        ));
    }
    tags::forget(connection, call, &policy.arn)?;
    connection.prepare_cached("DELETE FROM policy_versions WHERE arn = ?1")?.execute([&policy.arn])?;
    connection.prepare_cached("DELETE FROM policies WHERE arn = ?1")?.execute([&policy.arn])?;
    Ok(Vec::new())
}

pub(super) fn create_version(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let policy = own(connection, call)?;
    let text = identity_document(call)?;
    if versions(connection, &policy.arn)?.len() >= usize::try_from(VERSIONS_MAX).unwrap_or_default() {
        return Err(limit_exceeded(format!(
            "A managed policy can have up to {VERSIONS_MAX} versions. Before you create a new version, you must \
             delete an existing version."
        )));
    }
    let (version, now) = (policy.last_version + 1, call.now.as_second());
    insert_version(connection, &policy.arn, version, text, now)?;
    let is_default = call.form.get("SetAsDefault") == Some("true");
    let default = if is_default { version } else { policy.default_version };
    let update = "UPDATE policies SET last_version = ?2, default_version = ?3, updated = ?4 WHERE arn = ?1";
    connection.prepare_cached(update)?.execute(params![policy.arn, version, default, now])?;
    Ok(vec![Xml::element("PolicyVersion").with_children(version_children(version, is_default, now))])
}

pub(super) fn get_version(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let policy = required(connection, call.required("PolicyArn")?)?;
    let version = version(call)?;
    let (text, created) = match managed::find(&policy.arn) {
        Some(built_in) if version == 1 => (built_in.document(), 0),
        Some(_) => return Err(no_such_version(&policy.arn, version)),
        None => {
            let query = "SELECT document, created FROM policy_versions WHERE arn = ?1 AND version = ?2";
            let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let found = connection.prepare_cached(query)?.query_row(params![policy.arn, version], read);
            found.optional()?.ok_or_else(|| no_such_version(&policy.arn, version))?
        }
    };
    let children = version_children(version, version == policy.default_version, created);
    Ok(vec![Xml::element("PolicyVersion").with(document("Document", &text)).with_children(children)])
}

pub(super) fn list_versions(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let policy = required(connection, call.required("PolicyArn")?)?;
    let versions = match managed::find(&policy.arn) {
        Some(_) => vec![(1, 0)],
        None => versions(connection, &policy.arn)?,
    };
    let member = |(version, created): &(i64, i64)| {
        version_children(*version, *version == policy.default_version, *created)
    };
    Ok(vec![Xml::list("Versions", versions.iter().map(member)), Xml::text("IsTruncated", false)])
}

pub(super) fn set_default_version(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let policy = own(connection, call)?;
    let version = existing_version(connection, call, &policy)?;
    let update = "UPDATE policies SET default_version = ?2, updated = ?3 WHERE arn = ?1";
    connection.prepare_cached(update)?.execute(params![policy.arn, version, call.now.as_second()])?;
    Ok(Vec::new())
}

pub(super) fn delete_version(connection: &Connection, call: &Call) -> Result<Vec<Xml>, ServiceError> {
    let policy = own(connection, call)?;
    let version = existing_version(connection, call, &policy)?;
    if version == policy.default_version {
        return Err(delete_conflict("Cannot delete the default version of a policy."));
    }
    let delete = "DELETE FROM policy_versions WHERE arn = ?1 AND version = ?2";
    connection.prepare_cached(delete)?.execute(params![policy.arn, version])?;
    Ok(Vec::new())
}

/// Whether a policy can be attached: one of AWS's that we know, or one of ours.
pub(super) fn exists(connection: &Connection, arn: &str) -> rusqlite::Result<bool> {
    Ok(find(connection, arn)?.is_some())
}

/// The policy with this ARN, AWS's or ours.
pub(super) fn required(connection: &Connection, arn: &str) -> Result<Managed, ServiceError> {
    find(connection, arn)?.ok_or_else(|| no_such_entity(format!("Policy {arn} was not found.")))
}

fn find(connection: &Connection, arn: &str) -> rusqlite::Result<Option<Managed>> {
    if let Some(policy) = managed::find(arn) {
        return Ok(Some(Managed::built_in(policy)));
    }
    let query = format!("SELECT {COLUMNS} FROM policies WHERE arn = ?1");
    connection.prepare_cached(&query)?.query_row([arn], Managed::read).optional()
}

/// A policy that the caller's account may change.
fn own(connection: &Connection, call: &Call) -> Result<Managed, ServiceError> {
    let arn = call.required("PolicyArn")?;
    if managed::find(arn).is_some() || !arn.starts_with(&format!("arn:aws:iam::{}:", call.account)) {
        let message = format!(
            "User: {} is not authorized to perform this operation on {arn}: the policy is not the account's own.",
            call.caller.arn()
        );
        return Err(ServiceError::new(403, "AccessDenied", message));
    }
    required(connection, arn)
}

fn identity_document(call: &Call) -> Result<&str, ServiceError> {
    let text = call.required("PolicyDocument")?;
    Policy::parse(text, Kind::Identity).map_err(malformed)?;
    if text.chars().filter(|character| !character.is_whitespace()).count() > POLICY_CHARACTERS_MAX {
        return Err(limit_exceeded(format!("Cannot exceed quota for PolicySize: {POLICY_CHARACTERS_MAX}")));
    }
    Ok(text)
}

fn insert_version(
    connection: &Connection,
    arn: &str,
    version: i64,
    text: &str,
    created: i64,
) -> rusqlite::Result<()> {
    let insert = "INSERT INTO policy_versions(arn, version, document, created) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(insert)?.execute(params![arn, version, text, created]).map(|_| ())
}

fn versions(connection: &Connection, arn: &str) -> rusqlite::Result<Vec<(i64, i64)>> {
    let query = "SELECT version, created FROM policy_versions WHERE arn = ?1 ORDER BY version DESC";
    let mut statement = connection.prepare_cached(query)?;
    statement.query_map([arn], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn version(call: &Call) -> Result<i64, ServiceError> {
    let text = call.required("VersionId")?;
    let number = text.strip_prefix('v').and_then(|number| number.parse().ok());
    number.ok_or_else(|| ServiceError::client("ValidationError", format!("Invalid version id: {text}")))
}

fn existing_version(connection: &Connection, call: &Call, policy: &Managed) -> Result<i64, ServiceError> {
    let version = version(call)?;
    let is_there = versions(connection, &policy.arn)?.iter().any(|(number, _)| *number == version);
    if is_there { Ok(version) } else { Err(no_such_version(&policy.arn, version)) }
}

fn no_such_version(arn: &str, version: i64) -> ServiceError {
    no_such_entity(format!("Policy {arn} version v{version} does not exist or is not attachable."))
}

fn version_children(version: i64, is_default: bool, created: i64) -> Vec<Xml> {
    vec![
        Xml::text("VersionId", format!("v{version}")),
        Xml::text("IsDefaultVersion", is_default),
        time("CreateDate", created),
    ]
}
