//! The in-process door to the logs: for Lambda, ECS and the engine's observer.
//!
//! Groups and streams are made as needed, as AWS's agents do. Messages longer than an event may be are cut.

use super::Call;
use super::events::{EVENT_OVERHEAD_BYTES, append};
use super::groups::{Insert, insert_group};
use super::{groups, streams};
use crate::service_file::ServiceFile;
use crate::storage::{advance, watermark};
use crate::wire::ServiceError;
use rusqlite::Connection;

const MESSAGE_BYTES_MAX: usize = 1_048_576 - EVENT_OVERHEAD_BYTES;

/// A line with its place, for readers of a journal that may come with the same page again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Account of the log group.
    pub account: String,
    /// Region of the log group.
    pub region: String,
    /// Log group.
    pub group: String,
    /// Stream.
    pub stream: String,
    /// Milliseconds of the epoch.
    pub at_ms: i64,
    /// The line.
    pub message: String,
    /// Where in the reader's journal it comes from; lines of one position come together.
    pub position: u64,
}

/// Writes log events from inside the process. Cheap to clone.
#[derive(Clone)]
pub struct LogSink {
    file: ServiceFile,
}

impl LogSink {
    pub(super) fn new(file: ServiceFile) -> Self {
        Self { file }
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
        let now_ms = self.file.environment.now().as_millisecond();
        let call = Call::own(account, region, now_ms);
        let (group, stream) = (group.to_owned(), stream.to_owned());
        self.file
            .database
            .write(move |connection| {
                let (group_id, stream_id) = place(connection, &call, &group, &stream)?;
                let events: Vec<(i64, &str)> =
                    events.iter().map(|(at, message)| (*at, message.as_str())).collect();
                append(connection, group_id, stream_id, now_ms, &events)
            })
            .await
    }

    /// Stores a page of lines in one transaction, without those that this reader brought before.
    pub async fn put_page(&self, reader: &str, mut lines: Vec<LogLine>) -> Result<(), ServiceError> {
        let Some(last) = lines.iter().map(|line| line.position).max() else { return Ok(()) };
        lines.iter_mut().for_each(|line| cut(&mut line.message));
        let now_ms = self.file.environment.now().as_millisecond();
        let reader = reader.to_owned();
        self.file
            .database
            .write(move |connection| {
                let known = watermark(connection, &reader)?;
                lines.retain(|line| line.position > known);
                lines.sort_by(|one, other| place_of(one).cmp(&place_of(other)));
                for lines in lines.chunk_by(|one, other| place_of(one) == place_of(other)) {
                    let call = Call::own(&lines[0].account, &lines[0].region, now_ms);
                    let (group_id, stream_id) = place(connection, &call, &lines[0].group, &lines[0].stream)?;
                    let events: Vec<(i64, &str)> =
                        lines.iter().map(|line| (line.at_ms, line.message.as_str())).collect();
                    append(connection, group_id, stream_id, now_ms, &events)?;
                }
                advance(connection, &reader, last)?;
                Ok(())
            })
            .await
    }
}

fn place_of(line: &LogLine) -> (&str, &str, &str, &str) {
    (&line.account, &line.region, &line.group, &line.stream)
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
