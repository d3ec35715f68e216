//! The text of a query to its commands.
//!
//! One pass without a separate list of tokens, since a slash is a division or begins a regular expression by its place.
//! What is wrong is told with its place, as AWS does.

mod expressions;
mod scanner;

use super::parse;
use super::query::{Column, Command, Direction, Expression, Extraction, Malformed, Query, Stats};
use expressions::Reader;
use scanner::Scanner;

/// Commands of one query.
const COMMANDS_MAX: usize = 50;
/// Columns of one command.
const COLUMNS_MAX: usize = 200;
const LIMIT_MAX: usize = 10_000;
/// Commands of AWS's language that this server does not have.
const ELSEWHERE: [&str; 9] =
    ["source", "pattern", "diff", "unmask", "unnest", "lookup", "anomaly", "filterindex", "join"];

/// Parses a query.
pub(super) fn parse(text: &str) -> Result<Query, Malformed> {
    let mut reader = Reader { scanner: Scanner::new(text), aggregates: None, depth: 0 };
    let mut commands = Vec::new();
    loop {
        // A query may begin with a bar, or have one too many.
        if reader.scanner.take("|") {
            continue;
        }
        if reader.scanner.at_end() {
            break;
        }
        commands.push(reader.command()?);
        if commands.len() > COMMANDS_MAX {
            return Err(reader.scanner.refuse_here("the query has too many commands"));
        }
        if !reader.scanner.at_end() && !reader.scanner.take("|") {
            return Err(reader.scanner.unexpected());
        }
    }
    let blocking = |command: &&Command| matches!(command, Command::Stats(_));
    if commands.iter().filter(blocking).count() > 2 {
        return Err(reader.scanner.refuse_here("a query may have at most two stats commands"));
    }
    Ok(Query { commands })
}

impl Reader<'_> {
    fn command(&mut self) -> Result<Command, Malformed> {
        let start = self.scanner.next_position();
        let Some(word) = self.scanner.word() else { return Err(self.scanner.unexpected()) };
        match word.to_lowercase().as_str() {
            "fields" => self.columns().map(Command::Fields),
            "display" => self.columns().map(Command::Display),
            "filter" | "where" => self.expression().map(Command::Filter),
            "sort" | "order" => self.sort(),
            "limit" | "head" => self.limit().map(Command::Limit),
            "dedup" => {
                let columns = self.columns()?;
                Ok(Command::Dedup(columns.into_iter().map(|column| column.expression).collect()))
            }
            "parse" => self.extraction().map(Command::Parse),
            "stats" => self.stats().map(Command::Stats),
            other if ELSEWHERE.contains(&other) => Err(self
                .scanner
                .refuse(start, &format!("the command {other} is not implemented by this server"))),
            _ => Err(self.scanner.unexpected_at(start, &word)),
        }
    }

    fn columns(&mut self) -> Result<Vec<Column>, Malformed> {
        let mut columns = Vec::new();
        loop {
            columns.push(self.column()?);
            if columns.len() > COLUMNS_MAX {
                return Err(self.scanner.refuse_here("a command has too many fields"));
            }
            if !self.scanner.take(",") {
                return Ok(columns);
            }
        }
    }

    /// `expression [as name]`; without a name it is called as it is written.
    fn column(&mut self) -> Result<Column, Malformed> {
        let start = self.scanner.next_position();
        let expression = self.expression()?;
        let written = self.scanner.text_since(start);
        let name = match (self.scanner.take_word("as"), &expression) {
            (true, _) => self.name()?,
            (false, Expression::Field(name)) => name.clone(),
            (false, _) => written,
        };
        Ok(Column { name, expression })
    }

    fn name(&mut self) -> Result<String, Malformed> {
        match self.scanner.field() {
            Some(name) => Ok(name?),
            None => Err(self.scanner.unexpected()),
        }
    }

    fn sort(&mut self) -> Result<Command, Malformed> {
        // `order by` is another way to write it.
        self.scanner.take_word("by");
        let mut keys = Vec::new();
        loop {
            let key = self.expression()?;
            let descending = self.scanner.take_word("desc");
            if !descending {
                self.scanner.take_word("asc");
            }
            keys.push((key, if descending { Direction::Descending } else { Direction::Ascending }));
            if !self.scanner.take(",") {
                return Ok(Command::Sort(keys));
            }
        }
    }

    fn limit(&mut self) -> Result<usize, Malformed> {
        let start = self.scanner.next_position();
        match self.scanner.number() {
            Some(number) if number.fract() == 0.0 && (1.0..=LIMIT_MAX as f64).contains(&number) => {
                Ok(number as usize)
            }
            Some(_) => Err(self.scanner.refuse(start, "a limit is a whole number from 1 to 10000")),
            None => Err(self.scanner.unexpected()),
        }
    }

    /// `parse [field] "glob" as a, b` or `parse [field] /regex/`.
    fn extraction(&mut self) -> Result<Extraction, Malformed> {
        let from = match self.scanner.field() {
            Some(name) => Expression::Field(name?),
            None => Expression::Field("@message".into()),
        };
        let start = self.scanner.next_position();
        if let Some(source) = self.scanner.regular_expression() {
            let pattern = source.and_then(|source| {
                parse::expression(&source).map_err(|message| self.scanner.refuse(start, &message))
            })?;
            let names: Vec<String> = pattern.capture_names().skip(1).flatten().map(str::to_owned).collect();
            if names.is_empty() {
                return Err(self.scanner.refuse(start, "the regular expression has no named group"));
            }
            return Ok(Extraction { from, pattern, names });
        }
        let Some(text) = self.scanner.string() else { return Err(self.scanner.unexpected()) };
        let (pattern, stars) = parse::glob(&text?).map_err(|message| self.scanner.refuse(start, &message))?;
        if !self.scanner.take_word("as") {
            return Err(self.scanner.unexpected());
        }
        let mut names = vec![self.name()?];
        while self.scanner.take(",") {
            names.push(self.name()?);
        }
        if names.len() != stars {
            let message = format!("the pattern has {stars} wildcards and {} names", names.len());
            return Err(self.scanner.refuse(start, &message));
        }
        Ok(Extraction { from, pattern, names })
    }

    fn stats(&mut self) -> Result<Stats, Malformed> {
        self.aggregates = Some(Vec::new());
        let columns = self.columns();
        let aggregates = self.aggregates.take().unwrap_or_default();
        let groups = if self.scanner.take_word("by") { self.columns()? } else { Vec::new() };
        Ok(Stats { columns: columns?, aggregates, groups })
    }
}

#[cfg(test)]
mod tests;
