//! Invoke: synchronous, asynchronous and dry; and what happens when the same call comes twice.
//!
//! An invocation goes on when its caller goes away. A call under an invocation id that is under way joins it; one that
//! was answered in the last 24 hours gets that answer, if it was small enough to keep. The record is written after
//! the answer, so a server killed in between runs the function again: invocations are at least once.

use super::Inner;
use super::api::Call;
use super::function::FunctionKey;
use super::functions::not_found_qualified;
use super::worker::Invocation;
use crate::storage::{recall, remember};
use crate::wire::{ServiceError, ServiceResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// AWS's bounds on payloads.
const SYNCHRONOUS_BYTES_MAX: usize = 6_291_456;
const ASYNCHRONOUS_BYTES_MAX: usize = 1_048_576;
/// Larger answers are not kept for redeliveries; Step Functions takes none larger either.
const KEPT_BYTES_MAX: usize = 300_000;

/// A finished invocation, as it is kept and given again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub payload: String,
    pub is_error: bool,
    pub executed_version: String,
    pub log_tail: String,
}

type Finished = Option<Result<Arc<Answer>, ServiceError>>;

/// The invocations under way that bear an invocation id.
#[derive(Default)]
pub(super) struct Joined {
    running: Mutex<HashMap<(FunctionKey, String), watch::Receiver<Finished>>>,
}

/// What to run.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub key: FunctionKey,
    pub qualifier: Option<String>,
    pub payload: Bytes,
    pub client_context: Option<String>,
    pub request_id: String,
    pub invocation_id: Option<String>,
}

pub(super) async fn invoke(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let kind = call.request.header("x-amz-invocation-type").unwrap_or("RequestResponse");
    if !["RequestResponse", "Event", "DryRun"].contains(&kind) {
        let message = format!(
            "1 validation error detected: Value '{kind}' at 'invocationType' failed to satisfy constraint: Member must \
             satisfy enum value set: [Event, RequestResponse, DryRun]"
        );
        return Err(ServiceError::client("ValidationException", message));
    }
    let found = call.inner.catalog.find(&call.key);
    let function = found.ok_or_else(|| not_invoked(&call.key, call.qualifier.as_deref()))?;
    if function.target(call.qualifier.as_deref(), 1.0).is_none() {
        return Err(not_invoked(&call.key, call.qualifier.as_deref()));
    }
    let order = order(call, kind == "Event")?;
    match kind {
        "DryRun" => Ok(ServiceResponse::empty().with_status(204)),
        "Event" => {
            super::queue::enqueue(call.inner, order).await?;
            Ok(ServiceResponse::empty().with_status(202))
        }
        _ => {
            let answer = run(call.inner, order).await?;
            Ok(respond(call, &answer))
        }
    }
}

fn respond(call: &Call<'_>, answer: &Answer) -> ServiceResponse {
    let mut response = ServiceResponse::bytes(answer.payload.clone().into_bytes())
        .with_header("content-type", "application/json")
        .with_header("x-amz-executed-version", &answer.executed_version);
    if answer.is_error {
        response = response.with_header("x-amz-function-error", "Unhandled");
    }
    if call.request.header("x-amz-log-type") == Some("Tail") {
        response = response.with_header("x-amz-log-result", &STANDARD.encode(&answer.log_tail));
    }
    response
}

fn order(call: &Call<'_>, is_event: bool) -> Result<Order, ServiceError> {
    let payload =
        if call.request.body.is_empty() { Bytes::from_static(b"{}") } else { call.request.body.clone() };
    let bytes_max = if is_event { ASYNCHRONOUS_BYTES_MAX } else { SYNCHRONOUS_BYTES_MAX };
    if payload.len() > bytes_max {
        let message = format!(
            "{} byte payload is too large for the Invoke operation (limit {bytes_max} bytes)",
            payload.len()
        );
        return Err(ServiceError::new(413, "RequestTooLargeException", message));
    }
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
        let message =
            format!("Could not parse request body into json: Could not parse payload into json: {error}");
        return Err(ServiceError::client("InvalidRequestContentException", message));
    }
    let client_context = call.request.header("x-amz-client-context");
    let client_context = client_context.and_then(|text| String::from_utf8(STANDARD.decode(text).ok()?).ok());
    Ok(Order {
        key: call.key.clone(),
        qualifier: call.qualifier.clone(),
        payload,
        client_context,
        request_id: call.context.request_id.clone(),
        invocation_id: call.context.invocation_id.clone(),
    })
}

/// Runs an order, or joins or recalls the same one.
pub(super) async fn run(inner: &Arc<Inner>, order: Order) -> Result<Arc<Answer>, ServiceError> {
    let mut finished = join_or_start(inner, order)?;
    let finished = finished.wait_for(Option::is_some).await;
    match finished.as_deref() {
        Ok(Some(answer)) => answer.clone(),
        _ => Err(ServiceError::internal("an invocation ended without an answer")),
    }
}

fn join_or_start(inner: &Arc<Inner>, order: Order) -> Result<watch::Receiver<Finished>, ServiceError> {
    let joint = order.invocation_id.as_ref().map(|id| (order.key.clone(), id.clone()));
    let (told, finished) = watch::channel(None);
    if let Some(joint) = &joint {
        let mut running = inner.joined.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(finished) = running.get(joint) {
            return Ok(finished.clone());
        }
        running.insert(joint.clone(), finished.clone());
    }
    let inner = Arc::clone(inner);
    tokio::spawn(async move {
        let result = run_once(&inner, &order).await;
        told.send_replace(Some(result));
        if let Some(joint) = joint {
            inner.joined.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&joint);
        }
    });
    Ok(finished)
}

async fn run_once(inner: &Arc<Inner>, order: &Order) -> Result<Arc<Answer>, ServiceError> {
    let id = order.invocation_id.as_ref().map(|id| format!("{} {id}", order.key.arn()));
    if let Some(answer) = recalled(inner, id.as_deref())? {
        return Ok(Arc::new(answer));
    }
    let function = inner.catalog.get(&order.key)?;
    let chance = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
    let target = function
        .target(order.qualifier.as_deref(), chance)
        .ok_or_else(|| not_invoked(&order.key, order.qualifier.as_deref()))?;
    let invocation = Invocation {
        version: Arc::new(target.version),
        arn: target.arn,
        request_id: order.request_id.clone(),
        client_context: order.client_context.clone(),
        payload: order.payload.clone(),
    };
    let executed_version = invocation.version.version.clone();
    let outcome = inner.pools.run(inner, &function, invocation).await?;
    let payload = match String::from_utf8(outcome.payload.to_vec()) {
        Ok(payload) => payload,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    let answer = Answer { payload, is_error: outcome.is_error, executed_version, log_tail: outcome.log_tail };
    if let Some(id) = id.filter(|_| answer.payload.len() <= KEPT_BYTES_MAX) {
        keep(inner, id, &answer);
    }
    Ok(Arc::new(answer))
}

fn recalled(inner: &Inner, id: Option<&str>) -> Result<Option<Answer>, ServiceError> {
    if id.is_none() {
        return Ok(None);
    }
    let now = inner.environment.now();
    let kept = inner
        .catalog
        .database
        .read(|connection| recall(connection, id, now))
        .map_err(ServiceError::internal)?;
    Ok(kept.and_then(|kept| serde_json::from_slice(&kept).ok()))
}

/// Writes the record beside the answer, not before it: a disk's sync would be the better part of a warm invocation.
fn keep(inner: &Arc<Inner>, id: String, answer: &Answer) {
    let Ok(kept) = serde_json::to_vec(answer) else { return };
    let now = inner.environment.now();
    let written = inner.catalog.database.write(move |connection| -> Result<(), ServiceError> {
        Ok(remember(connection, Some(&id), now, &kept)?)
    });
    tokio::spawn(async move {
        if let Err(error) = written.await {
            tracing::warn!(%error, "an invocation's answer was not kept");
        }
    });
}

/// AWS's answer to an invocation of nothing: it always names a version (recorded).
fn not_invoked(key: &FunctionKey, qualifier: Option<&str>) -> ServiceError {
    not_found_qualified(key, Some(qualifier.unwrap_or("$LATEST")))
}
