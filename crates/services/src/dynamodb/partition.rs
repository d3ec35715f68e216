//! The one thread that owns a table file, and the queue before it.
//!
//! Requests are taken in groups: each runs in its own transaction, the group is sealed with one sync, and
//! only then are its answers given. Reads are answered after the seal as well, so nobody sees what a power
//! cut could take back. The queue is bounded; callers wait for room.

use dynoxide::DynoxideError;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::table_file::TableFile;

/// Requests waiting or running in one file.
const QUEUE_MAX: usize = 4096;
/// Requests answered by one sync, at most.
const GROUP_MAX: usize = 256;
/// A group closes after this long even when more is waiting, so that its first caller is not kept.
const GROUP_TIME_MAX: Duration = Duration::from_millis(5);
/// DynamoDB deletes expired items "within a few days"; here within a minute.
const EXPIRY_SWEEP_EVERY: Duration = Duration::from_secs(60);

struct Job {
    operation: String,
    body: String,
    invocation: Option<String>,
    answer: oneshot::Sender<Result<String, DynoxideError>>,
    _room: OwnedSemaphorePermit,
}

/// A handle on the thread; dropping the last one ends it after its queue.
pub(super) struct Partition {
    jobs: Sender<Job>,
    room: Arc<Semaphore>,
}

impl Partition {
    /// Opens the file (blocking) and starts its thread.
    pub(super) fn open(path: &Path) -> Result<Self, DynoxideError> {
        let file = TableFile::open(path)?;
        let (jobs, queue) = channel();
        std::thread::Builder::new()
            .name("dynamodb".to_owned())
            .spawn(move || serve(file, &queue))
            .map_err(|error| DynoxideError::InternalServerError(error.to_string()))?;
        Ok(Self { jobs, room: Arc::new(Semaphore::new(QUEUE_MAX)) })
    }

    /// Runs one operation; its effect is durable when this returns.
    pub(super) async fn run(
        &self,
        operation: &str,
        body: String,
        invocation: Option<&str>,
    ) -> Result<String, DynoxideError> {
        let closed = || DynoxideError::InternalServerError("The table store has stopped".to_owned());
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| closed())?;
        let (answer, answered) = oneshot::channel();
        let invocation = invocation.map(str::to_owned);
        let job = Job { operation: operation.to_owned(), body, invocation, answer, _room: room };
        self.jobs.send(job).map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

fn serve(mut file: TableFile, queue: &Receiver<Job>) {
    let mut swept = Instant::now();
    loop {
        match queue.recv_timeout(EXPIRY_SWEEP_EVERY) {
            Ok(first) => serve_group(&mut file, first, queue),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if swept.elapsed() >= EXPIRY_SWEEP_EVERY {
            swept = Instant::now();
            let result = file.sweep_expired().and_then(|_| file.seal(now_ms()));
            if let Err(error) = result {
                tracing::warn!(%error, "DynamoDB could not delete expired items");
            }
        }
    }
}

fn serve_group(file: &mut TableFile, first: Job, queue: &Receiver<Job>) {
    let started = Instant::now();
    let mut finished = Vec::new();
    let mut next = Some(first);
    while let Some(job) = next {
        let outcome = file.run(&job.operation, &job.body, job.invocation.as_deref(), now_ms());
        finished.push((job, outcome));
        let full = finished.len() >= GROUP_MAX || started.elapsed() >= GROUP_TIME_MAX;
        next = if full { None } else { queue.try_recv().ok() };
    }
    let sealed = file.seal(now_ms());
    for (job, outcome) in finished {
        let outcome = match &sealed {
            Ok(()) => outcome,
            Err(error) => Err(DynoxideError::InternalServerError(error.to_string())),
        };
        // A caller that has gone away does not need its answer.
        let _ = job.answer.send(outcome);
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The number of syncs decides how fast a durable store can be; walls move, this number does not.
    #[tokio::test]
    async fn concurrent_writes_share_their_syncs() {
        const CALLERS: usize = 64;
        const WRITES: usize = 10;
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("tables.sqlite");
        let partition = Arc::new(Partition::open(&path).expect("open"));
        let table = json!({"TableName": "orders", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]});
        partition.run("CreateTable", table.to_string(), None).await.expect("create");
        let callers = (0..CALLERS).map(|caller| {
            let partition = Arc::clone(&partition);
            tokio::spawn(async move {
                for write in 0..WRITES {
                    let id = format!("{caller}-{write}");
                    let put = json!({"TableName": "orders", "Item": {"id": {"S": id}}}).to_string();
                    partition.run("PutItem", put, Some(&id)).await.expect("put");
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.expect("caller");
        }
        let file = rusqlite::Connection::open(&path).expect("file");
        let seals: usize =
            file.query_row(r#"SELECT count FROM "passo::seal""#, [], |row| row.get(0)).expect("count");
        let items: usize =
            file.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).expect("count");
        assert_eq!(items, CALLERS * WRITES);
        assert!(seals * 4 < CALLERS * WRITES, "{seals} syncs for {} writes", CALLERS * WRITES);
    }
}
