//! The front: every call comes through here, over HTTP or from inside the process. It finds the service, learns who
//! calls, evaluates the permissions the service names, lets it answer, and renders the answer.

mod containment;
mod elsewhere;
mod older_signature;
mod signature;

pub(crate) use signature::is_equal;

use crate::configuration::{Enforce, ServicesConfig};
use crate::environment::Environment;
use crate::events::Connections;
use crate::guard::{FromPage, PageVerdict, Pages};
use crate::iam::Iam;
use crate::registry;
use crate::server::BODY_BYTES_MAX;
use crate::storage::StorageError;
use crate::wire::credential_scope::{CredentialScope, session_token};
use crate::wire::render::Envelope;
use crate::wire::route::{ServiceName, by_form, route};
use crate::wire::stream::Sender;
use crate::wire::{
    Access, CallContext, Decision, Form, INVOCATION_ID_HEADER, Principal, Protocol, Service, ServiceError,
    ServiceRequest, ServiceResponse,
};
use bytes::Bytes;
use containment::{Contained, Panicked};
pub use elsewhere::{Elsewhere, Unreachable};
use http::request::Parts;
use http::{Request, Response, header};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use tracing::Instrument;

/// Why the services cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or directory.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A service's own reason.
    #[error("{service}: {reason}")]
    Service {
        /// The service's name.
        service: &'static str,
        /// What is wrong, and what to do about it.
        reason: String,
    },
}

/// All embedded services behind one door. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    front: Arc<Front>,
}

pub(crate) struct Front {
    environment: Environment,
    services: BTreeMap<&'static str, Arc<dyn Service>>,
    compute: registry::Compute,
    connections: Connections,
}

impl Services {
    /// Opens every service's files below `config.data_dir` and starts their background work. Needs a tokio runtime.
    pub fn open(config: ServicesConfig) -> Result<Self, OpenError> {
        let iam = Arc::new(Iam::open(&config)?);
        let environment = Environment::new(config, iam);
        let (opened, compute, connections) = registry::open_all(&environment)?;
        let services = opened.into_iter().map(|service| (service.name(), service)).collect();
        let front = Arc::new(Front { environment, services, compute, connections });
        front.environment.attach(Arc::downgrade(&front));
        front.services.values().for_each(|service| service.start());
        Ok(Self { front })
    }

    /// Says at which URL processes of this machine reach the services, once the port is known.
    pub fn set_endpoint(&self, endpoint: &str) {
        self.front.environment.set_endpoint(endpoint);
    }

    /// Users, roles, policies, credentials, and the evaluation of permissions.
    pub fn iam(&self) -> &Arc<Iam> {
        self.front.environment.iam()
    }

    /// How user code runs here, for those who tell the operator.
    pub fn compute(&self) -> &registry::Compute {
        &self.front.compute
    }

    /// EventBridge's connections, for those who call endpoints by them.
    pub fn connections(&self) -> Connections {
        self.front.connections.clone()
    }

    /// What every service shares.
    pub fn environment(&self) -> &Environment {
        &self.front.environment
    }

    /// Answers one HTTP request. The peer's address, if known, is an [`IpAddr`] among the request's extensions.
    pub async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.front.handle(request).await
    }

    /// Answers a request made inside the process for a caller that is already known, as the engine's tasks are. The
    /// context's invocation id counts, not the request's header. The answer of a service that is pointed elsewhere and does
    /// not answer has [`Unreachable`] among its extensions.
    pub async fn handle_for(&self, context: CallContext, request: Request<Bytes>) -> Response<Bytes> {
        self.front.answer(Some(context), request).await
    }

    /// Who sends this request, on which account and in which region: for services outside this crate, such as `states`.
    pub fn context(&self, parts: &Parts, body: &[u8]) -> Result<CallContext, ServiceError> {
        self.front.context("states", Protocol::AwsJson10, parts, body)
    }

    /// Evaluates one permission under the configured mode, without the request's own condition keys.
    pub fn authorize(&self, principal: &Principal, access: &Access) -> Decision {
        self.front.environment.iam().authorize(principal, access)
    }

    /// Evaluates the permissions a request needs, for services outside this crate such as `states`. The error is in the
    /// words of that service.
    pub fn check(
        &self,
        context: &CallContext,
        service: &str,
        protocol: Protocol,
        needed: Vec<Access>,
    ) -> Result<(), ServiceError> {
        self.front.check(context, service, protocol, needed)
    }

    /// Who decides, for the listener, about requests of web pages of other origins.
    pub fn pages(&self) -> Pages {
        let front = Arc::downgrade(&self.front);
        Pages::new(move |parts| match front.upgrade() {
            Some(front) => front.page(parts),
            None => PageVerdict::Refused,
        })
    }

    /// Calls a service from inside the process, under the permission rules of `context`'s principal.
    pub async fn call(
        &self,
        context: &CallContext,
        service: &str,
        request: ServiceRequest,
    ) -> Result<ServiceResponse, ServiceError> {
        self.front.call(context, service, request).await
    }

    /// Stops background work and child processes. What is acknowledged is on disk already.
    pub async fn shutdown(&self) {
        for service in self.front.services.values() {
            service.shutdown().await;
        }
    }
}

impl Front {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.answer(None, request).await
    }

    async fn answer(&self, caller: Option<CallContext>, request: Request<Bytes>) -> Response<Bytes> {
        let (parts, mut body) = request.into_parts();
        let mut name = route(&parts);
        let is_from_page = parts.extensions.get::<FromPage>().is_some();
        // An unsigned form says in its body which service it means; only here the body is at hand. What a page sends was
        // judged by its head, and stays with the service that judged it.
        if name.as_str() == "s3" && !is_from_page && CredentialScope::read(&parts).is_none() {
            name = by_form(None, &body).unwrap_or(name);
        }
        // What is sent on is sent whole, so it is read here, within the bound of all whole bodies.
        let mut unread = None;
        if let Some(sender) = parts.extensions.get::<Sender>()
            && self.environment.config().elsewhere.contains_key(name.as_str())
        {
            match sender.collect(BODY_BYTES_MAX).await {
                Ok(Some(collected)) => body = collected,
                Ok(None) => {}
                Err(error) => unread = Some(error),
            }
        }
        let request = ServiceRequest::from_http(&parts, body.clone()).of_service(name.as_str());
        let request_id = uuid::Uuid::new_v4().to_string();
        let service = self.services.get(name.as_str());
        let namespace = service.map_or("", |service| service.xml_namespace());
        let envelope = Envelope::of(name.as_str(), namespace, &request, &request_id);
        if let Some(error) = unread {
            return envelope.error(&error);
        }
        let context =
            caller.map_or_else(|| self.context(name.as_str(), envelope.protocol, &parts, &body), Ok);
        let mut context = match context {
            Ok(context) => context,
            Err(error) => return envelope.error(&error),
        };
        context.request_id = request_id;
        let action = request.operation.as_str();
        let span = tracing::info_span!("request", service = name.as_str(), action, id = context.request_id);
        self.answer_known(&context, (&name, &envelope), (&parts, &body), request).instrument(span).await
    }

    /// Answers a caller that is known.
    async fn answer_known(
        &self,
        context: &CallContext,
        (name, envelope): (&ServiceName, &Envelope),
        (parts, body): (&Parts, &Bytes),
        request: ServiceRequest,
    ) -> Response<Bytes> {
        if let Some(answer) = self.forward(name.as_str(), context, (parts, body)).await {
            return answer.unwrap_or_else(|not_sent| not_sent.into_response(name, envelope));
        }
        let Some(service) = self.services.get(name.as_str()) else {
            let message = format!("The service \"{name}\" is not implemented by this server.");
            return envelope.error(&ServiceError::new(501, "UnsupportedServiceException", message));
        };
        match self.recorded(context, service.as_ref(), request).await {
            Ok(response) => envelope.response(response),
            Err(error) => envelope.error(&error),
        }
    }

    /// Only the service that a request is for can let a page in.
    fn page(&self, parts: &Parts) -> PageVerdict {
        match self.services.get(route(parts).as_str()) {
            Some(service) => service.page(parts),
            None => PageVerdict::Refused,
        }
    }

    /// Who calls; the signature is verified if this server knows whose may be.
    fn context(
        &self,
        service: &str,
        protocol: Protocol,
        parts: &Parts,
        body: &[u8],
    ) -> Result<CallContext, ServiceError> {
        let (iam, now) = (self.environment.iam(), self.environment.now());
        if iam.verifies_signatures() && !is_open_to_all(service, parts) {
            // By the machine's clock: callers do not know of one that was set forward.
            signature::verify(parts, body, jiff::Timestamp::now(), |key| iam.secret_of(key))
                .map_err(|fault| fault.into_error(service, protocol))?;
        }
        let config = self.environment.config();
        let scope = CredentialScope::read(parts);
        let region = scope.as_ref().map(|scope| scope.region.clone()).filter(|region| !region.is_empty());
        let access_key_id = scope.map(|scope| scope.access_key_id);
        let token = session_token(parts);
        let principal = iam
            .principal(access_key_id.as_deref(), token.as_deref(), now)
            .map_err(|error| error.in_protocol(protocol))?;
        let text =
            |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut context = CallContext::of(principal, region.as_deref().unwrap_or(&config.region));
        // Ids that come over the wire count for their caller alone: a function must not be able to use up the id of a
        // task that is yet to come, and so suppress its effect.
        let id = text(INVOCATION_ID_HEADER);
        context.invocation_id = id.map(|id| format!("{} {id}", context.principal.identity()));
        context.access_key_id = access_key_id;
        context.source_ip = parts.extensions.get::<IpAddr>().copied();
        context.user_agent = text(header::USER_AGENT.as_str());
        Ok(context)
    }

    pub(crate) async fn call(
        &self,
        context: &CallContext,
        service: &str,
        request: ServiceRequest,
    ) -> Result<ServiceResponse, ServiceError> {
        if let Some(answer) = self.forward_call(service, context, &request).await {
            return answer;
        }
        match self.services.get(service) {
            Some(service) => self.recorded(context, service.as_ref(), request).await,
            None => {
                let message = format!("The service \"{service}\" is not implemented by this server.");
                Err(ServiceError::new(501, "UnsupportedServiceException", message))
            }
        }
    }

    /// Answers, and records the call if it is one that is recorded.
    async fn recorded(
        &self,
        context: &CallContext,
        service: &dyn Service,
        request: ServiceRequest,
    ) -> Result<ServiceResponse, ServiceError> {
        let audit = self.environment.audit();
        let begun = audit.and_then(|audit| Some((audit, audit.begin_request(context, service, &request)?)));
        let answer = self.permitted(context, service, request).await;
        if let Some((audit, draft)) = begun {
            audit.end_request(draft, &answer).await?;
        }
        answer
    }

    async fn permitted(
        &self,
        context: &CallContext,
        service: &dyn Service,
        request: ServiceRequest,
    ) -> Result<ServiceResponse, ServiceError> {
        let is_evaluated = self.environment.config().enforce != Enforce::Off;
        // What the owner may do need not even be named.
        if is_evaluated && !matches!(context.principal, Principal::Root { .. }) {
            let needed = service.access(context, &request);
            self.check(context, service.name(), request.protocol, needed)?;
        }
        let operation = request.operation.clone();
        match Contained::new(service.handle(context, request)).await {
            Ok(answer) => answer,
            Err(Panicked) => {
                tracing::error!(service = service.name(), operation, "a service panicked");
                Err(ServiceError::internal("a panic, see above"))
            }
        }
    }

    fn check(
        &self,
        context: &CallContext,
        service: &str,
        protocol: Protocol,
        needed: Vec<Access>,
    ) -> Result<(), ServiceError> {
        for access in needed {
            let access = with_request_keys(access, context, self.environment.now());
            if let Decision::Denied { message } =
                self.environment.iam().authorize(&context.principal, &access)
            {
                return Err(access_denied(service, protocol, message));
            }
        }
        Ok(())
    }
}

/// Links in SNS's mails and messages bear a token instead of a signature; a form for S3 bears its signature in its body,
/// where S3 verifies it.
fn is_open_to_all(service: &str, parts: &Parts) -> bool {
    if service == "s3" && crate::s3::is_form_upload(parts) {
        return true;
    }
    // Methods of an API that ask for nothing are open to all; the others refuse who is nobody.
    if service == "execute-api" && CredentialScope::read(parts).is_none() {
        return true;
    }
    let action = |query: &str| Form::parse(Some(query), &[]).get("Action").map(str::to_owned);
    let action = parts.uri.query().and_then(action);
    service == "sns"
        && parts.method == http::Method::GET
        && matches!(action.as_deref(), Some("ConfirmSubscription" | "Unsubscribe"))
}

/// AWS's global condition keys, as far as a request tells them.
pub(crate) fn with_request_keys(mut access: Access, context: &CallContext, now: jiff::Timestamp) -> Access {
    let mut set = |key: &str, value: String| {
        access.conditions.entry(key.to_owned()).or_insert_with(|| vec![value]);
    };
    set("aws:RequestedRegion", context.region.clone());
    set("aws:PrincipalAccount", context.principal.account().to_owned());
    set("aws:CurrentTime", now.to_string());
    set("aws:EpochTime", now.as_second().to_string());
    set("aws:SecureTransport", "false".to_owned());
    if let Some(address) = context.source_ip {
        set("aws:SourceIp", address.to_string());
    }
    if let Some(source_arn) = &context.source_arn {
        set("aws:SourceArn", source_arn.clone());
        set("aws:SourceAccount", context.principal.account().to_owned());
    }
    if let Some(user_agent) = &context.user_agent {
        set("aws:UserAgent", user_agent.clone());
    }
    access
}

/// The refusal in the words of the service: code and status differ, the text does not.
pub(crate) fn access_denied(service: &str, protocol: Protocol, message: String) -> ServiceError {
    match (service, protocol) {
        ("sns", _) => ServiceError::new(403, "AuthorizationError", message),
        // Both kept the codes of their query protocol, which SDKs go on showing.
        ("sqs" | "monitoring", _) => {
            ServiceError::new(403, "AccessDeniedException", message).with_query_code("AccessDenied")
        }
        (_, Protocol::AwsJson10 | Protocol::AwsJson11) => {
            ServiceError::client("AccessDeniedException", message)
        }
        (_, Protocol::RestJson | Protocol::RpcV2Cbor) => {
            ServiceError::new(403, "AccessDeniedException", message)
        }
        (_, Protocol::AwsQuery | Protocol::RestXml) => ServiceError::new(403, "AccessDenied", message),
    }
}

#[cfg(test)]
mod tests;
