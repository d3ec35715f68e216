//! `stats`: groups of rows, and what is known of each.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::evaluate::Row;
use super::query::{Aggregate, AggregateKind, Column, Stats};
use super::value::Datum;

/// Groups of one query; further ones are left out.
const GROUPS_MAX: usize = 50_000;
/// Values that percentiles and distinct counts of one query keep.
const VALUES_MAX: usize = 2_000_000;

/// Rows of a `stats` command while they come.
pub(super) struct Table<'q> {
    stats: &'q Stats,
    groups: HashMap<Vec<String>, usize>,
    /// In the order in which they were met.
    rows: Vec<(Vec<Option<Datum>>, Vec<State>)>,
    values: usize,
}

#[derive(Default)]
struct State {
    count: f64,
    sum: f64,
    squares: f64,
    least: Option<Datum>,
    greatest: Option<Datum>,
    distinct: HashSet<String>,
    values: Vec<f64>,
    earliest: Option<(i64, Datum)>,
    latest: Option<(i64, Datum)>,
}

impl<'q> Table<'q> {
    pub fn new(stats: &'q Stats) -> Table<'q> {
        Table { stats, groups: HashMap::new(), rows: Vec::new(), values: 0 }
    }

    pub fn take(&mut self, row: &Row) {
        let by: Vec<Option<Datum>> =
            self.stats.groups.iter().map(|column| row.value(&column.expression, &[])).collect();
        let key: Vec<String> =
            by.iter().map(|value| value.as_ref().map_or("\u{0}".to_owned(), Datum::shown)).collect();
        let index = match self.groups.get(&key) {
            Some(index) => *index,
            None if self.rows.len() >= GROUPS_MAX => return,
            None => {
                let states = self.stats.aggregates.iter().map(|_| State::default()).collect();
                self.rows.push((by, states));
                self.groups.insert(key, self.rows.len() - 1);
                self.rows.len() - 1
            }
        };
        let at = row.event.as_ref().map_or(0, |event| event.at);
        let states = &mut self.rows[index].1;
        for (aggregate, state) in self.stats.aggregates.iter().zip(states) {
            state.take(aggregate, row, at, &mut self.values);
        }
    }

    /// One row a group; without `by` there is one also where nothing came.
    pub fn finish(mut self) -> Vec<Row> {
        if self.rows.is_empty() && self.stats.groups.is_empty() {
            self.rows.push((Vec::new(), self.stats.aggregates.iter().map(|_| State::default()).collect()));
        }
        let name = |column: &Column| -> Rc<str> { column.name.as_str().into() };
        let groups: Vec<Rc<str>> = self.stats.groups.iter().map(name).collect();
        let columns: Vec<Rc<str>> = self.stats.columns.iter().map(name).collect();
        let mut rows = Vec::with_capacity(self.rows.len());
        for (by, states) in self.rows {
            let mut row = Row::default();
            row.added.extend(groups.iter().cloned().zip(by));
            let results: Vec<Option<Datum>> = self
                .stats
                .aggregates
                .iter()
                .zip(states)
                .map(|(aggregate, state)| state.result(aggregate))
                .collect();
            for (name, column) in columns.iter().zip(&self.stats.columns) {
                let value = row.value(&column.expression, &results);
                row.added.push((Rc::clone(name), value));
            }
            rows.push(row);
        }
        rows
    }
}

impl State {
    fn take(&mut self, aggregate: &Aggregate, row: &Row, at: i64, values: &mut usize) {
        let value = match &aggregate.of {
            None => Some(Datum::Truth(true)),
            Some(expression) => row.value(expression, &[]),
        };
        let Some(value) = value else { return };
        match aggregate.kind {
            AggregateKind::Count => self.count += 1.0,
            AggregateKind::CountDistinct => {
                if *values < VALUES_MAX && self.distinct.insert(value.shown()) {
                    *values += 1;
                }
            }
            AggregateKind::Sum | AggregateKind::Average | AggregateKind::Deviation => {
                let Some(number) = value.number() else { return };
                self.count += 1.0;
                self.sum += number;
                self.squares += number * number;
            }
            AggregateKind::Percentile(_) => {
                if let Some(number) = value.number().filter(|_| *values < VALUES_MAX) {
                    self.values.push(number);
                    *values += 1;
                }
            }
            AggregateKind::Least | AggregateKind::SortsFirst => {
                if self.least.as_ref().is_none_or(|least| value.order(least).is_lt()) {
                    self.least = Some(value);
                }
            }
            AggregateKind::Greatest | AggregateKind::SortsLast => {
                if self.greatest.as_ref().is_none_or(|greatest| value.order(greatest).is_gt()) {
                    self.greatest = Some(value);
                }
            }
            AggregateKind::Earliest => {
                if self.earliest.as_ref().is_none_or(|(known, _)| at <= *known) {
                    self.earliest = Some((at, value));
                }
            }
            AggregateKind::Latest => {
                if self.latest.as_ref().is_none_or(|(known, _)| at > *known) {
                    self.latest = Some((at, value));
                }
            }
        }
    }

    fn result(mut self, aggregate: &Aggregate) -> Option<Datum> {
        let number = |number: f64| number.is_finite().then_some(Datum::Number(number));
        match aggregate.kind {
            AggregateKind::Count => number(self.count),
            AggregateKind::CountDistinct => number(self.distinct.len() as f64),
            AggregateKind::Sum => number(self.sum),
            AggregateKind::Average => number(self.sum / self.count),
            AggregateKind::Deviation => {
                let mean = self.sum / self.count;
                number((self.squares / self.count - mean * mean).max(0.0).sqrt())
            }
            AggregateKind::Percentile(percentile) => {
                self.values.sort_by(f64::total_cmp);
                let last = self.values.len().checked_sub(1)?;
                // The value below which that share of all lies.
                let rank = (percentile / 100.0 * (last + 1) as f64).ceil() as usize;
                number(self.values[rank.saturating_sub(1).min(last)])
            }
            AggregateKind::Least | AggregateKind::SortsFirst => self.least,
            AggregateKind::Greatest | AggregateKind::SortsLast => self.greatest,
            AggregateKind::Earliest => self.earliest.map(|(_, value)| value),
            AggregateKind::Latest => self.latest.map(|(_, value)| value),
        }
    }
}

/// Rows that were seen before, by what `dedup` looks at.
#[derive(Default)]
pub(super) struct Seen {
    keys: HashSet<Vec<Option<String>>>,
}

impl Seen {
    /// Whether the row is the first of its kind; missing values make no kind.
    pub fn first(&mut self, key: Vec<Option<Datum>>) -> bool {
        if key.iter().any(Option::is_none) || self.keys.len() >= GROUPS_MAX {
            return true;
        }
        let key = key.iter().map(|value| value.as_ref().map(Datum::shown)).collect();
        self.keys.insert(key)
    }
}
