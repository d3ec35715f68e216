//! Scheduler's deliveries: each firing calls its target in the name of the schedule's role.

use super::attributes::Firing;
use super::firing;
use super::target::Kind;
use super::text;
use crate::delivery::{self, Outcome, RetryPolicy};
use crate::environment::Environment;
use crate::sdk_call::SdkCall;
use crate::service_file::ServiceFile;
use crate::storage::Database;
use crate::target_call::{self, Acting, split_arn};
use crate::wire::{CallContext, ServiceError, ServiceRequest};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

const PRINCIPAL: &str = "scheduler.amazonaws.com";

/// See the module.
pub(super) struct Courier {
    pub(super) file: ServiceFile,
}

/// One firing.
pub(super) struct Parcel {
    schedule_arn: String,
    scheduled: Timestamp,
    target: Value,
    since_ms: i64,
}

type Owed = delivery::Owed<Parcel>;

/// The ARN of a schedule's group, which stands for it as `aws:SourceArn`, as AWS's manual says.
pub(super) fn group_arn(schedule_arn: &str) -> String {
    let group = schedule_arn.rsplit_once('/').map_or(schedule_arn, |(group, _)| group);
    group.replace(":schedule/", ":schedule-group/")
}

/// The caller that a schedule's target sees, or why there can be none.
pub(super) fn acting(
    environment: &Environment,
    target: &Value,
    schedule_arn: &str,
) -> Result<CallContext, ServiceError> {
    let group_arn = group_arn(schedule_arn);
    let acting = Acting {
        service_principal: PRINCIPAL,
        role_arn: text(target, "RoleArn").unwrap_or(""),
        session_name: schedule_arn.rsplit('/').next().unwrap_or("schedule"),
        source_arn: &group_arn,
    };
    let (region, _, _) = split_arn(schedule_arn)?;
    let mut context = acting.context(environment, region)?;
    context.source_arn = Some(group_arn);
    Ok(context)
}

impl Courier {
    async fn attempt(&self, owed: &Owed) -> Result<(), ServiceError> {
        let Parcel { schedule_arn, scheduled, target, since_ms } = &owed.parcel;
        let environment = &self.file.environment;
        if environment.now().as_millisecond() - since_ms > RetryPolicy::of(target).age_max_ms {
            // It was owed when the server went down, and it was down for long.
            let message = "The firing is older than MaximumEventAgeInSeconds.";
            return Err(ServiceError::client("MaximumEventAgeInSeconds", message));
        }
        let firing = Firing { schedule_arn, scheduled: *scheduled, attempt: owed.attempts + 1 };
        let arn = text(target, "Arn").unwrap_or("");
        let kind = Kind::of(arn)?;
        let mut context = acting(environment, target, schedule_arn)?;
        context.invocation_id =
            Some(format!("scheduler-{schedule_arn}-{}-{}", scheduled.as_second(), owed.id));
        let input = match text(target, "Input") {
            Some(input) => firing.fill(input),
            None => firing.notification().to_string(),
        };
        match kind {
            Kind::StateMachine => {
                let name = firing.execution_name();
                target_call::start_execution(environment, &context, arn, &name, &input).await
            }
            Kind::Function => target_call::invoke_function(environment, &context, arn, input).await,
            Kind::Topic => target_call::publish(environment, &context, arn, &input).await,
            Kind::Queue => self.to_queue(&context, arn, target, input).await,
            Kind::EventBus => self.to_bus(&context, arn, target, input).await,
            Kind::Universal { service, action } => {
                let parameters = match text(target, "Input") {
                    Some(_) => serde_json::from_str(&input).map_err(ServiceError::internal)?,
                    None => json!({}),
                };
                let call = SdkCall { service, action, parameters };
                environment.sdk_caller().await?.call(context, call).await.map(|_| ())
            }
        }
    }

    async fn to_queue(
        &self,
        context: &CallContext,
        arn: &str,
        target: &Value,
        body: String,
    ) -> Result<(), ServiceError> {
        let mut message = json!({"MessageBody": body});
        if let Some(group) = target.pointer("/SqsParameters/MessageGroupId") {
            message["MessageGroupId"] = group.clone();
        }
        target_call::send_message(&self.file.environment, context, arn, message).await
    }

    async fn to_bus(
        &self,
        context: &CallContext,
        arn: &str,
        target: &Value,
        detail: String,
    ) -> Result<(), ServiceError> {
        let parameters = &target["EventBridgeParameters"];
        let entry = json!({"EventBusName": arn, "Source": parameters["Source"], "DetailType": parameters["DetailType"],
            "Detail": detail});
        let request = ServiceRequest::json_call("PutEvents", &json!({"Entries": [entry]}));
        let answer = self.file.environment.call(context, "events", request).await?.body_bytes();
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        match answer.pointer("/Entries/0/ErrorCode").and_then(Value::as_str) {
            Some(code) => {
                Err(ServiceError::client(code.to_owned(), answer["Entries"][0]["ErrorMessage"].to_string()))
            }
            None => Ok(()),
        }
    }
}

impl delivery::Courier for Courier {
    type Parcel = Parcel;
    const NAME: &'static str = "Scheduler";

    fn environment(&self) -> &Environment {
        &self.file.environment
    }

    fn database(&self) -> &Database {
        &self.file.database
    }

    async fn fire(&self) -> Result<Option<i64>, ServiceError> {
        let now_ms = self.file.environment.now().as_millisecond();
        match self.file.database.read(firing::next)? {
            Some(next) if next <= now_ms => {
                self.file.database.write(move |connection| firing::fire(connection, now_ms)).await
            }
            next => Ok(next),
        }
    }

    /// The first attempts of a schedule are made one after the other, so that firings that were missed come in order. What
    /// has failed once holds nothing up.
    fn due(&self, connection: &Connection, now_ms: i64, limit: usize) -> Result<Vec<Owed>, ServiceError> {
        let sql = "SELECT id, attempts, schedule_arn, scheduled, target, since FROM deliveries d
                   WHERE due <= ?1 AND (attempts > 0 OR NOT EXISTS (
                       SELECT 1 FROM deliveries e WHERE e.schedule_id = d.schedule_id AND e.id < d.id
                       AND e.attempts = 0 AND e.due <= ?1))
                   ORDER BY due, id LIMIT ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![now_ms, limit as i64], |row| {
            let parcel = Parcel {
                schedule_arn: row.get(2)?,
                scheduled: Timestamp::from_millisecond(row.get(3)?).unwrap_or_default(),
                target: serde_json::from_str(&row.get::<_, String>(4)?).unwrap_or_default(),
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
        let Parcel { schedule_arn, scheduled, target, .. } = &owed.parcel;
        let arn = text(target, "Arn").unwrap_or("");
        tracing::warn!(schedule = schedule_arn, %scheduled, target = arn, reason, "a firing is given up");
        let Some(queue) = target.pointer("/DeadLetterConfig/Arn").and_then(Value::as_str) else { return };
        let firing = Firing { schedule_arn, scheduled: *scheduled, attempt: owed.attempts + 1 };
        let sent = match acting(&self.file.environment, target, schedule_arn) {
            Ok(mut context) => {
                context.invocation_id = Some(format!("scheduler-dead-{schedule_arn}-{}", owed.id));
                let message = dead_letter(&firing, target, reason);
                target_call::send_message(&self.file.environment, &context, queue, message).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            tracing::error!(queue, %error, "Scheduler cannot reach the dead-letter queue; the firing is lost");
        }
    }

    fn forget(connection: &Connection, id: i64) -> Result<(), ServiceError> {
        let sql = "DELETE FROM deliveries WHERE id = ?1 RETURNING schedule_id";
        let schedule: Option<i64> =
            connection.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
        schedule.map_or(Ok(()), |schedule| firing::delete_if_complete(connection, schedule))
    }
}

/// The message of a firing that is given up, as AWS writes it: the input, and what happened as attributes.
fn dead_letter(firing: &Firing<'_>, target: &Value, reason: &str) -> Value {
    let (code, message) = reason.split_once(": ").unwrap_or((reason, reason));
    let exhausted = RetryPolicy::of(target).exhausted(firing.attempt);
    let attributes = [
        ("ERROR_CODE", code.to_owned()),
        ("ERROR_MESSAGE", message.to_owned()),
        ("EXECUTION_ID", firing.execution_id()),
        ("EXHAUSTED_RETRY_CONDITION", exhausted.to_owned()),
        ("IS_PAYLOAD_TRUNCATED", "false".to_owned()),
        ("RETRY_ATTEMPTS", (firing.attempt - 1).to_string()),
        ("SCHEDULED_TIME", firing.scheduled_time()),
        ("SCHEDULE_ARN", firing.schedule_arn.to_owned()),
        ("TARGET_ARN", text(target, "Arn").unwrap_or("").to_owned()),
    ];
    let attributes: serde_json::Map<String, Value> = attributes
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!({"DataType": "String", "StringValue": value})))
        .collect();
    let body =
        text(target, "Input").map_or_else(|| firing.notification().to_string(), |input| firing.fill(input));
    json!({"MessageBody": body, "MessageAttributes": attributes})
}
