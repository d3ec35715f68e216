//! Whether tasks run as containers or as processes, and why.

use crate::configuration::EcsMode;
use bollard::Docker;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// A socket that does not answer in this time is taken for dead.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(3);
const CONNECT_SECONDS_MAX: u64 = 120;

/// How a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In a container of a Docker or Podman engine.
    Container,
    /// As a process of this machine.
    Process,
}

impl Mode {
    /// `container` or `process`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Process => "process",
        }
    }
}

/// How tasks run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Containers or processes.
    pub mode: Mode,
    /// One line for the operator.
    pub reason: String,
}

/// The container engine, if one answers.
pub(super) struct Engine {
    wanted: EcsMode,
    connected: tokio::sync::OnceCell<(Docker, String)>,
}

impl Engine {
    pub fn new(wanted: EcsMode) -> Self {
        Self { wanted, connected: tokio::sync::OnceCell::new() }
    }

    /// Whether processes may stand in for containers.
    pub fn may_fall_back(&self) -> bool {
        self.wanted == EcsMode::Auto
    }

    /// Whether an engine is ever asked.
    pub fn may_use_containers(&self) -> bool {
        self.wanted != EcsMode::Process
    }

    /// Looks again each time until an engine has answered.
    pub async fn choice(&self) -> Choice {
        if self.wanted == EcsMode::Process {
            return Choice { mode: Mode::Process, reason: "processes were asked for".to_owned() };
        }
        match self.connection().await {
            Ok((_, address)) => {
                Choice { mode: Mode::Container, reason: format!("the engine at {address} answers") }
            }
            Err(reason) if self.wanted == EcsMode::Docker => Choice { mode: Mode::Container, reason },
            Err(reason) => Choice { mode: Mode::Process, reason },
        }
    }

    /// The engine and its address, or why there is none.
    pub async fn connection(&self) -> Result<&(Docker, String), String> {
        self.connected.get_or_try_init(connect).await
    }
}

async fn connect() -> Result<(Docker, String), String> {
    let mut reason = "no Docker or Podman socket was found".to_owned();
    for address in crate::process::engine_addresses() {
        if address.contains("://") && !address.starts_with("unix://") {
            reason = format!("the container engine at {address} is not reached by a Unix socket");
            continue;
        }
        let path = address.strip_prefix("unix://").unwrap_or(&address);
        if !Path::new(path).exists() {
            continue;
        }
        let connection = Docker::connect_with_unix(path, CONNECT_SECONDS_MAX, bollard::API_DEFAULT_VERSION);
        let Ok(docker) = connection else { continue };
        match tokio::time::timeout(ANSWER_WAIT_MAX, docker.ping()).await {
            Ok(Ok(_)) => {
                // Podman speaks an older API than this client would like to.
                let docker = docker.negotiate_version().await.map_err(|error| error.to_string())?;
                return Ok((docker, address));
            }
            Ok(Err(error)) => reason = format!("the container engine at {address} does not answer: {error}"),
            Err(_) => reason = format!("the container engine at {address} does not answer"),
        }
    }
    Err(reason)
}
