//! Unstructured patterns: `ERROR "two words" -not ?this ?or-that %regex%`.
//!
//! Optional terms (`?`) count only when there is no other kind, as the manual says.

use super::value::expression;
use regex::Regex;

#[derive(Debug)]
enum Term {
    Text(String),
    Expression(Regex),
}

impl Term {
    fn is_in(&self, message: &str) -> bool {
        match self {
            Self::Text(text) => message.contains(text.as_str()),
            Self::Expression(regex) => regex.is_match(message),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Terms {
    required: Vec<Term>,
    optional: Vec<Term>,
    excluded: Vec<Term>,
}

impl Terms {
    pub(super) fn matches(&self, message: &str) -> bool {
        if self.excluded.iter().any(|term| term.is_in(message)) {
            return false;
        }
        if self.required.is_empty() && self.excluded.is_empty() {
            return self.optional.iter().any(|term| term.is_in(message));
        }
        self.required.iter().all(|term| term.is_in(message))
    }
}

pub(super) fn parse(pattern: &str) -> Result<Terms, String> {
    let mut terms = Terms::default();
    let mut rest = pattern.trim_start();
    while !rest.is_empty() {
        let (role, body) = match rest.chars().next() {
            Some('-') => (&mut terms.excluded, &rest[1..]),
            Some('?') => (&mut terms.optional, &rest[1..]),
            _ => (&mut terms.required, rest),
        };
        let (term, after) = term(body)?;
        role.push(term);
        rest = after.trim_start();
    }
    Ok(terms)
}

fn term(text: &str) -> Result<(Term, &str), String> {
    for (mark, is_expression) in [('"', false), ('%', true)] {
        let Some(body) = text.strip_prefix(mark) else { continue };
        let end = body.find(mark).ok_or("Invalid filter pattern: a quotation mark is not closed")?;
        let inside = &body[..end];
        let term =
            if is_expression { Term::Expression(expression(inside)?) } else { Term::Text(inside.to_owned()) };
        return Ok((term, &body[end + 1..]));
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    if end == 0 {
        return Err("Invalid filter pattern: a term is empty".to_owned());
    }
    Ok((Term::Text(text[..end].to_owned()), &text[end..]))
}
