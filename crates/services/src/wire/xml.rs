//! XML for answers: a tree that is built, then written. It does not parse.

/// One element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xml {
    name: String,
    text: Option<String>,
    children: Vec<Xml>,
}

impl Xml {
    /// An element with children to be added.
    pub fn element(name: impl Into<String>) -> Self {
        Self { name: name.into(), text: None, children: Vec::new() }
    }

    /// An element that holds text.
    pub fn text(name: impl Into<String>, text: impl ToString) -> Self {
        Self { name: name.into(), text: Some(text.to_string()), children: Vec::new() }
    }

    /// Elements that were written before, such as a stored answer.
    pub fn written(elements: impl Into<String>) -> Self {
        Self { name: String::new(), text: Some(elements.into()), children: Vec::new() }
    }

    /// `<name><member>…</member>…</name>`, AWS's shape of a list. Each item gives the children of its member.
    pub fn list(name: impl Into<String>, members: impl IntoIterator<Item = Vec<Xml>>) -> Self {
        let children = members.into_iter().map(|children| Self::element("member").with_children(children));
        Self::element(name).with_children(children)
    }

    /// `<name><member>text</member>…</name>`, a list of strings.
    pub fn text_list(name: impl Into<String>, members: impl IntoIterator<Item = impl ToString>) -> Self {
        Self::element(name).with_children(members.into_iter().map(|text| Self::text("member", text)))
    }

    /// `<name><entry><key/><value/></entry>…</name>`, AWS's shape of a map.
    pub fn map<K: ToString, V: ToString>(
        name: impl Into<String>,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let entry = |(key, value): (K, V)| {
            Self::element("entry").with(Self::text("key", key)).with(Self::text("value", value))
        };
        Self::element(name).with_children(entries.into_iter().map(entry))
    }

    /// Adds a child.
    #[must_use]
    pub fn with(mut self, child: Xml) -> Self {
        self.children.push(child);
        self
    }

    /// Adds children.
    #[must_use]
    pub fn with_children(mut self, children: impl IntoIterator<Item = Xml>) -> Self {
        self.children.extend(children);
        self
    }

    /// The elements as a document; of several with one name the last stands for all.
    pub(crate) fn to_json(elements: &[Xml]) -> serde_json::Value {
        let value = |element: &Xml| match &element.text {
            Some(text) => text.as_str().into(),
            None => Self::to_json(&element.children),
        };
        let named = elements.iter().filter(|element| !element.name.is_empty());
        let members = named.map(|element| (element.name.clone(), value(element)));
        serde_json::Value::Object(members.collect())
    }

    /// Writes the elements one after the other.
    pub fn write_all(elements: &[Xml]) -> String {
        let mut output = String::new();
        elements.iter().for_each(|element| element.write(&mut output));
        output
    }

    /// Writes the element.
    pub fn write(&self, output: &mut String) {
        if self.name.is_empty() {
            output.push_str(self.text.as_deref().unwrap_or_default());
            return;
        }
        // The depth is that of the answer's shape, fixed by our own code.
        output.push('<');
        output.push_str(&self.name);
        output.push('>');
        if let Some(text) = &self.text {
            escape(text, output);
        }
        self.children.iter().for_each(|child| child.write(output));
        output.push_str("</");
        output.push_str(&self.name);
        output.push('>');
    }
}

fn escape(text: &str, output: &mut String) {
    for character in text.chars() {
        match character {
            '&' => output.push_str("&amp;"),
            '<' => output.push_str("&lt;"),
            '>' => output.push_str("&gt;"),
            '"' => output.push_str("&quot;"),
            '\r' => output.push_str("&#xD;"),
            // XML 1.0 has no way to write these, not even escaped.
            '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                output.push('\u{fffd}');
            }
            other => output.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_lists_and_maps_have_the_shapes_of_aws() {
        let element = Xml::element("Result")
            .with(Xml::text("Message", "a<b & \"c\"\u{1}"))
            .with(Xml::text_list("Names", ["x", "y"]))
            .with(Xml::map("Attributes", [("k", "v")]));
        let expected = "<Result><Message>a&lt;b &amp; &quot;c&quot;\u{fffd}</Message>\
            <Names><member>x</member><member>y</member></Names>\
            <Attributes><entry><key>k</key><value>v</value></entry></Attributes></Result>";
        assert_eq!(Xml::write_all(&[element]), expected);
    }
}
