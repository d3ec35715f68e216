//! One suite, every backend. A backend is a way to open the same store again.

#[path = "../samples/mod.rs"]
mod samples;

mod differential;
mod executions;
mod journal;
mod registry;

use store::{MemoryStore, SqliteOptions, SqliteStore, Store};

/// Opens a store; opening again is a restart. The store before must be dropped.
pub(crate) trait Backend {
    fn open(&self) -> Box<dyn Store>;
}

pub(crate) struct Sqlite(tempfile::TempDir);

impl Sqlite {
    pub(crate) fn new() -> Sqlite {
        Sqlite(tempfile::tempdir().expect("a directory"))
    }
}

impl Backend for Sqlite {
    fn open(&self) -> Box<dyn Store> {
        let options =
            SqliteOptions { durability: store::Durability::ProcessCrashOnly, ..SqliteOptions::default() };
        Box::new(SqliteStore::open(&self.0.path().join("data"), &options).expect("the store opens"))
    }
}

pub(crate) struct Memory(MemoryStore);

impl Memory {
    pub(crate) fn new() -> Memory {
        Memory(MemoryStore::new())
    }
}

impl Backend for Memory {
    fn open(&self) -> Box<dyn Store> {
        Box::new(self.0.reopen())
    }
}

/// Each named function of this module becomes a test of each backend.
macro_rules! conformance {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() { super::$name(&crate::Sqlite::new()); })*
        }
        mod memory {
            $(#[test] fn $name() { super::$name(&crate::Memory::new()); })*
        }
    };
}
pub(crate) use conformance;
