//! What every operation needs: the caller's parameters checked in IAM's words, owners of policies and tags, pages.

use crate::iam::Iam;
use crate::wire::{Access, CallContext, Form, Principal, ServiceError, Xml};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const ITEMS_DEFAULT: usize = 100;
const ITEMS_MAX: usize = 1000;
/// RFC 3986's unreserved characters stay as they are.
const DOCUMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What policies and tags belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Role,
    User,
    Policy,
}

impl Owner {
    /// The word in the tables and in ARNs.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::User => "user",
            Self::Policy => "policy",
        }
    }

    /// The parameter that names it.
    pub(super) fn parameter(self) -> &'static str {
        match self {
            Self::Role => "RoleName",
            Self::User => "UserName",
            Self::Policy => "PolicyArn",
        }
    }
}

/// One call of an operation.
pub(super) struct Call {
    pub(super) form: Form,
    pub(super) account: String,
    pub(super) caller: Principal,
    pub(super) now: Timestamp,
    pub(super) owner: Owner,
}

impl Call {
    /// A parameter that must be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, ServiceError> {
        let value = self.form.get(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| constraint("null", name, "Member must not be null"))
    }

    /// A name that must be there: `[\w+=,.@-]+` of at most `length_max` characters.
    pub(super) fn name(&self, parameter: &str, length_max: usize) -> Result<&str, ServiceError> {
        let name = self.required(parameter)?;
        if name.chars().count() > length_max {
            let rule = format!("Member must have length less than or equal to {length_max}");
            return Err(constraint(&format!("'{name}'"), parameter, &rule));
        }
        let is_allowed = |character: char| character.is_ascii_alphanumeric() || "_+=,.@-".contains(character);
        if !name.chars().all(is_allowed) {
            let rule = "Member must satisfy regular expression pattern: [\\w+=,.@-]+";
            return Err(constraint(&format!("'{name}'"), parameter, rule));
        }
        Ok(name)
    }

    /// The name of the owner, or the ARN of a policy.
    pub(super) fn owner_name(&self) -> Result<&str, ServiceError> {
        match self.owner {
            Owner::Role | Owner::User => self.name(self.owner.parameter(), 64),
            Owner::Policy => self.required(self.owner.parameter()),
        }
    }

    /// The path: `/` unless given, always between slashes.
    pub(super) fn path(&self) -> Result<String, ServiceError> {
        let path = self.form.get("Path").unwrap_or("/");
        let is_path = path.starts_with('/') && path.ends_with('/') && path.len() <= 512;
        if !is_path || !path.chars().all(|character| character.is_ascii_graphic()) {
            let message = format!(
                "The specified value for path is invalid. It must begin and end with / and contain only \
                 alphanumeric characters and/or / characters: {path}"
            );
            return Err(ServiceError::client("ValidationError", message));
        }
        Ok(path.to_owned())
    }

    /// One page of items, and the children that say whether there is more.
    pub(super) fn page<T>(
        &self,
        items: Vec<T>,
        key: impl Fn(&T) -> &str,
    ) -> Result<(Vec<T>, Vec<Xml>), ServiceError> {
        let limit = match self.form.get("MaxItems") {
            None => ITEMS_DEFAULT,
            Some(text) => {
                let limit = text.parse().ok().filter(|limit| (1..=ITEMS_MAX).contains(limit));
                limit.ok_or_else(|| {
                    ServiceError::client("ValidationError", "MaxItems must be from 1 to 1000.")
                })?
            }
        };
        let after = self.form.get("Marker").map(read_marker).transpose()?;
        let begin = after.map_or(0, |after| items.partition_point(|item| key(item) <= after.as_str()));
        let is_truncated = items.len() - begin > limit;
        let page: Vec<T> = items.into_iter().skip(begin).take(limit).collect();
        let mut end = vec![Xml::text("IsTruncated", is_truncated)];
        if let (true, Some(last)) = (is_truncated, page.last()) {
            end.push(Xml::text("Marker", URL_SAFE_NO_PAD.encode(key(last))));
        }
        Ok((page, end))
    }

    /// Whether an item's path begins with the wanted prefix.
    pub(super) fn wants_path(&self, path: &str) -> bool {
        path.starts_with(self.form.get("PathPrefix").unwrap_or("/"))
    }
}

fn read_marker(marker: &str) -> Result<String, ServiceError> {
    let decoded = URL_SAFE_NO_PAD.decode(marker).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.ok_or_else(|| ServiceError::client("ValidationError", "Invalid Marker."))
}

/// IAM's text for a parameter that breaks a rule of its shape.
fn constraint(value: &str, parameter: &str, rule: &str) -> ServiceError {
    let mut name = parameter.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    let message = format!(
        "1 validation error detected: Value {value} at '{name}' failed to satisfy constraint: {rule}"
    );
    ServiceError::client("ValidationError", message)
}

pub(super) fn no_such_entity(message: impl Into<String>) -> ServiceError {
    ServiceError::new(404, "NoSuchEntity", message)
}

pub(super) fn already_exists(message: impl Into<String>) -> ServiceError {
    ServiceError::new(409, "EntityAlreadyExists", message)
}

pub(super) fn delete_conflict(message: &str) -> ServiceError {
    ServiceError::new(409, "DeleteConflict", message)
}

pub(super) fn limit_exceeded(message: impl Into<String>) -> ServiceError {
    ServiceError::new(409, "LimitExceeded", message)
}

/// A document in an answer: URL-encoded.
pub(super) fn document(name: &str, text: &str) -> Xml {
    Xml::text(name, utf8_percent_encode(text, DOCUMENT))
}

/// A point in time in an answer.
pub(super) fn time(name: &str, seconds: i64) -> Xml {
    Xml::text(name, Timestamp::from_second(seconds).unwrap_or_default())
}

/// The permission an operation needs.
pub(super) fn access(iam: &Iam, context: &CallContext, operation: &str, form: &Form) -> Access {
    let account = &context.account;
    let action = format!("iam:{operation}");
    let named = |word: &str, parameter: &str| {
        let path = form.get("Path").unwrap_or("/");
        let name = form.get(parameter)?;
        let existing = if word == "policy" { None } else { iam.arn_of(word, account, name) };
        Some(existing.unwrap_or_else(|| format!("arn:aws:iam::{account}:{word}{path}{name}")))
    };
    let of_caller = || operation.contains("User").then(|| context.principal.arn());
    let resource = named("role", "RoleName")
        .or_else(|| named("user", "UserName"))
        .or_else(|| form.get("PolicyArn").map(str::to_owned))
        .or_else(|| named("policy", "PolicyName"))
        .or_else(of_caller)
        .unwrap_or_else(|| "*".to_owned());
    let access = Access::new(action, resource);
    match form.get("PolicyArn") {
        Some(arn) if operation.starts_with("Attach") || operation.starts_with("Detach") => {
            access.with_condition("iam:PolicyARN", arn)
        }
        _ => access,
    }
}
