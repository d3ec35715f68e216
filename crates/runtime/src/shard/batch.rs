//! From offers to batches, and from commits to what may leave.
//!
//! Invariant: what came first is stepped first, and what is due stands behind what is here already. A batch ends when it is
//! full, when its time is up, or with a slow turn, which waits for the next one unless it is alone.

use std::sync::Arc;

use asl::timestamp::Timestamp;
use engine::{Event, InputKind, Start, Status};
use store::{Batch, Committed, ExecutionKey, Parked, QuarantineWrite, StoreError, TurnRecord};

use super::timers::Alarm;
use super::turn::Turn;
use super::{Answer, BatchId, Offer, Prepared, Released, ReleasedTurn, Shard, Ticket};

/// A batch that was handed out.
#[derive(Debug)]
pub(super) struct InCommit {
    id: BatchId,
    turns: Vec<Turn>,
    /// Executions to drop from memory, unless an input came meanwhile.
    parking: Vec<Arc<str>>,
}

impl InCommit {
    /// Who will get no answer from it.
    pub(super) fn into_tickets(self) -> impl Iterator<Item = Ticket> {
        self.turns.into_iter().filter_map(|turn| turn.answer.map(|(ticket, _)| ticket))
    }
}

impl Shard {
    /// Steps what waits and returns the finished turns; `None` if there was nothing to do. An error means that the store
    /// cannot be read: nothing more can be done by this process.
    pub fn take_batch(&mut self, now: Timestamp) -> Result<Option<Prepared>, StoreError> {
        let began = (self.config.stopwatch)();
        self.queue_due(now);
        let mut turns: Vec<Turn> = self.held.take().into_iter().collect();
        while turns.len() < self.config.turns_max {
            let before = (self.config.stopwatch)();
            if before.saturating_sub(began) >= self.config.batch_time_max && !turns.is_empty() {
                break;
            }
            let Some(offer) = self.offers.pop_front() else { break };
            let Some(turn) = self.turn(offer, now)? else { continue };
            let spent = (self.config.stopwatch)().saturating_sub(before);
            if spent > self.config.turn_slow && !turns.is_empty() {
                self.held = Some(turn);
                break;
            }
            turns.push(turn);
        }
        let parking = self.idle(now);
        if turns.is_empty() && parking.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.prepare(turns, parking)))
    }

    /// A batch is on disk: its answers and effects may leave. Batches are acknowledged in order; an id that is not the
    /// oldest is a bug of the caller and panics.
    pub fn committed(&mut self, id: BatchId, committed: &Committed) -> Released {
        let batch = self.in_commit.pop_front();
        let Some(batch) = batch.filter(|batch| batch.id == id) else {
            panic!("batch {id:?} was acknowledged out of order");
        };
        let mut released = Released::default();
        for turn in batch.turns {
            let conflict = committed.conflicts.iter().find(|conflict| Some(conflict.execution) == turn.key);
            match conflict {
                Some(conflict) => self.refuse(turn, &conflict.existing, &mut released),
                None => self.release(turn, &mut released),
            }
        }
        for key in batch.parking {
            self.park(&key);
        }
        released
    }

    /// Puts what is due behind what came before: results that are here are taken before timers, and neither can starve the
    /// other, since both stand in one line.
    fn queue_due(&mut self, now: Timestamp) {
        while let Some((due, execution, alarm)) = self.timers.pop_due(now) {
            match alarm {
                Alarm::Timer(timer) => {
                    if let Some(resident) = self.residents.get_mut(&execution) {
                        resident.fired(due);
                    }
                    let kind = InputKind::TimerElapsed { timer };
                    self.offers.push_back(Offer::Input { execution, kind, ticket: None });
                }
                Alarm::Wake => self.offers.push_back(Offer::WakeAt { execution, due: due.0 }),
            }
        }
    }

    fn prepare(&mut self, turns: Vec<Turn>, parking: Vec<(Arc<str>, Parked)>) -> Prepared {
        let mut batch = Batch::default();
        for turn in &turns {
            if let Some(record) = &turn.record {
                batch.parked.extend(turn.unparked);
                batch.turns.push(TurnRecord {
                    execution: record.execution,
                    events: Arc::clone(&record.events),
                    standing: record.standing,
                });
            }
            batch.quarantine.extend(turn.quarantine.iter().cloned().map(QuarantineWrite::Put));
        }
        batch.parked.extend(parking.iter().map(|(_, parked)| *parked));
        self.batches += 1;
        let id = BatchId(self.batches);
        let parking = parking.into_iter().map(|(key, _)| key).collect();
        self.in_commit.push_back(InCommit { id, turns, parking });
        Prepared { id, batch }
    }

    fn release(&mut self, turn: Turn, released: &mut Released) {
        released.answers.extend(turn.answer);
        let Some(start) = turn.start else { return };
        let events = turn.record.as_ref().map(|record| Arc::clone(&record.events));
        if events.is_some() {
            self.acknowledge(&start);
        }
        if events.is_some() || !turn.effects.is_empty() {
            let events = events.unwrap_or_else(|| Arc::from(Vec::<Event>::new()));
            released.turns.push(ReleasedTurn { start, events, effects: turn.effects });
        }
    }

    /// A turn is on disk. An execution that has ended and owes nothing is of no more use in memory.
    fn acknowledge(&mut self, start: &Start) {
        let Some(resident) = self.residents.get_mut(&start.execution_arn) else { return };
        resident.in_commit = resident.in_commit.saturating_sub(1);
        let ended = resident.execution.status() != Status::Running;
        if ended && resident.in_commit == 0 && !resident.continuing && resident.settled {
            self.residents.remove(&mut self.timers, &start.execution_arn);
        }
    }

    /// The name was taken after all. Cannot happen while every start of an ARN comes through its shard, but the store is
    /// the judge: the execution never was.
    fn refuse(&mut self, turn: Turn, existing: &store::ExecutionRow, released: &mut Released) {
        let key: Option<ExecutionKey> = turn.key;
        if let Some(start) = &turn.start {
            let mine =
                self.residents.get(&start.execution_arn).is_some_and(|resident| Some(resident.key) == key);
            if mine {
                self.residents.remove(&mut self.timers, &start.execution_arn);
            }
        }
        if let Some((ticket, _)) = turn.answer {
            tracing::warn!(arn = %existing.arn, "a start was refused by the store: its name is taken");
            released.answers.push((ticket, Answer::NameTaken));
        }
    }

    /// Executions that nothing was heard of for a while, with the row that replaces them in memory.
    fn idle(&mut self, now: Timestamp) -> Vec<(Arc<str>, Parked)> {
        let millis = i64::try_from(self.config.park_after.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp::from_epoch_millis(now.epoch_millis().saturating_sub(millis));
        let mut parking = Vec::new();
        while parking.len() < self.config.turns_max {
            let Some(arn) = self.residents.next_idle(before) else { break };
            let Some(resident) = self.residents.get_mut(&arn) else { continue };
            resident.parking = true;
            let (due, owes_tasks) = resident.debts();
            parking.push((Arc::clone(&arn), Parked { execution: resident.key, due, owes_tasks }));
        }
        parking
    }

    /// Drops an execution whose parking is on disk, unless an input came in between.
    fn park(&mut self, arn: &Arc<str>) {
        let Some(resident) = self.residents.get_mut(arn) else { return };
        if !resident.parking {
            let touched = resident.touched;
            self.residents.keep(arn, touched);
            return;
        }
        let due = resident.disarm(&mut self.timers);
        self.residents.remove(&mut self.timers, arn);
        if let Some(due) = due {
            self.timers.set(due, arn, Alarm::Wake);
        }
    }
}
