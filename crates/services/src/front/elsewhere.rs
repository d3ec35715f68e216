//! Services that are not embedded but pointed elsewhere: whoever asks for them here is answered from there.
//!
//! The caller's permissions are evaluated here first, where the embedded service knows which ones a request needs. Then the
//! request is made plain (no signature, path style, no chunks) and handed to the [`Elsewhere`] that the binary gave, which
//! signs and sends it. Nothing of the caller's credentials leaves with it.

use super::Front;
use crate::configuration::Enforce;
use crate::wire::aws_query::Form;
use crate::wire::render::Envelope;
use crate::wire::route::{ServiceName, target_prefix};
use crate::wire::{
    BoxFuture, CallContext, INVOCATION_ID_HEADER, Principal, Protocol, ServiceError, ServiceRequest,
    ServiceResponse,
};
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response};

/// Nobody answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// No connection, or one that broke.
    #[error("{0}")]
    Connection(String),
    /// The answer did not come in time.
    #[error("Read timed out")]
    TimedOut,
    /// The answer has more bytes than are read.
    #[error("The response is larger than {0} bytes")]
    TooLarge(usize),
}

/// Why a request was not answered from elsewhere.
pub(super) enum NotSent {
    /// It was refused here.
    Refused(ServiceError),
    /// Nobody answered there.
    Unreachable(Unreachable),
}

impl NotSent {
    /// What the caller is answered.
    pub fn into_response(self, service: &ServiceName, envelope: &Envelope) -> Response<Bytes> {
        match self {
            Self::Refused(error) => envelope.error(&error),
            Self::Unreachable(unreachable) => {
                let message =
                    format!("The endpoint that {service} is pointed at does not answer: {unreachable}");
                let mut response = envelope.error(&ServiceError::unavailable(message));
                response.extensions_mut().insert(unreachable);
                response
            }
        }
    }
}

/// Where a service is answered that is not embedded.
pub trait Elsewhere: Send + Sync {
    /// The account its resources belong to there; none for the caller's.
    fn account(&self) -> Option<&str>;

    /// Signs and sends a request with a relative URI.
    fn send<'a>(
        &'a self,
        region: &'a str,
        request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, Unreachable>>;

    /// Environment variables that lead user code there directly; none when it is answered through this server.
    fn variables(&self, region: &str) -> Vec<(String, String)>;
}

/// Headers that belong to one connection or one signature.
const DROPPED: [&str; 14] = [
    "authorization",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "referer",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-amz-date",
    "x-amz-security-token",
];

impl Front {
    /// Sends a request on, if its service is pointed elsewhere; gives it back otherwise.
    pub(super) async fn forward(
        &self,
        service: &str,
        context: &CallContext,
        (parts, body): (&Parts, &Bytes),
    ) -> Option<Result<Response<Bytes>, NotSent>> {
        let elsewhere = self.environment.config().elsewhere.get(service)?;
        let request = ServiceRequest::from_http(parts, body.clone()).of_service(service);
        let audit = self.environment.audit().zip(self.services.get(service));
        let begun = audit.and_then(|(audit, embedded)| {
            Some((audit, audit.begin_request(context, embedded.as_ref(), &request)?))
        });
        let permitted = self.may_forward(service, elsewhere.account(), context, &request);
        let answer = match permitted.and_then(|()| plain(service, parts, body)) {
            Ok(mut plain) => {
                let id = context.invocation_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok());
                if let Some(id) = id {
                    plain.headers_mut().insert(INVOCATION_ID_HEADER, id);
                }
                elsewhere.send(&context.region, plain).await.map_err(NotSent::Unreachable)
            }
            Err(error) => Err(NotSent::Refused(error)),
        };
        if let Some((audit, draft)) = begun
            && let Err(error) = audit.end_request(draft, &told(&answer)).await
        {
            return Some(Err(NotSent::Refused(error)));
        }
        Some(answer)
    }

    /// The same for a call from inside the process.
    pub(super) async fn forward_call(
        &self,
        service: &str,
        context: &CallContext,
        request: &ServiceRequest,
    ) -> Option<Result<ServiceResponse, ServiceError>> {
        if !self.environment.config().elsewhere.contains_key(service) {
            return None;
        }
        let (parts, body) = as_http(service, request).into_parts();
        Some(match self.forward(service, context, (&parts, &body)).await? {
            Ok(response) => read_answer(response),
            Err(NotSent::Refused(error)) => Err(error),
            Err(NotSent::Unreachable(unreachable)) => Err(ServiceError::unavailable(unreachable.to_string())),
        })
    }

    fn may_forward(
        &self,
        service: &str,
        account: Option<&str>,
        context: &CallContext,
        request: &ServiceRequest,
    ) -> Result<(), ServiceError> {
        let is_evaluated = self.environment.config().enforce != Enforce::Off;
        let Some(embedded) = self.services.get(service) else { return Ok(()) };
        if !is_evaluated || matches!(context.principal, Principal::Root { .. }) {
            return Ok(());
        }
        let mut there = context.clone();
        if let Some(account) = account {
            there.account = account.to_owned();
        }
        let mut needed = embedded.access(&there, request);
        for access in &mut needed {
            // The account there stands for the caller's own, so that nothing of it is foreign.
            access.own_account = Some(there.account.clone());
            // The embedded service knows no policies of resources that it does not hold.
            access.resource_policy = None;
        }
        self.check(context, service, request.protocol, needed)
    }
}

/// The request without what belongs to its way to this server.
fn plain(service: &str, parts: &Parts, body: &Bytes) -> Result<Request<Bytes>, ServiceError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &parts.headers {
        if !DROPPED.contains(&name.as_str()) && name.as_str() != INVOCATION_ID_HEADER {
            headers.append(name.clone(), value.clone());
        }
    }
    let mut uri = without_signature(&parts.uri);
    let mut body = body.clone();
    if service == "s3" {
        let (path, whole) = crate::s3::plain(parts, body, &mut headers)?;
        let query = uri.split_once('?').map_or_else(String::new, |(_, query)| format!("?{query}"));
        (uri, body) = (format!("{path}{query}"), whole);
    }
    headers.remove("x-amz-content-sha256");
    let request = Request::builder().method(parts.method.clone()).uri(uri).body(body);
    let mut request = request.map_err(|error| ServiceError::client("InvalidURI", error.to_string()))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Path and query without the parameters of a presigned URL.
fn without_signature(uri: &http::Uri) -> String {
    const SIGNING: [&str; 7] = [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-Security-Token",
        "X-Amz-Signature",
        "X-Amz-SignedHeaders",
    ];
    let is_signing = |parameter: &&str| SIGNING.contains(&parameter.split('=').next().unwrap_or_default());
    let query = uri.query().unwrap_or_default();
    let kept: Vec<&str> = query.split('&').filter(|parameter| !is_signing(parameter)).collect();
    let kept = kept.join("&");
    if kept.is_empty() { uri.path().to_owned() } else { format!("{}?{kept}", uri.path()) }
}

/// A call from inside the process as an SDK would send it.
fn as_http(service: &str, request: &ServiceRequest) -> Request<Bytes> {
    let mut body = request.body.clone();
    let mut headers = request.headers.clone();
    match request.protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => {
            let target = format!("{}.{}", target_prefix(service).unwrap_or_default(), request.operation);
            let version = if matches!(service, "logs" | "events" | "ecs") { "1.1" } else { "1.0" };
            set(&mut headers, HeaderName::from_static("x-amz-target"), &target);
            set(&mut headers, header::CONTENT_TYPE, &format!("application/x-amz-json-{version}"));
        }
        Protocol::AwsQuery => {
            let form = String::from_utf8_lossy(&request.body).into_owned();
            let has_version = Form::parse(Some(&form), &[]).get("Version").is_some();
            let version = if has_version { "" } else { "&Version=2010-03-31" };
            body = Bytes::from(format!("Action={}{version}&{form}", request.operation));
            set(&mut headers, header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        Protocol::RestJson | Protocol::RestXml | Protocol::RpcV2Cbor => {}
    }
    let mut http = Request::new(body);
    *http.method_mut() = request.method.clone();
    *http.uri_mut() = request.uri.clone();
    *http.headers_mut() = headers;
    http
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The answer as a record tells it.
fn told(answer: &Result<Response<Bytes>, NotSent>) -> Result<ServiceResponse, ServiceError> {
    match answer {
        Ok(response) => read_answer(response.clone()),
        Err(NotSent::Refused(error)) => Err(error.clone()),
        Err(NotSent::Unreachable(unreachable)) => Err(ServiceError::unavailable(unreachable.to_string())),
    }
}

/// An answer as callers inside the process read it. Whatever the protocol, an error says its code and message.
fn read_answer(response: Response<Bytes>) -> Result<ServiceResponse, ServiceError> {
    let (parts, body) = response.into_parts();
    if parts.status.is_success() {
        let mut answer = ServiceResponse::bytes(body).with_status(parts.status.as_u16());
        answer.headers = parts.headers;
        return Ok(answer);
    }
    let text = String::from_utf8_lossy(&body);
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let member = |names: [&str; 2]| names.iter().find_map(|name| json[*name].as_str()).map(str::to_owned);
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split('<').next().unwrap_or_default().to_owned())
    };
    let code =
        member(["__type", "Code"]).or_else(|| element("Code")).unwrap_or_else(|| "UnknownError".into());
    let message = member(["message", "Message"]).or_else(|| element("Message")).unwrap_or_default();
    Err(ServiceError::new(parts.status.as_u16(), code, message))
}
