//! Services that the configuration points elsewhere: at the real AWS, or at another endpoint.
//!
//! Nothing here exists, no credentials are looked for and no connection is made unless a `[services.X]` table says so.
//! Requests are signed with the credentials of that table alone, sent over HTTP or TLS, and tried again as AWS's SDKs do.

mod credentials;
pub(super) mod http;
mod profile;
mod retry;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ::http::{HeaderValue, Request, Response, header};
use bytes::Bytes;
use integrations::model;
use jiff::Timestamp;
use services::wire::BoxFuture;
use services::wire::sigv4::Signer;
use services::{Elsewhere, Unreachable};

use crate::config::Settings;
use credentials::{Credentials, Source};

/// One `[services.X]` table that names an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointed {
    /// The service as in `aws-sdk:X`.
    pub name: String,
    /// Its name in signatures.
    pub signing_name: String,
    endpoint: Endpoint,
    region: Option<String>,
    account: Option<String>,
    source: Source,
    ca_file: Option<PathBuf>,
    direct: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Endpoint {
    Aws,
    Url(String),
}

/// What the file points elsewhere.
pub fn pointed(settings: &Settings) -> Vec<Pointed> {
    settings.names("services").into_iter().filter_map(|name| Pointed::read(settings, name)).collect()
}

impl Pointed {
    fn read(settings: &Settings, name: &str) -> Option<Pointed> {
        let text = |key: &str| settings.text(&["services", name, key]).map(str::to_string);
        let endpoint = match text("endpoint")?.as_str() {
            "embedded" => return None,
            "aws" => Endpoint::Aws,
            url => Endpoint::Url(url.trim_end_matches('/').to_string()),
        };
        let keys = text("access_key_id").zip(text("secret_access_key"));
        let source = match keys {
            Some((access_key_id, secret)) => Source::Given(Credentials {
                access_key_id,
                secret,
                token: text("session_token"),
                expires: None,
            }),
            None => text("profile").map_or(Source::Chain, Source::Profile),
        };
        Some(Pointed {
            name: name.into(),
            signing_name: model::service(name)?.signing_name().into(),
            endpoint,
            region: text("region"),
            account: text("account"),
            source,
            ca_file: settings.path(&["services", name, "ca_file"]),
            direct: settings.flag(&["services", name, "direct"]),
        })
    }

    /// Scheme and authority for a region.
    fn base(&self, region: &str) -> Result<String, String> {
        match &self.endpoint {
            Endpoint::Url(url) => Ok(url.clone()),
            Endpoint::Aws => aws_host(&self.name, region).map(|host| format!("https://{host}")),
        }
    }

    /// The line for people.
    fn line(&self, credentials: &Credentials) -> String {
        let place = match (&self.endpoint, &self.region) {
            (Endpoint::Aws, Some(region)) => format!("the real AWS, {region}"),
            (Endpoint::Aws, None) => "the real AWS".to_string(),
            (Endpoint::Url(url), _) => url.clone(),
        };
        let direct = if self.direct { ", which functions and tasks are given, too" } else { "" };
        format!("{} is at {place} with key {}{direct}", self.name, credentials.access_key_id)
    }
}

/// AWS's host name of a service in a region.
fn aws_host(name: &str, region: &str) -> Result<String, String> {
    let metadata = |member: &str| model::service(name).and_then(|service| service.metadata(member));
    // S3's global name is that of one region.
    if let Some(host) = metadata("globalEndpoint").filter(|_| name != "s3") {
        return Ok(host.to_string());
    }
    let prefix = metadata("endpointPrefix").unwrap_or(name);
    let domain = match region {
        region if region.starts_with("cn-") => "amazonaws.com.cn",
        region if region.contains("-iso") || region.starts_with("eusc-") => {
            return Err(format!(
                "the host names of the region {region} are not known; give a URL as endpoint"
            ));
        }
        _ => "amazonaws.com",
    };
    Ok(format!("{prefix}.{region}.{domain}"))
}

/// What the services are given: one way out for each pointed service, and the lines about them.
pub struct Outside {
    /// By signing name.
    pub ways: BTreeMap<String, Arc<dyn Elsewhere>>,
    /// For people.
    pub lines: Vec<String>,
}

/// Finds the credentials of every table. What is missing is said before anything is served.
pub async fn open(pointed: &[Pointed]) -> Result<Outside, String> {
    let mut outside = Outside { ways: BTreeMap::new(), lines: Vec::new() };
    let mut given: Option<(&str, Credentials)> = None;
    for pointed in pointed {
        let failed = |reason: String| format!("[services.{}]: {reason}", pointed.name);
        let keys = credentials::Keeper::new(pointed.source.clone());
        let found = keys.credentials().await.map_err(failed)?;
        if pointed.direct {
            if let Some((other, _)) =
                given.as_ref().filter(|(_, keys)| keys.access_key_id != found.access_key_id)
            {
                let reason =
                    format!("functions and tasks cannot be given its keys and those of services.{other}");
                return Err(failed(reason));
            }
            given = Some((&pointed.name, found.clone()));
        }
        outside.lines.push(pointed.line(&found));
        let client = http::Client::new(pointed.ca_file.as_deref()).map_err(failed)?;
        let way = Way { pointed: pointed.clone(), keys, client };
        outside.ways.insert(pointed.signing_name.clone(), Arc::new(way));
    }
    Ok(outside)
}

/// The way to one service.
struct Way {
    pointed: Pointed,
    keys: credentials::Keeper,
    client: http::Client,
}

impl Way {
    async fn attempt(&self, region: &str, request: Request<Bytes>) -> Result<Response<Bytes>, Unreachable> {
        let unsent = Unreachable::Connection;
        let base = self.pointed.base(region).map_err(unsent)?;
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let unfit = |error: &dyn std::fmt::Display| Unreachable::Connection(error.to_string());
        parts.uri = format!("{base}{path}").parse().map_err(|error| unfit(&error))?;
        let host = parts.uri.authority().map(ToString::to_string).unwrap_or_default();
        parts.headers.insert(header::HOST, HeaderValue::from_str(&host).map_err(|error| unfit(&error))?);
        let keys = self.keys.credentials().await.map_err(Unreachable::Connection)?;
        let signer = Signer {
            access_key_id: &keys.access_key_id,
            secret: &keys.secret,
            session_token: keys.token.as_deref(),
        };
        let scope = (region, self.pointed.signing_name.as_str());
        signer.sign(&mut parts, &body, scope, Timestamp::now()).map_err(|error| unfit(&error))?;
        self.client.send(Request::from_parts(parts, body), http::patience(&self.pointed.name)).await
    }

    async fn send_until_answered(
        &self,
        region: &str,
        mut request: Request<Bytes>,
    ) -> Result<Response<Bytes>, Unreachable> {
        if self.pointed.endpoint == Endpoint::Aws {
            // Another Passo knows what this means; nobody else has to see it.
            request.headers_mut().remove(services::wire::INVOCATION_ID_HEADER);
        }
        let mut attempts = retry::Attempts::new();
        loop {
            let answer = self.attempt(region, request.clone()).await;
            let Some(pause) = attempts.pause_after(&answer) else { return answer };
            tracing::debug!(service = self.pointed.name, ?pause, "a call is made again");
            tokio::time::sleep(pause).await;
        }
    }
}

impl Elsewhere for Way {
    fn account(&self) -> Option<&str> {
        self.pointed.account.as_deref()
    }

    fn send<'a>(
        &'a self,
        region: &'a str,
        request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, Unreachable>> {
        let region = self.pointed.region.as_deref().unwrap_or(region);
        Box::pin(self.send_until_answered(region, request))
    }

    fn variables(&self, region: &str) -> Vec<(String, String)> {
        let region = self.pointed.region.as_deref().unwrap_or(region);
        let (true, Ok(base)) = (self.pointed.direct, self.pointed.base(region)) else { return Vec::new() };
        let id = model::service(&self.pointed.name).and_then(|service| service.metadata("serviceId"));
        let id = id.unwrap_or(&self.pointed.name).to_ascii_uppercase().replace([' ', '-'], "_");
        let mut variables = vec![(format!("AWS_ENDPOINT_URL_{id}"), base)];
        if let Some(keys) = self.keys.last() {
            variables.push(("AWS_ACCESS_KEY_ID".into(), keys.access_key_id));
            variables.push(("AWS_SECRET_ACCESS_KEY".into(), keys.secret));
            variables.extend(keys.token.map(|token| ("AWS_SESSION_TOKEN".into(), token)));
        }
        variables
    }
}
