//! Drives Map Runs: the engine's second aggregate, with ordinary executions as its children.
//!
//! Invariant: a Map Run is written through the same committer as everything else, and nothing of a turn leaves before its
//! commit; so a child is on disk as owed before it is started, its end is on disk before the Map Run ends, and what
//! UpdateMapRun was answered survives a crash. Messages between parent, Map Run and children are at least once. An ended Map
//! Run leaves memory; one that runs is loaded when its parent asks for it again.

mod children;
mod drive;
mod results;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::map_run::{ChildResult, MapRunInputKind, MapRunStatus};
use engine::{Failure, Finished, Start, StartMapRun, StopMapRun, TaskId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::Core;
use crate::dispatch::ItemsReport;
use crate::map_runs::MapRunDescription;
use crate::shard::Answer;

pub use results::MapRunChildren;

/// The Map Runs in memory.
#[derive(Default)]
pub(crate) struct MapRuns {
    runs: Mutex<HashMap<Arc<str>, Arc<Run>>>,
}

/// One Map Run in memory.
pub(crate) struct Run {
    arn: Arc<str>,
    parent: Arc<Start>,
    inbox: mpsc::UnboundedSender<News>,
    /// How it stands on disk; none before its first commit.
    description: Mutex<Option<MapRunDescription>>,
    /// The tasks of its Express children.
    express: Mutex<HashMap<u64, AbortHandle>>,
}

/// What a Map Run is told.
enum News {
    /// Anything for the aggregate, and who waits for the answer.
    Input(MapRunInputKind, Option<oneshot::Sender<Answer>>),
    /// Items, or why there are none.
    Page(Result<ItemsReport, Failure>),
    /// Its parent asks for it, perhaps again.
    Wanted(Box<StartMapRun>),
    /// Its parent gave it up and waits for the acknowledgement.
    GivenUp(TaskId),
}

impl Run {
    /// How it stands on disk.
    pub(crate) fn description(&self) -> Option<MapRunDescription> {
        lock(&self.description).clone()
    }

    /// News for it. One that has ended needs to know nothing more.
    fn tell(&self, kind: MapRunInputKind) {
        drop(self.inbox.send(News::Input(kind, None)));
    }

    /// How a child ended, redriven so often by then; `None`: it was stopped before it began, or began again.
    fn child_ended(&self, index: u64, redrives: Option<u32>, result: ChildResult) {
        self.tell(MapRunInputKind::ChildEnded { index, redrives, result });
    }

    /// A request, answered after its commit; `None` if it has left memory.
    pub(crate) async fn ask(&self, kind: MapRunInputKind) -> Option<Answer> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(News::Input(kind, Some(reply))).ok()?;
        answer.await.ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MapRuns {
    /// A Map Run in memory.
    pub(crate) fn find(&self, arn: &str) -> Option<Arc<Run>> {
        lock(&self.runs).get(arn).cloned()
    }

    /// The parent owes a Map Run: loads or begins it, unless it is in memory.
    pub(crate) fn start(&self, core: &Arc<Core>, parent: &Arc<Start>, effect: StartMapRun) {
        let arn = Arc::clone(&effect.map_run_arn);
        self.wake(core, parent, &arn, News::Wanted(Box::new(effect)));
    }

    /// The parent gave a Map Run up.
    pub(crate) fn stop(&self, core: &Arc<Core>, parent: &Arc<Start>, effect: StopMapRun) {
        self.wake(core, parent, &effect.map_run_arn, News::GivenUp(effect.task));
    }

    fn wake(&self, core: &Arc<Core>, parent: &Arc<Start>, arn: &Arc<str>, news: News) {
        let mut runs = lock(&self.runs);
        if let Some(run) = runs.get(arn) {
            drop(run.inbox.send(news));
            return;
        }
        let (inbox, messages) = mpsc::unbounded_channel();
        drop(inbox.send(news));
        let run = Arc::new(Run {
            arn: Arc::clone(arn),
            parent: Arc::clone(parent),
            inbox,
            description: Mutex::default(),
            express: Mutex::default(),
        });
        runs.insert(Arc::clone(arn), Arc::clone(&run));
        tokio::spawn(drive::drive(Arc::clone(core), run, messages));
    }

    /// A Standard child has ended; its end is on disk. A Map Run that is not in memory asks when it is loaded.
    pub(crate) fn child_finished(&self, child: &Start, finished: &Finished, redrives: u32) {
        let Some(link) = &child.map_run else { return };
        let Some(run) = self.find(&link.map_run_arn) else { return };
        let result = match finished {
            Finished::Succeeded(output) => ChildResult::Succeeded(output.clone()),
            Finished::Failed(failure) => ChildResult::Failed(failure.clone()),
            Finished::TimedOut(failure) => ChildResult::TimedOut(failure.clone()),
            Finished::Aborted(_) => ChildResult::Aborted,
        };
        run.child_ended(link.index, Some(redrives), result);
    }

    /// Takes a Map Run out of memory, unless news came meanwhile.
    fn leave(&self, run: &Run, messages: &mut mpsc::UnboundedReceiver<News>) -> Option<News> {
        let mut runs = lock(&self.runs);
        let news = messages.try_recv().ok();
        if news.is_none() {
            runs.remove(&run.arn);
            messages.close();
        }
        news
    }
}

/// Whether a status is an end.
pub(crate) fn is_over(status: MapRunStatus) -> bool {
    status != MapRunStatus::Running
}
