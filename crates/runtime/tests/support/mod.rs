//! A world for a runtime: a store that survives it, tasks done by a script, time that jumps.

#![allow(dead_code)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asl::payload::Payload;
use asl::program::StateMachineType;
use asl::resource::AnyResource;
use asl::timestamp::Timestamp;
use engine::{Event, Failure, Stage};
use runtime::{
    BoxFuture, CancelReport, Compilers, CreateStateMachine, Dispatch, ExecutionDescription, ExecutionResult,
    ExecutionStatus, Observer, Runtime, RuntimeConfig, RuntimeParts, Scope, StartRequest, TaskCall,
    TaskReport, TokioClock,
};
use store::{Batch, Committed, Difference, Keys, MemoryStore, Reader, Store, StoreError};

/// What a scripted call does.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Ends at once.
    Now(TaskReport),
    /// Ends later.
    After(Duration, TaskReport),
    /// Goes on for ever.
    Never,
    /// Breaks.
    Panic,
}

type Answers = Box<dyn Fn(&TaskCall) -> Reply + Send + Sync>;

/// Does tasks by a script and remembers what it was asked.
pub struct Script {
    pub runs: Mutex<Vec<TaskCall>>,
    pub observed: Mutex<Vec<(TaskCall, Payload)>>,
    pub cancelled: Mutex<Vec<(TaskCall, Option<Payload>)>>,
    pub cancel_refusals: AtomicUsize,
    run: Answers,
    observe: Answers,
}

impl Script {
    pub fn new(run: impl Fn(&TaskCall) -> Reply + Send + Sync + 'static) -> Arc<Script> {
        Script::observing(run, |_| Reply::Never)
    }

    pub fn observing(
        run: impl Fn(&TaskCall) -> Reply + Send + Sync + 'static,
        observe: impl Fn(&TaskCall) -> Reply + Send + Sync + 'static,
    ) -> Arc<Script> {
        Arc::new(Script {
            runs: Mutex::default(),
            observed: Mutex::default(),
            cancelled: Mutex::default(),
            cancel_refusals: AtomicUsize::new(0),
            run: Box::new(run),
            observe: Box::new(observe),
        })
    }

    /// Tasks give back their arguments.
    pub fn echo() -> Arc<Script> {
        Script::new(|call| Reply::Now(TaskReport::Succeeded { output: call.arguments.clone() }))
    }

    /// The n-th run gets the n-th reply, the rest the last one.
    pub fn in_turn(replies: Vec<Reply>) -> Arc<Script> {
        let replies = Mutex::new(VecDeque::from(replies));
        Script::new(move |_| {
            let mut replies = replies.lock().expect("no poison");
            if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
                .unwrap_or(Reply::Never)
        })
    }

    pub fn run_count(&self) -> usize {
        self.runs.lock().expect("no poison").len()
    }
}

async fn act(reply: Reply) -> TaskReport {
    match reply {
        Reply::Now(report) => report,
        Reply::After(delay, report) => {
            tokio::time::sleep(delay).await;
            report
        }
        Reply::Never => std::future::pending().await,
        Reply::Panic => panic!("the script says so"),
    }
}

impl Dispatch for Script {
    fn run(&self, call: TaskCall) -> BoxFuture<'_, TaskReport> {
        let reply = (self.run)(&call);
        self.runs.lock().expect("no poison").push(call);
        Box::pin(act(reply))
    }

    fn observe(&self, call: TaskCall, handle: Payload) -> BoxFuture<'_, TaskReport> {
        let reply = (self.observe)(&call);
        self.observed.lock().expect("no poison").push((call, handle));
        Box::pin(act(reply))
    }

    fn cancel(&self, call: TaskCall, handle: Option<Payload>) -> BoxFuture<'_, CancelReport> {
        self.cancelled.lock().expect("no poison").push((call, handle));
        let refuse = |left: usize| left.checked_sub(1);
        let refused = self.cancel_refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse).is_ok();
        Box::pin(async move {
            if refused { CancelReport::Retry { reason: "not yet".to_owned() } } else { CancelReport::Done }
        })
    }
}

/// A store that counts what is asked of it.
pub struct CountingStore {
    pub inner: MemoryStore,
    pub appends: Arc<AtomicUsize>,
}

impl Store for CountingStore {
    fn append(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        self.appends.fetch_add(1, Ordering::SeqCst);
        self.inner.append(batch)
    }
    fn reader(&self) -> Arc<dyn Reader> {
        self.inner.reader()
    }
    fn keys(&self) -> Keys {
        self.inner.keys()
    }
    fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.inner.checkpoint()
    }
    fn verify(&self) -> Result<Vec<Difference>, StoreError> {
        self.inner.verify()
    }
}

/// What stays when a runtime goes.
pub struct World {
    pub store: MemoryStore,
    pub script: Arc<Script>,
    pub clock: TokioClock,
    pub config: RuntimeConfig,
    pub observers: Vec<Arc<dyn Observer>>,
    pub compilers: Compilers,
    pub appends: Arc<AtomicUsize>,
}

impl World {
    pub fn new(script: Arc<Script>) -> World {
        let config = RuntimeConfig { shards: 2, seed: Some(7), ..RuntimeConfig::default() };
        World {
            store: MemoryStore::new(),
            script,
            clock: TokioClock::starting_at(Timestamp::from_epoch_millis(1_700_000_000_000)),
            config,
            observers: Vec::new(),
            compilers: Compilers::with_catalog(Arc::new(AnyResource)),
            appends: Arc::default(),
        }
    }

    /// A runtime over the store; dropping it is a crash.
    pub async fn open(&self) -> Runtime {
        let inner = self.store.reopen();
        let store = Box::new(CountingStore { inner, appends: Arc::clone(&self.appends) });
        self.open_over(store).await
    }

    pub async fn open_over(&self, store: Box<dyn Store>) -> Runtime {
        let parts = RuntimeParts {
            config: self.config.clone(),
            store,
            dispatch: self.script.clone(),
            clock: Arc::new(self.clock.clone()),
            compilers: self.compilers.clone(),
            observers: self.observers.clone(),
        };
        Runtime::open(parts).await.expect("an open store")
    }

    /// The derived rows equal what the journal says, and each execution's state is its replay.
    pub fn check(&self) {
        let differences = self.store.verify().expect("a readable store");
        assert!(differences.is_empty(), "{differences:?}");
    }
}

pub fn scope() -> Scope {
    Scope { account: "000000000000".into(), region: "us-east-1".into() }
}

pub fn request(name: &str, definition: &str) -> CreateStateMachine {
    CreateStateMachine {
        name: name.into(),
        definition: definition.into(),
        role_arn: "arn:aws:iam::000000000000:role/r".into(),
        machine_type: StateMachineType::Standard,
        logging: None,
        tracing: None,
        encryption: None,
        tags: Vec::new(),
        publish: false,
        version_description: None,
    }
}

pub async fn create(runtime: &Runtime, name: &str, definition: &str) -> Arc<str> {
    runtime.create_state_machine(&scope(), request(name, definition)).await.expect("a good definition").arn
}

pub fn json(text: &str) -> Payload {
    Payload::parse(text).expect("JSON")
}

pub fn start_request(machine: &Arc<str>, name: Option<&str>, input: &str) -> StartRequest {
    StartRequest {
        state_machine_arn: Arc::clone(machine),
        name: name.map(Arc::from),
        input: json(input),
        trace_header: None,
    }
}

pub async fn start(runtime: &Runtime, machine: &Arc<str>, name: &str, input: &str) -> Arc<str> {
    runtime.start_execution(start_request(machine, Some(name), input)).await.expect("a start").execution_arn
}

/// Waits for the end and describes it.
pub async fn ended(runtime: &Runtime, execution: &str) -> ExecutionDescription {
    runtime.wait_for_end(execution).await.expect("an execution");
    runtime.describe_execution(execution).await.expect("a description")
}

pub async fn output(runtime: &Runtime, execution: &str) -> String {
    let description = ended(runtime, execution).await;
    assert_eq!(description.row.status, ExecutionStatus::Succeeded, "{:?}", description.result);
    match description.result {
        Some(ExecutionResult::Succeeded(output)) => output.text().to_owned(),
        other => panic!("{other:?}"),
    }
}

pub fn succeeded(output: &str) -> TaskReport {
    TaskReport::Succeeded { output: json(output) }
}

pub fn submitted(handle: &str) -> TaskReport {
    TaskReport::Submitted { output: json("{}"), handle: json(handle) }
}

pub fn failed(error: &str) -> TaskReport {
    TaskReport::Failed { failure: Failure::new(error, "the cause"), stage: Stage::Run }
}

/// Names of the public events, in order.
pub fn kinds(events: &[Event]) -> Vec<String> {
    let shown = events.iter().filter(|event| event.history_id.is_some());
    shown
        .map(|event| format!("{:?}", event.kind).split([' ', '{']).next().unwrap_or_default().to_owned())
        .collect()
}

/// Lets everything that can happen without time passing happen.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(|| ()).await.expect("a thread");
    }
}

pub const PASS: &str = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#;

pub const TASK: &str = r#"{"StartAt": "T", "States": {"T": {"Type": "Task", "End": true,
    "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": "f", "Payload.$": "$"},
    "Retry": [{"ErrorEquals": ["Flaky"], "IntervalSeconds": 10, "MaxAttempts": 2, "BackoffRate": 2.0}]}}}"#;

pub const SYNC: &str = r#"{"StartAt": "T", "States": {"T": {"Type": "Task", "End": true,
    "Resource": "arn:aws:states:::ecs:runTask.sync", "Parameters": {"TaskDefinition": "t", "LaunchType": "FARGATE"}}}}"#;

pub const CALLBACK: &str = r#"{"StartAt": "T", "States": {"T": {"Type": "Task", "End": true,
    "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "TimeoutSeconds": 600,
    "Parameters": {"QueueUrl": "q", "MessageBody.$": "$$.Task.Token"}}}}"#;

pub const WAIT: &str = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 3600, "End": true}}}"#;
