//! One offer becomes one turn.
//!
//! Invariant: a panic inside the core takes down only its own execution, and durably: the execution leaves memory, a
//! quarantine row leaves with the batch, and from then on every input for it is answered [`Answer::Quarantined`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use asl::program::Program;
use asl::timestamp::Timestamp;
use engine::{Effect, Event, Execution, Input, InputKind, Outcome, Start, Status, Step};
use store::{ExecutionKey, ExecutionStatus, Parked, Quarantined, Scope, Standing, StoreError};

use super::resident::Resident;
use super::{Answer, Naming, Offer, Shard, Ticket};
use crate::programs::ProgramError;

/// A finished turn.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) key: Option<ExecutionKey>,
    pub(super) start: Option<Arc<Start>>,
    pub(super) record: Option<Record>,
    /// Takes back the row that says "parked".
    pub(super) unparked: Option<Parked>,
    pub(super) quarantine: Option<Quarantined>,
    pub(super) answer: Option<(Ticket, Answer)>,
    pub(super) effects: Vec<Effect>,
}

/// The part of a turn that is written.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) execution: ExecutionKey,
    pub(super) events: Arc<[Event]>,
    pub(super) standing: Standing,
}

impl Turn {
    fn only(answer: Option<(Ticket, Answer)>) -> Option<Turn> {
        answer.map(|answer| Turn { answer: Some(answer), ..Turn::empty() })
    }

    fn empty() -> Turn {
        Turn {
            key: None,
            start: None,
            record: None,
            unparked: None,
            quarantine: None,
            answer: None,
            effects: Vec::new(),
        }
    }
}

/// Whether an execution could be brought into memory.
enum Loaded {
    Resident,
    Unknown,
    Quarantined,
    /// Just now: the row is to be written.
    Broken(Quarantined),
}

impl Shard {
    /// Steps one offer; `None` if nothing came of it that anyone has to know.
    pub(super) fn turn(&mut self, offer: Offer, now: Timestamp) -> Result<Option<Turn>, StoreError> {
        match offer {
            Offer::Start { start, program, naming, ticket } => {
                self.begin(start, program, naming, ticket, now)
            }
            Offer::Input { execution, kind, ticket } => self.input(&execution, kind, ticket, now),
            Offer::Recover { execution, ticket } => self.recover(&execution, ticket, now),
            Offer::Release { execution, ticket } => {
                if let Some(row) = self.row(&execution)? {
                    self.quarantined.remove(&row.key);
                }
                self.recover(&execution, ticket, now)
            }
            Offer::WakeAt { execution, .. } => match self.load(&execution, now)? {
                Loaded::Broken(row) => Ok(Some(self.broken(row, None))),
                Loaded::Resident | Loaded::Unknown | Loaded::Quarantined => Ok(None),
            },
        }
    }

    fn begin(
        &mut self,
        start: Arc<Start>,
        program: Arc<Program>,
        naming: Naming,
        ticket: Option<Ticket>,
        now: Timestamp,
    ) -> Result<Option<Turn>, StoreError> {
        if let Some(answer) = self.taken(&start, naming, now)? {
            return Ok(Turn::only(ticket.map(|ticket| (ticket, answer))));
        }
        let arn = Arc::clone(&start.execution_arn);
        let scope = Scope { account: Arc::clone(&start.account), region: Arc::clone(&start.region) };
        let key = self.keys.draw(&scope)?;
        self.residents.insert(&arn, Resident::new(key, Execution::new(), program, now));
        self.step(&arn, InputKind::Started(start), ticket, now)
    }

    /// The answer for a name that somebody has already: AWS gives the same execution again while it runs with the same input.
    fn taken(&mut self, start: &Start, naming: Naming, now: Timestamp) -> Result<Option<Answer>, StoreError> {
        let arn = &start.execution_arn;
        if self.residents.get(arn).is_none() {
            if naming == Naming::Generated {
                return Ok(None);
            }
            let Some(row) = self.row(arn)? else { return Ok(None) };
            if row.status != ExecutionStatus::Running || !matches!(self.load(arn, now)?, Loaded::Resident) {
                return Ok(Some(Answer::NameTaken));
            }
        }
        let Some(resident) = self.residents.get(arn) else { return Ok(Some(Answer::NameTaken)) };
        let same = resident.execution.start().is_some_and(|running| {
            running.input.text() == start.input.text()
                && running.state_machine_arn == start.state_machine_arn
                && running.test_case == start.test_case
        });
        if resident.execution.status() != Status::Running || !same {
            return Ok(Some(Answer::NameTaken));
        }
        Ok(Some(Answer::Started { start_date: resident.start_date }))
    }

    fn input(
        &mut self,
        arn: &Arc<str>,
        kind: InputKind,
        ticket: Option<Ticket>,
        now: Timestamp,
    ) -> Result<Option<Turn>, StoreError> {
        let refused = match self.load(arn, now)? {
            Loaded::Resident => return self.step(arn, kind, ticket, now),
            Loaded::Unknown => Answer::Unknown,
            Loaded::Quarantined => Answer::Quarantined,
            Loaded::Broken(row) => return Ok(Some(self.broken(row, ticket))),
        };
        Ok(Turn::only(ticket.map(|ticket| (ticket, refused))))
    }

    /// Everything owed is asked for again. Read from committed state only, so nothing is written.
    fn recover(
        &mut self,
        arn: &Arc<str>,
        ticket: Option<Ticket>,
        now: Timestamp,
    ) -> Result<Option<Turn>, StoreError> {
        let refused = match self.load(arn, now)? {
            Loaded::Resident => None,
            Loaded::Unknown => Some(Answer::Unknown),
            Loaded::Quarantined => Some(Answer::Quarantined),
            Loaded::Broken(row) => return Ok(Some(self.broken(row, ticket))),
        };
        if let Some(refused) = refused {
            return Ok(Turn::only(ticket.map(|ticket| (ticket, refused))));
        }
        let Some(resident) = self.residents.get(arn) else { return Ok(None) };
        let mut effects = resident.execution.outstanding();
        // What this process asked for itself since it loaded the execution is on its way already.
        effects.retain(|effect| seq_of(effect).is_some_and(|seq| seq <= resident.loaded_seq));
        let start = resident.execution.start().cloned();
        if resident.execution.is_runnable() {
            // The process may have died between two turns of one input: go on where it stopped.
            self.continue_later(arn);
        }
        let answer = ticket.map(|ticket| (ticket, Answer::Accepted { at: now }));
        Ok(Some(Turn { start, effects, answer, ..Turn::empty() }))
    }

    /// The rest of a turn that ran out of budget, after those who wait already.
    fn continue_later(&mut self, arn: &Arc<str>) {
        if let Some(resident) = self.residents.get_mut(arn)
            && !std::mem::replace(&mut resident.continuing, true)
        {
            let execution = Arc::clone(arn);
            self.offers.push_back(Offer::Input { execution, kind: InputKind::Resumed, ticket: None });
        }
    }

    /// Moves a resident execution by one input.
    fn step(
        &mut self,
        arn: &Arc<str>,
        kind: InputKind,
        ticket: Option<Ticket>,
        now: Timestamp,
    ) -> Result<Option<Turn>, StoreError> {
        let entropy = self.seeds.draw();
        let budget = self.config.budget;
        let Some(resident) = self.residents.get_mut(arn) else { return Ok(None) };
        resident.touch(now);
        let starting = matches!(kind, InputKind::Started(_));
        if matches!(kind, InputKind::Resumed) {
            resident.continuing = false;
        }
        let input = Input { at: now, entropy, kind };
        let (program, preconditions) = (Arc::clone(&resident.program), Arc::clone(&self.preconditions));
        let key = resident.key;
        let execution = &mut resident.execution;
        let before = execution.seq();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let step = engine::step_with(&program, execution, input, budget, &*preconditions);
            let settled = execution.status() != Status::Running && execution.outstanding().is_empty();
            (step, settled)
        }));
        let (step, settled) = match result {
            Ok(result) => result,
            Err(panic) if starting => {
                // Nothing of it is on disk, so there is nothing to take out of service.
                tracing::error!(%arn, reason = panic_text(panic.as_ref()), "an execution could not be started");
                self.residents.remove(&mut self.timers, arn);
                return Ok(Turn::only(ticket.map(|ticket| (ticket, Answer::Quarantined))));
            }
            Err(panic) => {
                let row = self.give_up(arn, key, before, panic_text(panic.as_ref()));
                return Ok(Some(self.broken(row, ticket)));
            }
        };
        if step.more {
            self.continue_later(arn);
        }
        Ok(self.finish(arn, step, settled, starting, ticket, now))
    }

    fn finish(
        &mut self,
        arn: &Arc<str>,
        step: Step,
        settled: bool,
        starting: bool,
        ticket: Option<Ticket>,
        now: Timestamp,
    ) -> Option<Turn> {
        let resident = self.residents.get_mut(arn)?;
        resident.settled = settled;
        let effects = resident.arm_all(&mut self.timers, arn, step.effects);
        let answer = ticket.map(|ticket| {
            let answer = match step.outcome {
                Outcome::Accepted if starting => Answer::Started { start_date: now },
                Outcome::Accepted => Answer::Accepted { at: now },
                Outcome::Ignored(reason) => Answer::Ignored(reason),
            };
            (ticket, answer)
        });
        if step.events.is_empty() {
            let start = resident.execution.start().cloned();
            let silent = answer.is_none() && effects.is_empty();
            return (!silent).then(|| Turn { start, answer, effects, ..Turn::empty() });
        }
        if starting {
            resident.start_date = now;
        }
        resident.in_commit += 1;
        let key = resident.key;
        let unparked = std::mem::take(&mut resident.parked_row).then_some(Parked {
            execution: key,
            due: None,
            owes_tasks: true,
        });
        let standing = if settled { Standing::Settled } else { Standing::Open };
        let record = Record { execution: key, events: step.events.into(), standing };
        let start = resident.execution.start().cloned();
        Some(Turn {
            key: Some(key),
            start,
            record: Some(record),
            unparked,
            quarantine: None,
            answer,
            effects,
        })
    }

    /// Brings an execution into memory.
    fn load(&mut self, arn: &Arc<str>, now: Timestamp) -> Result<Loaded, StoreError> {
        if self.residents.get(arn).is_some() {
            return Ok(Loaded::Resident);
        }
        let Some(row) = self.row(arn)? else { return Ok(Loaded::Unknown) };
        let key = row.key;
        // A newer binary tries once; an older verdict of the same one stands.
        if self.quarantined.get(&key).is_some_and(|verdict| verdict.version == self.config.version) {
            return Ok(Loaded::Quarantined);
        }
        let events = match self.reader.events(key) {
            Ok(events) => events,
            Err(StoreError::Corrupt { seq, reason, .. }) => {
                return Ok(Loaded::Broken(self.give_up(arn, key, seq, reason)));
            }
            Err(other) => return Err(other),
        };
        let replayed = catch_unwind(AssertUnwindSafe(|| {
            let mut execution = Execution::replay(&events);
            execution.recovered(now);
            let timers = execution.outstanding();
            (execution, timers)
        }));
        let (execution, owed) = match replayed {
            Ok(replayed) => replayed,
            Err(panic) => return Ok(Loaded::Broken(self.give_up(arn, key, 0, panic_text(panic.as_ref())))),
        };
        let Some(start) = execution.start().cloned() else { return Ok(Loaded::Unknown) };
        let scope = Scope { account: Arc::clone(&start.account), region: Arc::clone(&start.region) };
        let program = match self.programs.get(&scope, start.definition) {
            Ok(program) => program,
            Err(ProgramError::Store(error)) => return Err(error),
            Err(unusable) => return Ok(Loaded::Broken(self.give_up(arn, key, 0, unusable.to_string()))),
        };
        let mut resident = Resident::new(key, execution, program, now);
        resident.start_date = events.first().map_or(now, |event| event.at);
        resident.settled = resident.execution.status() != Status::Running && owed.is_empty();
        resident.parked_row = true;
        resident.loaded_seq = resident.execution.seq();
        resident.arm_all(&mut self.timers, arn, owed);
        self.residents.insert(arn, resident);
        Ok(Loaded::Resident)
    }

    /// Takes an execution out of service.
    fn give_up(&mut self, arn: &Arc<str>, execution: ExecutionKey, seq: u64, reason: String) -> Quarantined {
        tracing::error!(%arn, seq, reason, "execution is quarantined");
        self.residents.remove(&mut self.timers, arn);
        let version = Arc::clone(&self.config.version);
        let row = Quarantined { execution, seq, version, reason: reason.into() };
        self.quarantined.insert(execution, row.clone());
        row
    }

    fn broken(&self, row: Quarantined, ticket: Option<Ticket>) -> Turn {
        let answer = ticket.map(|ticket| (ticket, Answer::Quarantined));
        Turn { key: Some(row.execution), quarantine: Some(row), answer, ..Turn::empty() }
    }
}

/// The event that an effect comes from; none for timers, which are the shard's own business, and for the end.
fn seq_of(effect: &Effect) -> Option<u64> {
    match effect {
        Effect::ScheduleTask(task) => Some(task.task.0),
        Effect::ObserveTask(task) => Some(task.task.0),
        Effect::CancelTask(task) => Some(task.task.0),
        Effect::StartMapRun(map_run) => Some(map_run.task.0),
        Effect::StopMapRun(map_run) => Some(map_run.task.0),
        Effect::ArmTimer { .. } | Effect::Finished { .. } => None,
    }
}

/// What a panic said.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "panic without a text".to_owned())
}
