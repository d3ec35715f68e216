//! What an expression sees, read by the engine a level at a time.
//!
//! The engine takes bindings as values of its own, and borrows only the input document, of which ASL gives JSONata none. So an
//! expression that does not look at its input is run as `($states := $$.states; …)`, with what it sees as the input: nothing
//! is copied that the evaluation does not reach.

use jlens_core::input::{Sink, Source};
use jlens_core::output::Builder;
use serde_json::{Map, Value};

use super::{Compiled, JsonataScope, functions};
use crate::payload::Document;

/// The members of `$states`.
pub(super) const STATES_MEMBERS: [&str; 4] = ["input", "result", "errorOutput", "context"];

/// An expression that takes what it sees as its input.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) engine: jlens_core::Expression,
    /// Where the expression itself begins, in UTF-16 code units.
    pub(super) offset: usize,
}

impl Reading {
    /// `None` if the expression looks at its input, or must be metered, which the engine does for values only.
    pub(super) fn of(compiled: &Compiled) -> Option<Reading> {
        let sees_input = compiled.references.root || compiled.reads.input().is_some();
        if sees_input || compiled.analysis.metered {
            return None;
        }
        let mut text = String::from("($states:=$$.states;");
        for name in &compiled.references.variables {
            // A path would flatten an array.
            text.push_str(&format!("${name}:=$lookup($$,{});", Value::from(&**name)));
        }
        let offset = text.encode_utf16().count();
        text.push_str(compiled.engine.source());
        text.push_str("\n)");
        Some(Reading { engine: jlens_core::Expression::compile(&text).ok()?, offset })
    }
}

/// The input of such an expression: an object of `states` and the variables it refers to.
pub(super) struct Root<'a>(Seen<'a>);

/// An array or object that the engine may come to.
#[derive(Clone, Copy)]
enum Seen<'a> {
    All(&'a Compiled, JsonataScope<'a>),
    States(JsonataScope<'a>),
    Document(Document<'a>),
}

impl<'a> Root<'a> {
    pub(super) fn new(compiled: &'a Compiled, scope: &JsonataScope<'a>) -> Root<'a> {
        Root(Seen::All(compiled, *scope))
    }
}

impl<'a> Source<'a> for Root<'a> {
    fn read(&self, sink: &mut Sink<'_, 'a>) -> Result<(), String> {
        sink.object(self.0);
        Ok(())
    }
}

impl<'a> Source<'a> for Seen<'a> {
    fn read(&self, sink: &mut Sink<'_, 'a>) -> Result<(), String> {
        match *self {
            Seen::All(compiled, scope) => {
                sink.key("states");
                sink.object(Seen::States(scope));
                for name in &compiled.references.variables {
                    write_member(name, scope.variables.document(name), sink);
                }
            }
            Seen::States(scope) => {
                STATES_MEMBERS.iter().for_each(|name| write_member(name, scope.member(name), sink));
            }
            Seen::Document(document) => read_document(document, sink),
        }
        Ok(())
    }

    fn read_field(&self, key: &str, sink: &mut Sink<'_, 'a>) -> Result<bool, String> {
        let member = match *self {
            Seen::All(_, scope) if key == "states" => {
                sink.object(Seen::States(scope));
                return Ok(true);
            }
            Seen::All(_, scope) => scope.variables.document(key),
            Seen::States(scope) => scope.member(key),
            Seen::Document(document) => document.member(key).flatten(),
        };
        if let Some(member) = member {
            write(member, sink);
        }
        Ok(true)
    }

    fn length(&self) -> Option<usize> {
        match self {
            Seen::Document(document) => document.value().as_array().map(Vec::len),
            Seen::All(..) | Seen::States(_) => None,
        }
    }

    fn read_item(&self, index: usize, sink: &mut Sink<'_, 'a>) -> Result<bool, String> {
        let Seen::Document(document) = *self else { return Ok(false) };
        if let Some(item) = document.value().get(index) {
            write(Document::Value(item), sink);
        }
        Ok(true)
    }
}

fn write_member<'a>(name: &str, document: Option<Document<'a>>, sink: &mut Sink<'_, 'a>) {
    if let Some(document) = document {
        sink.key(name);
        write(document, sink);
    }
}

fn write<'a>(document: Document<'a>, sink: &mut Sink<'_, 'a>) {
    if let Document::Payload(payload) = document
        && payload.members_at_hand().is_some()
    {
        return sink.object(Seen::Document(document));
    }
    match document.value() {
        Value::Null => sink.null(),
        Value::Bool(value) => sink.bool(*value),
        Value::Number(number) => sink.number(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => sink.string(text),
        Value::Array(_) => sink.array(Seen::Document(document)),
        Value::Object(_) => sink.object(Seen::Document(document)),
    }
}

fn read_document<'a>(document: Document<'a>, sink: &mut Sink<'_, 'a>) {
    if let Document::Payload(payload) = document
        && let Some(members) = payload.members_at_hand()
    {
        sink.reserve(members.iter().len());
        return members
            .iter()
            .for_each(|(name, member)| write_member(name, Some(Document::Payload(member)), sink));
    }
    match document.value() {
        Value::Array(items) => {
            sink.reserve(items.len());
            items.iter().for_each(|item| write(Document::Value(item), sink));
        }
        Value::Object(object) => {
            sink.reserve(object.len());
            object.iter().for_each(|(name, value)| write_member(name, Some(Document::Value(value)), sink));
        }
        _ => {}
    }
}

/// A document as the input.
#[cfg(test)]
pub(super) struct Alone<'a>(pub(super) &'a Value);

#[cfg(test)]
impl<'a> Source<'a> for Alone<'a> {
    fn read(&self, sink: &mut Sink<'_, 'a>) -> Result<(), String> {
        write(Document::Value(self.0), sink);
        Ok(())
    }
}

/// Writes a result. Its numbers are JSONata's, which are floats: what an expression only names, and keeps them as they stood,
/// takes no engine.
pub(super) struct Results;

impl Builder for Results {
    type Value = Value;
    type Array = Vec<Value>;
    type Object = Map<String, Value>;

    fn null(&mut self) -> Value {
        Value::Null
    }

    fn bool(&mut self, value: bool) -> Value {
        Value::Bool(value)
    }

    fn number(&mut self, value: f64) -> Value {
        functions::json_number(value)
    }

    fn string(&mut self, value: &str) -> Value {
        Value::from(value)
    }

    fn array(&mut self, len: usize) -> Vec<Value> {
        Vec::with_capacity(len)
    }

    fn push(&mut self, array: &mut Vec<Value>, item: Value) {
        array.push(item);
    }

    fn end_array(&mut self, array: Vec<Value>) -> Value {
        Value::Array(array)
    }

    fn object(&mut self, len: usize) -> Map<String, Value> {
        Map::with_capacity(len)
    }

    fn insert(&mut self, object: &mut Map<String, Value>, key: &str, value: Value) {
        object.insert(key.to_owned(), value);
    }

    fn end_object(&mut self, object: Map<String, Value>) -> Value {
        Value::Object(object)
    }
}
