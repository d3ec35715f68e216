//! A path as ASL writes it: from the input (`$`), the context object (`$$`) or a variable (`$name`).

use std::sync::Arc;

use super::evaluate::MISSING_PROPERTY;
use super::{Found, JsonPath, PathError, Restriction};
use crate::payload::{Document, Payload};
use crate::scope::Scope;

/// A path together with what it starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopePath {
    source: PathSource,
    path: JsonPath,
    text: Arc<str>,
}

/// What a path starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathSource {
    /// `$`
    Input,
    /// `$$`
    Context,
    /// `$name`
    Variable(Arc<str>),
}

impl ScopePath {
    /// Compiles a path that AWS accepts: it starts with `$` and uses nothing AWS forbids.
    pub fn parse(text: &str) -> Result<ScopePath, PathError> {
        let Some(rest) = text.strip_prefix('$') else {
            return Err(PathError::Invalid("Path must start with '$'".into()));
        };
        let (source, rest) = match rest.strip_prefix('$') {
            Some(rest) => (PathSource::Context, rest),
            None => match variable_name_length(rest) {
                0 => (PathSource::Input, rest),
                length => (PathSource::Variable(rest[..length].into()), &rest[length..]),
            },
        };
        let path = JsonPath::parse(&format!("${rest}"))?;
        match path.restriction() {
            None => Ok(ScopePath { source, path, text: text.into() }),
            Some(Restriction::Function) => Err(PathError::Invalid("Functions are not supported".into())),
            Some(Restriction::RegularExpression) => {
                Err(PathError::Invalid("Regular expressions are not supported".into()))
            }
            Some(Restriction::SetOperator) => {
                Err(PathError::Invalid("Set operators are not supported".into()))
            }
        }
    }

    /// The path as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it starts from.
    pub fn source(&self) -> &PathSource {
        &self.source
    }

    /// The path from there on.
    pub fn path(&self) -> &JsonPath {
        &self.path
    }

    /// The name of the variable it starts from.
    pub fn variable(&self) -> Option<&str> {
        match &self.source {
            PathSource::Variable(name) => Some(name),
            PathSource::Input | PathSource::Context => None,
        }
    }

    /// Whether it is `$`: the input whole.
    pub fn is_whole_input(&self) -> bool {
        self.source == PathSource::Input && self.path.is_root()
    }

    /// What it starts from; none if the variable was never assigned.
    pub fn root<'a>(&self, scope: &Scope<'a>) -> Option<Document<'a>> {
        match &self.source {
            PathSource::Input => Some(Document::Payload(scope.input)),
            PathSource::Context => Some(Document::Value(scope.context)),
            PathSource::Variable(name) => scope.variables.document(name),
        }
    }

    /// What the path names, if that is a payload of its own, which is shared. The input whole keeps the text it came with.
    pub fn shared(&self, scope: &Scope<'_>) -> Option<Payload> {
        match self.path.names()?.try_fold(self.root(scope)?, |document, name| document.member(name)?)? {
            Document::Payload(payload) if self.is_whole_input() => Some(payload.clone()),
            Document::Payload(payload) => Some(payload.compact()),
            Document::Value(_) => None,
        }
    }

    /// Finds what the path names. Where Jayway ends an indefinite path at a property that is not there, AWS has found nothing
    /// (`$.items[*]` in `{}` is `[]`); an array's token that meets no array is an error to it, too (`$[1:]` in `{}`).
    pub fn evaluate<'a>(&self, scope: &Scope<'a>) -> Result<Found<'a>, PathError> {
        let Some(root) = self.root(scope) else {
            return Err(PathError::NotFound(format!("No results for path: {}", self.text)));
        };
        match self.path.evaluate_in(root) {
            Err(PathError::NotFound(why))
                if !self.path.is_definite() && why.starts_with(MISSING_PROPERTY) =>
            {
                Ok(Found::Many(Vec::new()))
            }
            found => found,
        }
    }
}

/// The bytes of the variable name at the start of `text`: an identifier of UAX #31.
fn variable_name_length(text: &str) -> usize {
    let mut characters = text.char_indices();
    match characters.next() {
        Some((_, first)) if unicode_ident::is_xid_start(first) || first == '_' => {}
        _ => return 0,
    }
    characters.find(|(_, c)| !unicode_ident::is_xid_continue(*c)).map_or(text.len(), |(index, _)| index)
}
