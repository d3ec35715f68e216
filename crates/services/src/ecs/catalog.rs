//! ECS's file: clusters, task definitions, tasks. Tasks are mirrored in memory, because they are asked for often.

use super::task::{Status, Task};
use crate::storage::{Database, StorageError};
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;

const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE clusters(
        account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL,
        PRIMARY KEY(account, region, name)) WITHOUT ROWID;
    CREATE TABLE definitions(
        account TEXT NOT NULL, region TEXT NOT NULL, family TEXT NOT NULL, revision INTEGER NOT NULL,
        active INTEGER NOT NULL, document TEXT NOT NULL,
        PRIMARY KEY(account, region, family, revision)) WITHOUT ROWID;
    CREATE TABLE tasks(arn TEXT PRIMARY KEY, stopped_ms INTEGER, document TEXT NOT NULL) WITHOUT ROWID;"];

/// Stopped tasks are shown for a day; AWS shows them for an hour.
const STOPPED_KEPT_MS: i64 = 24 * 3_600_000;

/// A task in memory, and who waits for it to change.
pub(super) struct TaskCell {
    task: Mutex<Arc<Task>>,
    changed: watch::Sender<u64>,
    changing: tokio::sync::Mutex<()>,
}

impl TaskCell {
    fn new(task: Task) -> Arc<Self> {
        let changed = watch::Sender::new(task.version);
        Arc::new(Self { task: Mutex::new(Arc::new(task)), changed, changing: tokio::sync::Mutex::default() })
    }

    /// The task as it was last written to disk.
    pub fn get(&self) -> Arc<Task> {
        Arc::clone(&self.task.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until StopTask was called.
    pub async fn stop_requested(&self) {
        let mut changed = self.subscribe();
        while !self.get().stop_requested {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

pub(super) struct Catalog {
    pub database: Database,
    tasks: RwLock<BTreeMap<String, Arc<TaskCell>>>,
}

impl Catalog {
    pub fn open(directory: &Path) -> Result<Self, StorageError> {
        let database = Database::open(directory, "ecs", &MIGRATIONS)?;
        let path = database.path().to_owned();
        let documents: Vec<String> = database
            .read(|connection| {
                let mut statement = connection.prepare("SELECT document FROM tasks")?;
                statement.query_map([], |row| row.get(0))?.collect()
            })
            .map_err(|source| StorageError::Sqlite { path: path.clone(), source })?;
        let mut tasks = BTreeMap::new();
        for document in documents {
            let task: Task = serde_json::from_str(&document).map_err(|_| StorageError::Writer {
                path: path.clone(),
                reason: "a task's document is unreadable",
            })?;
            tasks.insert(task.arn.clone(), TaskCell::new(task));
        }
        Ok(Self { database, tasks: RwLock::new(tasks) })
    }

    pub fn task(&self, arn: &str) -> Option<Arc<TaskCell>> {
        self.tasks.read().unwrap_or_else(PoisonError::into_inner).get(arn).cloned()
    }

    /// All tasks, in the order of their ARNs.
    pub fn tasks(&self) -> Vec<Arc<TaskCell>> {
        self.tasks.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Shows tasks that a transaction has just added.
    pub fn show(&self, added: Vec<Task>) -> Vec<Arc<TaskCell>> {
        let mut tasks = self.tasks.write().unwrap_or_else(PoisonError::into_inner);
        let now = jiff::Timestamp::now().as_millisecond();
        tasks.retain(|_, cell| cell.get().stopped_ms.is_none_or(|stopped| stopped > now - STOPPED_KEPT_MS));
        added
            .into_iter()
            .map(|task| {
                let cell = TaskCell::new(task);
                tasks.insert(cell.get().arn.clone(), Arc::clone(&cell));
                cell
            })
            .collect()
    }

    /// Changes a task, on disk first.
    pub async fn change(
        &self,
        cell: &TaskCell,
        change: impl FnOnce(&mut Task) + Send,
    ) -> Result<Arc<Task>, ServiceError> {
        let _changing = cell.changing.lock().await;
        let mut task = Task::clone(&cell.get());
        if task.status == Status::Stopped {
            return Ok(cell.get());
        }
        change(&mut task);
        task.version += 1;
        let task = Arc::new(task);
        let written = Arc::clone(&task);
        self.database.write(move |connection| write_task(connection, &written)).await?;
        *cell.task.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&task);
        cell.changed.send_replace(task.version);
        Ok(task)
    }

    pub fn cluster(&self, account: &str, region: &str, name: &str) -> Result<Option<Value>, ServiceError> {
        self.database.read(|connection| cluster(connection, account, region, name))
    }

    /// A revision of a family; the newest active one when none is named.
    pub fn definition(
        &self,
        account: &str,
        region: &str,
        family: &str,
        revision: Option<i64>,
    ) -> Result<Option<Value>, ServiceError> {
        let document: Option<String> = self.database.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT document FROM definitions WHERE account = ?1 AND region = ?2 AND family = ?3
                    AND (revision = ?4 OR (?4 IS NULL AND active = 1)) ORDER BY revision DESC LIMIT 1",
            )?;
            statement.query_row(params![account, region, family, revision], |row| row.get(0)).optional()
        })?;
        document.map(|document| serde_json::from_str(&document).map_err(ServiceError::internal)).transpose()
    }
}

pub(super) fn cluster(
    connection: &Connection,
    account: &str,
    region: &str,
    name: &str,
) -> Result<Option<Value>, ServiceError> {
    let mut statement = connection
        .prepare_cached("SELECT document FROM clusters WHERE account = ?1 AND region = ?2 AND name = ?3")?;
    let document: Option<String> =
        statement.query_row([account, region, name], |row| row.get(0)).optional()?;
    document.map(|document| serde_json::from_str(&document).map_err(ServiceError::internal)).transpose()
}

/// Writes a task, and forgets a few that stopped long ago.
pub(super) fn write_task(connection: &Connection, task: &Task) -> Result<(), ServiceError> {
    let document = serde_json::to_string(task).map_err(ServiceError::internal)?;
    connection.execute(
        "INSERT OR REPLACE INTO tasks VALUES (?1, ?2, ?3)",
        params![task.arn, task.stopped_ms, document],
    )?;
    if let Some(now) = task.stopped_ms {
        connection.execute("DELETE FROM tasks WHERE stopped_ms < ?1", [now - STOPPED_KEPT_MS])?;
    }
    Ok(())
}
