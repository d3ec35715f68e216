//! One page of a bucket's keys: by prefix, with keys beyond a delimiter rolled up into common prefixes.
//!
//! Order is that of UTF-8 bytes, which is SQLite's too; of a key's versions the newest comes first.

use super::address::KEY_BYTES_MAX;
use super::versions::Object;
use crate::wire::ServiceError;
use rusqlite::{Connection, params};

/// S3's bound on the entries of a page.
pub(super) const ENTRIES_MAX: usize = 1000;

/// Which rows are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// Objects as they are now.
    Objects,
    /// All versions and delete markers.
    Versions,
}

/// Where a page begins: after the row of `key` whose id is not below `below`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Position {
    key: String,
    below: i64,
}

impl Position {
    /// After every row of a key.
    pub fn after(key: &str) -> Self {
        Self { key: key.to_owned(), below: 0 }
    }

    /// After one version of a key.
    pub fn after_version(key: &str, id: i64) -> Self {
        Self { key: key.to_owned(), below: id }
    }

    /// After every key that begins with `prefix`: at the first text that sorts above all of them.
    pub fn past(prefix: &str) -> Self {
        let mut text = prefix.to_owned();
        while let Some(last) = text.pop() {
            if let Some(next) = successor(last) {
                text.push(next);
                return Self { key: text, below: i64::MAX };
            }
        }
        // Only keys of last characters are left, and none is as long as this.
        Self::after(&char::MAX.to_string().repeat(KEY_BYTES_MAX))
    }
}

/// The character that sorts next, also in UTF-8.
fn successor(character: char) -> Option<char> {
    ((u32::from(character) + 1)..=u32::from(char::MAX)).find_map(char::from_u32)
}

/// One entry of a page.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    Object(Box<Object>),
    CommonPrefix(String),
}

/// A page, and whether there is more.
#[derive(Debug, Clone, Default)]
pub(super) struct Page {
    pub entries: Vec<Entry>,
    pub is_truncated: bool,
}

impl Page {
    /// The common prefixes in it.
    pub fn common_prefixes(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::CommonPrefix(prefix) => Some(prefix.as_str()),
            Entry::Object(_) => None,
        })
    }

    /// The objects in it.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Object(object) => Some(object.as_ref()),
            Entry::CommonPrefix(_) => None,
        })
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Query<'a> {
    pub rows: Rows,
    pub prefix: &'a str,
    pub delimiter: &'a str,
    pub count_max: usize,
}

impl Query<'_> {
    /// The common prefix that a key is rolled up into.
    pub fn rolled_up(&self, key: &str) -> Option<String> {
        if self.delimiter.is_empty() {
            return None;
        }
        let rest = key.strip_prefix(self.prefix)?;
        let end = rest.find(self.delimiter)? + self.delimiter.len();
        Some(key[..self.prefix.len() + end].to_owned())
    }

    /// Where a page begins after a marker: one that is itself a common prefix stands for all below it.
    pub fn after_marker(&self, marker: &str) -> Position {
        let is_rolled_up = self.rolled_up(marker).is_some_and(|prefix| prefix == marker);
        if is_rolled_up { Position::past(marker) } else { Position::after(marker) }
    }

    /// Reads a page of a bucket.
    pub fn page(&self, connection: &Connection, bucket: i64, begin: Position) -> Result<Page, ServiceError> {
        let mut page = Page::default();
        // S3 answers an empty page that claims to be the last.
        if self.count_max == 0 {
            return Ok(page);
        }
        let filter = match self.rows {
            Rows::Objects => "AND is_latest = 1 AND is_marker = 0",
            Rows::Versions => "",
        };
        let sql = format!(
            "SELECT {} FROM versions WHERE bucket = ?1 AND key >= ?2 AND (key > ?3 OR id < ?4) {filter} \
             ORDER BY key, id DESC",
            Object::COLUMNS
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut position = begin;
        'seek: loop {
            let from = position.key.as_str().max(self.prefix);
            let mut rows = statement.query(params![bucket, from, position.key, position.below])?;
            while let Some(row) = rows.next()? {
                let object = Object::of_row(row)?;
                if !object.key.starts_with(self.prefix) {
                    return Ok(page);
                }
                if page.entries.len() == self.count_max {
                    page.is_truncated = true;
                    return Ok(page);
                }
                if let Some(prefix) = self.rolled_up(&object.key) {
                    position = Position::past(&prefix);
                    page.entries.push(Entry::CommonPrefix(prefix));
                    continue 'seek;
                }
                page.entries.push(Entry::Object(Box::new(object)));
            }
            return Ok(page);
        }
    }
}
