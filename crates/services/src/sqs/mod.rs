//! SQS: queues.

use crate::environment::Environment;
use crate::front::OpenError;
use crate::wire::{Access, BoxFuture, CallContext, Service, ServiceError, ServiceRequest, ServiceResponse};

/// The service.
pub struct Sqs {
    _environment: Environment,
}

impl Sqs {
    /// Opens the queues.
    pub fn open(environment: Environment) -> Result<Self, OpenError> {
        Ok(Self { _environment: environment })
    }
}

impl Service for Sqs {
    fn name(&self) -> &'static str {
        "sqs"
    }

    fn access(&self, _context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        vec![Access::new(format!("sqs:{}", request.operation), "*")]
    }

    fn handle<'a>(
        &'a self,
        _context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move { Err(ServiceError::unsupported("sqs", &request.operation)) })
    }

    fn xml_namespace(&self) -> &'static str {
        "http://queue.amazonaws.com/doc/2012-11-05/"
    }
}
