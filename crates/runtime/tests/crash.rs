//! A real process dies at every named point, over a real SQLite file; the next one finds everything acknowledged.

mod support;

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use asl::resource::AnyResource;
use runtime::failpoint::{self, Failpoint};
use runtime::{
    BoxFuture, CancelReport, CommittedEvent, Compilers, Dispatch, ExecutionStatus, Observer, Runtime,
    RuntimeConfig, RuntimeParts, SystemClock, TaskCall, TaskReport,
};
use store::SqliteStore;
use support::*;

/// Jobs that take a moment; every start of one is written down.
struct Jobs(std::path::PathBuf);

impl Dispatch for Jobs {
    fn run(&self, call: TaskCall) -> BoxFuture<'_, TaskReport> {
        let mut file = std::fs::File::options().append(true).create(true).open(&self.0).expect("a file");
        writeln!(file, "{}", call.invocation_id).expect("a line");
        let sync = call.resource.arn.ends_with(".sync");
        Box::pin(async move { if sync { submitted("1") } else { succeeded("{}") } })
    }
    fn observe(&self, _: TaskCall, _: asl::payload::Payload) -> BoxFuture<'_, TaskReport> {
        Box::pin(async { succeeded("{}") })
    }
    fn cancel(&self, _: TaskCall, _: Option<asl::payload::Payload>) -> BoxFuture<'_, CancelReport> {
        Box::pin(async { CancelReport::Done })
    }
}

struct Log;

impl Observer for Log {
    fn name(&self) -> &str {
        "log"
    }
    fn observe(&self, _: Vec<CommittedEvent>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
    fn observe_express(&self, _: Vec<CommittedEvent>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

async fn open(directory: &Path) -> Runtime {
    let store = SqliteStore::open(directory, &store::SqliteOptions::default()).expect("a store");
    let parts = RuntimeParts {
        config: RuntimeConfig { shards: 2, ..RuntimeConfig::default() },
        store: Box::new(store),
        dispatch: Arc::new(Jobs(directory.join("starts"))),
        clock: Arc::new(SystemClock),
        compilers: Compilers::with_catalog(Arc::new(AnyResource)),
        observers: vec![Arc::new(Log)],
    };
    Runtime::open(parts).await.expect("a runtime")
}

const ACTIVITY: &str = r#"{"StartAt": "T", "States": {"T": {"Type": "Task", "End": true,
    "Resource": "arn:aws:states:us-east-1:000000000000:activity:work"}}}"#;

const MAPS: &str = r#"{"StartAt": "Each", "States": {"Each": {"Type": "Map", "End": true, "Label": "each",
    "MaxConcurrency": 3, "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "KIND"},
        "StartAt": "T", "States": {"T": {"Type": "Task", "End": true,
            "Resource": "arn:aws:states:::lambda:invoke", "ResultPath": null,
            "Parameters": {"FunctionName": "f", "Payload.$": "$"}}}}}}}"#;

const ITEMS: &str = "[1,2,3,4,5,6,7,8]";

/// What each process tries to do; what it was acknowledged is written down.
async fn work(directory: &Path) {
    let runtime = open(directory).await;
    let acknowledged = |what: &str| {
        let file = std::fs::File::options().append(true).create(true).open(directory.join("acknowledged"));
        writeln!(file.expect("a file"), "{what}").expect("a line");
    };
    let tasks = create(&runtime, "tasks", TASK).await;
    let jobs = create(&runtime, "jobs", SYNC).await;
    let polls = create(&runtime, "polls", ACTIVITY).await;
    let request = runtime::CreateActivity { name: "work".into(), tags: Vec::new(), encryption: None };
    let activity = runtime.create_activity(&scope(), request).await.expect("an activity").arn;
    for n in 0..3 {
        acknowledged(&start(&runtime, &tasks, &format!("t{n}"), "{}").await);
        acknowledged(&start(&runtime, &jobs, &format!("j{n}"), "{}").await);
    }
    for (name, kind) in [("maps", "STANDARD"), ("express-maps", "EXPRESS")] {
        let maps = create(&runtime, name, &MAPS.replace("KIND", kind)).await;
        acknowledged(&start(&runtime, &maps, "d", ITEMS).await);
    }
    let polled = start(&runtime, &polls, "p", "{}").await;
    acknowledged(&polled);
    if let Some(task) = runtime.get_activity_task(&activity, None).await.expect("a poll") {
        runtime.send_task_success("000000000000", &task.task_token, json("1")).await.expect("a success");
    }
    let stopped = start(&runtime, &polls, "s", "{}").await;
    runtime.stop_execution(&stopped, engine::Failure::default()).await.expect("a stop");
    acknowledged(&stopped);
    let aborted = create(
        &runtime,
        "aborted",
        &CALLBACK
            .replace("sqs:sendMessage.waitForTaskToken", "ecs:runTask.sync")
            .replace("$$.Task.Token", "$"),
    )
    .await;
    let aborted = start(&runtime, &aborted, "a", "{}").await;
    runtime.stop_execution(&aborted, engine::Failure::default()).await.ok();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    runtime.shutdown().await;
}

/// The other process: named by the environment of the test, run by the test below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_may_die() {
    let Ok(directory) = std::env::var("CRASH_TEST_DIRECTORY") else { return };
    if let Ok(point) = std::env::var("CRASH_TEST_FAILPOINT") {
        failpoint::arm(point.parse::<Failpoint>().expect("a known point"));
    }
    work(Path::new(&directory)).await;
}

fn run_and_die(directory: &Path, point: &str) -> bool {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "a_process_that_may_die", "--nocapture"]);
    command.env("CRASH_TEST_DIRECTORY", directory).env("CRASH_TEST_FAILPOINT", point);
    let status = command.output().expect("a process").status;
    !status.success()
}

/// Counts and results are those of an undisturbed run, and each item is one child.
async fn check_map_run(runtime: &Runtime, execution: &str, point: &str) {
    assert_eq!(output(runtime, execution).await, ITEMS, "{point}: {execution}");
    let map_run = runtime.list_map_runs(execution).await.expect("Map Runs")[0].map_run_arn.clone();
    let described = runtime.describe_map_run(&map_run).await.expect("a description");
    let (executions, items) = (described.executions, described.items);
    assert_eq!((executions.total, executions.succeeded, items.succeeded), (8, 8, 8), "{point}: {execution}");
    if !execution.contains("express") {
        let by = runtime::ListBy::MapRun(map_run);
        let list = runtime::ListExecutions { by, status: None, redriven: None, page: Default::default() };
        let children = runtime.list_executions(list).await.expect("children").executions;
        assert_eq!(children.len(), 8, "{point}: {execution}");
    }
}

async fn check(directory: &Path, point: &str) {
    let acknowledged = std::fs::read_to_string(directory.join("acknowledged")).unwrap_or_default();
    let runtime = open(directory).await;
    let activity = "arn:aws:states:us-east-1:000000000000:activity:work";
    for execution in acknowledged.lines() {
        if execution.ends_with(":polls:p") {
            let row = runtime.describe_execution(execution).await.expect("it is not lost").row;
            // Unless it was handed out, it waits for a worker still.
            if row.status == ExecutionStatus::Running {
                let poll = runtime.get_activity_task(activity, None);
                let _ = tokio::time::timeout(Duration::from_millis(300), poll).await;
            }
            continue;
        }
        let end = tokio::time::timeout(Duration::from_secs(20), runtime.wait_for_end(execution)).await;
        let row = end.unwrap_or_else(|_| panic!("{point}: {execution} hangs")).expect("it is not lost");
        let expected =
            if execution.ends_with(":s") { ExecutionStatus::Aborted } else { ExecutionStatus::Succeeded };
        assert_eq!(row.status, expected, "{point}: {execution}");
        if execution.ends_with(":d") {
            check_map_run(&runtime, execution, point).await;
        }
    }
    runtime.shutdown().await;
    drop(runtime);
    let store = SqliteStore::open(directory, &store::SqliteOptions::default()).expect("a store");
    assert_eq!(store::Store::verify(&store).expect("verify reads"), [], "{point}");
    let starts = std::fs::read_to_string(directory.join("starts")).unwrap_or_default();
    let mut counts = std::collections::HashMap::new();
    for start in starts.lines() {
        *counts.entry(start).or_insert(0) += 1;
    }
    assert!(counts.values().all(|count| *count <= 2), "{point}: at most one call more: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_at_any_named_point() {
    let mut survived = Vec::new();
    for point in failpoint::NAMES {
        for passage in [1, 4] {
            let directory = tempfile::tempdir().expect("a directory");
            let point = format!("{point}:{passage}");
            if !run_and_die(directory.path(), &point) {
                survived.push(point);
                continue;
            }
            check(directory.path(), &point).await;
        }
    }
    // Points passed fewer than four times; each was passed once at least.
    assert!(survived.iter().all(|point| point.ends_with(":4")), "never passed: {survived:?}");
}
