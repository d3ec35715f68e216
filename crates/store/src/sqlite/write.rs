//! One batch, one transaction.
//!
//! Invariant: `Ok` only after COMMIT returned; on any other way out the transaction is rolled back and everything that
//! the writer remembered about it is forgotten.

use std::collections::HashSet;
use std::sync::Arc;

use engine::{Event, Start, Timestamp};
use rusqlite::{Connection, params};

use super::SqliteStore;
use super::failure::{self, Doing};
use super::{map_runs, rows};
use crate::memory::check_start;
use crate::registry::RECORD_VERSION;
use crate::{
    Batch, Committed, Conflict, ExecutionKey, ExecutionRow, QuarantineWrite, RegistryWrite, Standing,
    StoreError, TurnRecord, row,
};
use crate::{map_run_turn, turn};

impl SqliteStore {
    pub(super) fn write(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        self.writer
            .prepare_cached("BEGIN IMMEDIATE")
            .and_then(|mut begin| begin.execute([]))
            .map_err(|e| self.fail(e))?;
        let position = self.position;
        let written = self.write_all(batch).and_then(|conflicts| {
            let committed = self.writer.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
            committed.map_err(|error| failure::classify(error, &self.path, Doing::Commit))?;
            Ok(conflicts)
        });
        match written {
            Ok((conflicts, scopes_known)) => {
                self.scopes_known = scopes_known;
                Ok(Committed { position: self.position, conflicts })
            }
            Err(error) => {
                if !self.writer.is_autocommit() {
                    // If even this fails the transaction ends with the connection.
                    let _ = self.writer.execute_batch("ROLLBACK");
                }
                self.position = position;
                self.arns.clear();
                Err(error)
            }
        }
    }

    fn write_all(&mut self, batch: &Batch) -> Result<(Vec<Conflict>, usize), StoreError> {
        let conflicts = self.write_turns(&batch.turns)?;
        self.write_parked(batch)?;
        self.write_registry(batch)?;
        self.write_items(batch)?;
        self.write_map_runs(batch)?;
        self.write_cursors(batch)?;
        // Last, when all scopes of the batch are interned.
        let scopes_known = self.write_scopes()?;
        Ok((conflicts, scopes_known))
    }

    fn write_turns(&mut self, turns: &[TurnRecord]) -> Result<Vec<Conflict>, StoreError> {
        let mut conflicts = Vec::new();
        let mut refused = HashSet::new();
        for turn in turns {
            if refused.contains(&turn.execution) {
                continue;
            }
            let encoded = turn::encode(turn.execution, &turn.events)?;
            let change = row::change_of(&turn.events);
            let start = row::start_of(&turn.events);
            if let Some((start, at)) = start {
                if let Some(conflict) = self.write_start(turn, start, at)? {
                    refused.insert(turn.execution);
                    conflicts.push(conflict);
                    continue;
                }
            } else if let Some(change) = change {
                rows::update(&self.writer, turn.execution, &change).map_err(|e| self.fail(e))?;
            }
            self.write_journal(turn.execution, &turn.events, &encoded).map_err(|e| self.fail(e))?;
            let reopened = change.is_some_and(|change| change.redriven.is_some());
            self.write_standing(turn, start.is_some(), reopened).map_err(|e| self.fail(e))?;
        }
        Ok(conflicts)
    }

    fn write_start(
        &mut self,
        turn: &TurnRecord,
        start: &Start,
        at: Timestamp,
    ) -> Result<Option<Conflict>, StoreError> {
        let (space, name) = check_start(turn.execution, &start.execution_arn, &self.keys)?;
        let mut row = ExecutionRow::started(turn.execution, at, start);
        if let Some(change) = row::change_of(&turn.events) {
            row.apply(&change);
        }
        let inserted = rows::insert(&self.writer, &mut self.arns, &row, space, name);
        if inserted.map_err(|e| self.fail(e))? {
            return Ok(None);
        }
        let existing = rows::by_arn(&self.writer, &start.execution_arn).map_err(|e| self.fail(e))?;
        let existing = existing.ok_or_else(|| StoreError::CorruptRecord {
            what: "executions_name".into(),
            reason: format!("{} is taken, but nobody has it", start.execution_arn),
        })?;
        Ok(Some(Conflict { execution: turn.execution, existing: Arc::new(existing) }))
    }

    fn write_journal(
        &mut self,
        key: ExecutionKey,
        events: &[Event],
        encoded: &turn::EncodedTurn,
    ) -> rusqlite::Result<()> {
        self.position += 1;
        let sql = "INSERT INTO journal(position, scope, execution, seq, turn) VALUES(?1, ?2, ?3, ?4, ?5)";
        let mut statement = self.writer.prepare_cached(sql)?;
        statement.execute(params![self.position, key.scope.0, key.number, events[0].seq, encoded.blob])?;
        for (number, payload) in &encoded.rows {
            let sql = "INSERT INTO payloads(scope, execution, n, bytes) VALUES(?1, ?2, ?3, ?4)";
            let mut statement = self.writer.prepare_cached(sql)?;
            statement.execute(params![key.scope.0, key.number, number, payload.text().as_bytes()])?;
        }
        Ok(())
    }

    /// The row in `open`: written when an execution begins or begins again, removed when it owes nothing any more.
    fn write_standing(&self, turn: &TurnRecord, started: bool, reopened: bool) -> rusqlite::Result<()> {
        let key = turn.execution;
        let sql = match turn.standing {
            Standing::Open if started || reopened => {
                "INSERT INTO open(scope, execution, due, owes) VALUES(?1, ?2, NULL, 1) ON CONFLICT DO NOTHING"
            }
            Standing::Settled if !started => "DELETE FROM open WHERE scope = ?1 AND execution = ?2",
            Standing::Open | Standing::Settled => return Ok(()),
        };
        self.writer.prepare_cached(sql)?.execute(params![key.scope.0, key.number])?;
        Ok(())
    }

    fn write_parked(&self, batch: &Batch) -> Result<(), StoreError> {
        let write = |parked: &crate::Parked| -> rusqlite::Result<()> {
            let sql = "UPDATE open SET due = ?3, owes = ?4 WHERE scope = ?1 AND execution = ?2";
            let due = parked.due.map(Timestamp::epoch_millis);
            let key = parked.execution;
            let mut statement = self.writer.prepare_cached(sql)?;
            statement.execute(params![key.scope.0, key.number, due, parked.owes_tasks])?;
            Ok(())
        };
        batch.parked.iter().try_for_each(write).map_err(|e| self.fail(e))
    }

    fn write_registry(&self, batch: &Batch) -> Result<(), StoreError> {
        for definition in &batch.definitions {
            let scope = self.keys.intern(&definition.scope)?;
            let sql = "INSERT INTO definitions(scope, hash, text) VALUES(?1, ?2, ?3) ON CONFLICT DO NOTHING";
            self.execute(sql, params![scope.0, definition.hash.0, definition.text])?;
        }
        for write in &batch.registry {
            match write {
                RegistryWrite::Put(record) => {
                    let key = record.key()?;
                    let scope = self.keys.intern(&key.scope)?;
                    let sql = "INSERT OR REPLACE INTO registry(scope, kind, key, version, record)
                               VALUES(?1, ?2, ?3, ?4, ?5)";
                    let json = record.to_json()?;
                    self.execute(sql, params![scope.0, key.kind.code(), key.name, RECORD_VERSION, json])?;
                }
                RegistryWrite::Delete(key) => {
                    let scope = self.keys.intern(&key.scope)?;
                    let sql = "DELETE FROM registry WHERE scope = ?1 AND kind = ?2 AND key = ?3";
                    self.execute(sql, params![scope.0, key.kind.code(), key.name])?;
                }
            }
        }
        Ok(())
    }

    fn write_items(&mut self, batch: &Batch) -> Result<(), StoreError> {
        for write in &batch.items {
            let (arn, index) = write.key();
            let scope = self.keys.intern_arn(arn)?;
            let map_run = self.arns.intern(&self.writer, arn).map_err(|e| self.fail(e))?;
            map_runs::write_item(&self.writer, (scope, map_run, index), write).map_err(|e| self.fail(e))?;
        }
        Ok(())
    }

    fn write_map_runs(&mut self, batch: &Batch) -> Result<(), StoreError> {
        for turn in &batch.map_runs {
            let scope = self.keys.intern_arn(&turn.map_run_arn)?;
            let blob = map_run_turn::encode(scope, &turn.map_run_arn, &turn.events)?;
            let map_run = self.arns.intern(&self.writer, &turn.map_run_arn).map_err(|e| self.fail(e))?;
            map_runs::write_turn(&self.writer, scope, map_run, &turn.events, &blob)
                .map_err(|e| self.fail(e))?;
        }
        Ok(())
    }

    fn write_cursors(&self, batch: &Batch) -> Result<(), StoreError> {
        for cursor in &batch.cursors {
            match cursor.position {
                Some(position) => self.execute(
                    "INSERT OR REPLACE INTO cursors(name, position) VALUES(?1, ?2)",
                    params![cursor.name, position],
                )?,
                None => self.execute("DELETE FROM cursors WHERE name = ?1", params![cursor.name])?,
            }
        }
        for write in &batch.quarantine {
            match write {
                QuarantineWrite::Put(entry) => self.execute(
                    "INSERT OR REPLACE INTO quarantine(scope, execution, seq, version, reason)
                     VALUES(?1, ?2, ?3, ?4, ?5)",
                    params![
                        entry.execution.scope.0,
                        entry.execution.number,
                        entry.seq,
                        entry.version,
                        entry.reason
                    ],
                )?,
                QuarantineWrite::Release(key) => self.execute(
                    "DELETE FROM quarantine WHERE scope = ?1 AND execution = ?2",
                    params![key.scope.0, key.number],
                )?,
            }
        }
        Ok(())
    }

    /// Writes scopes that are not on disk yet; the number that are after the commit.
    fn write_scopes(&self) -> Result<usize, StoreError> {
        let new = self.keys.scopes_after(self.scopes_known);
        for (id, scope) in &new {
            let sql = "INSERT INTO scopes(id, account, region) VALUES(?1, ?2, ?3)";
            self.execute(sql, params![id.0, scope.account, scope.region])?;
        }
        Ok(self.scopes_known + new.len())
    }

    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), StoreError> {
        let run = |connection: &Connection| connection.prepare_cached(sql)?.execute(values);
        run(&self.writer).map(drop).map_err(|e| self.fail(e))
    }

    fn fail(&self, error: rusqlite::Error) -> StoreError {
        failure::classify(error, &self.path, Doing::Work)
    }
}
