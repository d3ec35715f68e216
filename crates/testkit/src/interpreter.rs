//! One execution under `engine::step`, in virtual time: effects are carried out by a script, timers fire, and the laws are
//! checked around every single step. It knows nothing of threads, stores or clocks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use asl::payload::Payload;
use asl::program::{Program, StateMachineType};
use asl::timestamp::Timestamp;
use engine::{
    DefinitionHash, Effect, Event, EventKind, Execution, Failure, Input, InputKind, MapRunResult, Outcome,
    Stage, Start, Step, TaskId,
};

use crate::Mutation;
use crate::laws::{self, Checked, Law, hold};
use crate::table::Table;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Straight through.
    Live,
    /// The process dies after every turn of one event.
    RestartAfterEveryEvent,
}

/// One execution and what surrounds it.
pub struct Interpreter<'p> {
    program: &'p Program,
    /// Its state.
    pub execution: Execution,
    /// Its journal.
    pub events: Vec<Event>,
    /// How often each kind occurred.
    pub table: Table,
    now: i64,
    mode: Mode,
    mutation: Option<Mutation>,
    interference: bool,
    scripts: BTreeMap<String, VecDeque<Script>>,
    entropy: u64,
    order: u64,
    inbox: BTreeMap<(i64, u64), InputKind>,
}

/// When virtual time begins.
pub const BEGINNING: i64 = 1_700_000_000_000;

/// A start of execution `run` of `Machine`.
pub fn start_of(input: Payload, machine_type: StateMachineType) -> Start {
    Start {
        machine_type,
        role_arn: "arn:aws:iam::000000000000:role/role".into(),
        ..Start::of(
            "arn:aws:states:us-east-1:000000000000:stateMachine:Machine",
            "run",
            DefinitionHash([7; 32]),
            input,
        )
    }
}

impl<'p> Interpreter<'p> {
    /// An execution about to start.
    pub fn new(
        program: &'p Program,
        start: Start,
        scripts: BTreeMap<String, VecDeque<Script>>,
        mode: Mode,
    ) -> Self {
        let mut interpreter = Interpreter {
            program,
            execution: Execution::new(),
            events: Vec::new(),
            table: Table::default(),
            now: BEGINNING,
            mode,
            mutation: None,
            interference: false,
            scripts,
            entropy: 0x5EED,
            order: 0,
            inbox: BTreeMap::new(),
        };
        interpreter.send(0, InputKind::Started(Arc::new(start)));
        interpreter
    }

    /// With a planted bug.
    pub fn with_mutation(mut self, mutation: Option<Mutation>) -> Self {
        self.mutation = mutation;
        self
    }

    /// Every timer also fires too early, and every token is tried with a wrong nonce and after its task is over.
    pub fn with_interference(mut self) -> Self {
        self.interference = true;
        self
    }

    fn has(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
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
    pub fn run(&mut self, steps_max: usize) -> Checked {
        for _ in 0..steps_max {
            let Some(((at, _), kind)) = self.inbox.pop_first() else {
                return laws::ended_or_waiting(&self.execution);
            };
            self.now = self.now.max(at);
            self.step(kind)?;
        }
        hold(Law::L10, false, || format!("the execution does not come to rest in {steps_max} steps"))
    }

    /// One step, with the laws checked around it.
    pub fn step(&mut self, kind: InputKind) -> Checked<Outcome> {
        let heartbeat = matches!(kind, InputKind::TaskHeartbeat { .. });
        let at = Timestamp::from_epoch_millis(self.now);
        let stale = laws::staleness(&self.events, &kind, at);
        self.entropy = self.entropy.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let input = Input { at, entropy: self.entropy, kind };
        let budget = if self.mode == Mode::Live { 1000 } else { 1 };
        let (before, owed_before) = (self.execution.clone(), self.execution.outstanding());
        let step = self.mutated_step(input.clone(), budget);
        self.l2_same_input_same_events(before, input, budget, &step.events)?;
        let ignored = matches!(step.outcome, Outcome::Ignored(_));
        hold(Law::L3, !ignored || step.events.is_empty(), || format!("{:?} left events", step.outcome))?;
        hold(Law::L3, ignored || stale.is_none(), || format!("accepted, but {stale:?}"))?;
        self.events.extend(step.events.iter().cloned());
        step.events.iter().for_each(|event| self.table.event(event));
        step.effects.iter().for_each(|effect| self.table.effect(effect));
        let (mut replayed, mut live) = (self.replay(), self.execution.clone());
        // Deadlines of heartbeats are not journalled: both count from here.
        replayed.recovered(at);
        live.recovered(at);
        laws::replay_is_live(&self.events, &replayed, &live, &step.events)?;
        if ignored {
            laws::nothing_new(&owed_before, &step.effects)?;
        } else {
            laws::effects_are_the_difference(&owed_before, &self.execution.outstanding(), &step.effects)?;
            laws::the_end_is_told(&step.events, &step.effects)?;
        }
        laws::only_cancellations_after_the_end(&self.execution)?;
        if self.mode == Mode::RestartAfterEveryEvent && !heartbeat {
            self.execution = self.replay();
        }
        if step.more && !self.has(Mutation::ForgetTheRestOfATurn) {
            // Before anything else: the shell would do no less.
            self.inbox.insert((self.now, 0), InputKind::Resumed);
        }
        if self.interference && !ignored {
            step.effects.iter().for_each(|effect| self.interfere(effect));
        }
        for effect in step.effects {
            self.carry_out(effect);
        }
        Ok(step.outcome)
    }

    fn interfere(&mut self, effect: &Effect) {
        match effect {
            Effect::ArmTimer { timer, at } if at.epoch_millis() > self.now => {
                let early = self.now + (at.epoch_millis() - self.now) / 2;
                self.send_at(early, InputKind::TimerElapsed { timer: *timer });
            }
            Effect::ScheduleTask(task) => {
                let (task, output) = (task.task, Payload::null());
                let kind = InputKind::TaskSucceeded { task, nonce: Some(task.0), output };
                self.send(0, kind.clone());
                self.send(7, kind);
            }
            _ => {}
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::ArmTimer { timer, at } => {
                self.send_at(at.epoch_millis(), InputKind::TimerElapsed { timer });
            }
            Effect::ScheduleTask(task) => {
                let script = self.scripts.get_mut(&*task.name).and_then(VecDeque::pop_front);
                self.play(task.task, script.unwrap_or_default(), task.token.is_some());
            }
            Effect::ObserveTask(_) | Effect::Finished { .. } => {}
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

    fn l2_same_input_same_events(
        &self,
        mut before: Execution,
        input: Input,
        budget: u32,
        events: &[Event],
    ) -> Checked {
        if self.mutation.is_some_and(|mutation| mutation != Mutation::HiddenEntropy) {
            // Other bugs are left to the laws that they are planted for.
            return Ok(());
        }
        let again = engine::step(self.program, &mut before, input, budget);
        hold(Law::L2, again.events == events, || {
            format!("the same step gave {:?} and then {events:?}", again.events)
        })
    }

    /// The end of a run: the history, and whatever was answered once is not taken again.
    pub fn check_end(&mut self) -> Checked {
        laws::check_history(&self.events)?;
        let over = |event: &Event| match event.kind {
            EventKind::TaskSucceeded { task, .. } => Some(task),
            _ => None,
        };
        let tasks: Vec<TaskId> = self.events.iter().filter_map(over).collect();
        for task in tasks {
            self.step(InputKind::TaskSucceeded { task, nonce: None, output: Payload::null() })?;
        }
        Ok(())
    }

    fn replay(&self) -> Execution {
        if self.has(Mutation::SkipEventOnReplay) && self.events.len() > 3 {
            return Execution::replay(self.events.iter().filter(|event| event.seq != 3));
        }
        if !self.has(Mutation::WrongRetryCounterAfterRestart) {
            return Execution::replay(&self.events);
        }
        let mut events = self.events.clone();
        for event in &mut events {
            if let EventKind::RetryScheduled { retrier, .. } = &mut event.kind {
                *retrier += 1;
            }
        }
        Execution::replay(&events)
    }

    /// A step through the seam where bugs are planted.
    fn mutated_step(&mut self, mut input: Input, budget: u32) -> Step {
        self.mutate_input(&mut input);
        let mut step = engine::step(self.program, &mut self.execution, input, budget);
        self.mutate_effects(&mut step.effects);
        self.mutate_events(&mut step.events);
        step
    }

    fn mutate_input(&mut self, input: &mut Input) {
        match self.mutation {
            Some(Mutation::IgnoreNonce) => match &mut input.kind {
                InputKind::TaskSucceeded { nonce, .. } | InputKind::TaskFailed { nonce, .. } => *nonce = None,
                _ => {}
            },
            Some(Mutation::ResurrectClosedTask) => {
                let open = self.execution.outstanding().into_iter().find_map(|effect| match effect {
                    Effect::ScheduleTask(task) => Some(task.task),
                    _ => None,
                });
                if let (InputKind::TaskSucceeded { task, .. }, Some(open)) = (&mut input.kind, open)
                    && laws::closed(&self.events, *task)
                {
                    *task = open;
                }
            }
            Some(Mutation::TrustEarlyTimers) if matches!(input.kind, InputKind::TimerElapsed { .. }) => {
                input.at = input.at.plus(std::time::Duration::from_secs(60));
            }
            Some(Mutation::HiddenEntropy) => input.entropy ^= 1,
            _ => {}
        }
    }

    fn mutate_effects(&self, effects: &mut Vec<Effect>) {
        match self.mutation {
            Some(Mutation::DropEffect) => effects.retain(|effect| !matches!(effect, Effect::ScheduleTask(_))),
            Some(Mutation::DropTimer) => effects.retain(|effect| !matches!(effect, Effect::ArmTimer { .. })),
            Some(Mutation::ForgetCancellation) => {
                effects.retain(|effect| !laws::is_cancellation(effect));
            }
            Some(Mutation::TellEffectTwice) => effects.extend(effects.last().cloned()),
            _ => {}
        }
    }

    /// Plants a bug among the events, live and in the journal alike, so that replay alone does not show it.
    fn mutate_events(&mut self, events: &mut Vec<Event>) {
        let Some(last) = events.last().cloned() else { return };
        let again = Event {
            seq: last.seq + 1,
            history_id: last.history_id.map(|id| id + 1),
            prev: last.history_id.unwrap_or_default(),
            ..last.clone()
        };
        match self.mutation {
            Some(Mutation::CorruptPrevious) => {
                for event in events.iter_mut() {
                    event.prev = event.history_id.unwrap_or(event.prev);
                }
            }
            Some(Mutation::HistoryGap) if last.history_id.is_some() && last.seq > 4 => {
                let shifted = Event { history_id: again.history_id, ..last };
                self.execution.apply(&shifted);
                events.pop();
                events.push(shifted);
            }
            Some(Mutation::SecondTerminalEvent) if laws::is_terminal(&last.kind) => {
                self.execution.apply(&again);
                events.push(again);
            }
            Some(Mutation::ExitTwice) if matches!(last.kind, EventKind::StateExited { .. }) => {
                self.execution.apply(&again);
                events.push(again);
            }
            Some(Mutation::ApplyTwice) => self.execution.apply(&last),
            _ => {}
        }
    }
}
