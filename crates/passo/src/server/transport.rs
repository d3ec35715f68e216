//! How tasks' requests reach the services: in process, under the role of the execution. Services that are pointed
//! elsewhere are the services' own affair; here only an endpoint that does not answer is known from one that does.

use bytes::Bytes;
use integrations::{Identity, Transport, TransportError};
use services::wire::CallContext;
use services::{Services, Unreachable};

use super::states::States;

/// The service principal that an execution's role must trust.
const STATES: &str = "states.amazonaws.com";

/// Everything goes to the services of this process, or through them.
pub(super) struct Embedded {
    services: Services,
    states: States,
}

impl Embedded {
    pub fn new(services: Services, states: States) -> Embedded {
        Embedded { services, states }
    }

    fn context(&self, identity: &Identity) -> Result<CallContext, TransportError> {
        let session = &*identity.session_name;
        let principal =
            self.services.iam().role_session_for_service(&identity.role_arn, STATES, session, None).map_err(
                |_| TransportError::AssumeRole {
                    execution_role: identity.role_arn.to_string(),
                    role: identity.role_arn.to_string(),
                },
            )?;
        let mut context = CallContext::of(principal, &identity.region);
        context.invocation_id = Some(identity.invocation_id.to_string());
        context.request_id = uuid::Uuid::new_v4().to_string();
        Ok(context)
    }

    async fn send(
        &self,
        identity: &Identity,
        service: &str,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        self.deliver(self.context(identity)?, service, request).await
    }

    /// Sends a request for a caller that is known.
    pub async fn deliver(
        &self,
        context: CallContext,
        service: &str,
        mut request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        if service == "states" {
            let answer = self.states.call(&context, request).await;
            return answer.ok_or_else(|| TransportError::Connection("the server is starting".into()));
        }
        // The front routes by the credential scope, as it does for requests that come over HTTP.
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential={}/19700101/{}/{service}/aws4_request, SignedHeaders=host, Signature=0",
            context.principal.account(),
            context.region
        );
        let scope = http::HeaderValue::from_str(&scope)
            .map_err(|error| TransportError::Connection(error.to_string()))?;
        request.headers_mut().insert("authorization", scope);
        let mut answer = self.services.handle_for(context, request).await;
        match answer.extensions_mut().remove::<Unreachable>() {
            None => Ok(answer),
            Some(Unreachable::TimedOut) => Err(TransportError::TimedOut),
            Some(Unreachable::TooLarge(bytes)) => Err(TransportError::TooLarge(bytes)),
            Some(Unreachable::Connection(reason)) => Err(TransportError::Connection(reason)),
        }
    }
}

impl Transport for Embedded {
    fn call<'a>(
        &'a self,
        identity: &'a Identity,
        service: &'a str,
        request: http::Request<Bytes>,
    ) -> integrations::Pending<'a> {
        Box::pin(self.send(identity, service, request))
    }

    fn http<'a>(&'a self, _request: http::Request<Bytes>) -> integrations::Pending<'a> {
        Box::pin(async {
            Err(TransportError::Connection("calls to outside endpoints are not supported yet".into()))
        })
    }
}
