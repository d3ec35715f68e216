//! The one writer: puts the finished turns of all shards into one transaction.
//!
//! Invariant: batches are written in the order in which they came, one transaction at a time; what came while one was under
//! way goes into the next, so grouping adds no latency. If a commit fails, nothing is acknowledged any more and
//! [`Fatal`] says why: the shards have stepped ahead of the disk, so this process has to end.

use std::sync::Arc;
use std::time::Duration;

use store::{Batch, Committed, ExecutionKey, Standing, Store, StoreError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::failpoint;
use crate::shard::BatchId;
use crate::shell::driver::Message;

/// Most batches in one transaction.
const GROUP_MAX: usize = 256;

/// How long nothing must happen before the log of the database is moved into its file.
const QUIET: Duration = Duration::from_secs(1);

/// Something to be written, and who wants to know.
pub(crate) struct Commit {
    pub(crate) batch: Batch,
    pub(crate) done: Done,
}

/// Whom to tell.
pub(crate) enum Done {
    /// A shard.
    Shard(mpsc::UnboundedSender<Message>, BatchId),
    /// Whoever waits; dropped without a word when the commit fails.
    Caller(oneshot::Sender<Arc<Committed>>),
    /// Nobody: this was the last one.
    Stop,
}

/// The process has to end: why.
#[derive(Clone, Debug)]
pub(crate) struct Fatal(watch::Sender<Option<Arc<str>>>);

impl Fatal {
    pub(crate) fn new() -> Fatal {
        Fatal(watch::Sender::new(None))
    }

    /// The first reason stays.
    pub(crate) fn raise(&self, reason: &dyn std::fmt::Display) {
        tracing::error!(%reason, "the store failed: no more answers are given");
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(reason.to_string().into());
            }
            first
        });
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Resolves when there is a reason.
    pub(crate) async fn raised(&self) -> Arc<str> {
        let mut receiver = self.0.subscribe();
        let reason = receiver.wait_for(Option::is_some).await.map(|reason| reason.clone());
        reason.ok().flatten().unwrap_or_else(|| "the runtime is gone".into())
    }
}

/// Runs until it is stopped; then everything that was sent before is on disk. Returns the store.
pub(crate) async fn run(
    mut store: Box<dyn Store>,
    mut queue: mpsc::Receiver<Commit>,
    position: watch::Sender<u64>,
    fatal: Fatal,
) -> Option<Box<dyn Store>> {
    let mut group = Vec::with_capacity(GROUP_MAX);
    let mut quiet = true;
    loop {
        group.clear();
        let received = match quiet {
            true => queue.recv_many(&mut group, GROUP_MAX).await,
            false => match tokio::time::timeout(QUIET, queue.recv_many(&mut group, GROUP_MAX)).await {
                Ok(received) => received,
                Err(_) => {
                    store = checkpoint(store).await?;
                    quiet = true;
                    continue;
                }
            },
        };
        if received == 0 {
            return Some(store);
        }
        let batch = merge(&mut group);
        let committed = if batch.is_empty() {
            Committed { position: *position.borrow(), ..Committed::default() }
        } else {
            quiet = false;
            let (returned, result) = append(store, batch).await?;
            store = returned;
            match result {
                Ok(committed) => committed,
                Err(error) => {
                    fatal.raise(&error);
                    return Some(store);
                }
            }
        };
        position.send_if_modified(|position| {
            std::mem::replace(position, committed.position) != committed.position
        });
        let stop = group.iter().any(|commit| matches!(commit.done, Done::Stop));
        tell(&mut group, &Arc::new(committed));
        if stop {
            return Some(store);
        }
    }
}

fn tell(group: &mut Vec<Commit>, committed: &Arc<Committed>) {
    for commit in group.drain(..) {
        // Nobody listens any more: no harm, it is on disk.
        match commit.done {
            Done::Shard(shard, id) => drop(shard.send(Message::Committed(id, Arc::clone(committed)))),
            Done::Caller(caller) => drop(caller.send(Arc::clone(committed))),
            Done::Stop => {}
        }
    }
}

/// The disk is waited for on a thread for blocking work, so that timers, polls and answers go on.
async fn append(
    mut store: Box<dyn Store>,
    batch: Batch,
) -> Option<(Box<dyn Store>, Result<Committed, StoreError>)> {
    let work = tokio::task::spawn_blocking(move || {
        failpoint!("commit.before");
        let result = store.append(&batch);
        failpoint!("commit.after");
        (store, result)
    });
    work.await.ok()
}

async fn checkpoint(mut store: Box<dyn Store>) -> Option<Box<dyn Store>> {
    let work = tokio::task::spawn_blocking(move || {
        if let Err(error) = store.checkpoint() {
            tracing::warn!(%error, "checkpoint");
        }
        store
    });
    work.await.ok()
}

/// One batch of many, in order.
fn merge(group: &mut [Commit]) -> Batch {
    let mut all = Batch::default();
    for commit in group {
        let batch = std::mem::take(&mut commit.batch);
        all.turns.extend(batch.turns);
        all.parked.extend(batch.parked);
        all.definitions.extend(batch.definitions);
        all.registry.extend(batch.registry);
        all.map_runs.extend(batch.map_runs);
        all.items.extend(batch.items);
        all.cursors.extend(batch.cursors);
        all.quarantine.extend(batch.quarantine);
    }
    // Parking is applied after the turns: an execution that was parked and then ended in the same transaction stays ended.
    if !all.parked.is_empty() {
        let last = all.turns.iter().map(|turn| (turn.execution, turn.standing));
        let last: std::collections::HashMap<ExecutionKey, Standing> = last.collect();
        all.parked.retain(|parked| last.get(&parked.execution) != Some(&Standing::Settled));
    }
    all
}
