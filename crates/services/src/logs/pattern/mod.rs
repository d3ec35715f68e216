//! The filter pattern language of CloudWatch Logs: terms, JSON selectors and columns.
//!
//! A pattern is compiled once and matched against many messages. Matching never fails; what does not parse is refused
//! when the pattern is compiled.

mod columns;
mod json;
mod terms;
mod value;

use serde_json::Value;

/// Patterns are short on AWS as well.
const PATTERN_CHARACTERS_MAX: usize = 1024;

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Everything,
    Terms(terms::Terms),
    Json(json::Condition),
    Columns(columns::Columns),
}

impl Pattern {
    /// Compiles a pattern; the error is a sentence for the caller.
    pub fn parse(pattern: &str) -> Result<Self, String> {
        if pattern.chars().count() > PATTERN_CHARACTERS_MAX {
            return Err("Invalid filter pattern: too long".to_owned());
        }
        let trimmed = pattern.trim();
        let inside = |open: char, close: char| trimmed.strip_prefix(open)?.strip_suffix(close);
        let kind = if trimmed.is_empty() {
            Kind::Everything
        } else if let Some(selector) = inside('{', '}') {
            Kind::Json(json::parse(selector)?)
        } else if let Some(columns) = inside('[', ']') {
            Kind::Columns(columns::parse(columns)?)
        } else {
            Kind::Terms(terms::parse(trimmed)?)
        };
        Ok(Self { kind })
    }

    /// Whether a message matches.
    pub fn matches(&self, message: &str) -> bool {
        match &self.kind {
            Kind::Everything => true,
            Kind::Terms(terms) => terms.matches(message),
            Kind::Columns(columns) => columns.matches(message),
            Kind::Json(condition) => match serde_json::from_str::<Value>(message) {
                Ok(document) => condition.matches(&document),
                Err(_) => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_manual_says() {
        let json = r#"{"eventType":"UpdateTrail","sourceIPAddress":"111.111.111.111","arrayKey":["value","another"],
            "objectList":[{"name":"a","id":1},{"name":"b","id":2}],"SomeObject":null,"ThisFlag":true,"n":4.5,
            "user":{"id":1,"email":"John.Stiles@example.com"}}"#;
        let line = r#"127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534"#;
        let cases = [
            ("", "anything", true),
            ("ERROR", "[ERROR] x", true),
            ("ERROR", "error x", false),
            ("ERROR ARGUMENTS", "ERROR no ARGUMENTS", true),
            ("ERROR ARGUMENTS", "ERROR only", false),
            ("\"INTERNAL SERVER ERROR\"", "x INTERNAL SERVER ERROR y", true),
            ("?ERROR ?WARN", "a WARN", true),
            ("?ERROR ?WARN", "an INFO", false),
            ("ERROR -EXITING", "ERROR x", true),
            ("ERROR -EXITING", "ERROR EXITING", false),
            ("-\"a b\"", "x a b", false),
            ("%AUTHORIZED%", "UNAUTHORIZED", true),
            ("{ $.eventType = \"UpdateTrail\" }", json, true),
            ("{ $.eventType = Update* }", json, true),
            ("{ $.sourceIPAddress != 123.123.* }", json, true),
            ("{ $.arrayKey[0] = \"value\" }", json, true),
            ("{ $.arrayKey[1] = \"value\" }", json, false),
            ("{ $.arrayKey[*] = \"another\" }", json, true),
            ("{ $.objectList[1].id = 2 }", json, true),
            ("{ $.SomeObject IS NULL }", json, true),
            ("{ $.SomeOtherObject NOT EXISTS }", json, true),
            ("{ $.ThisFlag IS TRUE }", json, true),
            ("{ ($.user.id = 1) && ($.user.email = \"John*\") }", json, true),
            ("{ ($.user.id = 2 && $.n > 1) || $.n >= 4.5 }", json, true),
            ("{ $.n < 4 || $.n <= 4.4 }", json, false),
            ("{ $.eventType = %^Update% }", json, true),
            ("{ $['eventType'] = \"UpdateTrail\" }", json, true),
            ("{ $.missing != \"x\" }", json, false),
            ("{ $.a = 1 }", "not json", false),
            ("[ip, user, username, timestamp, request=*html*, status_code=4*, bytes]", line, true),
            (
                "[ip, user, username, timestamp, request, status_code=200 || status_code=404, bytes>1000]",
                line,
                true,
            ),
            ("[..., status_code=404, bytes]", line, true),
            ("[ip, ..., bytes<1000]", line, false),
            ("[ip, user]", line, false),
        ];
        for (pattern, message, expected) in cases {
            let compiled = Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(compiled.matches(message), expected, "{pattern} on {message}");
        }
    }

    #[test]
    fn what_does_not_parse_is_refused() {
        for pattern in
            ["{ $.a = }", "{ a = 1 }", "{ ($.a = 1 }", "\"open", "[a, b=]", "%(%", "{ $.a[x] = 1 }", "{}"]
        {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
        let deep = format!("{{ {}$.a = 1{} }}", "(".repeat(400), ")".repeat(400));
        assert!(Pattern::parse(&deep).is_err());
    }
}
