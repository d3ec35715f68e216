//! Map Runs in a small world: items in memory, children that end by a rule, in random order and told twice.
//!
//! After each step: replay is the live state, the record can be read back, no more children live than MaxConcurrency allows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use asl::entropy::{Entropy, SeededEntropy};
use asl::payload::Payload;
use asl::program::{Program, StateMachineType};
use asl::timestamp::Timestamp;
use engine::map_run::{
    ChildChange, ChildResult, ChildStatus, Item, MapRun, MapRunEffect, MapRunEvent, MapRunInput,
    MapRunInputKind, MapRunStart, MapRunStatus, Source, Unsuccessful, step,
};
use engine::{Decoder, DefinitionHash, Encoder, Failure, MapRunResult, Record, Start, TaskId};
use serde_json::{Value, json};

struct World<'p> {
    program: &'p Program,
    start: Arc<MapRunStart>,
    /// Items and end of each child, as its row says.
    rows: BTreeMap<u64, (u64, Option<ChildStatus>)>,
    map_run: MapRun,
    events: Vec<MapRunEvent>,
    inbox: Vec<MapRunInputKind>,
    dice: SeededEntropy,
    objects: Vec<Value>,
    rule: fn(u64) -> ChildResult,
    outputs: Vec<(u64, Payload)>,
    inputs: Vec<(u64, Payload)>,
    most_live: usize,
    result: Option<MapRunResult>,
}

fn program(map: Value) -> Program {
    let mut map = map;
    map["Type"] = json!("Map");
    map["End"] = json!(true);
    map["ItemProcessor"] = json!({ "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" },
        "StartAt": "Item", "States": { "Item": { "Type": "Pass", "End": true } } });
    let definition = json!({ "StartAt": "Each", "States": { "Each": map } }).to_string();
    asl::compile_stored(&definition, StateMachineType::Standard)
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn start(program: &Program, items: Option<Value>, input: Value) -> Arc<MapRunStart> {
    let parent = Start::of(
        "arn:aws:states:us-east-1:000000000000:stateMachine:Machine",
        "run",
        DefinitionHash([7; 32]),
        Payload::null(),
    );
    let state = program.states.iter().find(|state| &*state.name == "Each").expect("the Map").path.clone();
    Arc::new(MapRunStart {
        map_run_arn: "arn:aws:states:us-east-1:000000000000:mapRun:Machine/Each:id".into(),
        task: TaskId(4),
        redrive: 0,
        parent: Arc::new(parent),
        state,
        label: "Each".into(),
        items: items.map(Payload::from_value),
        input: Payload::from_value(input),
        context: Payload::from_value(json!({ "Execution": { "Name": "run" } })),
        variables: vec![("factor".into(), Payload::from_value(json!(3)))],
    })
}

impl<'p> World<'p> {
    fn new(
        program: &'p Program,
        start: Arc<MapRunStart>,
        rule: fn(u64) -> ChildResult,
        seed: u64,
    ) -> World<'p> {
        World {
            program,
            start,
            rows: BTreeMap::new(),
            map_run: MapRun::default(),
            events: Vec::new(),
            inbox: vec![MapRunInputKind::Started],
            dice: SeededEntropy::new(seed),
            objects: Vec::new(),
            rule,
            outputs: Vec::new(),
            inputs: Vec::new(),
            most_live: 0,
            result: None,
        }
    }

    fn run(&mut self) {
        for _ in 0..20_000 {
            if self.inbox.is_empty() {
                return;
            }
            let place = (self.dice.next_u64() % self.inbox.len() as u64) as usize;
            let kind = self.inbox.swap_remove(place);
            self.step(kind);
        }
        panic!("the Map Run does not come to rest");
    }

    fn step(&mut self, kind: MapRunInputKind) {
        let input = MapRunInput { at: Timestamp::from_epoch_millis(1), entropy: self.dice.next_u64(), kind };
        let source = Source { program: self.program, start: &self.start };
        let stepped = step(Some(source), &mut self.map_run, input, 50);
        if stepped.outcome.is_err() {
            assert!(stepped.events.is_empty(), "an ignored input left events");
        }
        for event in &stepped.events {
            let mut encoder = Encoder::default();
            event.encode(&mut encoder);
            let turn = encoder.finish();
            let decoded = MapRunEvent::decode(&mut Decoder::new(&turn.events, &turn.payloads));
            assert_eq!(decoded.as_ref(), Ok(event));
        }
        self.events.extend(stepped.events);
        if self.dice.next_u64().is_multiple_of(7) {
            self.events = vec![self.map_run.checkpoint(Timestamp::from_epoch_millis(1))];
        }
        stepped.children.into_iter().for_each(|change| self.write(change));
        assert_eq!(MapRun::replay(&self.events), self.map_run, "replay differs from the live state");
        self.most_live = self.most_live.max(self.map_run.counts().0.running as usize);
        if stepped.more {
            self.inbox.push(MapRunInputKind::Resumed);
        }
        for effect in stepped.effects {
            self.carry_out(effect);
        }
    }

    fn write(&mut self, change: ChildChange) {
        match change {
            ChildChange::Scheduled { index, start, items } => {
                assert!(self.rows.insert(index, (items, None)).is_none(), "scheduled twice");
                self.inputs.push((index, start.input.clone()));
            }
            ChildChange::Redriven { index, redrives } => {
                assert_eq!(redrives, self.start.redrive);
                let row = self.rows.get_mut(&index).expect("a row");
                assert!(!matches!(row.1.take(), None | Some(ChildStatus::Succeeded)), "redriven in vain");
            }
            ChildChange::Ended { index, result } => {
                let status = match result {
                    ChildResult::Succeeded(_) => ChildStatus::Succeeded,
                    ChildResult::Failed(_) => ChildStatus::Failed,
                    ChildResult::TimedOut(_) => ChildStatus::TimedOut,
                    ChildResult::Aborted => ChildStatus::Aborted,
                };
                assert_eq!(self.rows.get_mut(&index).expect("a row").1.replace(status), None, "ended twice");
            }
        }
    }

    fn carry_out(&mut self, effect: MapRunEffect) {
        match effect {
            MapRunEffect::ReadItems(read) => {
                let from = read.cursor.next_item;
                let chunk = read.at_least + self.dice.next_u64() % 7;
                let items: Vec<_> = self.objects.iter().skip(from as usize).take(chunk as usize).collect();
                let end = from as usize + items.len() >= self.objects.len();
                let positions = (from..).step_by(2).take(items.len()).map(|item| (item, json!(item)));
                let positions = positions.map(|(item, place)| (item, Payload::from_value(place))).collect();
                let items = items
                    .into_iter()
                    .map(|item| Item { value: Payload::from_value(item.clone()), source: "S3://b/k".into() })
                    .collect();
                let version = Some("etag".into());
                let read = MapRunInputKind::ItemsRead { from, items, positions, version, end };
                self.inbox.extend([read.clone(), read]);
            }
            MapRunEffect::FindUnsuccessful(find) => {
                let most = 1 + self.dice.next_u64() as usize % 3;
                let ended = self.rows.range(find.from..);
                let unsuccessful = ended.filter_map(|(index, (items, status))| match status {
                    None | Some(ChildStatus::Succeeded) => None,
                    Some(status) => Some(Unsuccessful {
                        index: *index,
                        items: *items,
                        status: *status,
                        redrives: find.redrive,
                    }),
                });
                let children: Vec<_> = unsuccessful.take(most).collect();
                let end = children.len() < most;
                let found = MapRunInputKind::UnsuccessfulFound {
                    redrive: find.redrive,
                    from: find.from,
                    children,
                    end,
                };
                self.inbox.extend([found.clone(), found]);
            }
            MapRunEffect::RunChild { index, redrives } => {
                let result = (self.rule)(index);
                if let ChildResult::Succeeded(_) = result {
                    let (_, input) = self.inputs.iter().find(|(known, _)| *known == index).expect("a child");
                    self.outputs.push((index, input.clone()));
                }
                let ended = MapRunInputKind::ChildEnded { index, redrives: Some(redrives), result };
                self.inbox.extend([ended.clone(), ended]);
            }
            MapRunEffect::StopChild { index, .. } => {
                let result = ChildResult::Aborted;
                self.inbox.push(MapRunInputKind::ChildEnded { index, redrives: None, result });
            }
            MapRunEffect::WriteResults(write) => {
                self.outputs.sort_by_key(|(index, _)| *index);
                let outputs: Vec<_> = self.outputs.iter().map(|(_, output)| output.value().clone()).collect();
                let result = Ok(Payload::from_value(json!(outputs)));
                self.inbox.push(MapRunInputKind::ResultsWritten { redrive: write.redrive, result });
            }
            MapRunEffect::Ended { result, .. } => {
                assert_eq!(self.result, None, "told twice");
                self.result = Some(result);
            }
        }
    }
}

fn well(_: u64) -> ChildResult {
    ChildResult::Succeeded(Payload::null())
}

fn every_fifth_fails(index: u64) -> ChildResult {
    if index % 5 == 4 { ChildResult::Failed(Failure::named("Rotten")) } else { well(index) }
}

fn numbers(count: usize) -> Vec<Value> {
    (0..count).map(|number| json!(number)).collect()
}

#[test]
fn items_of_the_state_reach_children_in_order_within_the_concurrency() {
    let program = program(json!({ "ItemsPath": "$.items", "MaxConcurrency": 3,
        "ItemSelector": { "n.$": "$$.Map.Item.Value", "from.$": "$$.Map.Item.Source", "f.$": "$factor", "of.$": "$.name" } }));
    let items = json!(numbers(40));
    for seed in 0..20 {
        let start = start(&program, Some(items.clone()), json!({ "items": items, "name": "x" }));
        let mut world = World::new(&program, start, well, seed);
        world.run();
        assert_eq!(world.map_run.status(), MapRunStatus::Succeeded);
        assert!(world.most_live <= 3);
        let expected: Vec<_> =
            (0..40).map(|n| json!({ "n": n, "from": "STATE_DATA", "f": 3, "of": "x" })).collect();
        assert_eq!(world.result, Some(MapRunResult::Succeeded(Payload::from_value(json!(expected)))));
        assert_eq!(world.map_run.counts().1.succeeded, 40);
    }
}

#[test]
fn members_of_an_object_are_items_with_key_and_value() {
    let selectors = [
        (json!({ "ItemSelector": { "k.$": "$$.Map.Item.Key", "v.$": "$$.Map.Item.Value" } }), ["k", "v"]),
        (json!({}), ["Key", "Value"]),
    ];
    for (fields, [key, value]) in selectors {
        let program = program(fields);
        let items = json!({ "a": 1, "b": { "Key": "c", "Value": 2 } });
        let mut world = World::new(&program, start(&program, Some(items.clone()), items), well, 7);
        world.run();
        let expected = json!([{ key: "a", value: 1 }, { key: "b", value: { "Key": "c", "Value": 2 } }]);
        assert_eq!(world.result, Some(MapRunResult::Succeeded(Payload::from_value(expected))));
    }
}

#[test]
fn a_reader_is_asked_again_for_what_had_no_room() {
    let program =
        program(json!({ "MaxConcurrency": 2, "ItemReader": { "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": { "InputType": "JSON" }, "Parameters": { "Bucket": "b", "Key": "k" } } }));
    for seed in 0..50 {
        let mut world = World::new(&program, start(&program, None, json!({})), well, seed);
        world.objects = numbers(30);
        world.run();
        assert_eq!(world.result, Some(MapRunResult::Succeeded(Payload::from_value(json!(numbers(30))))));
        let started: BTreeSet<u64> = world.inputs.iter().map(|(index, _)| *index).collect();
        assert_eq!(started.len(), world.inputs.len(), "a child was started twice");
        assert!(world.most_live <= 2);
    }
}

#[test]
fn batches_hold_so_many_items_and_the_batch_input() {
    let program = program(json!({ "ItemsPath": "$.items", "ItemBatcher": { "MaxItemsPerBatch": 4,
        "BatchInput": { "name.$": "$.name" } } }));
    let items = json!(numbers(10));
    let start = start(&program, Some(items.clone()), json!({ "items": items, "name": "x" }));
    let mut world = World::new(&program, start, well, 1);
    world.run();
    world.inputs.sort_by_key(|(index, _)| *index);
    let inputs: Vec<_> = world.inputs.iter().map(|(_, input)| input.value().clone()).collect();
    assert_eq!(
        inputs,
        [
            json!({ "BatchInput": { "name": "x" }, "Items": [0, 1, 2, 3] }),
            json!({ "BatchInput": { "name": "x" }, "Items": [4, 5, 6, 7] }),
            json!({ "BatchInput": { "name": "x" }, "Items": [8, 9] }),
        ]
    );
    let (executions, items) = world.map_run.counts();
    assert_eq!((executions.succeeded, items.succeeded), (3, 10));
}

#[test]
fn a_batch_is_as_long_as_its_bytes_allow_to_the_last_byte() {
    // Three items of two bytes: {"Items":[10,11,12]} is 20 bytes long.
    for (bytes, lengths) in [(20, vec![3, 3, 1]), (19, vec![2, 2, 2, 1]), (1, vec![1; 7])] {
        let program =
            program(json!({ "ItemsPath": "$.items", "ItemBatcher": { "MaxInputBytesPerBatch": bytes } }));
        let items = json!((10..17).collect::<Vec<_>>());
        let start = start(&program, Some(items.clone()), json!({ "items": items }));
        let mut world = World::new(&program, start, well, 1);
        world.run();
        world.inputs.sort_by_key(|(index, _)| *index);
        let found: Vec<_> = world.inputs.iter().map(|(_, input)| input.value()["Items"].as_array()).collect();
        let found: Vec<_> = found.into_iter().flatten().map(Vec::len).collect();
        assert_eq!(found, lengths, "{bytes}");
    }
}

#[test]
fn failures_within_the_tolerance_leave_it_successful_and_beyond_stop_it() {
    let cases = [
        (json!({ "ToleratedFailureCount": 4 }), MapRunStatus::Succeeded),
        (json!({ "ToleratedFailureCount": 3 }), MapRunStatus::Failed),
        (json!({ "ToleratedFailurePercentage": 20 }), MapRunStatus::Succeeded),
        (json!({ "ToleratedFailurePercentage": 19 }), MapRunStatus::Failed),
        (json!({ "ToleratedFailurePercentage": 50, "ToleratedFailureCount": 1 }), MapRunStatus::Failed),
        (json!({}), MapRunStatus::Failed),
    ];
    for (fields, status) in cases {
        let mut map = fields.clone();
        map["ItemsPath"] = json!("$.items");
        map["MaxConcurrency"] = json!(6);
        let program = program(map);
        let items = json!(numbers(20));
        for seed in 0..10 {
            let start = start(&program, Some(items.clone()), json!({ "items": items }));
            let mut world = World::new(&program, start, every_fifth_fails, seed);
            world.run();
            assert_eq!(world.map_run.status(), status, "{fields}");
            assert_eq!(world.map_run.counts().0.running, 0, "a child was left");
            if status == MapRunStatus::Failed {
                let cause = "The specified tolerated failure threshold was exceeded";
                let failure = Failure::new("States.ExceedToleratedFailureThreshold", cause);
                assert_eq!(world.result, Some(MapRunResult::Failed(failure)));
            }
        }
    }
}

#[test]
fn a_stop_waits_for_its_children_to_be_stopped() {
    let program = program(json!({ "ItemsPath": "$.items", "MaxConcurrency": 5 }));
    let items = json!(numbers(20));
    let start = start(&program, Some(items.clone()), json!({ "items": items }));
    let mut world = World::new(&program, start, well, 3);
    let begin = world.inbox.remove(0);
    world.step(begin);
    world.inbox.clear();
    world.step(MapRunInputKind::StopRequested);
    assert_eq!(world.map_run.status(), MapRunStatus::Running);
    assert_eq!(world.map_run.outstanding().len(), 5);
    world.run();
    assert_eq!(world.result, Some(MapRunResult::Aborted));
    assert_eq!(world.map_run.counts().0.aborted, 5);
}

#[test]
fn a_failing_reader_fails_it_in_the_readers_words() {
    let program = program(json!({ "ItemReader": { "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": { "InputType": "JSON" }, "Parameters": { "Bucket": "b", "Key": "k" } } }));
    let mut world = World::new(&program, start(&program, None, json!({})), well, 3);
    let begin = world.inbox.remove(0);
    world.step(begin);
    world.inbox.clear();
    let failure = Failure::new("States.ItemReaderFailed", "Attempting to map over non-iterable node.");
    world.step(MapRunInputKind::ReadFailed(failure.clone()));
    assert_eq!(world.result, Some(MapRunResult::Failed(failure)));
}

#[test]
fn a_redrive_lets_only_those_go_on_that_did_not_succeed_and_then_the_rest() {
    for seed in 0..40 {
        let program =
            program(json!({ "ItemsPath": "$.items", "MaxConcurrency": 4, "ToleratedFailureCount": 2 }));
        let items = json!(numbers(30));
        let began = start(&program, Some(items.clone()), json!({ "items": items }));
        let mut world = World::new(&program, began, every_fifth_fails, seed);
        world.run();
        assert_eq!(world.map_run.status(), MapRunStatus::Failed);
        let succeeded = world.map_run.counts().0.succeeded;
        let again = MapRunInputKind::Redriven;
        world.step(again.clone());
        assert_eq!(world.map_run.status(), MapRunStatus::Failed, "a redrive of the same number");
        world.start =
            Arc::new(MapRunStart { redrive: 1, task: TaskId(9), ..MapRunStart::clone(&world.start) });
        world.rule = well;
        world.result = None;
        let before = world.outputs.len();
        world.step(again);
        let counts = world.map_run.counts().0;
        assert_eq!((counts.succeeded, counts.failed), (succeeded, 0), "those that failed are pending");
        world.run();
        assert_eq!(world.map_run.status(), MapRunStatus::Succeeded);
        let (executions, of_items) = world.map_run.counts();
        assert_eq!((executions.succeeded, executions.failed, of_items.succeeded), (30, 0, 30));
        assert_eq!(world.inputs.len(), 30, "each item is one child");
        assert_eq!(world.outputs.len() - before, 30 - succeeded as usize);
    }
}

/// A repetition of what was told before a redrive came after it and was taken for its outcome: the child counted as ended, and
/// nobody waited for it. (Seeds 441, 443, 507 and 593 of the simulator.)
#[test]
fn what_is_told_again_of_before_a_redrive_is_not_taken_for_after_it() {
    let program = program(json!({ "ItemsPath": "$.items", "MaxConcurrency": 1 }));
    let items = json!(numbers(3));
    let began = start(&program, Some(items.clone()), json!({ "items": items }));
    let mut world = World::new(&program, began, |_| ChildResult::Failed(Failure::named("Rotten")), 1);
    world.run();
    assert_eq!(world.map_run.status(), MapRunStatus::Failed);
    world.start = Arc::new(MapRunStart { redrive: 1, task: TaskId(9), ..MapRunStart::clone(&world.start) });
    (world.rule, world.result) = (well, None);
    world.step(MapRunInputKind::Redriven);
    let found = world.inbox.pop().expect("what a search found");
    world.inbox.clear();
    world.step(found);
    assert_eq!(world.map_run.live().collect::<Vec<_>>(), [0]);
    let late = [
        MapRunInputKind::ChildEnded { index: 0, redrives: Some(0), result: ChildResult::Aborted },
        MapRunInputKind::ChildEnded { index: 0, redrives: None, result: ChildResult::Aborted },
        MapRunInputKind::UnsuccessfulFound { redrive: 0, from: 1, children: Vec::new(), end: true },
        MapRunInputKind::ReadFailed(Failure::named("States.ItemReaderFailed")),
        MapRunInputKind::ResultsWritten { redrive: 0, result: Ok(Payload::null()) },
    ];
    for kind in late {
        let standing = |map_run: &MapRun| (map_run.status(), map_run.counts(), map_run.outstanding());
        let before = standing(&world.map_run);
        world.step(kind.clone());
        assert_eq!(standing(&world.map_run), before, "{kind:?}");
    }
    world.run();
    assert_eq!(world.result, Some(MapRunResult::Succeeded(Payload::from_value(items))));
}

#[test]
fn a_redrive_without_children_reads_from_the_beginning() {
    let program =
        program(json!({ "MaxConcurrency": 2, "ItemReader": { "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": { "InputType": "JSON" }, "Parameters": { "Bucket": "b", "Key": "k" } } }));
    let mut world = World::new(&program, start(&program, None, json!({})), well, 3);
    world.objects = numbers(9);
    let begin = world.inbox.remove(0);
    world.step(begin);
    world.inbox.clear();
    world.step(MapRunInputKind::ReadFailed(Failure::named("States.ItemReaderFailed")));
    assert_eq!(world.map_run.status(), MapRunStatus::Failed);
    world.start = Arc::new(MapRunStart { redrive: 1, task: TaskId(9), ..MapRunStart::clone(&world.start) });
    world.result = None;
    world.step(MapRunInputKind::Redriven);
    world.run();
    assert_eq!((world.map_run.status(), world.map_run.counts().1.succeeded), (MapRunStatus::Succeeded, 9));
}

#[test]
fn batches_are_full_wherever_the_pages_end() {
    let reader = json!({ "Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": { "InputType": "JSON" },
        "Parameters": { "Bucket": "b", "Key": "k" } });
    let program = program(
        json!({ "ItemReader": reader, "MaxConcurrency": 2, "ItemBatcher": { "MaxItemsPerBatch": 10 } }),
    );
    for seed in 0..20 {
        let mut world = World::new(&program, start(&program, None, json!({})), well, seed);
        world.objects = numbers(95);
        world.run();
        let sizes: Vec<u64> = world.rows.values().map(|(items, _)| *items).collect();
        assert_eq!(sizes, [10, 10, 10, 10, 10, 10, 10, 10, 10, 5]);
    }
}

#[test]
fn a_checkpoint_is_small_however_many_children_live() {
    let program = program(json!({ "ItemsPath": "$.items" }));
    let items = json!(numbers(20_000));
    let start = start(&program, Some(items.clone()), json!({ "items": items }));
    let mut world = World::new(&program, start, well, 5);
    let (at, entropy) = (Timestamp::from_epoch_millis(1), 7);
    let source = Source { program: &program, start: &world.start };
    let input = MapRunInput { at, entropy, kind: MapRunInputKind::Started };
    step(Some(source), &mut world.map_run, input, 100_000);
    assert_eq!((world.map_run.live().count(), world.map_run.room()), (10_000, 0));
    let mut encoder = Encoder::default();
    world.map_run.checkpoint(at).encode(&mut encoder);
    let bytes = encoder.finish().events.len();
    assert!(bytes < 64 << 10, "{bytes}");
}
