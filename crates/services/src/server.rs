//! The HTTP listener: reads bounded requests, passes them by the guard, and hands them to a function. It knows nothing of
//! AWS. When told to stop it accepts nothing more, lets running answers finish for a while, and ends.

use crate::guard::{AllowedHosts, guard};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Lambda's quota for a request with a zipped function, the largest of all requests.
pub const BODY_BYTES_MAX: usize = 70 * 1024 * 1024;
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

/// Serves until `stop` ends, then drains. `handler` gets the whole request and the peer's address, which is also among
/// the request's extensions as an [`std::net::IpAddr`].
pub async fn serve<H, F>(
    listener: TcpListener,
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
                    let connection = serve_connection(stream, peer, allowed.clone(), handler.clone(), stopped.clone());
                    connections.spawn(async move {
                        connection.await;
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
    stream: TcpStream,
    peer: SocketAddr,
    allowed: Arc<AllowedHosts>,
    handler: H,
    mut stopped: watch::Receiver<bool>,
) where
    H: Fn(Request<Bytes>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Bytes>> + Send + 'static,
{
    // Small answers must not wait for the peer's acknowledgement (Nagle).
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let allowed = allowed.clone();
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(answer(request, peer, &allowed, handler).await.map(Full::new)) }
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

async fn answer<H, F>(
    request: Request<Incoming>,
    peer: SocketAddr,
    allowed: &AllowedHosts,
    handler: H,
) -> Response<Bytes>
where
    H: Fn(Request<Bytes>, SocketAddr) -> F,
    F: Future<Output = Response<Bytes>>,
{
    let (mut parts, body) = request.into_parts();
    if let Err(refusal) = guard(&parts, allowed) {
        return *refusal;
    }
    let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > BODY_BYTES_MAX) {
        return too_large();
    }
    let collected = Limited::new(body, BODY_BYTES_MAX).collect();
    let Ok(collected) = tokio::time::timeout(BODY_WAIT, collected).await else {
        return refusal(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeout",
            "The request body did not arrive in time.",
        );
    };
    let body = match collected {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => return too_large(),
        Err(_) => {
            return refusal(StatusCode::BAD_REQUEST, "IncompleteBody", "The request body ended too early.");
        }
    };
    parts.extensions.insert(peer.ip());
    handler(Request::from_parts(parts, body), peer).await
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
