//! Ids of traces and spans. They follow from the execution's ARN and the numbers of its events, so that a span that is sent
//! again after a crash is the same span; and from the caller's X-Ray header, if there is one.

use std::fmt;

use engine::Start;

/// 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceId(pub [u8; 16]);

/// 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpanId(pub [u8; 8]);

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

/// A span of another trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub trace: TraceId,
    pub span: SpanId,
}

/// Which trace an execution is, and what its ids follow from.
#[derive(Clone, Debug)]
pub(super) struct TraceContext {
    pub trace: TraceId,
    /// The caller's span, of its X-Ray header.
    pub caller: Option<SpanId>,
    /// The caller said `Sampled=0`.
    pub is_left_out: bool,
    arn: String,
}

impl TraceContext {
    /// Of an execution.
    pub fn of(start: &Start) -> TraceContext {
        TraceContext::new(&start.execution_arn, start.trace_header.as_deref())
    }

    /// Of the execution with this ARN, started with this header.
    pub fn new(arn: &str, header: Option<&str>) -> TraceContext {
        let field = |name: &str| {
            let fields = header.unwrap_or_default().split(';');
            fields.map(str::trim).find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        };
        let given = field("Root").and_then(trace_of_root);
        let own = TraceId(digest(&format!("trace {arn}")));
        TraceContext {
            trace: given.unwrap_or(own),
            // A parent means something within its own trace only.
            caller: given.and(field("Parent")).and_then(bytes).map(SpanId),
            is_left_out: field("Sampled") == Some("0"),
            arn: arn.to_owned(),
        }
    }

    /// A span, by what it is.
    pub fn span(&self, what: &str) -> SpanId {
        SpanId(digest(&format!("span {} {what}", self.arn)))
    }

    /// The span of the execution itself, or of one of its redrives.
    pub fn execution(&self, redrive: u32) -> SpanId {
        self.span(&format!("execution {redrive}"))
    }

    /// The span of a Map Run in its parent.
    pub fn map_run(&self, map_run_arn: &str) -> Link {
        Link { trace: self.trace, span: self.span(&format!("map-run {map_run_arn} 0")) }
    }
}

/// `1-5759e988-bd862e3fe1be46a994272793`.
fn trace_of_root(root: &str) -> Option<TraceId> {
    let (version, rest) = root.split_once('-')?;
    let (time, unique) = rest.split_once('-')?;
    let shape = version == "1" && time.len() == 8 && unique.len() == 24;
    shape.then(|| bytes(&format!("{time}{unique}"))).flatten().map(TraceId)
}

/// Hexadecimal digits; all zeros are no id.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut found = [0; N];
    hex::decode_to_slice(text, &mut found).ok()?;
    (found != [0; N]).then_some(found)
}

fn digest<const N: usize>(text: &str) -> [u8; N] {
    let mut found = [0; N];
    let hash = runtime::hash(text).0;
    found.copy_from_slice(&hash[..N]);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_x_ray_gives_trace_and_parent() {
        let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let context = TraceContext::new("arn", Some(header));
        assert_eq!(context.trace.to_string(), "5759e988bd862e3fe1be46a994272793");
        assert_eq!(context.caller.unwrap().to_string(), "53995c3f42cd8ad8");
        assert!(!context.is_left_out && TraceContext::new("arn", Some("Sampled=0")).is_left_out);
        let broken = TraceContext::new("arn", Some("Root=1-57-bd;Parent=53995c3f42cd8ad8"));
        let none = TraceContext::new("arn", None);
        assert!(broken.trace == none.trace && broken.caller.is_none());
        assert_ne!(none.trace, TraceContext::new("other", None).trace);
    }
}
