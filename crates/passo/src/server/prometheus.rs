//! `/metrics`: what Prometheus scrapes, in the OpenMetrics text format.
//!
//! Counters begin anew with each process, as is usual; CloudWatch's AWS/States metrics are the durable ones. Labels are
//! bounded: state machines beyond the first [`MACHINES_MAX`] are counted together.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use engine::EventKind;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use runtime::{BoxFuture, CommittedEvent, Observer};

const MACHINES_MAX: usize = 500;
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Machine {
    account: String,
    region: String,
    state_machine: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    account: String,
    region: String,
    state_machine: String,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Service {
    service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    service: String,
    code: u16,
}

/// Everything that is counted. Cheap to clone.
#[derive(Clone)]
pub(super) struct Metrics(Arc<Counted>);

struct Counted {
    registry: Registry,
    started: Family<Machine, Counter>,
    redriven: Family<Machine, Counter>,
    ended: Family<Ended, Counter>,
    seconds: Family<Ended, Histogram>,
    events: Counter,
    requests: Family<Answered, Counter>,
    request_seconds: Family<Service, Histogram>,
    resident_bytes: Gauge,
    machines: Mutex<HashSet<String>>,
}

impl Metrics {
    pub fn new() -> Metrics {
        let mut registry = Registry::default();
        let passo = registry.sub_registry_with_prefix("passo");
        let started = Family::default();
        let redriven = Family::default();
        let ended = Family::default();
        // From 10 ms to two days.
        let seconds = Family::new_with_constructor((|| buckets(0.01, 4.0, 13)) as fn() -> Histogram);
        let events = Counter::default();
        let requests = Family::default();
        // From 0.5 ms to half a minute.
        let request_seconds =
            Family::new_with_constructor((|| buckets(0.0005, 3.0, 11)) as fn() -> Histogram);
        let resident_bytes = Gauge::default();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        passo.register("build", "Which Passo this is", Info::new(version.to_vec()));
        passo.register("executions_started", "Executions that were started", started.clone());
        passo.register("executions_redriven", "Redrives of executions", redriven.clone());
        passo.register("executions_ended", "Executions that ended, by status", ended.clone());
        let text = "How long executions took from start to end";
        passo.register_with_unit("execution_duration", text, Unit::Seconds, seconds.clone());
        passo.register("events", "Events of executions that were committed", events.clone());
        passo.register("requests", "Requests that were answered over HTTP", requests.clone());
        let text = "How long requests took; long polls among them";
        passo.register_with_unit("request_duration", text, Unit::Seconds, request_seconds.clone());
        let process = registry.sub_registry_with_prefix("process");
        let text = "Memory that the process has in use";
        process.register_with_unit("resident_memory", text, Unit::Bytes, resident_bytes.clone());
        Metrics(Arc::new(Counted {
            registry,
            started,
            redriven,
            ended,
            seconds,
            events,
            requests,
            request_seconds,
            resident_bytes,
            machines: Mutex::default(),
        }))
    }

    /// Counts an answer.
    pub fn answered(&self, service: &str, code: u16, took: Duration) {
        let service = service.to_owned();
        let counted = &self.0;
        counted.requests.get_or_create(&Answered { service: service.clone(), code }).inc();
        counted.request_seconds.get_or_create(&Service { service }).observe(took.as_secs_f64());
    }

    /// Answers a scrape; none for everything else. A bucket may be called "metrics": S3's calls are signed or have a
    /// query, and a scrape has neither.
    pub fn answer(&self, request: &http::Request<Bytes>) -> Option<http::Response<Bytes>> {
        let is_scrape = request.method() == http::Method::GET
            && request.uri().path() == "/metrics"
            && request.uri().query().is_none()
            && !request.headers().contains_key(http::header::AUTHORIZATION);
        if !is_scrape {
            return None;
        }
        if let Some(bytes) = resident_bytes() {
            self.0.resident_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        // Writing to memory cannot fail.
        let _ = encode(&mut text, &self.0.registry);
        let mut response = http::Response::new(Bytes::from(text));
        let kind = http::HeaderValue::from_static(CONTENT_TYPE);
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
        Some(response)
    }

    fn count(&self, event: &CommittedEvent) {
        let counted = &self.0;
        counted.events.inc();
        let status = match &event.event.kind {
            EventKind::ExecutionStarted { .. } => {
                counted.started.get_or_create(&self.machine(event)).inc();
                return;
            }
            EventKind::ExecutionRedriven { .. } => {
                counted.redriven.get_or_create(&self.machine(event)).inc();
                return;
            }
            EventKind::ExecutionSucceeded { .. } => "SUCCEEDED",
            EventKind::ExecutionFailed { .. } => "FAILED",
            EventKind::ExecutionTimedOut { .. } => "TIMED_OUT",
            EventKind::ExecutionAborted { .. } => "ABORTED",
            _ => return,
        };
        let Machine { account, region, state_machine } = self.machine(event);
        let ended = Ended { account, region, state_machine, status };
        counted.ended.get_or_create(&ended).inc();
        let took = event.event.at.since(event.start_date);
        counted.seconds.get_or_create(&ended).observe(took.as_secs_f64());
    }

    fn machine(&self, event: &CommittedEvent) -> Machine {
        let start = &event.start;
        let mut known = self.0.machines.lock().unwrap_or_else(PoisonError::into_inner);
        let arn: &str = &start.state_machine_arn;
        let is_known = known.contains(arn) || (known.len() < MACHINES_MAX && known.insert(arn.to_owned()));
        Machine {
            account: start.account.to_string(),
            region: start.region.to_string(),
            state_machine: if is_known { start.state_machine_name.to_string() } else { "(others)".into() },
        }
    }
}

impl Observer for Metrics {
    fn name(&self) -> &str {
        "prometheus"
    }
    fn observe(&self, events: Vec<CommittedEvent>) -> BoxFuture<'_, Result<(), String>> {
        events.iter().for_each(|event| self.count(event));
        Box::pin(async { Ok(()) })
    }
    fn observe_express(&self, events: Vec<CommittedEvent>) -> BoxFuture<'_, Result<(), String>> {
        self.observe(events)
    }
}

/// Where the system tells it (Linux).
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn buckets(first: f64, factor: f64, count: u16) -> Histogram {
    Histogram::new(exponential_buckets(first, factor, count))
}
