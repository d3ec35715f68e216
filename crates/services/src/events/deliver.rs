//! EventBridge's deliveries to the targets of rules.
//!
//! The id of a row is the invocation id of the call it makes, and part of the name of an execution it starts, so a target
//! that has seen it before a crash does not act twice.

use super::envelope::input_for;
use super::schedules;
use super::text;
use crate::delivery::{self, Outcome, RetryPolicy};
use crate::environment::Environment;
use crate::service_file::ServiceFile;
use crate::storage::Database;
use crate::target_call::{self, Acting, split_arn};
use crate::wire::{CallContext, ServiceError};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

const PRINCIPAL: &str = "events.amazonaws.com";

/// See the module.
pub(super) struct Courier {
    pub(super) file: ServiceFile,
}

/// An event for a target.
pub(super) struct Parcel {
    rule_arn: String,
    target: Value,
    event: Value,
    since_ms: i64,
}

type Owed = delivery::Owed<Parcel>;

impl Courier {
    /// In the name of the target's role, or else of EventBridge itself, for whom the target's own policy must speak.
    fn context(&self, owed: &Owed, arn: &str) -> Result<CallContext, ServiceError> {
        let (region, account, _) = split_arn(arn)?;
        let event_id = text(&owed.parcel.event, "id").unwrap_or("");
        let rule_arn = &owed.parcel.rule_arn;
        let mut context = match text(&owed.parcel.target, "RoleArn") {
            Some(role_arn) => {
                let session_name = event_id;
                let acting =
                    Acting { service_principal: PRINCIPAL, role_arn, session_name, source_arn: rule_arn };
                acting.context(&self.file.environment, region)?
            }
            None => CallContext::service(account, region, PRINCIPAL),
        };
        context.source_arn = Some(rule_arn.clone());
        context.invocation_id = Some(format!("events-delivery-{event_id}-{}", owed.id));
        Ok(context)
    }

    async fn attempt(&self, owed: &Owed) -> Result<(), ServiceError> {
        let arn = text(&owed.parcel.target, "Arn").unwrap_or("");
        let context = self.context(owed, arn)?;
        let input = input_for(&owed.parcel.target, &owed.parcel.event, &owed.parcel.rule_arn);
        match arn.split(':').nth(2).unwrap_or("") {
            "sqs" => self.to_queue(owed, &context, arn, input).await,
            "sns" => target_call::publish(&self.file.environment, &context, arn, &input).await,
            "lambda" => target_call::invoke_function(&self.file.environment, &context, arn, input).await,
            "logs" => self.to_log_group(owed, &context, arn, input).await,
            "states" => {
                let name = format!("{}-{}", text(&owed.parcel.event, "id").unwrap_or("event"), owed.id);
                target_call::start_execution(&self.file.environment, &context, arn, &name, &input).await
            }
            other => Err(ServiceError::client("ValidationException", format!("{other} is no target"))),
        }
    }

    async fn to_queue(
        &self,
        owed: &Owed,
        context: &CallContext,
        arn: &str,
        body: String,
    ) -> Result<(), ServiceError> {
        let mut message = json!({"MessageBody": body});
        if let Some(group) = owed.parcel.target.pointer("/SqsParameters/MessageGroupId") {
            message["MessageGroupId"] = group.clone();
            message["MessageDeduplicationId"] = json!(context.invocation_id);
        }
        target_call::send_message(&self.file.environment, context, arn, message).await
    }

    async fn to_log_group(
        &self,
        owed: &Owed,
        context: &CallContext,
        arn: &str,
        message: String,
    ) -> Result<(), ServiceError> {
        let logs =
            self.file.environment.logs().ok_or_else(|| ServiceError::unavailable("Logs are not open."))?;
        let group = arn.split(':').nth(6).unwrap_or("");
        let stream = text(&owed.parcel.event, "id").unwrap_or("events");
        let now_ms = self.file.environment.now().as_millisecond();
        logs.put(&context.account, &context.region, group, stream, vec![(now_ms, message)]).await
    }
}

impl delivery::Courier for Courier {
    type Parcel = Parcel;
    const NAME: &'static str = "EventBridge";

    fn environment(&self) -> &Environment {
        &self.file.environment
    }

    fn database(&self) -> &Database {
        &self.file.database
    }

    async fn fire(&self) -> Result<Option<i64>, ServiceError> {
        let now_ms = self.file.environment.now().as_millisecond();
        match self.file.database.read(schedules::next)? {
            Some(next) if next <= now_ms => {
                self.file.database.write(move |connection| schedules::fire(connection, now_ms)).await
            }
            next => Ok(next),
        }
    }

    fn due(&self, connection: &Connection, now_ms: i64, limit: usize) -> Result<Vec<Owed>, ServiceError> {
        let sql = "SELECT id, attempts, rule_arn, target, event, since FROM deliveries WHERE due <= ?1
                   ORDER BY due, id LIMIT ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![now_ms, limit as i64], |row| {
            let json = |text: String| serde_json::from_str::<Value>(&text).unwrap_or_default();
            let parcel = Parcel {
                rule_arn: row.get(2)?,
                target: json(row.get(3)?),
                event: json(row.get(4)?),
                since_ms: row.get(5)?,
            };
            Ok(Owed { id: row.get(0)?, attempts: row.get(1)?, parcel })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    async fn deliver(&self, owed: &Owed) -> Outcome {
        Outcome::of_service(self.attempt(owed).await)
    }

    fn retry_delay_ms(&self, owed: &Owed, attempts: i64) -> Option<i64> {
        let now_ms = self.file.environment.now().as_millisecond();
        RetryPolicy::of(&owed.parcel.target).delay_ms(attempts, owed.parcel.since_ms, now_ms)
    }

    async fn give_up(&self, owed: &Owed, reason: &str) {
        let Parcel { rule_arn, target, event, .. } = &owed.parcel;
        let arn = text(target, "Arn").unwrap_or("");
        tracing::warn!(rule = rule_arn, target = arn, reason, "EventBridge gives a delivery up");
        let Some(queue) = target.pointer("/DeadLetterConfig/Arn").and_then(Value::as_str) else { return };
        let Ok((region, account, _)) = split_arn(queue) else { return };
        let mut context = CallContext::service(account, region, PRINCIPAL);
        context.source_arn = Some(rule_arn.clone());
        context.invocation_id = Some(format!("events-dead-{}-{}", text(event, "id").unwrap_or(""), owed.id));
        let message = json!({"MessageBody": event.to_string()});
        if let Err(error) = target_call::send_message(&self.file.environment, &context, queue, message).await
        {
            tracing::error!(queue, %error, "EventBridge cannot reach the dead-letter queue; the event is lost");
        }
    }
}
