//! The JSON grammar, checked without building anything, with the error texts of AWS.
//!
//! AWS parses with Jackson and shows its messages to callers, so [`check`] finds the first fault the
//! way Jackson does and describes it in the same words, with line and column. What passes here is
//! also accepted by `serde_json`: depth, numbers out of range and lone surrogates are refused.

use std::fmt;

/// How deep JSON may nest.
pub const DEPTH_MAX: usize = 120;

/// Jackson quotes at most this many characters of a source in a location.
const SOURCE_CHARS_MAX: usize = 500;

/// A fault in JSON text, in Jackson's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// The class of Jackson's exception.
    pub exception: &'static str,
    /// What is wrong, without the location.
    pub message: String,
    /// The line of the fault, from 1.
    pub line: usize,
    /// The column after the fault, from 1.
    pub column: usize,
    source: String,
}

impl JsonError {
    /// Jackson's location: `[Source: (String)"…"; line: 1, column: 4]`.
    pub fn location(&self) -> String {
        location(&self.source, self.line, self.column)
    }

    /// The message as Jackson prints it, with the location on a line of its own.
    pub fn full_message(&self) -> String {
        format!("{}\n at {}", self.message, self.location())
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.exception, self.full_message())
    }
}

impl std::error::Error for JsonError {}

fn location(source: &str, line: usize, column: usize) -> String {
    let mut quoted: String = source.chars().take(SOURCE_CHARS_MAX).collect();
    let left_out = source.chars().count().saturating_sub(SOURCE_CHARS_MAX);
    quoted.push('"');
    if left_out > 0 {
        quoted.push_str(&format!("[truncated {left_out} chars]"));
    }
    format!("[Source: (String)\"{quoted}; line: {line}, column: {column}]")
}

const PARSE: &str = "com.fasterxml.jackson.core.JsonParseException";
const END: &str = "com.fasterxml.jackson.core.io.JsonEOFException";
const CONSTRAINTS: &str = "com.fasterxml.jackson.core.exc.StreamConstraintsException";
const EXPECTED_VALUE: &str = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')";

/// Checks that `text` is exactly one JSON value.
pub fn check(text: &str) -> Result<(), JsonError> {
    let mut scanner = Scanner { text, bytes: text.as_bytes(), at: 0, open: Vec::new() };
    scanner.document()
}

/// Where the scanner stands between two tokens.
enum Expect {
    Value,
    ValueOrClose,
    KeyOrClose,
    Key,
    CommaOrClose,
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// The opening bracket of each open array or object, with its offset.
    open: Vec<(u8, usize)>,
}

impl Scanner<'_> {
    fn document(&mut self) -> Result<(), JsonError> {
        let mut expect = Expect::Value;
        loop {
            self.white_space();
            let Some(&byte) = self.bytes.get(self.at) else {
                return if self.open.is_empty() && matches!(expect, Expect::CommaOrClose) {
                    Ok(())
                } else {
                    Err(self.end_of_input())
                };
            };
            expect = match expect {
                Expect::Value => self.value(byte)?,
                Expect::ValueOrClose if byte == b']' => self.close(),
                Expect::ValueOrClose => self.value(byte)?,
                Expect::KeyOrClose if byte == b'}' => self.close(),
                Expect::KeyOrClose | Expect::Key => self.key(byte)?,
                Expect::CommaOrClose => self.after_value(byte)?,
            };
        }
    }

    fn white_space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn close(&mut self) -> Expect {
        self.open.pop();
        self.at += 1;
        Expect::CommaOrClose
    }

    fn value(&mut self, byte: u8) -> Result<Expect, JsonError> {
        match byte {
            b'{' | b'[' => {
                if self.open.len() == DEPTH_MAX {
                    let depth = DEPTH_MAX + 1;
                    let message = format!(
                        "Document nesting depth ({depth}) exceeds the maximum allowed ({DEPTH_MAX}, from \
                         `StreamReadConstraints.getMaxNestingDepth()`)"
                    );
                    return Err(self.error(CONSTRAINTS, message, self.at + 1));
                }
                self.open.push((byte, self.at));
                self.at += 1;
                return Ok(if byte == b'{' { Expect::KeyOrClose } else { Expect::ValueOrClose });
            }
            b'"' => self.string()?,
            b'-' | b'0'..=b'9' => self.number()?,
            _ => self.literal()?,
        }
        Ok(Expect::CommaOrClose)
    }

    fn key(&mut self, byte: u8) -> Result<Expect, JsonError> {
        if byte != b'"' {
            return Err(self.unexpected("was expecting double-quote to start field name"));
        }
        self.string()?;
        self.white_space();
        match self.bytes.get(self.at) {
            Some(b':') => {
                self.at += 1;
                Ok(Expect::Value)
            }
            Some(_) => Err(self.unexpected("was expecting a colon to separate field name and value")),
            None => Err(self.end_of_input()),
        }
    }

    fn after_value(&mut self, byte: u8) -> Result<Expect, JsonError> {
        let Some(&(open, _)) = self.open.last() else {
            // More than one value: Jackson reads on and complains about the next token.
            self.literal()?;
            return Err(self.unexpected(&format!("expected a valid value {EXPECTED_VALUE}")));
        };
        match (open, byte) {
            (b'{', b'}') | (b'[', b']') => Ok(self.close()),
            (b'{', b',') => {
                self.at += 1;
                Ok(Expect::Key)
            }
            (_, b',') => {
                self.at += 1;
                Ok(Expect::Value)
            }
            (b'{', b']') => Err(self.mismatched(']', '}', "Object")),
            (b'[', b'}') => Err(self.mismatched('}', ']', "Array")),
            (b'{', _) => Err(self.unexpected("was expecting comma to separate Object entries")),
            _ => Err(self.unexpected("was expecting comma to separate Array entries")),
        }
    }

    fn literal(&mut self) -> Result<(), JsonError> {
        let rest = &self.text[self.at..];
        let token: String =
            rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '$').collect();
        if token.is_empty() {
            return Err(self.unexpected(&format!("expected a valid value {EXPECTED_VALUE}")));
        }
        let end = self.at + token.len();
        if matches!(token.as_str(), "true" | "false" | "null") {
            self.at = end;
            return Ok(());
        }
        let message = format!("Unrecognized token '{token}': was expecting {EXPECTED_VALUE}");
        Err(self.error(PARSE, message, end))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        if self.bytes[self.at] == b'-' {
            self.at += 1;
        }
        let leading = self.bytes.get(self.at) == Some(&b'0');
        match self.digits() {
            0 => {
                return Err(
                    self.bad_number("expected digit (0-9) to follow minus sign, for valid numeric value")
                );
            }
            1 => {}
            _ if leading => {
                let message = "Invalid numeric value: Leading zeroes not allowed".to_owned();
                return Err(self.error(PARSE, message, start + 2));
            }
            _ => {}
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.bad_number("Decimal point not followed by a digit"));
            }
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.bad_number("Exponent indicator not followed by a digit"));
            }
        }
        let text = &self.text[start..self.at];
        if text.parse::<f64>().is_ok_and(f64::is_finite) {
            return Ok(());
        }
        Err(self.error(PARSE, format!("Numeric value ({text}) out of range of double"), self.at))
    }

    fn bad_number(&self, reason: &str) -> JsonError {
        match self.text[self.at..].chars().next() {
            Some(c) => {
                let message =
                    format!("Unexpected character ('{c}' (code {})) in numeric value: {reason}", c as u32);
                self.error(PARSE, message, self.at + c.len_utf8())
            }
            None => self.end_of_input(),
        }
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        loop {
            match self.bytes.get(self.at) {
                None => {
                    let message = "Unexpected end-of-input: was expecting closing quote for a string value";
                    return Err(self.error(END, message.to_owned(), self.at));
                }
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(&byte) if byte < 0x20 => {
                    let message = format!(
                        "Illegal unquoted character ((CTRL-CHAR, code {byte})): has to be escaped using \
                         backslash to be included in string value"
                    );
                    return Err(self.error(PARSE, message, self.at + 1));
                }
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let first = self.hex(self.at + 2)?;
                self.at += 6;
                if !(0xD800..0xE000).contains(&first) {
                    return Ok(());
                }
                let pair = first < 0xDC00 && self.bytes[self.at..].starts_with(b"\\u");
                if pair && (0xDC00..0xE000).contains(&self.hex(self.at + 2)?) {
                    self.at += 6;
                    return Ok(());
                }
                let message = format!("Lone surrogate in string value: \\u{first:04x}");
                Err(self.error(PARSE, message, self.at))
            }
            Some(_) => {
                let c = self.text[self.at + 1..].chars().next().unwrap_or(' ');
                let message = format!("Unrecognized character escape '{c}' (code {})", c as u32);
                Err(self.error(PARSE, message, self.at + 1 + c.len_utf8()))
            }
            None => {
                let message = "Unexpected end-of-input in character escape sequence".to_owned();
                Err(self.error(END, message, self.at + 1))
            }
        }
    }

    fn hex(&self, at: usize) -> Result<u32, JsonError> {
        let mut code = 0;
        for offset in at..at + 4 {
            match self.text.get(offset..).and_then(|rest| rest.chars().next()) {
                Some(c) if c.is_ascii_hexdigit() => code = code * 16 + c.to_digit(16).unwrap_or(0),
                Some(c) => {
                    let message = format!(
                        "Unexpected character ('{c}' (code {})): expected a hex-digit for character escape \
                         sequence",
                        c as u32
                    );
                    return Err(self.error(PARSE, message, offset + c.len_utf8()));
                }
                None => {
                    let message = "Unexpected end-of-input in character escape sequence".to_owned();
                    return Err(self.error(END, message, self.bytes.len()));
                }
            }
        }
        Ok(code)
    }

    fn unexpected(&self, reason: &str) -> JsonError {
        let c = self.text[self.at..].chars().next().unwrap_or(' ');
        let message = format!("Unexpected character ('{c}' (code {})): {reason}", c as u32);
        self.error(PARSE, message, self.at + c.len_utf8())
    }

    fn mismatched(&self, found: char, wanted: char, kind: &str) -> JsonError {
        let start = self.open.last().map_or(0, |&(_, at)| at);
        let (line, column) = position(self.text, start);
        let message = format!(
            "Unexpected close marker '{found}': expected '{wanted}' (for {kind} starting at {})",
            location(self.text, line, column)
        );
        self.error(PARSE, message, self.at + 1)
    }

    fn end_of_input(&self) -> JsonError {
        let message = match self.open.last() {
            Some(&(open, at)) => {
                let kind = if open == b'{' { "Object" } else { "Array" };
                let (line, column) = position(self.text, at);
                let start = location(self.text, line, column);
                format!("Unexpected end-of-input: expected close marker for {kind} (start marker at {start})")
            }
            None => "No content to map due to end-of-input".to_owned(),
        };
        self.error(END, message, self.bytes.len())
    }

    /// An error found when `end` bytes had been read.
    fn error(&self, exception: &'static str, message: String, end: usize) -> JsonError {
        let (line, column) = position(self.text, end);
        JsonError { exception, message, line, column, source: self.text.to_owned() }
    }
}

/// Line and column, both from 1, of the character at a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").encode_utf16().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_described_in_jacksons_words() {
        let cases = [
            (
                "not a definition",
                "Unrecognized token 'not': was expecting (JSON String, Number, Array, Object or token 'null', \
                 'true' or 'false')\n at [Source: (String)\"not a definition\"; line: 1, column: 4]",
            ),
            (
                "{\"a\":1",
                "Unexpected end-of-input: expected close marker for Object (start marker at [Source: \
                 (String)\"{\"a\":1\"; line: 1, column: 1])\n at [Source: (String)\"{\"a\":1\"; line: 1, column: 7]",
            ),
            (
                "{a}",
                "Unexpected character ('a' (code 97)): was expecting double-quote to start field name\n at \
                 [Source: (String)\"{a}\"; line: 1, column: 3]",
            ),
            (
                "[1\n 2]",
                "Unexpected character ('2' (code 50)): was expecting comma to separate Array entries\n at \
                 [Source: (String)\"[1\n 2]\"; line: 2, column: 3]",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(check(text).unwrap_err().full_message(), message, "{text}");
        }
    }

    #[test]
    fn what_passes_is_what_serde_json_reads() {
        let texts = [
            "1",
            "-0.5e+3",
            " [ ] ",
            "{\"a\":{\"b\":[true,null,\"\\u00e9\\ud83d\\ude00\"]}}",
            "",
            "01",
            "1.",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\u12\"",
            "1e999",
            "[1]]",
            "{} {}",
            "nul",
            "\"\u{1}\"",
            "-",
            "[}",
            "{]",
            "tru e",
            "\"a",
            "\"\\",
            "{\"a\":",
            "+1",
            "\u{feff}{}",
        ];
        for text in texts {
            let read: Result<serde_json::Value, _> = serde_json::from_str(text);
            assert_eq!(check(text).is_ok(), read.is_ok(), "{text:?}: {:?} {read:?}", check(text));
        }
    }

    #[test]
    fn depth_is_limited() {
        assert!(check(&format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX))).is_ok());
        let deep = check(&"[".repeat(1_000_000)).unwrap_err();
        assert_eq!(deep.exception, CONSTRAINTS);
    }
}
