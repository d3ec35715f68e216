//! The registry: state machines, versions, aliases, activities, tags.
//!
//! Invariant: changes are made one at a time, each decided on committed state and answered after its commit. Reads on the
//! way to a start go through a cache that a change replaces before it is answered. Every key begins with account and region.

mod activities;
mod aliases;
mod configuration;
mod deletion;
mod machines;
mod tags;
mod versions;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use asl::arn::{Arn, ArnResource, Qualifier};
use store::{
    AliasRecord, Batch, Direction, RegistryKey, RegistryKind, RegistryQuery, RegistryRecord, RegistryWrite,
    Scope, StateMachineRecord, StateMachineStatus, VersionRecord,
};

use crate::error::Error;
use crate::page::{self, PageRequest};
use crate::shell::Core;

pub use activities::{ActivityCreated, CreateActivity};
pub(crate) use deletion::resume_deletions;

pub use aliases::{AliasCreated, AliasRouting, CreateAlias, UpdateAlias};
pub use machines::{
    CreateStateMachine, StateMachineCreated, StateMachineDescription, StateMachineUpdated, UpdateStateMachine,
};
pub use versions::VersionPublished;

/// Records kept in memory.
const CACHE_MAX: usize = 10_000;

/// A page of a listing of the registry.
#[derive(Clone, Debug)]
pub struct RegistryPage<T> {
    /// The records.
    pub items: Vec<Arc<T>>,
    /// `nextToken`
    pub next_token: Option<String>,
}

/// What a start by some ARN runs.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The revision to run.
    pub(crate) machine: Arc<StateMachineRecord>,
    pub(crate) version_arn: Option<Arc<str>>,
    pub(crate) alias_arn: Option<Arc<str>>,
}

/// The registry of a runtime.
pub(crate) struct Registry {
    core: Arc<Core>,
    /// Held from the decision to the commit.
    changing: tokio::sync::Mutex<()>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    records: HashMap<RegistryKey, RegistryRecord>,
    /// Grows with each change, so that a read that was overtaken is not kept.
    changes: u64,
}

impl Registry {
    pub(crate) fn new(core: Arc<Core>) -> Registry {
        Registry { core, changing: tokio::sync::Mutex::default(), cache: Mutex::default() }
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn get(&self, key: RegistryKey) -> Result<Option<RegistryRecord>, Error> {
        let changes = {
            let cache = self.cache();
            if let Some(record) = cache.records.get(&key) {
                return Ok(Some(record.clone()));
            }
            cache.changes
        };
        let asked = key.clone();
        let found = self.core.read(move |reader| reader.registry(&asked)).await?;
        if let Some(record) = &found {
            let mut cache = self.cache();
            if cache.records.len() >= CACHE_MAX {
                cache.records.clear();
            }
            if cache.changes == changes {
                cache.records.insert(key, record.clone());
            }
        }
        Ok(found)
    }

    /// Writes changes; the caller holds `changing`.
    async fn write(&self, batch: Batch) -> Result<(), Error> {
        let _permit = self.core.admit()?;
        let changed: Vec<Option<RegistryKey>> = batch.registry.iter().map(written_key).collect();
        self.core.commit(batch).await?;
        let mut cache = self.cache();
        cache.changes += 1;
        for key in changed.into_iter().flatten() {
            cache.records.remove(&key);
        }
        Ok(())
    }

    async fn machine(&self, arn: &str) -> Result<Option<Arc<StateMachineRecord>>, Error> {
        let Some(key) = RegistryKey::of_arn(arn) else { return Ok(None) };
        match self.get(key).await? {
            Some(RegistryRecord::StateMachine(record)) => Ok(Some(record)),
            Some(_) | None => Ok(None),
        }
    }

    async fn version(&self, arn: &str) -> Result<Option<Arc<VersionRecord>>, Error> {
        let Some(key) = RegistryKey::of_arn(arn) else { return Ok(None) };
        match self.get(key).await? {
            Some(RegistryRecord::Version(record)) => Ok(Some(record)),
            Some(_) | None => Ok(None),
        }
    }

    async fn alias(&self, arn: &str) -> Result<Option<Arc<AliasRecord>>, Error> {
        let Some(key) = RegistryKey::of_arn(arn) else { return Ok(None) };
        match self.get(key).await? {
            Some(RegistryRecord::Alias(record)) => Ok(Some(record)),
            Some(_) | None => Ok(None),
        }
    }

    /// The state machine that an ARN, perhaps of a version or an alias, belongs to.
    pub(crate) async fn machine_of(&self, arn: &str) -> Result<Arc<StateMachineRecord>, Error> {
        let unqualified = parse(arn)?.arn;
        let found = self.machine(&unqualified).await?;
        found.ok_or_else(|| Error::StateMachineDoesNotExist(arn.into()))
    }

    /// What a start by this ARN runs; an alias draws a version by weight.
    pub(crate) async fn target(&self, arn: &str) -> Result<Target, Error> {
        let named = parse(arn)?;
        let missing = || Error::StateMachineDoesNotExist(arn.into());
        let machine = self.machine(&named.arn).await?.ok_or_else(missing)?;
        if machine.status == StateMachineStatus::Deleting {
            return Err(Error::StateMachineDeleting(arn.into()));
        }
        let (version_arn, alias_arn) = match named.qualifier {
            None => return Ok(Target { machine, version_arn: None, alias_arn: None }),
            Some(Qualifier::Version(_)) => (Arc::from(arn), None),
            Some(Qualifier::Alias(_)) => {
                let alias = self.alias(arn).await?.ok_or_else(missing)?;
                (self.route(&alias).ok_or_else(missing)?, Some(Arc::from(arn)))
            }
        };
        let version = self.version(&version_arn).await?.ok_or_else(missing)?;
        let machine = Arc::new(version.machine.clone());
        Ok(Target { machine, version_arn: Some(version_arn), alias_arn })
    }

    /// At random by weight.
    fn route(&self, alias: &AliasRecord) -> Option<Arc<str>> {
        let mut drawn = self.core.draw() % 100;
        for route in &alias.routing {
            let weight = u64::from(route.weight);
            if drawn < weight {
                return Some(Arc::clone(&route.version_arn));
            }
            drawn -= weight;
        }
        alias.routing.last().map(|route| Arc::clone(&route.version_arn))
    }

    /// How many records of one kind an account has in a region.
    async fn count(&self, scope: &Scope, kind: RegistryKind) -> Result<u64, Error> {
        let scope = scope.clone();
        self.core.read(move |reader| reader.registry_count(&scope, kind)).await
    }

    /// A page of one kind of record, by name.
    async fn page<T>(
        &self,
        listing: Listing,
        page: &PageRequest,
        pick: impl Fn(RegistryRecord) -> Option<Arc<T>>,
    ) -> Result<RegistryPage<T>, Error> {
        let now = self.core.clock.now();
        let Listing { scope, kind, prefix, direction } = listing;
        let arguments = (kind, scope.clone(), Arc::clone(&prefix));
        let after = page.place(&arguments, now)?.map(Arc::from);
        let query = RegistryQuery { scope, kind, prefix, after, direction, limit: page.limit() };
        let found = self.core.read(move |reader| reader.registry_page(&query)).await?;
        let next_token = found.next.map(|place| page::token(&place, &arguments, now));
        Ok(RegistryPage { items: found.items.into_iter().filter_map(pick).collect(), next_token })
    }

    /// All records of one kind whose names begin with a prefix, up to a bound that AWS's quotas keep out of reach.
    async fn all<T>(
        &self,
        listing: Listing,
        pick: impl Fn(RegistryRecord) -> Option<Arc<T>>,
    ) -> Result<Vec<Arc<T>>, Error> {
        let Listing { scope, kind, prefix, direction } = listing;
        let query = RegistryQuery { scope, kind, prefix, after: None, direction, limit: 10_000 };
        let found = self.core.read(move |reader| reader.registry_page(&query)).await?;
        Ok(found.items.into_iter().filter_map(pick).collect())
    }
}

/// What is listed.
struct Listing {
    scope: Scope,
    kind: RegistryKind,
    prefix: Arc<str>,
    direction: Direction,
}

impl Listing {
    fn all(scope: &Scope, kind: RegistryKind) -> Listing {
        Listing { scope: scope.clone(), kind, prefix: "".into(), direction: Direction::Forward }
    }

    /// Versions or aliases of a machine.
    fn of_machine(machine: &Named, kind: RegistryKind, direction: Direction) -> Listing {
        let prefix = format!("{}:", machine.name).into();
        Listing { scope: machine.scope.clone(), kind, prefix, direction }
    }
}

fn written_key(write: &RegistryWrite) -> Option<RegistryKey> {
    match write {
        RegistryWrite::Put(record) => record.key().ok(),
        RegistryWrite::Delete(key) => Some(key.clone()),
    }
}

/// The ARN of a state machine, taken apart.
#[derive(Clone, Debug)]
struct Named {
    scope: Scope,
    name: Arc<str>,
    /// Without version and alias.
    arn: Arc<str>,
    qualifier: Option<Qualifier>,
}

/// Reads the ARN of a state machine; a label is refused as AWS does.
fn parse(text: &str) -> Result<Named, Error> {
    let arn = Arn::parse(text)?;
    let ArnResource::StateMachine { name, label, qualifier } = &arn.resource else {
        return Err(arn.wrong_type().into());
    };
    if label.is_some() {
        return Err(Error::Validation {
            message: "API does not support labeled state machine ARNs.".to_owned(),
            reason: Some("API_DOES_NOT_SUPPORT_LABELED_ARNS"),
        });
    }
    let scope = Scope { account: arn.account.as_str().into(), region: arn.region.as_str().into() };
    let name: Arc<str> = name.as_str().into();
    let qualifier = qualifier.clone();
    let unqualified = arn.unqualified().map_or_else(|| text.to_owned(), |arn| arn.to_string());
    Ok(Named { scope, name, arn: unqualified.into(), qualifier })
}

/// Reads the ARN of a state machine without version or alias.
fn parse_unqualified(text: &str) -> Result<Named, Error> {
    let named = parse(text)?;
    match named.qualifier {
        None => Ok(named),
        Some(_) => {
            Err(Error::InvalidArn(format!("Invalid Arn: 'Resource type not valid in this context: {text}'")))
        }
    }
}

impl From<Arc<StateMachineRecord>> for Target {
    fn from(machine: Arc<StateMachineRecord>) -> Target {
        Target { machine, version_arn: None, alias_arn: None }
    }
}
