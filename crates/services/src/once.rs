//! An effect that happens once for each invocation id: the answer is recorded in the transaction of the effect, and a
//! duplicate gets it again. Without an id the effect simply happens.

use crate::storage::{Database, recall, remember};
use crate::wire::{CallContext, ServiceError};
use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::Value;

/// Runs `job` in a transaction, unless this invocation was seen before. Ids count per account.
pub(crate) async fn once<J>(
    database: &Database,
    context: &CallContext,
    now: Timestamp,
    job: J,
) -> Result<Value, ServiceError>
where
    J: FnOnce(&Connection) -> Result<Value, ServiceError> + Send + 'static,
{
    let id = context.invocation_id.as_ref().map(|id| format!("{}/{id}", context.account));
    let run = move |connection: &Connection| {
        if let Some(answer) = recall(connection, id.as_deref(), now)? {
            return serde_json::from_slice(&answer).map_err(ServiceError::internal);
        }
        let answer = job(connection)?;
        if id.is_some() {
            remember(connection, id.as_deref(), now, answer.to_string().as_bytes())?;
        }
        Ok(answer)
    };
    database.write(run).await
}
