//! IAM's API: the query protocol's operations over the tables of `iam.db`.
//!
//! Each operation is a plain function of a connection and a call, run in one transaction. What IAM has and we have not
//! is refused by name.

mod call;
mod identifiers;
mod policies;
mod principal_policies;
mod roles;
mod tags;
mod users;

pub(super) use identifiers::{is_account, is_issued_key, issued_key, secret};

use crate::environment::Environment;
use crate::storage::{recall, remember};
use crate::wire::{
    Access, BoxFuture, CallContext, Service, ServiceError, ServiceRequest, ServiceResponse, Xml,
};
use call::{Call, Owner};
use rusqlite::Connection;

type Operation = fn(&Connection, &Call) -> Result<Vec<Xml>, ServiceError>;

#[derive(Clone, Copy)]
enum Mode {
    Read,
    Write,
}

/// IAM's API.
pub struct IamService {
    environment: Environment,
}

impl IamService {
    /// The API over the environment's [`super::Iam`].
    pub fn new(environment: Environment) -> Self {
        Self { environment }
    }

    async fn answer(
        &self,
        context: &CallContext,
        request: &ServiceRequest,
    ) -> Result<ServiceResponse, ServiceError> {
        let (mode, owner, operation) =
            find(&request.operation).ok_or_else(|| ServiceError::unsupported("iam", &request.operation))?;
        let call = Call {
            form: request.form().clone(),
            account: context.account.clone(),
            caller: context.principal.clone(),
            now: self.environment.now(),
            owner,
        };
        let iam = self.environment.iam();
        let children = match mode {
            Mode::Read => iam.database.read(|connection| operation(connection, &call))?,
            Mode::Write => {
                let invocation_id = context.invocation_id.clone();
                let write = move |connection: &Connection| {
                    once(connection, invocation_id.as_deref(), operation, &call)
                };
                iam.change(write).await?
            }
        };
        Ok(ServiceResponse::xml(children))
    }
}

/// Performs a change, or gives the answer it gave before under the same invocation id.
fn once(
    connection: &Connection,
    invocation_id: Option<&str>,
    operation: Operation,
    call: &Call,
) -> Result<Vec<Xml>, ServiceError> {
    if let Some(known) = recall(connection, invocation_id, call.now)? {
        return Ok(vec![Xml::written(String::from_utf8_lossy(&known))]);
    }
    let children = operation(connection, call)?;
    remember(connection, invocation_id, call.now, Xml::write_all(&children).as_bytes())?;
    Ok(children)
}

impl Service for IamService {
    fn name(&self) -> &'static str {
        "iam"
    }

    fn access(&self, context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        vec![call::access(self.environment.iam(), context, &request.operation, request.form())]
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move { self.answer(context, &request).await })
    }

    fn xml_namespace(&self) -> &'static str {
        "https://iam.amazonaws.com/doc/2010-05-08/"
    }
}

fn find(operation: &str) -> Option<(Mode, Owner, Operation)> {
    role_operation(operation)
        .map(|(mode, run)| (mode, Owner::Role, run))
        .or_else(|| user_operation(operation).map(|(mode, run)| (mode, Owner::User, run)))
        .or_else(|| policy_operation(operation).map(|(mode, run)| (mode, Owner::Policy, run)))
}

fn role_operation(operation: &str) -> Option<(Mode, Operation)> {
    Some(match operation {
        "CreateRole" => (Mode::Write, roles::create),
        "GetRole" => (Mode::Read, roles::get),
        "ListRoles" => (Mode::Read, roles::list),
        "UpdateRole" => (Mode::Write, roles::update),
        "UpdateRoleDescription" => (Mode::Write, roles::update),
        "UpdateAssumeRolePolicy" => (Mode::Write, roles::update_trust),
        "DeleteRole" => (Mode::Write, roles::delete),
        "ListInstanceProfilesForRole" => (Mode::Read, roles::list_instance_profiles),
        "PutRolePolicy" => (Mode::Write, principal_policies::put),
        "GetRolePolicy" => (Mode::Read, principal_policies::get),
        "DeleteRolePolicy" => (Mode::Write, principal_policies::delete),
        "ListRolePolicies" => (Mode::Read, principal_policies::list),
        "AttachRolePolicy" => (Mode::Write, principal_policies::attach),
        "DetachRolePolicy" => (Mode::Write, principal_policies::detach),
        "ListAttachedRolePolicies" => (Mode::Read, principal_policies::list_attached),
        "TagRole" => (Mode::Write, tags::tag),
        "UntagRole" => (Mode::Write, tags::untag),
        "ListRoleTags" => (Mode::Read, tags::list),
        _ => return None,
    })
}

fn user_operation(operation: &str) -> Option<(Mode, Operation)> {
    Some(match operation {
        "CreateUser" => (Mode::Write, users::create),
        "GetUser" => (Mode::Read, users::get),
        "ListUsers" => (Mode::Read, users::list),
        "DeleteUser" => (Mode::Write, users::delete),
        "CreateAccessKey" => (Mode::Write, users::create_access_key),
        "UpdateAccessKey" => (Mode::Write, users::update_access_key),
        "DeleteAccessKey" => (Mode::Write, users::delete_access_key),
        "ListAccessKeys" => (Mode::Read, users::list_access_keys),
        "ListGroupsForUser" => (Mode::Read, users::list_groups),
        "PutUserPolicy" => (Mode::Write, principal_policies::put),
        "GetUserPolicy" => (Mode::Read, principal_policies::get),
        "DeleteUserPolicy" => (Mode::Write, principal_policies::delete),
        "ListUserPolicies" => (Mode::Read, principal_policies::list),
        "AttachUserPolicy" => (Mode::Write, principal_policies::attach),
        "DetachUserPolicy" => (Mode::Write, principal_policies::detach),
        "ListAttachedUserPolicies" => (Mode::Read, principal_policies::list_attached),
        "TagUser" => (Mode::Write, tags::tag),
        "UntagUser" => (Mode::Write, tags::untag),
        "ListUserTags" => (Mode::Read, tags::list),
        _ => return None,
    })
}

fn policy_operation(operation: &str) -> Option<(Mode, Operation)> {
    Some(match operation {
        "CreatePolicy" => (Mode::Write, policies::create),
        "GetPolicy" => (Mode::Read, policies::get),
        "ListPolicies" => (Mode::Read, policies::list),
        "DeletePolicy" => (Mode::Write, policies::delete),
        "CreatePolicyVersion" => (Mode::Write, policies::create_version),
        "GetPolicyVersion" => (Mode::Read, policies::get_version),
        "ListPolicyVersions" => (Mode::Read, policies::list_versions),
        "SetDefaultPolicyVersion" => (Mode::Write, policies::set_default_version),
        "DeletePolicyVersion" => (Mode::Write, policies::delete_version),
        "TagPolicy" => (Mode::Write, tags::tag),
        "UntagPolicy" => (Mode::Write, tags::untag),
        "ListPolicyTags" => (Mode::Read, tags::list),
        _ => return None,
    })
}
