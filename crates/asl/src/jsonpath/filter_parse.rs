//! Compiles the text of a filter, `[?(…)]`.
//!
//! A recursive descent through `||`, `&&`, `!` and comparisons, with Jayway's idea of where an operand
//! ends (a path runs to a blank, an operator or a closing parenthesis) and its error texts.

use super::PathError;
use super::characters::{Characters, unescape};
use super::filter::{Expression, Operand, Operator};
use super::parse::{DEPTH_MAX, nested_path};

pub(super) fn filter(text: &str, depth: usize) -> Result<Expression, PathError> {
    let mut characters = Characters::new(text);
    // The caller has found `[`, `?`, `(` and their partners.
    for _ in 0..2 {
        characters.position += 1;
        characters.skip_blanks();
    }
    characters.end -= 1;
    let mut parser = Parser { characters, depth, nesting: 0 };
    parser.characters.trim();
    let expression = parser.or()?;
    parser.characters.skip_blanks();
    if parser.characters.in_bounds() && parser.characters.current() != Some(' ') {
        let rest = parser.characters.text(parser.characters.position, parser.characters.end);
        return Err(PathError::Invalid(format!("Expected end of filter expression instead of: {rest}")));
    }
    Ok(expression)
}

struct Parser {
    characters: Characters,
    /// How deep the path that holds this filter is nested itself.
    depth: usize,
    nesting: usize,
}

fn is_operator_character(c: char) -> bool {
    matches!(c, '<' | '>' | '=' | '~' | '!')
}

impl Parser {
    fn or(&mut self) -> Result<Expression, PathError> {
        let mut parts = vec![self.and()?];
        while self.characters.accept("||") {
            parts.push(self.and()?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Expression::Or(parts) })
    }

    fn and(&mut self) -> Result<Expression, PathError> {
        let mut parts = vec![self.operand_of_and()?];
        while self.characters.accept("&&") {
            parts.push(self.operand_of_and()?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Expression::And(parts) })
    }

    fn operand_of_and(&mut self) -> Result<Expression, PathError> {
        self.nesting += 1;
        if self.nesting > DEPTH_MAX {
            return Err(PathError::Invalid("The filter is nested too deeply".into()));
        }
        let expression = self.operand();
        self.nesting -= 1;
        expression
    }

    fn operand(&mut self) -> Result<Expression, PathError> {
        self.characters.skip_blanks();
        let start = self.characters.position;
        if self.characters.accept("!") {
            self.characters.skip_blanks();
            match self.characters.current() {
                Some('@' | '$') => self.characters.position = start,
                _ => return Ok(Expression::Not(Box::new(self.operand_of_and()?))),
            }
        }
        if self.characters.accept("(") {
            let expression = self.or()?;
            if !self.characters.accept(")") {
                return Err(PathError::Invalid("Expected character: )".into()));
            }
            return Ok(expression);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expression, PathError> {
        let (left, wanted) = self.value()?;
        let after_left = self.characters.position;
        let rest = self.operator().and_then(|operator| Ok((operator, self.value()?.0)));
        match (rest, left) {
            (Ok((operator, right)), left) => Ok(Expression::Compare { left, operator, right }),
            (Err(Fault::Path(_)), Operand::Path(path)) => {
                self.characters.position = after_left;
                Ok(Expression::Exists { path, wanted })
            }
            (Err(Fault::Path(_)), _) => Err(PathError::Invalid("Expected path node".into())),
            (Err(fault @ Fault::Text), _) => Err(self.failure(fault)),
        }
    }

    fn failure(&self, fault: Fault) -> PathError {
        match fault {
            Fault::Path(error) => error,
            Fault::Text => PathError::Invalid(format!(
                "Failed to parse filter: {}, error on position: {}, char: {}",
                self.characters.whole(),
                self.characters.position,
                self.characters.current().map(String::from).unwrap_or_default()
            )),
        }
    }

    fn operator(&mut self) -> Result<Operator, Fault> {
        self.characters.skip_blanks();
        let start = self.characters.position;
        let symbolic = self.characters.current().is_some_and(is_operator_character);
        while let Some(c) = self.characters.current() {
            if is_operator_character(c) != symbolic || (!symbolic && c == ' ') {
                break;
            }
            self.characters.position += 1;
        }
        let text = self.characters.text(start, self.characters.position);
        Operator::parse(&text).map_err(Fault::Path)
    }

    /// An operand, and whether it stands without a `!` before it.
    fn value(&mut self) -> Result<(Operand, bool), PathError> {
        self.try_value().map_err(|fault| self.failure(fault))
    }

    fn try_value(&mut self) -> Result<(Operand, bool), Fault> {
        self.characters.skip_blanks();
        match self.characters.current() {
            Some('$' | '@') => Ok((self.path()?, true)),
            Some('!') => {
                self.characters.position += 1;
                self.characters.skip_blanks();
                match self.characters.current() {
                    Some('$' | '@') => Ok((self.path()?, false)),
                    _ => Err(Fault::Path(PathError::Invalid("Unexpected character: !".into()))),
                }
            }
            _ => Ok((self.literal()?, true)),
        }
    }

    fn path(&mut self) -> Result<Operand, Fault> {
        let start = self.characters.position;
        self.characters.position += 1;
        let mut in_call = 0usize;
        while let Some(c) = self.characters.current() {
            match c {
                '[' => {
                    let at = self.characters.position;
                    let close = self.characters.closing(at, '[', ']', false).map_err(Fault::Path)?;
                    let Some(close) = close else {
                        let whole = self.characters.whole();
                        let message = format!("Square brackets does not match in filter {whole}");
                        return Err(Fault::Path(PathError::Invalid(message)));
                    };
                    self.characters.position = close;
                }
                '(' => in_call += 1,
                ')' if in_call > 0 => in_call -= 1,
                ')' | ' ' => break,
                _ if is_operator_character(c) => break,
                _ => {}
            }
            self.characters.position += 1;
        }
        let text = self.characters.text(start, self.characters.position);
        nested_path(&text, self.depth).map(Operand::Path).map_err(Fault::Path)
    }

    fn literal(&mut self) -> Result<Operand, Fault> {
        let start = self.characters.position;
        match self.characters.current() {
            Some(quote @ ('\'' | '"')) => {
                let Some(end) = self.characters.end_of_string(start, quote) else {
                    let message = format!(
                        "String literal does not have matching quotes. Expected {quote} in {}",
                        self.characters.whole()
                    );
                    return Err(Fault::Path(PathError::Invalid(message)));
                };
                self.characters.position = end + 1;
                let text = unescape(&self.characters.text(start + 1, end));
                Ok(Operand::Literal(text.into()))
            }
            Some('/') => self.regex(start),
            Some(open @ ('{' | '[')) => {
                let close = if open == '{' { '}' } else { ']' };
                let close = self.characters.closing(start, open, close, false).map_err(Fault::Path)?;
                let end = close.ok_or(Fault::Text)? + 1;
                let value = json_literal(&self.characters.text(start, end)).ok_or(Fault::Text)?;
                self.characters.position = end;
                Ok(Operand::Literal(value))
            }
            Some('t') if self.characters.accept("true") => Ok(Operand::Literal(true.into())),
            Some('f') if self.characters.accept("false") => Ok(Operand::Literal(false.into())),
            Some('n') if self.characters.accept("null") => Ok(Operand::Literal(serde_json::Value::Null)),
            _ => {
                let mut end = start;
                while self
                    .characters
                    .at(end)
                    .is_some_and(|c| c.is_ascii_digit() || matches!(c, '-' | '.' | 'E' | 'e'))
                {
                    end += 1;
                }
                let text = self.characters.text(start, end);
                let number = text.parse::<i64>().map(serde_json::Value::from).ok();
                let number = number.or_else(|| text.parse::<f64>().ok().map(serde_json::Value::from));
                let number = number.filter(serde_json::Value::is_number).ok_or(Fault::Text)?;
                self.characters.position = end;
                Ok(Operand::Literal(number))
            }
        }
    }

    fn regex(&mut self, start: usize) -> Result<Operand, Fault> {
        let end = self.characters.end_of_string(start, '/').ok_or(Fault::Text)?;
        let pattern = self.characters.text(start + 1, end);
        let mut flags = String::new();
        let mut at = end + 1;
        while let Some(c @ ('i' | 'm' | 's' | 'x' | 'u')) = self.characters.at(at) {
            if c != 'u' {
                flags.push(c);
            }
            at += 1;
        }
        let flags = if flags.is_empty() { flags } else { format!("(?{flags})") };
        self.characters.position = at;
        regex::Regex::new(&format!("{flags}^(?:{pattern})$")).map(Operand::Regex).map_err(|_| Fault::Text)
    }
}

/// Why an operand could not be read: with a message of its own, or with the general one.
enum Fault {
    Path(PathError),
    Text,
}

impl From<PathError> for Fault {
    fn from(error: PathError) -> Fault {
        Fault::Path(error)
    }
}

/// Jayway reads JSON literals leniently: strings may stand in single quotes.
fn json_literal(text: &str) -> Option<serde_json::Value> {
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let mut double_quoted = String::with_capacity(text.len());
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (None, '\'' | '"') => {
                quote = Some(c);
                double_quoted.push('"');
            }
            (Some(open), _) if c == open => {
                quote = None;
                double_quoted.push('"');
            }
            (Some('\''), '"') => double_quoted.push_str("\\\""),
            _ => double_quoted.push(c),
        }
    }
    serde_json::from_str(&double_quoted).ok()
}
