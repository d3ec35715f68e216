//! A configuration file's text → its entries, or everything that is wrong with it, each with its place.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{KEYS, Key, Value};
use super::names;

/// Something wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Line, from 1; none when the file as a whole is meant.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, and what may have been meant.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{line}:{}: {}", self.column, self.message),
            None => write!(formatter, " {}", self.message),
        }
    }
}

/// A key that the file sets.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its path, as written.
    pub path: Vec<String>,
    /// What it is.
    pub key: &'static Key,
    /// Its value.
    pub value: Value,
    /// Line of its name.
    pub line: usize,
}

/// Reads the whole file.
pub fn read(text: &str) -> Result<Vec<Entry>, Vec<Finding>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { text, entries: Vec::new(), findings: Vec::new() };
    for error in &errors {
        reader.find(error.span().unwrap_or(0..0), error.message().to_string());
    }
    if reader.findings.is_empty() {
        reader.table(table.get_ref(), &mut Vec::new());
        names::check_companions(&mut reader);
    }
    if reader.findings.is_empty() {
        reader.entries.sort_by_key(|entry| entry.line);
        return Ok(reader.entries);
    }
    reader.findings.sort_by_key(|finding| (finding.line, finding.column));
    Err(reader.findings)
}

/// What has been read so far.
pub(super) struct Reader<'t> {
    text: &'t str,
    pub(super) entries: Vec<Entry>,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn find(&mut self, span: Range<usize>, message: String) {
        let (line, column) = self.place(span.start);
        self.findings.push(Finding { line: Some(line), column, message });
    }

    /// Something wrong with what is set on a line.
    pub(super) fn find_on(&mut self, line: usize, message: String) {
        self.findings.push(Finding { line: Some(line), column: 1, message });
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    fn table(&mut self, table: &DeTable<'_>, path: &mut Vec<String>) {
        for (name, value) in table {
            path.push(name.get_ref().to_string());
            self.item(name.span(), value, path);
            path.pop();
        }
    }

    fn item(&mut self, span: Range<usize>, value: &Spanned<DeValue<'_>>, path: &mut Vec<String>) {
        let is_table = KEYS.iter().any(|key| key.name_in(path).is_some());
        let key = KEYS.iter().find(|key| key.matches(path));
        match (value.get_ref(), key) {
            (DeValue::Table(table), _) if is_table => match names::check(path) {
                Ok(()) => self.table(table, path),
                Err(message) => self.find(span, message),
            },
            (_, None) if is_table => self.find(span, format!("'{}' is a table: [{0}]", path.join("."))),
            (_, None) => self.find(span, unknown(path)),
            (found, Some(key)) => match key.kind.read(found) {
                Ok(value) => {
                    let line = self.place(span.start).0;
                    self.entries.push(Entry { path: path.clone(), key, value, line });
                }
                Err(expected) => {
                    self.find(value.span(), format!("'{}': {expected}", path.join(".")));
                }
            },
        }
    }
}

/// An unknown key, with the nearest known one.
fn unknown(path: &[String]) -> String {
    let (name, parent) = match path.split_last() {
        Some((name, parent)) => (name.as_str(), parent),
        None => ("", path),
    };
    let siblings = KEYS.iter().filter_map(|key| key.name_in(parent)).filter(|sibling| *sibling != "*");
    let elsewhere = KEYS.iter().find(|key| key.path.rsplit('.').next() == Some(name));
    let meant = names::nearest(name, siblings)
        .map(str::to_string)
        .or_else(|| elsewhere.map(|key| key.path.to_string()));
    let hint = meant.map_or_else(String::new, |meant| format!("; did you mean '{meant}'?"));
    format!("unknown key '{}'{hint}", path.join("."))
}
