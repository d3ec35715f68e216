//! The shard that ships, over a store that fails, in a world that goes on: virtual time, crashes, duplicates, late inputs.
//!
//! Invariant: virtual time passes only when the shard has nothing to do and nothing is in commit. So a crash takes no time,
//! and a run with faults sees the same instants as one without; that makes their ends comparable.

mod customers;
mod process;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use asl::timestamp::Timestamp;
use engine::TaskId;
use runtime::shard::{Offer, Prepared, Shard, Ticket};
use runtime::{Programs, Seeds};
use store::Scope;

use crate::Mutation;
use crate::generate::{Dice, Machine, Temper};
use crate::interpreter::BEGINNING;
use crate::laws::{Checked, Law, hold};
use crate::outside::{Message, Outside};
use crate::stores::FaultyStore;
use crate::table::Table;
use crate::witness::Witness;
use process::{programs, shard};

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
    dice_of_customers: Dice,
    faults: Faults,
    mutation: Option<Mutation>,
    outside: Outside,
    witness: Witness,
    pending: VecDeque<Prepared>,
    tickets: HashMap<Ticket, Message>,
    drawn: u64,
    /// How often customers asked for a redrive of each.
    redrives: Vec<usize>,
    /// So many events were on disk when customers last looked.
    looked_at: usize,
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
            redrives: vec![0; machines.len()],
            machines,
            programs,
            shard,
            seeds,
            now: BEGINNING,
            dice,
            dice_of_customers: Dice::new(seed ^ 0xC057),
            faults,
            mutation,
            outside: Outside::new(seed, tempers, mutation, duplicates),
            witness: Witness::new(arns),
            pending: VecDeque::new(),
            tickets: HashMap::new(),
            drawn: 0,
            looked_at: 0,
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
        for machine in &self.machines {
            let jsonata = machine.definition.matches("\"JSONata\"").count();
            self.table.happened(match jsonata {
                0 => "machine in JSONPath",
                _ if machine.is_jsonata() => "machine in JSONata",
                _ => "machine in both languages",
            });
        }
        self.send_customers();
        let mut ticks = 0;
        while !self.is_at_rest() || self.ask_for_more() {
            ticks += 1;
            hold(Law::L10, ticks < TICKS_MAX, || "does not come to rest".to_owned())?;
            self.tick()?;
            self.redrive_what_ended();
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

    fn is_at_rest(&self) -> bool {
        self.pending.is_empty()
            && !self.shard.is_ready(self.at())
            && self.shard.next_due().is_none()
            && self.outside.next_due().is_none()
            && self.withheld.is_empty()
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
}

fn arn(n: usize) -> String {
    format!("arn:aws:states:us-east-1:000000000000:execution:m:e{n}")
}
