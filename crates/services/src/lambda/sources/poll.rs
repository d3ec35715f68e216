//! Polling: batches of messages are received in the name of the function's role, run, and deleted when they are done.

use super::super::Inner;
use super::super::invocation::{self, Order};
use super::Mapping;
use super::batch::{self, Failed, Filter};
use crate::target_call::split_arn;
use crate::wire::{CallContext, ServiceError, ServiceRequest};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

const PRINCIPAL: &str = "lambda.amazonaws.com";
/// Batches of one mapping under way, unless it says otherwise.
const CONCURRENCY: usize = 5;
/// SQS gives at most so many in one answer.
const RECEIVED_MAX: usize = 10;
/// As long as SQS lets a poll wait.
const LONG_POLL_SECONDS: u64 = 20;
/// Lambda's bound on an event, with room for what stands around the records.
const EVENT_BYTES_MAX: usize = 6_000_000;
/// Pauses after what failed, from the first to the longest.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Polls until its mapping is gone, disabled or the service ends.
pub(super) async fn poll(inner: Weak<Inner>, mut told: watch::Receiver<Option<Arc<Mapping>>>) {
    let mut pause = PAUSE;
    let mut permits = (CONCURRENCY, Arc::new(Semaphore::new(CONCURRENCY)));
    // What one mapping gathered is run as that mapping said, also if it is changed or a receive fails meanwhile: to give a
    // message back would cost it one of its receives.
    loop {
        let Some(mapping) = told.borrow_and_update().clone() else { return };
        let wanted = mapping.concurrency_max.unwrap_or(CONCURRENCY);
        if permits.0 != wanted {
            permits = (wanted, Arc::new(Semaphore::new(wanted)));
        }
        let Ok(permit) = Arc::clone(&permits.1).acquire_owned().await else { return };
        let Some(running) = inner.upgrade() else { return };
        let mut batch = Vec::new();
        let received = tokio::select! {
            changed = told.changed() => match changed {
                Ok(()) => Ok(()),
                // Gone, disabled, or the service ends.
                Err(_) => return,
            },
            received = receive(&running, &mapping, &mut batch) => received,
        };
        if !batch.is_empty() {
            let (running, mapping) = (Arc::clone(&running), Arc::clone(&mapping));
            tokio::spawn(async move {
                if let Err(error) = handle(&running, &mapping, batch).await {
                    tracing::warn!(queue = mapping.queue_arn, %error, "a batch of messages is not settled");
                    // Held back for a while, so that a throttled function is not asked again at once.
                    tokio::time::sleep(PAUSE).await;
                }
                drop(permit);
            });
        }
        match received {
            Ok(()) => pause = PAUSE,
            Err(error) => {
                drop(running);
                tracing::warn!(queue = mapping.queue_arn, %error, "an event source cannot be polled");
                let over = tokio::time::timeout(pause, told.changed()).await;
                if matches!(over, Ok(Err(_))) {
                    return;
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// In the name of the function's role.
fn context(inner: &Inner, mapping: &Mapping) -> Result<CallContext, ServiceError> {
    let function = inner.catalog.get(&mapping.key)?;
    let target = function.target(mapping.qualifier.as_deref(), 1.0);
    let target = target.ok_or_else(|| super::super::catalog::not_found(&mapping.function_arn()))?;
    let session = inner.environment.iam().role_session_for_service(
        &target.version.role,
        PRINCIPAL,
        &mapping.key.name,
        Some(&mapping.function_arn()),
    );
    let principal =
        session.map_err(|error| ServiceError::new(403, "AccessDeniedException", error.to_string()))?;
    let (region, account, _) = split_arn(&mapping.queue_arn)?;
    let mut context = CallContext::of(principal, region);
    context.account = account.to_owned();
    Ok(context)
}

async fn call(
    inner: &Inner,
    mapping: &Mapping,
    operation: &str,
    mut input: Value,
) -> Result<Value, ServiceError> {
    let context = context(inner, mapping)?;
    let (_, account, name) = split_arn(&mapping.queue_arn)?;
    input["QueueUrl"] = json!(format!("{}/{account}/{name}", inner.environment.endpoint()));
    let request = ServiceRequest::json_call(operation, &input);
    let body = inner.environment.call(&context, "sqs", request).await?.body_bytes();
    Ok(if body.is_empty() {
        json!({})
    } else {
        serde_json::from_slice(&body).map_err(ServiceError::internal)?
    })
}

/// For how long the queue hides what was received.
pub(super) async fn visibility_timeout(inner: &Inner, mapping: &Mapping) -> Result<u64, ServiceError> {
    let input = json!({"AttributeNames": ["VisibilityTimeout"]});
    let answer = call(inner, mapping, "GetQueueAttributes", input).await?;
    let seconds = answer["Attributes"]["VisibilityTimeout"].as_str();
    Ok(seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(30))
}

/// Gathers a batch: as many messages as it takes, or as come within the window after the first. What came is in it,
/// however this ends.
async fn receive(inner: &Inner, mapping: &Mapping, batch: &mut Vec<Value>) -> Result<(), ServiceError> {
    let (mut bytes, mut until): (usize, Option<Instant>) = (0, None);
    while batch.len() < mapping.batch_size && bytes < EVENT_BYTES_MAX {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            break;
        }
        let wait = left.map_or(LONG_POLL_SECONDS, |left| left.as_secs().clamp(1, LONG_POLL_SECONDS));
        let most = (mapping.batch_size - batch.len()).min(RECEIVED_MAX);
        let input = json!({"MaxNumberOfMessages": most, "WaitTimeSeconds": wait,
            "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]});
        let answer = call(inner, mapping, "ReceiveMessage", input).await?;
        let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
        if messages.is_empty() && until.is_none() {
            break;
        }
        bytes += messages.iter().map(|message| message.to_string().len()).sum::<usize>();
        batch.extend(messages);
        until.get_or_insert_with(|| Instant::now() + Duration::from_secs(mapping.window_seconds));
    }
    Ok(())
}

/// Runs the function with what its filters take, and deletes what is done. What no filter takes is done.
async fn handle(inner: &Arc<Inner>, mapping: &Mapping, messages: Vec<Value>) -> Result<(), ServiceError> {
    let filters: Vec<Filter> = mapping.filters.iter().filter_map(|text| Filter::parse(text).ok()).collect();
    let records =
        messages.iter().map(|message| batch::record(message, &mapping.queue_arn, &mapping.key.region));
    let is_taken = |record: &Value| filters.is_empty() || filters.iter().any(|filter| filter.takes(record));
    let (taken, mut done): (Vec<Value>, Vec<Value>) = records.partition(is_taken);
    if !taken.is_empty() {
        match run(inner, mapping, &taken).await {
            Ok(Failed::These(ids)) => {
                let is_failed = |record: &Value| ids.iter().any(|id| record["messageId"] == *id);
                done.extend(taken.into_iter().filter(|record| !is_failed(record)));
            }
            Ok(Failed::All) => {}
            Err(error) => {
                delete(inner, mapping, &done).await?;
                return Err(error);
            }
        }
    }
    delete(inner, mapping, &done).await
}

async fn run(inner: &Arc<Inner>, mapping: &Mapping, records: &[Value]) -> Result<Failed, ServiceError> {
    let order = Order {
        key: mapping.key.clone(),
        qualifier: mapping.qualifier.clone(),
        payload: Bytes::from(json!({"Records": records}).to_string()),
        client_context: None,
        request_id: uuid::Uuid::new_v4().to_string(),
        invocation_id: None,
    };
    let answer = invocation::run(inner, order).await?;
    Ok(match (answer.is_error, mapping.reports_failures) {
        (true, _) => Failed::All,
        (false, true) => batch::failures(&answer.payload, records),
        (false, false) => Failed::These(Vec::new()),
    })
}

async fn delete(inner: &Inner, mapping: &Mapping, records: &[Value]) -> Result<(), ServiceError> {
    for records in records.chunks(RECEIVED_MAX) {
        let entries: Vec<Value> = records
            .iter()
            .enumerate()
            .map(|(index, record)| json!({"Id": index.to_string(), "ReceiptHandle": record["receiptHandle"]}))
            .collect();
        let answer = call(inner, mapping, "DeleteMessageBatch", json!({"Entries": entries})).await?;
        if let Some(failed) = answer["Failed"].as_array().and_then(|failed| failed.first()) {
            tracing::warn!(queue = mapping.queue_arn, %failed, "a message that was handled is not deleted");
        }
    }
    Ok(())
}
