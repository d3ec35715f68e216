//! The process: batches are taken, committed and released; it dies and begins again.

use std::sync::Arc;
use std::time::Duration;

use engine::{Effect, Event, EventKind, Payload};
use runtime::shard::{Answer, Offer, Prepared, Released, ReleasedTurn, Shard, ShardConfig};
use runtime::{Compilers, Programs, Seeds};
use store::{Committed, ExecutionKey, Fault, Reader};

use super::{Faults, Simulator};
use crate::Mutation;
use crate::generate::{Dice, Temper};
use crate::laws::{self, Checked, Law, hold};
use crate::outside::Sender;
use crate::stores::FaultyStore;

impl Simulator {
    pub(super) fn take(&mut self) -> Checked {
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
    pub(super) fn results_before_timers(&mut self, prepared: &Prepared) -> Checked {
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

    pub(super) fn execution_of(&self, key: ExecutionKey) -> Option<usize> {
        let row = self.store.truth().execution_by_key(key).expect("a row")?;
        Some(self.witness.index(&row.arn))
    }

    pub(super) fn commit(&mut self) -> Checked {
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

    pub(super) fn release(&mut self, released: Released) -> Checked {
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
    pub(super) fn count_timers(&mut self, events: &[Event]) {
        let arms = |event: &&Event| {
            matches!(event.kind, EventKind::WaitScheduled { .. } | EventKind::RetryScheduled { .. })
        };
        for event in events.iter().filter(arms) {
            let timer = engine::TimerId { seq: event.seq, kind: engine::TimerKind::Wait };
            self.table.effect(&Effect::ArmTimer { timer, at: event.at });
        }
    }

    pub(super) fn falsify(&self, turn: &mut ReleasedTurn) {
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

    pub(super) fn carry_out(&mut self, index: usize, effect: Effect) {
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

    /// The process is gone and another begins, or (after a commit without an outcome) the shard forgets everything.
    pub(super) fn restart(&mut self, commit_failed: bool) -> Checked {
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
    pub(super) fn recover(&mut self) {
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

pub(super) fn programs(store: &FaultyStore) -> Programs {
    Programs::new(store.reader(), Compilers::with_catalog(Arc::new(asl::resource::AnyResource)))
}

pub(super) fn shard(store: &FaultyStore, programs: &Arc<Programs>, seeds: &Seeds, dice: &mut Dice) -> Shard {
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
