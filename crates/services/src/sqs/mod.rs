//! SQS: standard and FIFO queues, dead-letter queues, long polls. Both protocols: the JSON of today's SDKs and the older
//! query protocol, which [`query_protocol`] translates.
//!
//! Every message is on disk before its send is answered, and every receive and delete before theirs. Queues are limited
//! by the disk only. Encryption settings, message move tasks and `AddPermission` are not here: refused by name.

mod attributes;
mod errors;
mod message;
mod query_protocol;
mod queues;
mod receive;
mod schema;
mod send;
mod settle;
#[cfg(test)]
mod tests;
mod waiters;

use crate::environment::Environment;
use crate::front::OpenError;
use crate::storage::{Database, recall, remember};
use crate::wire::{
    Access, BoxFuture, CallContext, Form, Principal, Protocol, Service, ServiceError, ServiceRequest,
    ServiceResponse,
};
use jiff::Timestamp;
use queues::Address;
use rusqlite::Connection;
use serde_json::Value;
use waiters::Waiters;

type Operation = fn(&Connection, &Call) -> Result<Value, ServiceError>;

/// One call of an operation.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    input: Value,
    account: String,
    region: String,
    endpoint: String,
    /// `SenderId` of the messages sent.
    sender_id: String,
    now: Timestamp,
}

impl Call {
    fn input<T: serde::de::DeserializeOwned>(&self) -> Result<T, ServiceError> {
        serde_json::from_value(self.input.clone())
            .map_err(|error| ServiceError::serialization(error.to_string()))
    }

    /// The time in milliseconds, as messages keep it.
    fn now_ms(&self) -> i64 {
        self.now.as_millisecond()
    }
}

/// The service.
pub struct Sqs {
    environment: Environment,
    database: Database,
    waiters: Waiters,
}

impl Sqs {
    /// Opens the queues.
    pub fn open(environment: Environment) -> Result<Self, OpenError> {
        let database = Database::open(&environment.directory(), "sqs", schema::MIGRATIONS)?;
        Ok(Self { environment, database, waiters: Waiters::default() })
    }

    async fn answer(&self, context: &CallContext, request: &ServiceRequest) -> Result<Value, ServiceError> {
        let call = Call {
            input: input_of(request)?,
            account: context.account.clone(),
            region: context.region.clone(),
            endpoint: self.environment.endpoint(),
            sender_id: sender_id(&context.principal),
            now: self.environment.now(),
        };
        match request.operation.as_str() {
            "ReceiveMessage" => self.receive(call).await,
            name => match (reading(name), writing(name)) {
                (Some(operation), _) => self.database.read(|connection| operation(connection, &call)),
                (None, Some(operation)) => self.write(operation, call, context.invocation_id.clone()).await,
                (None, None) => Err(ServiceError::unsupported("sqs", name)),
            },
        }
    }

    async fn write(
        &self,
        operation: Operation,
        call: Call,
        invocation_id: Option<String>,
    ) -> Result<Value, ServiceError> {
        let queue = Address::of_input(&call.input, &call).ok();
        let write =
            move |connection: &Connection| once(connection, invocation_id.as_deref(), operation, &call);
        let answer = self.database.write(write).await?;
        if let Some(queue) = queue {
            self.waiters.wake(&queue.arn());
        }
        Ok(answer)
    }

    /// Receives, waiting for a message as long as the caller wants: until one is sent, or one that is delayed or in
    /// flight becomes visible.
    async fn receive(&self, mut call: Call) -> Result<Value, ServiceError> {
        let queue = Address::of_input(&call.input, &call)?;
        let waiter = self.waiters.waiter(&queue.arn());
        let begin = tokio::time::Instant::now();
        loop {
            // Registered before looking, so that a message sent in between is not missed.
            let woken = waiter.woken();
            let attempt = call.clone();
            let write = move |connection: &Connection| receive::receive(connection, &attempt);
            let received: receive::Received = self.database.write::<_, ServiceError, _>(write).await?;
            if let Some(dead_letter_arn) = &received.moved_to {
                self.waiters.wake(dead_letter_arn);
            }
            let deadline = begin + received.wait;
            if received.messages.is_empty() && received.next_visible.is_some_and(|wait| wait.is_zero()) {
                continue;
            }
            if !received.messages.is_empty() || tokio::time::Instant::now() >= deadline {
                return Ok(received.output());
            }
            let next = received.next_visible.map_or(deadline, |wait| tokio::time::Instant::now() + wait);
            tokio::select! {
                is_open = woken => if !is_open { return Ok(received.output()) },
                () = tokio::time::sleep_until(deadline.min(next)) => {}
            }
            call.now = self.environment.now();
        }
    }
}

/// Performs a change, or gives the answer it gave before under the same invocation id.
fn once(
    connection: &Connection,
    invocation_id: Option<&str>,
    operation: Operation,
    call: &Call,
) -> Result<Value, ServiceError> {
    if let Some(known) = recall(connection, invocation_id, call.now)? {
        return serde_json::from_slice(&known).map_err(ServiceError::internal);
    }
    let answer = operation(connection, call)?;
    remember(connection, invocation_id, call.now, answer.to_string().as_bytes())?;
    Ok(answer)
}

impl Service for Sqs {
    fn name(&self) -> &'static str {
        "sqs"
    }

    fn access(&self, context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        let Ok(input) = input_of(request) else { return Vec::new() };
        // A batch needs the permission of its single operation.
        let action = request.operation.trim_end_matches("Batch");
        let in_scope = (context.account.as_str(), context.region.as_str());
        let queue = Address::of_url_or_name(&input, in_scope);
        let Some(queue) = queue else {
            return vec![Access::new(format!("sqs:{action}"), context.arn("sqs", ""))];
        };
        let policy = self.database.read(|connection| queues::policy(connection, &queue));
        let policy =
            policy.inspect_err(|error| tracing::error!(%error, "a queue's policy cannot be read")).ok();
        vec![Access::new(format!("sqs:{action}"), queue.arn()).with_resource_policy(policy.flatten())]
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move {
            let answer = self.answer(context, &request).await?;
            if request.protocol == Protocol::AwsQuery {
                return Ok(ServiceResponse::xml(query_protocol::output(&request.operation, &answer)));
            }
            // Operations without an output answer with no body at all.
            Ok(if answer.is_null() { ServiceResponse::empty() } else { ServiceResponse::json(answer) })
        })
    }

    fn xml_namespace(&self) -> &'static str {
        "http://queue.amazonaws.com/doc/2012-11-05/"
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        // Long polls end at once, so that the server can drain.
        self.waiters.close();
        Box::pin(async {})
    }
}

fn reading(name: &str) -> Option<Operation> {
    Some(match name {
        "GetQueueUrl" => queues::url,
        "ListQueues" => queues::list,
        "GetQueueAttributes" => queues::get_attributes,
        "ListQueueTags" => queues::list_tags,
        "ListDeadLetterSourceQueues" => queues::list_dead_letter_sources,
        _ => return None,
    })
}

fn writing(name: &str) -> Option<Operation> {
    Some(match name {
        "CreateQueue" => queues::create,
        "DeleteQueue" => queues::delete,
        "PurgeQueue" => queues::purge,
        "SetQueueAttributes" => queues::set_attributes,
        "TagQueue" => queues::tag,
        "UntagQueue" => queues::untag,
        "SendMessage" => send::send,
        "SendMessageBatch" => send::send_batch,
        "DeleteMessage" => settle::delete,
        "DeleteMessageBatch" => settle::delete_batch,
        "ChangeMessageVisibility" => settle::change_visibility,
        "ChangeMessageVisibilityBatch" => settle::change_visibility_batch,
        _ => return None,
    })
}

/// The input as JSON, whatever the protocol. In the query protocol the path may say which queue is meant.
fn input_of(request: &ServiceRequest) -> Result<Value, ServiceError> {
    if request.protocol != Protocol::AwsQuery {
        return request.json().cloned();
    }
    let form: &Form = request.form();
    let mut input = query_protocol::input(form);
    let is_queue = request.path_segments().len() == 2;
    if is_queue && form.get("QueueUrl").is_none() {
        input["QueueUrl"] = Value::from(request.uri.path());
    }
    Ok(input)
}

fn sender_id(principal: &Principal) -> String {
    match principal {
        Principal::Root { account } => account.clone(),
        Principal::User { id, .. } => id.clone(),
        Principal::RoleSession { role_id, session_name, .. } => format!("{role_id}:{session_name}"),
        Principal::Service { name, .. } => name.clone(),
    }
}
