//! One account's tables in one region: the engine's SQLite file, and what we add to make it durable in groups.
//!
//! Invariant: an operation's effect and the record of its invocation id commit in one transaction (a
//! temporary trigger on each data table writes the record), and nothing is answered before `seal` has synced
//! the write-ahead log. Between seals the connection runs with `synchronous=NORMAL`, which never syncs on
//! commit; a seal is one small transaction under `synchronous=FULL`, whose sync makes every commit before it
//! durable too. So N operations cost one sync, and each still has its own transaction and its own rollback.
//!
//! The answer of an operation is recorded by the seal. After a crash between the two, a duplicate finds its
//! invocation without an answer and gets the empty one: the effect still happened once.

use dynoxide::actions::vector_lifecycle::VectorIndexLifecycle;
use dynoxide::storage::Storage;
use dynoxide::{DynoxideError, Result};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::operations::{self, Kind};

/// How long a duplicate of an invocation is recognised.
const INVOCATION_MEMORY_MS: i64 = 24 * 3600 * 1000;
/// DynamoDB's own window for a `ClientRequestToken`.
const TOKEN_MEMORY_MS: i64 = 600 * 1000;
/// Old records deleted with one seal, at most.
const FORGOTTEN_PER_SEAL: i64 = 100;
/// A seal in this many looks for old records.
const SEALS_PER_SWEEP: u64 = 64;

const SCHEMA: &str = r#"
PRAGMA temp_store = MEMORY;
CREATE TABLE IF NOT EXISTS "passo::invocations" (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, digest BLOB, answer TEXT);
CREATE TABLE IF NOT EXISTS "passo::seal" (id INTEGER PRIMARY KEY CHECK (id = 1), count INTEGER NOT NULL);
INSERT OR IGNORE INTO "passo::seal" VALUES (1, 0);
CREATE TEMP TABLE "passo::current" (id TEXT NOT NULL, at INTEGER NOT NULL, digest BLOB);
PRAGMA synchronous = NORMAL;
"#;

/// A finished operation whose answer the next seal records.
struct Record {
    id: String,
    digest: Vec<u8>,
    answer: String,
}

/// The identity under which a duplicate is recognised.
struct Identity {
    id: String,
    digest: Vec<u8>,
    memory_ms: i64,
    is_token: bool,
}

/// See the module.
pub(super) struct TableFile {
    storage: Storage,
    vectors: VectorIndexLifecycle,
    unsealed: Vec<Record>,
    written: bool,
    seals: u64,
}

impl TableFile {
    /// Opens or creates the file and syncs its directory entry.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let storage = Storage::new(&path.to_string_lossy())?;
        storage.conn().execute_batch(SCHEMA)?;
        let tables: Vec<String> = storage
            .conn()
            .prepare("SELECT table_name FROM _tables")?
            .query_map([], |row| row.get(0))?
            .collect::<std::result::Result<_, _>>()?;
        for table in tables {
            watch(storage.conn(), &table)?;
        }
        if let Some(directory) = path.parent() {
            let synced = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(|error| DynoxideError::InternalServerError(error.to_string()))?;
        }
        let vectors = VectorIndexLifecycle::new();
        Ok(Self { storage, vectors, unsealed: Vec::new(), written: false, seals: 0 })
    }

    /// Runs one operation. Its answer must not leave before the next [`TableFile::seal`].
    pub(super) fn run(
        &mut self,
        operation: &str,
        body: &str,
        invocation: Option<&str>,
        now_ms: i64,
    ) -> Result<String> {
        let kind = operations::kind(operation)
            .ok_or_else(|| DynoxideError::UnsupportedCapability(operation.to_owned()))?;
        if kind == Kind::Read {
            return self.guarded(operation, body);
        }
        let identity = identity(operation, body, invocation);
        if let Some(identity) = &identity
            && let Some(answer) = self.answered(identity, now_ms)?
        {
            return Ok(answer);
        }
        self.written = true;
        let marked = identity.as_ref().filter(|_| kind == Kind::Write);
        if let Some(identity) = marked {
            let sql = r#"INSERT INTO temp."passo::current" VALUES (?1, ?2, ?3)"#;
            let row = params![identity.id, now_ms, identity.digest];
            self.storage.conn().prepare_cached(sql)?.execute(row)?;
        }
        let answer = self.guarded(operation, body);
        if marked.is_some() {
            let sql = r#"DELETE FROM temp."passo::current""#;
            self.storage.conn().prepare_cached(sql)?.execute([])?;
        }
        let answer = answer?;
        if operation == "CreateTable" {
            self.watch_created(body)?;
        }
        if let Some(identity) = identity {
            self.unsealed.push(Record { id: identity.id, digest: identity.digest, answer: answer.clone() });
        }
        Ok(answer)
    }

    /// Makes everything since the last seal durable; one sync, or none when nothing was written.
    pub(super) fn seal(&mut self, now_ms: i64) -> Result<()> {
        if !self.written {
            return Ok(());
        }
        let records = std::mem::take(&mut self.unsealed);
        self.seals += 1;
        let forget = self.seals % SEALS_PER_SWEEP == 1;
        let conn = self.storage.conn();
        conn.execute_batch("PRAGMA synchronous = FULL")?;
        let sealed = write_seal(conn, &records, forget, now_ms);
        if sealed.is_err() && !conn.is_autocommit() {
            conn.execute_batch("ROLLBACK")?;
        }
        conn.execute_batch("PRAGMA synchronous = NORMAL")?;
        sealed?;
        self.written = false;
        Ok(())
    }

    /// Deletes the items whose time to live has passed; durable with the next seal.
    pub(super) fn sweep_expired(&mut self) -> Result<usize> {
        self.written = true;
        operations::sweep_expired(&self.storage)
    }

    /// A panic in the engine answers this request with an internal error and leaves no open transaction.
    fn guarded(&self, operation: &str, body: &str) -> Result<String> {
        let run = || operations::run(&self.storage, &self.vectors, operation, body);
        let outcome = catch_unwind(AssertUnwindSafe(run));
        let conn = self.storage.conn();
        if !conn.is_autocommit() {
            conn.execute_batch("ROLLBACK")?;
        }
        outcome.unwrap_or_else(|_| Err(DynoxideError::InternalServerError("Internal server error".into())))
    }

    fn answered(&self, identity: &Identity, now_ms: i64) -> Result<Option<String>> {
        let recorded = match self.unsealed.iter().find(|record| record.id == identity.id) {
            Some(record) => Some((record.digest.clone(), Some(record.answer.clone()))),
            None => self
                .storage
                .conn()
                .prepare_cached(
                    r#"SELECT digest, answer FROM "passo::invocations" WHERE id = ?1 AND at > ?2"#,
                )?
                .query_row(params![identity.id, now_ms - identity.memory_ms], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?,
        };
        let Some((digest, answer)) = recorded else { return Ok(None) };
        if identity.is_token && digest != identity.digest {
            return Err(DynoxideError::IdempotentParameterMismatchException(
                "An error occurred (IdempotentParameterMismatchException)".into(),
            ));
        }
        Ok(Some(answer.unwrap_or_else(|| "{}".to_owned())))
    }

    fn watch_created(&self, body: &str) -> Result<()> {
        let request: Value = serde_json::from_str(body).unwrap_or_default();
        match request.get("TableName").and_then(Value::as_str) {
            Some(table) => Ok(watch(self.storage.conn(), table)?),
            None => Ok(()),
        }
    }
}

fn identity(operation: &str, body: &str, invocation: Option<&str>) -> Option<Identity> {
    let items = match operation {
        "TransactWriteItems" => "TransactItems",
        "ExecuteTransaction" => "TransactStatements",
        _ => "",
    };
    if !items.is_empty()
        && let Ok(request) = serde_json::from_str::<Value>(body)
        && let Some(token) = request.get("ClientRequestToken").and_then(Value::as_str)
    {
        let digest = Sha256::digest(request.get(items).unwrap_or(&Value::Null).to_string()).to_vec();
        let id = format!("{operation}/{token}");
        return Some(Identity { id, digest, memory_ms: TOKEN_MEMORY_MS, is_token: true });
    }
    let id = format!("invocation/{}", invocation?);
    Some(Identity { id, digest: Vec::new(), memory_ms: INVOCATION_MEMORY_MS, is_token: false })
}

/// Lets every change of a data table record the current invocation in the same transaction.
///
/// The outer `INSERT OR REPLACE` of the engine decides conflicts inside the trigger too, so the second row
/// of a transaction replaces the record of the first, which is the same.
fn watch(conn: &Connection, table: &str) -> rusqlite::Result<()> {
    let name = table.replace('"', "\"\"");
    let record = r#"INSERT OR IGNORE INTO "passo::invocations" (id, at, digest)
                    SELECT id, at, digest FROM "passo::current""#;
    conn.execute_batch(&format!(
        r#"CREATE TEMP TRIGGER IF NOT EXISTS "passo::put::{name}" AFTER INSERT ON main."{name}" BEGIN {record}; END;
           CREATE TEMP TRIGGER IF NOT EXISTS "passo::update::{name}" AFTER UPDATE ON main."{name}" BEGIN {record}; END;
           CREATE TEMP TRIGGER IF NOT EXISTS "passo::delete::{name}" AFTER DELETE ON main."{name}" BEGIN {record}; END;"#
    ))
}

fn write_seal(conn: &Connection, records: &[Record], forget: bool, now_ms: i64) -> Result<()> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    for record in records {
        let sql = r#"INSERT INTO "passo::invocations" (id, at, digest, answer) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (id) DO UPDATE SET at = ?2, digest = ?3, answer = ?4"#;
        let row = params![record.id, now_ms, record.digest, record.answer];
        conn.prepare_cached(sql)?.execute(row)?;
    }
    if forget {
        let sql = r#"DELETE FROM "passo::invocations" WHERE seq IN (SELECT seq FROM
            (SELECT seq, at FROM "passo::invocations" ORDER BY seq LIMIT ?1) WHERE at < ?2)"#;
        conn.execute(
            sql,
            params![FORGOTTEN_PER_SEAL * SEALS_PER_SWEEP as i64, now_ms - INVOCATION_MEMORY_MS],
        )?;
    }
    conn.prepare_cached(r#"UPDATE "passo::seal" SET count = count + 1"#)?.execute([])?;
    conn.execute_batch("COMMIT")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000_000;

    fn file_with_table(directory: &Path) -> TableFile {
        let mut file = TableFile::open(&directory.join("tables.sqlite")).expect("open");
        let table = json!({"TableName": "orders", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]});
        file.run("CreateTable", &table.to_string(), None, NOW).expect("create");
        file.seal(NOW).expect("seal");
        file
    }

    fn add_one() -> String {
        json!({"TableName": "orders", "Key": {"id": {"S": "a"}}, "ReturnValues": "UPDATED_NEW",
               "UpdateExpression": "ADD n :one", "ExpressionAttributeValues": {":one": {"N": "1"}}})
        .to_string()
    }

    fn count(file: &mut TableFile) -> String {
        let request = json!({"TableName": "orders", "Key": {"id": {"S": "a"}}}).to_string();
        let answer = file.run("GetItem", &request, None, NOW).expect("get");
        let answer: Value = serde_json::from_str(&answer).expect("json");
        answer["Item"]["n"]["N"].as_str().unwrap_or("none").to_owned()
    }

    #[test]
    fn a_duplicate_invocation_has_no_second_effect_and_the_first_answer() {
        let directory = tempfile::tempdir().expect("directory");
        let mut file = file_with_table(directory.path());
        let first = file.run("UpdateItem", &add_one(), Some("i-1"), NOW).expect("first");
        assert_eq!(file.run("UpdateItem", &add_one(), Some("i-1"), NOW).expect("unsealed"), first);
        file.seal(NOW).expect("seal");
        drop(file);
        let mut file = TableFile::open(&directory.path().join("tables.sqlite")).expect("reopen");
        assert_eq!(file.run("UpdateItem", &add_one(), Some("i-1"), NOW).expect("reopened"), first);
        assert_eq!(count(&mut file), "1");
        file.run("UpdateItem", &add_one(), Some("i-2"), NOW).expect("another");
        assert_eq!(count(&mut file), "2");
    }

    #[test]
    fn a_crash_before_the_seal_still_remembers_the_invocation() {
        let directory = tempfile::tempdir().expect("directory");
        let mut file = file_with_table(directory.path());
        file.run("UpdateItem", &add_one(), Some("i-1"), NOW).expect("first");
        drop(file);
        let mut file = TableFile::open(&directory.path().join("tables.sqlite")).expect("reopen");
        assert_eq!(file.run("UpdateItem", &add_one(), Some("i-1"), NOW).expect("again"), "{}");
        assert_eq!(count(&mut file), "1");
    }

    #[test]
    fn a_failed_condition_leaves_no_record() {
        let directory = tempfile::tempdir().expect("directory");
        let mut file = file_with_table(directory.path());
        let put = |condition: &str| {
            json!({"TableName": "orders", "Item": {"id": {"S": "a"}, "n": {"N": "7"}},
                   "ConditionExpression": condition})
            .to_string()
        };
        let refused = file.run("PutItem", &put("attribute_exists(id)"), Some("i-1"), NOW).unwrap_err();
        assert_eq!(refused.to_string(), "The conditional request failed");
        file.run("PutItem", &put("attribute_not_exists(id)"), Some("i-1"), NOW).expect("put");
        assert_eq!(count(&mut file), "7");
    }

    #[test]
    fn a_client_request_token_is_bound_to_its_items() {
        let directory = tempfile::tempdir().expect("directory");
        let mut file = file_with_table(directory.path());
        let write = |id: &str| {
            json!({"ClientRequestToken": "t", "TransactItems": [
                {"Put": {"TableName": "orders", "Item": {"id": {"S": id}, "n": {"N": "1"}}}},
                {"Put": {"TableName": "orders", "Item": {"id": {"S": "second"}, "n": {"N": "1"}}}}]})
            .to_string()
        };
        file.run("TransactWriteItems", &write("a"), Some("i-1"), NOW).expect("first");
        file.run("TransactWriteItems", &write("a"), Some("i-2"), NOW).expect("replayed");
        let mismatch = file.run("TransactWriteItems", &write("b"), None, NOW).unwrap_err();
        assert!(mismatch.error_type().ends_with("#IdempotentParameterMismatchException"));
    }
}
