//! Drives one shard: takes messages in, steps, sends batches to the committer, releases what was committed.
//!
//! Invariant: the shard is touched by this task only. At most [`AHEAD_MAX`] batches of a shard are in commit, so that under
//! load turns gather into full batches. The inbox is unbounded because everything in it was admitted at a door or has a
//! reserved slot (a result of a limited number of calls in flight); nothing in here waits for another inbox.

use std::collections::HashMap;
use std::sync::Arc;

use asl::program::Program;
use asl::timestamp::Timestamp;
use engine::{InputKind, Start};
use store::Committed;
use tokio::sync::{mpsc, oneshot};

use super::Core;
use super::committer::{Commit, Done};
use crate::failpoint;
use crate::shard::{Answer, BatchId, Naming, Offer, Released, Shard, Ticket};

/// Batches of a shard that may be in commit at a time.
const AHEAD_MAX: usize = 2;

/// Messages taken in before the shard steps.
const MESSAGES_MAX: usize = 1_024;

/// What a shard's task is told.
pub(crate) enum Message {
    /// Something for an execution.
    Ask(Ask),
    /// A batch is on disk.
    Committed(BatchId, Arc<Committed>),
    /// Finish what is in commit and end.
    Stop,
}

/// Something for an execution, and who waits for the answer.
pub(crate) enum Ask {
    /// Begin an execution.
    Start(Arc<Start>, Arc<Program>, Naming, Option<Reply>),
    /// News for an execution.
    Input(Arc<str>, InputKind, Option<Reply>),
    /// Load it and ask for what it is owed.
    Recover(Arc<str>, Option<Reply>),
    /// It is back in service: load it and ask for what it is owed.
    Release(Arc<str>, Option<Reply>),
    /// Load it when it is due.
    WakeAt(Arc<str>, Timestamp),
}

/// Where an answer goes; dropped without a word if there will be none.
pub(crate) type Reply = oneshot::Sender<Answer>;

/// Runs until all senders of the inbox are gone or the store fails.
pub(crate) async fn run(
    core: Arc<Core>,
    mut shard: Shard,
    me: mpsc::WeakUnboundedSender<Message>,
    mut inbox: mpsc::UnboundedReceiver<Message>,
) {
    let mut tickets = Tickets::default();
    let mut messages = Vec::new();
    let mut stopping = false;
    loop {
        if stopping && shard.batches_in_commit() == 0 {
            return;
        }
        if !stopping && !step(&core, &mut shard, &me).await {
            return;
        }
        let due = (shard.batches_in_commit() < AHEAD_MAX).then(|| shard.next_due()).flatten();
        let received = tokio::select! {
            biased;
            received = inbox.recv_many(&mut messages, MESSAGES_MAX) => received,
            () = sleep(&core, due) => continue,
            _ = core.fatal.raised() => return,
        };
        if received == 0 {
            return;
        }
        for message in messages.drain(..) {
            match message {
                Message::Committed(id, committed) => {
                    release(&core, &mut tickets, shard.committed(id, &committed))
                }
                Message::Stop => stopping = true,
                Message::Ask(ask) => shard.offer(tickets.offer(ask)),
            }
        }
    }
}

async fn sleep(core: &Core, due: Option<Timestamp>) {
    match due {
        Some(due) => core.clock.sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Steps what waits, as far ahead as allowed. False: this process can do nothing more.
async fn step(core: &Core, shard: &mut Shard, me: &mpsc::WeakUnboundedSender<Message>) -> bool {
    while shard.batches_in_commit() < AHEAD_MAX && shard.is_ready(core.clock.now()) {
        let prepared = match shard.take_batch(core.clock.now()) {
            Ok(Some(prepared)) => prepared,
            Ok(None) => continue,
            Err(error) => {
                core.fatal.raise(&error);
                return false;
            }
        };
        let Some(me) = me.upgrade() else { return false };
        let commit = Commit { batch: prepared.batch, done: Done::Shard(me, prepared.id) };
        // The committer never waits for a shard, so waiting for it closes no cycle.
        if core.commits.send(commit).await.is_err() {
            return false;
        }
        tokio::task::yield_now().await;
    }
    true
}

fn release(core: &Arc<Core>, tickets: &mut Tickets, released: Released) {
    if core.fatal.is_raised() {
        return;
    }
    // Before the answers: who has seen a start answered finds it counted.
    for turn in &released.turns {
        core.open_executions.saw(&turn.start, &turn.events);
    }
    failpoint!("answer.before");
    for (ticket, answer) in released.answers {
        tickets.answer(ticket, answer);
    }
    failpoint!("answer.after");
    for turn in &released.turns {
        core.subscribers.publish(turn);
    }
    for turn in released.turns {
        core.dispatcher.carry_out(core, &turn.start, turn.effects);
    }
}

/// Who waits for which answer.
#[derive(Default)]
struct Tickets {
    waiting: HashMap<Ticket, Reply>,
    drawn: u64,
}

impl Tickets {
    /// What the shard is to be offered.
    fn offer(&mut self, ask: Ask) -> Offer {
        match ask {
            Ask::Start(start, program, naming, reply) => {
                Offer::Start { start, program, naming, ticket: self.draw(reply) }
            }
            Ask::Input(execution, kind, reply) => Offer::Input { execution, kind, ticket: self.draw(reply) },
            Ask::Recover(execution, reply) => Offer::Recover { execution, ticket: self.draw(reply) },
            Ask::Release(execution, reply) => Offer::Release { execution, ticket: self.draw(reply) },
            Ask::WakeAt(execution, due) => Offer::WakeAt { execution, due },
        }
    }

    fn draw(&mut self, reply: Option<Reply>) -> Option<Ticket> {
        let reply = reply?;
        self.drawn += 1;
        let ticket = Ticket(self.drawn);
        self.waiting.insert(ticket, reply);
        Some(ticket)
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        if let Some(reply) = self.waiting.remove(&ticket) {
            // The caller may have hung up.
            let _ = reply.send(answer);
        }
    }
}
