//! One process that runs a function's code, one invocation at a time.
//!
//! A worker that timed out, ended or failed to start is never used again. Its log lines are those between an
//! invocation's start and the moment its answer was there: what the code wrote before is in the pipe by then.

use super::function::Version;
use super::logs::{LogStream, LogWriter};
use super::output::OutputReader;
use super::runtime_api::{Delivery, Listening, Phase, Reply, RuntimeApi};
use crate::process::{Exit, Running};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// AWS's bound on initialisation; a longer timeout of the function is granted too.
const INIT_WAIT: Duration = Duration::from_secs(10);
/// X-Amz-Log-Result holds so much.
const LOG_TAIL_BYTES_MAX: usize = 4096;

/// A worker that may take an invocation.
pub(super) struct Worker {
    pub running: Running,
    pub api: Arc<RuntimeApi>,
    pub _listening: Listening,
    pub output: OutputReader,
    pub log: WorkerLog,
    pub memory_megabytes: u32,
    pub started: Instant,
    pub init: Option<Duration>,
    /// When its credentials end; none for a role that is not evaluated.
    pub credentials_until: Option<Timestamp>,
    pub idle_since: Instant,
}

/// Where a worker's lines go.
#[derive(Clone)]
pub(super) struct WorkerLog {
    pub writer: Arc<LogWriter>,
    pub stream: Arc<LogStream>,
    pub tail: Arc<Mutex<String>>,
}

/// An invocation as the pool hands it to a worker.
#[derive(Clone, Debug)]
pub(super) struct Invocation {
    pub version: Arc<Version>,
    pub arn: String,
    pub request_id: String,
    pub client_context: Option<String>,
    pub payload: Bytes,
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    pub payload: Bytes,
    pub is_error: bool,
    pub log_tail: String,
}

/// What became of an invocation on one worker.
pub(super) enum Ended {
    /// It was answered and the worker may go on.
    Answered(Outcome),
    /// It was answered and the worker is gone.
    Last(Outcome),
    /// The worker was gone before it took the event; another one may.
    NotTaken,
}

impl WorkerLog {
    /// Takes one line.
    pub async fn line(&self, text: String) {
        {
            let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.push_str(&text);
            tail.push('\n');
            if tail.len() > 4 * LOG_TAIL_BYTES_MAX {
                let cut = tail.char_boundary_from(tail.len() - LOG_TAIL_BYTES_MAX);
                tail.drain(..cut);
            }
        }
        self.writer.put(&self.stream, self.writer.now_ms(), text).await;
    }

    fn take_tail(&self) -> String {
        let mut tail = std::mem::take(&mut *self.tail.lock().unwrap_or_else(PoisonError::into_inner));
        let cut = tail.char_boundary_from(tail.len().saturating_sub(LOG_TAIL_BYTES_MAX));
        tail.drain(..cut);
        tail
    }
}

trait CharBoundary {
    fn char_boundary_from(&self, index: usize) -> usize;
}

impl CharBoundary for String {
    fn char_boundary_from(&self, index: usize) -> usize {
        (index..=self.len()).find(|index| self.is_char_boundary(*index)).unwrap_or(self.len())
    }
}

impl Worker {
    /// Whether it can still take an invocation of this timeout at this time.
    pub fn is_fit(&self, timeout: Duration, now: Timestamp) -> bool {
        let until = now + timeout + Duration::from_secs(60);
        self.running.exited().is_none() && self.credentials_until.is_none_or(|end| end > until)
    }

    /// Runs one invocation to its end.
    pub async fn run(&mut self, invocation: &Invocation) -> Ended {
        let timeout = Duration::from_secs(u64::from(invocation.version.timeout_seconds));
        if self.init.is_none()
            && let Some(outcome) = self.initialise(invocation, timeout).await
        {
            return Ended::Last(outcome);
        }
        let request_id = &invocation.request_id;
        let start = format!("START RequestId: {request_id} Version: {}", invocation.version.version);
        self.log.line(start).await;
        let begun = Instant::now();
        let (reply, mut answered) = oneshot::channel();
        self.api.deliver(self.delivery(invocation, timeout, reply)).await;
        let ended = tokio::select! {
            biased;
            Ok(reply) = &mut answered => Some(reply),
            _ = self.running.wait() => answered.try_recv().ok(),
            () = self.api.time_out(timeout) => {
                self.running.kill();
                self.running.wait().await;
                self.output.drain().await;
                let text = format!("{} {request_id} Task timed out after {}.00 seconds\n", now_text(), timeout.as_secs());
                self.log.line(text).await;
                let message = format!("Task timed out after {}.00 seconds", timeout.as_secs());
                return Ended::Last(self.finish(invocation, begun, failed("Sandbox.Timedout", request_id, &message)).await);
            }
        };
        match ended {
            Some(reply) => {
                let outcome = self.finish(invocation, begun, reply).await;
                if self.running.exited().is_some() { Ended::Last(outcome) } else { Ended::Answered(outcome) }
            }
            None if self.api.take_back() => Ended::NotTaken,
            None => {
                let exit = self.running.wait().await;
                self.output.drain().await;
                let reason = exit_reason(exit);
                self.log.line(format!("RequestId: {request_id} Error: {reason}\nRuntime.ExitError")).await;
                let reply = failed("Runtime.ExitError", request_id, &reason);
                Ended::Last(self.finish(invocation, begun, reply).await)
            }
        }
    }

    /// Waits until the runtime asks for its first event; otherwise the failure is the invocation's outcome.
    async fn initialise(&mut self, invocation: &Invocation, timeout: Duration) -> Option<Outcome> {
        let request_id = &invocation.request_id;
        let failure = tokio::select! {
            biased;
            phase = self.api.started() => match phase {
                Phase::Failed(document) => Some(Reply::Error(document)),
                Phase::Starting | Phase::Ready => None,
            },
            exit = self.running.wait() => Some(failed("Runtime.ExitError", request_id, &exit_reason(exit))),
            () = self.api.time_out(timeout.max(INIT_WAIT)) => {
                let message = format!("Task timed out after {}.00 seconds", timeout.max(INIT_WAIT).as_secs());
                Some(failed("Sandbox.Timedout", request_id, &message))
            }
        };
        self.init = Some(self.started.elapsed());
        let reply = failure?;
        self.running.kill();
        let begun = self.started;
        self.log.line(format!("START RequestId: {request_id} Version: {}", invocation.version.version)).await;
        Some(self.finish(invocation, begun, reply).await)
    }

    fn delivery(
        &self,
        invocation: &Invocation,
        timeout: Duration,
        reply: oneshot::Sender<Reply>,
    ) -> Delivery {
        let trace = uuid::Uuid::new_v4().simple().to_string();
        let now = Timestamp::now();
        Delivery {
            request_id: invocation.request_id.clone(),
            deadline_ms: (now + timeout).as_millisecond(),
            function_arn: invocation.arn.clone(),
            trace_id: format!(
                "Root=1-{:08x}-{};Parent={};Sampled=0",
                now.as_second(),
                &trace[..24],
                &uuid::Uuid::new_v4().simple().to_string()[..16]
            ),
            client_context: invocation.client_context.clone(),
            payload: invocation.payload.clone(),
            reply,
        }
    }

    async fn finish(&mut self, invocation: &Invocation, begun: Instant, reply: Reply) -> Outcome {
        let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
        self.output.drain().await;
        let request_id = &invocation.request_id;
        self.log.line(format!("END RequestId: {request_id}")).await;
        let used =
            self.running.record.pid.and_then(crate::process::resident_bytes_max).unwrap_or(0) / 1_048_576;
        let init = self.init.take_if(|init| !init.is_zero()).map(|init| init.as_secs_f64() * 1000.0);
        let billed = (milliseconds + init.unwrap_or(0.0)).ceil();
        let init = init.map(|init| format!("Init Duration: {init:.2} ms\t")).unwrap_or_default();
        self.log
            .line(format!(
                "REPORT RequestId: {request_id}\tDuration: {milliseconds:.2} ms\tBilled Duration: {billed} ms\t\
                 Memory Size: {} MB\tMax Memory Used: {used} MB\t{init}",
                self.memory_megabytes
            ))
            .await;
        self.init = Some(Duration::ZERO);
        let log_tail = self.log.take_tail();
        let (payload, is_error) = match reply {
            Reply::Response(payload) => (payload, false),
            Reply::Error(payload) => (payload, true),
        };
        Outcome { payload, is_error, log_tail }
    }
}

/// AWS's document for a failure that the code did not report itself.
fn failed(error_type: &str, request_id: &str, message: &str) -> Reply {
    let document =
        json!({"errorType": error_type, "errorMessage": format!("RequestId: {request_id} Error: {message}")});
    Reply::Error(Bytes::from(document.to_string()))
}

fn exit_reason(exit: Exit) -> String {
    match exit {
        Exit::Code(0) => "Runtime exited without providing a reason".to_owned(),
        Exit::Code(code) => format!("Runtime exited with error: exit status {code}"),
        Exit::Signal(libc::SIGKILL) => "Runtime exited with error: signal: killed".to_owned(),
        Exit::Signal(libc::SIGSEGV) => "Runtime exited with error: signal: segmentation fault".to_owned(),
        Exit::Signal(libc::SIGABRT) => "Runtime exited with error: signal: aborted".to_owned(),
        Exit::Signal(signal) => format!("Runtime exited with error: signal: {signal}"),
    }
}

fn now_text() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}
