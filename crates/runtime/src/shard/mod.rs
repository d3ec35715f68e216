//! A shard: executions driven by a synchronous state machine, without threads, async or a clock of its own.
//!
//! `offer` inputs, `take_batch` of finished turns, commit it, then `committed` releases what may leave. Invariants: nothing is
//! released before its batch is committed (L6); batches are acknowledged in the order in which they were taken; an execution
//! in memory is always replay(journal + batches in commit). The shard steps ahead of the disk, so after a failed commit
//! [`Shard::failed`] forgets everything and the journal is the truth. It never dispatches, waits or writes.

mod batch;
mod resident;
mod timers;
mod turn;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use asl::program::Program;
use asl::timestamp::Timestamp;
use engine::{Effect, Event, Ignored, InputKind, NoPreconditions, Preconditions, Start};
use store::{ExecutionKey, ExecutionRow, Keys, Quarantined, Reader, StoreError};

use crate::entropy::Seeds;
use crate::programs::Programs;

use batch::InCommit;
use resident::Residents;
use timers::{Alarm, Timers};
use turn::Turn;

/// Whoever waits for the answer to an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// How a new execution came by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// By the caller: it may be taken.
    Given,
    /// By us, at random: nobody has it.
    Generated,
}

/// What a shard is told.
#[derive(Clone, Debug)]
pub enum Offer {
    /// Begin an execution.
    Start {
        /// With this.
        start: Arc<Start>,
        /// Its definition, compiled.
        program: Arc<Program>,
        /// Whether the name may be taken.
        naming: Naming,
        /// Who waits.
        ticket: Option<Ticket>,
    },
    /// News for an execution.
    Input {
        /// Its ARN.
        execution: Arc<str>,
        /// The news.
        kind: InputKind,
        /// Who waits.
        ticket: Option<Ticket>,
    },
    /// Load an execution and ask again for all that it is owed: at start-up.
    Recover {
        /// Its ARN.
        execution: Arc<str>,
        /// Who waits.
        ticket: Option<Ticket>,
    },
    /// An operator gives an execution back into service: its quarantine row is gone.
    Release {
        /// Its ARN.
        execution: Arc<str>,
        /// Who waits.
        ticket: Option<Ticket>,
    },
    /// Load a parked execution when it is due, not before: at start-up.
    WakeAt {
        /// Its ARN.
        execution: Arc<str>,
        /// When.
        due: Timestamp,
    },
}

/// What became of an offer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The execution runs; also if it did already under the same name with the same input.
    Started {
        /// Since when.
        start_date: Timestamp,
    },
    /// Another execution has the name.
    NameTaken,
    /// The input moved the execution.
    Accepted {
        /// When.
        at: Timestamp,
    },
    /// It did not.
    Ignored(Ignored),
    /// There is no such execution.
    Unknown,
    /// The execution is out of service.
    Quarantined,
}

/// Names a batch between `take_batch` and its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub u64);

/// Turns to be committed together.
#[derive(Debug)]
pub struct Prepared {
    /// To be given back with the outcome.
    pub id: BatchId,
    /// To be written; may be empty, then it is acknowledged without the disk, but still in order.
    pub batch: store::Batch,
}

/// What may leave after a commit.
#[derive(Debug, Default)]
pub struct Released {
    /// Answers to offers.
    pub answers: Vec<(Ticket, Answer)>,
    /// Turns and what they ask of the world, in order.
    pub turns: Vec<ReleasedTurn>,
}

/// A committed turn, or the debts of a recovered execution (then without events).
#[derive(Clone, Debug)]
pub struct ReleasedTurn {
    /// Whose.
    pub start: Arc<Start>,
    /// What happened.
    pub events: Arc<[Event]>,
    /// What is asked of the world; timers are the shard's own business and not among it.
    pub effects: Vec<Effect>,
}

/// Bounds of a shard.
#[derive(Clone)]
pub struct ShardConfig {
    /// Most turns of a batch.
    pub turns_max: usize,
    /// Most events of one turn before the others get theirs.
    pub budget: u32,
    /// A batch is closed after stepping for so long.
    pub batch_time_max: Duration,
    /// A turn that took longer joins the next batch.
    pub turn_slow: Duration,
    /// An execution without inputs for so long is dropped from memory.
    pub park_after: Duration,
    /// Version of the binary, for the quarantine.
    pub version: Arc<str>,
    /// Time spent so far, for measuring turns; not time of day.
    pub stopwatch: fn() -> Duration,
}

impl Default for ShardConfig {
    fn default() -> ShardConfig {
        ShardConfig {
            turns_max: 256,
            budget: 2_000,
            batch_time_max: Duration::from_millis(5),
            turn_slow: Duration::from_millis(5),
            park_after: Duration::from_secs(5),
            version: env!("CARGO_PKG_VERSION").into(),
            stopwatch: process_time,
        }
    }
}

/// Time since the first call.
fn process_time() -> Duration {
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    FIRST.get_or_init(std::time::Instant::now).elapsed()
}

/// One shard.
pub struct Shard {
    config: ShardConfig,
    reader: Arc<dyn Reader>,
    keys: Keys,
    programs: Arc<Programs>,
    preconditions: Arc<dyn Preconditions + Send + Sync>,
    seeds: Seeds,
    residents: Residents,
    timers: Timers,
    offers: VecDeque<Offer>,
    /// A slow turn on its way to the next batch.
    held: Option<Turn>,
    in_commit: VecDeque<InCommit>,
    quarantined: HashMap<ExecutionKey, Quarantined>,
    batches: u64,
}

impl Shard {
    /// An empty shard. `quarantined` are the executions it must leave alone.
    pub fn new(
        config: ShardConfig,
        reader: Arc<dyn Reader>,
        keys: Keys,
        programs: Arc<Programs>,
        seeds: Seeds,
        quarantined: impl IntoIterator<Item = Quarantined>,
    ) -> Shard {
        let quarantined = quarantined.into_iter().map(|row| (row.execution, row)).collect();
        Shard {
            config,
            reader,
            keys,
            programs,
            preconditions: Arc::new(NoPreconditions),
            seeds,
            residents: Residents::default(),
            timers: Timers::default(),
            offers: VecDeque::new(),
            held: None,
            in_commit: VecDeque::new(),
            quarantined,
            batches: 0,
        }
    }

    /// With a check of tasks before they are scheduled.
    pub fn with_preconditions(self, preconditions: Arc<dyn Preconditions + Send + Sync>) -> Shard {
        Shard { preconditions, ..self }
    }

    /// Takes an offer in. Nothing happens before [`Shard::take_batch`].
    pub fn offer(&mut self, offer: Offer) {
        match offer {
            Offer::WakeAt { execution, due } => {
                self.timers.set(due, &execution, Alarm::Wake);
            }
            other => self.offers.push_back(other),
        }
    }

    /// Whether [`Shard::take_batch`] has something to do now.
    pub fn is_ready(&self, now: Timestamp) -> bool {
        !self.offers.is_empty() || self.held.is_some() || self.next_due().is_some_and(|due| due <= now)
    }

    /// When there will be something to do if nothing is offered: a timer, or an execution to park.
    pub fn next_due(&self) -> Option<Timestamp> {
        let park = self.residents.next_check().map(|checked| checked.plus(self.config.park_after));
        [park, self.timers.next_due()].into_iter().flatten().min()
    }

    /// How many executions are in memory.
    pub fn resident(&self) -> usize {
        self.residents.len()
    }

    /// How many batches wait for their commit.
    pub fn batches_in_commit(&self) -> usize {
        self.in_commit.len()
    }

    /// A batch was not committed, or nobody knows: forgets all executions and all batches. Returns the tickets that will
    /// get no answer, and the executions to [`Offer::Recover`] once the store is open again. Offers not yet taken remain.
    pub fn failed(&mut self) -> (Vec<Ticket>, Vec<Arc<str>>) {
        let held = self.held.take().and_then(|turn| turn.answer);
        let in_commit = self.in_commit.drain(..).flat_map(|batch| batch.into_tickets());
        let tickets = in_commit.chain(held.map(|(ticket, _)| ticket)).collect();
        self.timers.clear();
        (tickets, self.residents.clear())
    }

    fn row(&self, arn: &str) -> Result<Option<ExecutionRow>, StoreError> {
        self.reader.execution(arn)
    }
}
