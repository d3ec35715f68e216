//! The API as the CLI calls it: over HTTP, signed like any customer's requests.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use services::wire::sigv4::Signer;

/// An endpoint with the credentials to use there.
#[derive(Clone)]
pub struct Client {
    endpoint: String,
    host: String,
    http: HttpClient<HttpConnector, Full<Bytes>>,
    login: Login,
    region: String,
}

/// With which keys the API is called.
#[derive(Clone)]
pub struct Login {
    /// The access key id; one of twelve digits is the owner of that account, where no keys are configured.
    pub access_key_id: String,
    /// Its secret.
    pub secret: String,
    /// The token of temporary keys.
    pub token: Option<String>,
}

impl Login {
    /// The owner of an account of a server that verifies nobody.
    pub fn owner(account: &str) -> Login {
        Login { access_key_id: account.into(), secret: "local".into(), token: None }
    }

    /// The keys that AWS's tools would take from the environment, else the owner of the default account.
    pub fn of_environment(environment: &dyn Fn(&str) -> Option<String>) -> Login {
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        match variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY")) {
            Some((access_key_id, secret)) => {
                Login { access_key_id, secret, token: variable("AWS_SESSION_TOKEN") }
            }
            None => Login::owner(services::configuration::DEFAULT_ACCOUNT),
        }
    }
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
        Client::with_login(endpoint, Login::of_environment(environment), environment)
    }

    /// With these credentials.
    pub fn with_login(
        endpoint: &str,
        login: Login,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Client, String> {
        let endpoint = endpoint.trim_end_matches('/');
        let host = endpoint.strip_prefix("http://").ok_or_else(|| {
            format!("the endpoint '{endpoint}' must begin with http:// (TLS endpoints are not supported yet)")
        })?;
        let region = environment("AWS_REGION").or_else(|| environment("AWS_DEFAULT_REGION"));
        Ok(Client {
            endpoint: endpoint.into(),
            host: host.into(),
            http: HttpClient::builder(TokioExecutor::new()).build_http(),
            login,
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
        let host = self.host.parse().map_err(|_| format!("{} is no host", self.host))?;
        parts.headers.insert("host", host);
        let Login { access_key_id, secret, token } = &self.login;
        let signer = Signer { access_key_id, secret, session_token: token.as_deref() };
        let signed = signer.sign(&mut parts, &body, (&self.region, service), jiff::Timestamp::now());
        signed.map_err(|_| "the access key is no text that a header can hold".to_string())?;
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
}

impl templates::Client for Client {
    fn send<'a>(&'a self, service: &'a str, request: http::Request<Bytes>) -> templates::Pending<'a> {
        Box::pin(Client::send(self, service, request))
    }
}
