//! A world in virtual time around one execution: it carries out effects by a script, fires timers, and checks the laws of the
//! design after every single step. It knows nothing of threads, stores or clocks.

#![allow(dead_code)] // Each test binary uses its own part.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use asl::payload::Payload;
use asl::program::{Program, StateMachineType};
use asl::timestamp::Timestamp;
use engine::{
    DefinitionHash, Effect, Event, EventKind, Execution, Failure, Input, InputKind, Limits, MapRunResult,
    Outcome, Stage, Start, TaskId, record,
};

/// What a task does, in the order in which a state's tasks are scheduled.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Seconds until the outcome.
    pub after: u64,
    /// Output of the start call, for jobs and callbacks.
    pub submitted: Option<Payload>,
    /// The end; `None` never answers.
    pub end: Option<Result<Payload, Failure>>,
}

/// How a run is driven.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Straight through.
    Live,
    /// The process dies after every turn of one event.
    RestartAfterEveryEvent,
}

/// The world of one execution.
pub struct World<'p> {
    pub program: &'p Program,
    pub execution: Execution,
    pub events: Vec<Event>,
    pub now: i64,
    pub mode: Mode,
    pub scripts: BTreeMap<String, VecDeque<Script>>,
    entropy: u64,
    order: u64,
    inbox: BTreeMap<(i64, u64), InputKind>,
}

pub const BEGINNING: i64 = 1_700_000_000_000;

pub fn start_of(input: Payload, machine_type: StateMachineType) -> Start {
    Start {
        execution_arn: "arn:aws:states:us-east-1:000000000000:execution:Machine:run".into(),
        name: "run".into(),
        state_machine_arn: "arn:aws:states:us-east-1:000000000000:stateMachine:Machine".into(),
        state_machine_name: "Machine".into(),
        version_arn: None,
        alias_arn: None,
        role_arn: "arn:aws:iam::000000000000:role/role".into(),
        definition: DefinitionHash([7; 32]),
        revision_id: None,
        workflow: "".into(),
        input,
        machine_type,
        trace_header: None,
        map_run: None,
        region: "us-east-1".into(),
        account: "000000000000".into(),
        limits: Limits::default(),
    }
}

impl<'p> World<'p> {
    pub fn new(
        program: &'p Program,
        start: Start,
        scripts: BTreeMap<String, VecDeque<Script>>,
        mode: Mode,
    ) -> Self {
        let mut world = World {
            program,
            execution: Execution::new(),
            events: Vec::new(),
            now: BEGINNING,
            mode,
            scripts,
            entropy: 0x5EED,
            order: 0,
            inbox: BTreeMap::new(),
        };
        world.send(0, InputKind::Started(Arc::new(start)));
        world
    }

    /// Sends an input so many seconds after now.
    pub fn send(&mut self, after: u64, kind: InputKind) {
        self.send_at(self.now + after as i64 * 1000, kind);
    }

    fn send_at(&mut self, at: i64, kind: InputKind) {
        self.order += 1;
        self.inbox.insert((at, self.order), kind);
    }

    /// Runs until nothing is left to happen, at most so many steps.
    pub fn run(&mut self, steps_max: usize) {
        for _ in 0..steps_max {
            let Some(((at, _), kind)) = self.inbox.pop_first() else { return };
            self.now = self.now.max(at);
            self.step(kind);
        }
        panic!("the execution does not come to rest in {steps_max} steps");
    }

    /// One step, with the laws checked around it.
    pub fn step(&mut self, kind: InputKind) -> Outcome {
        let heartbeat = matches!(kind, InputKind::TaskHeartbeat { .. });
        self.entropy = self.entropy.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let input = Input { at: Timestamp::from_epoch_millis(self.now), entropy: self.entropy, kind };
        let budget = if self.mode == Mode::Live { 1000 } else { 1 };
        let (before, owed_before) = (self.execution.clone(), self.execution.outstanding());
        let step = engine::step(self.program, &mut self.execution, input.clone(), budget);
        self.l2_same_input_same_events(before, input, budget, &step.events);
        if matches!(step.outcome, Outcome::Ignored(_)) {
            assert!(step.events.is_empty(), "L3: {:?} left events", step.outcome);
        }
        self.events.extend(step.events.iter().cloned());
        if !heartbeat {
            self.l1_replay_is_live(&step.events);
        }
        self.l7_effects_are_the_difference(&owed_before, &step.effects, &step.outcome);
        self.l5_only_cancellations_after_the_end();
        if self.mode == Mode::RestartAfterEveryEvent && !heartbeat {
            self.execution = Execution::replay(&self.events);
        }
        if step.more {
            // Before anything else: the shell would do no less.
            self.inbox.insert((self.now, 0), InputKind::Resumed);
        }
        for effect in step.effects {
            self.carry_out(effect);
        }
        step.outcome
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::ArmTimer { timer, at } => {
                self.send_at(at.epoch_millis(), InputKind::TimerElapsed { timer })
            }
            Effect::ScheduleTask(task) => {
                let script = self.scripts.get_mut(&*task.name).and_then(VecDeque::pop_front);
                self.play(task.task, script.unwrap_or_default(), task.token.is_some());
            }
            Effect::ObserveTask(_) | Effect::Finished(_) => {}
            Effect::CancelTask(cancel) => self.send(0, InputKind::TaskCancelled { task: cancel.task }),
            Effect::StopMapRun(stop) => self.send(0, InputKind::TaskCancelled { task: stop.task }),
            Effect::StartMapRun(run) => {
                let name = run.state.rsplit('/').next().unwrap_or_default().to_owned();
                let script = self.scripts.get_mut(&name).and_then(VecDeque::pop_front).unwrap_or_default();
                let result = match script.end {
                    Some(Ok(output)) => MapRunResult::Succeeded(output),
                    Some(Err(failure)) => MapRunResult::Failed(failure),
                    None => return,
                };
                self.send(script.after, InputKind::MapRunEnded { task: run.task, result });
            }
        }
    }

    fn play(&mut self, task: TaskId, script: Script, activity_or_token: bool) {
        if script.end.is_some() && activity_or_token && script.submitted.is_none() {
            self.send(0, InputKind::TaskStarted { task, worker_name: Some("worker".into()) });
        }
        if let Some(output) = script.submitted {
            self.send(0, InputKind::TaskSubmitted { task, handle: output.clone(), output });
        }
        let kind = match script.end {
            None => return,
            Some(Ok(output)) => InputKind::TaskSucceeded { task, nonce: None, output },
            Some(Err(failure)) => InputKind::TaskFailed { task, nonce: None, failure, stage: Stage::Run },
        };
        self.send(script.after, kind);
    }

    fn l1_replay_is_live(&self, turn: &[Event]) {
        let encoded = record::encode(turn);
        let decoded =
            record::decode(&encoded.events, &encoded.payloads).expect("what was written can be read");
        assert_eq!(decoded, turn, "the record of a turn says what the turn did");
        let replayed = Execution::replay(&self.events);
        assert_eq!(replayed, self.execution, "L1: replay differs from the live state");
    }

    fn l2_same_input_same_events(&self, mut before: Execution, input: Input, budget: u32, events: &[Event]) {
        let again = engine::step(self.program, &mut before, input, budget);
        assert_eq!(again.events, events, "L2: the same step gave other events");
    }

    fn l5_only_cancellations_after_the_end(&self) {
        if self.execution.finished().is_some() {
            for effect in self.execution.outstanding() {
                assert!(
                    matches!(effect, Effect::CancelTask(_) | Effect::StopMapRun(_)),
                    "L5: {effect:?} after the end"
                );
            }
        }
    }

    fn l7_effects_are_the_difference(&self, before: &[Effect], effects: &[Effect], outcome: &Outcome) {
        let told: Vec<_> = effects.iter().filter(|effect| !matches!(effect, Effect::Finished(_))).collect();
        if matches!(outcome, Outcome::Ignored(_)) {
            // A timer that fired too early is armed again as it was.
            assert!(told.iter().all(|effect| before.contains(effect)), "L7: {told:?} of an ignored input");
            return;
        }
        let after = self.execution.outstanding();
        let new: Vec<_> = after.iter().filter(|effect| !before.contains(effect)).collect();
        for effect in &new {
            assert!(told.contains(effect), "L7: {effect:?} is owed and was not told");
        }
        for effect in &told {
            assert!(new.contains(effect), "L7: {effect:?} was told and is not newly owed");
        }
    }

    /// L4 and L8 over the whole history.
    pub fn check_history(&self) {
        let mut next_id = 1;
        let mut ends: BTreeMap<u32, bool> = BTreeMap::new();
        for (index, event) in self.events.iter().enumerate() {
            assert_eq!(event.seq, index as u64 + 1, "seq has a gap");
            assert_eq!(event.history_id.is_some(), event.kind.is_public());
            if let Some(id) = event.history_id {
                assert_eq!(id, next_id, "L4: history_id has a gap");
                assert!(event.prev < id, "L4: {event:?} follows the future");
                next_id += 1;
            }
            match &event.kind {
                EventKind::StateEntered { .. } => {
                    ends.insert(event.frame.0, true);
                }
                EventKind::StateExited { .. } | EventKind::StateAborted { .. } => {
                    let open = ends.insert(event.frame.0, false);
                    let redriven = self.execution.redrive_count() > 0;
                    assert!(open == Some(true) || redriven, "L8: {event:?} ends what is not open");
                }
                _ => {}
            }
        }
    }
}
