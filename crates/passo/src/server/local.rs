//! What the server tells about itself: health for probes, and its choices for the CLI's header.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use services::{Enforce, Services};
use tokio::sync::OnceCell;

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
    /// Whose signatures are verified; an older server does not say.
    #[serde(default)]
    pub keys: String,
    /// Services that are not embedded but pointed elsewhere, and where to.
    #[serde(default)]
    pub elsewhere: Vec<String>,
}

/// Knows what the server runs with; what takes time to find out is looked at when first asked for, so that a server is
/// ready before.
#[derive(Clone)]
pub(super) struct About {
    config: Arc<ServerConfig>,
    elsewhere: Arc<[String]>,
    endpoint: Arc<str>,
    services: Services,
    known: Arc<OnceCell<Info>>,
}

impl About {
    pub fn new(config: ServerConfig, elsewhere: Vec<String>, endpoint: &str, services: Services) -> About {
        let (config, elsewhere) = (Arc::new(config), elsewhere.into());
        About { config, elsewhere, endpoint: endpoint.into(), services, known: Arc::default() }
    }

    /// Everything.
    pub async fn info(&self) -> &Info {
        self.known.get_or_init(|| self.look()).await
    }

    async fn look(&self) -> Info {
        let iam = match self.config.iam {
            Enforce::Off => "off",
            Enforce::Log => "log",
            Enforce::On => "on",
        };
        Info {
            version: env!("CARGO_PKG_VERSION").into(),
            endpoint: self.endpoint.as_ref().into(),
            data: self.config.data.clone(),
            iam: iam.into(),
            ecs: ecs(&self.services).await,
            python: python(&self.services).await,
            keys: match self.config.keys.len() {
                0 => "none configured: signatures are not verified".into(),
                1 => "1 configured: signatures are verified".into(),
                count => format!("{count} configured: signatures are verified"),
            },
            elsewhere: self.elsewhere.to_vec(),
        }
    }

    /// Answers `/healthz`, `/readyz` and, to this machine, `/local/info`; none for everything else.
    pub async fn answer(
        &self,
        request: &http::Request<Bytes>,
        ready: impl FnOnce() -> bool,
        is_here: bool,
    ) -> Option<http::Response<Bytes>> {
        if request.method() != http::Method::GET {
            return None;
        }
        match request.uri().path() {
            "/healthz" => Some(json(200, Bytes::from_static(br#"{"status":"ok"}"#))),
            "/readyz" if ready() => Some(json(200, Bytes::from_static(br#"{"status":"ready"}"#))),
            "/readyz" => Some(json(503, Bytes::from_static(br#"{"status":"stopping"}"#))),
            // Paths and versions are nobody's business elsewhere.
            "/local/info" if is_here => {
                Some(json(200, Bytes::from(serde_json::to_vec(self.info().await).ok()?)))
            }
            _ => None,
        }
    }
}

/// Whether somebody sent the request on for another one, who may be anywhere: a proxy on this machine is not its client.
pub(super) fn is_forwarded(headers: &http::HeaderMap) -> bool {
    let names = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];
    names.iter().any(|name| headers.contains_key(*name))
}

fn json(status: u16, body: Bytes) -> http::Response<Bytes> {
    let mut response = http::Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", json);
    response
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_of_this_machine_sends_on_is_not_from_here() {
        let of = |name: &'static str| {
            let mut headers = http::HeaderMap::new();
            headers.insert(name, http::HeaderValue::from_static("203.0.113.7"));
            is_forwarded(&headers)
        };
        assert!(["forwarded", "x-forwarded-for", "x-real-ip"].into_iter().all(of));
        assert!(!of("x-amz-date"));
    }
}
