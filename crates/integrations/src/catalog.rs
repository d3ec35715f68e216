//! Which resources exist and which parameters they take: the create-time side of the integrations.

use asl::diagnostic::Code;
use asl::resource::{Pattern, Problem, Resource, ResourceCatalog, ResourceKind};
use serde_json::Value;

use crate::naming::pascal;
use crate::optimized;
use crate::sync;
use crate::task::plan;
use crate::{apigateway, http_task};

/// The integrations of this build, as the validator of definitions sees them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Catalog;

/// Operations that Step Functions excludes although the service has them ("Unsupported API actions").
const EXCLUDED: [(&str, &str); 12] = [
    ("sts", "assumerole"),
    ("sts", "assumerolewithsaml"),
    ("sts", "assumerolewithwebidentity"),
    ("lambda", "invokeasync"),
    ("lambda", "invokewithresponsestream"),
    ("cloudwatchlogs", "startlivetail"),
    ("cloudwatchlogs", "getlogobject"),
    ("s3", "selectobjectcontent"),
    ("s3control", "selectobjectcontent"),
    ("kinesis", "subscribetoshard"),
    ("emr", "describejobflows"),
    ("rdsdata", "executesql"),
];

impl Catalog {
    /// Whether AWS has this integration and this server does not.
    pub fn is_absent_here(&self, resource: &Resource) -> bool {
        match &resource.kind {
            ResourceKind::Service { service, action, pattern } => {
                unsupported_here(service, action, *pattern).is_some()
            }
            ResourceKind::Lambda | ResourceKind::Activity => false,
        }
    }
}

impl ResourceCatalog for Catalog {
    fn check(&self, resource: &Resource, arguments: Option<&Value>) -> Vec<Problem> {
        let ResourceKind::Service { service, action, pattern } = &resource.kind else { return Vec::new() };
        if let Some(name) = unsupported_here(service, action, *pattern) {
            let message = format!("The resource {} is not supported by this server: {name}", resource.arn);
            return vec![Problem {
                code: Code::SchemaValidationFailed,
                message,
                field: Some("Resource".into()),
            }];
        }
        let unknown = || vec![Problem::unknown_resource(&resource.arn)];
        if &**service == "http" {
            return match (&**action, pattern) {
                ("invoke", Pattern::RequestResponse) => arguments.map_or_else(Vec::new, http_task::problems),
                _ => unknown(),
            };
        }
        if &**service == "apigateway" {
            return match (&**action, pattern) {
                ("invoke", Pattern::RequestResponse | Pattern::WaitForTaskToken) => {
                    arguments.map_or_else(Vec::new, apigateway::problems)
                }
                _ => unknown(),
            };
        }
        // AWS knows no action by its native name. Machines that were made when this server did go on.
        let is_native = action.starts_with(|first: char| first.is_ascii_uppercase());
        if is_native || !pattern_exists(service, action, *pattern) || excluded(service, action) {
            return unknown();
        }
        match plan(service, action) {
            Some(plan) if !plan.operation.streams() => arguments
                .map_or_else(Vec::new, |arguments| unknown_members(plan.operation.input(), arguments)),
            _ => unknown(),
        }
    }
}

/// What AWS has and this server does not, by name.
fn unsupported_here(service: &str, action: &str, pattern: Pattern) -> Option<String> {
    const ABSENT: [&str; 5] =
        ["bedrockagentcore", "eks", "elasticmapreduce", "emr-containers", "emr-serverless"];
    if ABSENT.contains(&service) {
        return Some(format!("{service}:{action}"));
    }
    // What AWS itself does not have, `lambda:invoke.sync` for example, is refused in AWS's words.
    let waits = matches!(pattern, Pattern::Sync | Pattern::Sync2);
    (waits && pattern_exists(service, action, pattern) && !sync::SUPPORTED.contains(&service))
        .then(|| format!("{service}:{action}{}", pattern.suffix()))
}

fn pattern_exists(service: &str, action: &str, pattern: Pattern) -> bool {
    if service.starts_with("aws-sdk:") {
        return matches!(pattern, Pattern::RequestResponse | Pattern::WaitForTaskToken);
    }
    optimized::find(service)
        .and_then(|optimized| optimized.actions.iter().find(|(name, _)| *name == action))
        .is_some_and(|(_, patterns)| patterns.contains(&pattern))
}

fn excluded(service: &str, action: &str) -> bool {
    let Some(service) = service.strip_prefix("aws-sdk:") else { return false };
    EXCLUDED.iter().any(|(name, operation)| *name == service && operation.eq_ignore_ascii_case(action))
}

/// Top-level parameters that the service does not have. `parameters` is as written: keys may end in `.$`.
fn unknown_members(shape: Option<crate::model::Shape<'_>>, parameters: &Value) -> Vec<Problem> {
    let Some(given) = parameters.as_object() else { return Vec::new() };
    let known = |key: &str| {
        shape.is_some_and(|shape| shape.members().any(|(name, _)| name == key || pascal(name) == key))
    };
    given
        .keys()
        .map(|key| key.strip_suffix(".$").unwrap_or(key))
        .filter(|key| !known(key))
        .map(|key| Problem::unsupported_field(key, "Parameters"))
        .collect()
}
