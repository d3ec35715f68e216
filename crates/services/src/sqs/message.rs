//! What a message carries: its body, its attributes, and their MD5 digests.

use super::errors;
use crate::wire::ServiceError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const ATTRIBUTES_MAX: usize = 10;

/// One attribute of a message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Attribute {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) string_value: Option<String>,
    /// Base64.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) binary_value: Option<String>,
    pub(super) data_type: String,
}

/// Attributes by name.
pub(super) type MessageAttributes = BTreeMap<String, Attribute>;

/// The lower-case hexadecimal MD5 of a body.
pub(super) fn md5_of(text: &str) -> String {
    hex::encode(Md5::digest(text.as_bytes()))
}

/// SQS's digest of attributes: for each, in the order of names, name, type and value, each with its length before it.
/// `None` for a message without attributes.
pub(super) fn md5_of_attributes(attributes: &MessageAttributes) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut digest = Md5::new();
    for (name, attribute) in attributes {
        add(&mut digest, name.as_bytes());
        add(&mut digest, attribute.data_type.as_bytes());
        match (&attribute.string_value, &attribute.binary_value) {
            (None, Some(binary)) => {
                digest.update([2]);
                add(&mut digest, &STANDARD.decode(binary).unwrap_or_default());
            }
            (text, _) => {
                digest.update([1]);
                add(&mut digest, text.as_deref().unwrap_or_default().as_bytes());
            }
        }
    }
    Some(hex::encode(digest.finalize()))
}

fn add(digest: &mut Md5, bytes: &[u8]) {
    // Checked on the way in: shorter than a message may be.
    digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    digest.update(bytes);
}

/// Checks a body and its attributes against SQS's rules and the queue's size; the size in bytes.
pub(super) fn check(
    body: &str,
    attributes: &MessageAttributes,
    bytes_max: i64,
) -> Result<usize, ServiceError> {
    if body.is_empty() {
        return Err(errors::missing_parameter("MessageBody"));
    }
    if !body.chars().all(is_allowed) {
        return Err(errors::invalid_characters());
    }
    if attributes.len() > ATTRIBUTES_MAX {
        let count = attributes.len();
        return Err(errors::invalid_parameter(format!(
            "Number of message attributes [{count}] exceeds the allowed maximum [{ATTRIBUTES_MAX}]."
        )));
    }
    let mut bytes = body.len();
    for (name, attribute) in attributes {
        check_attribute(name, attribute)?;
        let value =
            attribute.string_value.as_ref().or(attribute.binary_value.as_ref()).map_or(0, String::len);
        bytes += name.len() + attribute.data_type.len() + value;
    }
    if i64::try_from(bytes).unwrap_or(i64::MAX) > bytes_max {
        return Err(errors::invalid_parameter(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {bytes_max} bytes."
        )));
    }
    Ok(bytes)
}

/// The attributes a receiver asked for: `All`, `.*`, a name, or `prefix.*`.
pub(super) fn wanted(attributes: MessageAttributes, names: &[String]) -> MessageAttributes {
    let is_wanted = |name: &String| {
        names.iter().any(|wanted| match wanted.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => wanted == "All" || wanted == name,
        })
    };
    attributes.into_iter().filter(|(name, _)| is_wanted(name)).collect()
}

/// Attributes as stored.
pub(super) fn stored(text: &str) -> MessageAttributes {
    // The text is ours.
    serde_json::from_str(text).unwrap_or_default()
}

/// Attributes to be stored or answered.
pub(super) fn value(attributes: &MessageAttributes) -> Value {
    serde_json::to_value(attributes).unwrap_or_else(|_| Value::Object(Map::new()))
}

fn check_attribute(name: &str, attribute: &Attribute) -> Result<(), ServiceError> {
    let is_name = !name.is_empty()
        && name.len() <= 256
        && name.chars().all(|character| character.is_ascii_alphanumeric() || "_-.".contains(character))
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..");
    if !is_name {
        return Err(errors::invalid_parameter(format!(
            "The message attribute name '{name}' is invalid. Attribute name can contain A-Z, a-z, 0-9, underscore (_), \
             hyphen (-), and period (.) characters."
        )));
    }
    let kind = attribute.data_type.split('.').next().unwrap_or_default();
    let invalid =
        |reason: &str| Err(errors::invalid_parameter(format!("The message attribute '{name}' {reason}")));
    match kind {
        "String" | "Number" => match &attribute.string_value {
            None => invalid(&format!(
                "must contain a non-empty message attribute value for message attribute type '{kind}'."
            )),
            Some(text) if text.is_empty() => invalid(&format!(
                "must contain a non-empty message attribute value for message attribute type '{kind}'."
            )),
            Some(text) if kind == "Number" && text.parse::<f64>().is_err() => {
                invalid("has an invalid value: Can't cast the value of message attribute to a number.")
            }
            Some(text) if !text.chars().all(is_allowed) => Err(errors::invalid_characters()),
            Some(_) => Ok(()),
        },
        "Binary" => match attribute.binary_value.as_ref().and_then(|text| STANDARD.decode(text).ok()) {
            Some(bytes) if !bytes.is_empty() => Ok(()),
            _ => invalid(
                "must contain a non-empty message attribute value for message attribute type 'Binary'.",
            ),
        },
        _ => invalid(
            "has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.",
        ),
    }
}

/// XML 1.0's characters, which is what SQS takes.
fn is_allowed(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_that_sdks_compute() {
        assert_eq!(md5_of("hello"), "5d41402abc4b2a76b9719d911017c592");
        let attribute = |kind: &str, text: &str| Attribute {
            string_value: Some(text.to_owned()),
            binary_value: None,
            data_type: kind.to_owned(),
        };
        let attributes =
            MessageAttributes::from([("timestamp".to_owned(), attribute("Number", "1493147359900"))]);
        // The example of SQS's own guide to this digest.
        assert_eq!(md5_of_attributes(&attributes).as_deref(), Some("235c5c510d26fb653d073faed50ae77c"));
        assert_eq!(md5_of_attributes(&MessageAttributes::new()), None);
    }

    #[test]
    fn bodies_and_attributes_outside_the_rules_are_refused() {
        let code = |body: &str| {
            check(body, &MessageAttributes::new(), 10).err().map(|error| error.query_code.unwrap())
        };
        assert_eq!(code("ok"), None);
        assert_eq!(code("").as_deref(), Some("MissingParameter"));
        assert_eq!(code("\u{1}").as_deref(), Some("InvalidMessageContents"));
        assert_eq!(code("12345678901").as_deref(), Some("InvalidParameterValue"));
    }

    #[test]
    fn a_receiver_gets_the_attributes_it_asked_for() {
        let one =
            Attribute { string_value: Some("v".into()), binary_value: None, data_type: "String".into() };
        let all: MessageAttributes = ["a.b", "a.c", "d"].map(|name| (name.to_owned(), one.clone())).into();
        let count = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            wanted(all.clone(), &names).len()
        };
        assert_eq!(
            [count(&[]), count(&["All"]), count(&[".*"]), count(&["a.*"]), count(&["d"])],
            [0, 3, 3, 2, 1]
        );
    }
}
