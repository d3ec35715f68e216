//! The server: store, runtime, API and embedded services wired together behind one port.
//!
//! `passo serve` and `passo run` open the same one. It is the only place where the crates meet.

mod audit;
mod clock;
mod config;
mod dispatch;
mod endpoints;
mod errors;
mod gzip;
mod local;
mod observers;
mod outside;
mod prometheus;
mod roles;
mod sdk;
mod stacks;
mod states;
mod tls;
mod traces;
mod transport;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use api::{Api, Surroundings};
use asl::resource::ResourceCatalog;
use bytes::Bytes;
use clock::{ClockError, MovableClock};
use endpoints::Endpoints;
use integrations::{Catalog, Integrations};
use runtime::{Compilers, Runtime, RuntimeConfig, RuntimeParts};
use services::server::Opening;
use services::{AllowedHosts, FromPage, Services};
use store::{SqliteOptions, SqliteStore};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::Login;
use crate::mocks::MockableCatalog;
pub use config::ServerConfig;
pub use endpoints::{Network, Plain};
pub use errors::ServerError;
pub use local::Info;
pub use tls::TlsFiles;
pub use traces::Telemetry;

/// A running server.
pub struct Server {
    /// Where clients of this machine reach it.
    pub endpoint: String,
    /// How others reach it, if they are to use TLS.
    pub tls: Option<String>,
    login: Login,
    about: local::About,
    runtime: Arc<Runtime>,
    services: Services,
    stop: watch::Sender<bool>,
    listener: JoinHandle<()>,
}

/// What a request handler needs.
#[derive(Clone)]
struct Front {
    api: Api,
    services: Services,
    about: local::About,
    /// On which it listens.
    address: IpAddr,
    metrics: prometheus::Metrics,
    clock: Option<MovableClock>,
    stopping: watch::Receiver<bool>,
}

impl Server {
    /// Opens the data directory, recovers what was running, and listens.
    pub async fn open(config: ServerConfig) -> Result<Server, ServerError> {
        let listener = errors::bind(config.listen).await?;
        let address = listener.local_addr().map_err(|error| ServerError::Listen(config.listen, error))?;
        let door = Door::new(&config)?;
        let store = SqliteStore::open(&config.data, &SqliteOptions::default())?;
        let clocks = Clocks::open(&config)?;
        let outside = outside::open(&config.pointed).await.map_err(ServerError::Outside)?;
        let endpoints = Endpoints::new(config.http.clone(), address.port()).map_err(ServerError::Outside)?;
        let endpoints = Arc::new(endpoints);
        let services = config.services(clocks.services, &outside, Arc::clone(&endpoints));
        let services = Services::open(services)?;
        let endpoint = format!("http://{}", reachable(address));
        services.set_endpoint(&endpoint);
        let states = states::States::default();
        let machines = observers::Machines::default();
        let transport = Arc::new(transport::Embedded::new(services.clone(), states.clone(), endpoints));
        let metrics = prometheus::Metrics::new();
        let mut observers = observers::all(&services, &machines);
        observers.push(Arc::new(metrics.clone()));
        if let Some(telemetry) = &config.telemetry {
            observers.push(Arc::new(traces::Traces::start(telemetry, &machines)?));
        }
        let sdk = sdk::Sdk::new(Arc::clone(&transport));
        let stacks = stacks::Stacks::new(Arc::clone(&transport));
        let dispatch = dispatch::Tasks::new(Integrations::new(transport), config.mocks.clone());
        let catalog: Arc<dyn ResourceCatalog + Send + Sync> = match config.mocks {
            Some(_) => Arc::new(MockableCatalog),
            None => Arc::new(Catalog),
        };
        let runtime = Runtime::open(RuntimeParts {
            config: RuntimeConfig { quotas: config.quotas, ..RuntimeConfig::default() },
            store: Box::new(store),
            dispatch: Arc::new(dispatch),
            clock: clocks.runtime,
            compilers: Compilers::with_catalog(catalog.clone()),
            observers,
        })
        .await?;
        let runtime = Arc::new(runtime);
        machines.attach(&runtime);
        let surroundings = Surroundings {
            catalog,
            announce_logging: observers::log_announcement(services.environment().clone()),
            check_mock: Arc::new(dispatch::check_mock),
            log_group_exists: observers::log_group_check(services.clone()),
            role_refusal: roles::refusal(services.clone()),
        };
        let api = Api::new(Arc::clone(&runtime), surroundings);
        states.attach(api.clone(), services.clone());
        services.environment().set_sdk_caller(Arc::new(sdk));
        services.environment().set_stack_maker(Arc::new(stacks));
        let (login, _) = config.owner();
        let tls = config.tls.as_ref().map(|files| {
            format!("https on {address}; plain http for this machine; {}", files.certificate.display())
        });
        let about = local::About::new(config, outside.lines, &endpoint, services.clone());
        let (stop, stopping) = watch::channel(false);
        let front = Front {
            api,
            services: services.clone(),
            about: about.clone(),
            address: address.ip(),
            metrics,
            clock: clocks.movable,
            stopping: stopping.clone(),
        };
        let listener = tokio::spawn(listen(listener, door, front, stopping));
        Ok(Server { endpoint, tls, login, about, runtime, services, stop, listener })
    }

    /// With which keys this process calls it.
    pub fn login(&self) -> Login {
        self.login.clone()
    }

    /// What it runs with.
    pub async fn info(&self) -> &Info {
        self.about.info().await
    }

    /// Resolves when the store has failed; the process has to end then.
    pub async fn fatal(&self) -> Arc<str> {
        self.runtime.fatal().await
    }

    /// Stops accepting, finishes what is in commit and ends child processes. The journal keeps the rest.
    pub async fn shutdown(self) {
        // The listener may have ended already.
        let _ = self.stop.send(true);
        // Side by side, since open long polls end when their service does.
        let _ = tokio::join!(self.listener, self.services.shutdown());
        self.runtime.shutdown().await;
    }
}

/// The clock as each part wants it: the machine's, or one that can be set forward.
struct Clocks {
    runtime: Arc<dyn runtime::Clock>,
    services: Arc<dyn services::Clock>,
    movable: Option<MovableClock>,
}

impl Clocks {
    fn open(config: &ServerConfig) -> Result<Clocks, ClockError> {
        let Some(start) = config.clock else {
            MovableClock::refuse_ahead(&config.data)?;
            let (runtime, services) = (Arc::new(runtime::SystemClock), Arc::new(services::SystemClock));
            return Ok(Clocks { runtime, services, movable: None });
        };
        let movable = MovableClock::open(&config.data, start)?;
        let (runtime, services) = (Arc::new(movable.clone()), Arc::new(movable.clone()));
        Ok(Clocks { runtime, services, movable: Some(movable) })
    }
}

/// Names under which container engines let containers reach the host.
const CONTAINER_HOSTS: [&str; 2] = ["host.docker.internal", "host.containers.internal"];

/// An address that a client on this machine can dial.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut dialled = address;
    if address.ip().is_unspecified() {
        dialled.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    dialled
}

/// By whom and how the server may be reached.
struct Door {
    opening: Opening,
    allowed: AllowedHosts,
}

impl Door {
    fn new(config: &ServerConfig) -> Result<Door, ServerError> {
        let opening = match &config.tls {
            Some(files) => tls::Tls::open(files).map_err(ServerError::Tls)?.opening(),
            None => services::server::plain(),
        };
        let names = CONTAINER_HOSTS.into_iter().chain(config.hosts.iter().map(String::as_str));
        let mut allowed = names.fold(AllowedHosts::loopback(), |allowed, name| allowed.with(name));
        if !config.listen.ip().is_loopback() {
            allowed = allowed.with_addresses();
        }
        Ok(Door { opening, allowed })
    }
}

fn listen(
    listener: TcpListener,
    door: Door,
    front: Front,
    mut stopping: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send {
    let stop = async move {
        // An error means that the server is gone, which is a reason to stop, too.
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    let pages = front.services.pages();
    let handler = move |request: http::Request<Bytes>, peer: SocketAddr| {
        let front = front.clone();
        async move { front.handle(request, peer).await }
    };
    services::server::serve(listener, door.opening, door.allowed.with_pages(pages), handler, stop)
}

impl Front {
    async fn handle(&self, mut request: http::Request<Bytes>, peer: SocketAddr) -> http::Response<Bytes> {
        request.extensions_mut().insert(peer.ip());
        let is_here = tls::is_here(peer.ip(), self.address) && !local::is_forwarded(request.headers());
        // A web page was let in by a bucket of S3, and gets no further.
        if request.extensions().get::<FromPage>().is_some() {
            return self.services.handle(request).await;
        }
        if let Some(answer) = self.about.answer(&request, || !*self.stopping.borrow(), is_here).await {
            return answer;
        }
        // Whoever may set the clock is on this machine.
        if let Some(answer) = self.clock.as_ref().filter(|_| is_here).and_then(|clock| clock.answer(&request))
        {
            return answer;
        }
        if let Some(answer) = self.metrics.answer(&request) {
            return answer;
        }
        let (parts, body) = request.into_parts();
        let service = services::route(&parts);
        let target = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok());
        let action = target.map_or_else(|| format!("{} {}", parts.method, parts.uri.path()), str::to_owned);
        let request = http::Request::from_parts(parts, body);
        let began = Instant::now();
        let answer = match service.as_str() {
            "states" => states::over_http(&self.api, &self.services, request).await,
            _ => self.services.handle(request).await,
        };
        let (status, took) = (answer.status().as_u16(), began.elapsed());
        self.metrics.answered(service.as_str(), status, took);
        let id =
            answer.headers().get("x-amzn-requestid").or_else(|| answer.headers().get("x-amz-request-id"));
        let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
        let service = service.as_str();
        tracing::debug!(service, action, id, status, micros = took.as_micros() as u64, %peer, "answered");
        answer
    }
}
