//! Random machines as ASL text, and random behaviour of what surrounds them.
//!
//! A machine is a function of its seed. Every state keeps the input's `at` (where in the tree of iterations it is), so that a
//! task's path and arguments name it whatever the order of events. There are no loops: what does not end waits for
//! something.

mod fields;
mod nuisance;
mod states;

use std::collections::{BTreeMap, VecDeque};

use asl::entropy::{Entropy, SeededEntropy};
use asl::payload::Payload;
use engine::Failure;
use serde_json::{Map, Value, json};

pub(crate) use nuisance::early_timer;
pub use nuisance::nuisance;
use states::Builder;

use crate::interpreter::Script;

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
    /// RedriveExecution after each end other than a good one, so many milliseconds later.
    pub redrive_after: Vec<u64>,
    /// Bound of its history.
    pub events_max: u64,
    /// `n` of its input.
    pub n: u64,
}

impl Machine {
    /// The machine of a seed.
    pub fn random(dice: &mut Dice, temper: Temper) -> Machine {
        let mut definition = Builder::new(dice, temper).definition();
        let timed = temper != Temper::Sequential;
        if timed && dice.chance(15) {
            definition["TimeoutSeconds"] = json!(2 + dice.below(12));
        }
        let redrives = if dice.chance(50) { 1 + dice.below(2) } else { 0 };
        Machine {
            states: count_states(&definition),
            definition: definition.to_string(),
            temper,
            stop_after: (timed && dice.chance(12)).then(|| dice.below(9_000)),
            // At once, while tasks are still being called off, or long after.
            redrive_after: (0..redrives).map(|_| dice.below(2) * dice.below(6_000)).collect(),
            events_max: if dice.chance(15) { 20 + dice.below(60) } else { 400 },
            n: dice.below(9),
        }
    }

    /// Whether it is written in JSONata altogether.
    pub fn is_jsonata(&self) -> bool {
        let definition: Value = serde_json::from_str(&self.definition).unwrap_or_default();
        definition["QueryLanguage"] == "JSONata"
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
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
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
