//! Journals of released formats decode and replay for ever.
//!
//! `format-N.sql` is a whole store as SQL, never written again once its format is released: a change of it is a broken
//! promise. `format-N.txt` is what we read in it; `UPDATE_EXPECT=1` rewrites that, never the store. A store for a new
//! format is made with `GOLDEN=N`, see `world`.

mod world;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use engine::map_run::MapRun;
use engine::{EventKind, Execution};
use rusqlite::Connection;
use store::{
    Direction, HistoryQuery, MapRunItemsQuery, Reader, SqliteOptions, SqliteStore, Store, WhichItems,
};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The store of a format, as a database file in a directory of its own.
fn restored(format: u32) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let sql = std::fs::read_to_string(golden(&format!("format-{format}.sql"))).expect("the golden store");
    let connection = Connection::open(directory.path().join("passo.db")).expect("a database");
    connection.execute_batch(&sql).expect("the golden store is SQL");
    directory
}

/// What we read in a store.
fn read(store: &dyn Store) -> String {
    let mut text = String::new();
    let reader = store.reader();
    let mut journal = reader.journal(0, 10_000).expect("a page");
    journal.sort_by_key(|turn| turn.execution);
    journal.dedup_by_key(|turn| turn.execution);
    for key in journal.iter().map(|turn| turn.execution) {
        let row = reader.execution_by_key(key).expect("a read").expect("a row");
        let events = reader.events(key).expect("events");
        let replayed = Execution::replay(&events);
        let (status, finished) = (row.status.as_str(), replayed.finished());
        let _ = writeln!(text, "{key} {} {status} {:?} {finished:?}", row.arn, replayed.status());
        let _ = writeln!(text, "  owes {:?}", replayed.outstanding());
        for event in &events {
            let (seq, frame, at) = (event.seq, event.frame.0, event.at);
            let id = event.history_id.map_or_else(|| "-".into(), |id| id.to_string());
            let _ = writeln!(
                text,
                "  {seq} {id}<{} frame {frame} {at} {}: {:?}",
                event.prev,
                event.kind.tag(),
                event.kind
            );
        }
    }
    read_map_runs(&*reader, &mut text);
    text.replace(&world::FILLER.repeat(2100), "…")
}

fn read_map_runs(reader: &dyn Reader, text: &mut String) {
    for arn in world::MAP_RUNS {
        let events = reader.map_run_events(arn).expect("events");
        for event in &events {
            let _ = writeln!(text, "{arn} {} {}: {:?}", event.seq, event.at, event.kind);
        }
        if !events.is_empty() {
            let _ = writeln!(text, "  owes {:?}", MapRun::replay(&events).outstanding());
        }
        let query = MapRunItemsQuery { map_run_arn: arn.into(), from: 0, which: WhichItems::All, limit: 10 };
        for item in reader.map_run_items(&query).expect("items") {
            let _ = writeln!(text, "  {item:?}");
        }
    }
}

/// What was written in a format, and every later reading of it.
fn check(format: u32) {
    let directory = restored(format);
    let store = SqliteStore::open(directory.path(), &SqliteOptions::default()).expect("the store opens");
    assert_eq!(store.verify().expect("verify reads"), []);
    let read = read(&store);
    let expected = golden(&format!("format-{format}.txt"));
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&expected, &read).expect("written");
    }
    let expected = std::fs::read_to_string(expected).expect("what we expect");
    for (line, (read, expected)) in read.lines().zip(expected.lines()).enumerate() {
        assert_eq!(read, expected, "line {}", line + 1);
    }
    assert_eq!(read.lines().count(), expected.lines().count());
    drop(store);
    let connection = Connection::open(directory.path().join("passo.db")).expect("a database");
    let version: i64 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a value");
    assert_eq!(version, 2, "it was migrated");
}

#[test]
fn format_1_decodes_and_replays() {
    check(1);
}

#[test]
fn format_2_decodes_and_replays() {
    check(2);
}

/// A migrated store is one of the newest format: the same tables and indexes.
#[test]
fn a_migrated_store_has_the_tables_of_a_new_one() {
    let schema = |directory: &Path| {
        drop(SqliteStore::open(directory, &SqliteOptions::default()).expect("the store opens"));
        let connection = Connection::open(directory.join("passo.db")).expect("a database");
        let mut statement = connection
            .prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
            .expect("a statement");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
        rows.collect::<Result<Vec<(String, String)>, _>>().expect("rows")
    };
    let new = tempfile::tempdir().expect("a directory");
    assert_eq!(schema(restored(1).path()), schema(&new.path().join("data")));
}

/// Encoding what was decoded gives the same bytes: the encoder has not moved away from the format either.
#[test]
fn format_1_is_what_we_write() {
    let directory = restored(1);
    let store = SqliteStore::open(directory.path(), &SqliteOptions::default()).expect("the store opens");
    let turns = store.reader().journal(0, 10_000).expect("a page");
    drop(store);
    let connection = Connection::open(directory.path().join("passo.db")).expect("a database");
    for turn in turns {
        let written: Vec<u8> = connection
            .query_row("SELECT turn FROM journal WHERE position = ?1", [turn.position], |row| row.get(0))
            .expect("a turn");
        let encoded = store::turn::encode(turn.execution, &turn.events).expect("a turn");
        // Equal strings and payloads are shared by pointer, which a decoded turn does as far as it was written so.
        assert_eq!(encoded.blob, written, "position {}", turn.position);
    }
}

#[test]
fn format_1_holds_every_kind_of_event() {
    let directory = restored(1);
    let store = SqliteStore::open(directory.path(), &SqliteOptions::default()).expect("the store opens");
    let mut tags: Vec<u16> = Vec::new();
    for turn in store.reader().journal(0, 10_000).expect("a page") {
        tags.extend(turn.events.iter().map(|event| event.kind.tag()));
        let query =
            HistoryQuery { execution: turn.execution, from: None, direction: Direction::Backward, limit: 1 };
        let last = store.reader().history(&query).expect("a page").items;
        assert!(last.iter().all(|event| event.kind.is_public()));
        assert!(
            matches!(turn.events[0].kind, EventKind::ExecutionStarted { .. }) == (turn.events[0].seq == 1)
        );
    }
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags, world::TAGS_OF_FORMAT_1);
}

/// Makes the store of a format that has none yet.
#[test]
fn a_new_format_gets_its_golden_store() {
    let Some(format) = std::env::var("GOLDEN").ok() else { return };
    let path = golden(&format!("format-{format}.sql"));
    assert!(!path.exists(), "{} is a promise", path.display());
    let directory = tempfile::tempdir().expect("a directory");
    world::fill(directory.path());
    let connection = Connection::open(directory.path().join("passo.db")).expect("a database");
    std::fs::write(path, world::dump(&connection).expect("a dump")).expect("written");
}
