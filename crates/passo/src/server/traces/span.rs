//! A span, and how OTLP writes it as JSON.

use engine::Timestamp;
use serde_json::{Value, json};

use super::ids::{Link, SpanId, TraceContext};

/// `SpanKind` of OpenTelemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Work inside.
    Internal = 1,
    /// What somebody asked for.
    Server = 2,
    /// A call of somebody else.
    Client = 3,
}

/// A name with a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attribute {
    name: &'static str,
    value: Value,
}

impl Attribute {
    pub fn text(name: &'static str, value: &str) -> Attribute {
        Attribute { name, value: json!({ "stringValue": value }) }
    }
    pub fn number(name: &'static str, value: impl Into<u64>) -> Attribute {
        // 64-bit numbers are texts in protobuf's JSON.
        Attribute { name, value: json!({ "intValue": value.into().to_string() }) }
    }
    fn json(&self) -> Value {
        json!({ "key": self.name, "value": self.value })
    }
}

/// Something with a beginning and an end.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub id: SpanId,
    pub parent: Option<SpanId>,
    pub name: String,
    pub kind: Kind,
    pub start: Timestamp,
    pub end: Timestamp,
    pub attributes: Vec<Attribute>,
    pub events: Vec<(Timestamp, &'static str, Vec<Attribute>)>,
    pub error: Option<String>,
}

impl Span {
    pub fn new(id: SpanId, parent: Option<SpanId>, name: String, kind: Kind, start: Timestamp) -> Span {
        Span {
            id,
            parent,
            name,
            kind,
            start,
            end: start,
            attributes: Vec::new(),
            events: Vec::new(),
            error: None,
        }
    }

    pub fn ended(mut self, at: Timestamp, error: Option<String>) -> Span {
        self.end = at;
        if let Some(error) = &error {
            self.attributes.push(Attribute::text("error.type", error));
        }
        self.error = error;
        self
    }

    /// As `opentelemetry.proto.trace.v1.Span`.
    pub fn json(&self, context: &TraceContext, link: Option<Link>) -> Value {
        let all = |attributes: &[Attribute]| attributes.iter().map(Attribute::json).collect::<Vec<_>>();
        let mut span = json!({
            "traceId": context.trace.to_string(),
            "spanId": self.id.to_string(),
            "name": self.name,
            "kind": self.kind as u8,
            "startTimeUnixNano": nanos(self.start),
            "endTimeUnixNano": nanos(self.end),
            "attributes": all(&self.attributes),
        });
        if let Some(parent) = self.parent {
            span["parentSpanId"] = parent.to_string().into();
        }
        if !self.events.is_empty() {
            let event = |(at, name, attributes): &(Timestamp, &str, Vec<Attribute>)| json!({ "timeUnixNano": nanos(*at), "name": name, "attributes": all(attributes) });
            span["events"] = self.events.iter().map(event).collect();
        }
        if let Some(Link { trace, span: linked }) = link {
            span["links"] = json!([{ "traceId": trace.to_string(), "spanId": linked.to_string() }]);
        }
        if let Some(error) = &self.error {
            span["status"] = json!({ "code": 2, "message": error });
        }
        span
    }
}

fn nanos(at: Timestamp) -> String {
    (i128::from(at.epoch_millis()) * 1_000_000).to_string()
}
