//! Lambda's file: function documents, code by hash, asynchronous events, and answers to be given again.
//!
//! Functions are mirrored in memory, because every invocation reads one. The mirror changes after the commit.

use super::function::{Function, FunctionKey};
use crate::storage::{Database, StorageError};
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

const MIGRATIONS: [&str; 2] = [
    "
    CREATE TABLE functions(
        account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL,
        PRIMARY KEY(account, region, name)) WITHOUT ROWID;
    CREATE TABLE code(sha256 TEXT PRIMARY KEY, zip BLOB NOT NULL);
    CREATE TABLE events(
        id INTEGER PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL, document TEXT NOT NULL,
        payload BLOB NOT NULL, attempt INTEGER NOT NULL, due_ms INTEGER NOT NULL);
    CREATE INDEX events_due ON events(due_ms);",
    "CREATE TABLE mappings(uuid TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;",
];

/// The functions of all accounts and regions.
pub(super) struct Catalog {
    pub database: Database,
    functions: RwLock<BTreeMap<FunctionKey, Arc<Function>>>,
    /// Changes to functions happen one at a time, each on the state the one before left.
    changing: tokio::sync::Mutex<()>,
}

impl Catalog {
    /// Opens the file and reads the functions.
    pub fn open(directory: &Path) -> Result<Self, StorageError> {
        let database = Database::open(directory, "lambda", &MIGRATIONS)?;
        let path = database.path().to_owned();
        let documents: Vec<String> = database
            .read(|connection| {
                let mut statement = connection.prepare("SELECT document FROM functions")?;
                statement.query_map([], |row| row.get(0))?.collect()
            })
            .map_err(|source| StorageError::Sqlite { path: path.clone(), source })?;
        let mut functions = BTreeMap::new();
        for document in documents {
            let function: Function = serde_json::from_str(&document).map_err(|_| StorageError::Writer {
                path: path.clone(),
                reason: "a function's document is unreadable",
            })?;
            functions.insert(function.key.clone(), Arc::new(function));
        }
        Ok(Self { database, functions: RwLock::new(functions), changing: tokio::sync::Mutex::default() })
    }

    /// A function, or AWS's answer that there is none.
    pub fn get(&self, key: &FunctionKey) -> Result<Arc<Function>, ServiceError> {
        self.find(key).ok_or_else(|| not_found(&key.arn()))
    }

    pub fn find(&self, key: &FunctionKey) -> Option<Arc<Function>> {
        self.functions.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The functions of an account and region whose names follow `after`, at most `limit`.
    pub fn list(&self, account: &str, region: &str, after: &str, limit: usize) -> Vec<Arc<Function>> {
        let from = FunctionKey { account: account.into(), region: region.into(), name: after.into() };
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        let following = functions.range(from..).map(|(_, function)| function);
        let mine =
            following.take_while(|function| function.key.account == account && function.key.region == region);
        mine.filter(|function| function.key.name != after).take(limit).cloned().collect()
    }

    /// Adds a function that must not be there yet.
    pub async fn create(&self, function: Function, zip: Vec<u8>) -> Result<Arc<Function>, ServiceError> {
        let _changing = self.changing.lock().await;
        if self.find(&function.key).is_some() {
            let message = format!("Function already exist: {}", function.key.name);
            return Err(ServiceError::new(409, "ResourceConflictException", message));
        }
        self.store(function, Some(zip)).await
    }

    /// Changes a function; an error of `change` leaves it as it was.
    pub async fn change<T>(
        &self,
        key: &FunctionKey,
        zip: Option<Vec<u8>>,
        change: impl FnOnce(&mut Function) -> Result<T, ServiceError>,
    ) -> Result<(Arc<Function>, T), ServiceError> {
        let _changing = self.changing.lock().await;
        let mut function = Function::clone(self.get(key)?.as_ref());
        let answer = change(&mut function)?;
        Ok((self.store(function, zip).await?, answer))
    }

    /// Removes a function with its code and waiting events.
    pub async fn delete(&self, key: &FunctionKey) -> Result<Arc<Function>, ServiceError> {
        let _changing = self.changing.lock().await;
        let function = self.get(key)?;
        let unused = self.code_used_only_by(&function);
        let removed = key.clone();
        self.database
            .write(move |connection| -> Result<(), ServiceError> {
                connection.execute(
                    "DELETE FROM functions WHERE account = ?1 AND region = ?2 AND name = ?3",
                    params![removed.account, removed.region, removed.name],
                )?;
                remove_code(connection, &unused)
            })
            .await?;
        self.functions.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        Ok(function)
    }

    /// The zip file with this hash.
    pub fn code(&self, sha256: &str) -> Result<Vec<u8>, ServiceError> {
        let zip = self.database.read(|connection| {
            connection
                .query_row("SELECT zip FROM code WHERE sha256 = ?1", [sha256], |row| row.get(0))
                .optional()
        });
        zip.map_err(ServiceError::internal)?
            .ok_or_else(|| ServiceError::internal("a function's code is missing"))
    }

    async fn store(&self, function: Function, zip: Option<Vec<u8>>) -> Result<Arc<Function>, ServiceError> {
        let document = serde_json::to_string(&function).map_err(ServiceError::internal)?;
        let key = function.key.clone();
        let sha256 = function.latest.code_sha256.clone();
        let unused = self.find(&key).map(|before| self.code_used_only_by(&before)).unwrap_or_default();
        let unused = unused
            .into_iter()
            .filter(|hash| function.code_hashes().all(|used| used != hash))
            .collect::<Vec<_>>();
        self.database
            .write(move |connection| -> Result<(), ServiceError> {
                connection.execute(
                    "INSERT OR REPLACE INTO functions VALUES (?1, ?2, ?3, ?4)",
                    params![key.account, key.region, key.name, document],
                )?;
                if let Some(zip) = zip {
                    connection.execute("INSERT OR IGNORE INTO code VALUES (?1, ?2)", params![sha256, zip])?;
                }
                remove_code(connection, &unused)
            })
            .await?;
        let function = Arc::new(function);
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        functions.insert(function.key.clone(), Arc::clone(&function));
        Ok(function)
    }

    fn code_used_only_by(&self, function: &Function) -> Vec<String> {
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        let others = || functions.values().filter(|other| other.key != function.key);
        let unused =
            function.code_hashes().filter(|hash| others().all(|o| o.code_hashes().all(|used| used != *hash)));
        unused.map(str::to_owned).collect()
    }
}

fn remove_code(connection: &Connection, hashes: &[String]) -> Result<(), ServiceError> {
    for hash in hashes {
        connection.execute("DELETE FROM code WHERE sha256 = ?1", [hash])?;
    }
    Ok(())
}

/// AWS's answer for a function, version or alias that is not there.
pub(super) fn not_found(arn: &str) -> ServiceError {
    ServiceError::new(404, "ResourceNotFoundException", format!("Function not found: {arn}"))
}
