//! IAM: users, roles, policies, temporary credentials, and the evaluation of permissions.
//!
//! [`Iam`] is the state that the front and other services ask; [`IamService`] is the API that changes it. Every answer
//! rests on committed state; what is asked on every call is kept in memory and dropped when anything changes.
//! Groups, instance profiles, permissions boundaries and federation are not here.

mod api;
mod authorize;
mod managed;
pub mod policy;
mod remembered;
mod schema;
mod sessions;
#[cfg(test)]
mod tests;

pub use api::IamService;
pub use sessions::{AccessError, AssumeRole, CredentialError, Credentials};

use crate::configuration::{AccessKey, Enforce, ServicesConfig};
use crate::environment::Clock;
use crate::storage::{Database, StorageError};
use remembered::Remembered;
use rusqlite::Connection;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

/// Users, roles, policies and credentials.
pub struct Iam {
    database: Database,
    account: String,
    keys: HashMap<String, AccessKey>,
    enforce: Enforce,
    clock: Arc<dyn Clock>,
    remembered: Remembered,
}

impl Iam {
    /// Opens IAM's file.
    pub fn open(config: &ServicesConfig) -> Result<Self, StorageError> {
        Ok(Self {
            database: Database::open(&config.data_dir.join("services"), "iam", schema::MIGRATIONS)?,
            account: config.account.clone(),
            keys: config.keys.iter().map(|key| (key.id.clone(), key.clone())).collect(),
            enforce: config.enforce,
            clock: config.clock.clone(),
            remembered: Remembered::default(),
        })
    }

    /// What a missing permission does.
    pub fn enforce(&self) -> Enforce {
        self.enforce
    }

    /// A change of users, roles or policies: afterwards nothing remembered from before it is used.
    fn change<'a, T, E, J>(&'a self, job: J) -> impl Future<Output = Result<T, E>> + Send + 'a
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        J: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let written = self.database.write(job);
        async move {
            let result = written.await;
            self.remembered.forget();
            result
        }
    }
}
