//! The tokio shell around the shards.
//!
//! Invariant: every way in leads through [`Core::ask`] or [`Core::input`] to the inbox of one shard, every way to the disk
//! through the committer, and every way out through a committed turn. When the store fails nothing is answered any more.

pub(crate) mod committer;
pub(crate) mod dispatcher;
pub(crate) mod driver;
pub(crate) mod express;
pub(crate) mod map_runs;
pub(crate) mod observers;
pub(crate) mod recovery;
pub(crate) mod subscribers;

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use asl::program::Program;
use engine::{InputKind, Start};
use store::{Batch, Committed, ExecutionRow, ExecutionStatus, Keys, Reader, StoreError};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::activities::Activities;
use crate::clock::Clock;
use crate::config::RuntimeConfig;
use crate::dispatch::Dispatch;
use crate::entropy::Seeds;
use crate::error::Error;
use crate::executions::result_of;
use crate::programs::Programs;
use crate::quotas::OpenExecutions;
use crate::shard::{Answer, Naming};
use committer::{Commit, Done, Fatal};
use dispatcher::Dispatcher;
use driver::{Ask, Message, Reply};
use express::ExpressRuns;
use subscribers::Subscribers;

/// What all tasks of a runtime share.
pub(crate) struct Core {
    pub(crate) config: RuntimeConfig,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dispatch: Arc<dyn Dispatch>,
    pub(crate) reader: Arc<dyn Reader>,
    pub(crate) keys: Keys,
    pub(crate) programs: Arc<Programs>,
    pub(crate) commits: mpsc::Sender<Commit>,
    pub(crate) position: watch::Receiver<u64>,
    pub(crate) inboxes: Vec<mpsc::UnboundedSender<Message>>,
    pub(crate) fatal: Fatal,
    pub(crate) subscribers: Subscribers,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) activities: Arc<Activities>,
    pub(crate) express: ExpressRuns,
    pub(crate) map_runs: map_runs::MapRuns,
    pub(crate) observers: Vec<Arc<dyn observers::Observer>>,
    pub(crate) seeds: Mutex<Seeds>,
    pub(crate) admitted: Semaphore,
    pub(crate) express_slots: Arc<Semaphore>,
    pub(crate) closing: AtomicBool,
    pub(crate) open_executions: OpenExecutions,
}

impl Core {
    fn inbox(&self, arn: &str) -> &mpsc::UnboundedSender<Message> {
        let mut hasher = std::hash::DefaultHasher::new();
        arn.hash(&mut hasher);
        let index = hasher.finish() % self.inboxes.len().max(1) as u64;
        &self.inboxes[index as usize]
    }

    /// Tells a shard. A shard that has gone needs to know nothing more.
    pub(crate) fn tell(&self, arn: &str, ask: Ask) {
        drop(self.inbox(arn).send(Message::Ask(ask)));
    }

    /// News from the world, which has its slot: never refused.
    pub(crate) fn input(&self, arn: &Arc<str>, kind: InputKind) {
        if let Some(kind) = self.express.offer(arn, kind) {
            self.tell(arn, Ask::Input(Arc::clone(arn), kind, None));
        }
    }

    /// A customer's request for an execution: admitted or throttled, and answered after its commit.
    pub(crate) async fn ask(&self, arn: &Arc<str>, kind: InputKind) -> Result<Answer, Error> {
        let _permit = self.admit()?;
        self.ask_inside(arn, kind).await
    }

    /// A request of our own, which is never refused.
    pub(crate) async fn ask_inside(&self, arn: &Arc<str>, kind: InputKind) -> Result<Answer, Error> {
        self.answered(arn, |reply| Ask::Input(Arc::clone(arn), kind, Some(reply))).await
    }

    /// An operator gives an execution back into service; its quarantine row is gone already.
    pub(crate) async fn release(&self, arn: &Arc<str>) -> Result<Answer, Error> {
        self.answered(arn, |reply| Ask::Release(Arc::clone(arn), Some(reply))).await
    }

    /// A customer's start: likewise.
    pub(crate) async fn begin(
        &self,
        start: Arc<Start>,
        program: Arc<Program>,
        naming: Naming,
    ) -> Result<Answer, Error> {
        let _permit = self.admit()?;
        self.begin_inside(start, program, naming).await
    }

    /// A start of our own, which is never refused.
    pub(crate) async fn begin_inside(
        &self,
        start: Arc<Start>,
        program: Arc<Program>,
        naming: Naming,
    ) -> Result<Answer, Error> {
        let arn = Arc::clone(&start.execution_arn);
        self.answered(&arn, |reply| Ask::Start(start, program, naming, Some(reply))).await
    }

    async fn answered(&self, arn: &str, message: impl FnOnce(Reply) -> Ask) -> Result<Answer, Error> {
        let (reply, answer) = oneshot::channel();
        self.tell(arn, message(reply));
        // No answer comes when the process is ending or its store has failed.
        answer.await.map_err(|_| Error::Stopping)
    }

    /// The door: bounded, and closed when the runtime stops.
    pub(crate) fn admit(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Error> {
        if self.is_closing() || self.fatal.is_raised() {
            return Err(Error::Stopping);
        }
        crate::failpoint!("admit.before");
        self.admitted.try_acquire().map_err(|_| Error::Throttling)
    }

    /// Whether the runtime is ending or gone.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Writes something and waits until it is on disk.
    pub(crate) async fn commit(&self, batch: Batch) -> Result<Arc<Committed>, Error> {
        let (done, committed) = oneshot::channel();
        let commit = Commit { batch, done: Done::Caller(done) };
        self.commits.send(commit).await.map_err(|_| Error::Stopping)?;
        committed.await.map_err(|_| Error::Stopping)
    }

    /// Waits for the end of an execution, which may have come already; returns its row then.
    pub(crate) async fn wait_for_end(&self, arn: &Arc<str>) -> Result<ExecutionRow, Error> {
        loop {
            let mut live = self.subscribers.subscribe(arn);
            let asked = Arc::clone(arn);
            let row = self.read(move |reader| reader.execution(&asked)).await?;
            let row = row.ok_or_else(|| Error::ExecutionDoesNotExist(Arc::clone(arn)))?;
            if row.status != ExecutionStatus::Running {
                drop(live);
                self.subscribers.unsubscribed(arn);
                return Ok(row);
            }
            loop {
                let turn = tokio::select! {
                    turn = live.recv() => turn,
                    _ = self.fatal.raised() => return Err(Error::Stopping),
                };
                let Some(turn) = turn else { break };
                if turn.iter().any(|event| result_of(&event.kind).is_some()) {
                    break;
                }
            }
        }
    }

    /// Reads committed state, on a thread where waiting for the disk harms nobody.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Error> {
        let reader = Arc::clone(&self.reader);
        let result = tokio::task::spawn_blocking(move || read(&*reader)).await;
        match result {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(Error::internal("the store cannot be read", &error)),
            Err(error) => Err(Error::internal("a read broke", &error)),
        }
    }

    /// Fresh chance.
    pub(crate) fn uuid(&self) -> String {
        self.seeds.lock().unwrap_or_else(PoisonError::into_inner).uuid()
    }

    /// Fresh chance.
    pub(crate) fn draw(&self) -> u64 {
        self.seeds.lock().unwrap_or_else(PoisonError::into_inner).draw()
    }
}
