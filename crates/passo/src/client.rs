//! The API as the CLI calls it: over HTTP, signed like any customer's requests.

use bytes::Bytes;
use hmac::{Hmac, Mac};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// An endpoint with the credentials to use there.
#[derive(Clone)]
pub struct Client {
    endpoint: String,
    host: String,
    http: HttpClient<HttpConnector, Full<Bytes>>,
    access_key_id: String,
    secret: String,
    session_token: Option<String>,
    region: String,
}

/// A refused call, or one that got no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{action}: {code}{separator}{message}", separator = if code.is_empty() { "" } else { ": " })]
pub struct CallError {
    /// `StartExecution`.
    pub action: String,
    /// AWS's code; empty when there was no answer.
    pub code: String,
    /// AWS's message, or what went wrong on the way.
    pub message: String,
}

impl Client {
    /// For `http://HOST:PORT`, with the environment's region and credentials, else as the owner of the default account.
    pub fn new(endpoint: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Client, String> {
        let endpoint = endpoint.trim_end_matches('/');
        let host = endpoint.strip_prefix("http://").ok_or_else(|| {
            format!("the endpoint '{endpoint}' must begin with http:// (TLS endpoints are not supported yet)")
        })?;
        let region = environment("AWS_REGION").or_else(|| environment("AWS_DEFAULT_REGION"));
        let keys = environment("AWS_ACCESS_KEY_ID").zip(environment("AWS_SECRET_ACCESS_KEY"));
        let session_token = environment("AWS_SESSION_TOKEN").filter(|_| keys.is_some());
        let (access_key_id, secret) = keys.unwrap_or_else(|| ("000000000000".into(), "local".into()));
        Ok(Client {
            endpoint: endpoint.into(),
            host: host.into(),
            http: HttpClient::builder(TokioExecutor::new()).build_http(),
            access_key_id,
            secret,
            session_token,
            region: region.unwrap_or_else(|| "us-east-1".into()),
        })
    }

    /// Where calls go.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The region that calls mean.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// One call of Step Functions.
    pub async fn states(&self, action: &str, body: Value) -> Result<Value, CallError> {
        self.json("states", &format!("AWSStepFunctions.{action}"), body).await
    }

    /// One awsJson call; `target` is `Prefix.Action`.
    pub async fn json(&self, service: &str, target: &str, body: Value) -> Result<Value, CallError> {
        let action = target.rsplit('.').next().unwrap_or_default().to_string();
        let failed =
            |code: &str, message: String| CallError { action: action.clone(), code: code.into(), message };
        let request = http::Request::post("/")
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", target)
            .body(Bytes::from(body.to_string()))
            .map_err(|error| failed("", error.to_string()))?;
        let response = self.send(service, request).await.map_err(|message| failed("", message))?;
        let answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        if response.status().is_success() {
            return Ok(answer);
        }
        let code = answer["__type"].as_str().unwrap_or("UnknownError").rsplit('#').next().unwrap_or_default();
        let message = answer["message"].as_str().or(answer["Message"].as_str()).unwrap_or_default();
        Err(failed(code, message.to_string()))
    }

    /// Sends a request with a relative URI, signed.
    pub async fn send(
        &self,
        service: &str,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, String> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_string();
        parts.uri = format!("{}{path}", self.endpoint).parse().map_err(|error| format!("{error}"))?;
        self.sign(service, &mut parts, &path, &body)?;
        let request = http::Request::from_parts(parts, Full::new(body));
        let response = self.http.request(request).await.map_err(|error| {
            let reason =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            format!("no answer from {}: {reason}", self.endpoint)
        })?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(http::Response::from_parts(parts, body))
    }

    /// Signature Version 4 over host, date and body.
    fn sign(
        &self,
        service: &str,
        parts: &mut http::request::Parts,
        path: &str,
        body: &[u8],
    ) -> Result<(), String> {
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let date = &now[..8];
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let digest = hex::encode(Sha256::digest(body));
        let (mut headers, mut names) = (format!("host:{}\nx-amz-date:{now}\n", self.host), "host;x-amz-date");
        if let Some(token) = &self.session_token {
            headers.push_str(&format!("x-amz-security-token:{token}\n"));
            names = "host;x-amz-date;x-amz-security-token";
        }
        let canonical = format!("{}\n{path}\n{query}\n{headers}\n{names}\n{digest}", parts.method);
        let scope = format!("{date}/{}/{service}/aws4_request", self.region);
        let text = format!(
            "AWS4-HMAC-SHA256\n{now}\n{scope}\n{}",
            hex::encode(Sha256::digest(canonical.as_bytes()))
        );
        let mut seal = format!("AWS4{}", self.secret).into_bytes();
        for part in [date, &self.region, service, "aws4_request", &text] {
            seal = keyed(&seal, part.as_bytes())?;
        }
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            self.access_key_id,
            hex::encode(seal)
        );
        let mut insert = |name: &'static str, value: &str| -> Result<(), String> {
            parts.headers.insert(name, value.parse().map_err(|_| format!("{name} is not a header value"))?);
            Ok(())
        };
        insert("host", &self.host)?;
        insert("x-amz-date", &now)?;
        if let Some(token) = &self.session_token {
            insert("x-amz-security-token", token)?;
        }
        insert("authorization", &authorization)
    }
}

fn keyed(key: &[u8], text: &[u8]) -> Result<Vec<u8>, String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|error| error.to_string())?;
    mac.update(text);
    Ok(mac.finalize().into_bytes().to_vec())
}

impl templates::Client for Client {
    fn send<'a>(&'a self, service: &'a str, request: http::Request<Bytes>) -> templates::Pending<'a> {
        Box::pin(Client::send(self, service, request))
    }
}
