//! The tables `map_run_journal` and `map_run_items`: rows in, rows out.
//!
//! Invariant: a turn that begins with a checkpoint leaves no older one, so a Map Run holds a bounded number of bytes.

use std::sync::Arc;

use engine::map_run::MapRunEvent;
use engine::{Payload, Timestamp};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use super::rows;
use crate::map_run_turn;
use crate::port::{LIMIT_MAX, PAGE_BYTES_MAX};
use crate::{
    ExecutionStatus, InputIn, MapRunItem, MapRunItemWrite, MapRunItemsQuery, ScopeId, StoreError, WhichItems,
};

pub(super) fn write_turn(
    connection: &Connection,
    scope: ScopeId,
    map_run: i64,
    events: &[MapRunEvent],
    blob: &[u8],
) -> rusqlite::Result<()> {
    if map_run_turn::is_checkpoint(events) {
        let sql = "DELETE FROM map_run_journal WHERE scope = ?1 AND map_run = ?2";
        connection.prepare_cached(sql)?.execute(params![scope.0, map_run])?;
    }
    let sql = "INSERT INTO map_run_journal(scope, map_run, seq, turn) VALUES(?1, ?2, ?3, ?4)";
    connection.prepare_cached(sql)?.execute(params![scope.0, map_run, events[0].seq, blob])?;
    Ok(())
}

pub(super) fn write_item(
    connection: &Connection,
    (scope, map_run, index): (ScopeId, i64, u64),
    write: &MapRunItemWrite,
) -> rusqlite::Result<()> {
    let text = |payload: &Option<Payload>| payload.as_ref().map(|payload| payload.text().to_owned());
    let millis = |at: &Option<Timestamp>| at.map(Timestamp::epoch_millis);
    match write {
        MapRunItemWrite::Scheduled(item) => {
            let sql = "INSERT OR REPLACE INTO map_run_items(
                           scope, map_run, item, execution_arn, status, output, items, input, start, stop, redrives)
                       VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
            connection.prepare_cached(sql)?.execute(params![
                scope.0,
                map_run,
                index,
                item.execution_arn,
                item.status.code(),
                text(&item.output),
                item.items,
                text(&item.input),
                millis(&item.start),
                millis(&item.stop),
                item.redrive_count,
            ])
        }
        MapRunItemWrite::Redriven { redrive_count, .. } => {
            let sql = "UPDATE map_run_items SET status = ?4, output = NULL, stop = NULL, redrives = ?5
                       WHERE scope = ?1 AND map_run = ?2 AND item = ?3";
            let values = params![scope.0, map_run, index, ExecutionStatus::Running.code(), redrive_count];
            connection.prepare_cached(sql)?.execute(values)
        }
        MapRunItemWrite::Ended { at, status, output, input, .. } => {
            let sql = "UPDATE map_run_items SET status = ?4, output = ?5, stop = ?6,
                           input = CASE WHEN ?7 THEN input ELSE NULL END
                       WHERE scope = ?1 AND map_run = ?2 AND item = ?3";
            let keep = *input == InputIn::Row;
            let (output, at) = (text(output), at.epoch_millis());
            let values = params![scope.0, map_run, index, status.code(), output, at, keep];
            connection.prepare_cached(sql)?.execute(values)
        }
    }?;
    Ok(())
}

/// The events since the last checkpoint, or what is wrong with them.
pub(super) fn events(
    connection: &Connection,
    scope: ScopeId,
    map_run: i64,
    arn: &str,
) -> rusqlite::Result<Result<Vec<MapRunEvent>, StoreError>> {
    let sql = "SELECT seq, turn FROM map_run_journal WHERE scope = ?1 AND map_run = ?2 ORDER BY seq";
    let mut statement = connection.prepare_cached(sql)?;
    let mut turns = statement.query(params![scope.0, map_run])?;
    let mut events: Vec<MapRunEvent> = Vec::new();
    let corrupt = |seq, reason: String| StoreError::Corrupt { arn: arn.into(), seq, reason };
    while let Some(row) = turns.next()? {
        let seq = row.get(0)?;
        let blob = row.get_ref(1)?.as_bytes().unwrap_or_default();
        match map_run_turn::decode(scope, arn, blob) {
            Ok(turn) if turn[0].seq == seq => events.extend(turn),
            Ok(turn) => return Ok(Err(corrupt(seq, format!("turn at {} found here", turn[0].seq)))),
            Err(error) => return Ok(Err(corrupt(seq, error.to_string()))),
        }
    }
    Ok(match map_run_turn::gap(&events) {
        None => Ok(events),
        Some(seq) => Err(corrupt(seq, "the event is missing".to_owned())),
    })
}

/// A page of children.
pub(super) fn items(
    connection: &Connection,
    scope: ScopeId,
    map_run: i64,
    query: &MapRunItemsQuery,
) -> rusqlite::Result<Vec<MapRunItem>> {
    let which = match query.which {
        WhichItems::All => "",
        WhichItems::Unsuccessful => "AND status NOT IN (1, 2)",
    };
    let sql = format!(
        "SELECT item, execution_arn, status, output, items, input, start, stop, redrives FROM map_run_items
         WHERE scope = ?1 AND map_run = ?2 AND item >= ?3 {which} ORDER BY item LIMIT ?4"
    );
    let from = query.from.min(i64::MAX as u64);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![scope.0, map_run, from, query.limit.min(LIMIT_MAX)])?;
    let (mut items, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let item = read(row, &query.map_run_arn)?;
        bytes += [&item.output, &item.input].into_iter().flatten().map(Payload::len).sum::<usize>();
        items.push(item);
        if bytes >= PAGE_BYTES_MAX {
            break;
        }
    }
    Ok(items)
}

fn read(row: &Row<'_>, map_run_arn: &Arc<str>) -> rusqlite::Result<MapRunItem> {
    let payload = |column: usize| {
        let text: Option<String> = row.get(column)?;
        let parse = |text: String| {
            Payload::parse(text).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.to_string().into())
            })
        };
        text.map(parse).transpose()
    };
    let timestamp = |column: usize| {
        Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_epoch_millis))
    };
    Ok(MapRunItem {
        map_run_arn: Arc::clone(map_run_arn),
        index: row.get(0)?,
        execution_arn: row.get::<_, String>(1)?.into(),
        status: rows::status(row.get(2)?, 2)?,
        output: payload(3)?,
        items: row.get(4)?,
        input: payload(5)?,
        start: timestamp(6)?,
        stop: timestamp(7)?,
        redrive_count: row.get(8)?,
    })
}
