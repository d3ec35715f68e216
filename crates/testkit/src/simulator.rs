//! The shard that ships, over a store that fails, in a world that goes on: virtual time, crashes, duplicates, late inputs.
//!
//! Invariant: virtual time passes only when the shard has nothing to do and nothing is in commit. So a crash takes no time,
//! and a run with faults sees the same instants as one without; that makes their ends comparable.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use asl::program::StateMachineType;
use asl::timestamp::Timestamp;
use engine::{Effect, Event, EventKind, Failure, InputKind, Limits, Payload, Start, TaskId};
use runtime::shard::{Answer, Naming, Offer, Prepared, Released, ReleasedTurn, Shard, ShardConfig, Ticket};
use runtime::{Compilers, Programs, Seeds, hash};
use store::{
    Batch, Committed, Definition, ExecutionKey, Fault, Reader, RegistryRecord, RegistryWrite, Scope,
    StateMachineRecord, StateMachineStatus,
};

use crate::Mutation;
use crate::generate::{Dice, Machine, Temper, early_timer, nuisance};
use crate::interpreter::BEGINNING;
use crate::laws::{self, Checked, Law, hold};
use crate::outside::{Message, Outside, Sender, What};
use crate::stores::FaultyStore;
use crate::table::Table;
use crate::witness::Witness;

/// Most things that happen in a run; more means that it does not come to rest.
const TICKS_MAX: u32 = 60_000;

const MACHINE_ARN: &str = "arn:aws:states:us-east-1:000000000000:stateMachine:m";

/// Whether the process is disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// It lives, and every commit succeeds.
    Off,
    /// Crashes, failing commits, duplicates, strangers.
    On,
}

/// How an execution ended and what was done for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Status with output or failure.
    pub end: String,
    /// What was called, each invocation once, and whether it was cancelled.
    pub effects: Vec<(String, bool)>,
}

/// A run of some machines on one shard. Each is a later revision of the same state machine, so that executions must keep
/// the definition they were started with.
pub struct Simulator {
    machines: Vec<Machine>,
    store: FaultyStore,
    programs: Arc<Programs>,
    shard: Shard,
    seeds: Seeds,
    now: i64,
    dice: Dice,
    faults: Faults,
    mutation: Option<Mutation>,
    outside: Outside,
    witness: Witness,
    pending: VecDeque<Prepared>,
    tickets: HashMap<Ticket, Message>,
    drawn: u64,
    redrives: Vec<u32>,
    stopped: bool,
    /// Results that were here before the batch that their timeout could be in.
    here: HashSet<(usize, TaskId)>,
    /// A batch was taken since time last passed.
    taken_now: bool,
    withheld: Vec<Offer>,
    /// How often what occurred.
    pub table: Table,
}

fn scope() -> Scope {
    Scope { account: "000000000000".into(), region: "us-east-1".into() }
}

impl Simulator {
    /// A run about to begin.
    pub fn new(seed: u64, machines: Vec<Machine>, faults: Faults, mutation: Option<Mutation>) -> Simulator {
        let store = FaultyStore::new(mutation);
        let mut dice = Dice::new(seed ^ 0xFA17);
        let duplicates = (faults == Faults::On).then(|| Dice::new(dice.below(u64::MAX)));
        let tempers = machines.iter().map(|machine| machine.temper).collect();
        let arns = (0..machines.len()).map(|n| arn(n).into()).collect();
        let seeds = Seeds::new(Some(seed));
        let programs = Arc::new(programs(&store));
        let shard = shard(&store, &programs, &seeds, &mut dice);
        Simulator {
            redrives: machines.iter().map(|machine| machine.redrives).collect(),
            machines,
            programs,
            shard,
            seeds,
            now: BEGINNING,
            dice,
            faults,
            mutation,
            outside: Outside::new(seed, tempers, mutation, duplicates),
            witness: Witness::new(arns),
            pending: VecDeque::new(),
            tickets: HashMap::new(),
            drawn: 0,
            stopped: false,
            here: HashSet::new(),
            taken_now: false,
            withheld: Vec::new(),
            table: Table::default(),
            store,
        }
    }

    fn has(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_epoch_millis(self.now)
    }

    /// Runs to rest; how each execution ended.
    pub fn run(&mut self) -> Checked<Vec<Ending>> {
        for n in 0..self.machines.len() {
            self.update_machine(n);
            let at = self.outside.fresh(n, self.now + n as i64 * 400);
            self.outside.send(at, n, Sender::Customer, What::Start);
            if let Some(stop_after) = self.machines[n].stop_after {
                self.stop(n, at + stop_after as i64);
            }
        }
        let mut ticks = 0;
        while !self.is_at_rest() || self.ask_for_more() {
            ticks += 1;
            hold(Law::L10, ticks < TICKS_MAX, || "does not come to rest".to_owned())?;
            self.tick()?;
        }
        let punctual = self.machines.iter().all(|machine| machine.temper != Temper::Wild);
        self.witness.end(&self.store, punctual)?;
        for journal in &self.witness.journals {
            journal.written.iter().for_each(|event| self.table.event(event));
        }
        let ending = |n| Ending {
            end: format!(
                "{:?} after {} redrives",
                self.witness.state(n).finished(),
                self.witness.state(n).redrive_count()
            ),
            effects: self.outside.done_for(n),
        };
        Ok((0..self.machines.len()).map(ending).collect())
    }

    /// UpdateStateMachine: what is started from now on runs the next definition.
    fn update_machine(&mut self, n: usize) {
        let text: Arc<str> = self.machines[n].definition.as_str().into();
        let record = StateMachineRecord {
            arn: MACHINE_ARN.into(),
            name: "m".into(),
            machine_type: StateMachineType::Standard,
            status: StateMachineStatus::Active,
            definition: hash(&text),
            role_arn: "arn:aws:iam::000000000000:role/r".into(),
            revision_id: None,
            created_at: self.at(),
            updated_at: self.at(),
            last_version: 0,
            logging: None,
            tracing: None,
            encryption: None,
        };
        let definition = Definition { scope: scope(), hash: hash(&text), text: Arc::clone(&text) };
        let batch = Batch {
            definitions: vec![definition],
            registry: vec![RegistryWrite::Put(RegistryRecord::StateMachine(Arc::new(record)))],
            ..Batch::default()
        };
        // The registry is not what is tested here: its writes succeed.
        self.store.append(&batch).expect("an append");
        self.store.newest = Some(text);
    }

    fn is_at_rest(&self) -> bool {
        self.pending.is_empty()
            && !self.shard.is_ready(self.at())
            && self.shard.next_due().is_none()
            && self.outside.next_due().is_none()
            && self.withheld.is_empty()
    }

    /// At rest: customers redrive what did not end well, and stop what waits for ever. Whether anything was asked.
    fn ask_for_more(&mut self) -> bool {
        let mut asked = false;
        for n in 0..self.machines.len() {
            let state = self.witness.state(n);
            let (status, at) = (state.status(), self.now + 500);
            if status == engine::Status::Running && self.machines[n].temper == Temper::Wild && !self.stopped {
                self.stop(n, at);
                asked = true;
            } else if !matches!(status, engine::Status::Running | engine::Status::Succeeded)
                && self.redrives[n] > 0
            {
                self.redrives[n] -= 1;
                let at = self.outside.fresh(n, at);
                self.outside.send(
                    at,
                    n,
                    Sender::Customer,
                    What::Input(InputKind::Redriven { client_token: None }),
                );
                asked = true;
            }
        }
        self.stopped = self.redrives.iter().all(|left| *left == 0) && !asked;
        asked
    }

    fn stop(&mut self, n: usize, at: i64) {
        let at = self.outside.fresh(n, at);
        let kind = InputKind::StopRequested { failure: Failure::new("Stopped", "by a customer") };
        self.outside.send(at, n, Sender::Customer, What::Input(kind));
    }

    /// One thing happens.
    fn tick(&mut self) -> Checked {
        if self.faults == Faults::On {
            if self.dice.chance(1) {
                self.table.happened("crash");
                return self.restart(false);
            }
            if self.dice.chance(3) {
                self.disturb();
            }
        }
        match self.dice.below(3) {
            0 if self.pending.len() < 3 => self.take(),
            0 | 1 if !self.pending.is_empty() => self.commit(),
            _ => {
                self.deliver();
                Ok(())
            }
        }
    }

    /// Somebody sends what nobody should send.
    fn disturb(&mut self) {
        self.table.happened("nuisance");
        let n = self.dice.below(self.machines.len() as u64) as usize;
        let seq = self.witness.state(n).seq();
        let at = self.now + self.dice.below(4_000) as i64;
        if self.machines[n].temper == Temper::Wild && self.dice.chance(50) {
            let kind = nuisance(&mut self.dice, seq);
            return self.outside.send(at, n, Sender::Careless, What::Input(kind));
        }
        let (sender, what) = match self.dice.below(4) {
            0 => (Sender::Customer, What::Start),
            1 => (Sender::Careless, What::Input(InputKind::Resumed)),
            2 => {
                let (task, nonce) = (TaskId(self.dice.below(seq + 3)), Some(self.dice.below(u64::MAX)));
                let kind = InputKind::TaskSucceeded { task, nonce, output: Payload::null() };
                (Sender::Stranger, What::Input(kind))
            }
            _ => (Sender::Careless, What::Input(early_timer(&mut self.dice, seq))),
        };
        self.outside.send(at, n, sender, what);
    }

    fn take(&mut self) -> Checked {
        let taken = self.shard.take_batch(self.at()).expect("a readable store");
        self.taken_now = true;
        for offer in std::mem::take(&mut self.withheld) {
            self.shard.offer(offer);
        }
        let Some(prepared) = taken else { return Ok(()) };
        self.results_before_timers(&prepared)?;
        if self.has(Mutation::DispatchBeforeCommit) || self.has(Mutation::AnswerBeforeCommit) {
            let mut released = self.shard.committed(prepared.id, &Committed::default());
            if self.has(Mutation::DispatchBeforeCommit) {
                released.answers.clear();
            } else {
                released.turns.clear();
            }
            self.release(released)?;
        }
        self.pending.push_back(prepared);
        Ok(())
    }

    /// L3: a result that was here is not overtaken by a timer that fell due later.
    fn results_before_timers(&mut self, prepared: &Prepared) -> Checked {
        for turn in &prepared.batch.turns {
            let Some(index) = self.execution_of(turn.execution) else { continue };
            for event in turn.events.iter() {
                if let EventKind::TaskTimedOut { task, .. } = event.kind {
                    let overtaken = self.here.contains(&(index, task));
                    hold(Law::L3, !overtaken, || format!("{event:?}, and its result was here before"))?;
                }
            }
        }
        Ok(())
    }

    fn execution_of(&self, key: ExecutionKey) -> Option<usize> {
        let row = self.store.truth().execution_by_key(key).expect("a row")?;
        Some(self.witness.index(&row.arn))
    }

    fn commit(&mut self) -> Checked {
        let Some(prepared) = self.pending.pop_front() else { return Ok(()) };
        if self.has(Mutation::DispatchBeforeCommit) || self.has(Mutation::AnswerBeforeCommit) {
            let _ = self.store.append(&prepared.batch);
            return self.witness.wrote(&prepared.batch);
        }
        if self.faults == Faults::On && self.dice.chance(3) {
            let fault = match self.dice.below(3) {
                0 => (Fault::Full, "disk full"),
                1 => (Fault::UnknownKept, "unknown, kept"),
                _ => (Fault::UnknownLost, "unknown, lost"),
            };
            self.table.happened(fault.1);
            self.store.inject(fault.0);
        }
        let committed = match self.store.append(&prepared.batch) {
            Ok(committed) => {
                self.witness.wrote(&prepared.batch)?;
                committed
            }
            Err(_) if self.has(Mutation::TakeUnknownForCommitted) => Committed::default(),
            Err(_) if self.has(Mutation::TakeUnknownForNothing) => {
                drop(self.shard.committed(prepared.id, &Committed::default()));
                return Ok(());
            }
            Err(store::StoreError::Refused(reason)) => {
                return hold(Law::L1, false, || format!("the store refuses a batch: {reason}"));
            }
            Err(_) => return self.restart(true),
        };
        if self.faults == Faults::On && self.dice.chance(2) {
            self.table.happened("crash after commit");
            return self.restart(false);
        }
        let released = self.shard.committed(prepared.id, &committed);
        self.release(released)
    }

    fn release(&mut self, released: Released) -> Checked {
        for (ticket, answer) in released.answers {
            let Some(message) = self.tickets.remove(&ticket) else { continue };
            self.table.happened(match &answer {
                Answer::Started { .. } => "answer: started",
                Answer::NameTaken => "answer: name taken",
                Answer::Accepted { .. } => "answer: accepted",
                Answer::Ignored(_) => "answer: ignored",
                Answer::Unknown => "answer: unknown",
                Answer::Quarantined => "answer: quarantined",
            });
            self.witness.answered(&message, &answer)?;
            if answer == Answer::Unknown && message.sender == Sender::Customer {
                // It came before the start did.
                self.outside.send(self.now + 50, message.execution, message.sender, message.what);
            }
        }
        for mut turn in released.turns {
            let index = self.witness.index(&turn.start.execution_arn);
            self.falsify(&mut turn);
            self.witness.released(index, &turn)?;
            for effect in turn.effects {
                if self.faults == Faults::On && self.dice.chance(1) {
                    self.table.happened("crash between effects");
                    return self.restart(false);
                }
                self.table.effect(&effect);
                self.carry_out(index, effect);
            }
            self.count_timers(&turn.events);
        }
        Ok(())
    }

    /// Timers do not leave the shard; they are counted by the events that arm them.
    fn count_timers(&mut self, events: &[Event]) {
        let arms = |event: &&Event| {
            matches!(event.kind, EventKind::WaitScheduled { .. } | EventKind::RetryScheduled { .. })
        };
        for event in events.iter().filter(arms) {
            let timer = engine::TimerId { seq: event.seq, kind: engine::TimerKind::Wait };
            self.table.effect(&Effect::ArmTimer { timer, at: event.at });
        }
    }

    fn falsify(&self, turn: &mut ReleasedTurn) {
        let recovered = turn.events.is_empty();
        match self.mutation {
            Some(Mutation::LoseFinished) => {
                turn.effects.retain(|effect| !matches!(effect, Effect::Finished { .. }))
            }
            Some(Mutation::ForgetCancellationAfterRestart) if recovered => {
                turn.effects.retain(|effect| !laws::is_cancellation(effect));
            }
            Some(Mutation::StartSubmittedJobsAgain) if recovered => {
                for effect in &mut turn.effects {
                    if let Effect::ObserveTask(observe) = effect {
                        *effect = Effect::ScheduleTask(Box::new(engine::ScheduleTask {
                            task: observe.task,
                            state: "".into(),
                            name: "".into(),
                            resource: observe.resource.clone(),
                            arguments: Payload::null(),
                            credentials_role: None,
                            token: None,
                            attempt: 0,
                            invocation: 0,
                            timeout: None,
                            heartbeat: None,
                        }));
                    }
                }
            }
            _ => {}
        }
    }

    fn carry_out(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::ScheduleTask(task) => self.outside.schedule(index, &task, self.now),
            Effect::ObserveTask(task) => self.outside.observe(index, task.task, self.now),
            Effect::CancelTask(task) => self.outside.cancel(index, task.task, self.now),
            Effect::StopMapRun(map_run) => self.outside.cancel(index, map_run.task, self.now),
            Effect::StartMapRun(map_run) => {
                self.outside.map_run(index, map_run.task, &map_run.state, self.now);
            }
            Effect::ArmTimer { .. } | Effect::Finished { .. } => {}
        }
    }

    /// If nothing is left to do now, time passes to the next thing due; what is sent by then is offered.
    fn deliver(&mut self) {
        let idle = !self.shard.is_ready(self.at()) && self.pending.is_empty() && self.withheld.is_empty();
        let due = self.shard.next_due().map(Timestamp::epoch_millis);
        let next = [due, self.outside.next_due()].into_iter().flatten().min();
        if let Some(next) = next.filter(|next| idle && *next > self.now) {
            self.now = next;
            self.taken_now = false;
        }
        for message in self.outside.due(self.now) {
            self.offer(message);
        }
    }

    /// RedriveExecution is not repeated blindly: who got no answer looks whether it was done.
    fn is_done_already(&self, message: &Message) -> bool {
        let n = message.execution;
        let asked = self.machines[n].redrives - self.redrives[n];
        let done = self.witness.state(n).redrive_count();
        message.sender == Sender::Customer
            && matches!(message.what, What::Input(InputKind::Redriven { .. }))
            && done >= asked
    }

    fn offer(&mut self, message: Message) {
        if self.is_done_already(&message) {
            return;
        }
        let execution: Arc<str> = Arc::clone(&self.witness.arns[message.execution]);
        let ticket = matches!(message.sender, Sender::Customer | Sender::Stranger).then(|| {
            self.drawn += 1;
            Ticket(self.drawn)
        });
        let offer = match &message.what {
            What::Start => {
                let start = Arc::new(self.start(message.execution));
                let program = self.programs.get(&scope(), start.definition).expect("a program");
                Offer::Start { start, program, naming: Naming::Given, ticket }
            }
            What::Input(kind) => Offer::Input { execution, kind: kind.clone(), ticket },
        };
        let result = match &message.what {
            What::Input(InputKind::TaskSucceeded { task, .. } | InputKind::TaskFailed { task, .. }) => {
                Some(*task).filter(|_| !matches!(message.sender, Sender::Stranger | Sender::Careless))
            }
            What::Input(_) | What::Start => None,
        };
        if let Some(task) = result {
            if !self.taken_now && !self.witness.is_over(message.execution, task) {
                self.here.insert((message.execution, task));
            }
            if self.has(Mutation::TimersBeforeResults) {
                self.tickets.extend(ticket.map(|ticket| (ticket, message)));
                return self.withheld.push(offer);
            }
        }
        self.tickets.extend(ticket.map(|ticket| (ticket, message)));
        self.shard.offer(offer);
    }

    fn start(&self, n: usize) -> Start {
        let machine = &self.machines[n];
        Start {
            execution_arn: Arc::clone(&self.witness.arns[n]),
            name: format!("e{n}").into(),
            state_machine_arn: MACHINE_ARN.into(),
            state_machine_name: "m".into(),
            version_arn: None,
            alias_arn: None,
            role_arn: "arn:aws:iam::000000000000:role/r".into(),
            definition: hash(&machine.definition),
            revision_id: None,
            workflow: "".into(),
            input: machine.input(),
            machine_type: StateMachineType::Standard,
            trace_header: None,
            map_run: None,
            region: "us-east-1".into(),
            account: "000000000000".into(),
            test_case: None,
            synchronous: false,
            limits: Limits { events_max: machine.events_max, ..Limits::default() },
        }
    }

    /// The process is gone and another begins, or (after a commit without an outcome) the shard forgets everything.
    fn restart(&mut self, commit_failed: bool) -> Checked {
        self.pending.clear();
        self.withheld.clear();
        self.here.clear();
        self.outside.process_died();
        for (_, message) in std::mem::take(&mut self.tickets) {
            if message.sender == Sender::Customer {
                self.outside.send(self.now, message.execution, message.sender, message.what);
            }
        }
        let wild = self.machines.iter().all(|machine| machine.temper == Temper::Wild);
        if wild && self.dice.chance(30) {
            self.table.happened("downtime");
            self.now += self.dice.below(5_000) as i64;
        }
        if commit_failed && self.dice.chance(50) {
            self.table.happened("same process goes on");
            self.shard.failed();
        } else {
            self.store.reopen();
            self.programs = Arc::new(programs(&self.store));
            self.shard = shard(&self.store, &self.programs, &self.seeds, &mut self.dice);
        }
        self.witness.restarted(&self.store, commit_failed)?;
        self.recover();
        Ok(())
    }

    /// As the runtime does at its start.
    fn recover(&mut self) {
        let reader = self.store.reader();
        let mut skip = self.has(Mutation::SkipRecovery);
        for open in reader.open(None, None, 1_000).expect("a page") {
            let Some(row) = reader.execution_by_key(open.execution).expect("a row") else { continue };
            match open.due {
                Some(due) if !open.owes_tasks => {
                    self.table.happened("wake later");
                    self.shard.offer(Offer::WakeAt { execution: row.arn, due });
                }
                None if !open.owes_tasks => {}
                Some(_) | None => {
                    if !std::mem::take(&mut skip) {
                        self.table.happened("recover");
                        self.shard.offer(Offer::Recover { execution: row.arn, ticket: None });
                    }
                }
            }
        }
    }
}

fn arn(n: usize) -> String {
    format!("arn:aws:states:us-east-1:000000000000:execution:m:e{n}")
}

fn programs(store: &FaultyStore) -> Programs {
    Programs::new(store.reader(), Compilers::with_catalog(Arc::new(asl::resource::AnyResource)))
}

fn shard(store: &FaultyStore, programs: &Arc<Programs>, seeds: &Seeds, dice: &mut Dice) -> Shard {
    let config = ShardConfig {
        stopwatch: || Duration::ZERO,
        budget: 12,
        turns_max: 4,
        park_after: Duration::from_millis(300 + dice.below(3_000)),
        ..ShardConfig::default()
    };
    let seeds = seeds.fork(dice.below(u64::MAX));
    Shard::new(config, store.reader(), store.keys(), Arc::clone(programs), seeds, [])
}
