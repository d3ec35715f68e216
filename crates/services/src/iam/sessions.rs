//! Who an access key is, and temporary credentials: issued, stored, recognised, ended.
//!
//! Keys that we issued bear a mark, so that one we no longer know is refused instead of being taken for the owner's.
//! Signatures are not checked here. Unless access keys are configured, every key that is not ours stands for the owner of
//! an account.

use super::Iam;
use super::authorize::{Reason, keys_of, refusal};
use super::policy::{Keys, Kind, Policy, PrincipalMatch, Verdict, evaluate, evaluate_for};
use super::remembered::{Caller, Role};
use crate::configuration::Enforce;
use crate::storage::StorageError;
use crate::wire::{Access, Principal, Protocol, ServiceError};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::Arc;

/// How long credentials for a service's own use last.
const SERVICE_SESSION_SECONDS: i64 = 12 * 3600;
/// Ended sessions are kept this long, so that their keys are answered with `ExpiredToken`.
const ENDED_KEPT_SECONDS: i64 = 7 * 24 * 3600;
const ASSUME_ROLE: &str = "sts:AssumeRole";

/// What a process needs to call as a role: an access key, its secret, and the session's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `ASIA…`.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
    /// The token sent with every call.
    pub session_token: String,
    /// When they end.
    pub expiration: Timestamp,
    /// Who they stand for: always a [`Principal::RoleSession`].
    pub principal: Principal,
}

/// Why a role cannot be assumed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// There is no such role.
    #[error("The role {role_arn} does not exist.")]
    NoSuchRole {
        /// The role asked for.
        role_arn: String,
    },
    /// The role's trust policy does not let the service assume it.
    #[error(
        "{principal} is not authorized to assume the role {role_arn}: its trust policy does not allow it."
    )]
    NotTrusted {
        /// The role asked for.
        role_arn: String,
        /// The service principal that asked.
        principal: String,
    },
    /// A caller may not assume the role. AWS says the same of a role that does not exist.
    #[error("{message}")]
    Denied {
        /// AWS's message.
        message: String,
    },
    /// The session is to last longer than the role lets one.
    #[error("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")]
    TooLong,
    /// The credentials could not be stored.
    #[error("{0}")]
    Storage(String),
}

impl From<StorageError> for AccessError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<rusqlite::Error> for AccessError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.to_string())
    }
}

/// Why credentials are not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialError {
    /// The session has ended.
    Expired,
    /// The key or token is none of ours.
    Invalid,
}

impl CredentialError {
    /// The error in the words of the caller's protocol.
    pub fn in_protocol(self, protocol: Protocol) -> ServiceError {
        let is_query = matches!(protocol, Protocol::AwsQuery | Protocol::RestXml);
        match (self, is_query) {
            (Self::Expired, true) => ServiceError::new(
                403,
                "ExpiredToken",
                "The security token included in the request is expired",
            ),
            (Self::Expired, false) => ServiceError::client(
                "ExpiredTokenException",
                "The security token included in the request is expired",
            ),
            (Self::Invalid, true) => ServiceError::new(
                403,
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            ),
            (Self::Invalid, false) => ServiceError::client(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ),
        }
    }
}

/// A caller's wish to assume a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumeRole {
    /// The role.
    pub role_arn: String,
    /// The session's name.
    pub session_name: String,
    /// How long it lasts.
    pub duration_seconds: i64,
    /// `sts:ExternalId` of the trust policy's conditions.
    pub external_id: Option<String>,
}

impl Iam {
    /// Who calls with this access key and session token at this time.
    ///
    /// Configured keys are the owners of their accounts, keys of users and sessions are those. Where no key is configured, one
    /// of twelve digits is the owner of that account, and any other the owner of the default account.
    pub fn principal(
        &self,
        access_key_id: Option<&str>,
        session_token: Option<&str>,
        now: Timestamp,
    ) -> Result<Principal, CredentialError> {
        let root = |account: &str| Ok(Principal::Root { account: account.to_owned() });
        let Some(key) = access_key_id else { return root(&self.account) };
        if let Some(configured) = self.keys.get(key) {
            return root(&configured.account);
        }
        let is_issued = super::api::is_issued_key(key);
        if !is_issued && self.verifies_signatures() {
            return Err(CredentialError::Invalid);
        }
        if super::api::is_account(key) {
            return root(key);
        }
        if !is_issued {
            return root(&self.account);
        }
        let caller = self.caller(key).ok_or(CredentialError::Invalid)?;
        if let Some((token, expires)) = &caller.session {
            if session_token != Some(token.as_str()) {
                return Err(CredentialError::Invalid);
            }
            if *expires <= now {
                return Err(CredentialError::Expired);
            }
        }
        Ok(caller.principal)
    }

    /// Whether requests must bear a good signature: once access keys are configured.
    pub fn verifies_signatures(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The secret of an access key that is known here.
    pub fn secret_of(&self, access_key_id: &str) -> Option<String> {
        if let Some(configured) = self.keys.get(access_key_id) {
            return Some(configured.secret.clone());
        }
        if !super::api::is_issued_key(access_key_id) {
            return None;
        }
        self.caller(access_key_id).map(|caller| caller.secret)
    }

    /// Temporary credentials of a role for a service principal (`lambda.amazonaws.com`, `ecs-tasks.amazonaws.com`,
    /// `states.amazonaws.com`) that the role's trust policy lets assume it. Stored before they are given out.
    ///
    /// Unless permissions are enforced, a role that is missing or does not trust the service is let pass, with a warning.
    pub async fn assume_role_for_service(
        &self,
        role_arn: &str,
        service_principal: &str,
        session_name: &str,
    ) -> Result<Credentials, AccessError> {
        let principal = self.role_session_for_service(role_arn, service_principal, session_name, None)?;
        self.issue(principal, SERVICE_SESSION_SECONDS).await
    }

    /// As [`Iam::assume_role_for_service`], for calls from inside the process that need no credentials. `source_arn` is
    /// the resource on whose behalf the service acts, such as a state machine: `aws:SourceArn` in trust policies.
    pub fn role_session_for_service(
        &self,
        role_arn: &str,
        service_principal: &str,
        session_name: &str,
        source_arn: Option<&str>,
    ) -> Result<Principal, AccessError> {
        let account = account_of(role_arn).unwrap_or(&self.account).to_owned();
        let role = self.role(role_arn)?;
        let role_id = role.as_ref().map(|role| role.id.clone()).unwrap_or_default();
        let refused = match role {
            None => Some(AccessError::NoSuchRole { role_arn: role_arn.to_owned() }),
            Some(role) => {
                let service =
                    Principal::Service { account: account.clone(), name: service_principal.to_owned() };
                let access = Access::new(ASSUME_ROLE, role_arn);
                let access = source_arn
                    .iter()
                    .fold(access, |access, arn| access.with_condition("aws:SourceArn", *arn));
                let keys = keys_of(&service, &access);
                let principal = service_principal.to_owned();
                let not_trusted = AccessError::NotTrusted { role_arn: role_arn.to_owned(), principal };
                (trust(&role, &service, &keys) != PrincipalMatch::Direct).then_some(not_trusted)
            }
        };
        match (refused, self.enforce) {
            (Some(error), Enforce::On) => return Err(error),
            (Some(error), Enforce::Log) => {
                if self.remembered.warns_first(&error.to_string()) {
                    tracing::warn!("{error} AWS would refuse this.");
                }
            }
            (Some(_), Enforce::Off) | (None, _) => {}
        }
        let (role_arn, session_name) = (role_arn.to_owned(), session_name.to_owned());
        Ok(Principal::RoleSession { account, role_arn, role_id, session_name })
    }

    /// `sts:AssumeRole` by a caller. The owner of the role's account may assume it, unlike on AWS, where the owner may
    /// assume none: here the owner stands for the developer at the machine.
    pub async fn assume_role(
        &self,
        caller: &Principal,
        wish: AssumeRole,
    ) -> Result<Credentials, AccessError> {
        let role_arn = wish.role_arn.as_str();
        let refused = || {
            let message = refusal(caller, ASSUME_ROLE, role_arn, Reason::NoIdentityPolicy);
            // STS gives no reason.
            let message = message.split(" because ").next().unwrap_or_default().to_owned();
            AccessError::Denied { message }
        };
        let role = self.role(role_arn)?.ok_or_else(refused)?;
        let account = account_of(role_arn).unwrap_or(&self.account).to_owned();
        let mut access = Access::new(ASSUME_ROLE, role_arn);
        if let Some(external_id) = &wish.external_id {
            access = access.with_condition("sts:ExternalId", external_id);
        }
        access = access.with_condition("sts:RoleSessionName", &wish.session_name);
        if self.enforce != Enforce::Off && !self.may_assume(caller, &role, &account, &access, role_arn) {
            let error = refused();
            if self.enforce == Enforce::On {
                return Err(error);
            }
            tracing::warn!("{error}. AWS would refuse this call: see the role's trust policy.");
        }
        if wish.duration_seconds > role.session_seconds_max {
            return Err(AccessError::TooLong);
        }
        let AssumeRole { role_arn, session_name, duration_seconds, .. } = wish;
        let role_id = role.id.clone();
        let principal = Principal::RoleSession { account, role_arn, role_id, session_name };
        self.issue(principal, duration_seconds).await
    }

    fn may_assume(
        &self,
        caller: &Principal,
        role: &Role,
        account: &str,
        access: &Access,
        role_arn: &str,
    ) -> bool {
        let is_same_account = caller.account() == account;
        if is_same_account && matches!(caller, Principal::Root { .. }) {
            return true;
        }
        let keys = keys_of(caller, access);
        let matched = trust(role, caller, &keys);
        if is_same_account && matched == PrincipalMatch::Direct {
            return true;
        }
        let is_root = matches!(caller, Principal::Root { .. });
        let identity = || evaluate(&self.identity(caller).policies, ASSUME_ROLE, role_arn, &keys);
        matched != PrincipalMatch::None && (is_root || identity() == Verdict::Allowed)
    }

    async fn issue(&self, principal: Principal, seconds: i64) -> Result<Credentials, AccessError> {
        let now = self.clock.now();
        // Whole seconds, as STS shows them and as they are stored.
        let expiration = Timestamp::from_second(now.as_second().saturating_add(seconds))
            .map_err(|error| AccessError::Storage(error.to_string()))?;
        let credentials = Credentials {
            access_key_id: super::api::issued_key("ASIA"),
            secret_access_key: super::api::secret(40),
            session_token: super::api::secret(120),
            expiration,
            principal,
        };
        let stored = credentials.clone();
        // Not a change of roles or policies: what is remembered stays true.
        let write = move |connection: &Connection| insert_session(connection, &stored, now);
        self.database.write::<_, AccessError, _>(write).await?;
        Ok(credentials)
    }

    /// The ARN of an existing role or user: its path is known only here.
    pub(super) fn arn_of(&self, word: &str, account: &str, name: &str) -> Option<String> {
        let query = format!("SELECT path || name FROM {word}s WHERE account = ?1 AND name = ?2");
        let read = |connection: &Connection| {
            connection
                .prepare_cached(&query)?
                .query_row([account, name], |row| row.get::<_, String>(0))
                .optional()
        };
        let found: rusqlite::Result<Option<String>> = self.database.read(read);
        Some(format!("arn:aws:iam::{account}:{word}{}", found.ok()??))
    }

    fn role(&self, role_arn: &str) -> Result<Option<Arc<Role>>, AccessError> {
        if let Some(role) = self.remembered.role(role_arn) {
            return Ok(Some(role));
        }
        let generation = self.remembered.generation();
        let Some(role) = self.database.read(|connection| find_role(connection, role_arn))? else {
            return Ok(None);
        };
        let role = Arc::new(role);
        self.remembered.keep_role(generation, role_arn, &role);
        Ok(Some(role))
    }

    fn caller(&self, access_key_id: &str) -> Option<Caller> {
        if let Some(caller) = self.remembered.caller(access_key_id) {
            return Some(caller);
        }
        let generation = self.remembered.generation();
        let read = self.database.read(|connection| read_caller(connection, access_key_id));
        let caller =
            read.inspect_err(|error| tracing::error!(%error, "credentials cannot be read")).ok()??;
        self.remembered.keep_caller(generation, access_key_id, &caller);
        Some(caller)
    }
}

fn trust(role: &Role, principal: &Principal, keys: &Keys) -> PrincipalMatch {
    let reach = |policy| evaluate_for(policy, principal, ASSUME_ROLE, None, keys).1;
    role.trust.as_ref().map_or(PrincipalMatch::None, reach)
}

fn find_role(connection: &Connection, role_arn: &str) -> rusqlite::Result<Option<Role>> {
    let (Some(account), Some(name)) = (account_of(role_arn), role_arn.rsplit('/').next()) else {
        return Ok(None);
    };
    let mut statement = connection.prepare_cached(
        "SELECT id, trust, session_seconds_max, path, name FROM roles WHERE account = ?1 AND name = ?2",
    )?;
    let found = statement
        .query_row([account, name], |row| {
            let (path, name): (String, String) = (row.get(3)?, row.get(4)?);
            let trust = Policy::parse(&row.get::<_, String>(1)?, Kind::Trust).ok();
            let role = Role { id: row.get(0)?, trust, session_seconds_max: row.get(2)? };
            Ok((format!("arn:aws:iam::{account}:role{path}{name}"), role))
        })
        .optional()?;
    Ok(found.filter(|(arn, _)| arn == role_arn).map(|(_, role)| role))
}

/// The account in an ARN.
fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| super::api::is_account(account))
}

fn insert_session(
    connection: &Connection,
    credentials: &Credentials,
    now: Timestamp,
) -> Result<(), AccessError> {
    let Principal::RoleSession { account, role_arn, role_id, session_name } = &credentials.principal else {
        return Err(AccessError::Storage("only a role has sessions".to_owned()));
    };
    let sweep = "DELETE FROM sessions WHERE access_key_id IN
        (SELECT access_key_id FROM sessions WHERE expires < ?1 ORDER BY expires LIMIT 20)";
    connection.prepare_cached(sweep)?.execute([now.as_second() - ENDED_KEPT_SECONDS])?;
    let insert = "INSERT INTO sessions(access_key_id, account, role_arn, role_id, session_name, secret, token, expires)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection.prepare_cached(insert)?.execute(params![
        credentials.access_key_id,
        account,
        role_arn,
        role_id,
        session_name,
        credentials.secret_access_key,
        credentials.session_token,
        credentials.expiration.as_second(),
    ])?;
    Ok(())
}

fn read_caller(connection: &Connection, access_key_id: &str) -> rusqlite::Result<Option<Caller>> {
    let mut session = connection.prepare_cached(
        "SELECT account, role_arn, role_id, session_name, token, expires, secret FROM sessions WHERE access_key_id = ?1",
    )?;
    let found = session.query_row([access_key_id], |row| {
        let principal = Principal::RoleSession {
            account: row.get(0)?,
            role_arn: row.get(1)?,
            role_id: row.get(2)?,
            session_name: row.get(3)?,
        };
        let expires = Timestamp::from_second(row.get(5)?).unwrap_or(Timestamp::MIN);
        Ok(Caller { principal, secret: row.get(6)?, session: Some((row.get(4)?, expires)) })
    });
    if let Some(caller) = found.optional()? {
        return Ok(Some(caller));
    }
    let mut key = connection.prepare_cached(
        "SELECT users.account, path, name, users.id, secret FROM access_keys
         JOIN users ON users.account = access_keys.account AND users.name = access_keys.user
         WHERE access_keys.id = ?1 AND status = 'Active'",
    )?;
    let found = key.query_row([access_key_id], |row| {
        let (account, path, name): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let arn = format!("arn:aws:iam::{account}:user{path}{name}");
        let principal = Principal::User { account, arn, name, id: row.get(3)? };
        Ok(Caller { principal, secret: row.get(4)?, session: None })
    });
    found.optional()
}
