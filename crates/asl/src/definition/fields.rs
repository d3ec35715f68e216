//! Reading the fields of an object: each accessor reports what is wrong with its field and yields what it can.

use std::ops::Range;

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::json::{Kind, Node, Object};

/// Where in the definition, as AWS writes locations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site(String);

impl Site {
    /// The machine.
    pub(super) fn root() -> Site {
        Site(String::new())
    }

    pub(super) fn field(&self, name: &str) -> Site {
        Site(format!("{}/{name}", self.0))
    }

    pub(super) fn index(&self, index: usize) -> Site {
        Site(format!("{}[{index}]", self.0))
    }

    /// As it goes on the wire: the machine itself is `/`.
    fn location(&self) -> String {
        if self.0.is_empty() { "/".to_owned() } else { self.0.clone() }
    }
}

/// An object being read.
#[derive(Clone)]
pub(super) struct Fields<'n> {
    pub(super) object: &'n Object,
    pub(super) span: Range<usize>,
    pub(super) site: Site,
}

/// Collects findings. Each severity has its own bound, so that no flood of warnings hides an error.
pub(super) struct Findings {
    pub(super) diagnostics: Vec<Diagnostic>,
    max: usize,
    errors: usize,
}

impl Findings {
    pub(super) fn new(max: usize) -> Findings {
        Findings { diagnostics: Vec::new(), max, errors: 0 }
    }

    /// How many errors there are.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    pub(super) fn add(
        &mut self,
        severity: Severity,
        code: Code,
        message: String,
        site: &Site,
        span: Range<usize>,
    ) {
        self.push(Diagnostic { severity, code, message, location: Some(site.location()), span });
    }

    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        let is_error = diagnostic.severity == Severity::Error;
        let warnings = self.diagnostics.len() - self.errors;
        if (if is_error { self.errors } else { warnings }) < self.max {
            self.errors += usize::from(is_error);
            self.diagnostics.push(diagnostic);
        }
    }

    pub(super) fn error(&mut self, code: Code, message: impl Into<String>, site: &Site, span: &Range<usize>) {
        self.add(Severity::Error, code, message.into(), site, span.clone());
    }

    /// The commonest finding.
    pub(super) fn schema(&mut self, message: impl Into<String>, site: &Site, span: &Range<usize>) {
        self.error(Code::SchemaValidationFailed, message, site, span);
    }

    pub(super) fn warning(
        &mut self,
        code: Code,
        message: impl Into<String>,
        site: &Site,
        span: &Range<usize>,
    ) {
        self.add(Severity::Warning, code, message.into(), site, span.clone());
    }

    /// A value that must be an object.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, site: Site) -> Option<Fields<'n>> {
        match node.as_object() {
            Some(object) => Some(Fields { object, span: node.span.clone(), site }),
            None => {
                self.schema("Expected value of type Object", &site, &node.span);
                None
            }
        }
    }

    pub(super) fn string<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<&'n str> {
        let node = fields.object.get(name)?;
        let text = node.as_str();
        if text.is_none() {
            self.schema("Expected value of type String", &fields.site.field(name), &node.span);
        }
        text
    }

    pub(super) fn boolean(&mut self, fields: &Fields<'_>, name: &str) -> Option<bool> {
        let node = fields.object.get(name)?;
        match node.kind {
            Kind::Bool(value) => Some(value),
            _ => {
                self.schema("Expected value of type Boolean", &fields.site.field(name), &node.span);
                None
            }
        }
    }

    pub(super) fn object<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<Fields<'n>> {
        let node = fields.object.get(name)?;
        self.fields(node, fields.site.field(name))
    }

    pub(super) fn array<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<&'n [Node]> {
        let node = fields.object.get(name)?;
        let elements = node.as_array();
        if elements.is_none() {
            self.schema("Expected value of type Array", &fields.site.field(name), &node.span);
        }
        elements
    }

    /// An array that AWS wants to have elements.
    pub(super) fn filled_array<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<&'n [Node]> {
        let elements = self.array(fields, name)?;
        if elements.is_empty() {
            let span = &fields.object.get(name)?.span;
            self.schema("Value cannot be empty", &fields.site.field(name), span);
        }
        Some(elements)
    }

    pub(super) fn integer(&mut self, fields: &Fields<'_>, name: &str, bounds: Bounds) -> Option<u64> {
        let node = fields.object.get(name)?;
        self.integer_node(node, &fields.site.field(name), bounds)
    }

    /// A number out of bounds is reported and yet yielded: a stored definition keeps what it says.
    pub(super) fn integer_node(&mut self, node: &Node, site: &Site, bounds: Bounds) -> Option<u64> {
        let Kind::Number(number) = &node.kind else {
            self.schema("Expected value of type Integer", site, &node.span);
            return None;
        };
        let whole = number.as_f64().filter(|value| value.fract() == 0.0);
        let Some(value) = number.as_i64().or(whole.map(|value| value as i64)) else {
            self.schema("Expected value of type Integer", site, &node.span);
            return None;
        };
        if value < bounds.min {
            self.schema(format!("Minimum value is {}", bounds.min), site, &node.span);
        }
        if value > bounds.max {
            self.schema(format!("Maximum value is {}", bounds.max), site, &node.span);
        }
        u64::try_from(value).ok()
    }

    pub(super) fn number(&mut self, fields: &Fields<'_>, name: &str, min: f64, max: f64) -> Option<f64> {
        let node = fields.object.get(name)?;
        self.number_node(node, &fields.site.field(name), min, max)
    }

    pub(super) fn number_node(&mut self, node: &Node, site: &Site, min: f64, max: f64) -> Option<f64> {
        let value = match &node.kind {
            Kind::Number(number) => number.as_f64(),
            _ => None,
        };
        let Some(value) = value else {
            self.schema("Expected value of type Number", site, &node.span);
            return None;
        };
        if value < min {
            self.schema(format!("Minimum value is {min:?}"), site, &node.span);
        }
        if value > max {
            self.schema(format!("Maximum value is {max:?}"), site, &node.span);
        }
        Some(value)
    }

    /// A string out of a fixed list.
    pub(super) fn choice<'n>(&mut self, fields: &Fields<'n>, name: &str, values: &[&str]) -> Option<&'n str> {
        let text = self.string(fields, name)?;
        if values.contains(&text) {
            return Some(text);
        }
        let span = &fields.object.get(name)?.span;
        let message = format!("Value should be one of the following: [{}]", values.join(", "));
        self.schema(message, &fields.site.field(name), span);
        None
    }

    /// Reports all missing fields at once, as AWS does.
    pub(super) fn required(&mut self, fields: &Fields<'_>, names: &[&str]) -> bool {
        let missing: Vec<&str> = names.iter().copied().filter(|name| !fields.object.has(name)).collect();
        if !missing.is_empty() {
            let message = format!("These fields are required: [{}]", missing.join(", "));
            self.schema(message, &fields.site, &fields.span);
        }
        missing.is_empty()
    }

    /// Refuses more than one of `names`; tells whether there is any.
    pub(super) fn at_most_one(&mut self, fields: &Fields<'_>, names: &[&str]) -> bool {
        let present = names.iter().filter(|name| fields.object.has(name)).count();
        if present > 1 {
            let message = format!("There should only be one of the following fields: [{}]", names.join(", "));
            self.schema(message, &fields.site, &fields.span);
        }
        present > 0
    }

    /// Refuses none and more than one of `names`.
    pub(super) fn exactly_one(&mut self, fields: &Fields<'_>, names: &[&str]) {
        if !self.at_most_one(fields, names) {
            let message =
                format!("This object should have only one of the following fields: [{}]", names.join(", "));
            self.schema(message, &fields.site, &fields.span);
        }
    }

    /// Refuses every field that is not in `known`. AWS's location is that of the object.
    pub(super) fn known(&mut self, fields: &Fields<'_>, known: &[&str]) {
        for member in &fields.object.members {
            if !known.contains(&member.key.as_str()) {
                let message = format!("Field '{}' is not supported", member.key);
                self.schema(message, &fields.site, &member.key_span);
            }
        }
        self.duplicates(fields);
    }

    /// Refuses a field that is written twice.
    pub(super) fn duplicates(&mut self, fields: &Fields<'_>) {
        for member in fields.object.duplicates() {
            let message = format!("Duplicate field '{}'", member.key);
            self.error(Code::InvalidJsonDescription, message, &fields.site, &member.key_span);
        }
    }
}

/// Inclusive bounds of an integer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) min: i64,
    pub(super) max: i64,
}

/// AWS's greatest number of seconds, attempts and the like.
pub(super) const SECONDS_MAX: i64 = 99_999_999;

impl Bounds {
    pub(super) const fn new(min: i64, max: i64) -> Bounds {
        Bounds { min, max }
    }
    pub(super) const fn from(min: i64) -> Bounds {
        Bounds { min, max: i64::MAX }
    }
}
