//! Requests that order a stack: their template, parameters, tags and capabilities, read and judged before anything is kept.

use super::maker::{StackOrder, StackPlan};
use super::records::{Details, Record};
use super::{CloudFormation, invalid};
use crate::wire::{CallContext, Form, ServiceError, ServiceRequest};
use bytes::Bytes;
use http::Method;
use percent_encoding::percent_decode_str;
use std::collections::{BTreeMap, BTreeSet};

/// AWS's bound of a template in the request, and of one in S3.
const BODY_BYTES_MAX: usize = 51_200;
const OBJECT_BYTES_MAX: usize = 1_000_000;
const PARAMETERS_MAX: usize = 200;
const TAGS_MAX: usize = 50;

/// A request that orders a stack.
pub(super) struct Ordered {
    pub order: StackOrder,
    pub details: Details,
}

/// The name of a stack that is to be, which cannot be an ARN: nobody would find it by that.
pub(super) fn new_stack_name(form: &Form) -> Result<&str, ServiceError> {
    let name = stack_name(form)?;
    if name.starts_with("arn:") { Err(bad_name(name)) } else { Ok(name) }
}

/// The name or id of a stack.
pub(super) fn stack_name(form: &Form) -> Result<&str, ServiceError> {
    let name = form.get("StackName").unwrap_or_default();
    if name.is_empty() {
        let message = "1 validation error detected: Value null at 'stackName' failed to satisfy constraint: Member must not \
                       be null";
        return Err(invalid(message));
    }
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let is_name =
        name.starts_with(|letter: char| letter.is_ascii_alphabetic()) && name.chars().all(is_allowed);
    if name.starts_with("arn:") || is_name && name.len() <= 128 {
        return Ok(name);
    }
    Err(bad_name(name))
}

fn bad_name(name: &str) -> ServiceError {
    invalid(format!(
        "1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: Member must satisfy \
         regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
    ))
}

/// Reads an order for a stack that is there, or not.
pub(super) async fn read(
    service: &CloudFormation,
    context: &CallContext,
    form: &Form,
    present: Option<&Record>,
) -> Result<Ordered, ServiceError> {
    let template = template(service, context, form, present).await?;
    let (parameters, previous) = parameters(form)?;
    let tags = tags(form, present)?;
    let on_failure = form.get("OnFailure").unwrap_or_default();
    let keeps_failed = is_true(form, "DisableRollback") || on_failure == "DO_NOTHING";
    let name =
        present.map_or_else(|| stack_name(form).map(str::to_owned), |record| Ok(record.name.clone()))?;
    let fresh = || {
        let id = uuid::Uuid::new_v4();
        format!("arn:aws:cloudformation:{}:{}:stack/{name}/{id}", context.region, context.account)
    };
    let id = present.map_or_else(fresh, |record| record.id.clone());
    let text = |member: &str| form.get(member).filter(|text| !text.is_empty()).map(str::to_owned);
    let before = present.map(|record| record.details.clone()).unwrap_or_default();
    let details = Details {
        template: template.clone(),
        tags,
        capabilities: form.list("Capabilities").into_iter().map(str::to_owned).collect(),
        notification_arns: form.list("NotificationARNs").into_iter().map(str::to_owned).collect(),
        role_arn: text("RoleARN").or(before.role_arn),
        timeout_minutes: text("TimeoutInMinutes").and_then(|minutes| minutes.parse().ok()),
        keeps_failed,
        deletes_failed: on_failure == "DELETE",
        token: text("ClientRequestToken"),
        change_set: None,
        is_protected: before.is_protected || is_true(form, "EnableTerminationProtection"),
        description: String::new(),
    };
    let order = StackOrder { name, id, template, parameters, previous, keeps_failed };
    Ok(Ordered { order, details })
}

pub(super) fn is_true(form: &Form, member: &str) -> bool {
    form.get(member).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn parameters(form: &Form) -> Result<(BTreeMap<String, String>, BTreeSet<String>), ServiceError> {
    let (mut given, mut previous) = (BTreeMap::new(), BTreeSet::new());
    let listed = form.structures("Parameters");
    if listed.len() > PARAMETERS_MAX {
        return Err(invalid(format!("Number of parameters exceeds the maximum of {PARAMETERS_MAX}.")));
    }
    for parameter in listed {
        let name = parameter.get("ParameterKey").unwrap_or_default().to_owned();
        let value = parameter.get("ParameterValue").map(str::to_owned);
        match (is_true(&parameter, "UsePreviousValue"), value) {
            (true, Some(_)) => {
                let message = format!(
                    "Invalid input for parameter key {name}. Cannot specify usePreviousValue as true \
                                       and non empty value for a parameter"
                );
                return Err(invalid(message));
            }
            (true, None) => drop(previous.insert(name)),
            (false, Some(value)) => drop(given.insert(name, value)),
            (false, None) => {
                let message = format!(
                    "Invalid input for parameter key {name}. Need to specify either usePreviousValue as \
                                       true or a value for the parameter"
                );
                return Err(invalid(message));
            }
        }
    }
    Ok((given, previous))
}

/// An update without tags keeps those that are there.
fn tags(form: &Form, present: Option<&Record>) -> Result<BTreeMap<String, String>, ServiceError> {
    let listed = form.structures("Tags");
    if listed.len() > TAGS_MAX {
        return Err(invalid(format!("Number of tags exceeds the maximum of {TAGS_MAX}.")));
    }
    if listed.is_empty() && form.get("Tags").is_none() {
        return Ok(present.map(|record| record.details.tags.clone()).unwrap_or_default());
    }
    let pair = |tag: Form| {
        let member = |name: &str| tag.get(name).unwrap_or_default().to_owned();
        (member("Key"), member("Value"))
    };
    Ok(listed.into_iter().map(pair).collect())
}

/// The text of the template that a request gives, points at, or has given before.
pub(super) async fn template(
    service: &CloudFormation,
    context: &CallContext,
    form: &Form,
    present: Option<&Record>,
) -> Result<String, ServiceError> {
    let given = |name: &str| form.get(name).filter(|text| !text.is_empty());
    let uses_previous = is_true(form, "UsePreviousTemplate");
    match (given("TemplateBody"), given("TemplateURL"), present) {
        (Some(_), Some(_), _) => {
            Err(invalid("Either Template URL or Template Body must be specified, but not both."))
        }
        (Some(body), None, _) if body.len() > BODY_BYTES_MAX => Err(invalid(format!(
            "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less \
             than or equal to {BODY_BYTES_MAX}"
        ))),
        (Some(body), None, _) => Ok(body.to_owned()),
        (None, Some(url), _) => fetched(service, context, url).await,
        (None, None, Some(present)) if uses_previous && !present.details.template.is_empty() => {
            Ok(present.details.template.clone())
        }
        (None, None, _) => Err(invalid("Either Template URL or Template Body must be specified.")),
    }
}

/// An object of the embedded S3, read in the name of the caller.
async fn fetched(service: &CloudFormation, context: &CallContext, url: &str) -> Result<String, ServiceError> {
    let (bucket, key) = object(url).ok_or_else(|| {
        invalid(format!("S3 error: Domain name specified in {url} is not a valid S3 domain"))
    })?;
    let path = format!("/{bucket}/{key}");
    let request = ServiceRequest::rest(Method::GET, &path, Bytes::new()).of_service("s3");
    let answer = service.environment.call(context, "s3", request).await;
    let answer = answer.map_err(|error| invalid(format!("S3 error: {}", error.message)))?;
    let bytes = answer.body_bytes();
    if bytes.len() > OBJECT_BYTES_MAX {
        return Err(invalid(format!("Template may not exceed {OBJECT_BYTES_MAX} bytes in size.")));
    }
    String::from_utf8(bytes.to_vec())
        .map_err(|_| invalid("Template format error: the template is not UTF-8."))
}

/// Bucket and key (as in the path of a request) of an object's URL, in path style or with the bucket in the host's name.
pub(super) fn object(url: &str) -> Option<(String, String)> {
    let rest = url.split_once("://")?.1;
    let (host, path) = rest.split_once('/')?;
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    let in_host = host.strip_suffix(".amazonaws.com").and_then(|host| {
        let at = host.rfind(".s3.").or_else(|| host.rfind(".s3-"));
        at.map(|at| &host[..at]).or_else(|| host.strip_suffix(".s3"))
    });
    let (bucket, key) = match in_host {
        Some(bucket) => (bucket.to_owned(), path),
        None => path
            .split_once('/')
            .map(|(bucket, key)| (percent_decode_str(bucket).decode_utf8_lossy().into_owned(), key))?,
    };
    (!bucket.is_empty() && !key.is_empty()).then(|| (bucket, key.to_owned()))
}

/// AWS asks for IAM resources, and for macros outside change sets, to be acknowledged.
pub(super) fn check_capabilities(
    plan: &StackPlan,
    given: &[String],
    allows_macros: bool,
) -> Result<(), ServiceError> {
    let has = |name: &str| given.iter().any(|given| given == name);
    let lacks_iam = match plan.capability.as_deref() {
        Some("CAPABILITY_IAM") => !has("CAPABILITY_IAM") && !has("CAPABILITY_NAMED_IAM"),
        Some(named) => !has(named),
        None => false,
    };
    let mut missing = Vec::new();
    if lacks_iam {
        missing.extend(plan.capability.clone());
    }
    if plan.has_macros && !allows_macros && !has("CAPABILITY_AUTO_EXPAND") {
        missing.push("CAPABILITY_AUTO_EXPAND".to_owned());
    }
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("Requires capabilities : [{}]", missing.join(", "));
    Err(ServiceError::client("InsufficientCapabilitiesException", message))
}

#[cfg(test)]
mod tests {
    use super::object;

    #[test]
    fn templates_in_s3_are_named_in_each_of_its_styles() {
        let cases = [
            ("https://shop.s3.eu-west-1.amazonaws.com/a/t.yaml", Some(("shop", "a/t.yaml"))),
            ("https://shop.s3.amazonaws.com/t.yaml?versionId=3", Some(("shop", "t.yaml"))),
            ("https://s3.eu-west-1.amazonaws.com/shop/a/t.yaml", Some(("shop", "a/t.yaml"))),
            ("http://127.0.0.1:4566/shop/t%20u.yaml", Some(("shop", "t%20u.yaml"))),
            ("t.yaml", None),
            ("https://example.com/", None),
        ];
        for (url, expected) in cases {
            let expected = expected.map(|(bucket, key)| (bucket.to_owned(), key.to_owned()));
            assert_eq!(object(url), expected, "{url}");
        }
    }
}
