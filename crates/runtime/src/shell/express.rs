//! Express executions: the same interpreter, without a journal of their steps.
//!
//! Invariant: a synchronous one leaves nothing on disk (at most once). Of an asynchronous one the start and the end are
//! written; after a crash it runs again from the start (at least once). Its steps are given to the observers when it has
//! ended, for logs instead of a history.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use asl::program::Program;
use asl::timestamp::Timestamp;
use engine::{Effect, Event, EventKind, Execution, FrameId, Input, InputKind, Start, Status, TimerId};
use store::{Batch, ExecutionKey, ExecutionRow, Scope, Standing, TurnRecord};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Core;
use crate::error::Error;
use crate::preconditions::KnownTasks;

/// Inboxes of the Express executions that run.
#[derive(Debug)]
pub(crate) struct ExpressRuns {
    inboxes: Mutex<HashMap<Arc<str>, mpsc::UnboundedSender<InputKind>>>,
    /// The lowest key that this process gave an execution, for recovery must not run those again.
    first_key: AtomicU64,
}

impl Default for ExpressRuns {
    fn default() -> ExpressRuns {
        ExpressRuns { inboxes: Mutex::default(), first_key: AtomicU64::new(u64::MAX) }
    }
}

impl ExpressRuns {
    /// Gives the input back if the execution is none of ours.
    pub(crate) fn offer(&self, arn: &str, kind: InputKind) -> Option<InputKind> {
        let inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
        match inboxes.get(arn) {
            Some(inbox) => inbox.send(kind).err().and(None),
            // A late report for one that has ended is for nobody.
            None => (!super::recovery::is_express(arn)).then_some(kind),
        }
    }

    fn enter(&self, arn: &Arc<str>) -> mpsc::UnboundedReceiver<InputKind> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(arn), sender);
        receiver
    }

    fn leave(&self, arn: &str) {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner).remove(arn);
    }
}

/// How an Express execution ended.
#[derive(Clone, Debug)]
pub(crate) struct ExpressEnd {
    /// All its events.
    pub(crate) events: Arc<[Event]>,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Timestamp,
}

impl ExpressEnd {
    /// The event it ended with.
    pub(crate) fn last(&self) -> Option<&Event> {
        self.events.iter().rev().find(|event| event.kind.ends_execution())
    }
}

/// Takes an execution out of the list of runs, also when its future is dropped.
struct Presence<'a> {
    core: &'a Core,
    arn: &'a Arc<str>,
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.core.express.leave(self.arn);
    }
}

/// One run in memory.
struct Run<'a> {
    core: &'a Arc<Core>,
    start: &'a Arc<Start>,
    program: &'a Program,
    execution: Execution,
    timers: BTreeMap<(Timestamp, TimerId), ()>,
    events: Vec<Event>,
}

/// Runs it to its end.
pub(crate) async fn run(
    core: &Arc<Core>,
    program: &Program,
    start: &Arc<Start>,
) -> Result<ExpressEnd, Error> {
    let mut inbox = core.express.enter(&start.execution_arn);
    let _presence = Presence { core, arn: &start.execution_arn };
    let started_at = core.clock.now();
    let (execution, timers, events) = (Execution::new(), BTreeMap::new(), Vec::new());
    let mut run = Run { core, start, program, execution, timers, events };
    run.input(InputKind::Started(Arc::clone(start)))?;
    while run.execution.status() == Status::Running {
        let due = run.timers.first_key_value().map(|((at, timer), ())| (*at, *timer));
        let sleep = async {
            match due {
                Some((at, _)) => core.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let kind = tokio::select! {
            biased;
            Some(kind) = inbox.recv() => kind,
            () = sleep => {
                run.timers.pop_first();
                match due {
                    Some((_, timer)) => InputKind::TimerElapsed { timer },
                    None => InputKind::Resumed,
                }
            }
        };
        run.input(kind)?;
        // One that never waits for the world must not keep the thread.
        tokio::task::yield_now().await;
    }
    let events: Arc<[Event]> = run.events.into();
    let ended_at = events.last().map_or(started_at, |event| event.at);
    Ok(ExpressEnd { events, started_at, ended_at })
}

impl Run<'_> {
    fn input(&mut self, kind: InputKind) -> Result<(), Error> {
        let mut kind = kind;
        loop {
            let input = Input { at: self.core.clock.now(), entropy: self.core.draw(), kind };
            let budget = self.core.config.shard.budget;
            let (program, execution) = (self.program, &mut self.execution);
            let (reader, dispatch) = (Arc::clone(&self.core.reader), Arc::clone(&self.core.dispatch));
            let preconditions = KnownTasks { reader, dispatch };
            let stepped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                engine::step_with(program, execution, input, budget, &preconditions)
            }));
            let step = stepped.map_err(|_| {
                tracing::error!(arn = %self.start.execution_arn, "an Express execution broke");
                Error::Internal
            })?;
            self.events.extend(step.events);
            self.carry_out(step.effects);
            if !step.more {
                return Ok(());
            }
            kind = InputKind::Resumed;
        }
    }

    /// Nothing of it is written, so there is no commit to wait for.
    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut others = Vec::with_capacity(effects.len());
        for effect in effects {
            match effect {
                Effect::ArmTimer { timer, at } => {
                    self.timers.retain(|(_, armed), ()| *armed != timer);
                    self.timers.insert((at, timer), ());
                }
                other => others.push(other),
            }
        }
        self.core.dispatcher.carry_out(self.core, self.start, others);
    }
}

/// Begins an asynchronous one: returns when its start is on disk.
pub(crate) async fn begin(
    core: &Arc<Core>,
    program: Arc<Program>,
    start: Arc<Start>,
) -> Result<Timestamp, Error> {
    let slot = Arc::clone(&core.express_slots).try_acquire_owned().map_err(|_| Error::Throttling)?;
    let scope = Scope { account: Arc::clone(&start.account), region: Arc::clone(&start.region) };
    let drawn = core.keys.draw(&scope);
    let key = drawn.map_err(|error| Error::internal("no key for an execution", &error))?;
    core.express.first_key.fetch_min(key.number, Ordering::SeqCst);
    let at = core.clock.now();
    let kind = EventKind::ExecutionStarted { start: Arc::clone(&start), deadline: None, first: "".into() };
    let event = Event { seq: 1, frame: FrameId::ROOT, at, history_id: Some(1), prev: 0, kind };
    let turn = TurnRecord { execution: key, events: Arc::from(vec![event]), standing: Standing::Open };
    core.commit(Batch { turns: vec![turn], ..Batch::default() }).await?;
    tokio::spawn(finish(Arc::clone(core), program, start, key, slot));
    Ok(at)
}

/// After a crash: from the start again.
pub(crate) async fn rerun(core: &Arc<Core>, row: ExecutionRow) -> Result<(), Error> {
    let key = row.key;
    if key.number >= core.express.first_key.load(Ordering::SeqCst) {
        return Ok(());
    }
    let events = core.read(move |reader| reader.events(key)).await?;
    let Some(EventKind::ExecutionStarted { start, .. }) = events.first().map(|event| &event.kind) else {
        return Ok(());
    };
    let scope = Scope { account: Arc::clone(&start.account), region: Arc::clone(&start.region) };
    let (programs, definition) = (Arc::clone(&core.programs), start.definition);
    let compiled = tokio::task::spawn_blocking(move || programs.get(&scope, definition)).await;
    match compiled {
        Ok(Ok(program)) => {
            let slot = Arc::clone(&core.express_slots).acquire_owned().await.map_err(|_| Error::Stopping)?;
            tokio::spawn(finish(Arc::clone(core), program, Arc::clone(start), key, slot));
        }
        Ok(Err(error)) => tracing::error!(arn = %row.arn, %error, "an Express execution cannot be run again"),
        Err(error) => tracing::error!(arn = %row.arn, %error, "compiling broke"),
    }
    Ok(())
}

async fn finish(
    core: Arc<Core>,
    program: Arc<Program>,
    start: Arc<Start>,
    key: ExecutionKey,
    _slot: OwnedSemaphorePermit,
) {
    let ended = run(&core, &program, &start).await;
    let last = ended.as_ref().ok().and_then(ExpressEnd::last);
    let at = last.map_or_else(|| core.clock.now(), |event| event.at);
    let kind = last.map_or_else(
        || EventKind::ExecutionFailed {
            failure: engine::Failure::runtime("The execution failed internally."),
        },
        |event| event.kind.clone(),
    );
    let event = Event { seq: 2, frame: FrameId::ROOT, at, history_id: Some(2), prev: 1, kind };
    let turn = TurnRecord { execution: key, events: Arc::from(vec![event]), standing: Standing::Settled };
    // Without this the execution runs again after the next start: at least once.
    let _ = core.commit(Batch { turns: vec![turn], ..Batch::default() }).await;
    if let Ok(ended) = ended {
        core.express_ended(&start, &ended).await;
    }
}
