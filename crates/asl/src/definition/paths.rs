//! Fields that hold paths, and the pairs `X` / `XPath`.

use crate::choice::Subject;
use crate::intrinsic::PathOrIntrinsic;
use crate::json::Node;
use crate::jsonpath::JsonPath;
use crate::program::{Dynamic, PathSelector, QueryLanguage, ResultPath};

use super::compiler::{Compiler, Here};
use super::fields::{Bounds, Fields, Site};
use super::templates::Available;

const NOT_A_PATH: &str = "Value must be a valid JSONPath.";
const NOT_A_REFERENCE: &str = "Value is not a Reference Path";

/// What else a reference path may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reference {
    /// Only into the data, or a variable.
    Data,
    /// Also into the context object.
    DataOrContext,
    /// Also an intrinsic function (`ErrorPath`, `CausePath`).
    OrIntrinsic,
}

/// What a `…Path` field was made into.
pub(super) struct CompiledPath {
    pub(super) source: std::sync::Arc<str>,
    pub(super) path: PathOrIntrinsic,
}

impl Compiler<'_> {
    /// `InputPath`, `OutputPath`.
    pub(super) fn selector(&mut self, fields: &Fields<'_>, name: &str) -> PathSelector {
        let Some(node) = fields.object.get(name) else { return PathSelector::Whole };
        if node.is_null() {
            return PathSelector::Empty;
        }
        match self.path(node, &fields.site.field(name)) {
            Some(CompiledPath { source, .. }) if &*source == "$" => PathSelector::Whole,
            Some(CompiledPath { path, .. }) => PathSelector::Path(path),
            None => PathSelector::Whole,
        }
    }

    /// Any path, but no intrinsic function.
    fn path(&mut self, node: &Node, site: &Site) -> Option<CompiledPath> {
        let Some(text) = node.as_str() else {
            self.findings.schema("Expected value of type String", site, &node.span);
            return None;
        };
        let path = text.starts_with('$').then(|| PathOrIntrinsic::parse(text).ok()).flatten();
        let Some(path) = path else {
            self.findings.schema(NOT_A_PATH, site, &node.span);
            return None;
        };
        self.note_variables(&path);
        Some(CompiledPath { source: text.into(), path })
    }

    /// A path that names one node.
    pub(super) fn reference(&mut self, node: &Node, site: &Site, allowed: Reference) -> Option<CompiledPath> {
        let text = node.as_str().unwrap_or_default();
        if allowed == Reference::OrIntrinsic && text.starts_with("States.") {
            let Ok(path) = PathOrIntrinsic::parse(text) else {
                self.findings.schema(
                    "Value must be a valid JSONPath or a valid intrinsic function call",
                    site,
                    &node.span,
                );
                return None;
            };
            self.note_variables(&path);
            return Some(CompiledPath { source: text.into(), path });
        }
        let compiled = self.path(node, site)?;
        let context = text.starts_with("$$") && allowed == Reference::Data;
        if context || !compiled.path.as_path().is_some_and(|path| path.path().is_reference_path()) {
            self.findings.schema(NOT_A_REFERENCE, site, &node.span);
        }
        Some(compiled)
    }

    /// A path in a Choice rule, for which AWS words the commonest mistake differently.
    pub(super) fn choice_reference(&mut self, node: &Node, site: &Site) -> Option<Subject> {
        if node.as_str().is_some_and(|text| !text.starts_with('$')) {
            let message = format!("{NOT_A_REFERENCE}: Reference path didn't start with '$'");
            self.findings.schema(message, site, &node.span);
            return None;
        }
        let CompiledPath { source, path } = self.reference(node, site, Reference::DataOrContext)?;
        match path {
            PathOrIntrinsic::Path(path) => Some(Subject { source, path }),
            PathOrIntrinsic::Intrinsic(_) => None,
        }
    }

    /// `ResultPath`: where in the raw input the result goes.
    pub(super) fn result_path(&mut self, fields: &Fields<'_>) -> ResultPath {
        let Some(node) = fields.object.get("ResultPath") else { return ResultPath::Replace };
        let site = fields.site.field("ResultPath");
        if node.is_null() {
            return ResultPath::Discard;
        }
        let Some(text) = node.as_str() else {
            self.findings.schema("Expected value of type String", &site, &node.span);
            return ResultPath::Replace;
        };
        let whole = text == "$";
        let into_input = whole || text.starts_with("$.") || text.starts_with("$[");
        if !text.starts_with('$') {
            self.findings.schema(NOT_A_PATH, &site, &node.span);
            return ResultPath::Replace;
        }
        match JsonPath::parse(text) {
            Ok(_) if whole => ResultPath::Replace,
            Ok(path) if into_input && path.is_reference_path() => ResultPath::At(path),
            _ => {
                self.findings.schema(NOT_A_REFERENCE, &site, &node.span);
                ResultPath::Replace
            }
        }
    }

    /// `X` and `XPath`, of which only one may be there.
    pub(super) fn dynamic_integer(
        &mut self,
        here: &Here<'_, '_>,
        fields: &Fields<'_>,
        names: [&'static str; 2],
        bounds: Bounds,
        place: &str,
    ) -> Option<Dynamic<u64>> {
        self.findings.at_most_one(fields, &names);
        self.dynamic_integer_alone(here, fields, names, bounds, place)
    }

    /// As [`Compiler::dynamic_integer`], where the caller looks at which fields are there.
    pub(super) fn dynamic_integer_alone(
        &mut self,
        here: &Here<'_, '_>,
        fields: &Fields<'_>,
        [name, path_name]: [&'static str; 2],
        bounds: Bounds,
        place: &str,
    ) -> Option<Dynamic<u64>> {
        if let Some(node) = fields.object.get(name) {
            let site = fields.site.field(name);
            if let Some(expression) = self.dynamic_expression(here, node, &site, place) {
                return Some(expression);
            }
            return self.findings.integer_node(node, &site, bounds).map(Dynamic::Literal);
        }
        self.dynamic_path(here, fields, path_name)
    }

    /// As [`Compiler::dynamic_integer`], for a fraction.
    pub(super) fn dynamic_number(
        &mut self,
        here: &Here<'_, '_>,
        fields: &Fields<'_>,
        [name, path_name]: [&'static str; 2],
        max: f64,
    ) -> Option<Dynamic<f64>> {
        self.findings.at_most_one(fields, &[name, path_name]);
        if let Some(node) = fields.object.get(name) {
            let site = fields.site.field(name);
            if let Some(expression) = self.dynamic_expression(here, node, &site, name) {
                return Some(expression);
            }
            return self.findings.number_node(node, &site, 0.0, max).map(Dynamic::Literal);
        }
        self.dynamic_path(here, fields, path_name)
    }

    /// A string, an expression or a path.
    pub(super) fn dynamic_text(
        &mut self,
        here: &Here<'_, '_>,
        name: &'static str,
        path_name: Option<&'static str>,
    ) -> Option<Dynamic<std::sync::Arc<str>>> {
        let fields = &here.fields;
        if let Some(node) = fields.object.get(name) {
            let site = fields.site.field(name);
            if let Some(expression) = self.dynamic_expression(here, node, &site, name) {
                return Some(expression);
            }
            self.looks_like_path(name, node, &site);
            return self.findings.string(fields, name).map(|text| Dynamic::Literal(text.into()));
        }
        let field = path_name.filter(|_| here.language == QueryLanguage::JsonPath)?;
        let allowed = match field {
            "ErrorPath" | "CausePath" => Reference::OrIntrinsic,
            _ => Reference::DataOrContext,
        };
        let node = fields.object.get(field)?;
        let CompiledPath { source, path } = self.reference(node, &fields.site.field(field), allowed)?;
        Some(Dynamic::Path { field, source, path })
    }

    fn dynamic_expression<T>(
        &mut self,
        here: &Here<'_, '_>,
        node: &Node,
        site: &Site,
        place: &str,
    ) -> Option<Dynamic<T>> {
        let text = node.as_str().filter(|_| here.language == QueryLanguage::Jsonata)?;
        let looks_like_one = !matches!(crate::jsonata::is_expression(text), Ok(None));
        looks_like_one
            .then(|| Dynamic::Jsonata(self.template(here.language, node, site, place, Available::INPUT)))
    }

    fn dynamic_path<T>(
        &mut self,
        here: &Here<'_, '_>,
        fields: &Fields<'_>,
        field: &'static str,
    ) -> Option<Dynamic<T>> {
        let node = fields.object.get(field).filter(|_| here.language == QueryLanguage::JsonPath)?;
        // Seen on AWS: of Map's numbers none may come from the context object.
        let allowed = if field.contains("Seconds") { Reference::DataOrContext } else { Reference::Data };
        let CompiledPath { source, path } = self.reference(node, &fields.site.field(field), allowed)?;
        Some(Dynamic::Path { field, source, path })
    }

    /// Remembers which variables the state reads.
    pub(super) fn note_variables(&mut self, path: &PathOrIntrinsic) {
        self.references.extend(path.references().into_iter().map(str::to_owned));
    }
}
