//! Executions through the whole shell, on a memory store, in time that jumps.

mod support;

use std::time::Duration;

use engine::{EventKind, Failure};
use runtime::{Error, ExecutionResult, ExecutionStatus, ListBy, ListExecutions, PageRequest};
use store::Direction;
use support::*;

#[tokio::test(start_paused = true)]
async fn a_start_is_answered_after_its_commit_and_runs_to_its_end() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let machine = create(&runtime, "m", PASS).await;
    let execution = start(&runtime, &machine, "e", r#"{"a": 1}"#).await;
    assert_eq!(&*execution, "arn:aws:states:us-east-1:000000000000:execution:m:e");
    assert_eq!(output(&runtime, &execution).await, r#"{"a": 1}"#);
    let history =
        runtime.execution_history(&execution, Direction::Forward, PageRequest::default()).await.unwrap();
    let expected = ["ExecutionStarted", "StateEntered", "StateExited", "ExecutionSucceeded"];
    assert_eq!(kinds(&history.events), expected);
    runtime.shutdown().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_failing_task_is_retried_after_its_backoff() {
    let flaky = Reply::Now(failed("Flaky"));
    let world = World::new(Script::in_turn(vec![flaky.clone(), flaky, Reply::Now(succeeded("[1]"))]));
    let runtime = world.open().await;
    let machine = create(&runtime, "m", TASK).await;
    let execution = start(&runtime, &machine, "e", "{}").await;
    assert_eq!(output(&runtime, &execution).await, "[1]");
    let row = runtime.describe_execution(&execution).await.unwrap().row;
    let took = row.stop.unwrap().since(row.start);
    assert!(took >= Duration::from_secs(30) && took < Duration::from_secs(31), "10 s and 20 s: {took:?}");
    let runs = world.script.runs.lock().unwrap();
    let ids: std::collections::HashSet<_> = runs.iter().map(|call| call.invocation_id.clone()).collect();
    assert_eq!((runs.len(), ids.len()), (3, 3), "each attempt is an invocation of its own");
}

#[tokio::test(start_paused = true)]
async fn an_integration_that_panics_fails_its_task_only() {
    let world = World::new(Script::new(|_| Reply::Panic));
    let runtime = world.open().await;
    let machine = create(&runtime, "m", TASK).await;
    let execution = start(&runtime, &machine, "e", "{}").await;
    let description = ended(&runtime, &execution).await;
    assert_eq!(description.row.status, ExecutionStatus::Failed);
}

#[tokio::test(start_paused = true)]
async fn the_same_start_again_is_the_same_execution_while_it_runs() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let machine = create(&runtime, "m", WAIT).await;
    let first = runtime.start_execution(start_request(&machine, Some("e"), "{}")).await.unwrap();
    let again = runtime.start_execution(start_request(&machine, Some("e"), "{}")).await.unwrap();
    assert_eq!(first, again);
    let other = runtime.start_execution(start_request(&machine, Some("e"), "[]")).await;
    assert!(matches!(other, Err(Error::ExecutionAlreadyExists(arn)) if arn == first.execution_arn));
    // Also when it is not in memory any more.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let again = runtime.start_execution(start_request(&machine, Some("e"), "{}")).await.unwrap();
    assert_eq!(first, again);
    runtime.wait_for_end(&first.execution_arn).await.unwrap();
    let closed = runtime.start_execution(start_request(&machine, Some("e"), "{}")).await;
    assert!(matches!(closed, Err(Error::ExecutionAlreadyExists(_))));
}

#[tokio::test(start_paused = true)]
async fn a_parked_wait_ends_on_time() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let machine = create(&runtime, "m", WAIT).await;
    let execution = start(&runtime, &machine, "e", "{}").await;
    let row = ended(&runtime, &execution).await.row;
    let took = row.stop.unwrap().since(row.start);
    assert!(took >= Duration::from_secs(3_600) && took < Duration::from_secs(3_601), "{took:?}");
    runtime.shutdown().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_execution_and_cancels_its_task_until_that_is_acknowledged() {
    let world = World::new(Script::new(|_| Reply::Now(submitted(r#"{"job": 1}"#))));
    world.script.cancel_refusals.store(2, std::sync::atomic::Ordering::SeqCst);
    let runtime = world.open().await;
    let machine = create(&runtime, "m", SYNC).await;
    let execution = start(&runtime, &machine, "e", "{}").await;
    settle().await;
    let stopped_at = runtime.stop_execution(&execution, Failure::new("Enough", "we said so")).await.unwrap();
    let again = runtime.stop_execution(&execution, Failure::default()).await.unwrap();
    assert_eq!(stopped_at, again, "a closed execution answers with its stop date");
    let description = runtime.describe_execution(&execution).await.unwrap();
    assert_eq!(description.row.status, ExecutionStatus::Aborted);
    assert_eq!(description.result, Some(ExecutionResult::Failed(Failure::new("Enough", "we said so"))));
    tokio::time::sleep(Duration::from_secs(30)).await;
    let cancelled = world.script.cancelled.lock().unwrap().clone();
    assert_eq!(cancelled.len(), 3, "tried until it worked");
    assert!(cancelled.iter().all(|(_, handle)| *handle == Some(json(r#"{"job": 1}"#))));
    drop(runtime);
    let runtime = world.open().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.script.cancelled.lock().unwrap().len(), 3, "and then never again");
    runtime.shutdown().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_start_is_under_way_is_stopped_when_its_handle_is_known() {
    let slow = Reply::After(Duration::from_secs(5), submitted(r#""handle""#));
    let world = World::new(Script::in_turn(vec![slow]));
    let runtime = world.open().await;
    let machine = create(&runtime, "m", SYNC).await;
    let execution = start(&runtime, &machine, "e", "{}").await;
    settle().await;
    runtime.stop_execution(&execution, Failure::default()).await.unwrap();
    assert!(world.script.cancelled.lock().unwrap().is_empty());
    tokio::time::sleep(Duration::from_secs(6)).await;
    let cancelled = world.script.cancelled.lock().unwrap().clone();
    assert_eq!(cancelled.len(), 1);
    assert_eq!(cancelled[0].1, Some(json(r#""handle""#)));
}

#[tokio::test(start_paused = true)]
async fn histories_and_lists_come_in_pages() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let machine = create(&runtime, "m", PASS).await;
    for n in 0..5 {
        let execution = start(&runtime, &machine, &format!("e{n}"), "{}").await;
        runtime.wait_for_end(&execution).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut page = PageRequest { max_results: Some(2), next_token: None };
    let mut names = Vec::new();
    loop {
        let by = ListBy::StateMachine(machine.clone());
        let list = ListExecutions { by, status: None, redriven: None, page: page.clone() };
        let found = runtime.list_executions(list).await.unwrap();
        names.extend(found.executions.iter().map(|row| row.name.to_string()));
        page.next_token = found.next_token;
        if page.next_token.is_none() {
            break;
        }
    }
    assert_eq!(names, ["e4", "e3", "e2", "e1", "e0"]);
    let execution = "arn:aws:states:us-east-1:000000000000:execution:m:e0";
    let mut page = PageRequest { max_results: Some(3), next_token: None };
    let mut ids = Vec::new();
    loop {
        let found = runtime.execution_history(execution, Direction::Backward, page.clone()).await.unwrap();
        ids.extend(found.events.iter().filter_map(|event| event.history_id));
        page.next_token = found.next_token;
        if page.next_token.is_none() {
            break;
        }
    }
    assert_eq!(ids, [4, 3, 2, 1]);
    let wrong = PageRequest { next_token: Some("AAAA".to_owned()), ..PageRequest::default() };
    let refused = runtime.execution_history(execution, Direction::Forward, wrong).await;
    assert!(matches!(refused, Err(Error::InvalidToken)));
}

#[tokio::test(start_paused = true)]
async fn a_follower_sees_every_event_once_and_in_order() {
    let world = World::new(Script::new(|_| Reply::After(Duration::from_secs(1), succeeded("{}"))));
    let runtime = world.open().await;
    let machine = create(&runtime, "m", TASK).await;
    let execution = "arn:aws:states:us-east-1:000000000000:execution:m:e";
    let mut early = runtime.follow(execution);
    start(&runtime, &machine, "e", "{}").await;
    let mut seen = Vec::new();
    loop {
        let event = early.next().await.unwrap();
        let end = matches!(event.kind, EventKind::ExecutionSucceeded { .. });
        seen.push(event.seq);
        if end {
            break;
        }
    }
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
    let mut late = runtime.follow(execution);
    for expected in seen {
        assert_eq!(late.next().await.unwrap().seq, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_execution_can_be_redriven_from_where_it_failed() {
    let replies = vec![Reply::Now(failed("Broken")), Reply::Now(succeeded("[2]"))];
    let world = World::new(Script::in_turn(replies));
    let runtime = world.open().await;
    let machine = create(&runtime, "m", TASK).await;
    let execution = start(&runtime, &machine, "e", "{}").await;
    assert_eq!(ended(&runtime, &execution).await.row.status, ExecutionStatus::Failed);
    let first = runtime.redrive_execution(&execution, Some("token".into())).await.unwrap();
    let again = runtime.redrive_execution(&execution, Some("token".into())).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(output(&runtime, &execution).await, "[2]");
    let description = runtime.describe_execution(&execution).await.unwrap();
    assert_eq!(description.row.redrive_count, 1);
    let refused = runtime.redrive_execution(&execution, None).await;
    assert!(matches!(refused, Err(Error::ExecutionNotRedrivable(_))), "{refused:?}");
    runtime.shutdown().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_admitted_is_throttled() {
    let mut world = World::new(Script::echo());
    world.config.admission_max = 0;
    let runtime = world.open().await;
    let refused = runtime.create_state_machine(&scope(), request("m", PASS)).await;
    assert!(matches!(refused, Err(Error::Throttling)));
}

#[tokio::test(start_paused = true)]
async fn a_resource_is_called_no_more_often_than_allowed_at_a_time() {
    let mut world = World::new(Script::new(|_| Reply::After(Duration::from_secs(1), succeeded("{}"))));
    world.config.in_flight_max = 2;
    let runtime = world.open().await;
    let machine = create(&runtime, "m", TASK).await;
    let mut executions = Vec::new();
    for n in 0..6 {
        executions.push(start(&runtime, &machine, &format!("e{n}"), "{}").await);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.script.run_count(), 2);
    for execution in &executions {
        runtime.wait_for_end(execution).await.unwrap();
    }
    assert_eq!(world.script.run_count(), 6);
}
