//! JSON patterns: `{ $.field = "value" && ($.n > 4 || $.list[0].x NOT EXISTS) }`.

use super::value::{OPERATORS, Operand, Operator};
use serde_json::Value;

/// Parentheses may nest this deep.
const DEPTH_MAX: usize = 32;

#[derive(Debug)]
pub(super) enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Compare(Selector, Operator, Operand),
    Test(Selector, Test),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Test {
    IsNull,
    IsTrue,
    IsFalse,
    Exists,
    NotExists,
}

#[derive(Debug)]
enum Step {
    Field(String),
    Index(usize),
    Every,
}

/// A path into the document.
#[derive(Debug)]
pub(super) struct Selector {
    steps: Vec<Step>,
}

impl Condition {
    pub(super) fn matches(&self, document: &Value) -> bool {
        match self {
            Self::Any(conditions) => conditions.iter().any(|condition| condition.matches(document)),
            Self::All(conditions) => conditions.iter().all(|condition| condition.matches(document)),
            Self::Compare(selector, operator, operand) => {
                selector.select(document).iter().any(|value| compare(value, *operator, operand))
            }
            Self::Test(selector, test) => {
                let values = selector.select(document);
                match test {
                    Test::IsNull => values.iter().any(|value| value.is_null()),
                    Test::IsTrue => values.iter().any(|value| **value == Value::Bool(true)),
                    Test::IsFalse => values.iter().any(|value| **value == Value::Bool(false)),
                    Test::Exists => !values.is_empty(),
                    Test::NotExists => values.is_empty(),
                }
            }
        }
    }
}

fn compare(value: &Value, operator: Operator, operand: &Operand) -> bool {
    match value {
        Value::String(text) => operand.holds(operator, text, None),
        Value::Number(number) => operand.holds(operator, &number.to_string(), number.as_f64()),
        Value::Bool(value) => operand.holds(operator, if *value { "true" } else { "false" }, None),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

impl Selector {
    fn select<'a>(&self, document: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![document];
        for step in &self.steps {
            found = match step {
                Step::Field(name) => found.into_iter().filter_map(|value| value.get(name)).collect(),
                Step::Index(index) => found.into_iter().filter_map(|value| value.get(index)).collect(),
                Step::Every => found.into_iter().filter_map(Value::as_array).flatten().collect(),
            };
        }
        found
    }
}

pub(super) fn parse(text: &str) -> Result<Condition, String> {
    let mut parser = Parser { rest: text.trim(), depth: 0 };
    let condition = parser.any()?;
    if parser.rest.is_empty() { Ok(condition) } else { Err(parser.refuse("unexpected characters")) }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn refuse(&self, why: &str) -> String {
        let near: String = self.rest.chars().take(20).collect();
        format!("Invalid filter pattern: {why} at \"{near}\"")
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn any(&mut self) -> Result<Condition, String> {
        let mut all = vec![self.all()?];
        while self.take("||") {
            all.push(self.all()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Condition::Any(all) })
    }

    fn all(&mut self) -> Result<Condition, String> {
        let mut all = vec![self.one()?];
        while self.take("&&") {
            all.push(self.one()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Condition::All(all) })
    }

    fn one(&mut self) -> Result<Condition, String> {
        if !self.take("(") {
            return self.comparison();
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("Invalid filter pattern: too many parentheses".to_owned());
        }
        let inner = self.any()?;
        self.depth -= 1;
        if self.take(")") { Ok(inner) } else { Err(self.refuse("a parenthesis is not closed")) }
    }

    fn comparison(&mut self) -> Result<Condition, String> {
        let selector = self.selector()?;
        let tests = [
            ("IS NULL", Test::IsNull),
            ("IS TRUE", Test::IsTrue),
            ("IS FALSE", Test::IsFalse),
            ("NOT EXISTS", Test::NotExists),
            ("EXISTS", Test::Exists),
        ];
        for (words, test) in tests {
            if self.take_words(words) {
                return Ok(Condition::Test(selector, test));
            }
        }
        for (sign, operator) in OPERATORS {
            if self.take(sign) {
                return Ok(Condition::Compare(selector, operator, self.operand()?));
            }
        }
        Err(self.refuse("an operator is missing"))
    }

    fn take_words(&mut self, words: &str) -> bool {
        let mut rest = self.rest;
        for word in words.split(' ') {
            match rest.get(..word.len()) {
                Some(found) if found.eq_ignore_ascii_case(word) => rest = rest[word.len()..].trim_start(),
                _ => return false,
            }
        }
        self.rest = rest;
        true
    }

    fn selector(&mut self) -> Result<Selector, String> {
        if !self.rest.starts_with('$') {
            return Err(self.refuse("a selector begins with \"$\""));
        }
        self.rest = &self.rest[1..];
        let mut steps = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix('.') {
                let is_end = |letter: char| !(letter.is_alphanumeric() || "_-@:".contains(letter));
                let end = rest.find(is_end).unwrap_or(rest.len());
                if end == 0 {
                    return Err(self.refuse("a field name is missing"));
                }
                steps.push(Step::Field(rest[..end].to_owned()));
                self.rest = &rest[end..];
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                let end = rest.find(']').ok_or_else(|| self.refuse("a bracket is not closed"))?;
                steps.push(self.bracket(rest[..end].trim())?);
                self.rest = &rest[end + 1..];
            } else {
                self.rest = self.rest.trim_start();
                return Ok(Selector { steps });
            }
        }
    }

    fn bracket(&self, inside: &str) -> Result<Step, String> {
        if inside == "*" {
            return Ok(Step::Every);
        }
        for quote in ['\'', '"'] {
            if let Some(name) = inside.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
                return Ok(Step::Field(name.to_owned()));
            }
        }
        inside.parse().map(Step::Index).map_err(|_| self.refuse("an index is not a number"))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        if let Some(body) = self.rest.strip_prefix('"') {
            let end = body.find('"').ok_or_else(|| self.refuse("a quotation mark is not closed"))?;
            self.rest = body[end + 1..].trim_start();
            return Ok(Operand::Text(body[..end].to_owned()));
        }
        let end = if let Some(body) = self.rest.strip_prefix('%') {
            2 + body.find('%').ok_or_else(|| self.refuse("a regular expression is not closed"))?
        } else {
            let is_end = |letter: char| letter.is_whitespace() || "()&|".contains(letter);
            self.rest.find(is_end).unwrap_or(self.rest.len())
        };
        if end == 0 {
            return Err(self.refuse("a value is missing"));
        }
        let (word, rest): (&'a str, &'a str) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        Operand::word(word)
    }
}
