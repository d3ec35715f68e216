//! Distributed Maps: children are executions, joined by at-least-once messages.

mod support;

use std::time::Duration;

use engine::Failure;
use engine::map_run::MapRunStatus;
use runtime::{
    Error, ExecutionResult, ExecutionStatus, ListBy, ListExecutions, PageRequest, Runtime, UpdateMapRun,
};
use support::*;

fn machine(fields: &str, child_type: &str) -> String {
    format!(
        r#"{{"StartAt": "Each", "States": {{"Each": {{"Type": "Map", "End": true, "Label": "each", {fields}
        "ItemsPath": "$.items", "ItemSelector": {{"item.$": "$$.Map.Item.Value"}},
        "ItemProcessor": {{"ProcessorConfig": {{"Mode": "DISTRIBUTED", "ExecutionType": "{child_type}"}},
            "StartAt": "T", "States": {{"T": {{"Type": "Task", "End": true, "OutputPath": "$.item",
                "Resource": "arn:aws:states:::lambda:invoke", "ResultPath": null,
                "Parameters": {{"FunctionName": "f", "Payload.$": "$.item"}}}}}}}}}}}}}}"#
    )
}

const ITEMS: &str = r#"{"items": [10, 20, 30, 40, 50]}"#;

async fn children(runtime: &Runtime, map_run: &str) -> Vec<store::ExecutionRow> {
    let by = ListBy::MapRun(map_run.into());
    let list = ListExecutions { by, status: None, redriven: None, page: PageRequest::default() };
    runtime.list_executions(list).await.unwrap().executions
}

async fn map_run_of(runtime: &Runtime, execution: &str) -> std::sync::Arc<str> {
    runtime.list_map_runs(execution).await.unwrap()[0].map_run_arn.clone()
}

#[tokio::test(start_paused = true)]
async fn every_item_is_a_child_and_the_outputs_come_in_order() {
    for child_type in ["STANDARD", "EXPRESS"] {
        let world = World::new(Script::new(|_| Reply::After(Duration::from_secs(1), succeeded("{}"))));
        let runtime = world.open().await;
        let machine = create(&runtime, "m", &machine(r#""MaxConcurrency": 2,"#, child_type)).await;
        let execution = start(&runtime, &machine, "e", ITEMS).await;
        assert_eq!(output(&runtime, &execution).await, "[10,20,30,40,50]", "{child_type}");
        let row = runtime.describe_execution(&execution).await.unwrap().row;
        assert_eq!(row.stop.unwrap().since(row.start).as_secs(), 3, "two at a time");
        let listed = runtime.list_map_runs(&execution).await.unwrap();
        assert!(
            listed[0].stop_date.is_some() && listed[0].state_machine_arn.ends_with(":stateMachine:m/each")
        );
        let described = runtime.describe_map_run(&listed[0].map_run_arn).await.unwrap();
        assert_eq!(described.status, MapRunStatus::Succeeded);
        assert_eq!((described.executions.succeeded, described.items.results_written), (5, 5));
        if child_type == "STANDARD" {
            assert_eq!(children(&runtime, &listed[0].map_run_arn).await.len(), 5);
        }
        let late = runtime.update_map_run(&listed[0].map_run_arn, UpdateMapRun::default()).await;
        assert!(matches!(
            late,
            Err(Error::Validation { reason: Some("CANNOT_UPDATE_COMPLETED_MAP_RUN"), .. })
        ));
        runtime.shutdown().await;
        world.check();
    }
}

#[tokio::test(start_paused = true)]
async fn one_failure_too_many_fails_the_map_run_and_stops_the_others() {
    let world = World::new(Script::new(|call| match call.arguments.text().contains("20") {
        true => Reply::Now(failed("Broken")),
        false => Reply::Never,
    }));
    let runtime = world.open().await;
    let machine = create(&runtime, "m", &machine("", "STANDARD")).await;
    let execution = start(&runtime, &machine, "e", ITEMS).await;
    let description = ended(&runtime, &execution).await;
    let Some(ExecutionResult::Failed(failure)) = description.result else { panic!("{description:?}") };
    assert_eq!(failure.error(), "States.ExceedToleratedFailureThreshold");
    let map_run = map_run_of(&runtime, &execution).await;
    let rows = children(&runtime, &map_run).await;
    assert!(rows.iter().all(|row| row.status != ExecutionStatus::Running), "{rows:?}");
    let described = runtime.describe_map_run(&map_run).await.unwrap();
    assert_eq!((described.status, described.executions.failed), (MapRunStatus::Failed, 1));
    runtime.shutdown().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn tolerated_failures_leave_a_gap_in_the_result() {
    let world = World::new(Script::new(|call| match call.arguments.text().contains("20") {
        true => Reply::Now(failed("Broken")),
        false => Reply::Now(succeeded("{}")),
    }));
    let runtime = world.open().await;
    let machine = create(&runtime, "m", &machine(r#""ToleratedFailureCount": 1,"#, "STANDARD")).await;
    let execution = start(&runtime, &machine, "e", ITEMS).await;
    assert_eq!(output(&runtime, &execution).await, "[10,30,40,50]");
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_the_middle_starts_no_child_twice() {
    let world = World::new(Script::new(|_| Reply::After(Duration::from_secs(10), succeeded("{}"))));
    let runtime = world.open().await;
    let machine = create(&runtime, "m", &machine(r#""MaxConcurrency": 2,"#, "STANDARD")).await;
    let execution = start(&runtime, &machine, "e", ITEMS).await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    drop(runtime);
    let runtime = world.open().await;
    assert_eq!(output(&runtime, &execution).await, "[10,20,30,40,50]");
    let rows = children(&runtime, &map_run_of(&runtime, &execution).await).await;
    assert_eq!(rows.len(), 5, "{rows:?}");
    runtime.shutdown().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn stopping_the_parent_stops_the_children_also_over_a_crash() {
    for crash in [false, true] {
        let world = World::new(Script::new(|_| Reply::Never));
        let runtime = world.open().await;
        let machine = create(&runtime, "m", &machine("", "STANDARD")).await;
        let execution = start(&runtime, &machine, "e", ITEMS).await;
        settle().await;
        let map_run = map_run_of(&runtime, &execution).await;
        assert_eq!(children(&runtime, &map_run).await.len(), 5);
        runtime.stop_execution(&execution, Failure::default()).await.unwrap();
        let runtime = match crash {
            false => runtime,
            true => {
                drop(runtime);
                world.open().await
            }
        };
        tokio::time::sleep(Duration::from_secs(5)).await;
        let rows = children(&runtime, &map_run).await;
        assert!(rows.iter().all(|row| row.status == ExecutionStatus::Aborted), "{rows:?}");
        runtime.shutdown().await;
        let reader = store::Store::reader(&world.store.reopen());
        assert!(reader.open(None, None, 10).unwrap().is_empty(), "nothing is owed any more");
        world.check();
    }
}

#[tokio::test(start_paused = true)]
async fn a_redrive_goes_on_with_the_children_that_did_not_succeed() {
    let broken = std::sync::atomic::AtomicBool::new(true);
    let world = World::new(Script::new(move |call| {
        let first =
            call.arguments.text().contains("20") && broken.swap(false, std::sync::atomic::Ordering::SeqCst);
        if first {
            Reply::After(Duration::from_secs(1), failed("Broken"))
        } else {
            Reply::Now(succeeded("{}"))
        }
    }));
    let runtime = world.open().await;
    let machine = create(&runtime, "m", &machine("", "STANDARD")).await;
    let execution = start(&runtime, &machine, "e", ITEMS).await;
    assert_eq!(ended(&runtime, &execution).await.row.status, ExecutionStatus::Failed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    runtime.redrive_execution(&execution, None).await.unwrap();
    assert_eq!(output(&runtime, &execution).await, "[10,20,30,40,50]");
    let rows = children(&runtime, &map_run_of(&runtime, &execution).await).await;
    assert_eq!((rows.len(), world.script.run_count()), (5, 6), "only the one that failed ran again");
    runtime.shutdown().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn what_update_map_run_was_answered_survives_a_crash() {
    let world = World::new(Script::new(|_| Reply::After(Duration::from_secs(10), succeeded("{}"))));
    let runtime = world.open().await;
    let machine = create(&runtime, "m", &machine(r#""MaxConcurrency": 1,"#, "STANDARD")).await;
    let execution = start(&runtime, &machine, "e", ITEMS).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let map_run = map_run_of(&runtime, &execution).await;
    let update = UpdateMapRun {
        max_concurrency: Some(4),
        tolerated_failure_count: Some(3),
        tolerated_failure_percentage: Some(12.5),
    };
    runtime.update_map_run(&map_run, update).await.unwrap();
    drop(runtime);
    let runtime = world.open().await;
    let described = runtime.describe_map_run(&map_run).await.unwrap();
    assert_eq!(described.thresholds.max_concurrency, 4);
    assert_eq!(described.thresholds.tolerated_failure_count, Some(3));
    assert_eq!(described.thresholds.tolerated_failure_millionths, Some(12_500_000));
    runtime
        .update_map_run(&map_run, UpdateMapRun { max_concurrency: Some(5), ..UpdateMapRun::default() })
        .await
        .unwrap();
    assert_eq!(output(&runtime, &execution).await, "[10,20,30,40,50]");
    let row = runtime.describe_execution(&execution).await.unwrap().row;
    assert!(row.stop.unwrap().since(row.start).as_secs() <= 30, "four at a time after the first");
    runtime.shutdown().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn an_ended_map_run_is_described_by_the_next_process_as_by_the_one_before() {
    for child_type in ["STANDARD", "EXPRESS"] {
        let world = World::new(Script::new(|call| match call.arguments.text().contains("20") {
            true => Reply::Now(failed("Broken")),
            false => Reply::Now(succeeded("{}")),
        }));
        let runtime = world.open().await;
        let machine = create(&runtime, "m", &machine(r#""ToleratedFailureCount": 1,"#, child_type)).await;
        let execution = start(&runtime, &machine, "e", ITEMS).await;
        ended(&runtime, &execution).await;
        let listed = runtime.list_map_runs(&execution).await.unwrap();
        let described = runtime.describe_map_run(&listed[0].map_run_arn).await.unwrap();
        assert_eq!((described.status, described.executions.failed), (MapRunStatus::Succeeded, 1));
        drop(runtime);
        let runtime = world.open().await;
        assert_eq!(runtime.list_map_runs(&execution).await.unwrap(), listed);
        assert_eq!(runtime.describe_map_run(&listed[0].map_run_arn).await.unwrap(), described);
        runtime.shutdown().await;
        world.check();
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_the_middle_runs_express_children_again_that_had_not_ended() {
    let world = World::new(Script::new(|_| Reply::After(Duration::from_secs(10), succeeded("{}"))));
    let runtime = world.open().await;
    let machine = create(&runtime, "m", &machine(r#""MaxConcurrency": 2,"#, "EXPRESS")).await;
    let execution = start(&runtime, &machine, "e", ITEMS).await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(world.script.run_count(), 4);
    drop(runtime);
    let runtime = world.open().await;
    assert_eq!(output(&runtime, &execution).await, "[10,20,30,40,50]");
    assert_eq!(world.script.run_count(), 7, "those under way ran twice");
    let described = runtime.describe_map_run(&map_run_of(&runtime, &execution).await).await.unwrap();
    assert_eq!((described.executions.total, described.executions.succeeded), (5, 5));
    runtime.shutdown().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_redrive_is_counted_and_survives_a_crash() {
    for child_type in ["STANDARD", "EXPRESS"] {
        let world = World::new(Script::new(|call| match call.arguments.text() {
            text if !text.contains("20") => Reply::Now(succeeded("{}")),
            _ => Reply::After(Duration::from_secs(2), failed("Broken")),
        }));
        let runtime = world.open().await;
        let machine = create(&runtime, "m", &machine("", child_type)).await;
        let execution = start(&runtime, &machine, "e", ITEMS).await;
        assert_eq!(ended(&runtime, &execution).await.row.status, ExecutionStatus::Failed);
        let map_run = map_run_of(&runtime, &execution).await;
        let runs = world.script.run_count();
        tokio::time::sleep(Duration::from_secs(1)).await;
        runtime.redrive_execution(&execution, None).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let described = runtime.describe_map_run(&map_run).await.unwrap();
        assert_eq!((described.status, described.redrive_count), (MapRunStatus::Running, 1), "{child_type}");
        assert_eq!((described.executions.running, described.executions.succeeded), (1, 4));
        drop(runtime);
        let runtime = world.open().await;
        assert_eq!(ended(&runtime, &execution).await.row.status, ExecutionStatus::Failed);
        let described = runtime.describe_map_run(&map_run).await.unwrap();
        assert_eq!((described.status, described.redrive_count), (MapRunStatus::Failed, 1));
        assert_eq!((described.executions.failed, described.executions.total), (1, 5));
        assert_eq!(world.script.run_count(), runs + 2, "only the child that failed, again after the crash");
        runtime.shutdown().await;
        world.check();
    }
}
