//! Reads a policy document and says in IAM's words what is wrong with one.

use super::PrincipalMatch;
use super::condition::{Condition, Keys};
use super::pattern::Pattern;
use crate::wire::Principal;
use serde_json::{Map, Value};

/// What a document is attached to, which decides the elements it must and must not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A role's or user's permissions: resources, no principals.
    Identity,
    /// A role's trust: principals, no resources.
    Trust,
    /// A queue's, topic's or function's own policy: principals and resources.
    Resource,
}

/// What is wrong with a document, as IAM's `MalformedPolicyDocument` says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// `Allow` or `Deny`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Allows what it matches.
    Allow,
    /// Denies what it matches, whatever else allows it.
    Deny,
}

/// A checked policy document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its statements.
    pub statements: Vec<Statement>,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// `Allow` or `Deny`.
    pub effect: Effect,
    principals: Option<Principals>,
    actions: OneOf,
    resources: Option<OneOf>,
    conditions: Vec<Condition>,
}

/// A list, or its complement (`NotAction`, `NotResource`).
#[derive(Debug, Clone, PartialEq, Eq)]
struct OneOf {
    is_negated: bool,
    patterns: Vec<Pattern>,
}

/// The `Principal` or `NotPrincipal` element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principals {
    is_negated: bool,
    is_everyone: bool,
    aws: Vec<String>,
    services: Vec<String>,
}

impl Policy {
    /// Reads the text of a document.
    pub fn parse(text: &str, kind: Kind) -> Result<Self, Malformed> {
        let value: Value = serde_json::from_str(text).map_err(|_| malformed("Syntax errors in policy."))?;
        Self::from_value(&value, kind)
    }

    /// Reads a document.
    pub fn from_value(value: &Value, kind: Kind) -> Result<Self, Malformed> {
        let document = value.as_object().ok_or_else(|| malformed("Syntax errors in policy."))?;
        let version = document.get("Version").and_then(Value::as_str).unwrap_or("2008-10-17");
        if !matches!(version, "2008-10-17" | "2012-10-17") {
            return Err(malformed("Policy document must be version 2012-10-17 or greater."));
        }
        let known = ["Version", "Id", "Statement"];
        if document.keys().any(|key| !known.contains(&key.as_str())) {
            return Err(malformed("Syntax errors in policy."));
        }
        let statements = match document.get("Statement") {
            Some(Value::Array(statements)) => statements.iter().collect(),
            Some(statement @ Value::Object(_)) => vec![statement],
            Some(_) => return Err(malformed("Syntax errors in policy.")),
            None => return Err(malformed("Missing required field Statement")),
        };
        let reader = Reader { kind, has_variables: version == "2012-10-17" };
        Ok(Self {
            statements: statements.into_iter().map(|one| reader.statement(one)).collect::<Result<_, _>>()?,
        })
    }
}

impl Statement {
    /// Whether the statement speaks of this action, resource and request.
    pub fn applies(&self, action: &str, resource: Option<&str>, keys: &Keys) -> bool {
        let matches_action = |pattern: &Pattern| pattern.matches_ignoring_case(action);
        if self.actions.patterns.iter().any(matches_action) == self.actions.is_negated {
            return false;
        }
        if let (Some(resources), Some(resource)) = (&self.resources, resource)
            && resources.patterns.iter().any(|pattern| pattern.matches(resource, keys))
                == resources.is_negated
        {
            return false;
        }
        self.conditions.iter().all(|condition| condition.holds(keys))
    }

    /// How the statement's principals match a caller.
    pub fn principal_match(&self, principal: &Principal) -> PrincipalMatch {
        let Some(principals) = &self.principals else { return PrincipalMatch::None };
        let matched = principals.matches(principal);
        match (principals.is_negated, matched) {
            (false, matched) => matched,
            (true, PrincipalMatch::None) => PrincipalMatch::Direct,
            (true, _) => PrincipalMatch::None,
        }
    }
}

impl Principals {
    fn matches(&self, principal: &Principal) -> PrincipalMatch {
        if let Principal::Service { name, .. } = principal {
            // `{"AWS": "*"}` is everyone as well, services included.
            let is_everyone = self.is_everyone || self.aws.iter().any(|named| named == "*");
            let is_named =
                is_everyone || self.services.iter().any(|service| service == name || service == "*");
            return if is_named { PrincipalMatch::Direct } else { PrincipalMatch::None };
        }
        if self.is_everyone {
            return PrincipalMatch::Direct;
        }
        let session = principal.arn();
        let role = match principal {
            Principal::RoleSession { role_arn, .. } => Some(role_arn.as_str()),
            _ => None,
        };
        let account = principal.account();
        let root = format!("arn:aws:iam::{account}:root");
        let matched = |named: &String| match named.as_str() {
            "*" => PrincipalMatch::Direct,
            named if named == session || Some(named) == role => PrincipalMatch::Direct,
            named if named == account || named == root => PrincipalMatch::Account,
            _ => PrincipalMatch::None,
        };
        self.aws.iter().map(matched).max().unwrap_or(PrincipalMatch::None)
    }
}

struct Reader {
    kind: Kind,
    has_variables: bool,
}

impl Reader {
    fn statement(&self, value: &Value) -> Result<Statement, Malformed> {
        let object = value.as_object().ok_or_else(|| malformed("Syntax errors in policy."))?;
        let known = [
            "Sid",
            "Effect",
            "Principal",
            "NotPrincipal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ];
        if object.keys().any(|key| !known.contains(&key.as_str())) {
            return Err(malformed("Syntax errors in policy."));
        }
        let effect = match object.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            Some(other) => return Err(Malformed(format!("Invalid effect: {other}"))),
            None => return Err(malformed("Missing required field Effect")),
        };
        let statement = Statement {
            effect,
            principals: self.principals(object)?,
            actions: self.actions(object)?,
            resources: self.resources(object)?,
            conditions: self.conditions(object)?,
        };
        Ok(statement)
    }

    fn actions(&self, object: &Map<String, Value>) -> Result<OneOf, Malformed> {
        let actions = one_of(object, "Action", "NotAction", false)?
            .ok_or_else(|| malformed("Missing required field Action"))?;
        for pattern in &actions.patterns {
            let text = pattern.text();
            let has_vendor =
                text == "*" || text.split_once(':').is_some_and(|(vendor, _)| !vendor.is_empty());
            if !has_vendor {
                return Err(malformed(
                    "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
                ));
            }
            let is_sts = text == "*" || text.to_ascii_lowercase().starts_with("sts:");
            if self.kind == Kind::Trust && !is_sts {
                return Err(malformed("AssumeRole policy may only specify STS AssumeRole actions."));
            }
        }
        Ok(actions)
    }

    fn resources(&self, object: &Map<String, Value>) -> Result<Option<OneOf>, Malformed> {
        let resources = one_of(object, "Resource", "NotResource", self.has_variables)?;
        match (self.kind, &resources) {
            (Kind::Trust, Some(_)) => Err(malformed("Has prohibited field Resource")),
            (Kind::Identity, None) => Err(malformed("Missing required field Resource")),
            (Kind::Identity, Some(named)) => {
                let is_arn = |text: &str| text == "*" || text.starts_with("arn:") || text.starts_with("arn*");
                match named.patterns.iter().find(|pattern| !is_arn(pattern.text())) {
                    Some(wrong) => {
                        Err(Malformed(format!("Resource {} must be in ARN format or \"*\".", wrong.text())))
                    }
                    None => Ok(resources),
                }
            }
            (Kind::Trust | Kind::Resource, _) => Ok(resources),
        }
    }

    fn principals(&self, object: &Map<String, Value>) -> Result<Option<Principals>, Malformed> {
        let (value, is_negated) = match (object.get("Principal"), object.get("NotPrincipal")) {
            (Some(value), None) => (value, false),
            (None, Some(value)) => (value, true),
            (Some(_), Some(_)) => return Err(malformed("Syntax errors in policy.")),
            (None, None) if self.kind == Kind::Identity => return Ok(None),
            (None, None) => return Err(malformed("Missing required field Principal")),
        };
        if self.kind == Kind::Identity {
            return Err(malformed("Has prohibited field Principal"));
        }
        let mut principals = Principals { is_negated, ..Principals::default() };
        match value {
            Value::String(text) if text == "*" => principals.is_everyone = true,
            Value::Object(kinds) => {
                for (kind, named) in kinds {
                    let named = strings(named).ok_or_else(|| malformed("Syntax errors in policy."))?;
                    match kind.as_str() {
                        "AWS" => principals.aws = named,
                        "Service" => principals.services = named,
                        // Federated users and canonical ids never call here, so they match nobody.
                        "Federated" | "CanonicalUser" => {}
                        other => return Err(Malformed(format!("Invalid principal in policy: {other}"))),
                    }
                }
            }
            other => return Err(Malformed(format!("Invalid principal in policy: {other}"))),
        }
        Ok(Some(principals))
    }

    fn conditions(&self, object: &Map<String, Value>) -> Result<Vec<Condition>, Malformed> {
        let Some(value) = object.get("Condition") else { return Ok(Vec::new()) };
        let syntax = || malformed("Syntax errors in policy.");
        let mut conditions = Vec::new();
        for (operator, keys) in value.as_object().ok_or_else(syntax)? {
            for (key, values) in keys.as_object().ok_or_else(syntax)? {
                let values = strings(values).ok_or_else(syntax)?;
                let patterns =
                    values.into_iter().map(|text| Pattern::new(text, self.has_variables)).collect();
                let condition = Condition::new(operator, key, patterns)
                    .ok_or_else(|| Malformed(format!("Invalid Condition type : {operator}")))?;
                conditions.push(condition);
            }
        }
        Ok(conditions)
    }
}

fn one_of(
    object: &Map<String, Value>,
    name: &str,
    negated_name: &str,
    has_variables: bool,
) -> Result<Option<OneOf>, Malformed> {
    let (value, is_negated) = match (object.get(name), object.get(negated_name)) {
        (None, None) => return Ok(None),
        (Some(value), None) => (value, false),
        (None, Some(value)) => (value, true),
        (Some(_), Some(_)) => return Err(malformed("Syntax errors in policy.")),
    };
    let texts = strings(value)
        .filter(|texts| !texts.is_empty())
        .ok_or_else(|| malformed("Syntax errors in policy."))?;
    let patterns = texts.into_iter().map(|text| Pattern::new(text, has_variables)).collect();
    Ok(Some(OneOf { is_negated, patterns }))
}

/// A string or a list of strings; numbers and booleans in conditions count as their text.
fn strings(value: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        other => text(other).map(|text| vec![text]),
    }
}

fn malformed(text: &str) -> Malformed {
    Malformed(text.to_owned())
}
