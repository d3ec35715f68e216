//! IAM: users, roles, policies, temporary credentials, and the evaluation of permissions.
//!
//! [`Iam`] is the state that the front and other services ask; [`IamService`] is the API.

mod credentials;

pub use credentials::{AccessError, Credentials};

use crate::configuration::ServicesConfig;
use crate::environment::Environment;
use crate::storage::{Database, StorageError};
use crate::wire::{
    Access, BoxFuture, CallContext, Decision, Principal, Service, ServiceError, ServiceRequest,
    ServiceResponse,
};
use jiff::Timestamp;

/// Users, roles, policies and credentials.
pub struct Iam {
    _database: Database,
    account: String,
}

impl Iam {
    /// Opens IAM's file.
    pub fn open(config: &ServicesConfig) -> Result<Self, StorageError> {
        let _database = Database::open(&config.data_dir.join("services"), "iam", &[])?;
        Ok(Self { _database, account: config.account.clone() })
    }

    /// Who calls with this access key and session token at this time.
    pub fn principal(
        &self,
        access_key_id: Option<&str>,
        _session_token: Option<&str>,
        _now: Timestamp,
    ) -> Result<Principal, ServiceError> {
        let is_account = |key: &&str| key.len() == 12 && key.bytes().all(|byte| byte.is_ascii_digit());
        let account = access_key_id.filter(is_account).unwrap_or(&self.account).to_owned();
        Ok(Principal::Root { account })
    }

    /// Evaluates one permission.
    pub fn authorize(&self, _principal: &Principal, _access: &Access) -> Decision {
        Decision::Allowed
    }

    /// Temporary credentials of a role for a service principal (`lambda.amazonaws.com`, `ecs-tasks.amazonaws.com`,
    /// `states.amazonaws.com`) that the role's trust policy lets assume it.
    pub async fn assume_role_for_service(
        &self,
        role_arn: &str,
        _service_principal: &str,
        _session_name: &str,
    ) -> Result<Credentials, AccessError> {
        Err(AccessError::NoSuchRole { role_arn: role_arn.to_owned() })
    }
}

/// IAM's API.
pub struct IamService {
    _environment: Environment,
}

impl IamService {
    /// The API over the environment's [`Iam`].
    pub fn new(environment: Environment) -> Self {
        Self { _environment: environment }
    }
}

impl Service for IamService {
    fn name(&self) -> &'static str {
        "iam"
    }

    fn access(&self, _context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        vec![Access::new(format!("iam:{}", request.operation), "*")]
    }

    fn handle<'a>(
        &'a self,
        _context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move { Err(ServiceError::unsupported("iam", &request.operation)) })
    }

    fn xml_namespace(&self) -> &'static str {
        "https://iam.amazonaws.com/doc/2010-05-08/"
    }
}
