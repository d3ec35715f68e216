//! Aliases: names that route to one or two versions by weight.

use std::collections::HashSet;
use std::sync::Arc;

use asl::arn::Qualifier;
use asl::timestamp::Timestamp;
use store::{AliasRecord, Batch, Direction, RegistryKey, RegistryKind, RegistryRecord, RegistryWrite, Route};

use super::{Listing, Named, Registry, RegistryPage, parse};
use crate::error::Error;
use crate::page::PageRequest;
use crate::runtime::Runtime;

/// `routingConfiguration`: versions with their weights.
pub type AliasRouting = Vec<Route>;

/// CreateStateMachineAlias.
#[derive(Clone, Debug)]
pub struct CreateAlias {
    /// `name`
    pub name: Arc<str>,
    /// `description`
    pub description: Option<Arc<str>>,
    /// `routingConfiguration`
    pub routing: AliasRouting,
}

/// Answer of CreateStateMachineAlias.
#[derive(Clone, Debug)]
pub struct AliasCreated {
    /// `stateMachineAliasArn`
    pub arn: Arc<str>,
    /// `creationDate`
    pub created_at: Timestamp,
}

/// UpdateStateMachineAlias: what is given is changed.
#[derive(Clone, Debug, Default)]
pub struct UpdateAlias {
    /// `description`
    pub description: Option<Arc<str>>,
    /// `routingConfiguration`
    pub routing: Option<AliasRouting>,
}

fn as_alias(record: RegistryRecord) -> Option<Arc<AliasRecord>> {
    match record {
        RegistryRecord::Alias(record) => Some(record),
        _ => None,
    }
}

impl Runtime {
    /// CreateStateMachineAlias.
    pub async fn create_alias(&self, request: CreateAlias) -> Result<AliasCreated, Error> {
        let registry = &self.registry;
        let _changing = registry.changing.lock().await;
        let machine = registry.check_routing(&request.routing).await?;
        registry.active(&machine.arn).await?;
        let arn: Arc<str> = format!("{}:{}", machine.arn, request.name).into();
        if let Some(existing) = registry.alias(&arn).await? {
            if existing.routing != request.routing || existing.description != request.description {
                let text = "Failed to create alias because an alias with the same name and a different routing \
                            configuration already exists.";
                return Err(Error::Conflict(text.to_owned()));
            }
            return Ok(AliasCreated { arn, created_at: existing.created_at });
        }
        self.core.config.quotas.check_aliases(registry.aliases_of(&machine).await?.len())?;
        let now = self.core.clock.now();
        let CreateAlias { name, description, routing } = request;
        let arn_of_alias = Arc::clone(&arn);
        registry
            .put_alias(AliasRecord { arn, name, description, routing, created_at: now, updated_at: now })
            .await?;
        Ok(AliasCreated { arn: arn_of_alias, created_at: now })
    }

    /// UpdateStateMachineAlias; returns `updateDate`.
    pub async fn update_alias(&self, alias_arn: &str, request: UpdateAlias) -> Result<Timestamp, Error> {
        let registry = &self.registry;
        let named = parse_alias(alias_arn)?;
        let _changing = registry.changing.lock().await;
        let existing = registry.alias(alias_arn).await?;
        let existing = existing.ok_or_else(|| Error::reference_not_found(&alias_arn.into()))?;
        let mut alias = AliasRecord::clone(&existing);
        if request.description.is_none() && request.routing.is_none() {
            return Err(Error::Validation {
                message: "Either the description or the routing configuration must be specified".to_owned(),
                reason: Some("MISSING_REQUIRED_PARAMETER"),
            });
        }
        if let Some(routing) = request.routing {
            let machine = registry.check_routing(&routing).await?;
            if machine.arn != named.arn {
                return Err(not_versions(&routing));
            }
            alias.routing = routing;
        }
        if request.description.is_some() {
            alias.description = request.description;
        }
        alias.updated_at = self.core.clock.now();
        let updated_at = alias.updated_at;
        registry.put_alias(alias).await?;
        Ok(updated_at)
    }

    /// DescribeStateMachineAlias.
    pub async fn describe_alias(&self, alias_arn: &str) -> Result<Arc<AliasRecord>, Error> {
        parse_alias(alias_arn)?;
        let alias = self.registry.alias(alias_arn).await?;
        alias.ok_or_else(|| Error::reference_not_found(&alias_arn.into()))
    }

    /// DeleteStateMachineAlias.
    pub async fn delete_alias(&self, alias_arn: &str) -> Result<(), Error> {
        parse_alias(alias_arn)?;
        let _changing = self.registry.changing.lock().await;
        if self.registry.alias(alias_arn).await?.is_none() {
            return Err(Error::reference_not_found(&alias_arn.into()));
        }
        let Some(key) = RegistryKey::of_arn(alias_arn) else { return Ok(()) };
        self.registry.write(Batch { registry: vec![RegistryWrite::Delete(key)], ..Batch::default() }).await
    }

    /// ListStateMachineAliases of a machine, or of those that route to a version; newest first.
    pub async fn list_aliases(
        &self,
        arn: &str,
        page: PageRequest,
    ) -> Result<RegistryPage<AliasRecord>, Error> {
        let named = parse(arn)?;
        if self.registry.machine(&named.arn).await?.is_none() {
            return Err(Error::StateMachineDoesNotExist(arn.into()));
        }
        let is_version = matches!(named.qualifier, Some(Qualifier::Version(_)));
        if is_version && self.registry.version(arn).await?.is_none() {
            return Err(Error::ResourceNotFound {
                message: "Request references a resource that does not exist.".to_owned(),
                resource: Some(arn.into()),
            });
        }
        let now = self.core.clock.now();
        let arguments = ("aliases", arn);
        let skip = page.place(arguments, now)?.map(|place| place.parse::<usize>()).transpose();
        let skip = skip.map_err(|_| Error::InvalidToken)?.unwrap_or(0);
        let mut aliases = self.registry.aliases_of(&named).await?;
        if named.qualifier.is_some() {
            aliases.retain(|alias| alias.routing.iter().any(|route| &*route.version_arn == arn));
        }
        // Recorded: the oldest first.
        aliases.sort_by(|one, other| one.created_at.cmp(&other.created_at).then(one.name.cmp(&other.name)));
        let limit = page.limit() as usize;
        let more = aliases.len() > skip.saturating_add(limit);
        let next_token = more.then(|| crate::page::token(&(skip + limit).to_string(), arguments, now));
        Ok(RegistryPage { items: aliases.into_iter().skip(skip).take(limit).collect(), next_token })
    }
}

impl Registry {
    /// One or two versions of one machine that exist, with weights that add up to 100.
    async fn check_routing(&self, routing: &[Route]) -> Result<Named, Error> {
        let mut machine: Option<Named> = None;
        for route in routing {
            let named = parse(&route.version_arn).map_err(|_| not_versions(routing))?;
            if !matches!(named.qualifier, Some(Qualifier::Version(_))) {
                return Err(not_versions(routing));
            }
            if machine.as_ref().is_some_and(|first| first.arn != named.arn) {
                let text = "Routing configuration must contain versions of the same state machine.";
                return Err(invalid_routing(format!("{text} Received: {}", arns(routing))));
            }
            machine = Some(named);
        }
        let distinct: HashSet<&Arc<str>> = routing.iter().map(|route| &route.version_arn).collect();
        if distinct.len() != routing.len() {
            let text = "Routing configuration must contain distinct state machine version ARNs.";
            return Err(invalid_routing(format!("{text} Received: {}", arns(routing))));
        }
        if routing.iter().map(|route| u32::from(route.weight)).sum::<u32>() != 100 {
            let weights = routing.iter().map(|route| route.weight.to_string()).collect::<Vec<_>>().join(", ");
            let text = format!("Sum of routing configuration weights must equal 100. Received: [{weights}]");
            return Err(invalid_routing(text));
        }
        for route in routing {
            if self.version(&route.version_arn).await?.is_none() {
                return Err(Error::reference_not_found(&route.version_arn));
            }
        }
        machine.ok_or_else(|| not_versions(routing))
    }

    async fn put_alias(&self, alias: AliasRecord) -> Result<(), Error> {
        let write = RegistryWrite::Put(RegistryRecord::Alias(Arc::new(alias)));
        self.write(Batch { registry: vec![write], ..Batch::default() }).await
    }

    pub(super) async fn aliases_of(&self, machine: &Named) -> Result<Vec<Arc<AliasRecord>>, Error> {
        self.all(Listing::of_machine(machine, RegistryKind::Alias, Direction::Forward), as_alias).await
    }
}

fn parse_alias(arn: &str) -> Result<Named, Error> {
    let named = parse(arn)?;
    match named.qualifier {
        Some(Qualifier::Alias(_)) => Ok(named),
        Some(Qualifier::Version(_)) | None => {
            Err(Error::InvalidArn(format!("Invalid Arn: 'Invalid ARN: {arn}'")))
        }
    }
}

fn not_versions(routing: &[Route]) -> Error {
    let text = "Routing configuration must contain state machine version ARNs.";
    invalid_routing(format!("{text} Received: {}", arns(routing)))
}

fn invalid_routing(message: String) -> Error {
    Error::Validation { message, reason: Some("INVALID_ROUTING_CONFIGURATION") }
}

fn arns(routing: &[Route]) -> String {
    format!("[{}]", routing.iter().map(|route| route.version_arn.to_string()).collect::<Vec<_>>().join(", "))
}
