//! Who calls, from where, on whose account.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The caller of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Principal {
    /// The owner of an account; allowed everything.
    Root {
        /// The account.
        account: String,
    },
    /// An IAM user, by its access key.
    User {
        /// The account.
        account: String,
        /// The user's ARN.
        arn: String,
        /// The user's name.
        name: String,
        /// The unique id (`AIDA…`).
        id: String,
    },
    /// A session of a role, by temporary credentials.
    RoleSession {
        /// The account.
        account: String,
        /// The role's ARN.
        role_arn: String,
        /// The role's unique id (`AROA…`).
        role_id: String,
        /// The session's name.
        session_name: String,
    },
    /// An AWS service acting by itself, such as SNS that delivers to a queue: only resource policies speak for it.
    Service {
        /// The account in whose name it acts.
        account: String,
        /// The service principal, such as `sns.amazonaws.com`.
        name: String,
    },
}

impl Principal {
    /// The account the caller belongs to.
    pub fn account(&self) -> &str {
        match self {
            Self::Root { account }
            | Self::User { account, .. }
            | Self::RoleSession { account, .. }
            | Self::Service { account, .. } => account,
        }
    }

    /// Who the caller is across sessions: the role rather than its session.
    pub fn identity(&self) -> String {
        match self {
            Self::RoleSession { role_arn, .. } => role_arn.clone(),
            Self::Root { .. } | Self::User { .. } | Self::Service { .. } => self.arn(),
        }
    }

    /// The caller's ARN as `GetCallerIdentity` and access errors show it.
    pub fn arn(&self) -> String {
        match self {
            Self::Root { account } => format!("arn:aws:iam::{account}:root"),
            Self::User { arn, .. } => arn.clone(),
            Self::RoleSession { account, role_arn, session_name, .. } => {
                let role_name = role_arn.rsplit('/').next().unwrap_or_default();
                format!("arn:aws:sts::{account}:assumed-role/{role_name}/{session_name}")
            }
            Self::Service { name, .. } => name.clone(),
        }
    }
}

/// Everything about a call that is not its input.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The account whose resources are meant: that of the access key.
    pub account: String,
    /// The region of the SigV4 scope.
    pub region: String,
    /// Who calls.
    pub principal: Principal,
    /// The id shown in `x-amzn-RequestId`.
    pub request_id: String,
    /// Set by our runtime on calls that may be sent twice; see [`crate::storage::recall`].
    pub invocation_id: Option<String>,
    /// The peer's address.
    pub source_ip: Option<IpAddr>,
    /// The access key that the request was signed with.
    pub access_key_id: Option<String>,
    /// The caller's `User-Agent`.
    pub user_agent: Option<String>,
    /// The resource a service acts for (`aws:SourceArn`), such as the topic that delivers to a queue.
    pub source_arn: Option<String>,
}

impl CallContext {
    /// A call by a service itself, such as SNS delivering to a queue.
    pub fn service(account: &str, region: &str, service_principal: &str) -> Self {
        let name = service_principal.to_owned();
        Self::of(Principal::Service { account: account.to_owned(), name }, region)
    }

    /// A call by `principal` from inside the process.
    pub fn of(principal: Principal, region: &str) -> Self {
        Self {
            account: principal.account().to_owned(),
            region: region.to_owned(),
            principal,
            request_id: uuid::Uuid::new_v4().to_string(),
            invocation_id: None,
            source_ip: None,
            access_key_id: None,
            user_agent: None,
            source_arn: None,
        }
    }

    /// An ARN in the caller's account and region: `arn:aws:<service>:<region>:<account>:<resource>`.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.account)
    }
}
