//! YAML or JSON text → a JSON value, with the place of every member and CloudFormation's short tags written out.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value, json};

use crate::error::{FilePlace, TemplateError};

/// How deep a template may nest.
const DEPTH_MAX: usize = 100;

/// A parsed file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Document {
    /// The file as the user named it.
    pub file: String,
    /// Its content, `!Ref X` as `{"Ref": "X"}`, `!Sub` as `{"Fn::Sub": …}`.
    pub value: Value,
    places: HashMap<String, (usize, usize)>,
}

impl Document {
    /// Parses `text`; `file` is only for messages.
    pub fn parse(file: &str, text: &str) -> Result<Document, TemplateError> {
        let mut loader = Loader { file, places: HashMap::new() };
        let mut parser = Parser::new_from_str(text);
        let value = loader.document(&mut parser)?;
        Ok(Document { file: file.to_string(), value, places: loader.places })
    }

    /// Place of the member at a JSON pointer, or of its nearest ancestor.
    pub fn place(&self, pointer: &str) -> FilePlace {
        let mut pointer = pointer;
        loop {
            if let Some((line, column)) = self.places.get(pointer) {
                return FilePlace { file: self.file.clone(), line: *line, column: *column };
            }
            match pointer.rfind('/') {
                Some(end) => pointer = &pointer[..end],
                None => return FilePlace { file: self.file.clone(), ..FilePlace::default() },
            }
        }
    }
}

struct Loader<'a> {
    file: &'a str,
    places: HashMap<String, (usize, usize)>,
}

type Events<'a> = Parser<'a, saphyr_parser::StrInput<'a>>;

impl Loader<'_> {
    fn document(&mut self, parser: &mut Events<'_>) -> Result<Value, TemplateError> {
        loop {
            let (event, span) = self.next(parser)?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd | Event::DocumentEnd => return Ok(Value::Null),
                event => return self.node(parser, event, span, "", 0),
            }
        }
    }

    fn next<'e>(&self, parser: &mut Events<'e>) -> Result<(Event<'e>, Span), TemplateError> {
        match parser.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => {
                let marker = error.marker();
                Err(TemplateError::Syntax(self.at(marker.line(), marker.col() + 1), error.info().to_string()))
            }
            None => Err(TemplateError::Syntax(self.at(0, 0), "the document ends too early".into())),
        }
    }

    fn at(&self, line: usize, column: usize) -> FilePlace {
        FilePlace { file: self.file.to_string(), line, column }
    }

    fn node(
        &mut self,
        parser: &mut Events<'_>,
        event: Event<'_>,
        span: Span,
        pointer: &str,
        depth: usize,
    ) -> Result<Value, TemplateError> {
        let place = (span.start.line(), span.start.col() + 1);
        self.places.entry(pointer.to_string()).or_insert(place);
        let refuse = |what: String| Err(TemplateError::Syntax(self.at(place.0, place.1), what));
        if depth > DEPTH_MAX {
            return refuse(format!("nested more than {DEPTH_MAX} deep"));
        }
        match event {
            Event::Scalar(text, style, _, tag) => {
                let value = match &tag {
                    None if style == ScalarStyle::Plain => plain(&text),
                    _ => Value::String(text.to_string()),
                };
                Ok(tagged(tag.as_deref(), value))
            }
            Event::SequenceStart(_, tag) => {
                let tag = tag.map(std::borrow::Cow::into_owned);
                let items = self.sequence(parser, pointer, depth)?;
                Ok(tagged(tag.as_ref(), Value::Array(items)))
            }
            Event::MappingStart(_, tag) => {
                let tag = tag.map(std::borrow::Cow::into_owned);
                let members = self.mapping(parser, pointer, depth)?;
                Ok(tagged(tag.as_ref(), Value::Object(members)))
            }
            Event::Alias(_) => refuse("aliases (*name) are not supported in templates".into()),
            _ => refuse("unexpected end".into()),
        }
    }

    fn sequence(
        &mut self,
        parser: &mut Events<'_>,
        pointer: &str,
        depth: usize,
    ) -> Result<Vec<Value>, TemplateError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next(parser)?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(items);
            }
            let at = format!("{pointer}/{}", items.len());
            items.push(self.node(parser, event, span, &at, depth + 1)?);
        }
    }

    fn mapping(
        &mut self,
        parser: &mut Events<'_>,
        pointer: &str,
        depth: usize,
    ) -> Result<Map<String, Value>, TemplateError> {
        let mut members = Map::new();
        loop {
            let (event, span) = self.next(parser)?;
            let (line, column) = (span.start.line(), span.start.col() + 1);
            let key = match event {
                Event::MappingEnd => return Ok(members),
                Event::Scalar(key, ..) => key.to_string(),
                _ => {
                    return Err(TemplateError::Syntax(
                        self.at(line, column),
                        "a key must be a string".into(),
                    ));
                }
            };
            if members.contains_key(&key) {
                return Err(TemplateError::Syntax(
                    self.at(line, column),
                    format!("the key '{key}' stands here twice"),
                ));
            }
            let at = format!("{pointer}/{key}");
            self.places.insert(at.clone(), (line, column));
            let (event, span) = self.next(parser)?;
            let value = self.node(parser, event, span, &at, depth + 1)?;
            members.insert(key, value);
        }
    }
}

/// YAML 1.1's booleans are what CloudFormation reads; dates such as 2012-10-17 stay text.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "on" | "On" => true.into(),
        "false" | "False" | "FALSE" | "no" | "No" | "off" | "Off" => false.into(),
        _ => serde_json::from_str::<Value>(text).ok().filter(Value::is_number).unwrap_or_else(|| text.into()),
    }
}

fn tagged(tag: Option<&Tag>, value: Value) -> Value {
    let Some(tag) = tag.filter(|tag| tag.handle == "!") else { return value };
    match tag.suffix.as_str() {
        "Ref" => json!({ "Ref": value }),
        "Condition" => json!({ "Condition": value }),
        "GetAtt" => {
            // `!GetAtt Resource.Attribute`; the attribute itself may contain dots.
            let parts = value.as_str().and_then(|text| text.split_once('.'));
            parts.map_or_else(
                || json!({ "Fn::GetAtt": value }),
                |(id, name)| json!({ "Fn::GetAtt": [id, name] }),
            )
        }
        other => Value::Object(Map::from_iter([(format!("Fn::{other}"), value)])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tags_become_functions_and_members_keep_their_lines() {
        let document = Document::parse(
            "t.yaml",
            "A: !Ref X\nB: !GetAtt R.Outputs.Y\nC:\n  - !Sub ${X}-y\n  - 2012-10-17\nD: {E: !If [c, 1, 2]}\n",
        )
        .expect("valid YAML");
        assert_eq!(
            document.value,
            json!({ "A": {"Ref": "X"}, "B": {"Fn::GetAtt": ["R", "Outputs.Y"]},
                    "C": [{"Fn::Sub": "${X}-y"}, "2012-10-17"], "D": {"E": {"Fn::If": ["c", 1, 2]}} })
        );
        assert_eq!(document.place("/C/1/missing").line, 5);
    }

    #[test]
    fn a_broken_document_tells_the_line() {
        let error = Document::parse("t.yaml", "A: [1, 2\nB: 3\n").expect_err("unclosed");
        assert!(error.to_string().starts_with("t.yaml:"), "{error}");
    }

    #[test]
    fn json_is_yaml() {
        let document =
            Document::parse("t.json", "{\"A\": {\"Ref\": \"X\"}, \"n\": 1.5}").expect("valid JSON");
        assert_eq!(document.value, json!({ "A": {"Ref": "X"}, "n": 1.5 }));
    }
}
