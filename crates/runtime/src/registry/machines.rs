//! State machines: create, update, describe, list.
//!
//! Invariant: a definition is checked here and nowhere after. A change gives a new revision; running executions keep
//! theirs, since their start pins definition and role.

use std::sync::Arc;

use asl::arn::{Arn, Qualifier};
use asl::timestamp::Timestamp;
use engine::StateMachineType;
use serde_json::Value;
use store::{
    Batch, Definition, RegistryKind, RegistryRecord, RegistryWrite, Scope, StateMachineRecord,
    StateMachineStatus, TagsRecord, VersionRecord,
};

use super::configuration::{check_encryption, check_logging, same_encryption, same_logging, same_tracing};
use super::versions::new_version;
use super::{Listing, Registry, RegistryPage, parse, parse_unqualified, tags};
use crate::error::Error;
use crate::names;
use crate::page::PageRequest;
use crate::programs;
use crate::runtime::Runtime;

/// CreateStateMachine.
#[derive(Clone, Debug)]
pub struct CreateStateMachine {
    /// `name`
    pub name: Arc<str>,
    /// `definition`
    pub definition: Arc<str>,
    /// `roleArn`
    pub role_arn: Arc<str>,
    /// `type`
    pub machine_type: StateMachineType,
    /// `loggingConfiguration` as given
    pub logging: Option<Value>,
    /// `tracingConfiguration` as given
    pub tracing: Option<Value>,
    /// `encryptionConfiguration` as given
    pub encryption: Option<Value>,
    /// `tags`
    pub tags: Vec<(Arc<str>, Arc<str>)>,
    /// `publish`
    pub publish: bool,
    /// `versionDescription`
    pub version_description: Option<Arc<str>>,
}

/// Answer of CreateStateMachine.
#[derive(Clone, Debug)]
pub struct StateMachineCreated {
    /// `stateMachineArn`
    pub arn: Arc<str>,
    /// `creationDate`
    pub created_at: Timestamp,
    /// `stateMachineVersionArn`
    pub version_arn: Option<Arc<str>>,
}

/// UpdateStateMachine: what is given is changed.
#[derive(Clone, Debug, Default)]
pub struct UpdateStateMachine {
    /// `definition`
    pub definition: Option<Arc<str>>,
    /// `roleArn`
    pub role_arn: Option<Arc<str>>,
    /// `loggingConfiguration`
    pub logging: Option<Value>,
    /// `tracingConfiguration`
    pub tracing: Option<Value>,
    /// `encryptionConfiguration`
    pub encryption: Option<Value>,
    /// `publish`
    pub publish: bool,
    /// `versionDescription`
    pub version_description: Option<Arc<str>>,
}

/// Answer of UpdateStateMachine.
#[derive(Clone, Debug)]
pub struct StateMachineUpdated {
    /// `updateDate`
    pub updated_at: Timestamp,
    /// `revisionId`; none while it is the first.
    pub revision_id: Option<Arc<str>>,
    /// `stateMachineVersionArn`
    pub version_arn: Option<Arc<str>>,
}

/// A state machine or a version of it, with its text.
#[derive(Clone, Debug)]
pub struct StateMachineDescription {
    /// The ARN that was asked for.
    pub arn: Arc<str>,
    /// The machine, as it is or as it was published.
    pub machine: StateMachineRecord,
    /// `definition`
    pub definition: Arc<str>,
    /// `description` of the version
    pub description: Option<Arc<str>>,
    /// `creationDate`, of the version if one was asked for
    pub created_at: Timestamp,
}

impl Runtime {
    /// CreateStateMachine.
    pub async fn create_state_machine(
        &self,
        scope: &Scope,
        request: CreateStateMachine,
    ) -> Result<StateMachineCreated, Error> {
        self.registry.create(scope, request).await
    }

    /// UpdateStateMachine.
    pub async fn update_state_machine(
        &self,
        arn: &str,
        request: UpdateStateMachine,
    ) -> Result<StateMachineUpdated, Error> {
        self.registry.update(arn, request).await
    }

    /// DescribeStateMachine, by the ARN of a machine or a version.
    pub async fn describe_state_machine(&self, arn: &str) -> Result<StateMachineDescription, Error> {
        self.registry.describe(arn).await
    }

    /// DescribeStateMachineForExecution: the revision that the execution runs.
    pub async fn describe_state_machine_for_execution(
        &self,
        execution_arn: &str,
    ) -> Result<StateMachineDescription, Error> {
        let description = self.describe_execution(execution_arn).await?;
        let start = description.start;
        let current = self.registry.machine(&start.state_machine_arn).await?;
        let started_at = description.row.start;
        let updated_at = match &current {
            Some(machine) if machine.revision_id == start.revision_id => machine.updated_at,
            Some(_) | None => started_at,
        };
        let created_at = current.as_ref().map_or(started_at, |machine| machine.created_at);
        let machine = StateMachineRecord {
            arn: Arc::clone(&start.state_machine_arn),
            name: Arc::clone(&start.state_machine_name),
            machine_type: start.machine_type,
            status: current.as_ref().map_or(StateMachineStatus::Active, |machine| machine.status),
            definition: start.definition,
            role_arn: Arc::clone(&start.role_arn),
            revision_id: start.revision_id.clone(),
            created_at,
            updated_at,
            last_version: current.as_ref().map_or(0, |machine| machine.last_version),
            logging: current.as_ref().and_then(|machine| machine.logging.clone()),
            tracing: current.as_ref().and_then(|machine| machine.tracing.clone()),
            encryption: current.as_ref().and_then(|machine| machine.encryption.clone()),
        };
        let scope = Scope { account: Arc::clone(&start.account), region: Arc::clone(&start.region) };
        let definition = self.registry.text(&scope, &machine).await?;
        let arn = Arc::clone(&machine.arn);
        Ok(StateMachineDescription { arn, machine, definition, description: None, created_at })
    }

    /// ListStateMachines of an account in a region.
    pub async fn list_state_machines(
        &self,
        scope: &Scope,
        page: PageRequest,
    ) -> Result<RegistryPage<StateMachineRecord>, Error> {
        let listing = Listing::all(scope, RegistryKind::StateMachine);
        self.registry.page(listing, &page, as_machine).await
    }
}

fn as_machine(record: RegistryRecord) -> Option<Arc<StateMachineRecord>> {
    match record {
        RegistryRecord::StateMachine(record) => Some(record),
        _ => None,
    }
}

impl Registry {
    async fn create(&self, scope: &Scope, request: CreateStateMachine) -> Result<StateMachineCreated, Error> {
        names::check(&request.name)?;
        if request.version_description.is_some() && !request.publish {
            return Err(Error::validation("Version description can only be set when publish is true"));
        }
        check_logging(request.logging.as_ref())?;
        check_encryption(request.encryption.as_ref())?;
        tags::check(&request.tags)?;
        self.compile(&request.definition, request.machine_type).await?;
        let arn: Arc<str> =
            Arn::state_machine(&scope.region, &scope.account, &request.name).to_string().into();
        let _changing = self.changing.lock().await;
        if let Some(existing) = self.machine(&arn).await? {
            return self.same_again(&existing, &request).await;
        }
        if self.count(scope, RegistryKind::StateMachine).await? >= self.core.config.quotas.state_machines {
            return Err(Error::StateMachineLimitExceeded);
        }
        let now = self.core.clock.now();
        let definition = programs::hash(&request.definition);
        let mut machine = StateMachineRecord {
            arn: Arc::clone(&arn),
            name: request.name,
            machine_type: request.machine_type,
            status: StateMachineStatus::Active,
            definition,
            role_arn: request.role_arn,
            revision_id: None,
            created_at: now,
            updated_at: now,
            last_version: 0,
            logging: request.logging,
            tracing: request.tracing,
            encryption: request.encryption,
        };
        let mut batch = Batch::default();
        let text = request.definition;
        batch.definitions.push(Definition { scope: scope.clone(), hash: definition, text });
        let version = request.publish.then(|| new_version(&mut machine, request.version_description, now));
        let version_arn = publish(&mut batch, version);
        batch.registry.push(RegistryWrite::Put(RegistryRecord::StateMachine(Arc::new(machine))));
        if !request.tags.is_empty() {
            let tags = TagsRecord { resource_arn: Arc::clone(&arn), tags: request.tags };
            batch.registry.push(RegistryWrite::Put(RegistryRecord::Tags(Arc::new(tags))));
        }
        self.write(batch).await?;
        Ok(StateMachineCreated { arn, created_at: now, version_arn })
    }

    /// AWS: the same request again is answered as the first; role and tags are not compared.
    async fn same_again(
        &self,
        existing: &StateMachineRecord,
        request: &CreateStateMachine,
    ) -> Result<StateMachineCreated, Error> {
        if existing.status == StateMachineStatus::Deleting {
            return Err(Error::StateMachineDeleting(Arc::clone(&existing.arn)));
        }
        let first = self.version(&format!("{}:1", existing.arn)).await?;
        let first = first.filter(|version| version.machine.revision_id.is_none());
        let description = first.as_ref().and_then(|version| version.description.clone());
        let same = existing.definition == programs::hash(&request.definition)
            && existing.machine_type == request.machine_type
            && same_logging(existing.logging.as_ref(), request.logging.as_ref())
            && same_tracing(existing.tracing.as_ref(), request.tracing.as_ref())
            && same_encryption(existing.encryption.as_ref(), request.encryption.as_ref())
            && first.is_some() == request.publish
            && description == request.version_description;
        if !same {
            return Err(Error::StateMachineAlreadyExists(Arc::clone(&existing.arn)));
        }
        Ok(StateMachineCreated {
            arn: Arc::clone(&existing.arn),
            created_at: existing.created_at,
            version_arn: first.map(|version| Arc::clone(&version.arn)),
        })
    }

    async fn update(&self, arn: &str, request: UpdateStateMachine) -> Result<StateMachineUpdated, Error> {
        let named = parse_unqualified(arn)?;
        let nothing = request.definition.is_none()
            && request.role_arn.is_none()
            && request.logging.is_none()
            && request.tracing.is_none();
        if nothing {
            let text = "Either the definition, the role ARN, the LoggingConfiguration, or the TracingConfiguration \
                        must be specified";
            return Err(Error::MissingRequiredParameter(text.to_owned()));
        }
        if request.version_description.is_some() && !request.publish {
            return Err(Error::validation("Version description can only be set when publish is true"));
        }
        check_logging(request.logging.as_ref())?;
        check_encryption(request.encryption.as_ref())?;
        let _changing = self.changing.lock().await;
        let existing = self.active(&named.arn).await?;
        if let Some(definition) = &request.definition {
            self.compile(definition, existing.machine_type).await?;
        }
        let mut batch = Batch::default();
        let mut machine = revised(&existing, &request);
        let now = self.core.clock.now();
        if machine != *existing {
            machine.revision_id = Some(self.core.uuid().into());
            machine.updated_at = now;
        }
        if let Some(text) = request.definition {
            batch.definitions.push(Definition { scope: named.scope.clone(), hash: machine.definition, text });
        }
        let revision_id = machine.revision_id.clone();
        let version_arn = if request.publish {
            match self.published(&machine).await? {
                Some(version) => Some(Arc::clone(&version.arn)),
                None => {
                    self.core.config.quotas.check_versions(self.versions_of(&named).await?.len())?;
                    let version = new_version(&mut machine, request.version_description, now);
                    publish(&mut batch, Some(version))
                }
            }
        } else {
            None
        };
        batch.registry.push(RegistryWrite::Put(RegistryRecord::StateMachine(Arc::new(machine))));
        self.write(batch).await?;
        Ok(StateMachineUpdated { updated_at: now, revision_id, version_arn })
    }

    async fn describe(&self, text: &str) -> Result<StateMachineDescription, Error> {
        let named = parse(text)?;
        let missing = || Error::StateMachineDoesNotExist(text.into());
        let (machine, description, created_at) = match named.qualifier {
            None => {
                let machine = self.machine(&named.arn).await?.ok_or_else(missing)?;
                (StateMachineRecord::clone(&machine), None, machine.created_at)
            }
            Some(Qualifier::Version(_)) => {
                let version = self.version(text).await?.ok_or_else(missing)?;
                (version.machine.clone(), version.description.clone(), version.created_at)
            }
            Some(Qualifier::Alias(_)) => return Err(missing()),
        };
        let definition = self.text(&named.scope, &machine).await?;
        Ok(StateMachineDescription { arn: text.into(), machine, definition, description, created_at })
    }

    async fn text(&self, scope: &Scope, machine: &StateMachineRecord) -> Result<Arc<str>, Error> {
        let (scope, hash) = (scope.clone(), machine.definition);
        let text = self.core.read(move |reader| reader.definition(&scope, hash)).await?;
        text.ok_or_else(|| Error::internal("a state machine", &format!("{} has no definition", machine.arn)))
    }

    /// A machine that may be changed.
    pub(super) async fn active(&self, arn: &str) -> Result<Arc<StateMachineRecord>, Error> {
        let machine = self.machine(arn).await?;
        let machine = machine.ok_or_else(|| Error::StateMachineDoesNotExist(arn.into()))?;
        match machine.status {
            StateMachineStatus::Active => Ok(machine),
            StateMachineStatus::Deleting => Err(Error::StateMachineDeleting(arn.into())),
        }
    }

    async fn compile(&self, definition: &Arc<str>, machine_type: StateMachineType) -> Result<(), Error> {
        let (programs, text) = (Arc::clone(&self.core.programs), Arc::clone(definition));
        let checked = tokio::task::spawn_blocking(move || programs.check(&text, machine_type)).await;
        let checked = checked.map_err(|error| Error::internal("checking a definition broke", &error))?;
        checked.map(drop).map_err(Error::InvalidDefinition)
    }
}

fn revised(existing: &StateMachineRecord, request: &UpdateStateMachine) -> StateMachineRecord {
    let mut machine = existing.clone();
    if let Some(definition) = &request.definition {
        machine.definition = programs::hash(definition);
    }
    if let Some(role_arn) = &request.role_arn {
        machine.role_arn = Arc::clone(role_arn);
    }
    if request.logging.is_some() && !same_logging(machine.logging.as_ref(), request.logging.as_ref()) {
        machine.logging.clone_from(&request.logging);
    }
    if request.tracing.is_some() && !same_tracing(machine.tracing.as_ref(), request.tracing.as_ref()) {
        machine.tracing.clone_from(&request.tracing);
    }
    if request.encryption.is_some()
        && !same_encryption(machine.encryption.as_ref(), request.encryption.as_ref())
    {
        machine.encryption.clone_from(&request.encryption);
    }
    machine
}

fn publish(batch: &mut Batch, version: Option<VersionRecord>) -> Option<Arc<str>> {
    let version = version?;
    let arn = Arc::clone(&version.arn);
    batch.registry.push(RegistryWrite::Put(RegistryRecord::Version(Arc::new(version))));
    Some(arn)
}
