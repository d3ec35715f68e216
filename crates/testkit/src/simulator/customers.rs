//! Customers: they update the state machine, start, stop and redrive executions, and send what nobody should send.
//!
//! Invariant: when a customer does something depends on the seed and on what is on disk, never on a crash.

use std::sync::Arc;

use asl::program::StateMachineType;
use engine::{DefinitionHash, EventKind, Failure, InputKind, Limits, Payload, Start, TaskId};
use runtime::hash;
use runtime::shard::{Naming, Offer, Ticket};
use store::{
    Batch, Definition, RegistryKey, RegistryRecord, RegistryWrite, StateMachineRecord, StateMachineStatus,
};

use super::{MACHINE_ARN, Simulator, scope};
use crate::Mutation;
use crate::generate::{Temper, early_timer, nuisance};
use crate::laws;
use crate::outside::{Message, Sender, What};

impl Simulator {
    /// All that is sure to happen: updates, starts and stops, each at a time of its own.
    pub(super) fn send_customers(&mut self) {
        self.update_machine(0);
        for n in 0..self.machines.len() {
            if n > 0 {
                let at = self.outside.fresh_for_all(self.now + self.dice_of_customers.below(4_000) as i64);
                self.outside.send(at, 0, Sender::Customer, What::Update(n));
            }
            let after = self.dice_of_customers.below(4_000) as i64;
            let at = self.outside.fresh(n, self.now + after);
            self.outside.send(at, n, Sender::Customer, What::Start);
            if let Some(stop_after) = self.machines[n].stop_after {
                self.stop(n, at + stop_after as i64);
            }
        }
    }

    /// What an execution that is started now runs.
    fn newest_definition(&self) -> DefinitionHash {
        let key = RegistryKey::of_arn(MACHINE_ARN).expect("an ARN");
        match self.store.reader().registry(&key).expect("a readable store") {
            Some(RegistryRecord::StateMachine(record)) => record.definition,
            other => panic!("{other:?} instead of the state machine"),
        }
    }

    /// At rest: customers stop what waits for ever. Whether anything was asked.
    pub(super) fn ask_for_more(&mut self) -> bool {
        let waits = |n: &usize| {
            let running = self.witness.state(*n).status() == engine::Status::Running;
            running && self.machines[*n].temper == Temper::Wild
        };
        let waiting: Vec<_> = (0..self.machines.len()).filter(waits).collect();
        waiting.iter().for_each(|n| self.stop(*n, self.now + 500));
        !waiting.is_empty()
    }

    /// Customers redrive what did not end well, at once or later, whatever else is going on then.
    pub(super) fn redrive_what_ended(&mut self) {
        let written = self.witness.journals.iter().map(|journal| journal.written.len()).sum();
        if std::mem::replace(&mut self.looked_at, written) == written {
            return;
        }
        for n in 0..self.machines.len() {
            let journal = &self.witness.journals[n].written;
            let last = journal.iter().rev().find(|event| event.history_id.is_some());
            let ended = last.filter(|event| {
                laws::is_terminal(&event.kind) && !matches!(event.kind, EventKind::ExecutionSucceeded { .. })
            });
            let Some(ended) = ended.map(|event| event.at.epoch_millis()) else { continue };
            let redriven = |kind: &EventKind| matches!(kind, EventKind::ExecutionRedriven { .. });
            let done = journal.iter().filter(|event| redriven(&event.kind)).count();
            let Some(after) = self.machines[n].redrive_after.get(done) else { continue };
            if done == self.redrives[n] {
                self.redrives[n] += 1;
                let at = self.outside.fresh(n, ended + *after as i64);
                self.outside.send(
                    at,
                    n,
                    Sender::Customer,
                    What::Input(InputKind::Redriven { client_token: None }),
                );
            }
        }
    }

    /// UpdateStateMachine: what is started from now on runs this definition.
    pub(super) fn update_machine(&mut self, n: usize) {
        self.table.happened("update");
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

    fn stop(&mut self, n: usize, at: i64) {
        let at = self.outside.fresh(n, at);
        let kind = InputKind::StopRequested { failure: Failure::new("Stopped", "by a customer") };
        self.outside.send(at, n, Sender::Customer, What::Input(kind));
    }

    /// Somebody sends what nobody should send.
    pub(super) fn disturb(&mut self) {
        self.table.happened("nuisance");
        let n = self.dice.below(self.machines.len() as u64) as usize;
        let seq = self.witness.state(n).seq();
        let at = self.now + self.dice.below(4_000) as i64;
        if self.machines[n].temper == Temper::Wild && self.dice.chance(50) {
            let kind = nuisance(&mut self.dice, seq);
            return self.outside.send(at, n, Sender::Careless, What::Input(kind));
        }
        let (sender, what) = match self.dice.below(4) {
            // Before its time it would begin with another definition.
            0 if seq > 0 => (Sender::Customer, What::Start),
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

    /// RedriveExecution is not repeated blindly: who got no answer looks whether it was done.
    pub(super) fn is_done_already(&self, message: &Message) -> bool {
        let n = message.execution;
        let done = self.witness.state(n).redrive_count() as usize;
        message.sender == Sender::Customer
            && matches!(message.what, What::Input(InputKind::Redriven { .. }))
            && done >= self.redrives[n]
    }

    pub(super) fn offer(&mut self, message: Message) {
        if let What::Update(revision) = message.what {
            return self.update_machine(revision);
        }
        if self.is_done_already(&message) {
            return;
        }
        if matches!(message.what, What::Input(InputKind::Redriven { .. })) {
            let called_off = self.witness.state(message.execution).outstanding().is_empty();
            self.table.happened(if called_off { "redrive" } else { "redrive before all is called off" });
        }
        let execution: Arc<str> = Arc::clone(&self.witness.arns[message.execution]);
        let ticket = matches!(message.sender, Sender::Customer | Sender::Stranger).then(|| {
            self.drawn += 1;
            Ticket(self.drawn)
        });
        let offer = match &message.what {
            What::Update(_) => return,
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
            What::Input(_) | What::Start | What::Update(_) => None,
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

    pub(super) fn start(&self, n: usize) -> Start {
        let machine = &self.machines[n];
        Start {
            execution_arn: Arc::clone(&self.witness.arns[n]),
            limits: Limits { events_max: machine.events_max, ..Limits::default() },
            ..Start::of(MACHINE_ARN, &format!("e{n}"), self.newest_definition(), machine.input())
        }
    }
}
