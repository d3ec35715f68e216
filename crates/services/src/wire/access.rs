//! A permission that a request needs, and the verdict on it.

use serde_json::Value;
use std::collections::BTreeMap;

/// One permission: an action on resources, with the condition keys known about the request.
#[derive(Debug, Clone, PartialEq)]
pub struct Access {
    /// The IAM action, such as `dynamodb:PutItem`.
    pub action: String,
    /// The ARNs it touches; every one must be allowed. `*` for actions without a resource.
    pub resources: Vec<String>,
    /// Condition keys of the request, such as `iam:PassedToService`, with their values.
    pub conditions: BTreeMap<String, Vec<String>>,
    /// The resource's own policy (queue policy, topic policy, function permissions), if it has one.
    pub resource_policy: Option<Value>,
    /// The account that counts as the caller's own, if it is not: that of a service which is pointed elsewhere.
    pub own_account: Option<String>,
}

impl Access {
    /// An action on one resource.
    pub fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self {
            action: action.into(),
            resources: vec![resource.into()],
            conditions: BTreeMap::new(),
            resource_policy: None,
            own_account: None,
        }
    }

    /// `iam:PassRole` for `role_arn`, handed to `service_principal` such as `lambda.amazonaws.com`.
    pub fn pass_role(role_arn: impl Into<String>, service_principal: impl Into<String>) -> Self {
        Self::new("iam:PassRole", role_arn).with_condition("iam:PassedToService", service_principal)
    }

    /// Adds a value of a condition key.
    #[must_use]
    pub fn with_condition(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.conditions.entry(key.into()).or_default().push(value.into());
        self
    }

    /// Adds another resource that must be allowed too.
    #[must_use]
    pub fn and_resource(mut self, resource: impl Into<String>) -> Self {
        self.resources.push(resource.into());
        self
    }

    /// Sets the resource's own policy.
    #[must_use]
    pub fn with_resource_policy(mut self, policy: Option<Value>) -> Self {
        self.resource_policy = policy;
        self
    }
}

/// The verdict on one [`Access`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The call may go on.
    Allowed,
    /// The call is refused. The text is AWS's: "User: … is not authorized to perform: … on resource: … because …".
    Denied {
        /// AWS's message.
        message: String,
    },
}

impl Decision {
    /// Whether the call may go on.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed)
    }
}
