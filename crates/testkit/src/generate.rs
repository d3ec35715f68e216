//! Random machines as ASL text, and random behaviour of what surrounds them.
//!
//! A machine is a function of its seed. Every state keeps the input's `at` (where in the tree of iterations it is), so that a
//! task's path and arguments name it whatever the order of events. There are no loops: what does not end waits for
//! something.

use std::collections::{BTreeMap, VecDeque};

use asl::entropy::{Entropy, SeededEntropy};
use asl::payload::Payload;
use engine::{Failure, InputKind, TaskId, TimerId, TimerKind};
use serde_json::{Map, Value, json};

use crate::interpreter::Script;

/// States of a machine from which on it is not nested further.
const STATES_MAX: u32 = 14;

/// A seeded source of chance.
#[derive(Clone, Debug)]
pub struct Dice(SeededEntropy);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(SeededEntropy::new(seed))
    }
    /// From 0 to just below the bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }
    /// True so many times of a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }
}

/// What may be random about a machine, so that faults do not change how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    /// Branches and iterations race, but by the world's clock only: no jitter, no missed heartbeat.
    Ordered,
    /// One state after the other, with jitter and missed heartbeats: time may shift, the order cannot.
    Sequential,
    /// Everything. How it ends depends on the faults; the laws hold all the same.
    Wild,
}

/// A random machine and what happens to its execution from outside.
#[derive(Clone, Debug)]
pub struct Machine {
    /// ASL text.
    pub definition: String,
    /// How many states it has.
    pub states: u32,
    /// What may be random.
    pub temper: Temper,
    /// StopExecution after so many milliseconds.
    pub stop_after: Option<u64>,
    /// RedriveExecution so often, when it ended otherwise than well.
    pub redrives: u32,
    /// Bound of its history.
    pub events_max: u64,
    /// `n` of its input.
    pub n: u64,
}

impl Machine {
    /// The machine of a seed.
    pub fn random(dice: &mut Dice, temper: Temper) -> Machine {
        let mut builder = Builder { dice, states: 0, temper };
        let mut definition = builder.scope(0);
        let timed = temper != Temper::Sequential;
        if timed && dice.chance(15) {
            definition["TimeoutSeconds"] = json!(2 + dice.below(12));
        }
        let states = count_states(&definition);
        Machine {
            definition: definition.to_string(),
            states,
            temper,
            stop_after: (timed && dice.chance(12)).then(|| dice.below(9_000)),
            redrives: if dice.chance(50) { 1 + dice.below(2) as u32 } else { 0 },
            events_max: if dice.chance(15) { 20 + dice.below(60) } else { 400 },
            n: dice.below(9),
        }
    }

    /// The input of its execution.
    pub fn input(&self) -> Payload {
        Payload::from_value(json!({ "items": [1, 2, 3], "at": "r", "n": self.n }))
    }
}

fn count_states(definition: &Value) -> u32 {
    match definition {
        Value::Object(members) => {
            let own = members.get("States").and_then(Value::as_object).map_or(0, Map::len) as u32;
            own + members.values().map(count_states).sum::<u32>()
        }
        Value::Array(items) => items.iter().map(count_states).sum(),
        _ => 0,
    }
}

struct Builder<'a> {
    dice: &'a mut Dice,
    states: u32,
    temper: Temper,
}

impl Builder<'_> {
    fn scope(&mut self, depth: u32) -> Value {
        let length = 1 + self.dice.below(3);
        // State names are unique over the document, as ASL wants.
        let names: Vec<String> = (0..length).map(|_| self.name()).collect();
        let mut states = Map::new();
        for (index, name) in names.iter().enumerate() {
            let next = names.get(index + 1).map(String::as_str);
            let mut state = self.state(depth, name, next);
            let kind = state["Type"].as_str().unwrap_or_default();
            match next {
                _ if matches!(kind, "Succeed" | "Fail" | "Choice") => {}
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

    fn state(&mut self, depth: u32, name: &str, next: Option<&str>) -> Value {
        let fans = self.temper != Temper::Sequential && depth < 3 && self.states < STATES_MAX;
        match self.dice.below(if fans { 17 } else { 12 }) {
            0 => json!({ "Type": "Pass", "Result": { "n": self.dice.below(9) }, "ResultPath": "$.passed" }),
            1 if self.dice.chance(30) => json!({ "Type": "Pass", "Parameters": { "x.$": "$.missing" } }),
            2 | 3 => json!({ "Type": "Wait", "Seconds": self.dice.below(4) }),
            4 if self.dice.chance(40) => json!({ "Type": "Succeed" }),
            4 if self.dice.chance(40) => json!({ "Type": "Fail", "Error": "Own" }),
            5 => self.choice(next),
            6 => self.jsonata(),
            7 if self.temper != Temper::Sequential => self.map_run(name),
            12 | 13 => self.parallel(depth, name),
            14 | 15 => self.map(depth, name),
            _ => self.task(name, next),
        }
    }

    fn choice(&mut self, next: Option<&str>) -> Value {
        let Some(next) = next else {
            return json!({ "Type": "Wait", "TimestampPath": "$.missing" });
        };
        json!({ "Type": "Choice", "Default": next, "Choices": [
            { "Variable": "$.n", "NumericGreaterThan": self.dice.below(9), "Next": next }] })
    }

    fn jsonata(&mut self) -> Value {
        let output = match self.dice.below(4) {
            0 => "{% $error('boom') %}",
            1 => "{% $merge([$states.input, {'sum': $states.input.n + 1}]) %}",
            _ => "{% $states.input %}",
        };
        json!({ "Type": "Pass", "QueryLanguage": "JSONata", "Output": output,
            "Assign": { "seen": "{% $states.input.at %}" } })
    }

    fn task(&mut self, name: &str, next: Option<&str>) -> Value {
        let resource = self.dice.one_of(&[
            "arn:aws:states:::lambda:invoke",
            "arn:aws:states:::ecs:runTask.sync",
            "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "arn:aws:states:us-east-1:000000000000:activity:pack",
            "arn:aws:lambda:us-east-1:000000000000:function:sum",
        ]);
        let mut task = json!({ "Type": "Task", "Resource": resource, "Parameters": { "at.$": "$.at" } });
        self.keep_input(&mut task, name);
        if self.dice.chance(50) {
            task["TimeoutSeconds"] = json!(3);
        }
        if self.dice.chance(20) {
            task["HeartbeatSeconds"] = json!(2);
        }
        self.handlers(&mut task, next);
        task
    }

    /// The result goes beside the input, or is thrown away.
    fn keep_input(&mut self, state: &mut Value, name: &str) {
        let path = format!("$.{name}");
        state["ResultPath"] = if self.dice.chance(50) { json!(path) } else { Value::Null };
    }

    fn handlers(&mut self, state: &mut Value, next: Option<&str>) {
        if self.dice.chance(40) {
            let error = self.dice.one_of(&["States.ALL", "Own", "Odd", "States.Timeout"]);
            let jitter = self.temper != Temper::Ordered && self.dice.chance(40);
            let mut retrier = json!({ "ErrorEquals": [error], "IntervalSeconds": 1, "MaxAttempts": 2,
                "JitterStrategy": if jitter { "FULL" } else { "NONE" } });
            let mut retriers = Vec::new();
            if error != "States.ALL" && self.dice.chance(30) {
                retriers.push(retrier.clone());
                retrier["ErrorEquals"] = json!(["States.ALL"]);
            }
            retriers.push(retrier);
            state["Retry"] = json!(retriers);
        }
        if let (Some(next), true) = (next, self.dice.chance(40)) {
            let error = self.dice.one_of(&["States.ALL", "States.ALL", "Own", "States.Timeout"]);
            state["Catch"] = json!([{ "ErrorEquals": [error], "ResultPath": "$.caught", "Next": next }]);
        }
    }

    fn parallel(&mut self, depth: u32, name: &str) -> Value {
        let branches: Vec<_> = (0..1 + self.dice.below(3)).map(|_| self.scope(depth + 1)).collect();
        let mut state = json!({ "Type": "Parallel", "Branches": branches });
        self.keep_input(&mut state, name);
        self.handlers(&mut state, None);
        state
    }

    fn map(&mut self, depth: u32, name: &str) -> Value {
        let mut state = json!({ "Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": self.dice.below(3),
            "ItemSelector": { "items": [1], "n": 4, "at.$": "States.Format('{}.{}', $.at, $$.Map.Item.Index)" },
            "ItemProcessor": self.scope(depth + 1) });
        self.keep_input(&mut state, name);
        self.handlers(&mut state, None);
        state
    }

    fn map_run(&mut self, name: &str) -> Value {
        let inner = self.name();
        let mut state = json!({ "Type": "Map", "ItemsPath": "$.items",
            "ItemProcessor": { "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" },
                "StartAt": inner, "States": { inner.clone(): { "Type": "Pass", "End": true } } } });
        self.keep_input(&mut state, name);
        self.handlers(&mut state, None);
        state
    }
}

/// What the tasks of each state do, for [`crate::Interpreter`].
pub fn scripts(dice: &mut Dice, states: u32) -> BTreeMap<String, VecDeque<Script>> {
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
    (1..=states + 1).map(|state| (format!("S{state}"), of_state(dice))).collect()
}

/// Inputs that nobody should send: out of date, double, invented.
pub fn nuisance(dice: &mut Dice, seq: u64) -> InputKind {
    let task = TaskId(dice.below(seq + 3));
    match dice.below(8) {
        0 => InputKind::TaskSucceeded { task, nonce: Some(dice.below(99)), output: Payload::null() },
        1 => InputKind::TaskCancelled { task },
        2 => InputKind::TaskHeartbeat { task, nonce: None },
        3 => InputKind::TaskStarted { task, worker_name: None },
        4 => InputKind::Resumed,
        5 => InputKind::Redriven { client_token: None },
        _ => early_timer(dice, seq),
    }
}

/// A timer that fires early, late, double or for nothing: harmless at any time.
pub(crate) fn early_timer(dice: &mut Dice, seq: u64) -> InputKind {
    let kinds = [
        TimerKind::Wait,
        TimerKind::Retry,
        TimerKind::TaskTimeout,
        TimerKind::Heartbeat,
        TimerKind::Execution,
    ];
    let kind = kinds[dice.below(5) as usize];
    InputKind::TimerElapsed { timer: TimerId { seq: dice.below(seq + 3), kind } }
}
