//! What is random about a Map Run.

use std::sync::Arc;

use asl::payload::Payload;
use asl::program::{Program, StateMachineType};
use engine::map_run::{ChildResult, MapRunStart};
use engine::{Failure, TaskId};
use serde_json::json;

use super::ARN;
use crate::generate::Dice;
use crate::interpreter::start_of;

/// A Map Run about to be simulated. How it ends without a stop is decided here, whatever happens to the process.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub seed: u64,
    pub items: u64,
    pub express: bool,
    /// Items are read from outside, not given with the state's data.
    pub read: bool,
    /// The first reading from there on fails.
    pub unreadable_from: Option<u64>,
    pub stopped: bool,
    pub program: Arc<Program>,
}

impl Plan {
    pub fn random(seed: u64) -> Plan {
        let dice = &mut Dice::new(seed);
        let (express, read, tolerant) = (dice.chance(50), dice.chance(60), dice.chance(50));
        let kind = if express { "EXPRESS" } else { "STANDARD" };
        let mut map = json!({ "Type": "Map", "End": true, "MaxConcurrency": 1 + dice.below(6),
            "ItemProcessor": { "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": kind },
                "StartAt": "Item", "States": { "Item": { "Type": "Pass", "End": true } } } });
        // Otherwise the first failure fails the Map Run, which is redriven then.
        if tolerant {
            map["ToleratedFailurePercentage"] = json!(100);
        }
        if dice.chance(40) {
            map["ItemBatcher"] = json!({ "MaxItemsPerBatch": 1 + dice.below(5) });
        }
        if dice.chance(30) {
            map["ResultWriter"] = json!({ "Resource": "arn:aws:states:::s3:putObject",
                "Parameters": { "Bucket": "b", "Prefix": "p" } });
        }
        if read {
            map["ItemReader"] = json!({ "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": { "InputType": "JSON" }, "Parameters": { "Bucket": "b", "Key": "k" } });
        } else {
            map["ItemsPath"] = json!("$.items");
        }
        let definition = json!({ "StartAt": "Each", "States": { "Each": map } }).to_string();
        let program = asl::compile_stored(&definition, StateMachineType::Standard)
            .unwrap_or_else(|problems| panic!("{definition}: {problems:?}"));
        let items = dice.below(60);
        let unreadable_from = (read && dice.chance(15)).then(|| dice.below(items + 1));
        let stopped = dice.chance(15);
        Plan { seed, items, express, read, unreadable_from, stopped, program: Arc::new(program) }
    }

    pub fn start(&self) -> MapRunStart {
        let items: Vec<u64> = (0..self.items).collect();
        let input = Payload::from_value(json!({ "items": items }));
        let mut parent = start_of(input.clone(), StateMachineType::Standard);
        parent.execution_arn = "arn:aws:states:us-east-1:000000000000:execution:m:e".into();
        parent.state_machine_arn = "arn:aws:states:us-east-1:000000000000:stateMachine:m".into();
        let state = self.program.states.iter().find(|state| &*state.name == "Each").expect("the Map");
        MapRunStart {
            map_run_arn: ARN.into(),
            task: TaskId(4),
            redrive: 0,
            parent: Arc::new(parent),
            state: state.path.clone(),
            label: "Each".into(),
            items: (!self.read).then(|| Payload::from_value(json!(items))),
            input,
            context: Payload::from_value(json!({ "Execution": { "Name": "e" } })),
            variables: Vec::new(),
        }
    }

    /// How a child ends in a redrive: some fail at first, a few of them again.
    pub fn result(&self, index: u64, redrive: u32) -> ChildResult {
        let mut dice = Dice::new(self.seed.rotate_left(20) ^ index);
        let (failures, timed_out) = match dice.below(100) {
            0..8 => (1, dice.chance(50)),
            8..12 => (2, dice.chance(50)),
            _ => (0, false),
        };
        match (redrive < failures, timed_out) {
            (false, _) => ChildResult::Succeeded(Payload::from_value(json!(index))),
            (true, true) => ChildResult::TimedOut(Failure::named("Rotten")),
            (true, false) => ChildResult::Failed(Failure::named("Rotten")),
        }
    }
}
