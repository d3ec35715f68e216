//! Many executions at once on a real file and real threads: everything ends, nothing hangs, and the rows are those of the
//! journal.

mod support;

use std::sync::Arc;
use std::time::Duration;

use asl::resource::AnyResource;
use engine::Failure;
use runtime::{Compilers, ExecutionStatus, Runtime, RuntimeConfig, RuntimeParts, SystemClock};
use store::{SqliteOptions, SqliteStore, Store};
use support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_executions_with_tasks_stops_and_tokens_all_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = Script::new(|call| {
        let soon = Duration::from_millis(5);
        match call.token {
            Some(_) => Reply::Now(submitted("null")),
            None if call.resource.arn.ends_with(".sync") => Reply::After(soon, submitted("1")),
            None => Reply::After(soon, succeeded("{}")),
        }
    });
    let store = SqliteStore::open(directory.path(), &SqliteOptions::default()).expect("a store");
    let parts = RuntimeParts {
        config: RuntimeConfig { shards: 3, in_flight_max: 20, ..RuntimeConfig::default() },
        store: Box::new(store),
        dispatch: script.clone(),
        clock: Arc::new(SystemClock),
        compilers: Compilers::with_catalog(Arc::new(AnyResource)),
        observers: Vec::new(),
    };
    let runtime = Arc::new(Runtime::open(parts).await.expect("a runtime"));
    let machines = [
        (create(&runtime, "pass", PASS).await, ExecutionStatus::Succeeded),
        (create(&runtime, "task", TASK).await, ExecutionStatus::Succeeded),
        (create(&runtime, "sync", SYNC).await, ExecutionStatus::Aborted),
        (create(&runtime, "call", CALLBACK).await, ExecutionStatus::Succeeded),
    ];
    let mut running = Vec::new();
    for n in 0..400 {
        let (machine, expected) = machines[n % machines.len()].clone();
        let (runtime, script) = (Arc::clone(&runtime), Arc::clone(&script));
        running.push(tokio::spawn(async move {
            let execution = start(&runtime, &machine, &format!("e{n}"), "{}").await;
            if expected == ExecutionStatus::Aborted {
                runtime.stop_execution(&execution, Failure::default()).await.expect("a stop");
            } else if machine.ends_with(":call") {
                let token = loop {
                    let runs = script.runs.lock().expect("no poison").clone();
                    let run = runs.into_iter().find(|call| call.execution_arn == execution);
                    if let Some(token) = run.and_then(|call| call.token) {
                        break token;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                };
                runtime.send_task_success("000000000000", &token, json("1")).await.expect("a success");
            }
            let row = runtime.wait_for_end(&execution).await.expect("an end");
            assert_eq!(row.status, expected, "{execution}");
        }));
    }
    for execution in running {
        tokio::time::timeout(Duration::from_secs(60), execution)
            .await
            .expect("nothing hangs")
            .expect("as expected");
    }
    let runtime = Arc::into_inner(runtime).expect("nobody else");
    runtime.shutdown().await;
    let store = SqliteStore::open(directory.path(), &SqliteOptions::default()).expect("a store");
    assert!(store.verify().expect("a readable store").is_empty());
}
