//! The Map Run that ships (`runtime::map_run::ResidentMapRun`) over a store that fails: crashes, failing commits, children told
//! twice, updates, redrives.
//!
//! Invariant: what a child does depends on its index and its redrive, never on when it runs. Standard children outlive the
//! process, Express children and everything that was only told die with it. So a run with faults ends like one without.

mod children;
mod plan;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use asl::payload::Payload;
use asl::timestamp::Timestamp;
use engine::map_run::{
    Item, MapRun, MapRunEffect, MapRunInputKind, MapRunStart, MapRunStatus, ReadItems, Thresholds,
};
use engine::{Failure, MapRunResult, TaskId};
use runtime::map_run::{MapRunReleased, Origin, ResidentMapRun};
use runtime::shard::{Answer, Ticket};
use runtime::{ItemsReport, Seeds};
use serde_json::{Value, json};
use store::{Batch, ExecutionStatus, Fault, Store, WhichItems};

use crate::Mutation;
use crate::generate::Dice;
use crate::interpreter::BEGINNING;
use crate::laws::{Checked, Law, hold};
use crate::simulator::Faults;
use crate::stores::FaultyStore;
use children::Child;
use plan::Plan;

/// Most things that happen in a run.
const TICKS_MAX: u32 = 40_000;

const ARN: &str = "arn:aws:states:us-east-1:000000000000:mapRun:m/Each:id";

/// How a Map Run ended: its status, counters and result.
#[derive(Clone, Debug, PartialEq)]
pub struct MapRunEnding {
    /// Status and counters.
    pub counts: String,
    /// What its parent was told.
    pub result: MapRunResult,
}

/// On its way to the Map Run, or to a child.
#[derive(Clone, Debug)]
enum Message {
    Input(MapRunInputKind),
    Page(ReadItems),
    Update(u64),
    /// The results, of a Map Run that was redriven so often.
    Write(u32),
    /// The execution that waits for it is redriven, so often now.
    Redrive(u32),
    /// The start of a child reaches its journal, if it has one.
    Begins(u64),
    /// A child comes to its end.
    Ends(u64),
}

struct World {
    plan: Plan,
    dice: Dice,
    faults: Faults,
    mutation: Option<Mutation>,
    store: FaultyStore,
    seeds: Seeds,
    start: Arc<MapRunStart>,
    resident: ResidentMapRun,
    pending: Option<Batch>,
    /// Taken out before the commit, by a planted bug.
    early: Option<MapRunReleased>,
    messages: BTreeMap<(u64, u64), Message>,
    order: u64,
    now: u64,
    children: BTreeMap<u64, Child>,
    tickets: HashMap<Ticket, u64>,
    update: Option<u64>,
    told: Option<MapRunResult>,
}

/// Runs the Map Run of a seed without faults and with them, and compares how they ended.
pub(crate) fn simulate(seed: u64, mutation: Option<Mutation>) -> Checked<MapRunEnding> {
    let plan = Plan::random(seed);
    let faulted = World::new(plan.clone(), Faults::On, mutation).run()?;
    if !plan.stopped {
        let undisturbed = World::new(plan.clone(), Faults::Off, None).run()?;
        hold(Law::SameEnd, faulted == undisturbed, || {
            format!("{plan:?}\nwith faults {faulted:?}\nwithout {undisturbed:?}")
        })?;
    }
    Ok(faulted)
}

impl World {
    fn new(plan: Plan, faults: Faults, mutation: Option<Mutation>) -> World {
        let start = Arc::new(plan.start());
        let origin = Origin { program: Arc::clone(&plan.program), start: Arc::clone(&start) };
        let mut resident = ResidentMapRun::new(ARN.into(), &[], None);
        resident.set_origin(origin);
        resident.offer(MapRunInputKind::Started, None);
        let mut world = World {
            dice: Dice::new(plan.seed ^ 0x3A9),
            faults,
            mutation,
            store: FaultyStore::new(mutation),
            seeds: Seeds::new(Some(plan.seed)),
            start,
            resident,
            pending: None,
            early: None,
            messages: BTreeMap::new(),
            order: 0,
            now: 0,
            children: BTreeMap::new(),
            tickets: HashMap::new(),
            update: None,
            told: None,
            plan,
        };
        if world.dice.chance(50) {
            let concurrency = 1 + world.dice.below(9);
            world.send(300, Message::Update(concurrency));
        }
        if world.plan.stopped {
            world.send(500, Message::Input(MapRunInputKind::StopRequested));
        }
        world
    }

    fn has(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_epoch_millis(BEGINNING + self.now as i64)
    }

    fn send(&mut self, within: u64, message: Message) {
        self.order += 1;
        let due = self.now + 1 + self.dice.below(within);
        self.messages.insert((due, self.order), message);
    }

    fn input(&mut self, kind: MapRunInputKind) {
        let Some(kind) = self.falsified(kind) else { return };
        // Some are told again, and then after much else.
        if self.faults == Faults::On && self.dice.chance(30) {
            self.send(2_500, Message::Input(kind.clone()));
        }
        self.send(40, Message::Input(kind));
    }

    /// What a planted bug makes of an answer; `None`: it is lost.
    fn falsified(&mut self, mut kind: MapRunInputKind) -> Option<MapRunInputKind> {
        match (self.mutation, &mut kind) {
            (Some(Mutation::TakeEndsOfBeforeARedrive), MapRunInputKind::ChildEnded { redrives, .. }) => {
                *redrives = Some(u32::MAX);
            }
            (Some(Mutation::LoseEndsOfChildren), MapRunInputKind::ChildEnded { index, .. }) => {
                return (*index % 8 != 3).then_some(kind);
            }
            (Some(Mutation::ForgetTheRestOfARedrive), MapRunInputKind::UnsuccessfulFound { end, .. }) => {
                *end = true;
            }
            (
                Some(Mutation::ForgetThatAChildWasRedriven),
                MapRunInputKind::UnsuccessfulFound { children, .. },
            ) => {
                children.iter_mut().for_each(|child| child.redrives = 0);
            }
            _ => {}
        }
        Some(kind)
    }

    fn run(mut self) -> Checked<MapRunEnding> {
        let mut ticks = 0;
        while self.pending.is_some() || self.resident.is_ready() || !self.messages.is_empty() {
            ticks += 1;
            hold(Law::L10, ticks < TICKS_MAX, || "a Map Run does not come to rest".to_owned())?;
            self.tick()?;
        }
        let state = self.resident.state();
        hold(Law::L10, self.told.is_some() && state.status() != MapRunStatus::Running, || {
            format!("the Map Run waits for nothing: {state:?}")
        })?;
        let outstanding = state.outstanding();
        let ended = matches!(outstanding.as_slice(), [MapRunEffect::Ended { .. }]);
        hold(Law::L5, ended, || format!("{outstanding:?} is owed after the end"))?;
        let differences = self.store.truth().verify().expect("a readable store");
        hold(Law::L9, differences.is_empty(), || format!("{differences:?}"))?;
        let counts = format!("{:?} {:?} {}", state.status(), state.counts(), state.redrives().0);
        // Whether a redrive was needed to succeed, and how many were stopped before, may depend on the faults.
        Ok(MapRunEnding { counts, result: self.told.expect("it was told") })
    }

    fn tick(&mut self) -> Checked {
        if self.faults == Faults::On && self.dice.chance(2) {
            return self.crash();
        }
        match self.dice.below(3) {
            0 if self.pending.is_none() && self.resident.is_ready() => self.take(),
            1 if self.pending.is_some() => self.commit(),
            _ => self.deliver(),
        }
    }

    fn take(&mut self) -> Checked {
        let (at, seeds) = (self.at(), &mut self.seeds);
        self.pending = self.resident.take_batch(at, &mut || seeds.draw(), 12);
        if self.has(Mutation::RunChildrenBeforeCommit) {
            let released = self.resident.committed();
            self.release(released)?;
            self.early = Some(MapRunReleased::default());
        }
        Ok(())
    }

    fn commit(&mut self) -> Checked {
        let Some(batch) = self.pending.take() else { return Ok(()) };
        if !batch.is_empty() {
            if self.faults == Faults::On && self.dice.chance(3) {
                let faults = [Fault::Full, Fault::UnknownKept, Fault::UnknownLost];
                self.store.inject(faults[self.dice.below(3) as usize]);
            }
            match self.store.append(&batch) {
                Ok(_) => {}
                Err(store::StoreError::Refused(reason)) => {
                    return hold(Law::L1, false, || format!("the store refuses a batch: {reason}"));
                }
                Err(_) => return self.crash(),
            }
            self.replay_is_live()?;
        }
        if self.faults == Faults::On && self.dice.chance(2) {
            return self.crash();
        }
        let released = match self.early.take() {
            Some(early) => early,
            None => self.resident.committed(),
        };
        self.release(released)
    }

    fn on_disk(&self) -> MapRun {
        MapRun::replay(&self.store.reader().map_run_events(ARN).expect("a readable journal"))
    }

    /// L1, and the counters are those of the rows.
    fn replay_is_live(&self) -> Checked {
        if self.early.is_some() {
            return Ok(());
        }
        let (on_disk, live) = (self.on_disk(), self.resident.state());
        hold(Law::L1, on_disk == *live, || {
            format!("replay differs from the live state:\n{on_disk:?}\n{live:?}")
        })
    }

    fn crash(&mut self) -> Checked {
        self.store.reopen();
        let differences = self.store.truth().verify().expect("a readable store");
        hold(Law::L9, differences.is_empty(), || format!("{differences:?}"))?;
        (self.pending, self.early) = (None, None);
        self.tickets.clear();
        let express = self.plan.express;
        self.messages.retain(|_, message| match message {
            Message::Ends(_) => !express,
            Message::Input(MapRunInputKind::StopRequested) | Message::Update(_) | Message::Redrive(_) => true,
            Message::Input(_) | Message::Page(_) | Message::Write(_) | Message::Begins(_) => false,
        });
        if express {
            self.children.retain(|_, child| child.ended.is_some());
        } else {
            self.children.retain(|_, child| child.begun);
        }
        let events = self.store.reader().map_run_events(ARN).expect("a readable journal");
        self.resident = ResidentMapRun::new(ARN.into(), &events, None);
        self.load()
    }

    /// The parent asks again.
    fn load(&mut self) -> Checked {
        let origin = Origin { program: Arc::clone(&self.plan.program), start: Arc::clone(&self.start) };
        self.resident.set_origin(origin);
        if self.plan.stopped
            && self.start.redrive == 0
            && self.messages.values().all(|m| !matches!(m, Message::Input(MapRunInputKind::StopRequested)))
        {
            self.send(300, Message::Input(MapRunInputKind::StopRequested));
        }
        if let Some(concurrency) = self.update.take() {
            self.send(300, Message::Update(concurrency));
        }
        let state = self.resident.state();
        if !state.has_begun() {
            self.resident.offer(MapRunInputKind::Started, None);
            return Ok(());
        }
        if state.status() != MapRunStatus::Running && state.redrives().0 < self.start.redrive {
            self.resident.offer(MapRunInputKind::Redriven, None);
            return Ok(());
        }
        let mut effects = state.outstanding();
        if self.has(Mutation::ForgetChildrenAfterRestart) {
            effects.retain(|effect| !matches!(effect, MapRunEffect::RunChild { .. }));
        }
        self.resident.offer(MapRunInputKind::Resumed, None);
        self.release(MapRunReleased { effects, ..MapRunReleased::default() })
    }

    fn deliver(&mut self) -> Checked {
        let Some(((due, _), message)) = self.messages.pop_first() else { return Ok(()) };
        self.now = self.now.max(due);
        match message {
            Message::Input(kind) => self.resident.offer(kind, None),
            Message::Page(read) => {
                let page = self.page(&read);
                if let Some(next) = self.resident.page(page) {
                    self.send(40, Message::Page(next));
                }
            }
            Message::Update(concurrency) => {
                self.order += 1;
                self.update = Some(concurrency);
                self.tickets.insert(Ticket(self.order), concurrency);
                let thresholds = self.resident.state().thresholds().cloned();
                let Some(thresholds) = thresholds else {
                    self.send(40, Message::Update(concurrency));
                    return Ok(());
                };
                let thresholds = Thresholds { max_concurrency: concurrency, ..thresholds };
                self.resident.offer(MapRunInputKind::Updated(thresholds), Some(Ticket(self.order)));
            }
            Message::Write(redrive) => {
                let outputs: Vec<Value> = self
                    .rows(0, WhichItems::All)
                    .into_iter()
                    .filter(|item| item.status == ExecutionStatus::Succeeded)
                    .map(|item| item.output.map_or(Value::Null, |output| output.value().clone()))
                    .collect();
                let result = Ok(Payload::from_value(json!(outputs)));
                self.input(MapRunInputKind::ResultsWritten { redrive, result });
            }
            Message::Redrive(redrive) => self.redrive(redrive),
            Message::Begins(index) => {
                if let Some(child) = self.children.get_mut(&index) {
                    child.begun = true;
                    self.send(500, Message::Ends(index));
                }
            }
            Message::Ends(index) => self.child_ends(index),
        }
        Ok(())
    }

    fn page(&mut self, read: &ReadItems) -> Result<ItemsReport, Failure> {
        let first = if self.has(Mutation::ReadFromTheBeginning) { 0 } else { read.cursor.next_item };
        let known = read.cursor.position.as_ref().and_then(|position| position.value().as_u64());
        assert!(known.is_none_or(|known| known <= first), "a position behind the items wanted");
        let last = (first + 1 + self.dice.below(7)).min(self.plan.items).max(first);
        if self.start.redrive == 0 && self.plan.unreadable_from.is_some_and(|item| item <= last) {
            return Err(Failure::named("States.ItemReaderFailed"));
        }
        Ok(ItemsReport {
            items: (first..last)
                .map(|item| Item { value: Payload::from_value(json!(item)), source: "S3://items/all".into() })
                .collect(),
            position: Some(Payload::from_value(json!(last))),
            version: Some("etag".into()),
            end: last >= self.plan.items,
        })
    }

    fn release(&mut self, mut released: MapRunReleased) -> Checked {
        for (ticket, answer) in std::mem::take(&mut released.answers) {
            self.answered(ticket, &answer)?;
        }
        for effect in std::mem::take(&mut released.effects) {
            match effect {
                MapRunEffect::RunChild { index, .. } => {
                    let start = released.starts.remove(&index);
                    if self.has(Mutation::StartChildrenTwice) {
                        self.run_child(index, start.clone())?;
                    }
                    self.run_child(index, start)?;
                }
                MapRunEffect::StopChild { .. } if self.has(Mutation::ForgetToStopChildren) => {}
                MapRunEffect::StopChild { index, redrives } => self.stop_child(index, redrives),
                MapRunEffect::ReadItems(read) => {
                    if let Some(read) = self.resident.read(&read) {
                        self.send(40, Message::Page(read));
                    }
                }
                MapRunEffect::FindUnsuccessful(find) => self.find_unsuccessful(&find),
                MapRunEffect::WriteResults(write) => self.send(100, Message::Write(write.redrive)),
                MapRunEffect::Ended { task, result, .. } => self.ended(task, result)?,
            }
        }
        Ok(())
    }

    /// L6: what an update was answered is on disk.
    fn answered(&mut self, ticket: Ticket, answer: &Answer) -> Checked {
        let Some(concurrency) = self.tickets.remove(&ticket) else { return Ok(()) };
        self.update = None;
        if !matches!(answer, Answer::Accepted { .. }) {
            return Ok(());
        }
        let on_disk = self.on_disk().thresholds().map(|thresholds| thresholds.max_concurrency);
        hold(Law::L6, on_disk == Some(concurrency), || {
            format!("an update to {concurrency} was answered, {on_disk:?} is on disk")
        })
    }

    /// The parent hears of the end, and redrives the Map Run once if it failed.
    fn ended(&mut self, task: TaskId, result: MapRunResult) -> Checked {
        if task != self.start.task {
            return Ok(());
        }
        hold(Law::L6, self.on_disk().status() != MapRunStatus::Running, || {
            format!("{result:?} was told before it was on disk")
        })?;
        // How often is known beforehand: nothing fails more than twice, and nobody stops what was redriven.
        let failed = !matches!(result, MapRunResult::Succeeded(_));
        if failed && self.start.redrive < 2 && self.told.is_none() {
            let redrive = self.start.redrive + 1;
            // At once, or when what was told twice may have come.
            if self.dice.chance(50) {
                self.redrive(redrive);
            } else if !self
                .messages
                .values()
                .any(|m| matches!(m, Message::Redrive(asked) if *asked == redrive))
            {
                self.send(2_000, Message::Redrive(redrive));
            }
            return Ok(());
        }
        self.told = Some(result);
        Ok(())
    }

    fn redrive(&mut self, redrive: u32) {
        if redrive <= self.start.redrive {
            return;
        }
        let task = TaskId(4 + 5 * u64::from(redrive));
        let start = MapRunStart { redrive, task, ..MapRunStart::clone(&self.start) };
        self.start = Arc::new(start);
        let origin = Origin { program: Arc::clone(&self.plan.program), start: Arc::clone(&self.start) };
        self.resident.set_origin(origin);
        self.resident.offer(MapRunInputKind::Redriven, None);
    }
}
