//! Reading: a few connections, each used by one call at a time, each call one read transaction.
//!
//! Invariant: nothing here writes or checkpoints (the connections are opened read-only). A call answers one page, so
//! no read transaction lasts long enough to keep the log from being emptied.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use engine::map_run::MapRunEvent;
use engine::{DefinitionHash, Event, Timestamp};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params, params_from_iter, types::Value};

use super::failure::{self, Doing};
use super::{SqliteOptions, connect, interned, map_runs, rows, schema};
use crate::port::LIMIT_MAX;
use crate::turn::{self, TurnError};
use crate::{
    Difference, Direction, ExecutionCursor, ExecutionKey, ExecutionRow, ExecutionsQuery, HistoryQuery,
    JournalTurn, Keys, ListBy, MapRunItem, MapRunItemsQuery, OpenExecution, Page, Quarantined, Reader,
    RegistryKey, RegistryKind, RegistryQuery, RegistryRecord, Scope, ScopeId, StoreError, verify,
};

/// Connections kept for the next call.
const IDLE_MAX: usize = 8;

pub(super) struct SqliteReader {
    path: PathBuf,
    options: SqliteOptions,
    keys: Keys,
    idle: Mutex<Vec<Connection>>,
}

impl SqliteReader {
    pub(super) fn new(path: PathBuf, options: SqliteOptions, keys: Keys) -> SqliteReader {
        SqliteReader { path, options, keys, idle: Mutex::default() }
    }

    /// How the store was opened.
    pub(super) fn options(&self) -> &SqliteOptions {
        &self.options
    }

    /// Runs a call in a read transaction.
    fn with<T>(&self, call: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop();
        let connection = idle.map_or_else(|| self.open_connection(), Ok)?;
        let transaction = connection.unchecked_transaction().map_err(|error| self.fail(error))?;
        let answer = call(&transaction)?;
        transaction.finish().map_err(|error| self.fail(error))?;
        let mut idle = self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        Ok(answer)
    }

    fn open_connection(&self) -> Result<Connection, StoreError> {
        let connection = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY, &self.options)?;
        schema::prepare_reader(&connection, &self.path, &self.options)?;
        Ok(connection)
    }

    fn fail(&self, error: rusqlite::Error) -> StoreError {
        failure::classify(error, &self.path, Doing::Work)
    }

    /// All rows of a statement.
    fn query<T>(
        &self,
        connection: &Connection,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let all =
            || connection.prepare_cached(sql)?.query_map(values, read)?.collect::<rusqlite::Result<Vec<T>>>();
        all().map_err(|error| self.fail(error))
    }

    /// Runs `each` over the turns of a statement that selects (seq, turn), until it says that it has enough.
    fn each_turn(
        &self,
        connection: &Connection,
        key: ExecutionKey,
        sql: &str,
        from: i64,
        each: &mut dyn FnMut(Vec<Event>) -> Enough,
    ) -> Result<(), StoreError> {
        let mut statement = connection.prepare_cached(sql).map_err(|error| self.fail(error))?;
        let values = params![key.scope.0, key.number, from];
        let mut turns = statement.query(values).map_err(|error| self.fail(error))?;
        while let Some(row) = turns.next().map_err(|error| self.fail(error))? {
            let seq = row.get(0).map_err(|error| self.fail(error))?;
            let blob = bytes_of(row, 1).map_err(|error| self.fail(error))?;
            match each(self.decode(connection, key, seq, blob)?) {
                Enough::No => {}
                Enough::Yes => break,
            }
        }
        Ok(())
    }

    fn decode(
        &self,
        connection: &Connection,
        key: ExecutionKey,
        seq: u64,
        blob: &[u8],
    ) -> Result<Vec<Event>, StoreError> {
        let corrupt = |reason: String| {
            let row = rows::by_key(connection, key).ok().flatten();
            StoreError::Corrupt {
                arn: row.map_or_else(|| key.to_string().into(), |row| row.arn),
                seq,
                reason,
            }
        };
        match turn::decode(blob, &mut |key, number| self.payload(connection, key, number)) {
            Ok(turn) if turn.execution == key && turn.events[0].seq == seq => Ok(turn.events),
            Ok(turn) => {
                Err(corrupt(format!("turn of {} at {} found here", turn.execution, turn.events[0].seq)))
            }
            Err(TurnError::Store(error)) => Err(error),
            Err(error) => Err(corrupt(error.to_string())),
        }
    }

    fn payload(
        &self,
        connection: &Connection,
        key: ExecutionKey,
        number: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT bytes FROM payloads WHERE scope = ?1 AND execution = ?2 AND n = ?3";
        let read = || {
            let values = params![key.scope.0, key.number, number];
            connection.prepare_cached(sql)?.query_row(values, |row| Ok(bytes_of(row, 0)?.to_vec())).optional()
        };
        read().map_err(|error| self.fail(error))
    }

    pub(super) fn verify(&self) -> Result<Vec<Difference>, StoreError> {
        self.with(|connection| {
            let mut differences = Vec::new();
            let sql = "SELECT scope, number FROM executions
                       UNION SELECT DISTINCT scope, execution FROM journal
                       UNION SELECT scope, execution FROM open";
            let keys = self.query(connection, sql, [], |row| key(row, 0))?;
            for execution in keys {
                let sql = "SELECT seq, turn FROM journal WHERE scope = ?1 AND execution = ?2 ORDER BY seq";
                let values = params![execution.scope.0, execution.number];
                let turns =
                    self.query(connection, sql, values, |row| Ok((row.get(0)?, bytes_of(row, 1)?.to_vec())))?;
                let row = rows::by_key(connection, execution).map_err(|error| self.fail(error))?;
                let sql = "SELECT 1 FROM open WHERE scope = ?1 AND execution = ?2";
                let open = !self.query(connection, sql, values, |_| Ok(()))?.is_empty();
                let stored = verify::Stored { execution, turns, row, open };
                let found =
                    verify::compare(&stored, &mut |key, number| self.payload(connection, key, number))?;
                differences.extend(found);
                if differences.len() >= verify::DIFFERENCES_MAX {
                    break;
                }
            }
            differences.extend(self.verify_map_runs(connection)?);
            differences.truncate(verify::DIFFERENCES_MAX);
            Ok(differences)
        })
    }

    fn verify_map_runs(&self, connection: &Connection) -> Result<Vec<Difference>, StoreError> {
        let sql = "SELECT DISTINCT scope, map_run, arn FROM map_run_journal JOIN arns ON arns.id = map_run";
        let read = |row: &Row<'_>| Ok((ScopeId(row.get(0)?), row.get(1)?, row.get::<_, String>(2)?));
        let mut differences = Vec::new();
        for (scope, map_run, arn) in self.query(connection, sql, [], read)? {
            let events =
                map_runs::events(connection, scope, map_run, &arn).map_err(|error| self.fail(error))?;
            let sql = "SELECT status, count(*), sum(items) FROM map_run_items
                       WHERE scope = ?1 AND map_run = ?2 GROUP BY status";
            let read = |row: &Row<'_>| Ok((rows::status(row.get(0)?, 0)?, row.get(1)?, row.get(2)?));
            let counted = self.query(connection, sql, params![scope.0, map_run], read)?;
            differences.extend(verify::compare_map_run(scope, &arn, &events, &counted));
        }
        Ok(differences)
    }
}

enum Enough {
    No,
    Yes,
}

impl Reader for SqliteReader {
    fn execution(&self, arn: &str) -> Result<Option<ExecutionRow>, StoreError> {
        self.with(|connection| rows::by_arn(connection, arn).map_err(|error| self.fail(error)))
    }

    fn execution_by_key(&self, key: ExecutionKey) -> Result<Option<ExecutionRow>, StoreError> {
        self.with(|connection| rows::by_key(connection, key).map_err(|error| self.fail(error)))
    }

    fn events(&self, key: ExecutionKey) -> Result<Vec<Event>, StoreError> {
        let sql =
            "SELECT seq, turn FROM journal WHERE scope = ?1 AND execution = ?2 AND seq >= ?3 ORDER BY seq";
        let mut events = Vec::new();
        self.with(|connection| {
            self.each_turn(connection, key, sql, 0, &mut |turn| {
                events.extend(turn);
                Enough::No
            })
        })?;
        check_sequence(&events, || self.arn_of(key))?;
        Ok(events)
    }

    fn history(&self, query: &HistoryQuery) -> Result<Page<Event, u64>, StoreError> {
        let limit = query.limit.min(LIMIT_MAX) as usize;
        let forward = query.direction == Direction::Forward;
        let sql = if forward {
            "SELECT seq, turn FROM journal WHERE scope = ?1 AND execution = ?2 AND seq >= coalesce(
               (SELECT max(seq) FROM journal WHERE scope = ?1 AND execution = ?2 AND seq <= ?3), 0) ORDER BY seq"
        } else {
            "SELECT seq, turn FROM journal WHERE scope = ?1 AND execution = ?2 AND seq <= ?3 ORDER BY seq DESC"
        };
        let from = query.from.unwrap_or(if forward { 0 } else { i64::MAX as u64 }).min(i64::MAX as u64);
        let mut items = Vec::new();
        self.with(|connection| {
            self.each_turn(connection, query.execution, sql, from as i64, &mut |mut turn| {
                turn.retain(|event| event.history_id.is_some());
                if forward {
                    items.extend(turn.into_iter().filter(|event| event.seq >= from));
                } else {
                    items.extend(turn.into_iter().rev().filter(|event| event.seq <= from));
                }
                if items.len() > limit { Enough::Yes } else { Enough::No }
            })
        })?;
        let next = items.get(limit).map(|event: &Event| event.seq);
        items.truncate(limit);
        Ok(Page { items, next })
    }

    fn executions(&self, query: &ExecutionsQuery) -> Result<Page<ExecutionRow, ExecutionCursor>, StoreError> {
        let limit = query.limit.min(LIMIT_MAX) as usize;
        self.with(|connection| {
            let list = interned::find(connection, query.by.arn()).map_err(|error| self.fail(error))?;
            let Some(list) = list else { return Ok(Page { items: Vec::new(), next: None }) };
            let (sql, values) = list_statement(query, list, limit);
            let mut items = self.query(connection, &sql, params_from_iter(values), rows::read)?;
            let more = items.len() > limit;
            items.truncate(limit);
            let last = items.last().filter(|_| more);
            let next = last.map(|row| ExecutionCursor { start: row.start, number: row.key.number });
            Ok(Page { items, next })
        })
    }

    fn open(
        &self,
        after: Option<ExecutionKey>,
        due_until: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<OpenExecution>, StoreError> {
        let after = after.unwrap_or(ExecutionKey { scope: ScopeId(0), number: 0 });
        let sql = "SELECT scope, execution, due, owes FROM open
                   WHERE (scope, execution) > (?1, ?2) AND (owes OR ?3 IS NULL OR due <= ?3)
                   ORDER BY scope, execution LIMIT ?4";
        let due_until = due_until.map(Timestamp::epoch_millis);
        let values = params![after.scope.0, after.number, due_until, limit.min(LIMIT_MAX)];
        let read = |row: &Row<'_>| {
            let due: Option<i64> = row.get(2)?;
            let due = due.map(Timestamp::from_epoch_millis);
            Ok(OpenExecution { execution: key(row, 0)?, due, owes_tasks: row.get(3)? })
        };
        // With a time, everything open is due that owes tasks or is due by then; without, all is wanted.
        self.with(|connection| self.query(connection, sql, values, read))
    }

    fn definition(&self, scope: &Scope, hash: DefinitionHash) -> Result<Option<Arc<str>>, StoreError> {
        let Some(scope) = self.keys.find(scope) else { return Ok(None) };
        let sql = "SELECT text FROM definitions WHERE scope = ?1 AND hash = ?2";
        let text = |row: &Row<'_>| Ok(row.get::<_, String>(0)?.into());
        self.with(|connection| Ok(self.query(connection, sql, params![scope.0, hash.0], text)?.pop()))
    }

    fn registry(&self, key: &RegistryKey) -> Result<Option<RegistryRecord>, StoreError> {
        let Some(scope) = self.keys.find(&key.scope) else { return Ok(None) };
        let sql = "SELECT version, record FROM registry WHERE scope = ?1 AND kind = ?2 AND key = ?3";
        let values = params![scope.0, key.kind.code(), key.name];
        let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?));
        let found = self.with(|connection| Ok(self.query(connection, sql, values, read)?.pop()))?;
        found.map(|(version, json)| RegistryRecord::from_json(key, version, &json)).transpose()
    }

    fn registry_count(&self, scope: &Scope, kind: RegistryKind) -> Result<u64, StoreError> {
        let Some(scope) = self.keys.find(scope) else { return Ok(0) };
        let sql = "SELECT count(*) FROM registry WHERE scope = ?1 AND kind = ?2";
        let values = params![scope.0, kind.code()];
        let count = |row: &Row<'_>| row.get::<_, u64>(0);
        self.with(|connection| Ok(self.query(connection, sql, values, count)?.pop().unwrap_or(0)))
    }

    fn registry_page(&self, query: &RegistryQuery) -> Result<Page<RegistryRecord, Arc<str>>, StoreError> {
        let Some(scope) = self.keys.find(&query.scope) else {
            return Ok(Page { items: Vec::new(), next: None });
        };
        let limit = query.limit.min(LIMIT_MAX) as usize;
        // Names are text compared by bytes, so all that begin with the prefix lie between it and it with its end raised.
        let (range, order) = match query.direction {
            Direction::Forward => ("(?5 IS NULL OR key > ?5)", "ASC"),
            Direction::Backward => ("(?5 IS NULL OR key < ?5)", "DESC"),
        };
        let sql = format!(
            "SELECT key, version, record FROM registry WHERE scope = ?1 AND kind = ?2
             AND key >= ?3 AND substr(key, 1, length(?3)) = ?3 AND {range} ORDER BY key {order} LIMIT ?4"
        );
        let values = params![scope.0, query.kind.code(), query.prefix, limit + 1, query.after];
        let read =
            |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?));
        let mut found = self.with(|connection| self.query(connection, &sql, values, read))?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(name, _, _)| Arc::from(name.as_str()));
        let decode = |(name, version, json): (String, i64, String)| {
            let key = RegistryKey { scope: query.scope.clone(), kind: query.kind, name: name.into() };
            RegistryRecord::from_json(&key, version, &json)
        };
        Ok(Page { items: found.into_iter().map(decode).collect::<Result<_, _>>()?, next })
    }

    fn journal(&self, after: u64, limit: u32) -> Result<Vec<JournalTurn>, StoreError> {
        let sql = "SELECT position, scope, execution, seq, turn FROM journal WHERE position > ?1
                   ORDER BY position LIMIT ?2";
        let after = after.min(i64::MAX as u64);
        let read = |row: &Row<'_>| Ok((row.get(0)?, key(row, 1)?, row.get(3)?, bytes_of(row, 4)?.to_vec()));
        self.with(|connection| {
            let turns = self.query(connection, sql, params![after, limit.min(LIMIT_MAX)], read)?;
            let decode = |(position, execution, seq, blob): (u64, ExecutionKey, u64, Vec<u8>)| {
                let events = self.decode(connection, execution, seq, &blob)?;
                Ok(JournalTurn { position, execution, events })
            };
            turns.into_iter().map(decode).collect()
        })
    }

    fn cursor(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT position FROM cursors WHERE name = ?1";
        self.with(|connection| Ok(self.query(connection, sql, [name], |row| row.get(0))?.pop()))
    }

    fn map_run_events(&self, map_run_arn: &str) -> Result<Vec<MapRunEvent>, StoreError> {
        self.map_run(map_run_arn, Vec::new(), |connection, scope, map_run| {
            map_runs::events(connection, scope, map_run, map_run_arn).map_err(|error| self.fail(error))?
        })
    }

    fn map_run_items(&self, query: &MapRunItemsQuery) -> Result<Vec<MapRunItem>, StoreError> {
        self.map_run(&query.map_run_arn, Vec::new(), |connection, scope, map_run| {
            map_runs::items(connection, scope, map_run, query).map_err(|error| self.fail(error))
        })
    }

    fn quarantined(&self, after: Option<ExecutionKey>, limit: u32) -> Result<Vec<Quarantined>, StoreError> {
        let after = after.unwrap_or(ExecutionKey { scope: ScopeId(0), number: 0 });
        let sql = "SELECT scope, execution, seq, version, reason FROM quarantine
                   WHERE (scope, execution) > (?1, ?2) ORDER BY scope, execution LIMIT ?3";
        let read = |row: &Row<'_>| {
            Ok(Quarantined {
                execution: key(row, 0)?,
                seq: row.get(2)?,
                version: row.get::<_, String>(3)?.into(),
                reason: row.get::<_, String>(4)?.into(),
            })
        };
        let values = params![after.scope.0, after.number, limit.min(LIMIT_MAX)];
        self.with(|connection| self.query(connection, sql, values, read))
    }
}

impl SqliteReader {
    /// Looks into the tables of a Map Run, if there may be anything of it.
    fn map_run<T>(
        &self,
        map_run_arn: &str,
        nothing: T,
        look: impl FnOnce(&Connection, ScopeId, i64) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let scope = Scope::of_arn(map_run_arn).and_then(|scope| self.keys.find(&scope));
        let Some(scope) = scope else { return Ok(nothing) };
        self.with(|connection| {
            let map_run = interned::find(connection, map_run_arn).map_err(|error| self.fail(error))?;
            map_run.map_or(Ok(nothing), |map_run| look(connection, scope, map_run))
        })
    }

    fn arn_of(&self, key: ExecutionKey) -> Arc<str> {
        let row = self.execution_by_key(key).ok().flatten();
        row.map_or_else(|| key.to_string().into(), |row| row.arn)
    }
}

/// Turns follow each other without a gap, from 1.
fn check_sequence(events: &[Event], arn: impl FnOnce() -> Arc<str>) -> Result<(), StoreError> {
    match events.iter().zip(1..).find(|(event, seq)| event.seq != *seq) {
        None => Ok(()),
        Some((event, seq)) => {
            let reason = format!("followed by {}", event.seq);
            Err(StoreError::Corrupt { arn: arn(), seq: seq - 1, reason })
        }
    }
}

/// The statement of a list: over (list, start), or (list, status, start) when a status is asked for.
fn list_statement(query: &ExecutionsQuery, list: i64, limit: usize) -> (String, Vec<Value>) {
    let mut sql = format!("{} WHERE e.list = ?", rows::SELECT);
    let mut values: Vec<Value> = vec![list.into()];
    sql.push_str(match query.by {
        ListBy::StateMachine(_) => " AND e.map_run_index IS NULL",
        ListBy::MapRun(_) => " AND e.map_run_index IS NOT NULL",
    });
    if let Some(status) = query.status {
        sql.push_str(" AND e.status = ?");
        values.push(i64::from(status.code()).into());
    }
    match query.redriven {
        None => {}
        Some(true) => sql.push_str(" AND e.redrives > 0"),
        Some(false) => sql.push_str(" AND e.redrives = 0"),
    }
    if let Some(after) = query.after {
        sql.push_str(" AND (e.start, e.number) < (?, ?)");
        values.push(after.start.epoch_millis().into());
        values.push((after.number.min(i64::MAX as u64) as i64).into());
    }
    sql.push_str(" ORDER BY e.start DESC, e.number DESC LIMIT ?");
    values.push((limit as i64 + 1).into());
    (sql, values)
}

/// Bytes whatever SQLite thinks they are; a number has none, which the decoder refuses.
fn bytes_of<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(column)?.as_bytes().unwrap_or_default())
}

fn key(row: &Row<'_>, column: usize) -> rusqlite::Result<ExecutionKey> {
    Ok(ExecutionKey { scope: ScopeId(row.get(column)?), number: row.get(column + 1)? })
}
