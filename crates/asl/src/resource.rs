//! A Task's `Resource`: its forms, and the port through which a catalog says which of them exist.
//!
//! [`Resource::parse`] only sorts an ARN by its form. Whether an integration exists and which parameters
//! it takes is knowledge of crate `integrations`, which implements [`ResourceCatalog`].

use serde_json::Value;

use crate::diagnostic::Code;
pub use crate::program::{Pattern, Resource, ResourceKind};

/// What a catalog finds wrong with a Task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Usually [`Code::SchemaValidationFailed`].
    pub code: Code,
    /// AWS's message.
    pub message: String,
    /// Where, below the state: `Resource`, `Parameters`, `Arguments/TableName`; none is the state itself.
    pub field: Option<String>,
}

impl Problem {
    /// AWS's answer to a resource that does not exist.
    pub fn unknown_resource(arn: &str) -> Problem {
        Problem {
            code: Code::SchemaValidationFailed,
            message: format!(
                "The resource provided {arn} is not recognized. The value is not a valid resource ARN, or the resource \
                 is not available in this region."
            ),
            field: Some("Resource".into()),
        }
    }

    /// AWS's answer to a parameter that an integration does not take.
    pub fn unsupported_field(name: &str, container: &str) -> Problem {
        Problem {
            code: Code::SchemaValidationFailed,
            message: format!("The field '{name}' is not supported by Step Functions"),
            field: Some(container.to_owned()),
        }
    }
}

/// Knows which resources there are. Asked when a definition is created, never when it runs.
pub trait ResourceCatalog {
    /// What is wrong with calling `resource` with these arguments. `arguments` is the template as it is
    /// written (`Parameters` with its `.$` keys, or `Arguments` with its `{% %}` strings).
    fn check(&self, resource: &Resource, arguments: Option<&Value>) -> Vec<Problem>;
}

/// A catalog in which every well-formed resource exists.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnyResource;

impl ResourceCatalog for AnyResource {
    fn check(&self, _resource: &Resource, _arguments: Option<&Value>) -> Vec<Problem> {
        Vec::new()
    }
}

impl Resource {
    /// Sorts an ARN; none if it has no form that a Task can call.
    pub fn parse(arn: &str) -> Option<Resource> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let &["arn", partition, service, region, account, name] = parts.as_slice() else { return None };
        if !partition.starts_with("aws") || name.is_empty() {
            return None;
        }
        let placed = !region.is_empty() && !account.is_empty();
        let kind = match (service, name.split_once(':')) {
            ("lambda", Some(("function", function))) if placed && !function.is_empty() => {
                ResourceKind::Lambda
            }
            ("states", Some(("activity", activity))) if placed && !activity.is_empty() => {
                ResourceKind::Activity
            }
            ("states", Some(_)) => service_kind(name)?,
            _ => return None,
        };
        Some(Resource { arn: arn.into(), kind })
    }
}

fn service_kind(name: &str) -> Option<ResourceKind> {
    let (service, call) = match name.strip_prefix("aws-sdk:") {
        Some(rest) => {
            let (service, call) = rest.split_once(':')?;
            (format!("aws-sdk:{service}"), call)
        }
        None => {
            let (service, call) = name.split_once(':')?;
            (service.to_owned(), call)
        }
    };
    let (action, pattern) = match call.split_once('.') {
        None => (call, Pattern::RequestResponse),
        Some((action, "sync")) => (action, Pattern::Sync),
        Some((action, "sync:2")) => (action, Pattern::Sync2),
        Some((action, "waitForTaskToken")) => (action, Pattern::WaitForTaskToken),
        Some(_) => return None,
    };
    let is_word =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let service_word = service.strip_prefix("aws-sdk:").unwrap_or(&service);
    (is_word(service_word) && is_word(action)).then(|| ResourceKind::Service {
        service: service.as_str().into(),
        action: action.into(),
        pattern,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(service: &str, action: &str, pattern: Pattern) -> Option<ResourceKind> {
        Some(ResourceKind::Service { service: service.into(), action: action.into(), pattern })
    }

    #[test]
    fn resources_are_sorted_by_their_form() {
        let kind = |arn: &str| Resource::parse(arn).map(|resource| resource.kind);
        assert_eq!(kind("arn:aws:lambda:eu-west-1:1:function:f"), Some(ResourceKind::Lambda));
        assert_eq!(kind("arn:aws:lambda:eu-west-1:1:function:f:live"), Some(ResourceKind::Lambda));
        assert_eq!(kind("arn:aws-cn:states:cn-north-1:1:activity:a"), Some(ResourceKind::Activity));
        assert_eq!(
            kind("arn:aws:states:::lambda:invoke"),
            service("lambda", "invoke", Pattern::RequestResponse)
        );
        assert_eq!(
            kind("arn:aws:states:::states:startExecution.sync:2"),
            service("states", "startExecution", Pattern::Sync2)
        );
        assert_eq!(
            kind("arn:aws:states:eu-west-1:1:ecs:runTask.sync"),
            service("ecs", "runTask", Pattern::Sync)
        );
        assert_eq!(
            kind("arn:aws:states:::aws-sdk:s3:getObject.waitForTaskToken"),
            service("aws-sdk:s3", "getObject", Pattern::WaitForTaskToken)
        );
        for wrong in
            ["", "x", "arn:aws:states:::lambda", "arn:aws:states:::lambda:invoke.later", "arn:aws:sqs:r:1:q"]
        {
            assert_eq!(kind(wrong), None, "{wrong}");
        }
    }
}
