//! [`Runtime`]: opening, ending, and watching executions.
//!
//! Invariant: between `open` and `shutdown` every acknowledged request is on disk. Dropping a runtime without `shutdown` is
//! a crash: nothing more is written or answered, and the next one over the same store goes on where this one was.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use engine::{Event, Preconditions};
use store::{Batch, ExecutionRow, QuarantineWrite, Quarantined, Reader, Store, StoreError};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::activities::Activities;
use crate::clock::Clock;
use crate::config::RuntimeConfig;
use crate::dispatch::Dispatch;
use crate::entropy::Seeds;
use crate::error::Error;
use crate::preconditions::KnownTasks;
use crate::programs::{Compilers, Programs};
use crate::quotas::OpenExecutions;
use crate::registry::{Registry, resume_deletions};
use crate::shard::{Answer, Shard};
use crate::shell::committer::{self, Commit, Done, Fatal};
use crate::shell::dispatcher::Dispatcher;
use crate::shell::driver::{self, Message};
use crate::shell::express::ExpressRuns;
use crate::shell::map_runs::MapRuns;
use crate::shell::observers::{self, Observer};
use crate::shell::subscribers::Subscribers;
use crate::shell::{Core, recovery};

/// Commits waiting for the committer; who finds it full waits, and nobody waits for them.
const COMMITS_MAX: usize = 1_024;

/// What a runtime is made of.
pub struct RuntimeParts {
    /// Bounds.
    pub config: RuntimeConfig,
    /// Where everything is kept.
    pub store: Box<dyn Store>,
    /// Who does tasks.
    pub dispatch: Arc<dyn Dispatch>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who reads definitions.
    pub compilers: Compilers,
    /// Who follows all executions.
    pub observers: Vec<Arc<dyn Observer>>,
}

/// A running runtime.
pub struct Runtime {
    pub(crate) core: Arc<Core>,
    pub(crate) registry: Arc<Registry>,
    tasks: Mutex<Tasks>,
}

struct Tasks {
    shards: JoinSet<()>,
    committer: Option<JoinHandle<Option<Box<dyn Store>>>>,
    background: JoinSet<()>,
}

impl Runtime {
    /// Starts shards, committer and observers over a store, and begins to bring back what was open. Call within tokio.
    pub async fn open(parts: RuntimeParts) -> Result<Runtime, StoreError> {
        let RuntimeParts { config, mut store, dispatch, clock, compilers, observers } = parts;
        crate::shell::observers::begin(&mut *store, &observers)?;
        let (reader, keys) = (store.reader(), store.keys());
        let quarantined = quarantined(&*reader)?;
        let programs = Arc::new(Programs::new(Arc::clone(&reader), compilers));
        let (commits, commit_queue) = mpsc::channel(COMMITS_MAX);
        let (position_sender, position) = watch::channel(0);
        let seeds = Seeds::new(config.seed);
        let channels = (0..config.shards.max(1)).map(|_| mpsc::unbounded_channel::<Message>());
        let (inboxes, receivers): (Vec<_>, Vec<_>) = channels.unzip();
        let core = Arc::new(Core {
            dispatcher: Dispatcher::new(config.in_flight_max),
            admitted: Semaphore::new(config.admission_max.min(Semaphore::MAX_PERMITS)),
            express_slots: Arc::new(Semaphore::new(config.express_max.min(Semaphore::MAX_PERMITS))),
            seeds: Mutex::new(seeds.fork(u64::MAX)),
            config,
            clock,
            dispatch,
            reader,
            keys,
            programs,
            commits,
            position,
            inboxes,
            fatal: Fatal::new(),
            subscribers: Subscribers::default(),
            activities: Arc::new(Activities::default()),
            express: ExpressRuns::default(),
            map_runs: MapRuns::default(),
            observers,
            closing: AtomicBool::new(false),
            open_executions: OpenExecutions::default(),
        });
        let committer = committer::run(store, commit_queue, position_sender, core.fatal.clone());
        let committer = Some(tokio::spawn(committer));
        let preconditions: Arc<dyn Preconditions + Send + Sync> =
            Arc::new(KnownTasks { reader: Arc::clone(&core.reader), dispatch: Arc::clone(&core.dispatch) });
        let mut shards = JoinSet::new();
        for (n, inbox) in receivers.into_iter().enumerate() {
            let shard = Shard::new(
                core.config.shard.clone(),
                Arc::clone(&core.reader),
                core.keys.clone(),
                Arc::clone(&core.programs),
                seeds.fork(n as u64),
                quarantined.clone(),
            );
            let shard = shard.with_preconditions(Arc::clone(&preconditions));
            let me = core.inboxes[n].downgrade();
            shards.spawn(driver::run(Arc::clone(&core), shard, me, inbox));
        }
        let registry = Arc::new(Registry::new(Arc::clone(&core)));
        let mut background = background(&core);
        background.spawn(resume_deletions(Arc::clone(&core), Arc::clone(&registry)));
        let tasks = Mutex::new(Tasks { shards, committer, background });
        Ok(Runtime { core, registry, tasks })
    }

    /// Stops accepting, finishes what is in commit, and leaves the rest to the journal. Requests still under way are
    /// answered `ServiceUnavailable`.
    pub async fn shutdown(&self) {
        self.core.closing.store(true, Ordering::Release);
        let (mut shards, committer) = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.background.abort_all();
            (std::mem::take(&mut tasks.shards), tasks.committer.take())
        };
        self.core.dispatcher.stop();
        for inbox in &self.core.inboxes {
            drop(inbox.send(Message::Stop));
        }
        while shards.join_next().await.is_some() {}
        let last = Commit { batch: Batch::default(), done: Done::Stop };
        drop(self.core.commits.send(last).await);
        if let Some(committer) = committer {
            drop(committer.await);
        }
    }

    /// Resolves when the store has failed, with the reason: the process has to end. Until then it never does.
    pub async fn fatal(&self) -> Arc<str> {
        self.core.fatal.raised().await
    }

    /// Follows an execution from its first event on.
    pub fn follow(&self, execution_arn: &str) -> Follow {
        let live = self.core.subscribers.subscribe(execution_arn);
        let arn = execution_arn.into();
        Follow { core: Arc::clone(&self.core), arn, live, buffer: VecDeque::new(), last: 0, reread: true }
    }

    /// Waits for the end of an execution, which may have come already; returns its row then.
    pub async fn wait_for_end(&self, execution_arn: &str) -> Result<ExecutionRow, Error> {
        self.core.wait_for_end(&execution_arn.into()).await
    }

    /// Gives an execution that is out of service another try, in this process. If it breaks again it is out again.
    pub async fn release_quarantined(&self, execution_arn: &str) -> Result<(), Error> {
        let arn: Arc<str> = execution_arn.into();
        let asked = Arc::clone(&arn);
        let row = self.core.read(move |reader| reader.execution(&asked)).await?;
        let row = row.ok_or_else(|| Error::ExecutionDoesNotExist(Arc::clone(&arn)))?;
        let quarantine = vec![QuarantineWrite::Release(row.key)];
        self.core.commit(Batch { quarantine, ..Batch::default() }).await?;
        match self.core.release(&arn).await? {
            Answer::Quarantined => Err(Error::Internal),
            _ => Ok(()),
        }
    }

    /// Executions that are out of service, with the reasons.
    pub async fn quarantine(&self) -> Result<Vec<Quarantined>, Error> {
        self.core.read(quarantined).await
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.core.closing.store(true, Ordering::Release);
        self.core.dispatcher.stop();
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(committer) = &tasks.committer {
            committer.abort();
        }
    }
}

fn background(core: &Arc<Core>) -> JoinSet<()> {
    let mut background = JoinSet::new();
    for observer in &core.observers {
        background.spawn(observers::drive(Arc::clone(core), Arc::clone(observer)));
    }
    let core = Arc::clone(core);
    background.spawn(async move {
        match recovery::recover(&core).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "open executions go on"),
            Err(error) => tracing::error!(%error, "recovery stopped"),
        }
    });
    background
}

fn quarantined(reader: &dyn Reader) -> Result<Vec<Quarantined>, StoreError> {
    let mut all: Vec<Quarantined> = Vec::new();
    loop {
        let after = all.last().map(|row| row.execution);
        let page = reader.quarantined(after, 1_000)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// The events of one execution, past and to come.
pub struct Follow {
    core: Arc<Core>,
    arn: Arc<str>,
    live: mpsc::Receiver<Arc<[Event]>>,
    buffer: VecDeque<Event>,
    last: u64,
    reread: bool,
}

impl Follow {
    /// The next committed event; waits for it. `None` when the store cannot be read any more.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.buffer.pop_front() {
                self.last = event.seq;
                return Some(event);
            }
            if std::mem::take(&mut self.reread) {
                let (arn, last) = (Arc::clone(&self.arn), self.last);
                let read = self.core.read(move |reader| {
                    let row = reader.execution(&arn)?;
                    row.map_or(Ok(Vec::new()), |row| reader.events(row.key))
                });
                self.buffer.extend(read.await.ok()?.into_iter().filter(|event| event.seq > last));
                continue;
            }
            match self.live.recv().await {
                Some(turn) => {
                    let expected = self.last + 1;
                    // Turns that the first reading has shown already come again; a gap cannot be, but would be filled.
                    self.reread = turn.first().is_some_and(|first| first.seq > expected);
                    if !self.reread {
                        self.buffer.extend(turn.iter().filter(|event| event.seq > self.last).cloned());
                    }
                }
                None => {
                    self.live = self.core.subscribers.subscribe(&self.arn);
                    self.reread = true;
                }
            }
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.live.close();
        self.core.subscribers.unsubscribed(&self.arn);
    }
}
