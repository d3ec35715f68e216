//! Short numbers for the ARNs that many rows share.
//!
//! Invariant: a number in the cache is committed, or belongs to the transaction under way; after a rollback the cache
//! is emptied. It is bounded, since map runs make ever new ARNs.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

const ARNS_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct InternedArns {
    ids: HashMap<Box<str>, i64>,
}

impl InternedArns {
    /// The number of an ARN, given now if it has none.
    pub(super) fn intern(&mut self, connection: &Connection, arn: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.ids.get(arn) {
            return Ok(*id);
        }
        let id = match find(connection, arn)? {
            Some(id) => id,
            None => {
                connection.prepare_cached("INSERT INTO arns(arn) VALUES(?1)")?.execute([arn])?;
                connection.last_insert_rowid()
            }
        };
        if self.ids.len() >= ARNS_MAX {
            self.ids.clear();
        }
        self.ids.insert(arn.into(), id);
        Ok(id)
    }

    /// Forgets everything: after a rollback.
    pub(super) fn clear(&mut self) {
        self.ids.clear();
    }
}

/// The number of an ARN, if it has one.
pub(super) fn find(connection: &Connection, arn: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM arns WHERE arn = ?1")?
        .query_row([arn], |row| row.get(0))
        .optional()
}
