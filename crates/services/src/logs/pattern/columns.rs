//! Space-delimited patterns: `[ip, user, ..., status=4*, bytes > 1000]`.
//!
//! Words in quotation marks or brackets are one column. `...` stands for any number of columns, once.

use super::value::{OPERATORS, Operand, Operator};

#[derive(Debug)]
struct Alternative {
    operator: Operator,
    operand: Operand,
}

#[derive(Debug)]
enum Column {
    /// All groups of alternatives must hold; empty means any value.
    One(Vec<Vec<Alternative>>),
    Rest,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
}

impl Columns {
    pub(super) fn matches(&self, message: &str) -> bool {
        let words = split(message);
        match self.columns.iter().position(|column| matches!(column, Column::Rest)) {
            None => words.len() == self.columns.len() && every(&self.columns, &words),
            Some(at) => {
                let (before, after) = (&self.columns[..at], &self.columns[at + 1..]);
                words.len() >= before.len() + after.len()
                    && every(before, &words[..before.len()])
                    && every(after, &words[words.len() - after.len()..])
            }
        }
    }
}

fn every(columns: &[Column], words: &[&str]) -> bool {
    columns.iter().zip(words).all(|(column, word)| match column {
        Column::Rest => true,
        Column::One(groups) => groups.iter().all(|group| {
            group
                .iter()
                .any(|alternative| alternative.operand.holds(alternative.operator, word, word.parse().ok()))
        }),
    })
}

fn split(message: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = message.trim();
    while let Some(first) = rest.chars().next() {
        let close = match first {
            '"' => Some('"'),
            '[' => Some(']'),
            _ => None,
        };
        let quoted =
            close.and_then(|close| rest[1..].find(close).map(|end| (&rest[1..=end], &rest[end + 2..])));
        let (word, after) =
            quoted.unwrap_or_else(|| rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())));
        words.push(word);
        rest = after.trim_start();
    }
    words
}

pub(super) fn parse(text: &str) -> Result<Columns, String> {
    let columns: Vec<Column> =
        text.split(',').map(|column| self::column(column.trim())).collect::<Result<_, _>>()?;
    if columns.iter().filter(|column| matches!(column, Column::Rest)).count() > 1 {
        return Err("Invalid filter pattern: \"...\" may stand once".to_owned());
    }
    Ok(Columns { columns })
}

fn column(text: &str) -> Result<Column, String> {
    if text == "..." {
        return Ok(Column::Rest);
    }
    if text.is_empty() {
        return Err("Invalid filter pattern: a column is empty".to_owned());
    }
    let mut groups = Vec::new();
    for group in text.split("&&") {
        let mut alternatives = Vec::new();
        for part in group.split("||") {
            if let Some(alternative) = alternative(part)? {
                alternatives.push(alternative);
            }
        }
        if !alternatives.is_empty() {
            groups.push(alternatives);
        }
    }
    Ok(Column::One(groups))
}

fn alternative(text: &str) -> Result<Option<Alternative>, String> {
    let text = text.trim();
    let Some(at) = text.find(['=', '!', '<', '>']) else { return Ok(None) };
    for (sign, operator) in OPERATORS {
        if let Some(value) = text[at..].strip_prefix(sign) {
            let value = value.trim().trim_matches('"');
            if value.is_empty() {
                return Err("Invalid filter pattern: a value is missing".to_owned());
            }
            return Ok(Some(Alternative { operator, operand: Operand::word(value)? }));
        }
    }
    Err("Invalid filter pattern: an operator is not known".to_owned())
}
