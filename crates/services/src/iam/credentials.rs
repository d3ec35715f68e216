//! Temporary credentials of a role.

use jiff::Timestamp;

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
    /// The role.
    pub role_arn: String,
    /// The session's ARN, `arn:aws:sts::…:assumed-role/<role>/<session>`.
    pub assumed_role_arn: String,
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
    /// The role's trust policy does not name the one who asks.
    #[error(
        "{principal} is not authorized to assume the role {role_arn}: its trust policy does not allow it."
    )]
    NotTrusted {
        /// The role asked for.
        role_arn: String,
        /// Who asked: a service principal or an ARN.
        principal: String,
    },
    /// The credentials could not be stored.
    #[error("{0}")]
    Storage(String),
}
