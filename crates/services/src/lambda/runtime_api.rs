//! The Lambda Runtime API of one worker: what `provided.*` runtimes and our bootstraps speak.
//!
//! Each worker has a loopback port of its own. Where user code has user ids of its own, only the worker's may
//! connect, so one function cannot take another's events. At most one invocation is under way at a time.

use super::packages::PackageRequest;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// AWS's bound on a function's response: 6 MB and a little for the envelope.
pub(super) const RESPONSE_BYTES_MAX: usize = 6_291_556;

/// One event on its way to a worker.
#[derive(Debug)]
pub(super) struct Delivery {
    pub request_id: String,
    pub deadline_ms: i64,
    pub function_arn: String,
    pub trace_id: String,
    pub client_context: Option<String>,
    pub payload: Bytes,
    /// Where the worker's answer goes.
    pub reply: oneshot::Sender<Reply>,
}

/// What a worker answered.
#[derive(Debug)]
pub(super) enum Reply {
    /// The handler's result.
    Response(Bytes),
    /// The handler's error document.
    Error(Bytes),
}

/// The state of one worker's Runtime API.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    deliveries: mpsc::Sender<Delivery>,
    waiting: tokio::sync::Mutex<mpsc::Receiver<Delivery>>,
    current: Mutex<Option<(String, oneshot::Sender<Reply>)>>,
    phase: watch::Sender<Phase>,
    installing: AtomicU32,
    packages: PackageRequest,
    uid: Option<u32>,
}

/// How far a worker's initialisation has come.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    /// The runtime is loading the handler.
    Starting,
    /// It asked for its first event.
    Ready,
    /// It reported that it cannot start.
    Failed(Bytes),
}

impl RuntimeApi {
    /// Opens a port for one worker.
    pub async fn open(
        packages: PackageRequest,
        uid: Option<u32>,
    ) -> std::io::Result<(Arc<Self>, SocketAddr, Listening)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (deliveries, waiting) = mpsc::channel(1);
        let api = Arc::new(Self {
            deliveries,
            waiting: tokio::sync::Mutex::new(waiting),
            current: Mutex::default(),
            phase: watch::Sender::new(Phase::Starting),
            installing: AtomicU32::new(0),
            packages,
            uid,
        });
        let listening = Listening(tokio::spawn(accept(listener, Arc::clone(&api))));
        Ok((api, address, listening))
    }

    /// Hands an event to the worker; it takes it with its next request.
    pub async fn deliver(&self, delivery: Delivery) {
        // The receiver lives in `self`, so the channel cannot be closed.
        let _ = self.deliveries.send(delivery).await;
    }

    /// Takes back an event that the worker has not taken.
    pub fn take_back(&self) -> bool {
        self.waiting.try_lock().is_ok_and(|mut waiting| waiting.try_recv().is_ok())
    }

    /// Waits until the runtime has asked for an event or reported that it cannot start.
    pub async fn started(&self) -> Phase {
        let mut phase = self.phase.subscribe();
        let phase = phase.wait_for(|phase| *phase != Phase::Starting).await;
        phase.map_or(Phase::Starting, |phase| phase.clone())
    }

    /// Waits for `limit`, not counting time spent on installing packages: AWS has them at hand.
    pub async fn time_out(&self, limit: Duration) {
        let step = Duration::from_millis(200).min(limit);
        let mut left = limit;
        while self.installing.load(Ordering::Relaxed) > 0 || !left.is_zero() {
            if self.installing.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(step).await;
                continue;
            }
            let part = if self.packages.may_install() { step.min(left) } else { left };
            tokio::time::sleep(part).await;
            left = left.saturating_sub(part);
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let Some(rest) = path.strip_prefix("/2018-06-01/runtime/") else {
            return status(StatusCode::NOT_FOUND);
        };
        let segments: Vec<&str> = rest.split('/').collect();
        match (request.method().clone(), segments.as_slice()) {
            (Method::GET, ["invocation", "next"]) => self.next().await,
            (Method::POST, ["invocation", id, "response"]) => {
                let reply = match read(request).await {
                    Some(body) => Reply::Response(body),
                    None => too_large(),
                };
                self.reply(id, reply)
            }
            (Method::POST, ["invocation", id, "error"]) => {
                let body = read(request).await.unwrap_or_default();
                self.reply(id, Reply::Error(body))
            }
            (Method::POST, ["init", "error"]) => {
                let body = read(request).await.unwrap_or_default();
                self.phase.send_replace(Phase::Failed(body));
                status(StatusCode::ACCEPTED)
            }
            (Method::POST, ["passo", "packages", what]) => self.install(what).await,
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        self.phase.send_replace(Phase::Ready);
        let Some(delivery) = self.waiting.lock().await.recv().await else { return status(StatusCode::GONE) };
        let deadline = delivery.deadline_ms.to_string();
        let mut headers = vec![
            ("lambda-runtime-aws-request-id", delivery.request_id.as_str()),
            ("lambda-runtime-deadline-ms", &deadline),
            ("lambda-runtime-invoked-function-arn", &delivery.function_arn),
            ("lambda-runtime-trace-id", &delivery.trace_id),
            ("content-type", "application/json"),
        ];
        if let Some(client_context) = &delivery.client_context {
            headers.push(("lambda-runtime-client-context", client_context));
        }
        let mut response = Response::new(Full::new(delivery.payload));
        for (name, value) in headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        *self.current() = Some((delivery.request_id, delivery.reply));
        response
    }

    fn reply(&self, id: &str, reply: Reply) -> Response<Full<Bytes>> {
        let current = self.current().take_if(|(current, _)| current == id);
        let Some((_, waiting)) = current else { return status(StatusCode::BAD_REQUEST) };
        let _ = waiting.send(reply);
        status(StatusCode::ACCEPTED)
    }

    async fn install(&self, what: &str) -> Response<Full<Bytes>> {
        self.installing.fetch_add(1, Ordering::Relaxed);
        let installed = self.packages.provide(what).await;
        self.installing.fetch_sub(1, Ordering::Relaxed);
        let (status, body) = match installed {
            Ok(path) => (StatusCode::OK, json!({"path": path})),
            Err(message) => (StatusCode::BAD_GATEWAY, json!({"error": message})),
        };
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() = status;
        response
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<(String, oneshot::Sender<Reply>)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The open port; closed when dropped.
#[derive(Debug)]
pub(super) struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn accept(listener: TcpListener, api: Arc<RuntimeApi>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, peer)) = listener.accept().await else { return };
        if !is_allowed(peer, api.uid) {
            continue;
        }
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        let api = Arc::clone(&api);
        connections.spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let api = Arc::clone(&api);
                async move { Ok::<_, std::convert::Infallible>(api.answer(request).await) }
            });
            // A connection that breaks is a worker that ended, which its exit tells.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Whether the other end of a loopback connection belongs to the worker's user, as the kernel's table says.
fn is_allowed(peer: SocketAddr, uid: Option<u32>) -> bool {
    let (Some(uid), true) = (uid, cfg!(target_os = "linux")) else { return true };
    let Ok(table) = std::fs::read_to_string("/proc/net/tcp") else { return false };
    let SocketAddr::V4(peer) = peer else { return false };
    let wanted = format!("{:08X}:{:04X}", u32::from_ne_bytes(peer.ip().octets()), peer.port());
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(1) == Some(&wanted.as_str()) && fields.get(7) == Some(&uid.to_string().as_str())
    })
}

async fn read(request: Request<Incoming>) -> Option<Bytes> {
    Limited::new(request.into_body(), RESPONSE_BYTES_MAX)
        .collect()
        .await
        .ok()
        .map(http_body_util::Collected::to_bytes)
}

fn too_large() -> Reply {
    let message =
        format!("Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes).");
    let body = json!({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message});
    Reply::Error(Bytes::from(body.to_string()))
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"status\":\"OK\"}")));
    *response.status_mut() = status;
    response
}
