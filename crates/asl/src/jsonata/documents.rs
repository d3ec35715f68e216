//! What an expression sees, read by the engine a level at a time.
//!
//! The engine takes bindings as values of its own, and borrows only the input document, of which ASL gives JSONata none. So an
//! expression that does not look at its input is run as `($states := $$.states; …)`, with what it sees as the input: nothing
//! is copied that the evaluation does not reach.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use jlens_core::input::{Sink, Source, Sources};
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

/// The documents that the engine has come upon, by number. The first two stand for the input and `$states`.
pub(super) struct Documents<'a> {
    itself: Weak<Documents<'a>>,
    scope: JsonataScope<'a>,
    variables: Vec<(&'a str, Document<'a>)>,
    found: RefCell<Vec<Document<'a>>>,
}

const ROOT: u32 = 0;
const STATES: u32 = 1;
const FIRST: u32 = 2;

impl<'a> Documents<'a> {
    pub(super) fn new(compiled: &'a Compiled, scope: &JsonataScope<'a>) -> Rc<Documents<'a>> {
        let scope = *scope;
        let names = compiled.references.variables.iter().map(|name| &**name);
        let variables = names.filter_map(|name| Some((name, scope.variables.document(name)?))).collect();
        Rc::new_cyclic(|itself| Documents {
            itself: itself.clone(),
            scope,
            variables,
            found: RefCell::default(),
        })
    }

    /// The document of a number, unless it stands for more than one.
    fn document(&self, index: u32) -> Option<Document<'a>> {
        self.found.borrow().get(index.checked_sub(FIRST)? as usize).copied()
    }

    fn write(&self, document: Document<'a>, sink: &mut Sink<'_, 'a>) {
        let is_object = match document {
            Document::Payload(payload) => payload.members_at_hand().is_some(),
            Document::Value(value) => value.is_object(),
        };
        if is_object {
            return self.write_container(document, sink, true);
        }
        match document.value() {
            Value::Null => sink.null(),
            Value::Bool(value) => sink.bool(*value),
            Value::Number(number) => sink.number(number.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) => sink.string(text),
            Value::Array(_) => self.write_container(document, sink, false),
            Value::Object(_) => self.write_container(document, sink, true),
        }
    }

    fn write_container(&self, document: Document<'a>, sink: &mut Sink<'_, 'a>, is_object: bool) {
        let mut found = self.found.borrow_mut();
        let index = u32::try_from(found.len() + FIRST as usize).ok();
        // They live as long as the evaluation, and there are fewer of them than it may take steps.
        let (Some(itself), Some(index)) = (self.itself.upgrade(), index) else { return };
        found.push(document);
        match is_object {
            true => sink.object_of(&itself, index),
            false => sink.array_of(&itself, index),
        }
    }

    fn write_states(&self, name: &str, sink: &mut Sink<'_, 'a>) {
        if let Some(document) = self.scope.member(name) {
            sink.key(name);
            self.write(document, sink);
        }
    }
}

impl<'a> Sources<'a> for Documents<'a> {
    fn read(&self, index: u32, sink: &mut Sink<'_, 'a>) -> Result<(), String> {
        match index {
            ROOT => {
                sink.key("states");
                self.read_field(ROOT, "states", sink)?;
                for (name, document) in &self.variables {
                    sink.key(name);
                    self.write(*document, sink);
                }
            }
            STATES => STATES_MEMBERS.iter().for_each(|name| self.write_states(name, sink)),
            index => match self.document(index) {
                Some(document) => self.read_document(document, sink),
                None => return Err(format!("there is no document {index}")),
            },
        }
        Ok(())
    }

    fn read_field(&self, index: u32, key: &str, sink: &mut Sink<'_, 'a>) -> Result<bool, String> {
        match (index, key) {
            (ROOT, "states") => {
                if let Some(itself) = self.itself.upgrade() {
                    sink.object_of(&itself, STATES);
                }
            }
            (ROOT, _) => return Ok(false),
            (STATES, key) => self.write_states(key, sink),
            (index, key) => {
                if let Some(member) = self.document(index).and_then(|found| found.member(key)).flatten() {
                    self.write(member, sink);
                }
            }
        }
        Ok(true)
    }

    fn length(&self, index: u32) -> Option<usize> {
        self.document(index)?.value().as_array().map(Vec::len)
    }

    fn read_item(&self, index: u32, item: usize, sink: &mut Sink<'_, 'a>) -> Result<bool, String> {
        let items = self.document(index).and_then(|document| document.value().as_array());
        if let Some(item) = items.and_then(|items| items.get(item)) {
            self.write(Document::Value(item), sink);
        }
        Ok(true)
    }
}

impl<'a> Documents<'a> {
    fn read_document(&self, document: Document<'a>, sink: &mut Sink<'_, 'a>) {
        if let Document::Payload(payload) = document
            && let Some(members) = payload.members_at_hand()
        {
            sink.reserve(members.iter().len());
            for (name, member) in members.iter() {
                sink.key(name);
                self.write(Document::Payload(member), sink);
            }
            return;
        }
        match document.value() {
            Value::Array(items) => {
                sink.reserve(items.len());
                items.iter().for_each(|item| self.write(Document::Value(item), sink));
            }
            Value::Object(object) => {
                sink.reserve(object.len());
                for (name, value) in object {
                    sink.key(name);
                    self.write(Document::Value(value), sink);
                }
            }
            _ => {}
        }
    }
}

/// The input document: the first of them.
pub(super) struct Root<'a>(pub(super) Rc<Documents<'a>>);

impl<'a> Source<'a> for Root<'a> {
    fn read(&self, sink: &mut Sink<'_, 'a>) -> Result<(), String> {
        sink.object_of(&self.0, ROOT);
        Ok(())
    }
}

/// A document as the input.
#[cfg(test)]
pub(super) struct Alone<'a>(pub(super) Rc<Documents<'a>>, pub(super) Document<'a>);

#[cfg(test)]
impl<'a> Source<'a> for Alone<'a> {
    fn read(&self, sink: &mut Sink<'_, 'a>) -> Result<(), String> {
        self.0.write(self.1, sink);
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
