//! Executions to store: events as the interpreter writes them, without the interpreter.
//!
//! Shared by the test programs; none of them uses all of it.
#![allow(dead_code, reason = "each test program uses a part")]

use std::sync::Arc;
use std::time::Duration;

use engine::{
    DefinitionHash, Event, EventKind, Failure, FrameId, MapRunLink, Payload, Start, StateType, TaskId,
    Timestamp,
};
use store::{Batch, ExecutionKey, Scope, Standing, Store, TurnRecord};

pub const FRANKFURT: &str = "eu-central-1";
pub const DUBLIN: &str = "eu-west-1";

pub fn scope(region: &str) -> Scope {
    Scope { account: "000000000000".into(), region: region.into() }
}

pub fn machine_arn(region: &str, machine: &str) -> String {
    format!("arn:aws:states:{region}:000000000000:stateMachine:{machine}")
}

pub fn execution_arn(region: &str, machine: &str, name: &str) -> String {
    format!("arn:aws:states:{region}:000000000000:execution:{machine}:{name}")
}

pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_epoch_millis(1_790_000_000_000 + millis)
}

pub fn json(text: &str) -> Payload {
    Payload::parse(text).expect("a sample is JSON")
}

/// A payload of at least so many bytes.
pub fn payload_of(bytes: usize, seed: u64) -> Payload {
    json(&format!("{{\"seed\":{seed},\"filler\":\"{}\"}}", "x".repeat(bytes)))
}

/// What an execution is started with.
pub fn start(region: &str, machine: &str, name: &str) -> Start {
    Start {
        role_arn: "arn:aws:iam::000000000000:role/order".into(),
        ..Start::of(&machine_arn(region, machine), name, DefinitionHash([7; 32]), json(r#"{"order":1}"#))
    }
}

/// A child of a map run.
pub fn child(region: &str, machine: &str, map_run_arn: &str, index: u64) -> Start {
    let mut start = start(region, &format!("{machine}/Each"), &format!("child-{index}"));
    start.state_machine_arn = machine_arn(region, &format!("{machine}/Each")).into();
    start.map_run = Some(MapRunLink { map_run_arn: map_run_arn.into(), index, label: "Each".into() });
    start
}

/// Writes the events of one execution, turn by turn.
pub struct Script {
    pub key: ExecutionKey,
    pub start: Arc<Start>,
    seq: u64,
    history_id: u64,
    now: i64,
    pending: Vec<Event>,
    /// Everything written so far.
    pub events: Vec<Event>,
}

impl Script {
    pub fn new(store: &dyn Store, start: Start, now: i64) -> Script {
        let scope = Scope::of_arn(&start.execution_arn).expect("an ARN");
        let key = store.keys().draw(&scope).expect("a key");
        Script {
            key,
            start: Arc::new(start),
            seq: 0,
            history_id: 0,
            now,
            pending: Vec::new(),
            events: Vec::new(),
        }
    }

    pub fn arn(&self) -> &str {
        &self.start.execution_arn
    }

    pub fn event(&mut self, kind: EventKind) -> &mut Script {
        self.seq += 1;
        let prev = self.history_id;
        let public = kind.is_public();
        self.history_id += u64::from(public);
        let history_id = public.then_some(self.history_id);
        self.pending.push(Event {
            seq: self.seq,
            frame: FrameId::ROOT,
            at: at(self.now),
            history_id,
            prev,
            kind,
        });
        self.now += 1;
        self
    }

    pub fn started(&mut self) -> &mut Script {
        let start = self.start.clone();
        let input = start.input.clone();
        self.event(EventKind::ExecutionStarted { start, deadline: None, first: "/Wait".into() });
        self.event(EventKind::StateEntered {
            state: "/Wait".into(),
            name: "Wait".into(),
            state_type: StateType::Wait,
            input,
        });
        let until = at(self.now).plus(Duration::from_secs(60));
        self.event(EventKind::WaitScheduled { until })
    }

    /// Leaves a state and enters the next: three events share the payload.
    pub fn passed(&mut self, output: &Payload) -> &mut Script {
        self.event(EventKind::StateExited {
            name: "Wait".into(),
            state_type: StateType::Wait,
            output: output.clone(),
            assigned: Vec::new(),
            next: Some("/Wait".into()),
        });
        let input = output.clone();
        self.event(EventKind::StateEntered {
            state: "/Wait".into(),
            name: "Wait".into(),
            state_type: StateType::Wait,
            input,
        });
        let until = at(self.now).plus(Duration::from_secs(60));
        self.event(EventKind::WaitScheduled { until })
    }

    pub fn succeeded(&mut self, output: &Payload) -> &mut Script {
        self.event(EventKind::ExecutionSucceeded { output: output.clone() })
    }

    pub fn failed(&mut self) -> &mut Script {
        self.event(EventKind::ExecutionFailed { failure: Failure::new("Order.Rejected", "no stock") })
    }

    pub fn aborted(&mut self) -> &mut Script {
        self.event(EventKind::ExecutionAborted { failure: Failure::default() })
    }

    pub fn redriven(&mut self, count: u32) -> &mut Script {
        self.event(EventKind::ExecutionRedriven { count, deadline: None, client_token: Default::default() })
    }

    pub fn cancelled(&mut self) -> &mut Script {
        self.event(EventKind::TaskCancelled { task: TaskId(3) })
    }

    /// What was said since the last turn, as a turn.
    pub fn turn(&mut self, standing: Standing) -> TurnRecord {
        let events: Vec<Event> = std::mem::take(&mut self.pending);
        self.events.extend(events.iter().cloned());
        TurnRecord { execution: self.key, events: events.into(), standing }
    }

    /// The public events so far.
    pub fn public(&self) -> Vec<Event> {
        self.events.iter().filter(|event| event.history_id.is_some()).cloned().collect()
    }
}

pub fn turns(turns: impl IntoIterator<Item = TurnRecord>) -> Batch {
    Batch { turns: turns.into_iter().collect(), ..Batch::default() }
}

/// splitmix64, so that a seed gives the same run for ever.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides.max(1)
    }
}
