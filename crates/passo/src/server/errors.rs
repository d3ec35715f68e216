//! Why a server cannot start, and what to do about it.

use std::net::SocketAddr;

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

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|error| ServerError::Listen(address, error))
}
