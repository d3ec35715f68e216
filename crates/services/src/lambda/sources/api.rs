//! The operations on event source mappings.

use super::super::api::{Call, invalid, page};
use super::super::route::function_key;
use super::{Mapping, all, batch, poll, store};
use crate::target_call::split_arn;
use crate::wire::{ServiceError, ServiceResponse};
use serde_json::Value;

/// AWS's bounds for SQS.
const BATCH_MAX: u64 = 10_000;
const BATCH_WITHOUT_WINDOW_MAX: u64 = 10;
const WINDOW_MAX: u64 = 300;
const FILTERS_MAX: usize = 10;
const CONCURRENCY: std::ops::RangeInclusive<u64> = 2..=1000;

/// Members that mean other sources, or what is not done here.
const REFUSED: [&str; 11] = [
    "BisectBatchOnFunctionError",
    "DestinationConfig",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "ParallelizationFactor",
    "Queues",
    "SelfManagedEventSource",
    "SourceAccessConfigurations",
    "StartingPosition",
    "Topics",
    "TumblingWindowInSeconds",
];

fn missing() -> ServiceError {
    ServiceError::new(404, "ResourceNotFoundException", "The resource you requested does not exist.")
}

fn find(call: &Call<'_>) -> Result<Mapping, ServiceError> {
    let mappings = call.inner.catalog.database.read(all)?;
    let (account, region) = (&call.context.account, &call.context.region);
    let mine = |mapping: &Mapping| &mapping.key.account == account && &mapping.key.region == region;
    let found = mappings.into_iter().find(|mapping| mapping.uuid == call.route.item && mine(mapping));
    found.ok_or_else(missing)
}

pub(in crate::lambda) async fn create(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let input = call.request.json()?;
    let queue_arn = input["EventSourceArn"].as_str().unwrap_or_default();
    if queue_arn.split(':').nth(2) != Some("sqs") || queue_arn.split(':').count() != 6 {
        let message =
            format!("Unrecognized event source \"{queue_arn}\": this server polls queues of SQS only.");
        return Err(invalid(message));
    }
    let mut mapping = Mapping {
        uuid: uuid::Uuid::new_v4().to_string(),
        key: call.key.clone(),
        qualifier: call.qualifier.clone(),
        queue_arn: queue_arn.to_owned(),
        enabled: true,
        batch_size: 10,
        window_seconds: 0,
        reports_failures: false,
        filters: Vec::new(),
        concurrency_max: None,
        modified_ms: 0,
    };
    set(call, &mut mapping, input)?;
    check(call, &mapping).await?;
    let _changing = call.inner.sources.changing.lock().await;
    let others = call.inner.catalog.database.read(all)?;
    let same = |other: &&Mapping| {
        other.queue_arn == mapping.queue_arn && other.function_arn() == mapping.function_arn()
    };
    if let Some(other) = others.iter().find(same) {
        let message = format!(
            "An event source mapping with SQS arn (\" {queue_arn} \") and function (\" {} \") already exists. Please update or \
             delete the existing mapping with UUID {}",
            mapping.key.name, other.uuid
        );
        return Err(ServiceError::new(409, "ResourceConflictException", message));
    }
    keep(call, &mapping).await?;
    Ok(ServiceResponse::json(mapping.shown("Creating")).with_status(202))
}

pub(in crate::lambda) async fn update(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let _changing = call.inner.sources.changing.lock().await;
    let mut mapping = find(call)?;
    let input = call.request.json()?;
    if let Some(name) = input["FunctionName"].as_str() {
        (mapping.key, mapping.qualifier) = function_key(call.context, name)?;
        // Another account's function is none of the caller's, whatever its ARN says.
        if mapping.key.account != call.context.account || mapping.key.region != call.context.region {
            let message = format!("Function not found: {name}");
            return Err(ServiceError::new(404, "ResourceNotFoundException", message));
        }
    }
    set(call, &mut mapping, input)?;
    check(call, &mapping).await?;
    keep(call, &mapping).await?;
    Ok(ServiceResponse::json(mapping.shown("Updating")).with_status(202))
}

pub(in crate::lambda) async fn delete(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let _changing = call.inner.sources.changing.lock().await;
    let mapping = find(call)?;
    let uuid = mapping.uuid.clone();
    let remove = move |connection: &rusqlite::Connection| -> Result<(), ServiceError> {
        Ok(connection.execute("DELETE FROM mappings WHERE uuid = ?1", [uuid]).map(drop)?)
    };
    call.inner.catalog.database.write(remove).await?;
    call.inner.sources.forget(&mapping.uuid);
    Ok(ServiceResponse::json(mapping.shown("Deleting")).with_status(202))
}

pub(in crate::lambda) fn get(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    Ok(ServiceResponse::json(find(call)?.settled()))
}

pub(in crate::lambda) fn list(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let mut mappings = call.inner.catalog.database.read(all)?;
    let (account, region) = (&call.context.account, &call.context.region);
    mappings.retain(|mapping| &mapping.key.account == account && &mapping.key.region == region);
    if let Some(name) = call.request.query("FunctionName") {
        let (key, qualifier) = function_key(call.context, name)?;
        mappings.retain(|mapping| mapping.key == key && mapping.qualifier == qualifier);
    }
    if let Some(arn) = call.request.query("EventSourceArn") {
        mappings.retain(|mapping| mapping.queue_arn == arn);
    }
    let (mappings, next) = page(call.request, mappings, |mapping| mapping.uuid.clone());
    let shown: Vec<Value> = mappings.iter().map(Mapping::settled).collect();
    let mut answer = serde_json::json!({"EventSourceMappings": shown});
    if let Some(next) = next {
        answer["NextMarker"] = next.into();
    }
    Ok(ServiceResponse::json(answer))
}

/// What the request says over what holds.
fn set(call: &Call<'_>, mapping: &mut Mapping, input: &Value) -> Result<(), ServiceError> {
    let is_said = |member: &Value| !member.is_null() && *member != false && *member != serde_json::json!([]);
    if let Some(refused) = REFUSED.iter().find(|name| is_said(&input[**name])) {
        return Err(invalid(format!("{refused} is not supported for queues of SQS.")));
    }
    let number = |name: &str| input[name].as_u64();
    if let Some(enabled) = input["Enabled"].as_bool() {
        mapping.enabled = enabled;
    }
    let window = number("MaximumBatchingWindowInSeconds").unwrap_or(mapping.window_seconds);
    let size = number("BatchSize").unwrap_or(mapping.batch_size as u64);
    if !(1..=BATCH_MAX).contains(&size) || window > WINDOW_MAX {
        return Err(invalid(format!(
            "Batch size must be between 1 and {BATCH_MAX}, and the batching window between 0 and {WINDOW_MAX} seconds."
        )));
    }
    if mapping.is_fifo() && (size > BATCH_WITHOUT_WINDOW_MAX || window > 0) {
        return Err(invalid("FIFO queues take batches of at most 10 and no batching window."));
    }
    if size > BATCH_WITHOUT_WINDOW_MAX && window == 0 {
        return Err(invalid(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ));
    }
    (mapping.batch_size, mapping.window_seconds) = (usize::try_from(size).unwrap_or(1), window);
    if let Some(types) = input["FunctionResponseTypes"].as_array() {
        if types.iter().any(|kind| kind != "ReportBatchItemFailures") {
            return Err(invalid("FunctionResponseTypes knows ReportBatchItemFailures only."));
        }
        mapping.reports_failures = !types.is_empty();
    }
    if let Some(criteria) = input["FilterCriteria"].as_object() {
        mapping.filters = filters(criteria.get("Filters").unwrap_or(&Value::Null))?;
    }
    if let Some(scaling) = input["ScalingConfig"].as_object() {
        let most = scaling.get("MaximumConcurrency").and_then(Value::as_u64);
        if most.is_some_and(|most| !CONCURRENCY.contains(&most)) {
            return Err(invalid("MaximumConcurrency must be between 2 and 1000."));
        }
        mapping.concurrency_max = most.and_then(|most| usize::try_from(most).ok());
    }
    mapping.modified_ms = call.inner.environment.now().as_millisecond();
    Ok(())
}

fn filters(given: &Value) -> Result<Vec<String>, ServiceError> {
    let given = given.as_array().map_or(&[] as &[Value], Vec::as_slice);
    if given.len() > FILTERS_MAX {
        return Err(invalid(format!("A mapping has at most {FILTERS_MAX} filters.")));
    }
    let pattern = |filter: &Value| {
        let pattern = filter["Pattern"].as_str().unwrap_or_default();
        batch::Filter::parse(pattern)
            .map(|_| pattern.to_owned())
            .map_err(|reason| invalid(format!("Invalid filter pattern definition. {reason}")))
    };
    given.iter().map(pattern).collect()
}

/// The function is there, its role may poll, the queue hides messages for as long as the function may take.
async fn check(call: &Call<'_>, mapping: &Mapping) -> Result<(), ServiceError> {
    let function = call.inner.catalog.get(&mapping.key)?;
    let target = function.target(mapping.qualifier.as_deref(), 1.0);
    let target = target.ok_or_else(|| super::super::catalog::not_found(&mapping.function_arn()))?;
    let (region, account, _) = split_arn(&mapping.queue_arn)?;
    if region != mapping.key.region || account.is_empty() {
        return Err(invalid("The queue must be in the region of the function."));
    }
    let visibility = poll::visibility_timeout(call.inner, mapping).await.map_err(|error| {
        let code = error.query_code.as_deref().unwrap_or(error.short_code()).to_owned();
        match code.contains("NonExistentQueue") || code == "QueueDoesNotExist" {
            true => invalid(format!(
                "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error \
                 Message: {}",
                error.message
            )),
            false => invalid(format!(
                "The provided execution role does not have permissions to call ReceiveMessage on SQS. {}",
                error.message
            )),
        }
    })?;
    let timeout = u64::from(target.version.timeout_seconds);
    if visibility < timeout {
        return Err(invalid(format!(
            "Queue visibility timeout: {visibility} seconds is less than Function timeout: {timeout} seconds"
        )));
    }
    Ok(())
}

async fn keep(call: &Call<'_>, mapping: &Mapping) -> Result<(), ServiceError> {
    let kept = mapping.clone();
    call.inner.catalog.database.write(move |connection| store(connection, &kept)).await?;
    call.inner.sources.tell(call.inner, mapping);
    Ok(())
}
