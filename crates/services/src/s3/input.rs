//! XML that callers send: a tree of names and texts. Attributes and namespaces are not looked at.
//!
//! Depth and size are bounded; entities are the predefined ones only, so nothing is expanded.

use super::errors::malformed_xml;
use crate::wire::ServiceError;
use quick_xml::Reader;
use quick_xml::events::Event;

/// Deeper than any of S3's documents.
const DEPTH_MAX: usize = 16;
/// S3 bounds its documents at 1 MB.
const BYTES_MAX: usize = 1024 * 1024;

/// One element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub name: String,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// Reads a document whose root has the given name.
    pub fn parse(bytes: &[u8], root: &str) -> Result<Self, ServiceError> {
        if bytes.len() > BYTES_MAX {
            return Err(malformed_xml());
        }
        let element = read(bytes).ok_or_else(malformed_xml)?;
        if element.name == root { Ok(element) } else { Err(malformed_xml()) }
    }

    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of a child.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }
}

fn read(bytes: &[u8]) -> Option<Element> {
    let mut reader = Reader::from_reader(bytes);
    // The bottom of the stack stands for the document.
    let mut open = vec![Element::default()];
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                if open.len() > DEPTH_MAX {
                    return None;
                }
                open.push(named(start.local_name().as_ref()));
            }
            Event::Empty(start) => {
                let element = named(start.local_name().as_ref());
                open.last_mut()?.children.push(element);
            }
            Event::End(_) => {
                let element = open.pop()?;
                open.last_mut()?.children.push(element);
            }
            Event::Text(text) => open.last_mut()?.text.push_str(&text.decode().ok()?),
            Event::CData(text) => open.last_mut()?.text.push_str(&text.decode().ok()?),
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().ok()?;
                let name = reference.decode().ok()?;
                let text = &mut open.last_mut()?.text;
                match character {
                    Some(character) => text.push(character),
                    None => text.push_str(quick_xml::escape::resolve_predefined_entity(&name)?),
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    let document = open.pop().filter(|_| open.is_empty())?;
    document.children.into_iter().next()
}

fn named(name: &[u8]) -> Element {
    Element { name: String::from_utf8_lossy(name).into_owned(), ..Element::default() }
}
