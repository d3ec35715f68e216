//! Payload templates (JSONPath) and values with `{% %}` inside (JSONata).
//!
//! Parts without an expression become one shared literal, however large they are.

use std::collections::HashSet;
use std::sync::Arc;

use crate::diagnostic::Code;
use crate::intrinsic::PathOrIntrinsic;
use crate::json::{Kind, Node};
use crate::jsonata::{Expression, is_expression};
use crate::payload::Payload;
use crate::program::{QueryLanguage, Template};

use super::compiler::Compiler;
use super::fields::{Fields, Site};

/// What `$states` has besides `input` and `context`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Available {
    pub(super) result: bool,
    pub(super) error_output: bool,
}

impl Available {
    /// Before the work.
    pub(super) const INPUT: Available = Available { result: false, error_output: false };
    /// After it.
    pub(super) const RESULT: Available = Available { result: true, error_output: false };
    /// In a catcher.
    pub(super) const ERROR: Available = Available { result: false, error_output: true };
}

impl Compiler<'_> {
    /// A template in the state's language. `place` is how error texts name it: `Arguments`, `Choices[0]/Output`.
    pub(super) fn template(
        &mut self,
        language: QueryLanguage,
        node: &Node,
        site: &Site,
        place: &str,
        available: Available,
    ) -> Template {
        let dynamic = match language {
            QueryLanguage::JsonPath => self.payload_template(node, site),
            QueryLanguage::Jsonata => self.jsonata_template(node, site, place, available),
        };
        dynamic.unwrap_or_else(|| literal(node))
    }

    /// A field that is a template, if it is there.
    pub(super) fn template_field(
        &mut self,
        language: QueryLanguage,
        fields: &Fields<'_>,
        name: &str,
        place: &str,
        available: Available,
    ) -> Option<Template> {
        let node = fields.object.get(name)?;
        Some(self.template(language, node, &fields.site.field(name), place, available))
    }

    /// None: nothing in it is evaluated. AWS locates all findings at the template's field.
    fn payload_template(&mut self, node: &Node, site: &Site) -> Option<Template> {
        match &node.kind {
            Kind::Array(elements) => {
                let compiled: Vec<_> =
                    elements.iter().map(|element| self.payload_template(element, site)).collect();
                array(compiled, elements)
            }
            Kind::Object(object) => {
                let mut compiled: Vec<(Arc<str>, &Node, Option<Template>)> = Vec::new();
                let keys: HashSet<&str> = object.members.iter().map(|member| member.key.as_str()).collect();
                for member in object.effective() {
                    let key = member.key.as_str();
                    let Some(name) = key.strip_suffix(".$") else {
                        self.looks_dynamic(key, &member.value, site);
                        compiled.push((
                            key.into(),
                            &member.value,
                            self.payload_template(&member.value, site),
                        ));
                        continue;
                    };
                    if keys.contains(name) {
                        let message = format!("The fields '{name}' and '{key}' cannot be used together");
                        self.findings.schema(message, site, &member.key_span);
                    }
                    let expression = self.path_expression(key, &member.value, site);
                    compiled.push((name.into(), &member.value, expression));
                }
                object_of(compiled)
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => None,
        }
    }

    fn path_expression(&mut self, key: &str, node: &Node, site: &Site) -> Option<Template> {
        let expression =
            node.as_str().and_then(|text| PathOrIntrinsic::parse(text).ok().map(|path| (text, path)));
        match expression {
            Some((text, expression)) => {
                if expression.has_open_escape() {
                    self.no_expression(key, node, site);
                }
                self.note_variables(&expression);
                Some(Template::Path { field: key.into(), source: text.into(), expression })
            }
            None => {
                self.no_expression(key, node, site);
                None
            }
        }
    }

    fn no_expression(&mut self, key: &str, node: &Node, site: &Site) {
        let message = format!(
            "The value for the field '{key}' must be a valid JSONPath or a valid intrinsic function call"
        );
        self.findings.schema(message, site, &node.span);
    }

    /// Warns of `"x": "$.y"`, which is most often meant to be `"x.$"`.
    fn looks_dynamic(&mut self, key: &str, node: &Node, site: &Site) {
        let Some(text) = node.as_str().filter(|text| is_path_like(text)) else { return };
        let message = format!(
            "The value '{text}' of the field '{key}' looks like a path or an intrinsic function, but the field's name does not end with '.$'"
        );
        self.findings.warning(Code::NoDollar, message, site, &node.span);
    }

    /// Warns of a path in a field whose name does not end with `Path`.
    pub(super) fn looks_like_path(&mut self, name: &str, node: &Node, site: &Site) {
        let Some(text) = node.as_str().filter(|text| is_path_like(text)) else { return };
        let message = format!(
            "The value '{text}' of the field '{name}' looks like a path, but the field's name does not end with 'Path'"
        );
        self.findings.warning(Code::NoPath, message, site, &node.span);
    }

    /// Warns of paths in a Pass state's `Result`.
    pub(super) fn static_result(&mut self, node: &Node, site: &Site) {
        match &node.kind {
            Kind::Array(elements) => elements.iter().for_each(|element| self.static_result(element, site)),
            Kind::Object(object) => {
                for member in &object.members {
                    if member.key.ends_with(".$") {
                        let message = format!(
                            "The Result of a Pass state is static: the field '{}' is not evaluated",
                            member.key
                        );
                        self.findings.warning(Code::PassResultIsStatic, message, site, &member.key_span);
                    }
                    self.static_result(&member.value, site);
                }
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {}
        }
    }

    fn jsonata_template(
        &mut self,
        node: &Node,
        site: &Site,
        place: &str,
        available: Available,
    ) -> Option<Template> {
        match &node.kind {
            Kind::String(text) => self.expression(text, node, site, place, available),
            Kind::Array(elements) => {
                let compiled = elements.iter().enumerate().map(|(index, element)| {
                    self.jsonata_template(
                        element,
                        &site.index(index),
                        &format!("{place}[{index}]"),
                        available,
                    )
                });
                array(compiled.collect(), elements)
            }
            Kind::Object(object) => {
                let compiled = object.effective().map(|member| {
                    let key = member.key.as_str();
                    let place = format!("{place}/{key}");
                    let template = self.jsonata_template(&member.value, &site.field(key), &place, available);
                    (Arc::from(key), &member.value, template)
                });
                object_of(compiled.collect())
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) => None,
        }
    }

    /// A string; none if it is just a string.
    fn expression(
        &mut self,
        text: &str,
        node: &Node,
        site: &Site,
        place: &str,
        available: Available,
    ) -> Option<Template> {
        let source = match is_expression(text) {
            Ok(source) => source?,
            Err(_) => {
                self.findings.schema("JSONata string must start with {% and end with %}", site, &node.span);
                return None;
            }
        };
        match Expression::compile(source) {
            Ok(expression) => {
                self.check_expression(&expression, node, site, available);
                Some(Template::Jsonata { field: place.into(), source: source.into(), expression })
            }
            Err(error) => {
                self.findings.error(Code::InvalidJsonataExpression, error.message, site, &node.span);
                None
            }
        }
    }

    /// What the expression refers to must be there.
    fn check_expression(&mut self, expression: &Expression, node: &Node, site: &Site, available: Available) {
        let references = expression.references();
        let mut refuse = |message: String| {
            self.findings.error(Code::UnsupportedJsonataExpression, message, site, &node.span);
        };
        if references.root {
            refuse("Reference to '$$' is not supported.".to_owned());
        } else {
            for name in &references.top_level {
                refuse(format!("Reference to '{name}' at the top level is not supported."));
            }
        }
        for field in &references.states {
            let exists = match &**field {
                "input" | "context" => true,
                "result" => available.result,
                "errorOutput" => available.error_output,
                _ => false,
            };
            if !exists {
                refuse(format!("Field '$states.{field}' does not exist."));
            }
        }
        self.references.extend(references.variables.iter().map(|name| name.to_string()));
    }
}

fn literal(node: &Node) -> Template {
    Template::Literal(Payload::from_value(node.to_value()))
}

fn array(compiled: Vec<Option<Template>>, elements: &[Node]) -> Option<Template> {
    if compiled.iter().all(Option::is_none) {
        return None;
    }
    let filled = compiled.into_iter().zip(elements);
    Some(Template::Array(filled.map(|(template, node)| template.unwrap_or_else(|| literal(node))).collect()))
}

fn object_of(compiled: Vec<(Arc<str>, &Node, Option<Template>)>) -> Option<Template> {
    if compiled.iter().all(|(_, _, template)| template.is_none()) {
        return None;
    }
    let filled = compiled.into_iter();
    Some(Template::Object(
        filled.map(|(key, node, template)| (key, template.unwrap_or_else(|| literal(node)))).collect(),
    ))
}

fn is_path_like(text: &str) -> bool {
    let path = text == "$" || text == "$$" || ["$.", "$[", "$$."].iter().any(|start| text.starts_with(start));
    path || (text.starts_with("States.") && text.ends_with(')'))
}
