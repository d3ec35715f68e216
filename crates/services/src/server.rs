//! The HTTP listener: passes requests by the guard, reads them within a bound, and hands them to a function. Of AWS it
//! knows that objects of S3 are larger than that bound: their bodies are left to the service, which reads them in pieces,
//! and answers may be made while they are sent. When told to stop it accepts nothing more, lets running answers finish for
//! a while, and ends.

use crate::guard::{AllowedHosts, FromPage, guard};
use crate::wire::route;
use crate::wire::stream::{Outgoing, Sender};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Lambda's quota for a request with a zipped function, the largest of all requests.
pub const BODY_BYTES_MAX: usize = 70 * 1024 * 1024;
/// A body for S3 that is larger than this is read by the service itself, in pieces.
const WHOLE_BYTES_MAX: u64 = 1024 * 1024;
/// As much of a body that the service did not want is read, so that the client sees the answer and not a broken pipe.
const DRAINED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Connections served at a time; further ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 4096;
/// A client that does not send its head in this time is dropped.
const HEAD_WAIT: Duration = Duration::from_secs(30);
/// A client that does not send its body in this time is dropped, so that bodies cannot pile up half read.
const BODY_WAIT: Duration = Duration::from_secs(300);
/// How long running answers may take after the stop.
const DRAIN_WAIT: Duration = Duration::from_secs(5);
/// A failed accept (out of file descriptors) is tried again after this time.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// What HTTP is spoken on.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// What an accepted stream becomes before HTTP is spoken on it; none if the peer is sent away.
pub type Opening = Arc<
    dyn Fn(TcpStream, SocketAddr) -> Pin<Box<dyn Future<Output = Option<Box<dyn Connection>>> + Send>>
        + Send
        + Sync,
>;

/// The stream as it is.
pub fn plain() -> Opening {
    Arc::new(|stream, _| Box::pin(async move { Some(Box::new(stream) as Box<dyn Connection>) }))
}

/// Serves until `stop` ends, then drains. `handler` gets the whole request and the peer's address, which is also among
/// the request's extensions as an [`std::net::IpAddr`].
pub async fn serve<H, F>(
    listener: TcpListener,
    opening: Opening,
    allowed: AllowedHosts,
    handler: H,
    stop: impl Future<Output = ()>,
) where
    H: Fn(Request<Bytes>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Bytes>> + Send + 'static,
{
    let allowed = Arc::new(allowed);
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = async {
            // The semaphore is never closed, so this only fails if it were.
            let permit = permits.clone().acquire_owned().await.ok();
            (listener.accept().await, permit)
        };
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (accepted, permit) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let (opening, allowed) = (opening.clone(), allowed.clone());
                    let (handler, stopped) = (handler.clone(), stopped.clone());
                    connections.spawn(async move {
                        // Small answers must not wait for the peer's acknowledgement (Nagle).
                        let _ = stream.set_nodelay(true);
                        let opened = tokio::time::timeout(HEAD_WAIT, opening(stream, peer)).await;
                        if let Ok(Some(stream)) = opened {
                            serve_connection(stream, peer, allowed, handler, stopped).await;
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
        }
    }
    drop(listener);
    // Nobody listens if there is no connection; that is fine.
    let _ = stopping.send(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_WAIT, drained).await.is_err() {
        tracing::warn!("some answers did not finish in time");
    }
}

async fn serve_connection<H, F>(
    stream: Box<dyn Connection>,
    peer: SocketAddr,
    allowed: Arc<AllowedHosts>,
    handler: H,
    mut stopped: watch::Receiver<bool>,
) where
    H: Fn(Request<Bytes>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Bytes>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let allowed = allowed.clone();
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(answer(request, peer, &allowed, handler).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // A broken connection is the client's affair.
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

type AnswerBody = UnsyncBoxBody<Bytes, std::io::Error>;

async fn answer<H, F>(
    request: Request<Incoming>,
    peer: SocketAddr,
    allowed: &AllowedHosts,
    handler: H,
) -> Response<AnswerBody>
where
    H: Fn(Request<Bytes>, SocketAddr) -> F,
    F: Future<Output = Response<Bytes>>,
{
    let (mut parts, body) = request.into_parts();
    let page = match guard(&parts, allowed) {
        Ok(page) => page,
        Err(refusal) => return whole(*refusal),
    };
    if page.is_some() {
        parts.extensions.insert(FromPage);
    }
    parts.extensions.insert(peer.ip());
    let mut answer = if is_left_to_service(&parts) {
        let sender = Sender::new(Some(body));
        // Who expects to be told to go on has sent nothing yet, and need not.
        let is_sending = !parts.headers.contains_key(header::EXPECT);
        parts.extensions.insert(sender.clone());
        let answer = handler(Request::from_parts(parts, Bytes::new()), peer).await;
        if is_sending {
            sender.drain(DRAINED_BYTES_MAX).await;
        }
        answer
    } else {
        match read(&parts, body).await {
            Ok(body) => {
                parts.extensions.insert(Sender::new(None));
                handler(Request::from_parts(parts, body), peer).await
            }
            Err(refusal) => *refusal,
        }
    };
    answer.headers_mut().extend(page.into_iter().flatten());
    whole(answer)
}

/// Whether S3 is sent an object that is large, or does not say how large.
fn is_left_to_service(parts: &Parts) -> bool {
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length: Option<u64> = length.and_then(|text| text.parse().ok());
    let is_large = match length {
        Some(length) => length > WHOLE_BYTES_MAX,
        None => parts.headers.contains_key(header::TRANSFER_ENCODING),
    };
    // Of what is posted only forms hold files. The documents are read whole: permissions are evaluated from them.
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_form = content_type
        .is_some_and(|text| text.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"));
    let may_be_object = parts.method == Method::PUT || (parts.method == Method::POST && is_form);
    is_large && may_be_object && route::route(parts).as_str() == "s3"
}

/// The answer in the form that the connection takes, be it whole or made while it is sent.
fn whole(mut answer: Response<Bytes>) -> Response<AnswerBody> {
    let streamed = answer.extensions_mut().remove::<Outgoing>().and_then(|body| body.take());
    answer.map(|bytes| {
        streamed.unwrap_or_else(|| UnsyncBoxBody::new(Full::new(bytes).map_err(|never| match never {})))
    })
}

/// Reads a body within the bound.
async fn read(parts: &Parts, body: Incoming) -> Result<Bytes, Box<Response<Bytes>>> {
    let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > BODY_BYTES_MAX) {
        return Err(Box::new(too_large()));
    }
    let collected = Limited::new(body, BODY_BYTES_MAX).collect();
    let Ok(collected) = tokio::time::timeout(BODY_WAIT, collected).await else {
        let message = "The request body did not arrive in time.";
        return Err(Box::new(refusal(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message)));
    };
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Box::new(too_large())),
        Err(_) => {
            let message = "The request body ended too early.";
            Err(Box::new(refusal(StatusCode::BAD_REQUEST, "IncompleteBody", message)))
        }
    }
}

fn too_large() -> Response<Bytes> {
    refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", "The request body is too large.")
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Bytes> {
    let body = serde_json::json!({ "__type": code, "message": message });
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests;
