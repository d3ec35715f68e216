//! The one thread that writes a file. It takes the jobs that wait, runs each in a savepoint of one transaction, commits,
//! and only then answers them, so that many callers share one sync of the disk.

use super::StorageError;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait; a further caller waits for room.
const JOBS_WAITING_MAX: usize = 1024;
/// Jobs in one transaction.
const JOBS_PER_COMMIT_MAX: usize = 128;

/// Runs in the transaction; afterwards, told whether the commit succeeded, answers its caller.
type Job = Box<dyn FnOnce(&Connection) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    path: Arc<Path>,
}

impl Writer {
    pub(super) fn spawn(connection: Connection, path: Arc<Path>, name: &str) -> Result<Self, StorageError> {
        let (jobs, waiting) = mpsc::channel(JOBS_WAITING_MAX);
        let file = path.clone();
        let thread = std::thread::Builder::new().name(format!("write-{name}"));
        let failed = |source| StorageError::File { path: path.to_path_buf(), source };
        thread.spawn(move || write_until_closed(&connection, &file, waiting)).map_err(failed)?;
        Ok(Self { jobs, path })
    }

    pub(super) async fn run<T, E, J>(&self, job: J) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        J: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let gone = |reason| E::from(StorageError::Writer { path: self.path.to_path_buf(), reason });
        let (sender, receiver) = oneshot::channel();
        let path = self.path.clone();
        let job: Job = Box::new(move |connection| {
            let result = run_in_savepoint(connection, &path, job);
            Box::new(move |committed| {
                let answer = match committed {
                    Ok(()) => result,
                    Err(error) => Err(E::from(error)),
                };
                // The caller may have gone away; the effect stands all the same.
                let _ = sender.send(answer);
            })
        });
        self.jobs.send(job).await.map_err(|_| gone("the file is closed"))?;
        receiver.await.unwrap_or_else(|_| Err(gone("the writer ended before it answered")))
    }
}

fn run_in_savepoint<T, E: From<StorageError>>(
    connection: &Connection,
    path: &Path,
    job: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    let failed = |source| E::from(StorageError::Sqlite { path: path.to_owned(), source });
    connection.execute_batch("SAVEPOINT job").map_err(failed)?;
    let result = catch_unwind(AssertUnwindSafe(|| job(connection))).unwrap_or_else(|_| {
        Err(E::from(StorageError::Writer { path: path.to_owned(), reason: "a job panicked" }))
    });
    let end = if result.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
    connection.execute_batch(end).map_err(failed)?;
    result
}

fn write_until_closed(connection: &Connection, path: &Path, mut waiting: mpsc::Receiver<Job>) {
    let mut batch = Vec::with_capacity(JOBS_PER_COMMIT_MAX);
    while waiting.blocking_recv_many(&mut batch, JOBS_PER_COMMIT_MAX) > 0 {
        commit(connection, path, &mut batch);
    }
}

fn commit(connection: &Connection, path: &Path, batch: &mut Vec<Job>) {
    let begun = connection.execute_batch("BEGIN IMMEDIATE");
    if let Err(source) = begun {
        // Without a transaction nothing may run. Each caller learns why, by way of its own answer.
        let reason = source.to_string();
        tracing::error!(path = %path.display(), reason, "a transaction could not begin");
        batch.clear();
        return;
    }
    let mut answers: Vec<Answer> = Vec::with_capacity(batch.len());
    for job in batch.drain(..) {
        answers.push(job(connection));
        // On a full disk or an I/O error SQLite may end the transaction by itself, and then no later job may run: it
        // would be committed on its own, without an answer. The jobs left over are dropped, which tells their callers.
        if connection.is_autocommit() {
            break;
        }
    }
    let committed = connection.execute_batch("COMMIT");
    if let Err(error) = &committed {
        tracing::error!(path = %path.display(), %error, "a transaction could not be committed");
        // After a failed COMMIT SQLite may or may not hold the transaction open; either way it must be gone.
        let _ = connection.execute_batch("ROLLBACK");
    }
    for answer in answers {
        answer(match &committed {
            Ok(()) => Ok(()),
            Err(_) => Err(StorageError::Writer {
                path: path.to_owned(),
                reason: "the effect could not be written to disk",
            }),
        });
    }
}
