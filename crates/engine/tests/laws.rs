//! The laws of the design over random machines, random outcomes and random interference.
//!
//! Each step is checked by the simulator (L1 replay is live, L2 same input same events, L3 stale input no events, L5 only
//! cancellations after the end, L7 effects are the difference); here also L4, L8 and L10 over the whole run. A seed that
//! found a bug is kept in `SEEDS`.

mod simulator;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use asl::entropy::{Entropy, SeededEntropy};
use asl::payload::Payload;
use asl::program::StateMachineType;
use engine::{Effect, Failure, InputKind, Outcome, TaskId, TimerId, TimerKind};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use simulator::{Mode, Script, World, start_of};

/// Seeds that once broke a law.
const SEEDS: &[u64] = &[0, 1, 42];

/// Most states of a random machine.
const STATES_MAX: u32 = 14;

struct Dice(SeededEntropy);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Random machines. State names are unique over the document, as ASL wants.
struct Machines {
    dice: Dice,
    states: u32,
}

impl Machines {
    fn scope(&mut self, depth: u32) -> Value {
        let length = 1 + self.dice.below(3) as u32;
        let names: Vec<String> = (0..length).map(|_| self.name()).collect();
        let mut states = Map::new();
        for (index, name) in names.iter().enumerate() {
            let mut state = self.state(depth, names.get(index + 1).map_or("", String::as_str));
            let terminal = matches!(state["Type"].as_str(), Some("Succeed" | "Fail" | "Choice"));
            match names.get(index + 1) {
                _ if terminal => {}
                Some(next) => state["Next"] = json!(next),
                None => state["End"] = json!(true),
            }
            states.insert(name.clone(), state);
        }
        json!({ "StartAt": names[0], "States": states })
    }

    fn name(&mut self) -> String {
        self.states += 1;
        format!("S{}", self.states)
    }

    fn state(&mut self, depth: u32, next: &str) -> Value {
        let nest = depth < 3 && self.states < STATES_MAX;
        match self.dice.below(if nest { 12 } else { 8 }) {
            0 => json!({ "Type": "Pass", "Result": { "n": self.dice.below(9) } }),
            1 => json!({ "Type": "Pass", "Parameters": { "x.$": "$.missing" } }),
            2 => json!({ "Type": "Wait", "Seconds": self.dice.below(4) }),
            3 => json!({ "Type": "Succeed" }),
            4 if self.dice.chance(50) => json!({ "Type": "Fail", "Error": "Own" }),
            8 | 9 => self.parallel(depth),
            10 | 11 => self.map(depth),
            _ => self.task(next),
        }
    }

    fn task(&mut self, next: &str) -> Value {
        let resources = [
            "arn:aws:states:::lambda:invoke",
            "arn:aws:states:::ecs:runTask.sync",
            "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "arn:aws:states:us-east-1:000000000000:activity:pack",
            "arn:aws:lambda:us-east-1:000000000000:function:sum",
        ];
        let resource = resources[self.dice.below(5) as usize];
        let mut task = json!({ "Type": "Task", "Resource": resource });
        if self.dice.chance(40) {
            task["TimeoutSeconds"] = json!(3);
        }
        if self.dice.chance(20) {
            task["HeartbeatSeconds"] = json!(2);
        }
        self.handlers(&mut task, next);
        task
    }

    fn handlers(&mut self, state: &mut Value, next: &str) {
        if self.dice.chance(40) {
            let error = ["States.ALL", "Own", "Odd"][self.dice.below(3) as usize];
            state["Retry"] = json!([{ "ErrorEquals": [error], "IntervalSeconds": 1, "MaxAttempts": 2,
                "JitterStrategy": if self.dice.chance(30) { "FULL" } else { "NONE" } }]);
        }
        if self.dice.chance(40) && !next.is_empty() {
            state["Catch"] =
                json!([{ "ErrorEquals": ["States.ALL"], "ResultPath": "$.caught", "Next": next }]);
        }
    }

    fn parallel(&mut self, depth: u32) -> Value {
        let branches: Vec<_> = (0..1 + self.dice.below(3)).map(|_| self.scope(depth + 1)).collect();
        let mut state = json!({ "Type": "Parallel", "Branches": branches, "ResultPath": "$.fan" });
        self.handlers(&mut state, "");
        state
    }

    fn map(&mut self, depth: u32) -> Value {
        let mut state = json!({ "Type": "Map", "ItemsPath": "$$.Execution.Input.items", "ResultPath": "$.map",
            "ItemSelector": { "items": [1], "i.$": "$$.Map.Item.Index" },
            "MaxConcurrency": self.dice.below(3), "ItemProcessor": self.scope(depth + 1) });
        self.handlers(&mut state, "");
        state
    }
}

fn scripts(dice: &mut Dice, states: u32) -> BTreeMap<String, VecDeque<Script>> {
    let script = |dice: &mut Dice| Script {
        after: dice.below(5),
        submitted: dice.chance(40).then(|| Payload::from_value(json!({ "handle": 1 }))),
        end: match dice.below(6) {
            0 => None,
            1 => Some(Err(Failure::named("Own"))),
            2 => Some(Err(Failure::new("Odd", "cause"))),
            _ => Some(Ok(Payload::from_value(json!({ "done": true })))),
        },
    };
    let of_state = |dice: &mut Dice| (0..dice.below(12)).map(|_| script(dice)).collect();
    (1..=states).map(|state| (format!("S{state}"), of_state(dice))).collect()
}

/// Inputs that nobody should send: out of date, double, invented.
fn nuisance(dice: &mut Dice, seq: u64) -> InputKind {
    let task = TaskId(dice.below(seq + 3));
    let kinds = [
        TimerKind::Wait,
        TimerKind::Retry,
        TimerKind::TaskTimeout,
        TimerKind::Heartbeat,
        TimerKind::Execution,
    ];
    match dice.below(8) {
        0 => InputKind::TaskSucceeded { task, nonce: Some(dice.below(99)), output: Payload::null() },
        1 => InputKind::TaskCancelled { task },
        2 => InputKind::TaskHeartbeat { task, nonce: None },
        3 => InputKind::TaskStarted { task, worker_name: None },
        4 => InputKind::Resumed,
        5 => InputKind::Redriven,
        _ => InputKind::TimerElapsed {
            timer: TimerId { seq: dice.below(seq + 3), kind: kinds[dice.below(5) as usize] },
        },
    }
}

fn run(seed: u64, mode: Mode) -> BTreeSet<u16> {
    let mut machines = Machines { dice: Dice(SeededEntropy::new(seed)), states: 0 };
    let definition = machines.scope(0).to_string();
    let program = asl::compile_stored(&definition, StateMachineType::Standard)
        .unwrap_or_else(|problems| panic!("{definition}: {problems:?}"));
    let scripts = scripts(&mut machines.dice, machines.states);
    let mut dice = machines.dice;
    let input = Payload::from_value(json!({ "items": [1, 2, 3] }));
    let mut start = start_of(input, StateMachineType::Standard);
    // Low, so that some runs meet it.
    start.limits.events_max = 150;
    let mut world = World::new(&program, start, scripts, mode);
    if dice.chance(15) {
        world.send(dice.below(6), InputKind::StopRequested { failure: Failure::default() });
    }
    for _ in 0..dice.below(6) {
        let (after, kind) = (dice.below(8), nuisance(&mut dice, 30));
        world.send(after, kind);
    }
    world.run(5_000);
    if dice.chance(40) {
        world.send(10, InputKind::Redriven);
        world.run(5_000);
    }
    world.check_history();
    ends_or_waits_for_something_named(&world);
    nothing_is_taken_twice(&mut world);
    world.events.iter().map(|event| event.kind.tag()).collect()
}

/// L10 with faults on: what is still open owes something to the world or waits for a token or worker.
fn ends_or_waits_for_something_named(world: &World<'_>) {
    if world.execution.finished().is_none() {
        assert!(!world.execution.is_runnable(), "L10: runnable and at rest");
        assert!(!world.execution.current_states().is_empty(), "L10: open and nowhere");
    }
}

/// L3: whatever was answered once is not taken again.
fn nothing_is_taken_twice(world: &mut World<'_>) {
    let open: Vec<_> = world.execution.outstanding();
    let is_open = |task: u64| {
        open.iter().any(|effect| match effect {
            Effect::ScheduleTask(schedule) => schedule.task.0 == task,
            Effect::ObserveTask(observe) => observe.task.0 == task,
            _ => false,
        })
    };
    let tasks: Vec<u64> =
        world.events.iter().filter(|event| event.kind.tag() == 23).map(|event| event.seq).collect();
    for task in tasks.into_iter().filter(|task| !is_open(*task)) {
        let kind = InputKind::TaskSucceeded { task: TaskId(task), nonce: None, output: Payload::null() };
        assert!(matches!(world.step(kind), Outcome::Ignored(_)), "L3: task {task} was taken twice");
    }
}

#[test]
fn seeds_that_once_broke_a_law_keep_all_laws() {
    for seed in SEEDS {
        run(*seed, Mode::Live);
        run(*seed, Mode::RestartAfterEveryEvent);
    }
}

#[test]
fn random_machines_reach_every_kind_of_event_but_those_of_map_runs_and_jsonata() {
    let reached: BTreeSet<u16> = (0..400).flat_map(|seed| run(seed, Mode::Live)).collect();
    let known = (1..=6).chain(10..=12).chain(20..=25).chain(30..=39).chain(50..=53);
    let missing: Vec<u16> = known.filter(|tag| !reached.contains(tag) && *tag != 4).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn laws_hold_for_random_machines(seed in any::<u64>()) {
        run(seed, Mode::Live);
    }

    #[test]
    fn laws_hold_for_random_machines_that_restart_after_every_event(seed in any::<u64>()) {
        run(seed, Mode::RestartAfterEveryEvent);
    }
}
