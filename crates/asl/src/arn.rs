//! The ARNs of Step Functions: state machines, executions, map runs and activities.
//!
//! [`Arn::parse`] tells the kinds apart by their form alone; whether the thing exists is not known
//! here. Formatting an ARN gives back the text it was parsed from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An ARN of the service `states`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Arn {
    /// `aws`, `aws-cn`, `aws-us-gov`.
    pub partition: String,
    /// The region.
    pub region: String,
    /// The account, twelve digits.
    pub account: String,
    /// What it names.
    pub resource: ArnResource,
}

/// The resource an [`Arn`] names. `label` is that of a Distributed Map's own state machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ArnResource {
    /// `stateMachine:NAME[/LABEL][:QUALIFIER]`
    StateMachine {
        /// The state machine's name.
        name: String,
        /// The label of a Distributed Map.
        label: Option<String>,
        /// A version number or an alias.
        qualifier: Option<Qualifier>,
    },
    /// `execution:NAME[/LABEL]:EXECUTION`, an execution of a Standard state machine.
    Execution {
        /// The state machine's name.
        state_machine: String,
        /// The label of a Distributed Map.
        label: Option<String>,
        /// The execution's name.
        name: String,
    },
    /// `express:NAME[/LABEL]:EXECUTION[:ID]`, an execution of an Express state machine.
    Express {
        /// The state machine's name.
        state_machine: String,
        /// The label of a Distributed Map.
        label: Option<String>,
        /// The execution's name.
        name: String,
        /// A UUID, absent in the context object of TestState.
        id: Option<String>,
    },
    /// `mapRun:NAME/LABEL:ID`
    MapRun {
        /// The state machine's name.
        state_machine: String,
        /// The label of the Distributed Map, given or generated.
        label: String,
        /// A UUID.
        id: String,
    },
    /// `activity:NAME`
    Activity {
        /// The activity's name.
        name: String,
    },
}

/// What follows the name in the ARN of a version or an alias.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Qualifier {
    /// A version, from 1.
    Version(u64),
    /// An alias.
    Alias(String),
}

impl Qualifier {
    /// All digits are a version; anything else is an alias, since an alias may not be all digits.
    pub fn parse(text: &str) -> Qualifier {
        match text.parse() {
            Ok(number) if number > 0 && !text.starts_with(['0', '+']) => Qualifier::Version(number),
            _ => Qualifier::Alias(text.to_owned()),
        }
    }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Qualifier::Version(number) => write!(f, "{number}"),
            Qualifier::Alias(name) => f.write_str(name),
        }
    }
}

/// A text that is not an ARN, or an ARN of the wrong kind: AWS's error `InvalidArn`. The first is
/// as recorded from AWS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    /// It does not begin with `arn:`.
    #[error("Invalid Arn: 'Invalid ARN prefix: {0}'")]
    Prefix(String),
    /// It is an ARN, but not one of Step Functions.
    #[error("Invalid Arn: 'Invalid ARN service: {0}'")]
    Service(String),
    /// It names no resource that exists in Step Functions.
    #[error("Invalid Arn: 'Resource type not valid in this context: {0}'")]
    ResourceType(String),
    /// It has too few or too many parts.
    #[error("Invalid Arn: 'Invalid ARN: {0}'")]
    Form(String),
}

impl Arn {
    /// Reads any ARN of Step Functions.
    pub fn parse(text: &str) -> Result<Arn, ArnError> {
        let Some(rest) = text.strip_prefix("arn:") else {
            return Err(ArnError::Prefix(text.to_owned()));
        };
        let mut parts = rest.splitn(5, ':');
        let mut part = || parts.next().ok_or_else(|| ArnError::Form(text.to_owned()));
        let (partition, service, region, account) = (part()?, part()?, part()?, part()?);
        let resource = part()?;
        if service != "states" {
            return Err(ArnError::Service(service.to_owned()));
        }
        let resource = ArnResource::parse(resource).map_err(|unknown| match unknown {
            Some(kind) => ArnError::ResourceType(kind),
            None => ArnError::Form(text.to_owned()),
        })?;
        Ok(Arn {
            partition: partition.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            resource,
        })
    }

    /// The ARN of a state machine, in the partition of its region.
    pub fn state_machine(region: &str, account: &str, name: &str) -> Arn {
        let resource = ArnResource::StateMachine { name: name.to_owned(), label: None, qualifier: None };
        Arn::new(region, account, resource)
    }

    /// The ARN of an activity, in the partition of its region.
    pub fn activity(region: &str, account: &str, name: &str) -> Arn {
        Arn::new(region, account, ArnResource::Activity { name: name.to_owned() })
    }

    /// An ARN in the partition of its region.
    pub fn new(region: &str, account: &str, resource: ArnResource) -> Arn {
        let partition = match region {
            _ if region.starts_with("cn-") => "aws-cn",
            _ if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        Arn { partition: partition.into(), region: region.into(), account: account.into(), resource }
    }

    /// Another resource in the same partition, region and account.
    pub fn sibling(&self, resource: ArnResource) -> Arn {
        Arn { resource, ..self.clone() }
    }

    /// The name of the state machine this belongs to; none for an activity.
    pub fn state_machine_name(&self) -> Option<&str> {
        match &self.resource {
            ArnResource::StateMachine { name, .. } => Some(name),
            ArnResource::Execution { state_machine, .. }
            | ArnResource::Express { state_machine, .. }
            | ArnResource::MapRun { state_machine, .. } => Some(state_machine),
            ArnResource::Activity { .. } => None,
        }
    }

    /// The label of the Distributed Map this belongs to.
    pub fn label(&self) -> Option<&str> {
        match &self.resource {
            ArnResource::StateMachine { label, .. }
            | ArnResource::Execution { label, .. }
            | ArnResource::Express { label, .. } => label.as_deref(),
            ArnResource::MapRun { label, .. } => Some(label),
            ArnResource::Activity { .. } => None,
        }
    }

    /// The ARN of the state machine this belongs to, without label, version or alias.
    pub fn unqualified(&self) -> Option<Arn> {
        let name = self.state_machine_name()?.to_owned();
        Some(self.sibling(ArnResource::StateMachine { name, label: None, qualifier: None }))
    }

    /// The version or alias of a state machine.
    pub fn qualifier(&self) -> Option<&Qualifier> {
        match &self.resource {
            ArnResource::StateMachine { qualifier, .. } => qualifier.as_ref(),
            _ => None,
        }
    }

    /// The state machine's ARN with a version or an alias; unchanged if this is no state machine.
    pub fn with_qualifier(&self, qualifier: Qualifier) -> Arn {
        match &self.resource {
            ArnResource::StateMachine { name, label, .. } => {
                let (name, label) = (name.clone(), label.clone());
                self.sibling(ArnResource::StateMachine { name, label, qualifier: Some(qualifier) })
            }
            _ => self.clone(),
        }
    }

    /// The state machine's ARN with the label of a Distributed Map.
    pub fn labelled(&self, label: &str) -> Option<Arn> {
        let name = self.state_machine_name()?.to_owned();
        let label = Some(label.to_owned());
        Some(self.sibling(ArnResource::StateMachine { name, label, qualifier: None }))
    }

    /// A Standard execution of this state machine (and of its label).
    pub fn execution(&self, name: &str) -> Option<Arn> {
        let state_machine = self.state_machine_name()?.to_owned();
        let label = self.label().map(str::to_owned);
        Some(self.sibling(ArnResource::Execution { state_machine, label, name: name.to_owned() }))
    }

    /// An Express execution of this state machine (and of its label).
    pub fn express(&self, name: &str, id: Option<&str>) -> Option<Arn> {
        let state_machine = self.state_machine_name()?.to_owned();
        let label = self.label().map(str::to_owned);
        let (name, id) = (name.to_owned(), id.map(str::to_owned));
        Some(self.sibling(ArnResource::Express { state_machine, label, name, id }))
    }

    /// A map run of this state machine.
    pub fn map_run(&self, label: &str, id: &str) -> Option<Arn> {
        let state_machine = self.state_machine_name()?.to_owned();
        Some(self.sibling(ArnResource::MapRun { state_machine, label: label.into(), id: id.into() }))
    }

    /// AWS's complaint about an ARN that names the wrong kind of thing.
    pub fn wrong_type(&self) -> ArnError {
        ArnError::ResourceType(self.resource.kind().to_owned())
    }
}

impl ArnResource {
    /// The word before the name, such as `stateMachine`.
    pub fn kind(&self) -> &'static str {
        match self {
            ArnResource::StateMachine { .. } => "stateMachine",
            ArnResource::Execution { .. } => "execution",
            ArnResource::Express { .. } => "express",
            ArnResource::MapRun { .. } => "mapRun",
            ArnResource::Activity { .. } => "activity",
        }
    }

    /// Fails with the kind if that is unknown, with `None` if the form is wrong.
    fn parse(text: &str) -> Result<ArnResource, Option<String>> {
        let parts: Vec<&str> = text.split(':').collect();
        if parts.iter().skip(1).any(|part| part.is_empty()) {
            return Err(None);
        }
        let (name, label) = match parts.get(1).and_then(|name| name.split_once('/')) {
            Some(("", _) | (_, "")) => return Err(None),
            Some((name, label)) => (name.to_owned(), Some(label.to_owned())),
            None => (parts.get(1).copied().unwrap_or("").to_owned(), None),
        };
        let owned = |index: usize| parts.get(index).map(|part| (*part).to_owned());
        match (parts[0], parts.len()) {
            ("stateMachine", 2 | 3) => {
                let qualifier = parts.get(2).map(|part| Qualifier::parse(part));
                Ok(ArnResource::StateMachine { name, label, qualifier })
            }
            ("execution", 3) => {
                Ok(ArnResource::Execution { state_machine: name, label, name: owned(2).ok_or(None)? })
            }
            ("express", 3 | 4) => {
                let (execution, id) = (owned(2).ok_or(None)?, owned(3));
                Ok(ArnResource::Express { state_machine: name, label, name: execution, id })
            }
            ("mapRun", 3) => {
                let (label, id) = (label.ok_or(None)?, owned(2).ok_or(None)?);
                Ok(ArnResource::MapRun { state_machine: name, label, id })
            }
            ("activity", 2) => Ok(ArnResource::Activity { name: owned(1).ok_or(None)? }),
            ("stateMachine" | "execution" | "express" | "mapRun" | "activity", _) => Err(None),
            (kind, _) => Err(Some(kind.to_owned())),
        }
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:{}:states:{}:{}:{}", self.partition, self.region, self.account, self.resource)
    }
}

impl fmt::Display for ArnResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash =
            |label: &Option<String>| label.as_ref().map(|label| format!("/{label}")).unwrap_or_default();
        let colon = |part: Option<String>| part.map(|part| format!(":{part}")).unwrap_or_default();
        write!(f, "{}:", self.kind())?;
        match self {
            ArnResource::StateMachine { name, label, qualifier } => {
                let qualifier = colon(qualifier.as_ref().map(Qualifier::to_string));
                write!(f, "{name}{}{qualifier}", slash(label))
            }
            ArnResource::Execution { state_machine, label, name } => {
                write!(f, "{state_machine}{}:{name}", slash(label))
            }
            ArnResource::Express { state_machine, label, name, id } => {
                write!(f, "{state_machine}{}:{name}{}", slash(label), colon(id.clone()))
            }
            ArnResource::MapRun { state_machine, label, id } => write!(f, "{state_machine}/{label}:{id}"),
            ArnResource::Activity { name } => f.write_str(name),
        }
    }
}

impl FromStr for Arn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Arn, ArnError> {
        Arn::parse(text)
    }
}

impl Serialize for Arn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Arn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Arn, D::Error> {
        Arn::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        for resource in [
            "stateMachine:Order",
            "stateMachine:Order:7",
            "stateMachine:Order:PROD-1",
            "stateMachine:Order/Label",
            "execution:Order:run-1",
            "execution:Order/Label:child",
            "express:Order:run:8d0f",
            "express:Order:run",
            "express:Order/Label:run:8d0f",
            "mapRun:Order/Label:8d0f",
            "activity:Ship",
        ] {
            let text = format!("arn:aws:states:eu-west-1:000000000000:{resource}");
            assert_eq!(Arn::parse(&text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn relatives_are_built_from_a_state_machine() {
        let order = Arn::state_machine("cn-north-1", "123456789012", "Order");
        let text = |arn: Option<Arn>| arn.unwrap().to_string();
        assert_eq!(
            text(order.execution("one")),
            "arn:aws-cn:states:cn-north-1:123456789012:execution:Order:one"
        );
        let labelled = order.labelled("L").unwrap();
        assert_eq!(
            text(labelled.execution("c")),
            "arn:aws-cn:states:cn-north-1:123456789012:execution:Order/L:c"
        );
        let version = order.with_qualifier(Qualifier::parse("3"));
        assert_eq!(version.qualifier(), Some(&Qualifier::Version(3)));
        assert_eq!(version.unqualified(), Some(order));
    }

    #[test]
    fn what_is_no_arn_is_refused_in_awss_words() {
        let message = |text: &str| Arn::parse(text).unwrap_err().to_string();
        assert_eq!(message("not_a_valid_arn"), "Invalid Arn: 'Invalid ARN prefix: not_a_valid_arn'");
        for text in [
            "arn:aws:states:r:a",
            "arn:aws:states:r:a:",
            "arn:aws:states:r:a:stateMachine",
            "arn:aws:states:r:a:stateMachine:",
            "arn:aws:states:r:a:stateMachine:a:b:c",
            "arn:aws:states:r:a:mapRun:a:b",
            "arn:aws:lambda:r:a:function:f",
            "arn:aws:states:r:a:thing:f",
            "arn:",
            "",
        ] {
            assert!(message(text).starts_with("Invalid Arn: '"), "{text}");
        }
    }
}
