//! Writing by Reference Path, for ResultPath.

use super::{JsonPath, Token};
use crate::payload::{DEPTH_MAX, Members, Payload};

/// A value could not be put where a ResultPath says: AWS's `States.ResultPathMatchFailure`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Unable to apply ReferencePath {path} to input {input}")]
pub struct ResultPathMatchFailure {
    /// The path as it was written.
    pub path: String,
    /// The input as JSON text.
    pub input: String,
}

impl JsonPath {
    /// The document with `value` put at this Reference Path, creating objects on the way. An array is only entered at an
    /// index it has, and nothing is put so deep that the document is no payload any more. All that is not on the way is shared
    /// with the document.
    pub fn put(&self, document: &Payload, value: &Payload) -> Result<Payload, ResultPathMatchFailure> {
        let depth_left = DEPTH_MAX.checked_sub(self.tokens.len());
        let shallow = depth_left.is_some_and(|left| value.extent().depth <= left);
        let changed =
            if shallow && self.is_reference_path() { put(&self.tokens, Some(document), value) } else { None };
        changed.ok_or_else(|| {
            let input = document.value().to_string();
            ResultPathMatchFailure { path: self.text.clone(), input }
        })
    }
}

/// A place with a value put below it, unless the tokens lead through something else than an object or an array's item.
fn put(tokens: &[Token], place: Option<&Payload>, value: &Payload) -> Option<Payload> {
    let Some((token, rest)) = tokens.split_first() else { return Some(value.clone()) };
    match (token, place) {
        (Token::Properties { names, .. }, place) => {
            let name = names.first()?;
            let mut members = match place {
                None => Members::default(),
                Some(place) => place.members()?.clone(),
            };
            let changed = put(rest, members.get(name), value)?;
            members.insert(name.as_str().into(), &changed);
            Some(Payload::from_members(members))
        }
        (Token::Indexes(indexes), Some(place)) => {
            let mut items = place.value().as_array()?.clone();
            let item = items.get_mut(usize::try_from(*indexes.first()?).ok()?)?;
            let changed = put(rest, Some(&Payload::from_value(item.take())), value)?;
            *item = changed.value().clone();
            Some(Payload::from_value(items.into()))
        }
        _ => None,
    }
}
