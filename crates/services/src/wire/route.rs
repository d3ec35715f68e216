//! Which service a request is for. It looks at the request's head only, in this order: SigV4 scope, `X-Amz-Target`,
//! CBOR path, host name, query string, path. It does not know which services exist.

use super::aws_query::Form;
use super::credential_scope::CredentialScope;
use http::header;
use http::request::Parts;
use std::borrow::Cow;
use std::fmt;

/// The SigV4 signing name of a service, such as `states` or `dynamodb`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceName(Cow<'static, str>);

impl ServiceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn known(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Prefixes of `X-Amz-Target`.
const TARGETS: &[(&str, &str)] = &[
    ("AWSStepFunctions", "states"),
    ("AWSEvents", "events"),
    ("AmazonEC2ContainerServiceV20141113", "ecs"),
    ("AmazonSQS", "sqs"),
    ("AmazonSSM", "ssm"),
    // `com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101`; no other service's begins so.
    ("com", "cloudtrail"),
    ("DynamoDB_20120810", "dynamodb"),
    ("GraniteServiceVersion20100801", "monitoring"),
    ("Logs_20140328", "logs"),
    ("secretsmanager", "secretsmanager"),
];

/// First labels of AWS's host names that are not the signing name itself.
const HOSTS: &[(&str, &str)] = &[("sync-states", "states"), ("streams", "dynamodb"), ("email", "ses")];

/// Services whose host name begins with the signing name.
const HOST_LABELS: &[&str] = &[
    "apigateway",
    "cloudformation",
    "cloudtrail",
    "dynamodb",
    "ecs",
    "events",
    "iam",
    "lambda",
    "logs",
    "monitoring",
    "s3",
    "scheduler",
    "secretsmanager",
    "sns",
    "sqs",
    "states",
    "sts",
];

/// First segments of Lambda's paths: the dates of its API's parts.
const LAMBDA_DATES: &[&str] = &[
    "2014-11-13",
    "2015-03-31",
    "2016-08-19",
    "2017-03-31",
    "2017-10-31",
    "2018-10-31",
    "2019-09-25",
    "2019-09-30",
    "2020-04-22",
    "2020-06-30",
    "2021-07-20",
    "2021-10-31",
    "2021-11-15",
];

/// API versions of the query protocol.
const QUERY_VERSIONS: &[(&str, &str)] = &[
    ("2010-03-31", "sns"),
    ("2010-05-08", "iam"),
    ("2010-05-15", "cloudformation"),
    ("2010-08-01", "monitoring"),
    ("2011-06-15", "sts"),
    ("2012-11-05", "sqs"),
];

/// The service a request is for. What nothing else claims is taken for S3, as on AWS's path-style endpoint.
pub fn route(parts: &Parts) -> ServiceName {
    let scope = CredentialScope::read(parts).map(|scope| scope.service).filter(|service| !service.is_empty());
    if let Some(service) = scope {
        return ServiceName(Cow::Owned(service));
    }
    by_target(parts)
        .or_else(|| by_host(parts))
        .or_else(|| by_form(parts.uri.query(), &[]))
        .unwrap_or_else(|| by_path(parts.uri.path()))
}

/// The service of an unsigned form, by its `Version` or an action that only one service has.
pub(crate) fn by_form(query: Option<&str>, body: &[u8]) -> Option<ServiceName> {
    let form = Form::parse(query, body);
    let version = form.get("Version").unwrap_or_default();
    let by_version = lookup(QUERY_VERSIONS, version);
    let by_action = || match form.get("Action")? {
        "ConfirmSubscription" | "Unsubscribe" => Some(ServiceName::known("sns")),
        _ => None,
    };
    by_version.or_else(by_action)
}

/// The prefix of `X-Amz-Target` for a service.
pub(crate) fn target_prefix(service: &str) -> Option<&'static str> {
    TARGETS.iter().find(|(_, name)| *name == service).map(|(prefix, _)| *prefix)
}

fn by_target(parts: &Parts) -> Option<ServiceName> {
    let target = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    if let Some(target) = target {
        let prefix = target.split('.').next().unwrap_or_default();
        return Some(lookup(TARGETS, prefix).unwrap_or_else(|| ServiceName(Cow::Owned(prefix.to_owned()))));
    }
    let cbor = parts.uri.path().strip_prefix("/service/")?;
    lookup(TARGETS, cbor.split('/').next().unwrap_or_default())
}

fn by_host(parts: &Parts) -> Option<ServiceName> {
    let host = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok())?;
    let mut labels = host.split('.');
    let first = labels.next()?;
    if labels.next()? == "execute-api" {
        return Some(ServiceName::known("execute-api"));
    }
    let listed = lookup(HOSTS, first);
    listed
        .or_else(|| HOST_LABELS.iter().find(|label| **label == first).map(|label| ServiceName::known(label)))
}

fn by_path(path: &str) -> ServiceName {
    let first = path.split('/').nth(1).unwrap_or_default();
    if first == "restapis" && path.contains("/_user_request_") {
        return ServiceName::known("execute-api");
    }
    ServiceName::known(if LAMBDA_DATES.contains(&first) { "lambda" } else { "s3" })
}

fn lookup(table: &'static [(&'static str, &'static str)], key: &str) -> Option<ServiceName> {
    table.iter().find(|(name, _)| *name == key).map(|(_, service)| ServiceName::known(service))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn a_request_is_routed_by_scope_target_host_query_and_path() {
        let scope = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/states/aws4_request, Signature=0";
        let cases: &[(&str, &str, &str, &str)] = &[
            ("authorization", scope, "/", "states"),
            ("x-amz-target", "AWSStepFunctions.StartExecution", "/", "states"),
            ("x-amz-target", "DynamoDB_20120810.PutItem", "/", "dynamodb"),
            ("x-amz-target", "Comprehend_20171127.DetectSentiment", "/", "Comprehend_20171127"),
            ("x-none", "", "/service/GraniteServiceVersion20100801/operation/PutMetricData", "monitoring"),
            ("host", "sync-states.us-east-1.amazonaws.com", "/", "states"),
            ("host", "sqs.us-east-1.localhost:4566", "/", "sqs"),
            ("host", "localhost:4566", "/2015-03-31/functions", "lambda"),
            ("host", "localhost:4566", "/?Action=ConfirmSubscription&Token=t", "sns"),
            ("host", "localhost:4566", "/?Action=GetUser&Version=2010-05-08", "iam"),
            ("host", "a1.execute-api.eu-west-1.amazonaws.com", "/dev/pets", "execute-api"),
            ("host", "localhost:4566", "/restapis/a1/dev/_user_request_/pets", "execute-api"),
            ("host", "localhost:4566", "/bucket/key", "s3"),
        ];
        for (name, value, uri, expected) in cases {
            let request = Request::builder().uri(*uri).header(*name, *value).body(()).unwrap();
            assert_eq!(route(&request.into_parts().0).as_str(), *expected, "{name}: {value} {uri}");
        }
    }
}
