//! Words, numbers, strings and signs of a query, taken from the front, with places in characters.

use super::super::query::Malformed;

/// A query's text and how far it is read.
pub(super) struct Scanner<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Blanks and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            self.at += blank;
            if !self.rest().starts_with('#') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    pub fn at_end(&mut self) -> bool {
        self.skip();
        self.rest().is_empty()
    }

    /// Where the next token begins.
    pub fn next_position(&mut self) -> usize {
        self.skip();
        self.at
    }

    /// What was read since a position, without blanks at its end.
    pub fn text_since(&self, start: usize) -> String {
        self.text[start..self.at].trim_end().to_owned()
    }

    /// Takes a sign if it comes next.
    pub fn take(&mut self, sign: &str) -> bool {
        self.skip();
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    /// Takes a word if it comes next, in any case.
    pub fn take_word(&mut self, word: &str) -> bool {
        self.skip();
        let found = self.rest().get(..word.len()).is_some_and(|next| next.eq_ignore_ascii_case(word));
        let ends = self.rest().get(word.len()..).is_some_and(|rest| !rest.starts_with(is_of_word));
        if found && ends {
            self.at += word.len();
        }
        found && ends
    }

    /// The next word of letters, digits and underscores.
    pub fn word(&mut self) -> Option<String> {
        self.skip();
        let rest = self.rest();
        let end = rest.find(|letter| !is_of_word(letter)).unwrap_or(rest.len());
        let word = rest[..end].to_owned();
        self.at += end;
        (end > 0).then_some(word)
    }

    /// A field's name: `@message`, `a.b.0`, or anything between backticks.
    pub fn field(&mut self) -> Option<Result<String, Malformed>> {
        self.skip();
        let rest = self.rest();
        if let Some(inside) = rest.strip_prefix('`') {
            let Some(end) = inside.find('`') else { return Some(Err(self.unexpected())) };
            self.at += end + 2;
            return Some(Ok(inside[..end].to_owned()));
        }
        let first = rest.chars().next().filter(|letter| letter.is_alphabetic() || "@_".contains(*letter))?;
        let is_inside = |letter: char| is_of_word(letter) || ".@".contains(letter);
        let after = &rest[first.len_utf8()..];
        let end = after.find(|letter| !is_inside(letter)).unwrap_or(after.len());
        let name = rest[..first.len_utf8() + end].trim_end_matches('.');
        self.at += name.len();
        Some(Ok(name.to_owned()))
    }

    pub fn number(&mut self) -> Option<f64> {
        self.skip();
        let rest = self.rest();
        let digits = |text: &str| text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let mut end = digits(rest);
        if end == 0 {
            return None;
        }
        if let Some(fraction) = rest[end..].strip_prefix('.') {
            let more = digits(fraction);
            if more > 0 {
                end += 1 + more;
            }
        }
        let number = rest[..end].parse().ok()?;
        self.at += end;
        Some(number)
    }

    /// A text between quotation marks of either kind; a backslash takes the next letter as it is.
    pub fn string(&mut self) -> Option<Result<String, Malformed>> {
        self.skip();
        let rest = self.rest();
        let mark = rest.chars().next().filter(|letter| "\"'".contains(*letter))?;
        let mut text = String::new();
        let mut letters = rest.char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => match letters.next() {
                    Some((_, next)) if next == mark || next == '\\' => text.push(next),
                    Some((_, next)) => text.extend(['\\', next]),
                    None => break,
                },
                letter if letter == mark => {
                    self.at += at + 1;
                    return Some(Ok(text));
                }
                letter => text.push(letter),
            }
        }
        Some(Err(self.refuse_here("a quotation mark is not closed")))
    }

    /// What stands between slashes; `\/` is a slash.
    pub fn regular_expression(&mut self) -> Option<Result<String, Malformed>> {
        self.skip();
        let inside = self.rest().strip_prefix('/')?;
        let mut source = String::new();
        let mut letters = inside.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '/' => {
                    self.at += at + 2;
                    return Some(Ok(source));
                }
                '\\' => match letters.next() {
                    Some((_, '/')) => source.push('/'),
                    Some((_, next)) => source.extend(['\\', next]),
                    None => break,
                },
                letter => source.push(letter),
            }
        }
        Some(Err(self.refuse_here("a regular expression is not closed")))
    }

    /// A finding about what begins at `start` and ends here.
    pub fn refuse(&self, start: usize, message: &str) -> Malformed {
        let characters = |at: usize| self.text[..at.min(self.text.len())].chars().count();
        let line = self.text[..start].matches('\n').count() + 1;
        let column = self.text[..start].rsplit('\n').next().unwrap_or_default().chars().count();
        let (first, last) = (characters(start), characters(self.at.max(start)));
        let message = format!("{message} at line {line} and position {column}");
        Malformed { message, start: first, end: last.max(first) }
    }

    /// A finding about what comes next.
    pub fn refuse_here(&mut self, message: &str) -> Malformed {
        let start = self.next_position();
        self.refuse(start, message)
    }

    /// What comes next was not expected.
    pub fn unexpected(&mut self) -> Malformed {
        let start = self.next_position();
        let rest = self.rest();
        let word = rest.find(|letter| !is_of_word(letter)).unwrap_or(rest.len());
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let found = rest[..word.max(first)].to_owned();
        self.at += found.len();
        self.unexpected_at(start, &found)
    }

    /// The same for a token that was read.
    pub fn unexpected_at(&self, start: usize, found: &str) -> Malformed {
        let message = match found {
            "" => "unexpected end of the query".to_owned(),
            found => format!("unexpected symbol found {found}"),
        };
        self.refuse(start, &message)
    }
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}
