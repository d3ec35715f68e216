//! The registry: what customers create and name. Stored as JSON, one record a row (section 6 of `FORMAT.md`).
//!
//! Invariant: a record is read back whole or refused; nothing in it is dropped silently. The store gives these records
//! no meaning: uniqueness, revisions and who may delete what is the runtime's business.

use std::sync::Arc;

use engine::{DefinitionHash, StateMachineType, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Scope, StoreError};

/// The version of the records that this binary writes.
pub(crate) const RECORD_VERSION: i64 = 1;

/// What kinds of records there are. The numbers are the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RegistryKind {
    /// By name.
    StateMachine = 1,
    /// By `machine:` and the number in ten digits.
    Version = 2,
    /// By `machine:alias`.
    Alias = 3,
    /// By name.
    Activity = 4,
    /// By the ARN of what is tagged.
    Tags = 5,
}

impl RegistryKind {
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

/// The key of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryKey {
    /// Account and region.
    pub scope: Scope,
    /// Kind.
    pub kind: RegistryKind,
    /// Name within scope and kind.
    pub name: Arc<str>,
}

impl RegistryKey {
    /// Of what an ARN of a state machine, version, alias or activity names.
    /// `…:stateMachine:N`, `…:stateMachine:N:3` (a version), `…:stateMachine:N:live` (an alias), `…:activity:N`.
    pub fn of_arn(arn: &str) -> Option<RegistryKey> {
        let scope = Scope::of_arn(arn)?;
        let mut parts = arn.split(':').skip(5);
        let family = parts.next()?;
        let name = parts.next()?;
        let qualifier = parts.next();
        if parts.next().is_some() || name.is_empty() {
            return None;
        }
        let (kind, name) = match (family, qualifier) {
            ("activity", None) => (RegistryKind::Activity, name.into()),
            ("stateMachine", None) => (RegistryKind::StateMachine, name.into()),
            ("stateMachine", Some(qualifier)) => match qualifier.parse::<u64>() {
                Ok(number) => (RegistryKind::Version, version_name(name, number)),
                Err(_) => (RegistryKind::Alias, format!("{name}:{qualifier}").into()),
            },
            _ => return None,
        };
        Some(RegistryKey { scope, kind, name })
    }

    /// Of the tags of a resource.
    pub fn of_tags(resource_arn: &str) -> Option<RegistryKey> {
        Some(RegistryKey {
            scope: Scope::of_arn(resource_arn)?,
            kind: RegistryKind::Tags,
            name: resource_arn.into(),
        })
    }
}

/// Ten digits, so that the order of names is that of numbers.
fn version_name(machine: &str, number: u64) -> Arc<str> {
    format!("{machine}:{number:010}").into()
}

/// A record of the registry.
#[derive(Clone, Debug, PartialEq)]
pub enum RegistryRecord {
    /// A state machine.
    StateMachine(Arc<StateMachineRecord>),
    /// A published version.
    Version(Arc<VersionRecord>),
    /// An alias.
    Alias(Arc<AliasRecord>),
    /// An activity.
    Activity(Arc<ActivityRecord>),
    /// Tags of any of them.
    Tags(Arc<TagsRecord>),
}

impl RegistryRecord {
    /// Its ARN, or that of what is tagged.
    pub fn arn(&self) -> &str {
        match self {
            RegistryRecord::StateMachine(record) => &record.arn,
            RegistryRecord::Version(record) => &record.arn,
            RegistryRecord::Alias(record) => &record.arn,
            RegistryRecord::Activity(record) => &record.arn,
            RegistryRecord::Tags(record) => &record.resource_arn,
        }
    }

    /// Its key; an ARN that is none of its kind is refused.
    pub fn key(&self) -> Result<RegistryKey, StoreError> {
        let (kind, key) = match self {
            RegistryRecord::StateMachine(record) => {
                (RegistryKind::StateMachine, RegistryKey::of_arn(&record.arn))
            }
            RegistryRecord::Version(record) => (RegistryKind::Version, RegistryKey::of_arn(&record.arn)),
            RegistryRecord::Alias(record) => (RegistryKind::Alias, RegistryKey::of_arn(&record.arn)),
            RegistryRecord::Activity(record) => (RegistryKind::Activity, RegistryKey::of_arn(&record.arn)),
            RegistryRecord::Tags(record) => (RegistryKind::Tags, RegistryKey::of_tags(&record.resource_arn)),
        };
        key.filter(|key| key.kind == kind)
            .ok_or_else(|| StoreError::Refused(format!("{:?} is not an ARN of a {kind:?}", self.arn())))
    }

    pub(crate) fn to_json(&self) -> Result<String, StoreError> {
        let json = match self {
            RegistryRecord::StateMachine(record) => serde_json::to_string(record),
            RegistryRecord::Version(record) => serde_json::to_string(record),
            RegistryRecord::Alias(record) => serde_json::to_string(record),
            RegistryRecord::Activity(record) => serde_json::to_string(record),
            RegistryRecord::Tags(record) => serde_json::to_string(record),
        };
        json.map_err(|error| StoreError::Refused(format!("{}: {error}", self.arn())))
    }

    pub(crate) fn from_json(
        key: &RegistryKey,
        version: i64,
        json: &str,
    ) -> Result<RegistryRecord, StoreError> {
        let refuse = |reason: String| StoreError::CorruptRecord {
            what: format!("registry record {:?} {:?}", key.kind, key.name),
            reason,
        };
        if version != RECORD_VERSION {
            return Err(refuse(format!("unknown version {version}: written by a newer Passo")));
        }
        let record = match key.kind {
            RegistryKind::StateMachine => serde_json::from_str(json).map(RegistryRecord::StateMachine),
            RegistryKind::Version => serde_json::from_str(json).map(RegistryRecord::Version),
            RegistryKind::Alias => serde_json::from_str(json).map(RegistryRecord::Alias),
            RegistryKind::Activity => serde_json::from_str(json).map(RegistryRecord::Activity),
            RegistryKind::Tags => serde_json::from_str(json).map(RegistryRecord::Tags),
        };
        record.map_err(|error| refuse(error.to_string()))
    }
}

/// ACTIVE or DELETING.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StateMachineStatus {
    /// It may be started.
    Active,
    /// It goes when its last execution has ended.
    Deleting,
}

/// A state machine as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateMachineRecord {
    /// Its ARN.
    pub arn: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// STANDARD or EXPRESS.
    #[serde(with = "machine_type")]
    pub machine_type: StateMachineType,
    /// ACTIVE or DELETING.
    pub status: StateMachineStatus,
    /// The definition in `definitions`.
    #[serde(with = "hash")]
    pub definition: DefinitionHash,
    /// The role it runs under.
    pub role_arn: Arc<str>,
    /// The revision; `None` until the first update.
    pub revision_id: Option<Arc<str>>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was updated last.
    pub updated_at: Timestamp,
    /// The highest version number ever published; 0 for none.
    pub last_version: u64,
    /// `loggingConfiguration` as given.
    pub logging: Option<Value>,
    /// `tracingConfiguration` as given.
    pub tracing: Option<Value>,
    /// `encryptionConfiguration` as given.
    pub encryption: Option<Value>,
}

/// A published version: a revision that never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionRecord {
    /// Its ARN, which ends in the number.
    pub arn: Arc<str>,
    /// What the publisher said about it.
    pub description: Option<Arc<str>>,
    /// When it was published.
    pub created_at: Timestamp,
    /// The state machine as it was then.
    pub machine: StateMachineRecord,
}

/// An alias.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AliasRecord {
    /// Its ARN.
    pub arn: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// What its creator said about it.
    pub description: Option<Arc<str>>,
    /// One or two versions with weights that add up to 100.
    pub routing: Vec<Route>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was updated last.
    pub updated_at: Timestamp,
}

/// A share of an alias's traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The version.
    pub version_arn: Arc<str>,
    /// Percent.
    pub weight: u8,
}

/// An activity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivityRecord {
    /// Its ARN.
    pub arn: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// When it was created.
    pub created_at: Timestamp,
    /// `encryptionConfiguration` as given.
    pub encryption: Option<Value>,
}

/// Tags of a resource, in the order in which they were set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagsRecord {
    /// What is tagged.
    pub resource_arn: Arc<str>,
    /// Key and value.
    pub tags: Vec<(Arc<str>, Arc<str>)>,
}

/// `STANDARD`, `EXPRESS`.
mod machine_type {
    use super::StateMachineType;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(
        machine_type: &StateMachineType,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match machine_type {
            StateMachineType::Standard => "STANDARD",
            StateMachineType::Express => "EXPRESS",
        })
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StateMachineType, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "STANDARD" => Ok(StateMachineType::Standard),
            "EXPRESS" => Ok(StateMachineType::Express),
            other => Err(D::Error::custom(format!("unknown type of state machine {other:?}"))),
        }
    }
}

/// 64 hexadecimal digits.
mod hash {
    use engine::DefinitionHash;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(hash: &DefinitionHash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(hash.0))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DefinitionHash, D::Error> {
        let mut hash = [0; 32];
        hex::decode_to_slice(String::deserialize(deserializer)?, &mut hash).map_err(D::Error::custom)?;
        Ok(DefinitionHash(hash))
    }
}
