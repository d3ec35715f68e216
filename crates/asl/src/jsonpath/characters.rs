//! A cursor over the characters of a path, in the terms Jayway's parser thinks in.
//!
//! Jayway's quirks (a trailing `[` is ignored, one character after a bracket is swallowed) follow from
//! how its cursor tests for the end, so this one has the same tests. Positions count characters.

use super::PathError;

pub(super) struct Characters {
    characters: Vec<char>,
    pub(super) position: usize,
    /// One past the last character considered.
    pub(super) end: usize,
}

impl Characters {
    pub(super) fn new(text: &str) -> Characters {
        let characters: Vec<char> = text.chars().collect();
        let end = characters.len();
        Characters { characters, position: 0, end }
    }

    /// Moves both ends inwards past blanks.
    pub(super) fn trim(&mut self) {
        self.skip_blanks();
        while self.end > self.position && self.characters[self.end - 1] == ' ' {
            self.end -= 1;
        }
    }

    pub(super) fn skip_blanks(&mut self) {
        while self.current() == Some(' ') && self.position + 1 < self.end {
            self.position += 1;
        }
    }

    pub(super) fn at(&self, index: usize) -> Option<char> {
        if index < self.end { self.characters.get(index).copied() } else { None }
    }

    pub(super) fn current(&self) -> Option<char> {
        self.at(self.position)
    }

    pub(super) fn last(&self) -> Option<char> {
        self.end.checked_sub(1).and_then(|index| self.at(index))
    }

    pub(super) fn in_bounds(&self) -> bool {
        self.position < self.end
    }

    /// Whether the cursor is at or past the last character.
    pub(super) fn at_tail(&self) -> bool {
        self.position + 1 >= self.end
    }

    pub(super) fn text(&self, from: usize, to: usize) -> String {
        let to = to.min(self.characters.len());
        self.characters.get(from..to).unwrap_or_default().iter().collect()
    }

    pub(super) fn whole(&self) -> String {
        self.characters.iter().collect()
    }

    /// The first character after `index` that is not a blank, with its index.
    pub(super) fn next_significant(&self, index: usize) -> Option<(usize, char)> {
        (index + 1..self.end).map(|index| (index, self.characters[index])).find(|(_, c)| *c != ' ')
    }

    /// The index of the next significant character if it is `wanted`.
    pub(super) fn next_is(&self, index: usize, wanted: char) -> Option<usize> {
        self.next_significant(index).filter(|(_, c)| *c == wanted).map(|(index, _)| index)
    }

    pub(super) fn index_of(&self, from: usize, wanted: char) -> Option<usize> {
        (from..self.end).find(|index| self.characters[*index] == wanted)
    }

    /// Whether `text` comes next, after blanks; moves past it if so.
    pub(super) fn accept(&mut self, text: &str) -> bool {
        self.skip_blanks();
        let length = text.chars().count();
        let matches = text.chars().enumerate().all(|(offset, c)| self.at(self.position + offset) == Some(c));
        if matches {
            self.position += length;
        }
        matches
    }

    /// The closing partner of the bracket at `start`; strings (and regular expressions, if asked) are
    /// skipped.
    pub(super) fn closing(
        &self,
        start: usize,
        open: char,
        close: char,
        skip_regex: bool,
    ) -> Result<Option<usize>, PathError> {
        let mut depth = 0usize;
        let mut index = start;
        while let Some(c) = self.at(index) {
            if c == '\'' || c == '"' {
                index = self.end_of_string(index, c).ok_or_else(|| {
                    PathError::Invalid(format!(
                        "Could not find matching close quote for {c} when parsing : {}",
                        self.whole()
                    ))
                })?;
            } else if c == '/' && skip_regex && self.starts_regex(index) {
                index = self.end_of_string(index, '/').ok_or_else(|| {
                    PathError::Invalid(format!(
                        "Could not find matching close for / when parsing regex in : {}",
                        self.whole()
                    ))
                })?;
            } else if c == open {
                depth += 1;
            } else if c == close {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Ok(Some(index));
                }
            }
            index += 1;
        }
        Ok(None)
    }

    /// A slash starts a regular expression only after the operator that takes one.
    fn starts_regex(&self, index: usize) -> bool {
        self.characters[..index].iter().rev().find(|c| **c != ' ') == Some(&'~')
    }

    /// The index of the quote that closes the string opened at `start`.
    pub(super) fn end_of_string(&self, start: usize, quote: char) -> Option<usize> {
        let mut escaped = false;
        (start + 1..self.end).find(|index| {
            let c = self.characters[*index];
            let ends = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })
    }
}

/// Resolves the escapes of a quoted name or string.
pub(super) fn unescape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            result.push(c);
            continue;
        }
        match characters.next() {
            Some('b') => result.push('\u{8}'),
            Some('f') => result.push('\u{c}'),
            Some('n') => result.push('\n'),
            Some('r') => result.push('\r'),
            Some('t') => result.push('\t'),
            Some('u') => {
                let rest = characters.as_str();
                let code = rest.get(..4).and_then(|hex| u32::from_str_radix(hex, 16).ok());
                match code.and_then(char::from_u32) {
                    Some(c) => {
                        result.push(c);
                        characters = rest[4..].chars();
                    }
                    None => result.push('u'),
                }
            }
            Some(other) => result.push(other),
            None => result.push('\\'),
        }
    }
    result
}
