//! Log lines of functions and tasks on their way to CloudWatch Logs.
//!
//! Lines of a stream keep their order. They are sent as the role that the code runs with, so a role without
//! permission for CloudWatch Logs has no logs, as on AWS. Lines wait in a bounded queue; whoever writes faster waits.

use crate::environment::Environment;
use crate::wire::{CallContext, ServiceRequest};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// AWS's bounds for one PutLogEvents.
const EVENTS_MAX: usize = 10_000;
const BATCH_BYTES_MAX: usize = 1_048_576;
const EVENT_OVERHEAD_BYTES: usize = 26;
/// AWS cuts longer messages.
pub(crate) const MESSAGE_BYTES_MAX: usize = 262_144 - EVENT_OVERHEAD_BYTES;
const WAITING_MAX: usize = 20_000;
/// Lines are gathered for so long, so that a burst is one call.
const GATHER: Duration = Duration::from_millis(50);
const KNOWN_STREAMS_MAX: usize = 10_000;

/// One log stream, and as whom it is written.
#[derive(Clone, Debug)]
pub struct LogStream {
    /// The caller of PutLogEvents.
    pub context: CallContext,
    /// The log group.
    pub group: String,
    /// The log stream.
    pub stream: String,
}

/// Log events: milliseconds and text.
type Events = Vec<(i64, String)>;
/// Account, region, group and stream.
type StreamKey = (String, String, String, String);

enum Message {
    Line { stream: Arc<LogStream>, at_ms: i64, text: String },
    Flush(oneshot::Sender<()>),
}

/// The one door to CloudWatch Logs for functions and tasks.
pub struct LogWriter {
    lines: OnceLock<mpsc::Sender<Message>>,
    environment: Environment,
}

impl LogWriter {
    /// Lines go to the `logs` service of this environment.
    pub fn new(environment: Environment) -> Arc<Self> {
        Arc::new(Self { lines: OnceLock::new(), environment })
    }

    /// The time that lines bear: that of the services, whatever the machine's clock shows.
    pub fn now_ms(&self) -> i64 {
        self.environment.now().as_millisecond()
    }

    /// Takes one line; waits while the queue is full.
    pub async fn put(&self, stream: &Arc<LogStream>, at_ms: i64, text: String) {
        let line = Message::Line { stream: Arc::clone(stream), at_ms, text };
        // The receiver ends only with the runtime.
        let _ = self.sender().send(line).await;
    }

    /// Waits until everything taken so far has been sent.
    pub async fn flush(&self) {
        let (done, waiting) = oneshot::channel();
        if self.sender().send(Message::Flush(done)).await.is_ok() {
            let _ = waiting.await;
        }
    }

    fn sender(&self) -> &mpsc::Sender<Message> {
        self.lines.get_or_init(|| {
            let (lines, waiting) = mpsc::channel(WAITING_MAX);
            tokio::spawn(write(self.environment.clone(), waiting));
            lines
        })
    }
}

async fn write(environment: Environment, mut waiting: mpsc::Receiver<Message>) {
    let mut known = HashSet::new();
    let mut messages = Vec::new();
    while waiting.recv_many(&mut messages, EVENTS_MAX).await > 0 {
        if !messages.iter().any(|message| matches!(message, Message::Flush(_))) {
            tokio::time::sleep(GATHER).await;
            while messages.len() < EVENTS_MAX
                && let Ok(message) = waiting.try_recv()
            {
                messages.push(message);
            }
        }
        let mut streams: Vec<(Arc<LogStream>, Events)> = Vec::new();
        let mut index: HashMap<StreamKey, usize> = HashMap::new();
        let mut flushed = Vec::new();
        for message in messages.drain(..) {
            match message {
                Message::Flush(done) => flushed.push(done),
                Message::Line { stream, at_ms, text } => {
                    let position = *index.entry(key(&stream)).or_insert_with(|| {
                        streams.push((Arc::clone(&stream), Vec::new()));
                        streams.len() - 1
                    });
                    streams[position].1.push((at_ms, text));
                }
            }
        }
        for (stream, events) in streams {
            send(&environment, &stream, events, &mut known).await;
        }
        for done in flushed {
            let _ = done.send(());
        }
    }
}

fn key(stream: &LogStream) -> StreamKey {
    (
        stream.context.account.clone(),
        stream.context.region.clone(),
        stream.group.clone(),
        stream.stream.clone(),
    )
}

async fn send(environment: &Environment, stream: &LogStream, events: Events, known: &mut HashSet<StreamKey>) {
    if known.len() > KNOWN_STREAMS_MAX {
        known.clear();
    }
    if known.insert(key(stream)) {
        let names = json!({"logGroupName": stream.group, "logStreamName": stream.stream});
        let made = call(environment, stream, "CreateLogStream", names.clone()).await;
        // The group is only made where it is missing, since a role may well be allowed to write and not to make one.
        if made.is_err_and(|error| error.short_code() == "ResourceNotFoundException") {
            let _ = call(environment, stream, "CreateLogGroup", json!({"logGroupName": stream.group})).await;
            // If it could not be made, PutLogEvents tells.
            let _ = call(environment, stream, "CreateLogStream", names).await;
        }
    }
    let mut rest = events.into_iter().peekable();
    while rest.peek().is_some() {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < EVENTS_MAX
            && let Some((at_ms, text)) = rest.next_if(|(_, text)| {
                batch.is_empty() || bytes + text.len() + EVENT_OVERHEAD_BYTES <= BATCH_BYTES_MAX
            })
        {
            bytes += text.len() + EVENT_OVERHEAD_BYTES;
            batch.push(json!({"timestamp": at_ms, "message": text}));
        }
        let input = json!({"logGroupName": stream.group, "logStreamName": stream.stream, "logEvents": batch});
        if let Err(error) = call(environment, stream, "PutLogEvents", input).await {
            tracing::debug!(group = stream.group, %error, "log lines were not taken");
            known.remove(&key(stream));
        }
    }
}

async fn call(
    environment: &Environment,
    stream: &LogStream,
    operation: &str,
    input: Value,
) -> Result<(), crate::wire::ServiceError> {
    environment.call(&stream.context, "logs", ServiceRequest::json_call(operation, &input)).await.map(drop)
}
