//! The HTTP client for endpoints outside: TLS by rustls with the system's certificates, bounded answers and waits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use services::Unreachable;

/// An answer with more bytes is refused, since answers are held in memory.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// As AWS's SDKs for Python wait for an answer, with time for long polls.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// A function's longest run, and some.
const FUNCTION_WAIT: Duration = Duration::from_secs(910);

/// How long an answer of this service may take.
pub fn patience(service: &str) -> Duration {
    if service == "lambda" { FUNCTION_WAIT } else { ANSWER_WAIT }
}

/// Connections to an endpoint, kept for the next call.
#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    /// Trusts the system's certificates, and those of a file.
    pub fn new(ca_file: Option<&Path>) -> Result<Client, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let tls = builder.with_root_certificates(trusted(ca_file)?).with_no_client_auth();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_WAIT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let pool = Pool::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Ok(Client { pool })
    }

    /// Sends a request with an absolute URI and reads the whole answer.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        patience: Duration,
    ) -> Result<Response<Bytes>, Unreachable> {
        let exchange = async {
            let answer = self.pool.request(request.map(Full::new)).await.map_err(|error| broken(&error))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() {
                    return Unreachable::TooLarge(ANSWER_BYTES_MAX);
                }
                Unreachable::Connection(error.to_string())
            })?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        };
        let mut answer =
            tokio::time::timeout(patience, exchange).await.map_err(|_| Unreachable::TimedOut)??;
        for name in ["connection", "keep-alive", "transfer-encoding", "content-length"] {
            answer.headers_mut().remove(name);
        }
        Ok(answer)
    }
}

/// The system's certificates, and those of a file.
pub fn trusted(ca_file: Option<&Path>) -> Result<rustls::RootCertStore, String> {
    let mut trusted = rustls::RootCertStore::empty();
    // Certificates of the system that cannot be read are not trusted; an endpoint that needs them will say so.
    trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let Some(file) = ca_file else { return Ok(trusted) };
    let failed = |reason: String| format!("ca_file {}: {reason}", file.display());
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        trusted.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    Ok(trusted)
}

/// The innermost reason is the one that says something.
fn broken(error: &dyn std::error::Error) -> Unreachable {
    let mut reason = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    Unreachable::Connection(reason.to_string())
}
