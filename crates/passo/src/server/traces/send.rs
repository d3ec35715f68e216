//! The collector: where it is, and what an answer of it means.

use std::time::Duration;

use bytes::Bytes;
use engine::Start;
use serde_json::{Value, json};

use super::ids::{Link, TraceContext};
use super::span::Span;
use crate::server::outside::http::Client;

/// Spans of one request.
const SPANS_MAX: usize = 512;
/// Attempts for what comes once only.
const ATTEMPTS_MAX: u32 = 5;

/// Where traces are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// The URL that traces are posted to, path included.
    pub traces_endpoint: String,
    /// Headers of each request.
    pub headers: Vec<(String, String)>,
    /// `service.name`.
    pub service_name: String,
    /// Further attributes of the resource.
    pub resource: Vec<(String, String)>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The client cannot be made.
    #[error("telemetry: {0}")]
    Client(String),
    /// A URL or header that is none.
    #[error("telemetry: {0}")]
    Invalid(String),
}

/// Spans of one execution, ready to be sent.
pub(super) struct Told {
    account: String,
    region: String,
    spans: Vec<Value>,
}

impl Told {
    /// None when there are none, or the caller wants none.
    pub fn of(start: &Start, context: &TraceContext, link: Option<Link>, spans: Vec<Span>) -> Option<Told> {
        if spans.is_empty() || context.is_left_out {
            return None;
        }
        // Only the execution itself refers to its parent.
        let is_execution = |span: &Span| span.kind == super::span::Kind::Server;
        let json = |span: &Span| span.json(context, link.filter(|_| is_execution(span)));
        let spans = spans.iter().map(json).collect();
        Some(Told { account: start.account.to_string(), region: start.region.to_string(), spans })
    }

    /// About the bytes it takes in memory.
    pub fn bytes(&self) -> usize {
        size_of::<Told>() + self.spans.iter().map(weight).sum::<usize>()
    }
}

fn weight(value: &Value) -> usize {
    let inside = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(parts) => parts.iter().map(weight).sum(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| size_of::<String>() + name.len() + weight(value)).sum()
        }
    };
    size_of::<Value>() + inside
}

/// Takes spans. Cheap to clone.
#[derive(Clone)]
pub(super) struct Collector {
    client: Client,
    request: http::request::Parts,
    resource: Vec<(String, String)>,
    timeout: Duration,
}

/// What becomes of a request that was not taken.
enum Refused {
    /// It may be taken later.
    Later(String),
    /// It will never be.
    Never(String),
}

impl Collector {
    pub fn new(telemetry: &Telemetry) -> Result<Collector, TelemetryError> {
        let invalid = |error: http::Error| TelemetryError::Invalid(error.to_string());
        let mut request = http::Request::post(&telemetry.traces_endpoint)
            .header("content-type", "application/json")
            .header("user-agent", concat!("passo/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &telemetry.headers {
            request = request.header(name, value);
        }
        let (request, ()) = request.body(()).map_err(invalid)?.into_parts();
        let client = Client::new(None).map_err(TelemetryError::Client)?;
        let mut resource = telemetry.resource.clone();
        let mut set = |name: &str, value: &str| {
            resource.retain(|(known, _)| known != name);
            resource.push((name.to_owned(), value.to_owned()));
        };
        set("service.name", &telemetry.service_name);
        set("service.version", env!("CARGO_PKG_VERSION"));
        Ok(Collector { client, request, resource, timeout: telemetry.timeout })
    }

    /// Sends all, some at a time. An error means that they may be sent again; what will never be taken is dropped loudly.
    pub async fn send(&self, told: &[Told]) -> Result<(), String> {
        let mut batch: Vec<(&Told, &[Value])> = Vec::new();
        let mut count = 0;
        for one in told {
            for piece in one.spans.chunks(SPANS_MAX) {
                if count + piece.len() > SPANS_MAX {
                    self.post_or_drop(&batch).await?;
                    (batch, count) = (Vec::new(), 0);
                }
                count += piece.len();
                batch.push((one, piece));
            }
        }
        if batch.is_empty() { Ok(()) } else { self.post_or_drop(&batch).await }
    }

    /// The same with some attempts, for what cannot be read again.
    pub async fn send_with_patience(&self, told: &[Told]) -> Result<(), String> {
        let mut delay = Duration::from_millis(500);
        let mut attempt = 1;
        loop {
            match self.send(told).await {
                Err(_) if attempt < ATTEMPTS_MAX => tokio::time::sleep(delay).await,
                other => return other,
            }
            (attempt, delay) = (attempt + 1, delay * 2);
        }
    }

    async fn post_or_drop(&self, batch: &[(&Told, &[Value])]) -> Result<(), String> {
        match self.post(batch).await {
            Ok(()) => Ok(()),
            Err(Refused::Later(reason)) => Err(reason),
            Err(Refused::Never(reason)) => {
                let spans: usize = batch.iter().map(|(_, piece)| piece.len()).sum();
                tracing::error!(spans, reason, "the collector refuses spans for good; they are dropped");
                Ok(())
            }
        }
    }

    async fn post(&self, batch: &[(&Told, &[Value])]) -> Result<(), Refused> {
        let body = Bytes::from(self.document(batch).to_string());
        let request = http::Request::from_parts(self.request.clone(), body);
        let answer = self.client.send(request, self.timeout).await;
        let answer = answer.map_err(|error| Refused::Later(error.to_string()))?;
        let status = answer.status();
        if status.is_success() {
            let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
            let partial = &body["partialSuccess"];
            if partial["rejectedSpans"].as_str().is_some_and(|count| count != "0") {
                tracing::warn!(%partial, "the collector refused some spans");
            }
            return Ok(());
        }
        let text = String::from_utf8_lossy(&answer.body()[..answer.body().len().min(300)]).into_owned();
        let reason = format!("the collector answers {status}: {text}");
        // The list of OTLP's specification.
        let may_be_taken_later = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        Err(if may_be_taken_later { Refused::Later(reason) } else { Refused::Never(reason) })
    }

    /// `ExportTraceServiceRequest`: the spans under their accounts and regions.
    fn document(&self, batch: &[(&Told, &[Value])]) -> Value {
        let mut groups: Vec<((&str, &str), Vec<&Value>)> = Vec::new();
        for (told, piece) in batch {
            let key = (told.account.as_str(), told.region.as_str());
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, spans)) => spans.extend(piece.iter()),
                None => groups.push((key, piece.iter().collect())),
            }
        }
        let group = |((account, region), spans): ((&str, &str), Vec<&Value>)| {
            let own = [("cloud.account.id", account), ("cloud.region", region)];
            let given = self.resource.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let attribute =
                |(name, value): (&str, &str)| json!({ "key": name, "value": { "stringValue": value } });
            let attributes: Vec<Value> = given.chain(own).map(attribute).collect();
            let scope = json!({ "name": "passo", "version": env!("CARGO_PKG_VERSION") });
            json!({ "resource": { "attributes": attributes }, "scopeSpans": [{ "scope": scope, "spans": spans }] })
        };
        json!({ "resourceSpans": groups.into_iter().map(group).collect::<Vec<_>>() })
    }
}
