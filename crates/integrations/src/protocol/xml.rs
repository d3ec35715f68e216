//! XML trees as the query and restXml protocols use them, and their errors.

use bytes::Bytes;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Map, Value};

use super::json::timestamp;
use super::{Fault, Timestamps, request_id};
use crate::model::{Member, Shape};

/// How deep an answer may nest.
const DEPTH_MAX: usize = 64;

/// An element without its namespace.
#[derive(Debug, Default)]
pub(super) struct Element {
    pub name: String,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }
    fn find(&self, name: &str) -> Option<&Element> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(name))
    }
}

/// Reads a document; a broken one gives the part that could be read.
pub(super) fn parse(body: &[u8]) -> Element {
    let mut reader = Reader::from_reader(body);
    let mut open = vec![Element::default()];
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) if open.len() < DEPTH_MAX => open.push(element(tag.local_name().as_ref())),
            Ok(Event::Empty(tag)) => attach(&mut open, element(tag.local_name().as_ref())),
            Ok(Event::End(_)) if open.len() > 1 => {
                let closed = open.pop().unwrap_or_default();
                attach(&mut open, closed);
            }
            Ok(Event::Text(text)) => push_text(&mut open, &text.decode().unwrap_or_default()),
            Ok(Event::CData(text)) => push_text(&mut open, &text.decode().unwrap_or_default()),
            Ok(Event::GeneralRef(reference)) => {
                let name = reference.decode().unwrap_or_default();
                let letter = reference.resolve_char_ref().ok().flatten().map(String::from);
                let known = quick_xml::escape::resolve_predefined_entity(&name).map(str::to_string);
                push_text(&mut open, &letter.or(known).unwrap_or_default());
            }
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
    while open.len() > 1 {
        let closed = open.pop().unwrap_or_default();
        attach(&mut open, closed);
    }
    open.pop().unwrap_or_default().children.into_iter().next().unwrap_or_default()
}

fn element(name: &[u8]) -> Element {
    Element { name: String::from_utf8_lossy(name).into_owned(), ..Element::default() }
}

fn attach(open: &mut [Element], child: Element) {
    if let Some(parent) = open.last_mut() {
        parent.children.push(child);
    }
}

fn push_text(open: &mut [Element], text: &str) {
    if let Some(current) = open.last_mut() {
        current.text.push_str(text);
    }
}

/// XML → native members of a structure.
pub(super) fn decode_structure(
    shape: Shape<'_>,
    element: &Element,
    timestamps: Timestamps,
) -> Map<String, Value> {
    shape
        .members()
        .filter(|(_, member)| member.location().is_none())
        .filter_map(|(name, member)| {
            Some((name.to_string(), decode_member(name, member, element, timestamps)?))
        })
        .collect()
}

fn decode_member(name: &str, member: Member<'_>, parent: &Element, timestamps: Timestamps) -> Option<Value> {
    let shape = member.shape;
    let flattened = [member.reference, shape.value].iter().any(|v| v["flattened"].as_bool() == Some(true));
    if flattened && shape.kind() == "list" {
        let wire =
            shape.element().reference["locationName"].as_str().unwrap_or_else(|| member.wire_name(name));
        let items: Vec<&Element> = parent.children.iter().filter(|child| child.name == wire).collect();
        let decoded: Vec<_> =
            items.iter().map(|item| decode(shape.element().shape, item, timestamps)).collect();
        return (!decoded.is_empty()).then_some(Value::Array(decoded));
    }
    if flattened && shape.kind() == "map" {
        let wire = member.wire_name(name);
        let entries = parent.children.iter().filter(|child| child.name == wire);
        return Some(Value::Object(decode_entries(shape, entries, timestamps)));
    }
    Some(decode(shape, parent.child(member.wire_name(name))?, timestamps))
}

fn decode(shape: Shape<'_>, element: &Element, timestamps: Timestamps) -> Value {
    match shape.kind() {
        "structure" => Value::Object(decode_structure(shape, element, timestamps)),
        "list" => {
            element.children.iter().map(|item| decode(shape.element().shape, item, timestamps)).collect()
        }
        "map" => Value::Object(decode_entries(shape, element.children.iter(), timestamps)),
        _ => scalar(shape, &element.text, timestamps),
    }
}

fn decode_entries<'a>(
    shape: Shape<'_>,
    entries: impl Iterator<Item = &'a Element>,
    timestamps: Timestamps,
) -> Map<String, Value> {
    let (key, value) = (shape.key(), shape.map_value());
    entries
        .filter_map(|entry| {
            let name = entry.child(key.wire_name("key"))?.text.clone();
            Some((name, decode(value.shape, entry.child(value.wire_name("value"))?, timestamps)))
        })
        .collect()
}

/// Text (of an element or a header) as the shape's JSON type.
pub(super) fn scalar(shape: Shape<'_>, text: &str, timestamps: Timestamps) -> Value {
    let number = || serde_json::from_str::<Value>(text).ok().filter(Value::is_number);
    match shape.kind() {
        "integer" | "long" | "float" | "double" => number().unwrap_or_else(|| text.into()),
        "boolean" => (text.trim() == "true").into(),
        "timestamp" => timestamp(&number().unwrap_or_else(|| text.into()), timestamps),
        _ => text.into(),
    }
}

pub(super) fn fault(response: &http::Response<Bytes>) -> Fault {
    let document = parse(response.body());
    let text = |name: &str| document.find(name).map(|element| element.text.clone());
    let header_id = request_id(response.headers());
    Fault {
        status: response.status().as_u16(),
        code: text("Code").unwrap_or_else(|| status_code(response.status())),
        message: text("Message").unwrap_or_default(),
        request_id: text("RequestId").filter(|id| !id.is_empty()).unwrap_or(header_id),
        extended_request_id: text("HostId")
            .or_else(|| Some(response.headers().get("x-amz-id-2")?.to_str().ok()?.to_string())),
        query_code: None,
    }
}

/// HEAD answers carry no body: the status is all there is.
fn status_code(status: http::StatusCode) -> String {
    status.canonical_reason().unwrap_or("UnknownError").replace(' ', "")
}
