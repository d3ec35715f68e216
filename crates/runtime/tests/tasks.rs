//! Task tokens, activities, Express executions and observers.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::{EventKind, Failure};
use runtime::{
    BoxFuture, CommittedEvent, CreateActivity, Error, ExecutionResult, ExecutionStatus, Observer, Runtime,
};
use support::*;

fn callback() -> Arc<Script> {
    Script::new(|_| Reply::Now(submitted("null")))
}

fn token_of(world: &World) -> String {
    world.script.runs.lock().unwrap().last().unwrap().token.clone().expect("a token").to_string()
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_once_and_its_answers_are_awss() {
    let world = World::new(callback());
    let runtime = world.open().await;
    let machine = create(&runtime, "m", CALLBACK).await;
    let execution = start(&runtime, &machine, "e", "{}").await;
    settle().await;
    let token = token_of(&world);
    let account = "000000000000";
    for wrong in ["", "garbage", &token[..token.len() - 4]] {
        let refused = runtime.send_task_success(account, wrong, json("1")).await;
        assert!(matches!(refused, Err(Error::InvalidToken)), "{wrong}: {refused:?}");
    }
    let foreign = runtime.send_task_success("111111111111", &token, json("1")).await;
    assert!(matches!(foreign, Err(Error::InvalidToken)));
    runtime.send_task_heartbeat(account, &token).await.unwrap();
    // The token lives on while the execution is parked and over a crash.
    tokio::time::sleep(Duration::from_secs(60)).await;
    drop(runtime);
    let runtime = world.open().await;
    settle().await;
    runtime.send_task_success(account, &token, json(r#"{"by": "token"}"#)).await.unwrap();
    let again = runtime.send_task_success(account, &token, json("2")).await;
    assert!(matches!(again, Err(Error::TaskTimedOut)), "{again:?}");
    assert_eq!(output(&runtime, &execution).await, r#"{"by": "token"}"#);
    assert_eq!(world.script.run_count(), 1, "a submitted callback is not submitted again");
    runtime.shutdown().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_token_of_a_task_that_timed_out_says_so() {
    let world = World::new(callback());
    let runtime = world.open().await;
    let machine = create(&runtime, "m", CALLBACK).await;
    let execution = start(&runtime, &machine, "e", "{}").await;
    settle().await;
    let description = ended(&runtime, &execution).await;
    assert_eq!(description.row.status, ExecutionStatus::Failed);
    let late = runtime.send_task_failure("000000000000", &token_of(&world), Failure::default()).await;
    assert!(matches!(late, Err(Error::TaskTimedOut)), "{late:?}");
    let took = description.row.stop.unwrap().since(description.row.start).as_secs();
    assert_eq!(took, 600);
}

const ACTIVITY: &str = r#"{"StartAt": "T", "States": {"T": {"Type": "Task", "End": true, "HeartbeatSeconds": 10,
    "Resource": "arn:aws:states:us-east-1:000000000000:activity:work"}}}"#;

async fn activity(runtime: &Runtime) -> Arc<str> {
    let request = CreateActivity { name: "work".into(), tags: Vec::new(), encryption: None };
    runtime.create_activity(&scope(), request).await.unwrap().arn
}

#[tokio::test(start_paused = true)]
async fn a_worker_waits_gets_its_task_and_answers_it() {
    let world = World::new(Script::echo());
    let runtime = Arc::new(world.open().await);
    let activity = activity(&runtime).await;
    let worker = {
        let (runtime, activity) = (Arc::clone(&runtime), Arc::clone(&activity));
        tokio::spawn(async move { runtime.get_activity_task(&activity, Some("worker".into())).await })
    };
    settle().await;
    let machine = create(&runtime, "m", ACTIVITY).await;
    let execution = start(&runtime, &machine, "e", r#"{"n": 1}"#).await;
    let task = worker.await.unwrap().unwrap().expect("a task");
    assert_eq!(task.input.text(), r#"{"n": 1}"#);
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(9)).await;
        runtime.send_task_heartbeat("000000000000", &task.task_token).await.unwrap();
    }
    runtime.send_task_success("000000000000", &task.task_token, json("[]")).await.unwrap();
    assert_eq!(output(&runtime, &execution).await, "[]");
}

#[tokio::test(start_paused = true)]
async fn a_worker_without_a_task_goes_home_after_a_minute() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let activity = activity(&runtime).await;
    let before = tokio::time::Instant::now();
    assert!(runtime.get_activity_task(&activity, None).await.unwrap().is_none());
    assert_eq!(before.elapsed().as_secs(), 60);
    let missing = "arn:aws:states:us-east-1:000000000000:activity:none";
    assert!(matches!(runtime.get_activity_task(missing, None).await, Err(Error::ActivityDoesNotExist(_))));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_falls_silent_costs_its_task_the_heartbeat() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let activity = activity(&runtime).await;
    let machine = create(&runtime, "m", ACTIVITY).await;
    let execution = start(&runtime, &machine, "e", "{}").await;
    let task = runtime.get_activity_task(&activity, None).await.unwrap().expect("a task");
    let before = tokio::time::Instant::now();
    let description = ended(&runtime, &execution).await;
    assert_eq!(before.elapsed().as_secs(), 10);
    let Some(ExecutionResult::Failed(failure)) = description.result else { panic!("{description:?}") };
    assert!(failure.error().starts_with("States."), "{failure:?}");
    let late = runtime.send_task_heartbeat("000000000000", &task.task_token).await;
    assert!(matches!(late, Err(Error::TaskTimedOut)), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn an_activity_task_waits_for_a_worker_across_a_crash() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let activity = activity(&runtime).await;
    let machine = create(&runtime, "m", ACTIVITY).await;
    start(&runtime, &machine, "e", "{}").await;
    drop(runtime);
    let runtime = world.open().await;
    settle().await;
    let task = runtime.get_activity_task(&activity, None).await.unwrap();
    assert!(task.is_some());
    assert!(runtime.get_activity_task(&activity, None).await.unwrap().is_none(), "it was one task");
}

#[tokio::test(start_paused = true)]
async fn a_task_of_a_deleted_activity_fails_as_with_aws() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let activity = activity(&runtime).await;
    runtime.delete_activity(&activity).await.unwrap();
    let machine = create(&runtime, "m", ACTIVITY).await;
    let execution = start(&runtime, &machine, "e", "{}").await;
    let Some(ExecutionResult::Failed(failure)) = ended(&runtime, &execution).await.result else { panic!() };
    assert_eq!(failure.error(), "States.Runtime");
    let expected = "An error occurred while executing the state 'T' (entered at the event id #2). The activity \
                    arn:aws:states:us-east-1:000000000000:activity:work does not exist.";
    assert_eq!(failure.cause.as_deref(), Some(expected));
}

/// Remembers what it saw; fails while told to.
#[derive(Default)]
struct Witness {
    events: Mutex<Vec<CommittedEvent>>,
    express: Mutex<Vec<CommittedEvent>>,
    failing: AtomicBool,
}

struct Shown(Arc<Witness>);

impl Observer for Shown {
    fn name(&self) -> &str {
        "witness"
    }
    fn observe(&self, events: Vec<CommittedEvent>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            if self.0.failing.load(Ordering::SeqCst) {
                return Err("not now".to_owned());
            }
            self.0.events.lock().unwrap().extend(events);
            Ok(())
        })
    }
    fn observe_express(&self, events: Vec<CommittedEvent>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            self.0.express.lock().unwrap().extend(events);
            Ok(())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_sees_everything_and_goes_on_from_its_cursor() {
    let witness = Arc::new(Witness::default());
    let mut world = World::new(Script::echo());
    world.observers.push(Arc::new(Shown(Arc::clone(&witness))));
    let runtime = world.open().await;
    let machine = create(&runtime, "m", TASK).await;
    witness.failing.store(true, Ordering::SeqCst);
    let execution = start(&runtime, &machine, "e", "{}").await;
    runtime.wait_for_end(&execution).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(witness.events.lock().unwrap().is_empty());
    witness.failing.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let seen: Vec<_> = witness.events.lock().unwrap().iter().map(|it| it.event.seq).collect();
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
    assert!(witness.events.lock().unwrap().iter().all(|it| it.start.execution_arn == execution));
    drop(runtime);
    let runtime = world.open().await;
    let second = start(&runtime, &machine, "e2", "{}").await;
    runtime.wait_for_end(&second).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let events = witness.events.lock().unwrap();
    let of = |arn: &str| events.iter().filter(|it| &*it.start.execution_arn == arn).count();
    assert_eq!(
        (of(&execution), of(&second)),
        (seen.len(), seen.len()),
        "nothing twice after a written cursor"
    );
}

#[tokio::test(start_paused = true)]
async fn a_synchronous_express_execution_leaves_nothing_on_disk() {
    let witness = Arc::new(Witness::default());
    let mut world = World::new(Script::in_turn(vec![
        Reply::Now(failed("Flaky")),
        Reply::After(Duration::from_secs(2), succeeded("[4]")),
        Reply::Now(failed("Other")),
    ]));
    world.observers.push(Arc::new(Shown(Arc::clone(&witness))));
    let runtime = world.open().await;
    let express = runtime::CreateStateMachine {
        machine_type: asl::program::StateMachineType::Express,
        ..request("x", TASK)
    };
    let machine = runtime.create_state_machine(&scope(), express).await.unwrap().arn;
    // The observer writes down where it begins.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = world.appends.load(Ordering::SeqCst);
    let done = runtime.start_sync_execution(start_request(&machine, Some("one"), "{}")).await.unwrap();
    assert_eq!(done.status, ExecutionStatus::Succeeded, "{:?}", done.result);
    assert_eq!(done.result, ExecutionResult::Succeeded(json("[4]")));
    assert_eq!(done.stop_date.since(done.start_date).as_secs(), 12, "a backoff of 10 s and a task of 2 s");
    let failed = runtime.start_sync_execution(start_request(&machine, Some("one"), "{}")).await.unwrap();
    assert_eq!(failed.status, ExecutionStatus::Failed);
    assert_eq!(world.appends.load(Ordering::SeqCst), before);
    let shown = witness.express.lock().unwrap().clone();
    assert!(shown.iter().any(|it| matches!(it.event.kind, EventKind::ExecutionSucceeded { .. })));
    let standard = create(&runtime, "m", PASS).await;
    let refused = runtime.start_sync_execution(start_request(&standard, None, "{}")).await;
    assert!(matches!(refused, Err(Error::StateMachineTypeNotSupported)));
}

#[tokio::test(start_paused = true)]
async fn an_asynchronous_express_execution_runs_again_from_its_start_after_a_crash() {
    let world = World::new(Script::in_turn(vec![Reply::Never, Reply::Now(succeeded("1"))]));
    let runtime = world.open().await;
    let express = runtime::CreateStateMachine {
        machine_type: asl::program::StateMachineType::Express,
        ..request("x", TASK)
    };
    let machine = runtime.create_state_machine(&scope(), express).await.unwrap().arn;
    let started = runtime.start_execution(start_request(&machine, Some("one"), "{}")).await.unwrap();
    assert!(started.execution_arn.contains(":express:x:one:"));
    settle().await;
    drop(runtime);
    settle().await;
    let runtime = world.open().await;
    settle().await;
    assert_eq!(world.script.run_count(), 2);
    let refused = runtime.describe_execution(&started.execution_arn).await;
    assert!(matches!(refused, Err(Error::InvalidArn(text)) if text.contains("express")));
    drop(runtime);
    let runtime = world.open().await;
    settle().await;
    assert_eq!(world.script.run_count(), 2, "it has ended");
    runtime.shutdown().await;
    world.check();
}
