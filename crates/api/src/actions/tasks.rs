//! Work done by somebody else: activities' workers and holders of task tokens.

use asl::payload::Payload;
use engine::Failure;
use serde_json::{Value, json};

use super::{Answer, nothing};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::{Api, Caller};

pub(super) async fn get_activity_task(api: &Api, fields: &Fields<'_>) -> Answer {
    let task = api.runtime.get_activity_task(fields.text("activityArn"), fields.shared("workerName")).await?;
    Ok(match task {
        Some(task) => json!({ "taskToken": &*task.task_token, "input": task.input.text() }),
        None => json!({ "taskToken": Value::Null }),
    })
}

pub(super) async fn success(api: &Api, caller: &Caller, fields: &Fields<'_>) -> Answer {
    // Recorded: a wrong token is told before a wrong output.
    api.runtime.check_task_token(&caller.scope.account, fields.text("taskToken"))?;
    let output = Payload::parse(fields.text("output")).map_err(|error| {
        ApiError::new("InvalidOutput", format!("Invalid Output: '{}'", error.full_message()))
    })?;
    api.runtime.send_task_success(&caller.scope.account, fields.text("taskToken"), output).await?;
    Ok(nothing())
}

pub(super) async fn failure(api: &Api, caller: &Caller, fields: &Fields<'_>) -> Answer {
    let failure = Failure { error: fields.shared("error"), cause: fields.shared("cause") };
    api.runtime.send_task_failure(&caller.scope.account, fields.text("taskToken"), failure).await?;
    Ok(nothing())
}

pub(super) async fn heartbeat(api: &Api, caller: &Caller, fields: &Fields<'_>) -> Answer {
    api.runtime.send_task_heartbeat(&caller.scope.account, fields.text("taskToken")).await?;
    Ok(nothing())
}
