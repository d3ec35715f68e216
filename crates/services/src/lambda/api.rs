//! Lambda's API: from a request to the operation that answers it, and the permissions it needs.

use super::catalog::not_found;
use super::function::FunctionKey;
use super::route::{Operation, Route, function_key, route};
use super::{Inner, aliases, functions, invocation, permissions, sources, tags};
use crate::wire::{Access, CallContext, ServiceError, ServiceRequest, ServiceResponse};
use serde_json::{Value, json};
use std::sync::Arc;

/// One call, as far as the path tells it.
pub(super) struct Call<'a> {
    pub inner: &'a Arc<Inner>,
    pub context: &'a CallContext,
    pub request: &'a ServiceRequest,
    pub route: Route,
    pub key: FunctionKey,
    /// From the name or the query string.
    pub qualifier: Option<String>,
}

/// The permissions a request needs.
pub(super) fn access(inner: &Inner, context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
    let Some(route) = route(request) else { return Vec::new() };
    let action = route.operation.action();
    let named = match route.operation {
        Operation::CreateFunction => request.json_str("FunctionName").unwrap_or_default(),
        Operation::ListFunctions
        | Operation::ListEventSourceMappings
        | Operation::CreateEventSourceMapping => {
            return vec![Access::new(action, "*")];
        }
        Operation::GetEventSourceMapping
        | Operation::UpdateEventSourceMapping
        | Operation::DeleteEventSourceMapping => {
            let mapping = context.arn("lambda", &format!("event-source-mapping:{}", route.item));
            return vec![Access::new(action, mapping)];
        }
        Operation::ListTags | Operation::TagResource | Operation::UntagResource => &route.item,
        _ => &route.function,
    };
    let Ok((key, qualifier)) = function_key(context, named) else { return vec![Access::new(action, "*")] };
    let qualifier = request.query("Qualifier").map(str::to_owned).or(qualifier);
    let mut accesses = Vec::new();
    if route.operation == Operation::Invoke {
        let arn =
            qualifier.as_ref().map_or_else(|| key.arn(), |qualifier| format!("{}:{qualifier}", key.arn()));
        let policy = inner
            .catalog
            .find(&key)
            .and_then(|function| permissions::policy(&function, qualifier.as_deref()));
        accesses.push(Access::new(action, arn).with_resource_policy(policy));
    } else {
        accesses.push(Access::new(action, key.arn()));
    }
    let takes_role =
        matches!(route.operation, Operation::CreateFunction | Operation::UpdateFunctionConfiguration);
    if let Some(role) = request.json_str("Role").filter(|_| takes_role) {
        accesses.push(Access::pass_role(role, "lambda.amazonaws.com"));
    }
    accesses
}

/// Answers a request.
pub(super) async fn handle(
    inner: &Arc<Inner>,
    context: &CallContext,
    request: ServiceRequest,
) -> Result<ServiceResponse, ServiceError> {
    let Some(route) = route(&request) else {
        return Err(ServiceError::unsupported(
            "lambda",
            &format!("{} {}", request.method, request.uri.path()),
        ));
    };
    let named = match route.operation {
        Operation::CreateFunction => {
            request.json()?.get("FunctionName").and_then(Value::as_str).unwrap_or_default()
        }
        Operation::CreateEventSourceMapping => {
            request.json()?.get("FunctionName").and_then(Value::as_str).unwrap_or_default()
        }
        Operation::ListFunctions => return functions::list(inner, context, &request),
        Operation::GetEventSourceMapping
        | Operation::UpdateEventSourceMapping
        | Operation::DeleteEventSourceMapping
        | Operation::ListEventSourceMappings => {
            let (request, qualifier) = (&request, None);
            let key = FunctionKey {
                account: context.account.clone(),
                region: context.region.clone(),
                name: String::new(),
            };
            return answer(&Call { inner, context, request, route, key, qualifier }).await;
        }
        Operation::ListTags | Operation::TagResource | Operation::UntagResource => &route.item,
        _ => &route.function,
    };
    let (key, qualifier) = function_key(context, named)?;
    if key.account != context.account && route.operation != Operation::Invoke {
        return Err(not_found(&key.arn()));
    }
    let qualifier = request.query("Qualifier").map(str::to_owned).or(qualifier);
    let call = Call { inner, context, request: &request, route, key, qualifier };
    answer(&call).await
}

async fn answer(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    match call.route.operation {
        Operation::CreateFunction => functions::create(call).await,
        Operation::ListFunctions => functions::list(call.inner, call.context, call.request),
        Operation::GetFunction => functions::get(call),
        Operation::DeleteFunction => functions::delete(call).await,
        Operation::GetFunctionConfiguration => functions::get_configuration(call),
        Operation::UpdateFunctionConfiguration => functions::update_configuration(call).await,
        Operation::UpdateFunctionCode => functions::update_code(call).await,
        Operation::DownloadCode => functions::download_code(call),
        Operation::Invoke => invocation::invoke(call).await,
        Operation::PublishVersion => functions::publish(call).await,
        Operation::ListVersionsByFunction => functions::list_versions(call),
        Operation::CreateAlias => aliases::create(call).await,
        Operation::ListAliases => aliases::list(call),
        Operation::GetAlias => aliases::get(call),
        Operation::UpdateAlias => aliases::update(call).await,
        Operation::DeleteAlias => aliases::delete(call).await,
        Operation::AddPermission => permissions::add(call).await,
        Operation::GetPolicy => permissions::get(call),
        Operation::RemovePermission => permissions::remove(call).await,
        Operation::PutFunctionConcurrency => put_concurrency(call).await,
        Operation::GetFunctionConcurrency => {
            let function = call.inner.catalog.get(&call.key)?;
            Ok(ServiceResponse::json(concurrency(function.reserved_concurrency)))
        }
        Operation::DeleteFunctionConcurrency => {
            let change = |function: &mut super::function::Function| {
                function.reserved_concurrency = None;
                Ok(())
            };
            call.inner.catalog.change(&call.key, None, change).await?;
            Ok(ServiceResponse::empty().with_status(204))
        }
        Operation::CreateEventSourceMapping => sources::create(call).await,
        Operation::GetEventSourceMapping => sources::get(call),
        Operation::UpdateEventSourceMapping => sources::update(call).await,
        Operation::DeleteEventSourceMapping => sources::delete(call).await,
        Operation::ListEventSourceMappings => sources::list(call),
        Operation::ListTags => tags::list(call),
        Operation::TagResource => tags::add(call).await,
        Operation::UntagResource => tags::remove(call).await,
    }
}

async fn put_concurrency(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let reserved = call.request.json()?.get("ReservedConcurrentExecutions").and_then(Value::as_u64);
    let reserved = reserved
        .and_then(|reserved| u32::try_from(reserved).ok())
        .ok_or_else(|| invalid("ReservedConcurrentExecutions must be a number that is not negative"))?;
    let change = |function: &mut super::function::Function| {
        function.reserved_concurrency = Some(reserved);
        Ok(())
    };
    call.inner.catalog.change(&call.key, None, change).await?;
    Ok(ServiceResponse::json(concurrency(Some(reserved))))
}

fn concurrency(reserved: Option<u32>) -> Value {
    reserved.map_or_else(|| json!({}), |reserved| json!({"ReservedConcurrentExecutions": reserved}))
}

/// InvalidParameterValueException.
pub(super) fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::client("InvalidParameterValueException", message)
}

/// Cuts a list into a page: what follows `Marker`, at most `MaxItems`, and the next marker.
pub(super) fn page<T>(
    request: &ServiceRequest,
    items: Vec<T>,
    name: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    const PAGE_MAX: usize = 50;
    let limit = request.query("MaxItems").and_then(|n| n.parse().ok()).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let marker = request.query("Marker").unwrap_or_default();
    let start = if marker.is_empty() {
        0
    } else {
        items.iter().position(|item| name(item) == marker).map_or(0, |i| i + 1)
    };
    let more = items.len() > start + limit;
    let items: Vec<T> = items.into_iter().skip(start).take(limit).collect();
    let next = items.last().filter(|_| more).map(name);
    (items, next)
}
