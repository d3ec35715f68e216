//! The verdict on a permission: identity-based, resource-based and session policies, and what a missing one does.

use super::Iam;
use super::managed;
use super::policy::{Keys, Kind, Policy, PrincipalMatch, Verdict, evaluate, evaluate_for};
use super::remembered::Identity;
use crate::configuration::Enforce;
use crate::wire::{Access, Decision, Principal};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;
use std::sync::Arc;

/// Why a permission is missing, as AWS's message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    NoIdentityPolicy,
    NoResourcePolicy,
    IdentityDenies,
    ResourceDenies,
}

impl Iam {
    /// Evaluates one permission under the configured mode. In the mode `log` a missing one is logged, with the statement
    /// that would allow it, and let pass. The owner of an account is allowed everything.
    pub fn authorize(&self, principal: &Principal, access: &Access) -> Decision {
        if self.enforce == Enforce::Off || matches!(principal, Principal::Root { .. }) {
            return Decision::Allowed;
        }
        let keys = keys_of(principal, access);
        for resource in &access.resources {
            let Some(reason) = self.missing(principal, access, resource, &keys) else { continue };
            if self.enforce == Enforce::Log {
                self.warn(principal, &access.action, resource, reason);
                continue;
            }
            return Decision::Denied { message: refusal(principal, &access.action, resource, reason) };
        }
        Decision::Allowed
    }

    fn missing(&self, principal: &Principal, access: &Access, resource: &str, keys: &Keys) -> Option<Reason> {
        let action = access.action.as_str();
        let policy = access.resource_policy.as_ref().and_then(|document| {
            let parsed = Policy::from_value(document, Kind::Resource);
            parsed
                .inspect_err(|error| tracing::warn!(resource, %error, "a resource's policy cannot be read"))
                .ok()
        });
        let of_resource = policy.map_or((Verdict::Silent, PrincipalMatch::None), |policy| {
            evaluate_for(&policy, principal, action, Some(resource), keys)
        });
        if of_resource.0 == Verdict::Denied {
            return Some(Reason::ResourceDenies);
        }
        if matches!(principal, Principal::Service { .. }) {
            return (of_resource.0 != Verdict::Allowed).then_some(Reason::NoResourcePolicy);
        }
        let own_account = access.own_account.as_deref().unwrap_or(principal.account());
        let identity = self.identity(principal);
        match evaluate(&identity.policies, action, resource, keys) {
            Verdict::Denied => Some(Reason::IdentityDenies),
            Verdict::Allowed if is_foreign(own_account, resource) => {
                (of_resource.0 != Verdict::Allowed).then_some(Reason::NoResourcePolicy)
            }
            Verdict::Allowed => None,
            // Within an account the resource's policy alone will do if it names the caller itself.
            Verdict::Silent
                if of_resource.1 == PrincipalMatch::Direct && !is_foreign(own_account, resource) =>
            {
                None
            }
            Verdict::Silent => Some(Reason::NoIdentityPolicy),
        }
    }

    /// The policies of a role or user.
    pub(super) fn identity(&self, principal: &Principal) -> Arc<Identity> {
        let (owner, arn) = match principal {
            Principal::RoleSession { role_arn, .. } => ("role", role_arn.as_str()),
            Principal::User { arn, .. } => ("user", arn.as_str()),
            Principal::Root { .. } | Principal::Service { .. } => return Arc::default(),
        };
        if let Some(identity) = self.remembered.identity(arn) {
            return identity;
        }
        let generation = self.remembered.generation();
        let name = arn.rsplit('/').next().unwrap_or_default();
        let documents =
            self.database.read(|connection| documents(connection, principal.account(), owner, name));
        match documents {
            Ok(documents) => {
                // Documents were checked when stored; one that does not parse would be a damaged file, and allows nothing.
                let policies =
                    documents.iter().filter_map(|text| Policy::parse(text, Kind::Identity).ok()).collect();
                let identity = Arc::new(Identity { policies });
                self.remembered.keep_identity(generation, arn, &identity);
                identity
            }
            Err(error) => {
                tracing::error!(%error, arn, "policies cannot be read; nothing is allowed");
                Arc::default()
            }
        }
    }

    /// Logs a missing permission once, with the statement to add.
    fn warn(&self, principal: &Principal, action: &str, resource: &str, reason: Reason) {
        // Once for a role, not once for each of its sessions.
        if !self.remembered.warns_first(&format!("{} {action} {resource} {reason:?}", principal.identity())) {
            return;
        }
        let text = refusal(principal, action, resource, reason);
        let mut statement = json!({ "Effect": "Allow", "Action": action, "Resource": resource });
        if let Principal::Service { name, .. } = principal {
            statement["Principal"] = json!({ "Service": name });
        }
        match reason {
            Reason::NoIdentityPolicy | Reason::NoResourcePolicy => {
                tracing::warn!("{text}. AWS would refuse this call; the missing statement: {statement}");
            }
            Reason::IdentityDenies | Reason::ResourceDenies => {
                tracing::warn!("{text}. AWS would refuse this call.");
            }
        }
    }
}

/// The documents of a role's or user's inline and attached policies.
fn documents(
    connection: &Connection,
    account: &str,
    owner: &str,
    name: &str,
) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT document FROM inline_policies WHERE account = ?1 AND owner = ?2 AND owner_name = ?3",
    )?;
    let rows = statement.query_map(params![account, owner, name], |row| row.get(0))?;
    let mut documents = rows.collect::<rusqlite::Result<Vec<String>>>()?;
    let mut attached = connection.prepare_cached(
        "SELECT policy_arn FROM attachments WHERE account = ?1 AND owner = ?2 AND owner_name = ?3",
    )?;
    let arns = attached.query_map(params![account, owner, name], |row| row.get::<_, String>(0))?;
    for arn in arns {
        let arn = arn?;
        let managed = managed::find(&arn).map(managed::ManagedPolicy::document);
        let document = match managed {
            Some(document) => Some(document),
            None => default_document(connection, &arn)?,
        };
        documents.extend(document);
    }
    Ok(documents)
}

fn default_document(connection: &Connection, arn: &str) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT document FROM policies JOIN policy_versions USING (arn)
         WHERE arn = ?1 AND version = default_version",
    )?;
    statement.query_row([arn], |row| row.get(0)).optional()
}

/// The condition keys of the request, and those that the caller brings.
pub(super) fn keys_of(principal: &Principal, access: &Access) -> Keys {
    let mut keys = Keys::default();
    for (key, values) in &access.conditions {
        keys.set_all(key, values.clone());
    }
    keys.set("aws:PrincipalAccount", principal.account());
    match principal {
        Principal::Root { account } => {
            keys.set("aws:PrincipalType", "Account");
            keys.set("aws:userid", account.as_str());
            keys.set("aws:PrincipalArn", principal.arn());
        }
        Principal::User { arn, name, id, .. } => {
            keys.set("aws:PrincipalType", "User");
            keys.set("aws:PrincipalArn", arn.as_str());
            keys.set("aws:username", name.as_str());
            keys.set("aws:userid", id.as_str());
        }
        Principal::RoleSession { role_arn, role_id, session_name, .. } => {
            keys.set("aws:PrincipalType", "AssumedRole");
            keys.set("aws:PrincipalArn", role_arn.as_str());
            keys.set("aws:userid", format!("{role_id}:{session_name}"));
        }
        Principal::Service { name, account } => {
            keys.set("aws:PrincipalIsAWSService", "true");
            keys.set("aws:PrincipalServiceName", name.as_str());
            // The service acts for a resource of this account, unless the request says otherwise.
            if keys.get("aws:SourceAccount").is_none() {
                keys.set("aws:SourceAccount", account.as_str());
            }
        }
    }
    keys
}

/// Whether the resource is in an account other than this one. Not every ARN names one.
fn is_foreign(own_account: &str, resource: &str) -> bool {
    let account = resource.split(':').nth(4).unwrap_or_default();
    account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) && account != own_account
}

/// AWS's text of a refusal.
pub(super) fn refusal(principal: &Principal, action: &str, resource: &str, reason: Reason) -> String {
    // SQS alone writes its actions in lower case.
    let action = if action.starts_with("sqs:") { action.to_ascii_lowercase() } else { action.to_owned() };
    let because = match reason {
        Reason::NoIdentityPolicy => format!("because no identity-based policy allows the {action} action"),
        Reason::NoResourcePolicy => format!("because no resource-based policy allows the {action} action"),
        Reason::IdentityDenies => "with an explicit deny in an identity-based policy".to_owned(),
        Reason::ResourceDenies => "with an explicit deny in a resource-based policy".to_owned(),
    };
    let user = principal.arn();
    format!("User: {user} is not authorized to perform: {action} on resource: {resource} {because}")
}
