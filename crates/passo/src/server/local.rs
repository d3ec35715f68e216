//! What the server tells about itself: health for probes, and its choices for the CLI's header.

use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use services::{Enforce, Services};

use super::ServerConfig;

/// What a server runs with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Info {
    /// Version of the binary.
    pub version: String,
    /// Where clients reach it.
    pub endpoint: String,
    /// The data directory.
    pub data: PathBuf,
    /// How permissions are treated: `off`, `log` or `on`.
    pub iam: String,
    /// How ECS tasks run, and why.
    pub ecs: String,
    /// The Python that runs `python3.x` functions, or why there is none.
    pub python: String,
}

impl Info {
    pub(super) async fn new(config: &ServerConfig, endpoint: &str, services: &Services) -> Info {
        let iam = match config.iam {
            Enforce::Off => "off",
            Enforce::Log => "log",
            Enforce::On => "on",
        };
        Info {
            version: env!("CARGO_PKG_VERSION").into(),
            endpoint: endpoint.into(),
            data: config.data.clone(),
            iam: iam.into(),
            ecs: ecs(services).await,
            python: python(services).await,
        }
    }
}

async fn ecs(services: &Services) -> String {
    let choice = services.compute().ecs.choice().await;
    choice.reason
}

async fn python(services: &Services) -> String {
    match services.compute().lambda.interpreter("python3.12").await {
        Ok(interpreter) => match interpreter.warning {
            Some(warning) => format!("{} ({}); {warning}", interpreter.version, interpreter.path.display()),
            None => format!("{} ({})", interpreter.version, interpreter.path.display()),
        },
        Err(reason) => reason,
    }
}

/// Answers `/healthz`, `/readyz` and `/local/info`; none for everything else.
pub(super) fn answer(info: &Info, request: &http::Request<Bytes>) -> Option<http::Response<Bytes>> {
    if request.method() != http::Method::GET {
        return None;
    }
    let body = match request.uri().path() {
        "/healthz" | "/readyz" => Bytes::from_static(b"{\"status\":\"ok\"}"),
        "/local/info" => Bytes::from(serde_json::to_vec(info).ok()?),
        _ => return None,
    };
    let mut response = http::Response::new(body);
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", json);
    Some(response)
}
