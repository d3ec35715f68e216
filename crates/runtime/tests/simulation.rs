//! Random work on one shard with crashes, failing commits, duplicates and late inputs: whatever happens, executions end as
//! they would have, no effect leaves before its commit, and the derived rows are those of the journal.

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use asl::program::StateMachineType;
use asl::timestamp::Timestamp;
use engine::{Effect, Execution, Failure, InputKind, Limits, Stage, Start, TaskId};
use runtime::shard::{Naming, Offer, Prepared, Released, Shard, ShardConfig};
use runtime::{Compilers, Programs, Seeds, hash};
use store::{Batch, Definition, Fault, MemoryStore, Store};
use support::*;

const FAN: &str = r#"{"StartAt": "Fan", "States": {
    "Fan": {"Type": "Parallel", "Next": "Rest",
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.caught", "Next": "Rest"}],
        "Branches": [
            {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "arn:aws:states:::ecs:runTask.sync",
                "Parameters": {"TaskDefinition": "a"}, "ResultSelector": {"a.$": "$.n"}, "End": true}}},
            {"StartAt": "B", "States": {"B": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
                "Parameters": {"FunctionName": "b"}, "End": true,
                "Retry": [{"ErrorEquals": ["Flaky"], "IntervalSeconds": 3, "MaxAttempts": 5, "BackoffRate": 1.0}]}}},
            {"StartAt": "C", "States": {"C": {"Type": "Wait", "Seconds": 7, "End": true}}}]},
    "Rest": {"Type": "Wait", "Seconds": 30, "Next": "Last"},
    "Last": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "TimeoutSeconds": 100,
        "Parameters": {"FunctionName": "last", "Payload.$": "$"}, "End": true}}}"#;

const MAP: &str = r#"{"StartAt": "Each", "TimeoutSeconds": 900, "States": {"Each": {"Type": "Map", "ItemsPath": "$.items",
    "MaxConcurrency": 2, "End": true, "ItemProcessor": {"StartAt": "One", "States": {
        "One": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": "each"},
            "Next": "Nap"},
        "Nap": {"Type": "Wait", "Seconds": 2, "End": true}}}}}}"#;

/// A small deterministic source of chance.
struct Chance(Seeds);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0.draw() % n
    }
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

struct Simulation {
    store: MemoryStore,
    shard: Shard,
    programs: Arc<Programs>,
    now: Timestamp,
    chance: Chance,
    faults: bool,
    /// Batches taken and not yet committed.
    pending: Vec<Prepared>,
    /// Inputs that the world will send.
    world: Vec<(Timestamp, Arc<str>, InputKind)>,
    /// How often each call was made; a start call that was submitted must not be made again.
    calls: HashMap<(Arc<str>, TaskId), u32>,
    submitted: BTreeSet<(Arc<str>, TaskId)>,
    crashes: u32,
}

impl Simulation {
    fn new(seed: u64, faults: bool) -> Simulation {
        let mut store = MemoryStore::new();
        let definitions =
            [FAN, MAP].map(|text| Definition { scope: scope(), hash: hash(text), text: text.into() });
        store.append(&Batch { definitions: definitions.into(), ..Batch::default() }).expect("an append");
        let compilers = Compilers::with_catalog(Arc::new(asl::resource::AnyResource));
        let programs = Arc::new(Programs::new(store.reader(), compilers));
        let shard = shard(&store, &programs);
        Simulation {
            store,
            shard,
            programs,
            now: Timestamp::from_epoch_millis(1_700_000_000_000),
            chance: Chance(Seeds::new(Some(seed))),
            faults,
            pending: Vec::new(),
            world: Vec::new(),
            calls: HashMap::new(),
            submitted: BTreeSet::new(),
            crashes: 0,
        }
    }

    fn start(&mut self, n: u64) {
        let definition = if n.is_multiple_of(2) { FAN } else { MAP };
        let start = Arc::new(Start {
            execution_arn: format!("arn:aws:states:us-east-1:000000000000:execution:m:e{n}").into(),
            name: format!("e{n}").into(),
            state_machine_arn: "arn:aws:states:us-east-1:000000000000:stateMachine:m".into(),
            state_machine_name: "m".into(),
            version_arn: None,
            alias_arn: None,
            role_arn: "arn:aws:iam::000000000000:role/r".into(),
            definition: hash(definition),
            revision_id: None,
            workflow: "".into(),
            input: json(&format!(r#"{{"n": {n}, "items": [1, 2, 3, {n}]}}"#)),
            machine_type: StateMachineType::Standard,
            trace_header: None,
            map_run: None,
            region: "us-east-1".into(),
            account: "000000000000".into(),
            limits: Limits::default(),
        });
        let program = self.programs.get(&scope(), start.definition).expect("a program");
        self.shard.offer(Offer::Start { start, program, naming: Naming::Given, ticket: None });
    }

    /// One thing happens.
    fn tick(&mut self) {
        if self.faults && self.chance.one_in(60) {
            return self.crash();
        }
        match self.chance.below(3) {
            0 if self.pending.len() < 3 => {
                let taken = self.shard.take_batch(self.now).expect("a readable store");
                self.pending.extend(taken);
            }
            0 | 1 => self.commit(),
            _ => self.deliver(),
        }
    }

    fn commit(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let prepared = self.pending.remove(0);
        if self.faults && self.chance.one_in(40) {
            self.store.inject(if self.chance.one_in(2) { Fault::UnknownKept } else { Fault::UnknownLost });
        }
        match self.store.append(&prepared.batch) {
            Ok(committed) => {
                let released = self.shard.committed(prepared.id, &committed);
                self.carry_out(released);
            }
            Err(_) => {
                // Outcome unknown: the shard forgets all and replays.
                self.pending.clear();
                self.shard.failed();
                self.crash();
            }
        }
    }

    /// The process is gone: memory, timers, and what the world was about to say.
    fn crash(&mut self) {
        self.crashes += 1;
        self.pending.clear();
        self.world.clear();
        self.store = self.store.reopen();
        self.shard = shard(&self.store, &self.programs);
        let reader = self.store.reader();
        for open in reader.open(None, None, 1_000).expect("a page") {
            let row = reader.execution_by_key(open.execution).expect("a row").expect("an execution");
            match open.due {
                Some(due) if !open.owes_tasks => self.shard.offer(Offer::WakeAt { execution: row.arn, due }),
                None if !open.owes_tasks => {}
                _ => self.shard.offer(Offer::Recover { execution: row.arn, ticket: None }),
            }
        }
        // A customer whose start was not answered asks again.
        for n in 0..EXECUTIONS {
            let arn = format!("arn:aws:states:us-east-1:000000000000:execution:m:e{n}");
            if reader.execution(&arn).expect("a row").is_none() {
                self.start(n);
            }
        }
    }

    fn carry_out(&mut self, released: Released) {
        let reader = self.store.reader();
        for turn in released.turns {
            let arn = &turn.start.execution_arn;
            let row = reader.execution(arn).expect("a row").expect("no effect of what is not on disk");
            let journal = reader.events(row.key).expect("events");
            for effect in turn.effects {
                match effect {
                    Effect::ScheduleTask(task) => {
                        assert!(journal.iter().any(|event| event.seq == task.task.0), "L6");
                        let key = (Arc::clone(arn), task.task);
                        assert!(!self.submitted.contains(&key), "a submitted job is never started again");
                        *self.calls.entry(key).or_default() += 1;
                        let task_id = task.task;
                        let report = if task.resource.arn.ends_with(".sync") {
                            InputKind::TaskSubmitted { task: task_id, handle: json("1"), output: json("{}") }
                        } else if task.name.as_ref() == "B" && task.attempt < 2 {
                            let failure = Failure::named("Flaky");
                            InputKind::TaskFailed { task: task_id, nonce: None, failure, stage: Stage::Run }
                        } else {
                            InputKind::TaskSucceeded {
                                task: task_id,
                                nonce: None,
                                output: json(r#"{"r": 1}"#),
                            }
                        };
                        self.later(arn, report);
                    }
                    Effect::ObserveTask(task) => {
                        self.submitted.insert((Arc::clone(arn), task.task));
                        let output = json(r#"{"n": 5}"#);
                        self.later(arn, InputKind::TaskSucceeded { task: task.task, nonce: None, output });
                    }
                    Effect::CancelTask(task) => self.later(arn, InputKind::TaskCancelled { task: task.task }),
                    _ => {}
                }
            }
        }
    }

    fn later(&mut self, arn: &Arc<str>, kind: InputKind) {
        let at = self.now.plus(Duration::from_millis(self.chance.below(4_000)));
        if self.faults && self.chance.one_in(5) {
            let again = at.plus(Duration::from_millis(self.chance.below(20_000)));
            self.world.push((again, Arc::clone(arn), kind.clone()));
        }
        self.world.push((at, Arc::clone(arn), kind));
    }

    /// Time passes to the next thing due, and it is delivered.
    fn deliver(&mut self) {
        let next = self.world.iter().map(|(at, _, _)| *at).chain(self.shard.next_due()).min();
        let idle = !self.shard.is_ready(self.now) && self.pending.is_empty();
        if let Some(next) = next.filter(|next| idle && *next > self.now) {
            self.now = next;
        }
        let now = self.now;
        let (due, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.world).into_iter().partition(|(at, _, _)| *at <= now);
        self.world = rest;
        for (_, execution, kind) in due {
            self.shard.offer(Offer::Input { execution, kind, ticket: None });
        }
    }

    /// How every execution ended, by name.
    fn ends(&self) -> BTreeMap<String, String> {
        let reader = self.store.reader();
        let ends = (0..EXECUTIONS).map(|n| {
            let arn = format!("arn:aws:states:us-east-1:000000000000:execution:m:e{n}");
            let row = reader.execution(&arn).expect("a row").expect("an execution");
            let events = reader.events(row.key).expect("events");
            let replayed = Execution::replay(&events);
            assert!(replayed.outstanding().is_empty(), "{arn} owes something after its end");
            check_laws(&events);
            (arn, format!("{:?}", replayed.finished()))
        });
        ends.collect()
    }

    fn run(mut self) -> (BTreeMap<String, String>, u32) {
        for n in 0..EXECUTIONS {
            self.start(n);
        }
        for _ in 0..40_000 {
            let idle = self.pending.is_empty() && self.world.is_empty() && !self.shard.is_ready(self.now);
            if idle
                && self.shard.next_due().is_none()
                && self.store.reader().open(None, None, 1).unwrap().is_empty()
            {
                break;
            }
            self.tick();
        }
        assert!(self.store.verify().expect("a readable store").is_empty(), "L9");
        (self.ends(), self.crashes)
    }
}

const EXECUTIONS: u64 = 6;

fn shard(store: &MemoryStore, programs: &Arc<Programs>) -> Shard {
    let config =
        ShardConfig { stopwatch: || Duration::ZERO, budget: 40, turns_max: 4, ..ShardConfig::default() };
    Shard::new(config, store.reader(), store.keys(), Arc::clone(programs), Seeds::new(Some(3)), [])
}

/// L4: no gap from 1, and `prev < id`.
fn check_laws(events: &[engine::Event]) {
    let mut expected = 1;
    for (place, event) in events.iter().enumerate() {
        assert_eq!(event.seq, place as u64 + 1);
        if let Some(id) = event.history_id {
            assert_eq!(id, expected);
            assert!(event.prev < id);
            expected += 1;
        }
    }
}

#[test]
fn executions_end_as_they_would_have_whatever_happens_to_the_process() {
    let (expected, _) = Simulation::new(0, false).run();
    assert!(expected.values().all(|end| end.starts_with("Some(Succeeded")), "{expected:?}");
    let mut crashes = 0;
    for seed in 1..=150 {
        let (ends, crashed) = Simulation::new(seed, true).run();
        assert_eq!(ends, expected, "seed {seed}");
        crashes += crashed;
    }
    assert!(crashes > 500, "{crashes} crashes are too few to prove anything");
}
