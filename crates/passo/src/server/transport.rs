//! How tasks' requests reach the services: in process, under the role of the execution. Services that are pointed
//! elsewhere are the services' own affair; here only an endpoint that does not answer is known from one that does.

use std::sync::Arc;

use bytes::Bytes;
use integrations::{Adding, Additions, Endpoint, Identity, Refusal, Transport, TransportError};
use services::wire::{Access, CallContext, Protocol};
use services::{Services, Unreachable};

use super::endpoints::Endpoints;
use super::states::States;

/// The service principal that an execution's role must trust.
const STATES: &str = "states.amazonaws.com";

/// Everything goes to the services of this process, or through them.
pub(super) struct Embedded {
    services: Services,
    states: States,
    endpoints: Arc<Endpoints>,
}

impl Embedded {
    pub fn new(services: Services, states: States, endpoints: Arc<Endpoints>) -> Embedded {
        Embedded { services, states, endpoints }
    }

    /// What the connection adds, if the role may call the endpoint and use the connection.
    async fn connect(
        &self,
        identity: &Identity,
        endpoint: &Endpoint,
        refused: Option<i64>,
    ) -> Result<Additions, Refusal> {
        let refusal = |error: &str, cause: String| Refusal { error: error.into(), cause };
        let context =
            self.context(identity).map_err(|error| refusal("States.TaskFailed", error.to_string()))?;
        let access = Access::new("states:InvokeHTTPEndpoint", &endpoint.state_machine_arn)
            .with_condition("states:HTTPMethod", &endpoint.method)
            .with_condition("states:HTTPEndpoint", &endpoint.url);
        self.services
            .check(&context, "states", Protocol::AwsJson10, vec![access])
            .map_err(|error| refusal("States.Permissions", error.message))?;
        let added = self.services.connections().additions(&context, &endpoint.connection_arn, refused).await;
        let added = added
            .map_err(|fault| refusal(&format!("Events.ConnectionResource.{}", fault.code), fault.message))?;
        Ok(Additions { headers: added.headers, query: added.query, body: added.body, token: added.token })
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

    fn additions<'a>(
        &'a self,
        identity: &'a Identity,
        endpoint: &'a Endpoint,
        refused: Option<i64>,
    ) -> Adding<'a> {
        Box::pin(self.connect(identity, endpoint, refused))
    }

    fn http<'a>(&'a self, request: http::Request<Bytes>) -> integrations::Pending<'a> {
        Box::pin(self.endpoints.call(request))
    }
}
