//! The in-process door to the logs: for Lambda, ECS and the engine's observer.
//!
//! Groups and streams are made as needed, as AWS's agents do. Messages longer than an event may be are cut.

use super::Call;
use super::events::{EVENT_OVERHEAD_BYTES, append};
use super::groups::{Insert, insert_group};
use super::{groups, streams};
use crate::environment::Environment;
use crate::storage::Database;
use crate::wire::ServiceError;
use rusqlite::Connection;

const MESSAGE_BYTES_MAX: usize = 1_048_576 - EVENT_OVERHEAD_BYTES;

/// Writes log events from inside the process. Cheap to clone.
#[derive(Clone)]
pub struct LogSink {
    database: Database,
    environment: Environment,
}

impl LogSink {
    pub(super) fn new(database: Database, environment: Environment) -> Self {
        Self { database, environment }
    }

    /// Stores events (milliseconds of the epoch, message); they are on disk when this returns.
    pub async fn put(
        &self,
        account: &str,
        region: &str,
        group: &str,
        stream: &str,
        mut events: Vec<(i64, String)>,
    ) -> Result<(), ServiceError> {
        if events.is_empty() {
            return Ok(());
        }
        for (_, message) in &mut events {
            cut(message);
        }
        let now_ms = self.environment.now().as_millisecond();
        let call = Call { account: account.to_owned(), region: region.to_owned(), now_ms };
        let (group, stream) = (group.to_owned(), stream.to_owned());
        self.database
            .write(move |connection| {
                let (group_id, stream_id) = place(connection, &call, &group, &stream)?;
                let events: Vec<(i64, &str)> =
                    events.iter().map(|(at, message)| (*at, message.as_str())).collect();
                append(connection, group_id, stream_id, now_ms, &events)
            })
            .await
    }
}

fn cut(message: &mut String) {
    let mut end = message.len().min(MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
}

fn place(
    connection: &Connection,
    call: &Call,
    group: &str,
    stream: &str,
) -> Result<(i64, i64), ServiceError> {
    let insert = Insert { class: "STANDARD", kms_key: None, tags: serde_json::Map::new() };
    let group_id = match groups::find(connection, call, group) {
        Ok((id, _)) => id,
        Err(_) => match insert_group(connection, call, group, &insert)? {
            Some(id) => id,
            None => groups::find(connection, call, group)?.0,
        },
    };
    let stream_id = match streams::find(connection, group_id, stream) {
        Ok(id) => id,
        Err(_) => match streams::insert(connection, group_id, stream, call.now_ms)? {
            Some(id) => id,
            None => streams::find(connection, group_id, stream)?,
        },
    };
    Ok((group_id, stream_id))
}
