//! What is particular to files: whose they are, what is wrong with them, and what an older or newer Passo makes of them.

#![allow(clippy::print_stderr, reason = "one test speaks to another process")]

mod samples;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::Connection;
use samples::{FRANKFURT, Script, payload_of, turns};
use store::{MemoryStore, SqliteOptions, SqliteStore, Standing, Store, StoreError};

fn open(directory: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(directory, &SqliteOptions::default())
}

/// Two executions of three turns each, with payloads in rows; the store is closed again.
fn filled(directory: &Path) -> Vec<Script> {
    let mut store = open(directory).expect("a store");
    let mut scripts = Vec::new();
    for name in ["a", "b"] {
        let mut script = Script::new(&store, samples::start(FRANKFURT, "Order", name), 0);
        store.append(&turns([script.started().turn(Standing::Open)])).expect("a commit");
        store.append(&turns([script.passed(&payload_of(9000, 1)).turn(Standing::Open)])).expect("a commit");
        store.append(&turns([script.failed().turn(Standing::Settled)])).expect("a commit");
        scripts.push(script);
    }
    scripts
}

fn tamper(directory: &Path, sql: &str) {
    let connection = Connection::open(directory.join("passo.db")).expect("a database");
    assert!(connection.execute(sql, []).expect("the statement runs") > 0, "{sql} changes something");
}

#[test]
fn a_directory_is_made_for_its_owner_alone_and_held_by_one_server() {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = parent.path().join("some/where");
    let store = open(&directory).expect("a store");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&directory).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
    let refused = open(&directory).err().expect("it is taken");
    let told = refused.to_string();
    assert!(told.contains(&*directory.to_string_lossy()), "{told}");
    assert!(told.contains(&format!("process {}", std::process::id())), "{told}");
    drop(store);
    open(&directory).expect("it is free again");
}

/// The other process of the next test; by itself it has nothing to do.
#[test]
fn a_directory_is_held_when_asked_for() {
    let Some(directory) = std::env::var_os(HOLD) else { return };
    let _store = open(Path::new(&directory)).expect("a store");
    eprintln!("{HOLD}");
    // Until it is killed, or its parent is gone.
    let _ = std::io::stdin().read_line(&mut String::new());
}

const HOLD: &str = "PASSO_TEST_HOLD";

#[test]
fn a_killed_server_leaves_its_directory_free() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut holder = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "a_directory_is_held_when_asked_for", "--nocapture"])
        .env(HOLD, directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("another process");
    let told = BufReader::new(holder.stderr.take().expect("a pipe"));
    assert!(told.lines().map_while(Result::ok).any(|line| line.contains(HOLD)), "it holds the directory");
    match open(directory.path()) {
        Err(StoreError::Busy { pid, .. }) => assert_eq!(pid, Some(holder.id())),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("two servers share a directory"),
    }
    holder.kill().expect("killed");
    holder.wait().expect("gone");
    open(directory.path()).expect("it is free");
}

#[test]
fn the_file_says_what_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    let connection = Connection::open(directory.path().join("passo.db")).expect("a database");
    for (pragma, value) in
        [("application_id", 0x5061_7373), ("user_version", 2), ("page_size", 8192), ("auto_vacuum", 2)]
    {
        let found: i64 = connection.pragma_query_value(None, pragma, |row| row.get(0)).expect("a value");
        assert_eq!(found, value, "{pragma}");
    }
    let mode: String =
        connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("a value");
    assert_eq!(mode, "wal");
}

#[test]
fn a_newer_file_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    tamper_pragma(directory.path(), "user_version", 3);
    let refused = open(directory.path()).err().expect("it is newer");
    let told = refused.to_string();
    assert!(matches!(refused, StoreError::NewerVersion { found: 3, known: 2, .. }), "{told}");
    assert!(told.contains("passo.db") && told.contains("newer Passo") && told.contains("--data"), "{told}");
}

fn tamper_pragma(directory: &Path, pragma: &str, value: i64) {
    let connection = Connection::open(directory.join("passo.db")).expect("a database");
    connection.pragma_update(None, pragma, value).expect("it is set");
}

#[test]
fn a_file_of_somebody_else_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("passo.db");
    let connection = Connection::open(&path).expect("a database");
    connection.execute_batch("CREATE TABLE theirs(x); INSERT INTO theirs VALUES(1)").expect("a table");
    drop(connection);
    let before = fs::read(&path).expect("it is there");
    let refused = open(directory.path()).err().expect("it is theirs");
    assert!(matches!(refused, StoreError::Foreign { .. }), "{refused}");
    assert_eq!(fs::read(&path).expect("it is there"), before);
    fs::write(&path, "this is no database, whatever its name says, and it is long enough to be sure")
        .expect("written");
    let refused = open(directory.path()).err().expect("it is none");
    assert!(matches!(refused, StoreError::Foreign { .. }), "{refused}");
}

#[test]
fn what_is_in_the_way_is_named() {
    let parent = tempfile::tempdir().expect("a directory");
    let file = parent.path().join("file");
    fs::write(&file, "").expect("written");
    let refused = open(&file).err().expect("a file is no directory").to_string();
    assert!(refused.contains(&*file.to_string_lossy()), "{refused}");
    let directory = parent.path().join("data");
    fs::create_dir_all(directory.join("passo.db")).expect("made");
    let refused = open(&directory).err().expect("a directory is no database").to_string();
    assert!(refused.contains("passo.db"), "{refused}");
}

#[cfg(unix)]
#[test]
fn a_directory_without_write_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o500)).expect("set");
    // The superuser may write anywhere: nothing to see then.
    if fs::write(directory.path().join("probe"), "").is_err() {
        let refused = open(directory.path()).err().expect("not writable");
        assert!(matches!(refused, StoreError::Permission { .. }), "{refused}");
    }
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).expect("set");
}

#[test]
fn a_corrupt_turn_stops_its_execution_only_and_is_named() {
    for sql in [
        "UPDATE journal SET turn = CAST(substr(turn, 1, length(turn) - 1) || x'00' AS BLOB) WHERE execution = 1 AND seq = 4",
        "UPDATE journal SET turn = (SELECT turn FROM journal WHERE execution = 2 AND seq = 4) WHERE execution = 1 AND seq = 4",
        "UPDATE payloads SET bytes = x'7b7d' WHERE execution = 1",
        "DELETE FROM payloads WHERE execution = 1",
        "UPDATE journal SET turn = x'' WHERE execution = 1 AND seq = 4",
        "UPDATE journal SET turn = 'text' WHERE execution = 1 AND seq = 4",
        "UPDATE journal SET turn = 7 WHERE execution = 1 AND seq = 4",
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let scripts = filled(directory.path());
        tamper(directory.path(), sql);
        let store = open(directory.path()).expect("the store opens");
        match store.reader().events(scripts[0].key) {
            Err(StoreError::Corrupt { arn, seq: 4, .. }) => assert_eq!(&*arn, scripts[0].arn()),
            other => panic!("{sql}: {other:?}"),
        }
        assert_eq!(store.reader().events(scripts[1].key).expect("a read"), scripts[1].events);
        let differences = store.verify().expect("verify reads");
        assert_eq!(differences.len(), 1, "{sql}");
        assert_eq!(differences[0].execution, scripts[0].key);
    }
}

#[test]
fn a_missing_turn_is_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    let scripts = filled(directory.path());
    tamper(directory.path(), "DELETE FROM journal WHERE execution = 1 AND seq = 4");
    let store = open(directory.path()).expect("the store opens");
    let corrupt = store.reader().events(scripts[0].key).expect_err("a gap").to_string();
    assert!(corrupt.contains(scripts[0].arn()) && corrupt.contains("event 3"), "{corrupt}");
}

#[test]
fn verify_finds_derived_rows_that_say_something_else() {
    for sql in [
        "UPDATE executions SET status = 2 WHERE number = 1",
        "UPDATE executions SET stop = NULL WHERE number = 1",
        "UPDATE executions SET name = 'c' WHERE number = 1",
        "DELETE FROM executions WHERE number = 1",
        "DELETE FROM journal WHERE execution = 1",
        "DELETE FROM journal WHERE execution = 1 AND seq > 4",
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let scripts = filled(directory.path());
        assert_eq!(open(directory.path()).expect("a store").verify().expect("verify reads"), []);
        tamper(directory.path(), sql);
        let differences = open(directory.path()).expect("a store").verify().expect("verify reads");
        assert!(!differences.is_empty(), "{sql}");
        assert!(differences.iter().all(|difference| difference.execution == scripts[0].key), "{sql}");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = open(directory.path()).expect("a store");
    let mut script = Script::new(&store, samples::start(FRANKFURT, "Order", "a"), 0);
    store.append(&turns([script.started().turn(Standing::Open)])).expect("a commit");
    drop(store);
    tamper(directory.path(), "DELETE FROM open");
    let differences = open(directory.path()).expect("a store").verify().expect("verify reads");
    assert!(differences[0].reason.contains("recovery"), "{differences:?}");
}

#[test]
fn lists_use_their_indexes() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    let connection = Connection::open(directory.path().join("passo.db")).expect("a database");
    let plan = |sql: &str| -> String {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a plan");
        let lines = statement.query_map([], |row| row.get::<_, String>(3)).expect("lines");
        lines.map(|line| line.expect("a line")).collect::<Vec<_>>().join("; ")
    };
    let list = "SELECT * FROM executions e WHERE list = 1";
    let order = "ORDER BY e.start DESC, e.number DESC LIMIT 10";
    for (sql, index) in [
        (format!("{list} {order}"), "executions_start"),
        (format!("{list} AND status = 1 {order}"), "executions_status"),
        ("SELECT * FROM executions WHERE space = 1 AND name = 'a'".into(), "executions_name"),
        (
            "SELECT turn FROM journal WHERE scope = 1 AND execution = 1 ORDER BY seq".into(),
            "journal_execution",
        ),
    ] {
        let plan = plan(&sql);
        assert!(plan.contains(index) && !plan.contains("SCAN"), "{sql}: {plan}");
    }
}

#[test]
fn an_injected_fault_keeps_or_loses_the_whole_batch() {
    use store::Fault;
    for (fault, kept) in [(Fault::Full, false), (Fault::UnknownLost, false), (Fault::UnknownKept, true)] {
        let mut store = MemoryStore::new();
        store.inject(fault);
        let mut script = Script::new(&store, samples::start(FRANKFURT, "Order", "a"), 0);
        let failed = store.append(&turns([script.started().turn(Standing::Open)])).expect_err("a fault");
        assert_eq!(matches!(failed, StoreError::Unknown { .. }), fault != Fault::Full);
        let store = store.reopen();
        assert_eq!(store.reader().execution(script.arn()).expect("a read").is_some(), kept);
        assert_eq!(store.verify().expect("verify reads"), []);
    }
}
