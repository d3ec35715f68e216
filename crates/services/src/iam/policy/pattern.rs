//! Wildcards and policy variables: `arn:aws:s3:::home-${aws:username}/*`.

use super::condition::Keys;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Exactly(char),
    One,
    Any,
}

/// A text with `*`, `?` and, in documents of version 2012-10-17, `${variables}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    has_variables: bool,
}

impl Pattern {
    /// A pattern; `has_variables` says whether `${…}` is a variable or just text.
    pub fn new(text: impl Into<String>, has_variables: bool) -> Self {
        let text = text.into();
        let has_variables = has_variables && text.contains("${");
        Self { text, has_variables }
    }

    /// The text as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether `value` matches, with wildcards. A variable that the request does not have matches nothing.
    pub fn matches(&self, value: &str, keys: &Keys) -> bool {
        if self.text == "*" {
            return true;
        }
        self.tokens(keys, true).is_some_and(|tokens| glob(&tokens, value, |a, b| a == b))
    }

    /// Whether `value` matches, with wildcards, upper and lower case alike.
    pub fn matches_ignoring_case(&self, value: &str) -> bool {
        let tokens: Vec<Token> = self.text.chars().map(wildcard).collect();
        glob(&tokens, value, |a, b| a.eq_ignore_ascii_case(&b))
    }

    /// The text with its variables filled in and wildcards left as they are; `None` without a variable's value.
    pub fn resolve(&self, keys: &Keys) -> Option<String> {
        let tokens = self.tokens(keys, false)?;
        let text = |token: &Token| match token {
            Token::Exactly(character) => *character,
            Token::One => '?',
            Token::Any => '*',
        };
        Some(tokens.iter().map(text).collect())
    }

    /// Matches part by part, split at the first five colons, as the operators on ARNs do.
    pub fn matches_arn(&self, value: &str, keys: &Keys) -> bool {
        let Some(tokens) = self.tokens(keys, true) else { return false };
        if tokens == [Token::Any] {
            return true;
        }
        let mut patterns = tokens.splitn(6, |token| *token == Token::Exactly(':'));
        let mut values = value.splitn(6, ':');
        loop {
            match (patterns.next(), values.next()) {
                (None, None) => return true,
                (Some(pattern), Some(value)) if glob(pattern, value, |a, b| a == b) => {}
                _ => return false,
            }
        }
    }

    fn tokens(&self, keys: &Keys, with_wildcards: bool) -> Option<Vec<Token>> {
        let token = |character| if with_wildcards { wildcard(character) } else { Token::Exactly(character) };
        if !self.has_variables {
            return Some(self.text.chars().map(token).collect());
        }
        let mut tokens = Vec::with_capacity(self.text.len());
        let mut rest = self.text.as_str();
        while let Some(start) = rest.find("${") {
            tokens.extend(rest[..start].chars().map(token));
            let end = start + rest[start..].find('}')?;
            // A variable's value is text: a wildcard in a user's name is no wildcard of the policy.
            tokens.extend(variable(&rest[start + 2..end], keys)?.chars().map(Token::Exactly));
            rest = &rest[end + 1..];
        }
        tokens.extend(rest.chars().map(token));
        Some(tokens)
    }
}

fn wildcard(character: char) -> Token {
    match character {
        '*' => Token::Any,
        '?' => Token::One,
        other => Token::Exactly(other),
    }
}

fn variable(name: &str, keys: &Keys) -> Option<String> {
    if matches!(name, "*" | "?" | "$") {
        return Some(name.to_owned());
    }
    let (key, default) = match name.split_once(',') {
        Some((key, default)) => (key.trim(), Some(default.trim().trim_matches('\''))),
        None => (name.trim(), None),
    };
    // A variable of many values stands for none.
    match keys.get(key) {
        Some([value]) => Some(value.clone()),
        _ => default.map(str::to_owned),
    }
}

/// Wildcard matching in time proportional to pattern times value at worst: on a mismatch only the last `*` gives way.
fn glob(pattern: &[Token], value: &str, equal: impl Fn(char, char) -> bool) -> bool {
    let value: Vec<char> = value.chars().collect();
    let (mut at, mut position) = (0, 0);
    let mut last_any: Option<(usize, usize)> = None;
    while position < value.len() {
        match pattern.get(at) {
            Some(Token::Any) => {
                last_any = Some((at, position));
                at += 1;
            }
            Some(Token::One) => {
                at += 1;
                position += 1;
            }
            Some(Token::Exactly(character)) if equal(*character, value[position]) => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((any, from)) = last_any else { return false };
                last_any = Some((any, from + 1));
                at = any + 1;
                position = from + 1;
            }
        }
    }
    pattern[at..].iter().all(|token| *token == Token::Any)
}
