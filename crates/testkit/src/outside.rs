//! The world outside of the process: customers, workers, functions, jobs. It outlives every crash of the process.
//!
//! Invariant: what an invocation does depends on the seed and on what is called, never on when or how often it is delivered;
//! it is known by its invocation id, and a redelivery finds the work that was begun. Answers that only the process knew of
//! (responses to its calls) die with it; customers and workers ask until they are answered. No two answers for an execution
//! fall on the same millisecond of a second, so that virtual time alone orders them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use asl::payload::Payload;
use asl::program::{Pattern, ResourceKind};
use engine::{Failure, InputKind, MapRunResult, ScheduleTask, Stage, TaskId, token};
use serde_json::json;

use crate::Mutation;
use crate::generate::{Dice, Temper};

/// Who sends, and what becomes of the message when the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// Asks again until answered.
    Customer,
    /// A response to a call of the process: gone with it.
    Process,
    /// Sent once, by somebody who does not look at the answer.
    Careless,
    /// Sent once, by somebody who must not be believed.
    Stranger,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// StartExecution.
    Start,
    /// UpdateStateMachine, to the definition of this machine.
    Update(usize),
    /// Anything else.
    Input(InputKind),
}

/// Something on its way to the shard.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) execution: usize,
    pub(crate) what: What,
    pub(crate) sender: Sender,
}

/// What a task does.
#[derive(Clone, Debug)]
enum Deed {
    Succeeds(Payload),
    Fails(Failure, Stage),
    Hangs,
}

/// Work that somebody does for a task.
#[derive(Clone, Debug)]
struct Invocation {
    /// What was called: path and arguments.
    called: String,
    /// Which of several such calls.
    count: u64,
    begun_at: i64,
    deed: Deed,
    submit_at: i64,
    end_at: i64,
    cancel_at: Option<i64>,
    /// Called off in the moment of the call. Whether such a call is made at all is up to chance: a process that dies
    /// between the two finds nothing to call when it is back.
    fleeting: bool,
    nonce: Option<u64>,
}

/// The world.
pub(crate) struct Outside {
    seed: u64,
    mutation: Option<Mutation>,
    tempers: Vec<Temper>,
    /// By execution and invocation id.
    invocations: BTreeMap<(usize, String), Invocation>,
    tasks: HashMap<(usize, u64), String>,
    deliveries: u64,
    /// Milliseconds of a second that are taken.
    residues: Vec<BTreeSet<i64>>,
    messages: BTreeMap<(i64, u64), Message>,
    order: u64,
    /// Sends some messages twice.
    duplicates: Option<Dice>,
}

impl Outside {
    pub(crate) fn new(
        seed: u64,
        tempers: Vec<Temper>,
        mutation: Option<Mutation>,
        duplicates: Option<Dice>,
    ) -> Outside {
        Outside {
            seed,
            mutation,
            residues: vec![BTreeSet::new(); tempers.len()],
            tempers,
            invocations: BTreeMap::new(),
            tasks: HashMap::new(),
            deliveries: 0,
            messages: BTreeMap::new(),
            order: 0,
            duplicates,
        }
    }

    /// A time from then on that nothing else of this execution falls on.
    pub(crate) fn fresh(&mut self, execution: usize, from: i64) -> i64 {
        let taken = &mut self.residues[execution];
        let at = (from..from + 1_000).find(|at| !taken.contains(&at.rem_euclid(1_000))).unwrap_or(from);
        taken.insert(at.rem_euclid(1_000));
        at
    }

    /// A time from then on that nothing else falls on.
    pub(crate) fn fresh_for_all(&mut self, from: i64) -> i64 {
        let is_free = |at: &i64| self.residues.iter().all(|taken| !taken.contains(&at.rem_euclid(1_000)));
        let at = (from..from + 1_000).find(is_free).unwrap_or(from);
        for taken in &mut self.residues {
            taken.insert(at.rem_euclid(1_000));
        }
        at
    }

    pub(crate) fn send(&mut self, at: i64, execution: usize, sender: Sender, what: What) {
        let again = match &mut self.duplicates {
            Some(dice) if sender == Sender::Process => dice.chance(20).then(|| at + dice.below(9_000) as i64),
            Some(_) | None => None,
        };
        for at in [Some(at), again].into_iter().flatten() {
            self.order += 1;
            self.messages.insert((at, self.order), Message { execution, what: what.clone(), sender });
        }
    }

    fn input(&mut self, at: i64, execution: usize, sender: Sender, kind: InputKind) {
        self.send(at, execution, sender, What::Input(kind));
    }

    /// When something will be sent next.
    pub(crate) fn next_due(&self) -> Option<i64> {
        self.messages.first_key_value().map(|((at, _), _)| *at)
    }

    /// What is sent by now.
    pub(crate) fn due(&mut self, now: i64) -> Vec<Message> {
        let later = self.messages.split_off(&(now + 1, 0));
        std::mem::replace(&mut self.messages, later).into_values().collect()
    }

    /// The process is gone, and with it what only it was told.
    pub(crate) fn process_died(&mut self) {
        self.messages.retain(|_, message| message.sender != Sender::Process);
    }

    /// The process asks for a task, perhaps again.
    pub(crate) fn schedule(&mut self, execution: usize, task: &ScheduleTask, now: i64) {
        let called = format!("{} {}", task.state, task.arguments.text());
        self.deliveries += 1;
        let id = match self.mutation {
            Some(Mutation::ReuseInvocationIds) => called.clone(),
            Some(Mutation::FreshInvocationIds) => format!("{}#{}", task.task, self.deliveries),
            _ => task.task.to_string(),
        };
        self.tasks.insert((execution, task.task.0), id.clone());
        let key = (execution, id);
        if !self.invocations.contains_key(&key) {
            let invocation = self.begin(execution, called, Some(task), now);
            self.beat(execution, task, &invocation, now);
            self.invocations.insert(key.clone(), invocation);
        }
        let invocation = self.invocations[&key].clone();
        self.answer(execution, task, &invocation, now);
    }

    fn begin(
        &mut self,
        execution: usize,
        called: String,
        task: Option<&ScheduleTask>,
        now: i64,
    ) -> Invocation {
        let earlier = self
            .invocations
            .iter()
            .filter(|((of, _), earlier)| *of == execution && earlier.called == called && !earlier.fleeting);
        let count = earlier.count() as u64 + 1;
        let mut hasher = DefaultHasher::new();
        (self.seed, execution, &called, count).hash(&mut hasher);
        let mut dice = Dice::new(hasher.finish());
        let temper = self.tempers[execution];
        let deed = deed(&mut dice, temper, task);
        let submit_at = self.fresh(execution, now + 50 + dice.below(1_200) as i64);
        let timeout =
            task.and_then(|task| task.timeout).filter(|_| temper == Temper::Wild && dice.chance(30));
        let end_at = match timeout {
            // At the very moment when it times out.
            Some(timeout) => now + timeout.as_millis() as i64,
            None => self.fresh(execution, submit_at + 50 + dice.below(3_500) as i64),
        };
        let nonce = task.and_then(|task| token::decode(task.token.as_ref()?)).map(|token| token.nonce);
        Invocation {
            called,
            count,
            begun_at: now,
            deed,
            submit_at,
            end_at,
            cancel_at: None,
            fleeting: false,
            nonce,
        }
    }

    /// Who works sends heartbeats, often enough; who hangs does not.
    fn beat(&mut self, execution: usize, task: &ScheduleTask, invocation: &Invocation, now: i64) {
        if task.heartbeat.is_none() || matches!(invocation.deed, Deed::Hangs) {
            return;
        }
        for at in (now..invocation.end_at).step_by(900).skip(1) {
            let kind = InputKind::TaskHeartbeat { task: task.task, nonce: invocation.nonce };
            self.input(at, execution, Sender::Careless, kind);
        }
    }

    fn answer(&mut self, execution: usize, task: &ScheduleTask, invocation: &Invocation, now: i64) {
        let id = task.task;
        let (submit_at, end_at) = (invocation.submit_at.max(now), invocation.end_at.max(now));
        let submitted = InputKind::TaskSubmitted { task: id, handle: handle(), output: handle() };
        let early = matches!(invocation.deed, Deed::Fails(_, Stage::Submit | Stage::Start));
        match &task.resource.kind {
            ResourceKind::Service { pattern: Pattern::Sync | Pattern::Sync2, .. } if !early => {
                self.input(submit_at, execution, Sender::Process, submitted);
            }
            ResourceKind::Service { pattern: Pattern::WaitForTaskToken, .. } if !early => {
                self.input(submit_at, execution, Sender::Process, submitted);
                self.end(end_at, execution, id, invocation, Sender::Customer);
            }
            ResourceKind::Activity => {
                // The worker has the task from the hand-out on, whatever the process remembers of it.
                let worker_name = Some("worker".into());
                let kind = InputKind::TaskStarted { task: id, worker_name };
                self.input(submit_at, execution, Sender::Process, kind);
                self.end(end_at, execution, id, invocation, Sender::Customer);
            }
            ResourceKind::Service { .. } | ResourceKind::Lambda => {
                self.end(end_at, execution, id, invocation, Sender::Process);
            }
        }
    }

    fn end(&mut self, at: i64, execution: usize, task: TaskId, invocation: &Invocation, sender: Sender) {
        let nonce = invocation.nonce.filter(|_| sender == Sender::Customer);
        let kind = match &invocation.deed {
            Deed::Hangs => return,
            Deed::Succeeds(output) => InputKind::TaskSucceeded { task, nonce, output: output.clone() },
            Deed::Fails(failure, stage) => {
                let (failure, stage) = (failure.clone(), if nonce.is_some() { Stage::Run } else { *stage });
                InputKind::TaskFailed { task, nonce, failure, stage }
            }
        };
        self.input(at, execution, sender, kind);
    }

    /// The process watches a job.
    pub(crate) fn observe(&mut self, execution: usize, task: TaskId, now: i64) {
        let Some(invocation) = self.invocation(execution, task).cloned() else { return };
        self.end(invocation.end_at.max(now), execution, task, &invocation, Sender::Process);
    }

    /// The process lets go of a task or Map Run.
    pub(crate) fn cancel(&mut self, execution: usize, task: TaskId, now: i64) {
        let known = self.invocation(execution, task).and_then(|invocation| invocation.cancel_at);
        let at = known.unwrap_or_else(|| self.fresh(execution, now + 200));
        let key = self.tasks.get(&(execution, task.0)).map(|id| (execution, id.clone()));
        if let Some(invocation) = key.and_then(|key| self.invocations.get_mut(&key)) {
            invocation.cancel_at = Some(at);
            invocation.fleeting |= invocation.begun_at == now;
        }
        self.input(at.max(now), execution, Sender::Process, InputKind::TaskCancelled { task });
    }

    /// The process starts a Map Run, or finds it again.
    pub(crate) fn map_run(&mut self, execution: usize, task: TaskId, state: &str, now: i64) {
        let key = (execution, task.to_string());
        self.tasks.insert((execution, task.0), task.to_string());
        if !self.invocations.contains_key(&key) {
            let invocation = self.begin(execution, state.to_owned(), None, now);
            self.invocations.insert(key.clone(), invocation);
        }
        let invocation = &self.invocations[&key];
        let at = invocation.end_at.max(now);
        let result = match &invocation.deed {
            Deed::Succeeds(output) => MapRunResult::Succeeded(output.clone()),
            Deed::Fails(failure, _) => MapRunResult::Failed(failure.clone()),
            Deed::Hangs => MapRunResult::Aborted,
        };
        self.input(at, execution, Sender::Process, InputKind::MapRunEnded { task, result });
    }

    fn invocation(&self, execution: usize, task: TaskId) -> Option<&Invocation> {
        let id = self.tasks.get(&(execution, task.0))?;
        self.invocations.get(&(execution, id.clone()))
    }

    /// What was done for an execution, each invocation once, and whether it was called off.
    pub(crate) fn done_for(&self, execution: usize) -> Vec<(String, bool)> {
        let done = self.invocations.iter().filter(|((of, _), done)| *of == execution && !done.fleeting);
        let mut done: Vec<_> = done
            .map(|(_, done)| (format!("{} #{}", done.called, done.count), done.cancel_at.is_some()))
            .collect();
        done.sort();
        done
    }
}

fn deed(dice: &mut Dice, temper: Temper, task: Option<&ScheduleTask>) -> Deed {
    let may_hang = task.is_none_or(|task| match temper {
        Temper::Ordered => task.timeout.is_some() && task.heartbeat.is_none(),
        Temper::Sequential => task.timeout.is_some() || task.heartbeat.is_some(),
        Temper::Wild => true,
    });
    let stage = match dice.below(4) {
        0 => Stage::Submit,
        1 => Stage::Start,
        _ => Stage::Run,
    };
    match dice.below(100) {
        0..60 => Deed::Succeeds(Payload::from_value(json!({ "done": dice.below(100) }))),
        60..75 => Deed::Fails(Failure::named("Own"), stage),
        75..86 => Deed::Fails(Failure::new("Odd", "cause"), stage),
        _ if may_hang => Deed::Hangs,
        _ => Deed::Succeeds(Payload::from_value(json!("late"))),
    }
}

fn handle() -> Payload {
    Payload::from_value(json!({ "handle": 1 }))
}
