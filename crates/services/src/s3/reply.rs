//! The answer to a change, in a form that can be kept and given again to an invocation that is sent twice.

use super::text::document;
use crate::wire::{ServiceResponse, Xml};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Status 200 with a document.
    pub fn document(root: &str, children: Vec<Xml>) -> Self {
        let body = String::from_utf8_lossy(&document(root, children).body_bytes()).into_owned();
        Self { status: 200, headers: Vec::new(), body: Some(body) }
    }

    /// A document outside S3's namespace, as browsers get it.
    pub fn plain_document(status: u16, root: &str, children: Vec<Xml>) -> Self {
        let written = Xml::write_all(&[Xml::element(root).with_children(children)]);
        Self {
            status,
            headers: Vec::new(),
            body: Some(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{written}")),
        }
    }

    pub fn header(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }
}

impl From<Reply> for ServiceResponse {
    fn from(reply: Reply) -> Self {
        let mut response = match reply.body {
            Some(body) => Self::bytes(Bytes::from(body)),
            None => Self::empty(),
        };
        reply.headers.iter().for_each(|(name, value)| insert(&mut response, name, value));
        response.with_status(reply.status)
    }
}

/// Sets a header by a name known at run time; what no header can hold is left out.
pub(super) fn insert(response: &mut ServiceResponse, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes())) {
        response.headers.insert(name, value);
    }
}

/// What a transaction did: its answer, and the files that no row names after it.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub reply: Reply,
    pub released: Vec<String>,
}

impl Change {
    pub fn of(reply: Reply) -> Self {
        Self { reply, released: Vec::new() }
    }
}
