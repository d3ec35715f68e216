//! What was written and what was released, as an outsider sees it: the laws over the shard's behaviour.
//!
//! It keeps a journal of its own for each execution, from what the store acknowledged, and knows nothing of the shard's
//! memory. What leaves the shard, and what the store says after a restart, is held against it.

use std::sync::Arc;

use engine::{Effect, Event, EventKind, Execution, Status, TaskId};
use runtime::shard::{Answer, ReleasedTurn};
use store::{Batch, ExecutionKey, ExecutionStatus, Reader, Store};

use crate::laws::{self, Checked, Law, hold};
use crate::outside::{Message, Sender, What};
use crate::stores::FaultyStore;

/// One execution, seen from outside.
#[derive(Default)]
pub(crate) struct Journal {
    key: Option<ExecutionKey>,
    /// What the store acknowledged.
    pub(crate) written: Vec<Event>,
    /// What was released, as a state.
    released: Execution,
}

/// All of them.
pub(crate) struct Witness {
    pub(crate) arns: Vec<Arc<str>>,
    pub(crate) journals: Vec<Journal>,
}

impl Witness {
    pub(crate) fn new(arns: Vec<Arc<str>>) -> Witness {
        let journals = arns.iter().map(|_| Journal::default()).collect();
        Witness { arns, journals }
    }

    pub(crate) fn index(&self, arn: &str) -> usize {
        self.arns.iter().position(|known| **known == *arn).expect("an execution of this simulation")
    }

    /// The store acknowledged a batch.
    pub(crate) fn wrote(&mut self, batch: &Batch) -> Checked {
        for turn in &batch.turns {
            if let EventKind::ExecutionStarted { start, .. } = &turn.events[0].kind {
                let index = self.index(&start.execution_arn);
                self.journals[index].key = Some(turn.execution);
            }
            let known = self.journals.iter_mut().find(|journal| journal.key == Some(turn.execution));
            let Some(journal) = known else {
                return hold(Law::L1, false, || format!("{:?} was never started", turn.events));
            };
            let next = journal.written.len() as u64 + 1;
            hold(Law::L1, turn.events[0].seq == next, || {
                format!("a turn begins at {}, the journal goes on at {next}", turn.events[0].seq)
            })?;
            journal.written.extend(turn.events.iter().cloned());
        }
        Ok(())
    }

    /// A turn leaves the shard: L6 and L7.
    pub(crate) fn released(&mut self, index: usize, turn: &ReleasedTurn) -> Checked {
        let journal = &mut self.journals[index];
        let before = journal.released.outstanding();
        for event in turn.events.iter() {
            let on_disk = journal.written.get(event.seq as usize - 1) == Some(event);
            hold(Law::L6, on_disk, || format!("released and not on disk: {event:?}"))?;
            journal.released.apply(event);
        }
        let not_a_timer = |effect: &Effect| !matches!(effect, Effect::ArmTimer { .. });
        let after: Vec<_> = journal.released.outstanding().into_iter().filter(not_a_timer).collect();
        if turn.events.is_empty() {
            return laws::nothing_new(&after, &turn.effects);
        }
        let before: Vec<_> = before.into_iter().filter(not_a_timer).collect();
        laws::effects_are_the_difference(&before, &after, &turn.effects)?;
        laws::the_end_is_told(&turn.events, &turn.effects)?;
        laws::only_cancellations_after_the_end(&journal.released)
    }

    /// Somebody is answered: L6 and L3.
    pub(crate) fn answered(&self, message: &Message, answer: &Answer) -> Checked {
        let written = &self.journals[message.execution].written;
        let believed = matches!(answer, Answer::Accepted { .. });
        if message.sender == Sender::Stranger {
            return hold(Law::L3, !believed, || format!("{message:?} was believed"));
        }
        hold(Law::Panic, *answer != Answer::Quarantined, || format!("{message:?} met a quarantine"))?;
        let on_disk = match (&message.what, answer) {
            (What::Start, Answer::Started { .. }) => !written.is_empty(),
            (What::Input(kind), Answer::Accepted { .. }) => match kind {
                engine::InputKind::TaskSucceeded { task, .. }
                | engine::InputKind::TaskFailed { task, .. } => {
                    // The event that is one too many is an ExecutionFailed.
                    laws::closed(written, *task) || has(written, laws::is_terminal)
                }
                engine::InputKind::StopRequested { .. } => {
                    has(written, |kind| matches!(kind, EventKind::ExecutionAborted { .. }))
                }
                engine::InputKind::Redriven { .. } => {
                    has(written, |kind| matches!(kind, EventKind::ExecutionRedriven { .. }))
                }
                _ => true,
            },
            (What::Input(_), Answer::Ignored(engine::Ignored::TaskUnknown)) => {
                message.sender != Sender::Customer
            }
            (What::Start | What::Update(_) | What::Input(_), _) => true,
        };
        hold(Law::L6, on_disk, || format!("{message:?} was answered {answer:?}, which is not on disk"))
    }

    /// The process is back. Nothing acknowledged is gone; of a batch without an outcome, `in_doubt`, turns may be there.
    pub(crate) fn restarted(&mut self, store: &FaultyStore, in_doubt: bool) -> Checked {
        for (arn, journal) in self.arns.iter().zip(&mut self.journals) {
            let Some(row) = store.truth().execution(arn).expect("a row") else {
                hold(Law::L6, journal.written.is_empty(), || format!("{arn} was acknowledged and is gone"))?;
                *journal = Journal::default();
                continue;
            };
            let events = Reader::events(store.truth(), row.key).unwrap_or_default();
            let kept =
                events.len() >= journal.written.len() && events[..journal.written.len()] == journal.written;
            let same = kept && (in_doubt || events.len() == journal.written.len());
            hold(Law::L6, same, || {
                format!("acknowledged: {:?}, on disk: {:?}", journal.written.last(), events.last())
            })?;
            journal.key = Some(row.key);
            journal.released = Execution::replay(&events);
            journal.written = events;
        }
        self.rows_are_the_journal(store)
    }

    /// L9, as the shard and the API read it.
    fn rows_are_the_journal(&self, store: &FaultyStore) -> Checked {
        let reader = store.reader();
        for (arn, journal) in self.arns.iter().zip(&self.journals) {
            let Some(row) = reader.execution(arn).expect("a row") else {
                hold(Law::L9, journal.written.is_empty(), || format!("{arn} has no row"))?;
                continue;
            };
            let replayed = Execution::replay(&journal.written);
            let status = match replayed.status() {
                Status::Running => ExecutionStatus::Running,
                Status::Succeeded => ExecutionStatus::Succeeded,
                Status::Failed => ExecutionStatus::Failed,
                Status::TimedOut => ExecutionStatus::TimedOut,
                Status::Aborted => ExecutionStatus::Aborted,
            };
            let same = row.status == status
                && row.stop == replayed.ended_at()
                && row.redrive_count == replayed.redrive_count()
                && row.start == replayed.started_at();
            hold(Law::L9, same, || format!("the row says {row:?}, the journal {replayed:?}"))?;
        }
        Ok(())
    }

    /// Everything at the end of a run. `punctual`: nothing delayed the timers.
    pub(crate) fn end(&mut self, store: &FaultyStore, punctual: bool) -> Checked {
        self.restarted(store, false)?;
        let differences = store.truth().verify().expect("a readable store");
        hold(Law::L9, differences.is_empty(), || format!("{differences:?}"))?;
        let quarantined = Reader::quarantined(store.truth(), None, 10).expect("rows");
        hold(Law::Panic, quarantined.is_empty(), || format!("{quarantined:?}"))?;
        for (arn, journal) in self.arns.iter().zip(&self.journals) {
            laws::check_history(&journal.written)?;
            if punctual {
                laws::nothing_is_late(&journal.written)?;
            }
            hold(Law::L10, journal.released.finished().is_some(), || {
                format!("{arn} waits in {:?} for nothing", journal.released.current_states())
            })?;
            let owed = journal.released.outstanding();
            hold(Law::L10, owed.is_empty(), || format!("{arn} has ended and still owes {owed:?}"))?;
        }
        Ok(())
    }

    /// How an execution stands by what was released.
    pub(crate) fn state(&self, index: usize) -> &Execution {
        &self.journals[index].released
    }

    /// Whether a task is over on disk.
    pub(crate) fn is_over(&self, index: usize, task: TaskId) -> bool {
        laws::closed(&self.journals[index].written, task)
    }
}

fn has(written: &[Event], is: impl Fn(&EventKind) -> bool) -> bool {
    written.iter().any(|event| is(&event.kind))
}
