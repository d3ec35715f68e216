//! Writing by Reference Path, for ResultPath.

use serde_json::{Map, Value};

use super::evaluate::fits_within;
use super::{JsonPath, Token};
use crate::json_syntax::DEPTH_MAX;

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
    /// Puts `value` into `document` at this Reference Path, creating objects on the way. An array is
    /// only entered at an index it has, and nothing is put so deep that the document is no payload any more. The document is
    /// untouched if that fails.
    pub fn set(&self, document: &mut Value, value: Value) -> Result<(), ResultPathMatchFailure> {
        let depth_left = DEPTH_MAX.checked_sub(self.tokens.len());
        let mut any_size = usize::MAX;
        let shallow = depth_left.is_some_and(|left| fits_within(&value, &mut any_size, left));
        if !shallow || !self.fits(document) {
            return Err(ResultPathMatchFailure { path: self.text.clone(), input: document.to_string() });
        }
        let mut place = document;
        for token in &self.tokens {
            place = match (token, place) {
                (Token::Properties { names, .. }, place) => {
                    if !place.is_object() {
                        *place = Value::Object(Map::new());
                    }
                    match place {
                        Value::Object(object) => object.entry(names[0].clone()).or_insert(Value::Null),
                        _ => return Ok(()),
                    }
                }
                (Token::Indexes(indexes), Value::Array(items)) => {
                    match usize::try_from(indexes[0]).ok().and_then(|index| items.get_mut(index)) {
                        Some(item) => item,
                        None => return Ok(()),
                    }
                }
                _ => return Ok(()),
            };
        }
        *place = value;
        Ok(())
    }

    /// Whether every step leads on: through an object, an array's item, or something not there yet.
    fn fits(&self, document: &Value) -> bool {
        if !self.is_reference_path() {
            return false;
        }
        let mut place = Some(document);
        for token in &self.tokens {
            place = match (token, place) {
                (Token::Properties { .. }, None) => None,
                (Token::Properties { names, .. }, Some(Value::Object(object))) => object.get(&names[0]),
                (Token::Indexes(indexes), Some(Value::Array(items))) => {
                    match usize::try_from(indexes[0]).ok().and_then(|index| items.get(index)) {
                        Some(item) => Some(item),
                        None => return false,
                    }
                }
                _ => return false,
            };
        }
        true
    }
}
