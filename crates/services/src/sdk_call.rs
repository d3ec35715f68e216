//! The door to AWS calls that this crate cannot make by itself: those of services outside it, such as Step Functions, and
//! those that a user names by service and action, which are made from AWS's service models.

use crate::wire::{BoxFuture, CallContext, ServiceError};
use serde_json::Value;

/// One call, named as AWS's SDKs name it.
#[derive(Debug, Clone, PartialEq)]
pub struct SdkCall {
    /// The service's name among the SDKs, such as `sfn` or `dynamodb`.
    pub service: String,
    /// The action with a small first letter, such as `startExecution`.
    pub action: String,
    /// The parameters.
    pub parameters: Value,
}

/// Makes such calls; given to the services by the binary, once the rest of the process is open.
pub trait SdkCaller: Send + Sync + 'static {
    /// Why there can be no such call: no such service or action, or parameters that do not fit.
    fn check(&self, call: &SdkCall) -> Result<(), String>;

    /// Makes the call for the caller of the context, in its account and region.
    fn call(&self, context: CallContext, call: SdkCall) -> BoxFuture<'static, Result<Value, ServiceError>>;
}
