//! Crashes: a runtime is dropped in the middle, the next one over the same store goes on.

mod support;

use std::sync::Arc;
use std::time::Duration;

use engine::Failure;
use runtime::{Compilers, Error, ExecutionStatus};
use store::{Fault, MemoryStore};
use support::*;

#[tokio::test(start_paused = true)]
async fn a_task_in_flight_is_sent_again_under_the_same_invocation_id() {
    let world = World::new(Script::in_turn(vec![Reply::Never, Reply::Now(succeeded("[3]"))]));
    let runtime = world.open().await;
    let machine = create(&runtime, "m", TASK).await;
    let execution = start(&runtime, &machine, "e", "{}").await;
    settle().await;
    assert_eq!(world.script.run_count(), 1);
    drop(runtime);
    let runtime = world.open().await;
    assert_eq!(output(&runtime, &execution).await, "[3]");
    let runs = world.script.runs.lock().unwrap().clone();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0].invocation_id, runs[1].invocation_id);
    assert!(runs[0].arguments.same(&runs[1].arguments) || runs[0].arguments == runs[1].arguments);
    runtime.shutdown().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_submitted_job_is_observed_after_a_crash_and_never_started_again() {
    let world = World::new(Script::observing(
        |_| Reply::Now(submitted(r#"{"job": 9}"#)),
        |_| Reply::After(Duration::from_secs(60), succeeded(r#"{"done": true}"#)),
    ));
    let runtime = world.open().await;
    let machine = create(&runtime, "m", SYNC).await;
    let execution = start(&runtime, &machine, "e", "{}").await;
    // Long enough to be parked, which must not start a second observation.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!((world.script.run_count(), world.script.observed.lock().unwrap().len()), (1, 1));
    drop(runtime);
    let runtime = world.open().await;
    assert_eq!(output(&runtime, &execution).await, r#"{"done": true}"#);
    assert_eq!(world.script.run_count(), 1);
    let observed = world.script.observed.lock().unwrap();
    assert_eq!(observed.len(), 2);
    assert!(observed.iter().all(|(_, handle)| *handle == json(r#"{"job": 9}"#)));
}

#[tokio::test(start_paused = true)]
async fn timers_go_on_where_they_were() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let machine = create(&runtime, "m", WAIT).await;
    let executions = [start(&runtime, &machine, "parked", "{}").await];
    tokio::time::sleep(Duration::from_secs(1_800)).await;
    let resident = start(&runtime, &machine, "resident", "{}").await;
    drop(runtime);
    let runtime = world.open().await;
    for (execution, expected) in executions.iter().map(|it| (it, 3_600)).chain([(&resident, 3_600)]) {
        let row = ended(&runtime, execution).await.row;
        let took = row.stop.unwrap().since(row.start).as_secs();
        assert_eq!(took, expected, "{execution}");
    }
    runtime.shutdown().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_was_acknowledged_leaves_nothing_running_after_a_crash() {
    let world = World::new(Script::new(|_| Reply::Now(submitted(r#"{"job": 1}"#))));
    world.script.cancel_refusals.store(1_000, std::sync::atomic::Ordering::SeqCst);
    let runtime = world.open().await;
    let machine = create(&runtime, "m", SYNC).await;
    let execution = start(&runtime, &machine, "e", "{}").await;
    settle().await;
    runtime.stop_execution(&execution, Failure::default()).await.unwrap();
    drop(runtime);
    settle().await;
    world.script.cancel_refusals.store(0, std::sync::atomic::Ordering::SeqCst);
    let before = world.script.cancelled.lock().unwrap().len();
    let runtime = world.open().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let cancelled = world.script.cancelled.lock().unwrap().clone();
    assert_eq!(cancelled.len(), before + 1);
    assert_eq!(cancelled.last().unwrap().1, Some(json(r#"{"job": 1}"#)));
    runtime.shutdown().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_answered_when_the_commit_fails_and_the_journal_is_the_truth() {
    for (fault, kept) in [(Fault::Full, false), (Fault::UnknownLost, false), (Fault::UnknownKept, true)] {
        let world = World::new(Script::echo());
        let runtime = world.open().await;
        let machine = create(&runtime, "m", TASK).await;
        drop(runtime);
        let store = world.store.reopen();
        store.inject(fault);
        let runtime = world.open_over(Box::new(store)).await;
        let refused = runtime.start_execution(start_request(&machine, Some("e"), "{}")).await;
        assert!(matches!(refused, Err(Error::Stopping)), "{fault:?}: {refused:?}");
        runtime.fatal().await;
        settle().await;
        assert_eq!(world.script.run_count(), 0, "no effect leaves before its commit");
        let refused = runtime.describe_execution("arn:aws:states:us-east-1:000000000000:execution:m:x").await;
        assert!(refused.is_err());
        drop(runtime);
        let runtime = world.open().await;
        let execution = "arn:aws:states:us-east-1:000000000000:execution:m:e";
        settle().await;
        assert_eq!(runtime.describe_execution(execution).await.is_ok(), kept, "{fault:?}");
        if kept {
            assert_eq!(ended(&runtime, execution).await.row.status, ExecutionStatus::Succeeded);
            assert_eq!(world.script.run_count(), 1);
        }
        runtime.shutdown().await;
        world.check();
    }
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_breaks_the_core_is_quarantined_and_the_others_go_on() {
    let mut world =
        World::new(Script::in_turn(vec![Reply::Never, Reply::Never, Reply::Now(succeeded("{}"))]));
    let runtime = world.open().await;
    let broken = create(&runtime, "broken", TASK).await;
    let healthy = create(&runtime, "healthy", &TASK.replace("\"T\"", "\"H\"")).await;
    let broken = start(&runtime, &broken, "e", "{}").await;
    let healthy = start(&runtime, &healthy, "e", "{}").await;
    settle().await;
    drop(runtime);
    let good = world.compilers.clone();
    // A binary whose compiler reads one definition as another machine: the core's invariant breaks on its next input.
    world.compilers.stored = Arc::new(move |text, machine_type| {
        let text = if text.contains("\"T\"") { PASS } else { text };
        (good.stored)(text, machine_type)
    });
    let runtime = world.open().await;
    assert_eq!(output(&runtime, &healthy).await, "{}");
    settle().await;
    let rows = runtime.quarantine().await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let refused = runtime.stop_execution(&broken, Failure::default()).await;
    assert!(matches!(refused, Err(Error::Internal)), "{refused:?}");
    // It breaks again while nothing has changed.
    assert!(runtime.release_quarantined(&broken).await.is_ok());
    settle().await;
    let refused = runtime.stop_execution(&broken, Failure::default()).await;
    assert!(matches!(refused, Err(Error::Internal)), "{refused:?}");
    assert_eq!(runtime.quarantine().await.unwrap().len(), 1);
    drop(runtime);
    world.compilers = Compilers::with_catalog(Arc::new(asl::resource::AnyResource));
    let runtime = world.open().await;
    let refused = runtime.stop_execution(&broken, Failure::default()).await;
    assert!(matches!(refused, Err(Error::Internal)), "the verdict of this version stands: {refused:?}");
    drop(runtime);
    // A newer binary tries again.
    world.config.shard.version = "9.9.9".into();
    let runtime = world.open().await;
    assert_eq!(output(&runtime, &broken).await, "{}");
}

#[tokio::test(start_paused = true)]
async fn many_starts_share_a_commit() {
    let world = World::new(Script::echo());
    let runtime = Arc::new(world.open().await);
    let machine = create(&runtime, "m", PASS).await;
    settle().await;
    let before = world.appends.load(std::sync::atomic::Ordering::SeqCst);
    let starts: Vec<_> = (0..500)
        .map(|_| {
            let (runtime, request) = (Arc::clone(&runtime), start_request(&machine, None, "{}"));
            tokio::spawn(async move { runtime.start_execution(request).await })
        })
        .collect();
    for start in starts {
        start.await.unwrap().unwrap();
    }
    let appends = world.appends.load(std::sync::atomic::Ordering::SeqCst) - before;
    assert!(appends <= 50, "500 executions took {appends} commits");
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_clean_end_leaves_everything_acknowledged_on_disk() {
    let world = World::new(Script::new(|_| Reply::Never));
    let runtime = world.open().await;
    let machine = create(&runtime, "m", TASK).await;
    for n in 0..20 {
        start(&runtime, &machine, &format!("e{n}"), "{}").await;
    }
    runtime.shutdown().await;
    let store: MemoryStore = world.store.reopen();
    let reader = store::Store::reader(&store);
    assert_eq!(reader.open(None, None, 100).unwrap().len(), 20);
    world.check();
}
