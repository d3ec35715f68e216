//! Lambda's REST paths: which operation a method and path mean, and on which function.

use super::function::FunctionKey;
use crate::wire::{CallContext, ServiceError, ServiceRequest};
use http::Method;

/// Lambda's operations that are answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    CreateFunction,
    ListFunctions,
    GetFunction,
    DeleteFunction,
    GetFunctionConfiguration,
    UpdateFunctionConfiguration,
    UpdateFunctionCode,
    /// Not AWS's: where `Code.Location` of GetFunction points.
    DownloadCode,
    Invoke,
    PublishVersion,
    ListVersionsByFunction,
    CreateAlias,
    ListAliases,
    GetAlias,
    UpdateAlias,
    DeleteAlias,
    AddPermission,
    GetPolicy,
    RemovePermission,
    PutFunctionConcurrency,
    GetFunctionConcurrency,
    DeleteFunctionConcurrency,
    ListTags,
    TagResource,
    UntagResource,
    CreateEventSourceMapping,
    GetEventSourceMapping,
    UpdateEventSourceMapping,
    DeleteEventSourceMapping,
    ListEventSourceMappings,
}

/// A request as the path tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub operation: Operation,
    /// The function's name or ARN as it stands in the path; empty when there is none.
    pub function: String,
    /// An alias, a statement id or a tagged ARN.
    pub item: String,
}

/// Reads method and path.
pub(super) fn route(request: &ServiceRequest) -> Option<Route> {
    use Operation::{
        AddPermission, CreateAlias, CreateEventSourceMapping, CreateFunction, DeleteAlias,
        DeleteEventSourceMapping, DeleteFunction, DeleteFunctionConcurrency, DownloadCode, GetAlias,
        GetEventSourceMapping, GetFunction, GetFunctionConcurrency, GetFunctionConfiguration, GetPolicy,
        Invoke, ListAliases, ListEventSourceMappings, ListFunctions, ListTags, ListVersionsByFunction,
        PublishVersion, PutFunctionConcurrency, RemovePermission, TagResource, UntagResource, UpdateAlias,
        UpdateEventSourceMapping, UpdateFunctionCode, UpdateFunctionConfiguration,
    };
    let segments = request.path_segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (date, rest) = segments.split_first()?;
    let (get, post) = (request.method == Method::GET, request.method == Method::POST);
    let (put, delete) = (request.method == Method::PUT, request.method == Method::DELETE);
    let found = |operation, function: &str, item: &str| {
        Some(Route { operation, function: function.to_owned(), item: item.to_owned() })
    };
    match (*date, rest) {
        ("2015-03-31", ["functions"]) if post => found(CreateFunction, "", ""),
        ("2015-03-31", ["functions"]) if get => found(ListFunctions, "", ""),
        ("2015-03-31", ["functions", name]) if get => found(GetFunction, name, ""),
        ("2015-03-31", ["functions", name]) if delete => found(DeleteFunction, name, ""),
        ("2015-03-31", ["functions", name, "configuration"]) if get => {
            found(GetFunctionConfiguration, name, "")
        }
        ("2015-03-31", ["functions", name, "configuration"]) if put => {
            found(UpdateFunctionConfiguration, name, "")
        }
        ("2015-03-31", ["functions", name, "code"]) if put => found(UpdateFunctionCode, name, ""),
        ("2015-03-31", ["functions", name, "code"]) if get => found(DownloadCode, name, ""),
        ("2015-03-31", ["functions", name, "invocations"]) if post => found(Invoke, name, ""),
        ("2015-03-31", ["functions", name, "versions"]) if post => found(PublishVersion, name, ""),
        ("2015-03-31", ["functions", name, "versions"]) if get => found(ListVersionsByFunction, name, ""),
        ("2015-03-31", ["functions", name, "aliases"]) if post => found(CreateAlias, name, ""),
        ("2015-03-31", ["functions", name, "aliases"]) if get => found(ListAliases, name, ""),
        ("2015-03-31", ["functions", name, "aliases", alias]) if get => found(GetAlias, name, alias),
        ("2015-03-31", ["functions", name, "aliases", alias]) if put => found(UpdateAlias, name, alias),
        ("2015-03-31", ["functions", name, "aliases", alias]) if delete => found(DeleteAlias, name, alias),
        ("2015-03-31", ["functions", name, "policy"]) if post => found(AddPermission, name, ""),
        ("2015-03-31", ["functions", name, "policy"]) if get => found(GetPolicy, name, ""),
        ("2015-03-31", ["functions", name, "policy", sid]) if delete => found(RemovePermission, name, sid),
        ("2017-10-31", ["functions", name, "concurrency"]) if put => found(PutFunctionConcurrency, name, ""),
        ("2017-10-31", ["functions", name, "concurrency"]) if delete => {
            found(DeleteFunctionConcurrency, name, "")
        }
        ("2019-09-30", ["functions", name, "concurrency"]) if get => found(GetFunctionConcurrency, name, ""),
        ("2015-03-31", ["event-source-mappings"]) if post => found(CreateEventSourceMapping, "", ""),
        ("2015-03-31", ["event-source-mappings"]) if get => found(ListEventSourceMappings, "", ""),
        ("2015-03-31", ["event-source-mappings", id]) if get => found(GetEventSourceMapping, "", id),
        ("2015-03-31", ["event-source-mappings", id]) if put => found(UpdateEventSourceMapping, "", id),
        ("2015-03-31", ["event-source-mappings", id]) if delete => found(DeleteEventSourceMapping, "", id),
        ("2017-03-31", ["tags", arn]) if get => found(ListTags, "", arn),
        ("2017-03-31", ["tags", arn]) if post => found(TagResource, "", arn),
        ("2017-03-31", ["tags", arn]) if delete => found(UntagResource, "", arn),
        _ => None,
    }
}

impl Operation {
    /// The IAM action.
    pub fn action(self) -> String {
        match self {
            Self::Invoke => "lambda:InvokeFunction".to_owned(),
            Self::DownloadCode => "lambda:GetFunction".to_owned(),
            other => format!("lambda:{other:?}"),
        }
    }
}

/// Reads a function's name in any of AWS's forms: a name, a partial ARN or an ARN, each with or without qualifier.
pub(super) fn function_key(
    context: &CallContext,
    named: &str,
) -> Result<(FunctionKey, Option<String>), ServiceError> {
    let invalid = || {
        let message = format!(
            "1 validation error detected: Value '{named}' at 'functionName' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{{2}}((-gov)|(-iso([a-z]?)))?-\
             [a-z]+-\\d{{1}}:)?(\\d{{12}}:)?(function:)?([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?"
        );
        ServiceError::client("ValidationException", message)
    };
    let parts: Vec<&str> = named.split(':').collect();
    let key = |account: &str, region: &str, name: &str| FunctionKey {
        account: account.to_owned(),
        region: region.to_owned(),
        name: name.to_owned(),
    };
    let (key, qualifier) = match parts.as_slice() {
        [name] => (key(&context.account, &context.region, name), None),
        ["function", name] => (key(&context.account, &context.region, name), None),
        [name, qualifier] => (key(&context.account, &context.region, name), Some(*qualifier)),
        [account, "function", name] => (key(account, &context.region, name), None),
        [account, "function", name, qualifier] => (key(account, &context.region, name), Some(*qualifier)),
        ["arn", _, "lambda", region, account, "function", name] => (key(account, region, name), None),
        ["arn", _, "lambda", region, account, "function", name, qualifier] => {
            (key(account, region, name), Some(*qualifier))
        }
        _ => return Err(invalid()),
    };
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if !is_word(&key.name)
        || key.name.len() > 140
        || qualifier.is_some_and(|q| q != super::function::LATEST && !is_word(q))
    {
        return Err(invalid());
    }
    Ok((key, qualifier.map(str::to_owned)))
}
