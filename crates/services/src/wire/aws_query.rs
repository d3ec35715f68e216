//! Forms of AWS's query protocol: `Action=CreateTopic&Tags.member.1.Key=…`.

use percent_encoding::percent_decode;
use std::collections::BTreeMap;

/// A form never has more fields than this; the rest is not read.
const FIELDS_MAX: usize = 10_000;

/// The decoded fields of a form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    fields: BTreeMap<String, String>,
}

impl Form {
    /// Reads the fields of a query string and of a body. A field of the body wins.
    pub fn parse(query: Option<&str>, body: &[u8]) -> Self {
        let mut fields = BTreeMap::new();
        for part in [query.unwrap_or_default().as_bytes(), body] {
            for pair in part.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).take(FIELDS_MAX) {
                let split = pair.iter().position(|byte| *byte == b'=');
                let (name, value) = match split {
                    Some(at) => (&pair[..at], &pair[at + 1..]),
                    None => (pair, &pair[pair.len()..]),
                };
                fields.insert(decode(name), decode(value));
            }
        }
        Self { fields }
    }

    /// One field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// All fields in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The strings of a list: `Name.member.1`, or the flat `Name.1`.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let prefix = self.list_prefix(name);
        (1..).map_while(|index: usize| self.get(&format!("{prefix}{index}"))).collect()
    }

    /// The structures of a list, each as a form of its own: `Tags.member.1.Key` becomes `Key`.
    pub fn structures(&self, name: &str) -> Vec<Form> {
        let prefix = self.list_prefix(name);
        let nested = |index: usize| self.below(&format!("{prefix}{index}."));
        (1..).map(nested).take_while(|form| !form.fields.is_empty()).collect()
    }

    /// A map: `Attributes.entry.1.key` and `.value`, with the words for entry, key and value as the service has them.
    pub fn map(&self, name: &str) -> Vec<(String, String)> {
        let pair = |form: Form| {
            let first = |names: [&str; 3]| names.iter().find_map(|name| form.get(name)).map(str::to_owned);
            Some((first(["key", "Name", "Key"])?, first(["value", "Value", "Value.StringValue"])?))
        };
        let mut forms = self.structures(&format!("{name}.entry"));
        if forms.is_empty() {
            forms = self.structures(name);
        }
        forms.into_iter().filter_map(pair).collect()
    }

    /// The fields below a prefix, without it.
    pub fn below(&self, prefix: &str) -> Form {
        let range = self.fields.range(prefix.to_owned()..);
        let inside = range.take_while(|(name, _)| name.starts_with(prefix));
        Self {
            fields: inside.map(|(name, value)| (name[prefix.len()..].to_owned(), value.clone())).collect(),
        }
    }

    fn list_prefix(&self, name: &str) -> String {
        let member = format!("{name}.member.");
        let has_member = !self.below(&member).fields.is_empty();
        if has_member { member } else { format!("{name}.") }
    }
}

fn decode(bytes: &[u8]) -> String {
    let spaced: Vec<u8> = bytes.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_structures_and_maps_are_read_in_both_spellings() {
        let body = b"Action=X&Names.member.1=a+b&Names.member.2=c%26d&Flat.1=e\
            &Tags.member.1.Key=k&Tags.member.1.Value=v&Attributes.entry.1.key=p&Attributes.entry.1.value=q\
            &Attribute.1.Name=r&Attribute.1.Value=s";
        let form = Form::parse(Some("Version=1"), body);
        assert_eq!(form.get("Version"), Some("1"));
        assert_eq!(form.list("Names"), ["a b", "c&d"]);
        assert_eq!(form.list("Flat"), ["e"]);
        assert_eq!(form.structures("Tags")[0].get("Key"), Some("k"));
        assert_eq!(form.map("Attributes"), [("p".to_owned(), "q".to_owned())]);
        assert_eq!(form.map("Attribute"), [("r".to_owned(), "s".to_owned())]);
    }
}
