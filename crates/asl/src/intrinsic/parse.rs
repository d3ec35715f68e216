//! Compiles the text of an invocation.

use serde_json::Value;

use super::{Argument, Function, Intrinsic, NESTING_MAX, SyntaxError};
use crate::jsonpath::ScopePath;

pub(super) fn invocation(text: &str) -> Result<Intrinsic, SyntaxError> {
    let mut parser = Parser { text, at: 0 };
    parser.blanks();
    let intrinsic = parser.invocation(1)?;
    parser.blanks();
    if parser.at < text.len() {
        return Err(parser.fault("unexpected text after the function"));
    }
    Ok(intrinsic)
}

impl Function {
    /// The function with the least and the greatest number of its arguments.
    fn by_name(name: &str) -> Option<(Function, usize, usize)> {
        const MANY: usize = usize::MAX;
        Some(match name {
            "Array" => (Function::Array, 0, MANY),
            "ArrayContains" => (Function::ArrayContains, 2, 2),
            "ArrayGetItem" => (Function::ArrayGetItem, 2, 2),
            "ArrayLength" => (Function::ArrayLength, 1, 1),
            "ArrayPartition" => (Function::ArrayPartition, 2, 2),
            "ArrayRange" => (Function::ArrayRange, 3, 3),
            "ArrayUnique" => (Function::ArrayUnique, 1, 1),
            "Base64Decode" => (Function::Base64Decode, 1, 1),
            "Base64Encode" => (Function::Base64Encode, 1, 1),
            "Format" => (Function::Format, 1, MANY),
            "Hash" => (Function::Hash, 2, 2),
            "JsonMerge" => (Function::JsonMerge, 3, 3),
            "JsonToString" => (Function::JsonToString, 1, 1),
            "MathAdd" => (Function::MathAdd, 2, 2),
            "MathRandom" => (Function::MathRandom, 2, 3),
            "StringSplit" => (Function::StringSplit, 2, 2),
            "StringToJson" => (Function::StringToJson, 1, 1),
            "UUID" => (Function::Uuid, 0, 0),
            _ => return None,
        })
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn fault(&self, reason: &str) -> SyntaxError {
        SyntaxError::Intrinsic(format!("Invalid intrinsic function at position {}: {reason}", self.at))
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn accept(&mut self, wanted: char) -> bool {
        self.blanks();
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn invocation(&mut self, depth: usize) -> Result<Intrinsic, SyntaxError> {
        if depth > NESTING_MAX {
            return Err(self.fault("functions are nested too deeply"));
        }
        let start = self.at;
        let Some(name) = self.rest().strip_prefix("States.") else {
            return Err(self.fault("expected the name of a function"));
        };
        let name = &name[..name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len())];
        let Some((function, least, most)) = Function::by_name(name) else {
            return Err(self.fault("there is no such function"));
        };
        self.at += "States.".len() + name.len();
        if !self.accept('(') {
            return Err(self.fault("expected '('"));
        }
        let mut arguments = Vec::new();
        if !self.accept(')') {
            loop {
                arguments.push(self.argument(depth)?);
                if self.accept(')') {
                    break;
                }
                if !self.accept(',') {
                    return Err(self.fault("expected ',' or ')'"));
                }
            }
        }
        if !(least..=most).contains(&arguments.len()) {
            return Err(self.fault("wrong number of arguments"));
        }
        Ok(Intrinsic { function, arguments, text: self.text[start..self.at].into() })
    }

    fn argument(&mut self, depth: usize) -> Result<Argument, SyntaxError> {
        self.blanks();
        match self.rest().chars().next() {
            Some('\'') => self.string(),
            Some('$') => {
                let text = &self.rest()[..path_length(self.rest())];
                self.at += text.len();
                Ok(Argument::Path(ScopePath::parse(text.trim_end())?))
            }
            Some('S') => self.invocation(depth + 1).map(Argument::Invocation),
            _ => self.literal(),
        }
    }

    fn string(&mut self) -> Result<Argument, SyntaxError> {
        let body = &self.rest()[1..];
        let mut escaped = false;
        for (index, c) in body.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '\'' => {
                    self.at += index + 2;
                    return Ok(Argument::Text(body[..index].into()));
                }
                _ => {}
            }
        }
        Err(self.fault("the string has no closing quote"))
    }

    fn literal(&mut self) -> Result<Argument, SyntaxError> {
        let rest = self.rest();
        let end = rest.find([',', ')']).unwrap_or(rest.len());
        let text = rest[..end].trim_end();
        let value: Option<Value> = serde_json::from_str(text).ok();
        match value.filter(|value| !value.is_string() && !value.is_array() && !value.is_object()) {
            Some(value) => {
                self.at += text.len();
                Ok(Argument::Literal(value))
            }
            None => Err(self.fault("expected a string in single quotes, a number, a path or a function")),
        }
    }
}

/// The bytes of the path at the start of `text`: up to a comma or parenthesis outside brackets.
fn path_length(text: &str) -> usize {
    let (mut depth, mut quote, mut escaped) = (0usize, None, false);
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') if depth > 0 => quote = Some(c),
            (None, '[' | '(') => depth += 1,
            (None, ',' | ')') if depth == 0 => return index,
            (None, ']' | ')') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    text.len()
}
