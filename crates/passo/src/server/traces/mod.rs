//! OpenTelemetry traces of executions: a reader of the committed journal that sends spans by OTLP over HTTP, as JSON.
//!
//! Invariant: the cursor moves only after the collector took a page's spans, so a collector that is down or a server that
//! is killed loses none; what is sent again bears the same ids. What an execution was about before a page is read from
//! its journal. Express executions have no journal: their spans wait in a queue of [`QUEUE_MAX`] executions and
//! [`QUEUE_BYTES_MAX`] bytes, are sent many at a time, and are lost beyond it.

mod ids;
mod send;
mod span;
mod spans;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use engine::EventKind;
use runtime::{BoxFuture, CommittedEvent, Observer};
use tokio::sync::mpsc;

use super::observers::Machines;
use ids::{Link, TraceContext};
use send::{Collector, Told};
pub use send::{Telemetry, TelemetryError};
use spans::Trace;

/// Express executions whose spans wait, and the bytes of these spans.
const QUEUE_MAX: usize = 1024;
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// Express executions that are sent together.
const SENT_TOGETHER_MAX: usize = 64;
/// Executions that are held between pages; others are read again from the journal.
const TRACES_MAX: usize = 4096;
/// Map Runs whose parents are known.
const MAP_RUNS_MAX: usize = 1024;

/// Sends the spans of all executions.
pub(super) struct Traces {
    machines: Machines,
    collector: Collector,
    known: Mutex<Known>,
    express: mpsc::Sender<Waiting>,
    /// Bytes of what waits and of what is being sent.
    waiting: Arc<AtomicUsize>,
}

/// Spans of an Express execution.
struct Waiting {
    told: Told,
    bytes: usize,
}

#[derive(Default)]
struct Known {
    traces: HashMap<Arc<str>, Trace>,
    map_runs: HashMap<Arc<str>, Option<Link>>,
}

impl Traces {
    /// Starts the sender of Express executions' spans. Needs a tokio runtime.
    pub fn start(telemetry: &Telemetry, machines: &Machines) -> Result<Traces, TelemetryError> {
        let collector = Collector::new(telemetry)?;
        let (express, queue) = mpsc::channel(QUEUE_MAX);
        let waiting = Arc::<AtomicUsize>::default();
        tokio::spawn(send_express(collector.clone(), queue, Arc::clone(&waiting)));
        let known = Mutex::default();
        Ok(Traces { machines: machines.clone(), collector, known, express, waiting })
    }

    /// Puts spans into the queue, if there is room.
    fn queue(&self, told: Told) -> Result<(), String> {
        let full = || "the queue is full".to_owned();
        let bytes = told.bytes();
        if self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUE_BYTES_MAX {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            return Err(full());
        }
        self.express.try_send(Waiting { told, bytes }).map_err(|_| {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            full()
        })
    }

    async fn observed(&self, events: Vec<CommittedEvent>) -> Result<(), String> {
        // Taken out, so that after an error nothing is left that has seen the page already.
        let mut known = std::mem::take(&mut *self.lock());
        let told = self.told(&mut known, &events).await?;
        self.collector.send(&told).await?;
        *self.lock() = known;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn told(&self, known: &mut Known, events: &[CommittedEvent]) -> Result<Vec<Told>, String> {
        let mut told = Vec::new();
        if known.traces.len() > TRACES_MAX {
            known.traces.clear();
        }
        for event in events {
            // It comes after the end, and says nothing of it.
            if matches!(event.event.kind, EventKind::TaskCancelled { .. }) {
                continue;
            }
            let start = &event.start;
            let link = self.link(&mut known.map_runs, start).await;
            let trace = match known.traces.entry(Arc::clone(&start.execution_arn)) {
                Entry::Occupied(trace) => trace.into_mut(),
                Entry::Vacant(vacant) => vacant.insert(self.read(start, event.event.seq).await?),
            };
            let spans = trace.apply(&event.event);
            told.extend(Told::of(start, trace.context(), link, spans));
            if event.event.kind.ends_execution() {
                known.traces.remove(&start.execution_arn);
            }
        }
        Ok(told)
    }

    /// The trace as it was before an event.
    async fn read(&self, start: &Arc<engine::Start>, before: u64) -> Result<Trace, String> {
        let mut trace = Trace::new(start);
        if before <= 1 {
            return Ok(trace);
        }
        let runtime = self.machines.runtime().ok_or("the server is starting or ending")?;
        let events =
            runtime.execution_events(&start.execution_arn).await.map_err(|error| error.to_string())?;
        for event in events.iter().take_while(|event| event.seq < before) {
            trace.apply(event);
        }
        Ok(trace)
    }

    /// The Map Run's span in the parent, for a child.
    async fn link(
        &self,
        map_runs: &mut HashMap<Arc<str>, Option<Link>>,
        start: &engine::Start,
    ) -> Option<Link> {
        let arn = &start.map_run.as_ref()?.map_run_arn;
        if let Some(known) = map_runs.get(arn) {
            return *known;
        }
        if map_runs.len() >= MAP_RUNS_MAX {
            map_runs.clear();
        }
        let found = self.parent(arn).await;
        map_runs.insert(Arc::clone(arn), found);
        found
    }

    async fn parent(&self, map_run_arn: &str) -> Option<Link> {
        let runtime = self.machines.runtime()?;
        let map_run = runtime.describe_map_run(map_run_arn).await.ok()?;
        let events = runtime.execution_events(&map_run.execution_arn).await.ok()?;
        let EventKind::ExecutionStarted { start, .. } = &events.first()?.kind else { return None };
        Some(TraceContext::of(start).map_run(map_run_arn))
    }
}

/// Sends what waits, together with what has come meanwhile.
async fn send_express(collector: Collector, mut queue: mpsc::Receiver<Waiting>, waiting: Arc<AtomicUsize>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, SENT_TOGETHER_MAX).await > 0 {
        let bytes: usize = batch.iter().map(|one| one.bytes).sum();
        let told: Vec<Told> = batch.drain(..).map(|one| one.told).collect();
        if let Err(reason) = collector.send_with_patience(&told).await {
            tracing::warn!(reason, executions = told.len(), "the spans of Express executions are lost");
        }
        waiting.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Observer for Traces {
    fn name(&self) -> &str {
        "otlp-traces"
    }

    fn begins_now(&self) -> bool {
        true
    }

    fn observe(&self, events: Vec<CommittedEvent>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.observed(events))
    }

    fn observe_express(&self, events: Vec<CommittedEvent>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let Some(first) = events.first() else { return Ok(()) };
            let mut trace = Trace::new(&first.start);
            let map_run = &mut HashMap::new();
            let link = self.link(map_run, &first.start).await;
            let spans = events.iter().flat_map(|event| trace.apply(&event.event)).collect();
            match Told::of(&first.start, trace.context(), link, spans) {
                Some(told) => self.queue(told),
                None => Ok(()),
            }
        })
    }
}
