//! The journal of a Map Run stays below 1 MiB, whatever is in it.

use std::collections::VecDeque;
use std::sync::Arc;

use asl::payload::Payload;
use asl::program::StateMachineType;
use asl::timestamp::Timestamp;
use engine::TaskId;
use engine::map_run::{
    ChildResult, Item, MapRunEffect, MapRunEvent, MapRunInputKind, MapRunStart, MapRunStatus,
};
use runtime::ItemsReport;
use runtime::map_run::{Origin, ResidentMapRun};
use serde_json::json;
use store::{Batch, MemoryStore, Store, map_run_turn};
use testkit::start_of;

const JOURNAL_MAX: usize = 1 << 20;
const ITEMS: u64 = 30_000;
const ARN: &str = "arn:aws:states:us-east-1:000000000000:mapRun:m/Each:id";

/// As many children at a time as AWS allows, positions of a kilobyte, arguments as large as a payload may be.
fn origin(concurrency: u64) -> Origin {
    let definition = json!({ "StartAt": "Each", "States": { "Each": {
        "Type": "Map", "End": true, "MaxConcurrency": concurrency,
        "ItemReader": { "Resource": "arn:aws:states:::s3:listObjectsV2",
            "Parameters": { "Bucket": "b", "Prefix.$": "$.large" } },
        "ResultWriter": { "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": { "Bucket": "b", "Prefix.$": "$.large" } },
        "ItemProcessor": { "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS" },
            "StartAt": "Item", "States": { "Item": { "Type": "Pass", "End": true } } } } } });
    let program =
        asl::compile_stored(&definition.to_string(), StateMachineType::Standard).expect("a definition");
    let state = program.states.iter().find(|state| &*state.name == "Each").expect("the Map").path.clone();
    let input = Payload::from_value(json!({ "large": "x".repeat(250_000) }));
    let start = MapRunStart {
        map_run_arn: ARN.into(),
        task: TaskId(4),
        redrive: 0,
        parent: Arc::new(start_of(input.clone(), StateMachineType::Standard)),
        state,
        label: "Each".into(),
        items: None,
        input,
        context: Payload::from_value(json!({})),
        variables: Vec::new(),
    };
    Origin { program: Arc::new(program), start: Arc::new(start) }
}

fn bytes(turns: &mut VecDeque<usize>, events: &[MapRunEvent]) -> usize {
    if map_run_turn::is_checkpoint(events) {
        turns.clear();
    }
    turns.push_back(map_run_turn::encode(store::ScopeId(1), ARN, events).expect("a turn").len());
    turns.iter().sum()
}

fn largest_journal(concurrency: u64) -> usize {
    let mut store = MemoryStore::new();
    let mut run = ResidentMapRun::new(ARN.into(), &[], None);
    run.set_origin(origin(concurrency));
    run.offer(MapRunInputKind::Started, None);
    let (mut live, mut turns, mut largest, mut draws) = (VecDeque::new(), VecDeque::new(), 0, 0);
    let token = "t".repeat(1_000);
    while run.state().status() == MapRunStatus::Running {
        let draw = &mut || {
            draws += 1;
            draws
        };
        let batch = run.take_batch(Timestamp::from_epoch_millis(1), draw, 2_000).expect("something to do");
        for turn in &batch.map_runs {
            largest = largest.max(bytes(&mut turns, &turn.events));
        }
        // The rows of the children are not what is measured.
        store.append(&Batch { items: Vec::new(), ..batch }).expect("a commit");
        for effect in run.committed().effects {
            match effect {
                MapRunEffect::RunChild { index, .. } => live.push_back(index),
                MapRunEffect::ReadItems(read) => {
                    let mut next = run.read(&read);
                    while let Some(read) = next {
                        let first = read.cursor.next_item;
                        let last = (first + 1_000).min(ITEMS);
                        next = run.page(Ok(ItemsReport {
                            items: (first..last)
                                .map(|item| Item {
                                    value: Payload::from_value(json!(item)),
                                    source: "S3://items/all".into(),
                                })
                                .collect(),
                            position: Some(Payload::from_value(json!({ "Token": format!("{token}{last}") }))),
                            version: None,
                            end: last == ITEMS,
                        }));
                    }
                }
                MapRunEffect::WriteResults(write) => {
                    let result = Payload::from_value(json!("x".repeat(250_000)));
                    run.offer(
                        MapRunInputKind::ResultsWritten { redrive: write.redrive, result: Ok(result) },
                        None,
                    );
                }
                MapRunEffect::FindUnsuccessful(_)
                | MapRunEffect::StopChild { .. }
                | MapRunEffect::Ended { .. } => {}
            }
        }
        // One end a turn: the most turns there can be.
        if !run.is_ready()
            && let Some(index) = live.pop_front()
        {
            let result = ChildResult::Succeeded(Payload::null());
            run.offer(MapRunInputKind::ChildEnded { index, redrives: Some(0), result }, None);
        }
    }
    assert_eq!(run.state().counts().1.succeeded, ITEMS);
    let replayed = engine::map_run::MapRun::replay(&store.reader().map_run_events(ARN).expect("a journal"));
    assert_eq!(&replayed, run.state());
    largest
}

#[test]
fn the_journal_of_a_map_run_stays_below_a_mebibyte() {
    for concurrency in [3, 10_000] {
        let largest = largest_journal(concurrency);
        assert!(largest < JOURNAL_MAX, "{largest} bytes with {concurrency} children at a time");
    }
}
