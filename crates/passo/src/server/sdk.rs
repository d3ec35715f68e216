//! Calls that the embedded services cannot make by themselves: state machines as targets of rules and schedules, and
//! Scheduler's universal targets.

use std::sync::Arc;

use runtime::BoxFuture;
use serde_json::Value;
use services::sdk_call::{SdkCall, SdkCaller};
use services::wire::{CallContext, ServiceError};

use super::transport::Embedded;

/// Makes the calls from AWS's service models, over the transport that tasks use.
pub(super) struct Sdk {
    transport: Arc<Embedded>,
}

impl Sdk {
    pub fn new(transport: Arc<Embedded>) -> Sdk {
        Sdk { transport }
    }
}

fn prepared(call: &SdkCall) -> Result<integrations::SdkCall, String> {
    integrations::SdkCall::new(&call.service, &call.action, &call.parameters)
}

fn invalid(message: String) -> ServiceError {
    ServiceError::client("ValidationException", message)
}

async fn made(transport: &Embedded, context: CallContext, call: SdkCall) -> Result<Value, ServiceError> {
    let call = prepared(&call).map_err(invalid)?;
    let request = call.request(context.invocation_id.as_deref().unwrap_or_default()).map_err(invalid)?;
    let answer = transport.deliver(context, call.signing_name(), request).await;
    let answer = answer.map_err(|error| ServiceError::unavailable(error.to_string()))?;
    call.answer(&answer).map_err(|fault| ServiceError::new(fault.status, fault.code, fault.message))
}

impl SdkCaller for Sdk {
    fn check(&self, call: &SdkCall) -> Result<(), String> {
        prepared(call).map(drop)
    }

    fn call(&self, context: CallContext, call: SdkCall) -> BoxFuture<'static, Result<Value, ServiceError>> {
        let transport = Arc::clone(&self.transport);
        Box::pin(async move { made(&transport, context, call).await })
    }
}
