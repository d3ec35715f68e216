//! Calls to endpoints outside in a user's name: HTTP Tasks, and the tokens of EventBridge's connections.
//!
//! Invariant: every address is checked after its name is resolved, and it is the checked address that is connected to, so a
//! name cannot change its mind in between. Answers are bounded in time and size. Redirects are not followed, since the rules
//! and the connection's credentials are for the endpoint that was named. No proxy is used.

mod rules;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use integrations::TransportError;
use services::Unreachable;
use services::outside::WayOut;
use services::wire::BoxFuture;

use super::outside::http::trusted;
use rules::Denied;
pub use rules::{Network, Plain, Rules};

/// AWS's bound on an HTTP Task.
pub const ANSWER_WAIT: Duration = Duration::from_secs(60);
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// More than a Task's result may hold, so that what is too large is told by its size.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The clients.
pub struct Endpoints {
    rules: Arc<Rules>,
    secure: Client<HttpsConnector<HttpConnector<Checked>>, Full<Bytes>>,
    plain: Client<HttpConnector<Checked>, Full<Bytes>>,
    /// The port of this server, which knows callers of this machine without a signature.
    own_port: u16,
}

/// Resolves names to the addresses that may be called.
#[derive(Clone)]
struct Checked {
    rules: Arc<Rules>,
    loopback_only: bool,
}

impl Checked {
    fn admit(&self, address: IpAddr) -> Result<(), Denied> {
        if self.loopback_only && !address.to_canonical().is_loopback() {
            return Err(Denied::new(address, "beyond this machine only HTTPS is spoken"));
        }
        self.rules.admit(address)
    }
}

type Resolving = Pin<Box<dyn Future<Output = Result<std::vec::IntoIter<SocketAddr>, Unresolved>> + Send>>;

impl tower_service::Service<Name> for Checked {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Unresolved;
    type Future = Resolving;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Unresolved>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(Unresolved::Unknown)?;
            let (mut admitted, mut denied) = (Vec::new(), None);
            for address in found {
                match this.admit(address.ip()) {
                    Ok(()) => admitted.push(address),
                    Err(reason) => denied = Some(reason),
                }
            }
            match denied.filter(|_| admitted.is_empty()) {
                Some(reason) => Err(Unresolved::Denied(reason)),
                None => Ok(admitted.into_iter()),
            }
        })
    }
}

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
enum Unresolved {
    #[error("{0}")]
    Unknown(std::io::Error),
    #[error(transparent)]
    Denied(Denied),
}

fn own_services() -> TransportError {
    let message = "This server's own services are not called over HTTP by its Tasks; use their integrations";
    TransportError::Refused(message.into())
}

/// Only a machine's own addresses can be listened at.
fn is_of_this_machine(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback()
        || address.is_unspecified()
        || std::net::UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

impl Endpoints {
    /// Under these rules.
    pub fn new(rules: Rules, own_port: u16) -> Result<Endpoints, String> {
        let rules = Arc::new(rules);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let roots = trusted(rules.ca_file.as_deref())?;
        let tls = builder.with_root_certificates(roots).with_no_client_auth();
        let connector = |loopback_only: bool| {
            let mut connector =
                HttpConnector::new_with_resolver(Checked { rules: Arc::clone(&rules), loopback_only });
            connector.enforce_http(false);
            connector.set_connect_timeout(Some(CONNECT_WAIT));
            connector
        };
        let secure = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .wrap_connector(connector(false));
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).http1_title_case_headers(true);
        let (secure, plain) = (builder.build(secure), builder.build(connector(true)));
        Ok(Endpoints { rules, secure, plain, own_port })
    }

    /// Addresses that are written out do not pass by the resolver; and without TLS only this machine is spoken to.
    fn check(&self, uri: &Uri) -> Result<(), TransportError> {
        let is_plain = uri.scheme_str() == Some("http");
        if is_plain && self.rules.plain == Plain::Never {
            let message = "HTTP Tasks call HTTPS endpoints only; http.plain = \"loopback\" in the configuration allows \
                           HTTP on this machine";
            return Err(TransportError::Refused(message.into()));
        }
        if is_plain && uri.port_u16() == Some(self.own_port) {
            return Err(own_services());
        }
        let host = uri.host().unwrap_or_default();
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let Ok(address) = literal.parse::<IpAddr>() else { return Ok(()) };
        let checked = Checked { rules: Arc::clone(&self.rules), loopback_only: is_plain };
        checked.admit(address).map_err(|denied| TransportError::Refused(denied.to_string()))
    }

    /// Whether a URI leads to this very server. Others may well have the same port, so the host is looked up.
    async fn is_own(&self, uri: &Uri) -> bool {
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        if port != self.own_port {
            return false;
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        // A name that is not known leads nowhere; the call will say so.
        let Ok(mut found) = tokio::net::lookup_host((host, port)).await else { return false };
        found.any(|address| is_of_this_machine(address.ip()))
    }

    /// Sends a request with an absolute URI and reads the whole answer.
    pub async fn call(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        self.check(request.uri())?;
        if self.is_own(request.uri()).await {
            return Err(own_services());
        }
        let request = request.map(Full::new);
        let exchange = async {
            let answer = match request.uri().scheme_str() {
                Some("http") => self.plain.request(request).await,
                _ => self.secure.request(request).await,
            };
            let (parts, body) = answer.map_err(|error| broken(&error))?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| {
                match error.is::<http_body_util::LengthLimitError>() {
                    true => TransportError::TooLarge(ANSWER_BYTES_MAX),
                    false => TransportError::Connection(error.to_string()),
                }
            })?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        };
        tokio::time::timeout(ANSWER_WAIT, exchange).await.map_err(|_| TransportError::TimedOut)?
    }
}

impl WayOut for Endpoints {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Unreachable>> {
        Box::pin(async move {
            self.call(request).await.map_err(|error| match error {
                TransportError::TimedOut => Unreachable::TimedOut,
                TransportError::TooLarge(bytes) => Unreachable::TooLarge(bytes),
                TransportError::Connection(reason) | TransportError::Refused(reason) => {
                    Unreachable::Connection(reason)
                }
                other @ TransportError::AssumeRole { .. } => Unreachable::Connection(other.to_string()),
            })
        })
    }
}

/// A refusal is told as one; else the innermost reason is the one that says something.
fn broken(error: &(dyn std::error::Error + 'static)) -> TransportError {
    let mut reason = error;
    loop {
        if let Some(Unresolved::Denied(denied)) = reason.downcast_ref() {
            return TransportError::Refused(denied.to_string());
        }
        match reason.source() {
            Some(source) => reason = source,
            None => return TransportError::Connection(reason.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
