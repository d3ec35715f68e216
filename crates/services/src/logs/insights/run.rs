//! A query run: events through the commands, to rows as GetQueryResults shows them.
//!
//! Commands before the first `sort`, `stats` or `limit` see one event at a time; what they leave is gathered, and the
//! other commands see all of it.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Scope;
use super::aggregate::{Seen, Table};
use super::evaluate::Row;
use super::query::{Column, Command, Direction, Query};
use super::scan::Scan;
use super::value::{Datum, order};
use crate::storage::Database;

/// Rows that are gathered for a sort; the best of twice as many are kept from time to time.
const GATHERED_MAX: usize = 20_000;
/// Text that rows hold while they are gathered.
const GATHERED_BYTES_MAX: usize = 64 << 20;
/// A query that takes longer ends with what it has.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Rows and numbers of a query that has ended.
#[derive(Default)]
pub(super) struct Outcome {
    pub rows: Vec<Value>,
    pub statistics: Statistics,
    pub timed_out: bool,
}

#[derive(Default)]
pub(super) struct Statistics {
    pub scanned: usize,
    pub matched: usize,
    pub bytes: usize,
    pub groups: usize,
}

/// Runs until all events are seen, enough rows are found, or the query is cancelled.
pub(super) fn run(
    database: &Database,
    query: &Query,
    scope: &Scope,
    cancel: &AtomicBool,
) -> rusqlite::Result<Outcome> {
    let streaming = query.commands.iter().take_while(|command| streams(command)).count();
    let (first, rest) = query.commands.split_at(streaming);
    let mut outcome = Outcome::default();
    outcome.statistics.groups = scope.groups.len();
    let mut gather = Gather::new(rest, scope.rows_max);
    let mut seen = Seen::default();
    let mut scan = Scan::new(database, scope);
    let begun = Instant::now();
    while let Some(event) = scan.next()? {
        if cancel.load(Ordering::Relaxed) {
            break;
        }
        if begun.elapsed() > TIME_MAX {
            outcome.timed_out = true;
            break;
        }
        outcome.statistics.scanned += 1;
        outcome.statistics.bytes += event.message.len();
        let row = Row { event: Some(Rc::new(event)), added: Vec::new() };
        let Some(row) = first.iter().try_fold(row, |row, command| passed(command, row, &mut seen)) else {
            continue;
        };
        outcome.statistics.matched += 1;
        if !gather.take(row) {
            break;
        }
    }
    let mut rows = gather.finish();
    let after = if matches!(rest.first(), Some(Command::Stats(_) | Command::Sort(_) | Command::Limit(_))) {
        1
    } else {
        0
    };
    for command in &rest[after..] {
        rows = whole(command, rows);
    }
    rows.truncate(scope.rows_max);
    let columns = columns(query);
    outcome.rows = rows.iter().map(|row| shown(row, &columns)).collect();
    Ok(outcome)
}

fn streams(command: &Command) -> bool {
    match command {
        Command::Fields(_)
        | Command::Display(_)
        | Command::Filter(_)
        | Command::Parse(_)
        | Command::Dedup(_) => true,
        Command::Sort(_) | Command::Limit(_) | Command::Stats(_) => false,
    }
}

/// A row after one command, if it is left.
fn passed(command: &Command, mut row: Row, seen: &mut Seen) -> Option<Row> {
    match command {
        Command::Fields(columns) | Command::Display(columns) => {
            for column in columns {
                add(&mut row, column);
            }
            Some(row)
        }
        Command::Filter(condition) => row.holds(condition).then_some(row),
        Command::Parse(extraction) => {
            let text = row.value(&extraction.from, &[]).map(|value| value.shown());
            let found = text.as_deref().and_then(|text| extraction.pattern.captures(text));
            let named = extraction.pattern.capture_names().flatten().next().is_some();
            for (index, name) in extraction.names.iter().enumerate() {
                let group = found
                    .as_ref()
                    .and_then(|found| if named { found.name(name) } else { found.get(index + 1) });
                let value = group.map(|group| Datum::Text(group.as_str().to_owned()));
                row.added.push((name.as_str().into(), value));
            }
            Some(row)
        }
        Command::Dedup(keys) => {
            let key = keys.iter().map(|key| row.value(key, &[])).collect();
            seen.first(key).then_some(row)
        }
        Command::Sort(_) | Command::Limit(_) | Command::Stats(_) => Some(row),
    }
}

/// A column that is not simply a field of its own name.
fn add(row: &mut Row, column: &Column) {
    if let super::query::Expression::Field(name) = &column.expression
        && *name == column.name
    {
        return;
    }
    let value = row.value(&column.expression, &[]);
    row.added.push((column.name.as_str().into(), value));
}

/// All rows after one command.
fn whole(command: &Command, mut rows: Vec<Row>) -> Vec<Row> {
    match command {
        Command::Sort(keys) => {
            sort(&mut rows, keys);
            rows
        }
        Command::Limit(limit) => {
            rows.truncate(*limit);
            rows
        }
        Command::Stats(stats) => {
            let mut table = Table::new(stats);
            rows.iter().for_each(|row| table.take(row));
            table.finish()
        }
        _ => {
            let mut seen = Seen::default();
            rows.into_iter().filter_map(|row| passed(command, row, &mut seen)).collect()
        }
    }
}

fn sort(rows: &mut [Row], keys: &[(super::query::Expression, Direction)]) {
    rows.sort_by_cached_key(|row| {
        let key =
            keys.iter().map(|(key, direction)| Key { value: row.value(key, &[]), direction: *direction });
        key.collect::<Vec<Key>>()
    });
}

/// A value to sort by.
#[derive(PartialEq)]
struct Key {
    value: Option<Datum>,
    direction: Direction,
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> std::cmp::Ordering {
        let order = order(self.value.as_ref(), other.value.as_ref());
        if self.direction == Direction::Descending { order.reverse() } else { order }
    }
}

/// What the first command that needs all rows keeps of them.
enum Gather<'q> {
    Stats(Table<'q>),
    Sort {
        keys: &'q [(super::query::Expression, Direction)],
        rows: Vec<Row>,
        bytes: usize,
    },
    /// The newest.
    First {
        rows: Vec<Row>,
        limit: usize,
    },
}

impl<'q> Gather<'q> {
    fn new(rest: &'q [Command], rows_max: usize) -> Gather<'q> {
        match rest.first() {
            Some(Command::Stats(stats)) => Gather::Stats(Table::new(stats)),
            Some(Command::Sort(keys)) => Gather::Sort { keys, rows: Vec::new(), bytes: 0 },
            Some(Command::Limit(limit)) => Gather::First { rows: Vec::new(), limit: *limit },
            _ => Gather::First { rows: Vec::new(), limit: rows_max },
        }
    }

    /// Takes a row; false when no more are needed.
    fn take(&mut self, row: Row) -> bool {
        match self {
            Gather::Stats(table) => {
                table.take(&row);
                true
            }
            Gather::Sort { keys, rows, bytes } => {
                *bytes += row.event.as_ref().map_or(0, |event| event.message.len());
                rows.push(row);
                if rows.len() >= 2 * GATHERED_MAX || (*bytes > GATHERED_BYTES_MAX && rows.len() > 1) {
                    sort(rows, keys);
                    let kept = GATHERED_MAX.min(rows.len().div_ceil(2));
                    rows.truncate(kept);
                    *bytes = rows.iter().flat_map(|row| &row.event).map(|event| event.message.len()).sum();
                }
                true
            }
            Gather::First { rows, limit } => {
                rows.push(row);
                rows.len() < *limit
            }
        }
    }

    fn finish(self) -> Vec<Row> {
        match self {
            Gather::Stats(table) => table.finish(),
            Gather::Sort { keys, mut rows, .. } => {
                sort(&mut rows, keys);
                rows
            }
            Gather::First { rows, .. } => rows,
        }
    }
}

/// What is shown: the last `display`, else the columns of the last `stats`, else all `fields`, else time and message.
fn columns(query: &Query) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    let mut displayed = false;
    for command in &query.commands {
        let names = |columns: &[Column]| columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
        match command {
            Command::Display(shown) => (columns, displayed) = (names(shown), true),
            Command::Stats(stats) => {
                columns = names(&stats.groups);
                columns.extend(names(&stats.columns));
                displayed = false;
            }
            Command::Fields(shown) if !displayed => {
                for name in names(shown) {
                    if !columns.contains(&name) {
                        columns.push(name);
                    }
                }
            }
            _ => {}
        }
    }
    if columns.is_empty() { vec!["@timestamp".to_owned(), "@message".to_owned()] } else { columns }
}

fn shown(row: &Row, columns: &[String]) -> Value {
    let mut fields = Vec::with_capacity(columns.len() + 1);
    for name in columns {
        if let Some(value) = row.field(name) {
            fields.push(json!({ "field": name, "value": value.shown() }));
        }
    }
    if let Some(event) = &row.event {
        fields.push(json!({ "field": "@ptr", "value": event.pointer() }));
    }
    Value::Array(fields)
}
