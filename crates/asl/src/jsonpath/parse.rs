//! Compiles the text of a path into tokens.
//!
//! The order in which the alternatives are tried, and the positions in messages, are Jayway's.

use super::characters::{Characters, unescape};
use super::filter_parse;
use super::functions::{Function, Parameter};
use super::{JsonPath, PathError, Root, Token};

/// How deep paths may nest in filters and parameters. Jayway has no limit but the stack.
pub(super) const DEPTH_MAX: usize = 20;

/// How many steps a path may have: some of them lead no deeper into the document.
const TOKENS_MAX: usize = 200;

pub(super) fn path(text: &str) -> Result<JsonPath, PathError> {
    nested_path(text, 0)
}

pub(super) fn nested_path(text: &str, depth: usize) -> Result<JsonPath, PathError> {
    if depth > DEPTH_MAX {
        return Err(PathError::Invalid("The path is nested too deeply".into()));
    }
    let mut characters = if text.starts_with(['$', '@']) {
        Characters::new(text)
    } else {
        Characters::new(&format!("$.{text}"))
    };
    characters.trim();
    if characters.last() == Some('.') {
        return Err(invalid("Path must not end with a '.' or '..'"));
    }
    let root = if characters.current() == Some('@') { Root::Item } else { Root::Document };
    let mut parser = Parser { characters, tokens: Vec::new(), depth };
    if !parser.characters.at_tail() {
        parser.characters.position += 1;
        if !matches!(parser.characters.current(), Some('.' | '[')) {
            let position = parser.characters.position;
            return Err(PathError::Invalid(format!(
                "Illegal character at position {position} expected '.' or '['"
            )));
        }
        parser.tokens()?;
    }
    Ok(JsonPath::new(text, root, parser.tokens))
}

fn invalid(message: &str) -> PathError {
    PathError::Invalid(message.to_owned())
}

struct Parser {
    characters: Characters,
    tokens: Vec<Token>,
    depth: usize,
}

impl Parser {
    fn tokens(&mut self) -> Result<(), PathError> {
        self.token()?;
        while !self.characters.at_tail() {
            self.token()?;
            if self.tokens.len() > TOKENS_MAX {
                return Err(invalid("The path has too many steps"));
            }
        }
        Ok(())
    }

    /// Reads one token; a dot is read together with what follows it.
    fn token(&mut self) -> Result<(), PathError> {
        if self.characters.current() == Some('.') {
            self.dots()?;
        }
        let start = self.characters.position;
        let read = match self.characters.current() {
            Some('[') => {
                let read = self.bracket_properties()?
                    || self.array()?
                    || self.bracket_wildcard()?
                    || self.filter()?;
                if !read {
                    return Err(PathError::Invalid(format!(
                        "Could not parse token starting at position {start}. Expected ?, ', 0-9, * "
                    )));
                }
                true
            }
            Some('*') => {
                self.tokens.push(Token::Wildcard);
                self.characters.position += 1;
                true
            }
            Some(' ' | '.') | None => false,
            Some(_) => {
                self.property_or_function()?;
                true
            }
        };
        if read {
            return Ok(());
        }
        Err(PathError::Invalid(format!("Could not parse token starting at position {start}")))
    }

    fn dots(&mut self) -> Result<(), PathError> {
        self.characters.position += 1;
        if self.characters.current() == Some('.') {
            self.tokens.push(Token::Scan);
            self.characters.position += 1;
        }
        match self.characters.current() {
            Some('.') => {
                let position = self.characters.position;
                Err(PathError::Invalid(format!("Character '.' on position {position} is not valid.")))
            }
            _ => Ok(()),
        }
    }

    fn property_or_function(&mut self) -> Result<(), PathError> {
        let start = self.characters.position;
        let mut end = start;
        while let Some(c) = self.characters.at(end) {
            match c {
                ' ' => {
                    return Err(PathError::Invalid(format!(
                        "Use bracket notion ['my prop'] if your property contains blank characters. position: \
                         {start}"
                    )));
                }
                '.' | '[' => break,
                '(' => return self.function(start, end),
                _ => end += 1,
            }
        }
        let name = self.characters.text(start, end);
        self.tokens.push(Token::Properties { names: vec![name], quote: '\'' });
        self.characters.position = end;
        Ok(())
    }

    fn function(&mut self, start: usize, open: usize) -> Result<(), PathError> {
        let name = self.characters.text(start, open);
        let Some(close) = self.characters.closing(open, '(', ')', false)? else {
            return Err(PathError::Invalid(format!(
                "Arguments to function: '{name}' are not closed properly."
            )));
        };
        let parameters = self.parameters(open + 1, close)?;
        self.tokens.push(Token::Function(Box::new(Function::new(&name, parameters)?)));
        self.characters.position = close + 1;
        Ok(())
    }

    fn parameters(&self, start: usize, close: usize) -> Result<Vec<Parameter>, PathError> {
        let text = self.characters.text(start, close);
        let mut parameters = Vec::new();
        for part in split_parameters(&text) {
            let part = part.trim();
            if part.starts_with('$') {
                parameters.push(Parameter::Path(nested_path(part, self.depth + 1)?));
            } else if !part.is_empty() {
                let value = serde_json::from_str(part)
                    .map_err(|_| PathError::Invalid(format!("Function parameter is not JSON: {part}")))?;
                parameters.push(Parameter::Json(value));
            }
        }
        Ok(parameters)
    }

    fn bracket_properties(&mut self) -> Result<bool, PathError> {
        let quote = match self.characters.next_significant(self.characters.position) {
            Some((_, quote @ ('\'' | '"'))) => quote,
            _ => return Ok(false),
        };
        let mut names = Vec::new();
        let mut index = self.characters.position + 1;
        let mut after_comma = false;
        loop {
            match self.characters.at(index) {
                Some(c) if c == quote => {
                    let end = self.characters.end_of_string(index, quote).ok_or_else(|| {
                        PathError::Invalid(format!("Property has not been closed - missing closing {quote}"))
                    })?;
                    let next = self.characters.next_significant(end).map(|(_, c)| c);
                    if next.is_some_and(|c| c != ']' && c != ',') {
                        return Err(PathError::Invalid(format!(
                            "Property must be separated by comma or Property must be terminated close square \
                             bracket at index {end}"
                        )));
                    }
                    names.push(unescape(&self.characters.text(index + 1, end)));
                    after_comma = false;
                    index = end;
                }
                Some(',' | ']') if after_comma => {
                    return Err(PathError::Invalid(format!("Found empty property at index {index}")));
                }
                Some(']') => break,
                Some(',') => after_comma = true,
                Some(_) => {}
                None => return Err(invalid("Property has not been closed - missing closing ]")),
            }
            index += 1;
        }
        self.characters.position = index + 1;
        self.tokens.push(Token::Properties { names, quote });
        Ok(true)
    }

    fn array(&mut self) -> Result<bool, PathError> {
        let begin = self.characters.position + 1;
        match self.characters.next_significant(self.characters.position) {
            Some((_, '0'..='9' | '-' | ':')) => {}
            _ => return Ok(false),
        }
        let Some(close) = self.characters.index_of(begin, ']') else {
            return Ok(false);
        };
        let expression = self.characters.text(begin, close).trim().to_owned();
        if !expression.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '-' | ':' | ' ')) {
            return Ok(false);
        }
        let token = if expression.contains(':') { slice(&expression)? } else { indexes(&expression)? };
        self.tokens.push(token);
        self.characters.position = close + 1;
        Ok(true)
    }

    fn bracket_wildcard(&mut self) -> Result<bool, PathError> {
        let Some(star) = self.characters.next_is(self.characters.position, '*') else {
            return Ok(false);
        };
        let Some(close) = self.characters.next_is(star, ']') else {
            return Err(PathError::Invalid(format!(
                "Expected wildcard token to end with ']' on position {}",
                star + 1
            )));
        };
        self.tokens.push(Token::Wildcard);
        self.characters.position = close + 1;
        Ok(true)
    }

    fn filter(&mut self) -> Result<bool, PathError> {
        let start = self.characters.position;
        let Some(open) =
            self.characters.next_is(start, '?').and_then(|question| self.characters.next_is(question, '('))
        else {
            return Ok(false);
        };
        let Some(close) = self.characters.closing(open, '(', ')', true)? else {
            return Ok(false);
        };
        let Some(end) = self.characters.next_is(close, ']') else {
            return Ok(false);
        };
        let expression = filter_parse::filter(&self.characters.text(start, end + 1), self.depth + 1)?;
        self.tokens.push(Token::Filter(Box::new(expression)));
        self.characters.position = end + 1;
        Ok(true)
    }
}

/// Splits at commas outside strings and brackets.
fn split_parameters(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0i32);
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn slice(expression: &str) -> Result<Token, PathError> {
    let failed = || PathError::Invalid(format!("Failed to parse SliceOperation: {expression}"));
    if !expression.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | ':')) {
        return Err(failed());
    }
    let mut bounds = expression.split(':').map(|bound| match bound {
        "" => Ok(None),
        number => number.parse::<i32>().map(Some).map_err(|_| failed()),
    });
    let from = bounds.next().transpose()?.flatten();
    let to = bounds.next().transpose()?.flatten();
    if from.is_none() && to.is_none() {
        return Err(failed());
    }
    Ok(Token::Slice { from, to })
}

fn indexes(expression: &str) -> Result<Token, PathError> {
    let index = |part: &str| {
        let part = part.trim();
        part.parse::<i32>()
            .map_err(|_| PathError::Invalid(format!("Failed to parse token in ArrayIndexOperation: {part}")))
    };
    Ok(Token::Indexes(expression.split(',').map(index).collect::<Result<_, _>>()?))
}
