//! A function's documents: configuration of each version, aliases, policy, tags; and the shape AWS gives them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The unpublished version.
pub(super) const LATEST: &str = "$LATEST";

/// What identifies a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct FunctionKey {
    pub account: String,
    pub region: String,
    pub name: String,
}

impl FunctionKey {
    /// The unqualified ARN.
    pub fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:{}:function:{}", self.region, self.account, self.name)
    }
}

/// Everything stored about one function but its code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Function {
    pub key: FunctionKey,
    pub latest: Version,
    /// Published versions, by number.
    pub versions: BTreeMap<u64, Version>,
    pub last_version: u64,
    pub aliases: BTreeMap<String, Alias>,
    pub tags: BTreeMap<String, String>,
    /// Statements of the resource policies, by qualifier (empty: the function itself).
    pub policies: BTreeMap<String, Vec<Value>>,
    pub policy_revisions: BTreeMap<String, String>,
    pub reserved_concurrency: Option<u32>,
}

/// The configuration of one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Version {
    pub version: String,
    pub runtime: String,
    pub role: String,
    pub handler: String,
    pub description: String,
    pub timeout_seconds: u32,
    pub memory_megabytes: u32,
    pub ephemeral_storage_megabytes: u32,
    pub variables: Option<BTreeMap<String, String>>,
    pub architectures: Vec<String>,
    pub tracing_mode: String,
    pub log_group: Option<String>,
    pub code_sha256: String,
    pub code_size_bytes: u64,
    pub last_modified: String,
    pub revision_id: String,
}

/// A name for a version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Alias {
    pub name: String,
    pub version: String,
    pub description: String,
    /// A second version and the share of invocations that goes to it.
    pub additional: Option<(String, f64)>,
    pub revision_id: String,
}

/// A version as a caller named it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub version: Version,
    /// The ARN as it was invoked: with the qualifier, if one was given.
    pub arn: String,
}

impl Function {
    /// The version that a qualifier (a number, an alias, `$LATEST` or nothing) means now. `chance` is in 0..1.
    pub fn target(&self, qualifier: Option<&str>, chance: f64) -> Option<Target> {
        let arn = match qualifier {
            Some(qualifier) => format!("{}:{qualifier}", self.key.arn()),
            None => self.key.arn(),
        };
        let version = match qualifier {
            None | Some(LATEST) => self.latest.clone(),
            Some(qualifier) => match self.aliases.get(qualifier) {
                Some(alias) => self.version(alias.chosen(chance))?.clone(),
                None => self.version(qualifier)?.clone(),
            },
        };
        Some(Target { version, arn })
    }

    /// A version by its own name.
    pub fn version(&self, version: &str) -> Option<&Version> {
        if version == LATEST {
            return Some(&self.latest);
        }
        self.versions.get(&version.parse().ok()?)
    }

    /// The hashes of all code that the function refers to.
    pub fn code_hashes(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.latest)
            .chain(self.versions.values())
            .map(|version| version.code_sha256.as_str())
    }

    /// FunctionConfiguration, as GetFunctionConfiguration shows it.
    pub fn configuration(&self, version: &Version, qualified: bool) -> Value {
        let arn = self.key.arn();
        let arn = if qualified { format!("{arn}:{}", version.version) } else { arn };
        let mut shape = json!({
            "FunctionName": self.key.name,
            "FunctionArn": arn,
            "Runtime": version.runtime,
            "Role": version.role,
            "Handler": version.handler,
            "CodeSize": version.code_size_bytes,
            "Description": version.description,
            "Timeout": version.timeout_seconds,
            "MemorySize": version.memory_megabytes,
            "LastModified": version.last_modified,
            "CodeSha256": version.code_sha256,
            "Version": version.version,
            "TracingConfig": {"Mode": version.tracing_mode},
            "RevisionId": version.revision_id,
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "PackageType": "Zip",
            "Architectures": version.architectures,
            "EphemeralStorage": {"Size": version.ephemeral_storage_megabytes},
            "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            "LoggingConfig": {"LogFormat": "Text", "LogGroup": self.log_group(version)},
        });
        if let Some(variables) = &version.variables {
            shape["Environment"] = json!({"Variables": variables});
        }
        shape
    }

    /// Where a version's log lines go.
    pub fn log_group(&self, version: &Version) -> String {
        version.log_group.clone().unwrap_or_else(|| format!("/aws/lambda/{}", self.key.name))
    }

    /// AliasConfiguration.
    pub fn alias_shape(&self, alias: &Alias) -> Value {
        let mut shape = Map::new();
        shape.insert("AliasArn".into(), format!("{}:{}", self.key.arn(), alias.name).into());
        shape.insert("Name".into(), alias.name.clone().into());
        shape.insert("FunctionVersion".into(), alias.version.clone().into());
        shape.insert("Description".into(), alias.description.clone().into());
        if let Some((version, weight)) = &alias.additional {
            shape.insert(
                "RoutingConfig".into(),
                json!({"AdditionalVersionWeights": {version.as_str(): weight}}),
            );
        }
        shape.insert("RevisionId".into(), alias.revision_id.clone().into());
        Value::Object(shape)
    }
}

impl Alias {
    fn chosen(&self, chance: f64) -> &str {
        match &self.additional {
            Some((version, weight)) if chance < *weight => version,
            _ => &self.version,
        }
    }
}
