//! One AWS call named as AWS's SDKs name it, outside of any Task: what EventBridge Scheduler's universal targets are.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::model::Operation;
use crate::naming::to_native;
use crate::protocol::{self, Fault, Timestamps};
use crate::task::{fill_idempotency_token, plan};

/// An action with parameters that fit it.
pub struct SdkCall {
    operation: Operation<'static>,
    parameters: Value,
}

impl SdkCall {
    /// `sqs` and `sendMessage`, with parameters in either spelling. The error says why there is no such call.
    pub fn new(service: &str, action: &str, parameters: &Value) -> Result<SdkCall, String> {
        let plan = plan(&format!("aws-sdk:{service}"), action).filter(|plan| !plan.operation.streams());
        let operation =
            plan.ok_or_else(|| format!("{service}:{action} is no action of AWS's SDKs."))?.operation;
        let parameters = match operation.input() {
            Some(shape) => to_native(shape, parameters).map_err(|problems| problems.join(", "))?,
            None => Value::Object(Map::new()),
        };
        Ok(SdkCall { operation, parameters })
    }

    /// The service's SigV4 signing name.
    pub fn signing_name(&self) -> &'static str {
        self.operation.service.signing_name()
    }

    /// The request, with a relative URI. The same id gives the same idempotency tokens.
    pub fn request(&self, invocation_id: &str) -> Result<http::Request<Bytes>, String> {
        let mut parameters = self.parameters.clone();
        fill_idempotency_token(&mut parameters, self.operation, invocation_id);
        protocol::request(self.operation, &parameters).map_err(|error| error.to_string())
    }

    /// What the service answered: its result, or its refusal.
    pub fn answer(&self, response: &http::Response<Bytes>) -> Result<Value, Fault> {
        protocol::response(self.operation, response, Timestamps::Iso8601)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_call_is_made_from_the_model_and_what_does_not_fit_is_named() {
        let parameters = json!({"QueueUrl": "http://localhost/1/q", "MessageBody": "m"});
        let call = SdkCall::new("sqs", "sendMessage", &parameters).map_err(drop).expect("a call");
        assert_eq!(call.signing_name(), "sqs");
        let request = call.request("id").expect("a request");
        assert_eq!(request.headers()["x-amz-target"], "AmazonSQS.SendMessage");
        for (action, parameters) in [("sendMessages", json!({})), ("sendMessage", json!({"Body": "m"}))] {
            assert!(SdkCall::new("sqs", action, &parameters).is_err(), "{action}");
        }
        let start = json!({"stateMachineArn": "m", "name": "n", "input": "{}"});
        let call = SdkCall::new("sfn", "startExecution", &start).map_err(drop).expect("a call");
        assert_eq!(call.signing_name(), "states");
    }
}
