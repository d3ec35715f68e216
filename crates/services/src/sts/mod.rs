//! STS: who am I, and temporary credentials.

use crate::environment::Environment;
use crate::wire::{
    Access, BoxFuture, CallContext, Service, ServiceError, ServiceRequest, ServiceResponse, Xml,
};

/// The service.
pub struct Sts {
    _environment: Environment,
}

impl Sts {
    /// The API over the environment's IAM.
    pub fn new(environment: Environment) -> Self {
        Self { _environment: environment }
    }
}

impl Service for Sts {
    fn name(&self) -> &'static str {
        "sts"
    }

    // GetCallerIdentity needs no permission; AssumeRole is decided with the role's trust policy at hand.
    fn access(&self, _context: &CallContext, _request: &ServiceRequest) -> Vec<Access> {
        Vec::new()
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move {
            match request.operation.as_str() {
                "GetCallerIdentity" => Ok(ServiceResponse::xml(vec![
                    Xml::text("UserId", &context.account),
                    Xml::text("Account", &context.account),
                    Xml::text("Arn", context.principal.arn()),
                ])),
                other => Err(ServiceError::unsupported("sts", other)),
            }
        })
    }

    fn xml_namespace(&self) -> &'static str {
        "https://sts.amazonaws.com/doc/2011-06-15/"
    }
}
