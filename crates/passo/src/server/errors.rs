//! Why a server cannot start, and what to do about it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

/// The server could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken or may not be used.
    #[error("cannot listen on {0}: {1}\nhint: {hint}", hint = hint(.1))]
    Listen(SocketAddr, std::io::Error),
    /// Certificate or key.
    #[error("{0}")]
    Tls(String),
    /// A service that is pointed elsewhere cannot be.
    #[error("{0}")]
    Outside(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The embedded services.
    #[error(transparent)]
    Services(#[from] services::OpenError),
    /// The traces.
    #[error(transparent)]
    Telemetry(#[from] super::traces::TelemetryError),
    /// The clock that can be set forward.
    #[error(transparent)]
    Clock(#[from] super::clock::ClockError),
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another server uses this port; stop it, or choose another with --listen 127.0.0.1:0"
        }
        std::io::ErrorKind::PermissionDenied => {
            "ports below 1024 need privileges; choose a higher one with --listen"
        }
        _ => "give an address of this machine with --listen",
    }
}

/// How long a server waits for the port of one that was killed: a child that it was just starting has it until it becomes
/// its program, and the system tells nobody of that moment.
const PORT_WAIT: Duration = Duration::from_secs(2);

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    let end = Instant::now() + PORT_WAIT;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            bound => return bound.map_err(|error| ServerError::Listen(address, error)),
        }
    }
}
