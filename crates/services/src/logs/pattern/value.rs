//! What a pattern compares with: a number, a text with `*`, or a regular expression between `%`.

use regex::Regex;

/// Compiled regular expressions are held to a size, since callers write them.
const REGEX_BYTES_MAX: usize = 1 << 18;

/// A comparison of `=`, `!=`, `<`, `<=`, `>`, `>=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Operators as written, the longer ones first.
pub(super) const OPERATORS: [(&str, Operator); 6] = [
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

/// The right side of a comparison.
#[derive(Debug)]
pub(super) enum Operand {
    Number(f64),
    Text(String),
    Expression(Regex),
}

impl Operand {
    /// Reads an unquoted word.
    pub(super) fn word(word: &str) -> Result<Self, String> {
        if let Some(source) = word.strip_prefix('%').and_then(|rest| rest.strip_suffix('%')) {
            return expression(source).map(Self::Expression);
        }
        Ok(match word.parse::<f64>() {
            Ok(number) if number.is_finite() => Self::Number(number),
            _ => Self::Text(word.to_owned()),
        })
    }

    pub(super) fn holds(&self, operator: Operator, text: &str, number: Option<f64>) -> bool {
        if let (Self::Number(right), Some(left)) = (self, number) {
            return match operator {
                Operator::Equal => left == *right,
                Operator::NotEqual => left != *right,
                Operator::Less => left < *right,
                Operator::LessOrEqual => left <= *right,
                Operator::Greater => left > *right,
                Operator::GreaterOrEqual => left >= *right,
            };
        }
        let equal = match self {
            Self::Number(_) => false,
            Self::Text(pattern) => wildcard(pattern, text),
            Self::Expression(regex) => regex.is_match(text),
        };
        match operator {
            Operator::Equal => equal,
            Operator::NotEqual => !equal,
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => false,
        }
    }
}

/// Compiles what stands between two `%`.
pub(super) fn expression(source: &str) -> Result<Regex, String> {
    let built = regex::RegexBuilder::new(source).size_limit(REGEX_BYTES_MAX).build();
    built.map_err(|_| "Invalid filter pattern: the regular expression is not valid".to_owned())
}

/// `*` stands for any run of characters.
pub(super) fn wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}
