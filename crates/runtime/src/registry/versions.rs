//! Versions: revisions that were published and never change.
//!
//! Invariant: a number is never given twice, also after its version was deleted; the machine remembers the highest.

use std::sync::Arc;

use asl::arn::Qualifier;
use asl::timestamp::Timestamp;
use store::{
    Batch, Direction, RegistryKey, RegistryKind, RegistryRecord, RegistryWrite, StateMachineRecord,
    VersionRecord,
};

use super::{Listing, Named, Registry, RegistryPage, parse, parse_unqualified};
use crate::error::Error;
use crate::page::PageRequest;
use crate::runtime::Runtime;

/// What AWS calls the revision before the first update.
const INITIAL: &str = "INITIAL";

/// Answer of PublishStateMachineVersion.
#[derive(Clone, Debug)]
pub struct VersionPublished {
    /// `stateMachineVersionArn`
    pub arn: Arc<str>,
    /// `creationDate`
    pub created_at: Timestamp,
}

/// The next version of a machine, whose counter is moved.
pub(super) fn new_version(
    machine: &mut StateMachineRecord,
    description: Option<Arc<str>>,
    now: Timestamp,
) -> VersionRecord {
    machine.last_version += 1;
    let arn = format!("{}:{}", machine.arn, machine.last_version).into();
    VersionRecord { arn, description, created_at: now, machine: machine.clone() }
}

pub(super) fn as_version(record: RegistryRecord) -> Option<Arc<VersionRecord>> {
    match record {
        RegistryRecord::Version(record) => Some(record),
        _ => None,
    }
}

impl Runtime {
    /// PublishStateMachineVersion.
    pub async fn publish_version(
        &self,
        state_machine_arn: &str,
        revision_id: Option<&str>,
        description: Option<Arc<str>>,
    ) -> Result<VersionPublished, Error> {
        let registry = &self.registry;
        let named = parse_unqualified(state_machine_arn)?;
        let _changing = registry.changing.lock().await;
        let existing = registry.active(&named.arn).await?;
        let current = existing.revision_id.as_deref().unwrap_or(INITIAL);
        if let Some(wanted) = revision_id.filter(|wanted| *wanted != current) {
            return Err(Error::Conflict(format!(
                "Failed to publish the State Machine version for revision {wanted}. \
                 The current State Machine revision is {current}."
            )));
        }
        if let Some(version) = registry.published(&existing).await? {
            return Ok(VersionPublished { arn: Arc::clone(&version.arn), created_at: version.created_at });
        }
        self.core.config.quotas.check_versions(registry.versions_of(&named).await?.len())?;
        let mut machine = StateMachineRecord::clone(&existing);
        let version = new_version(&mut machine, description, self.core.clock.now());
        let published = VersionPublished { arn: Arc::clone(&version.arn), created_at: version.created_at };
        let records =
            [RegistryRecord::Version(Arc::new(version)), RegistryRecord::StateMachine(Arc::new(machine))];
        let registry_writes = records.into_iter().map(RegistryWrite::Put).collect();
        registry.write(Batch { registry: registry_writes, ..Batch::default() }).await?;
        Ok(published)
    }

    /// DeleteStateMachineVersion; one that is not there is no error.
    pub async fn delete_version(&self, version_arn: &str) -> Result<(), Error> {
        let registry = &self.registry;
        let named = parse(version_arn)?;
        let Some(Qualifier::Version(_)) = named.qualifier else {
            return Err(Error::InvalidArn(format!("Invalid Arn: 'Invalid ARN: {version_arn}'")));
        };
        let _changing = registry.changing.lock().await;
        let aliases = registry.aliases_of(&named).await?;
        let routes = |version: &str| {
            let uses = aliases
                .iter()
                .filter(|alias| alias.routing.iter().any(|route| &*route.version_arn == version));
            uses.map(|alias| alias.name.to_string()).collect::<Vec<_>>()
        };
        let users = routes(version_arn);
        if !users.is_empty() {
            return Err(Error::Conflict(format!(
                "Version to be deleted must not be referenced by an alias. \
                 Current list of aliases referencing this version: [{}]",
                users.join(", ")
            )));
        }
        let Some(key) = RegistryKey::of_arn(version_arn) else { return Ok(()) };
        registry.write(Batch { registry: vec![RegistryWrite::Delete(key)], ..Batch::default() }).await
    }

    /// ListStateMachineVersions, newest first.
    pub async fn list_versions(
        &self,
        state_machine_arn: &str,
        page: PageRequest,
    ) -> Result<RegistryPage<VersionRecord>, Error> {
        let named = parse_unqualified(state_machine_arn)?;
        let listing = Listing::of_machine(&named, RegistryKind::Version, Direction::Backward);
        self.registry.page(listing, &page, as_version).await
    }
}

impl Registry {
    /// The version of a machine's current revision. Publishing it again gives the same one.
    pub(super) async fn published(
        &self,
        machine: &StateMachineRecord,
    ) -> Result<Option<Arc<VersionRecord>>, Error> {
        if machine.last_version == 0 {
            return Ok(None);
        }
        let version = self.version(&format!("{}:{}", machine.arn, machine.last_version)).await?;
        Ok(version.filter(|version| version.machine.revision_id == machine.revision_id))
    }

    pub(super) async fn versions_of(&self, machine: &Named) -> Result<Vec<Arc<VersionRecord>>, Error> {
        self.all(Listing::of_machine(machine, RegistryKind::Version, Direction::Backward), as_version).await
    }
}
