//! The table `executions`: rows in, rows out.
//!
//! Invariant: a row read equals the row written; ARNs are interned on the way in and joined on the way out.

use std::sync::Arc;

use engine::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::interned::{self, InternedArns};
use crate::row::{self, RowChange};
use crate::{ExecutionKey, ExecutionRow, ExecutionStatus, ScopeId};

/// What every SELECT of rows begins with; add WHERE and ORDER BY on `e`.
pub(super) const SELECT: &str =
    "SELECT e.scope, e.number, space.arn, e.name, list.arn, machine.arn, version.arn,
    alias.arn, e.map_run_index, e.status, e.start, e.stop, e.redrives, e.redriven
  FROM executions e
  JOIN arns space ON space.id = e.space
  JOIN arns list ON list.id = e.list
  JOIN arns machine ON machine.id = e.machine
  LEFT JOIN arns version ON version.id = e.version
  LEFT JOIN arns alias ON alias.id = e.alias ";

/// Whether the name was free. A taken key is an error.
pub(super) fn insert(
    connection: &Connection,
    arns: &mut InternedArns,
    row: &ExecutionRow,
    space: &str,
    name: &str,
) -> rusqlite::Result<bool> {
    let space = arns.intern(connection, space)?;
    let list = arns.intern(connection, row.list().arn())?;
    let machine = arns.intern(connection, &row.state_machine_arn)?;
    let mut optional =
        |arn: &Option<Arc<str>>| arn.as_ref().map(|arn| arns.intern(connection, arn)).transpose();
    let (version, alias) = (optional(&row.version_arn)?, optional(&row.alias_arn)?);
    let sql =
        "INSERT INTO executions(scope, number, space, name, list, machine, version, alias, map_run_index,
                   status, start, stop, redrives, redriven)
               VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
               ON CONFLICT(space, name) DO NOTHING";
    let inserted = connection.prepare_cached(sql)?.execute(params![
        row.key.scope.0,
        row.key.number,
        space,
        name,
        list,
        machine,
        version,
        alias,
        row.map_run.as_ref().map(|(_, index)| *index),
        row.status.code(),
        row.start.epoch_millis(),
        row.stop.map(Timestamp::epoch_millis),
        row.redrive_count,
        row.redrive_date.map(Timestamp::epoch_millis),
    ])?;
    Ok(inserted == 1)
}

/// Brings a row up to date.
pub(super) fn update(connection: &Connection, key: ExecutionKey, change: &RowChange) -> rusqlite::Result<()> {
    let sql = "UPDATE executions SET status = ?3, stop = ?4,
                   redrives = coalesce(?5, redrives), redriven = coalesce(?6, redriven)
               WHERE scope = ?1 AND number = ?2";
    connection.prepare_cached(sql)?.execute(params![
        key.scope.0,
        key.number,
        change.status.code(),
        change.stop.map(Timestamp::epoch_millis),
        change.redriven.map(|(count, _)| count),
        change.redriven.map(|(_, at)| at.epoch_millis()),
    ])?;
    Ok(())
}

/// By ARN.
pub(super) fn by_arn(connection: &Connection, arn: &str) -> rusqlite::Result<Option<ExecutionRow>> {
    let Some((space, name)) = row::split_arn(arn) else { return Ok(None) };
    let Some(space) = interned::find(connection, space)? else { return Ok(None) };
    let sql = format!("{SELECT} WHERE e.space = ?1 AND e.name = ?2");
    connection.prepare_cached(&sql)?.query_row(params![space, name], read).optional()
}

/// By key.
pub(super) fn by_key(connection: &Connection, key: ExecutionKey) -> rusqlite::Result<Option<ExecutionRow>> {
    let sql = format!("{SELECT} WHERE e.scope = ?1 AND e.number = ?2");
    connection.prepare_cached(&sql)?.query_row(params![key.scope.0, key.number], read).optional()
}

/// A row of [`SELECT`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<ExecutionRow> {
    let (space, rest): (String, String) = (row.get(2)?, row.get(3)?);
    let list: String = row.get(4)?;
    let optional =
        |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(column)?.map(Arc::<str>::from));
    let index: Option<u64> = row.get(8)?;
    let timestamp = |column| {
        Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_epoch_millis))
    };
    // The name of an Express execution is followed by a UUID in its ARN.
    let name = rest.split(':').next().unwrap_or(&rest);
    Ok(ExecutionRow {
        key: ExecutionKey { scope: ScopeId(row.get(0)?), number: row.get(1)? },
        arn: format!("{space}:{rest}").into(),
        name: name.into(),
        state_machine_arn: row.get::<_, String>(5)?.into(),
        version_arn: optional(6)?,
        alias_arn: optional(7)?,
        map_run: index.map(|index| (list.into(), index)),
        status: status(row.get(9)?, 9)?,
        start: Timestamp::from_epoch_millis(row.get(10)?),
        stop: timestamp(11)?,
        redrive_count: row.get(12)?,
        redrive_date: timestamp(13)?,
    })
}

pub(super) fn status(code: u8, column: usize) -> rusqlite::Result<ExecutionStatus> {
    ExecutionStatus::from_code(code).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            Type::Integer,
            format!("unknown status {code}").into(),
        )
    })
}
