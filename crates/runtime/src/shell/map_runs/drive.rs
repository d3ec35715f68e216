//! One Map Run's task: loads it, takes messages in, steps, commits, carries out.
//!
//! Invariant: the aggregate is touched by this task only, and its effects are carried out after the commit that records them.

use std::collections::HashMap;
use std::sync::Arc;

use engine::map_run::{MapRunEffect, MapRunInputKind, MapRunStart};
use engine::{Failure, InputKind, MapRunResult, StartMapRun, TaskId};
use store::{ExecutionsQuery, ListBy, MapRunItemsQuery, Reader, Scope, StoreError, WhichItems};
use tokio::sync::{mpsc, oneshot};

use super::{News, Run, is_over, lock};
use crate::error::Error;
use crate::failpoint;
use crate::map_run::{MapRunReleased, Origin, ResidentMapRun};
use crate::map_runs::MapRunDescription;
use crate::shard::{Answer, Ticket};
use crate::shell::Core;

/// Messages taken in before the Map Run steps.
const MESSAGES_MAX: usize = 1_024;

/// Rows of a page.
const PAGE: u32 = 1_000;

struct Driver {
    core: Arc<Core>,
    run: Arc<Run>,
    resident: ResidentMapRun,
    tickets: HashMap<Ticket, oneshot::Sender<Answer>>,
    drawn: u64,
    /// The parent gave it up and waits for the acknowledgement.
    given_up: Option<TaskId>,
    /// Effects owed when it was loaded were carried out.
    resumed: bool,
}

/// Runs until the Map Run has ended or the process does.
pub(super) async fn drive(core: Arc<Core>, run: Arc<Run>, mut messages: mpsc::UnboundedReceiver<News>) {
    let arn = Arc::clone(&run.arn);
    let events = core.read(move |reader| reader.map_run_events(&arn)).await;
    let events = match events {
        Ok(events) => events,
        Err(error) => {
            tracing::error!(arn = %run.arn, %error, "a Map Run cannot be read");
            return;
        }
    };
    let resident = ResidentMapRun::new(Arc::clone(&run.arn), &events, None);
    let tickets = HashMap::new();
    let mut driver =
        Driver { core, run, resident, tickets, drawn: 0, given_up: None, resumed: events.is_empty() };
    driver.publish();
    let mut news = Vec::new();
    while messages.recv_many(&mut news, MESSAGES_MAX).await > 0 {
        loop {
            for message in news.drain(..) {
                if driver.take_in(message).await.is_err() {
                    return;
                }
            }
            if driver.turns().await.is_err() {
                return;
            }
            if !driver.is_done() {
                break;
            }
            match driver.core.map_runs.leave(&driver.run, &mut messages) {
                None => return,
                Some(message) => news.push(message),
            }
        }
    }
}

impl Driver {
    fn is_done(&self) -> bool {
        let state = self.resident.state();
        let over = is_over(state.status()) || (!state.has_begun() && self.given_up.is_none());
        over && !self.resident.is_ready() && self.given_up.is_none()
    }

    async fn take_in(&mut self, news: News) -> Result<(), Error> {
        match news {
            News::Input(kind, reply) => {
                let ticket = reply.map(|reply| {
                    self.drawn += 1;
                    self.tickets.insert(Ticket(self.drawn), reply);
                    Ticket(self.drawn)
                });
                self.resident.offer(kind, ticket);
            }
            News::Page(page) => {
                if let Some(next) = self.resident.page(page) {
                    self.fetch(next);
                }
            }
            News::Wanted(wanted) => self.wanted(*wanted).await?,
            News::GivenUp(task) => self.give_up(task).await?,
        }
        Ok(())
    }

    /// The parent asks for it: it begins, goes on, goes on after a redrive, or has ended already.
    async fn wanted(&mut self, wanted: StartMapRun) -> Result<(), Error> {
        let scope = Scope {
            account: Arc::clone(&self.run.parent.account),
            region: Arc::clone(&self.run.parent.region),
        };
        let (programs, definition) = (Arc::clone(&self.core.programs), self.run.parent.definition);
        let program = self.core.read(move |_| Ok(programs.get(&scope, definition))).await?;
        let program = match program {
            Ok(program) => program,
            Err(error) => {
                tracing::error!(arn = %self.run.arn, %error, "a Map Run cannot go on");
                let failure = Failure::runtime("The definition cannot be read.");
                self.tell_parent(wanted.task, MapRunResult::Failed(failure));
                return Ok(());
            }
        };
        let start = Arc::new(start_of(&self.run, wanted));
        let redrive = start.redrive;
        self.resident.set_origin(Origin { program, start });
        if !self.resident.state().has_begun() {
            let arn = Arc::clone(&self.run.arn);
            let children = self.core.read(move |reader| children_on_disk(reader, &arn)).await?;
            self.resident.adopt(children);
            self.resident.offer(MapRunInputKind::Started, None);
        } else if is_over(self.resident.state().status()) && redrive > self.resident.state().redrives().0 {
            self.resumed = true;
            self.resident.offer(MapRunInputKind::Redriven, None);
        }
        // One that runs is redriven when it has ended; see `ended`.
        self.resume();
        Ok(())
    }

    /// Asks again for what is owed since before this process.
    fn resume(&mut self) {
        if std::mem::replace(&mut self.resumed, true) {
            return;
        }
        // A turn that ran out of its budget goes on, too.
        self.resident.offer(MapRunInputKind::Resumed, None);
        let effects = self.resident.state().outstanding();
        self.carry_out(MapRunReleased { effects, ..MapRunReleased::default() });
    }

    async fn give_up(&mut self, task: TaskId) -> Result<(), Error> {
        let state = self.resident.state();
        if !state.has_begun() && !self.resident.is_ready() {
            // Children without a Map Run: of a format without journals of Map Runs.
            super::children::stop_all(&self.core, &self.run.arn).await?;
        } else if !is_over(state.status()) || self.resident.is_ready() {
            self.given_up = Some(task);
            self.resident.offer(MapRunInputKind::StopRequested, None);
            return Ok(());
        }
        self.core.input(&self.run.parent.execution_arn, InputKind::TaskCancelled { task });
        Ok(())
    }

    /// Steps, commits and carries out for as long as there is something to do.
    async fn turns(&mut self) -> Result<(), Error> {
        while self.resident.is_ready() {
            if self.core.is_closing() {
                return Err(Error::Stopping);
            }
            let (core, resident) = (Arc::clone(&self.core), &mut self.resident);
            let (now, budget) = (core.clock.now(), core.config.shard.budget);
            let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                resident.take_batch(now, &mut || core.draw(), budget)
            }));
            let Ok(batch) = taken else { return self.broke() };
            if let Some(batch) = batch.filter(|batch| !batch.is_empty()) {
                failpoint!("map_run.commit.before");
                self.core.commit(batch).await?;
                failpoint!("map_run.commit.after");
            }
            let released = self.resident.committed();
            self.publish();
            self.release(released);
            if self.given_up.is_some() {
                self.resume();
            }
        }
        Ok(())
    }

    /// An invariant of the core broke. What is on disk stays; the parent is told.
    fn broke(&mut self) -> Result<(), Error> {
        tracing::error!(arn = %self.run.arn, "a Map Run broke");
        if let Some(origin) = self.resident.origin() {
            let failure = Failure::runtime("The Map Run failed internally.");
            self.tell_parent(origin.start.task, MapRunResult::Failed(failure));
        }
        lock(&self.core.map_runs.runs).remove(&self.run.arn);
        Err(Error::Internal)
    }

    /// Shows the world how it stands on disk.
    fn publish(&self) {
        let state = self.resident.state();
        if let Some(description) = MapRunDescription::of(state) {
            *lock(&self.run.description) = Some(description);
        }
    }

    fn release(&mut self, mut released: MapRunReleased) {
        for (ticket, answer) in std::mem::take(&mut released.answers) {
            if let Some(reply) = self.tickets.remove(&ticket) {
                // The caller may have hung up.
                let _ = reply.send(answer);
            }
        }
        self.carry_out(released);
    }

    fn carry_out(&mut self, released: MapRunReleased) {
        let MapRunReleased { effects, mut starts, .. } = released;
        let (mut run_again, mut stop) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                MapRunEffect::RunChild { index, redrives } => {
                    match (starts.remove(&index), self.resident.origin()) {
                        (Some(start), Some(origin)) => {
                            let program = &origin.program;
                            super::children::start(&self.core, &self.run, program, start, (index, redrives));
                        }
                        (_, _) => run_again.push(index),
                    }
                }
                MapRunEffect::StopChild { index, redrives } => stop.push((index, redrives)),
                MapRunEffect::ReadItems(read) => {
                    if let Some(read) = self.resident.read(&read) {
                        self.fetch(read);
                    }
                }
                MapRunEffect::FindUnsuccessful(find) => {
                    super::children::find_unsuccessful(&self.core, &self.run, find);
                }
                MapRunEffect::WriteResults(write) => {
                    let state = self.resident.origin().map(|origin| Arc::clone(&origin.start.state));
                    super::results::write(&self.core, &self.run, *write, state.unwrap_or_default());
                }
                MapRunEffect::Ended { task, result, .. } => self.ended(task, result),
            }
        }
        if let Some(origin) = self.resident.origin().filter(|_| !run_again.is_empty()) {
            super::children::run_again(&self.core, &self.run, origin.clone(), run_again);
        }
        if !stop.is_empty() {
            super::children::stop(&self.core, &self.run, stop);
        }
    }

    fn fetch(&self, read: engine::map_run::ReadItems) {
        let (core, run) = (Arc::clone(&self.core), Arc::clone(&self.run));
        tokio::spawn(async move {
            let dispatch = Arc::clone(&core.dispatch);
            let page = dispatch.read_items(Arc::clone(&run.parent), read).await;
            drop(run.inbox.send(News::Page(page)));
        });
    }

    /// Its end is on disk: the parent is told, at least once, since it asks again after a crash.
    fn ended(&mut self, task: TaskId, result: MapRunResult) {
        let redrive = self.resident.origin().map_or(0, |origin| origin.start.redrive);
        if redrive > self.resident.state().redrives().0 {
            // Its parent was redriven while it was on its way to its end.
            self.resident.offer(MapRunInputKind::Redriven, None);
        }
        self.tell_parent(task, result);
        if let Some(task) = self.given_up.take() {
            self.core.input(&self.run.parent.execution_arn, InputKind::TaskCancelled { task });
        }
    }

    fn tell_parent(&self, task: TaskId, result: MapRunResult) {
        failpoint!("parent.tell.before");
        self.core.input(&self.run.parent.execution_arn, InputKind::MapRunEnded { task, result });
        failpoint!("parent.tell.after");
    }
}

fn start_of(run: &Run, wanted: StartMapRun) -> MapRunStart {
    let label = wanted.map_run_arn.split('/').nth(1).and_then(|rest| rest.split(':').next());
    MapRunStart {
        label: label.unwrap_or_default().into(),
        map_run_arn: wanted.map_run_arn,
        task: wanted.task,
        redrive: wanted.redrive,
        parent: Arc::clone(&run.parent),
        state: wanted.state,
        items: wanted.items,
        input: wanted.input,
        context: wanted.context,
        variables: wanted.variables,
    }
}

/// Children of a Map Run without a journal: a server before format 2 left them.
fn children_on_disk(
    reader: &dyn Reader,
    map_run_arn: &Arc<str>,
) -> Result<HashMap<u64, Arc<str>>, StoreError> {
    let mut found = HashMap::new();
    let mut query = MapRunItemsQuery {
        map_run_arn: Arc::clone(map_run_arn),
        from: 0,
        which: WhichItems::All,
        limit: PAGE,
    };
    loop {
        let page = reader.map_run_items(&query)?;
        let Some(last) = page.last() else { break };
        query.from = last.index + 1;
        found.extend(page.into_iter().map(|item| (item.index, item.execution_arn)));
    }
    let by = ListBy::MapRun(Arc::clone(map_run_arn));
    let mut query = ExecutionsQuery { by, status: None, redriven: None, after: None, limit: PAGE };
    loop {
        let page = reader.executions(&query)?;
        found.extend(page.items.into_iter().filter_map(|row| Some((row.map_run?.1, row.arn))));
        query.after = page.next;
        if query.after.is_none() {
            return Ok(found);
        }
    }
}
