//! The walk over well-formed text. Total all the same: on text that is not, it yields some value, never a panic.

use std::ops::Range;

use serde_json::Number;

use super::{Kind, Member, Node, Object};

pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Reader<'a> {
        Reader { text, at: 0 }
    }

    pub(super) fn document(mut self) -> Node {
        self.value()
    }

    fn value(&mut self) -> Node {
        self.skip_space();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => Kind::String(self.string().0),
            _ => self.scalar(),
        };
        Node { span: start..self.at, kind }
    }

    fn object(&mut self) -> Kind {
        let mut object = Object::default();
        self.at += 1;
        loop {
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'"') => {
                    let (key, key_span) = self.string();
                    self.skip_space();
                    if self.peek() == Some(b':') {
                        self.at += 1;
                    }
                    object.members.push(Member { key, key_span, value: self.value() });
                }
                end => {
                    self.at += usize::from(end == Some(b'}'));
                    return Kind::Object(object);
                }
            }
        }
    }

    fn array(&mut self) -> Kind {
        let mut elements = Vec::new();
        self.at += 1;
        loop {
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Kind::Array(elements);
                }
                Some(b'}' | b':') | None => return Kind::Array(elements),
                Some(_) => elements.push(self.value()),
            }
        }
    }

    fn string(&mut self) -> (String, Range<usize>) {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut end = start + 1;
        let mut escaped = false;
        while end < bytes.len() && bytes[end] != b'"' {
            let step = if bytes[end] == b'\\' { 2 } else { 1 };
            escaped |= step == 2;
            end += step;
        }
        self.at = (end + 1).min(bytes.len());
        let token = self.text.get(start..self.at).unwrap_or("\"\"");
        let text = match token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(plain) if !escaped => plain.to_owned(),
            _ => serde_json::from_str(token).unwrap_or_default(),
        };
        (text, start..self.at)
    }

    fn scalar(&mut self) -> Kind {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|byte| !matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r'))
        {
            self.at += 1;
        }
        match self.text.get(start..self.at).unwrap_or_default() {
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            token => serde_json::from_str::<Number>(token).map_or(Kind::Null, Kind::Number),
        }
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn every_key_and_value_knows_its_bytes() {
        let text = "{ \"a\" : [1, \"\\u00e9x\"],\n \"b\":{\"c\":null} }";
        let node = read(text).unwrap();
        let object = node.as_object().unwrap();
        assert_eq!(&text[object.members[0].key_span.clone()], "\"a\"");
        let elements = object.get("a").unwrap().as_array().unwrap();
        assert_eq!(&text[elements[0].span.clone()], "1");
        assert_eq!(&text[elements[1].span.clone()], "\"\\u00e9x\"");
        assert_eq!(elements[1].as_str(), Some("éx"));
        assert_eq!(&text[object.get("b").unwrap().span.clone()], "{\"c\":null}");
        assert_eq!(node.to_value(), serde_json::from_str::<serde_json::Value>(text).unwrap());
    }

    #[test]
    fn of_equal_keys_the_last_counts_and_both_are_kept() {
        let node = read("{\"a\":1,\"b\":2,\"a\":3}").unwrap();
        let object = node.as_object().unwrap();
        assert_eq!(object.get("a").unwrap().to_value(), 3);
        assert_eq!(object.members.len(), 3);
        assert_eq!(object.effective().map(|member| member.key.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    }
}
