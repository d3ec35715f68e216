//! Workflow variables: names that may be assigned, scopes, and who reads what.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::Code;
use crate::json::Node;
use crate::payload::Payload;
use crate::program::{Program, QueryLanguage, StateId, Template, WorkflowId};

use super::compiler::{Compiler, Here};
use super::fields::{Fields, Site};
use super::templates::Available;

/// One name in one `Assign`.
pub(super) struct Assignment {
    workflow: WorkflowId,
    state: StateId,
    name: String,
    site: Site,
    span: Range<usize>,
}

impl Compiler<'_> {
    /// `Assign`: always an object, and always compiled to [`Template::Object`].
    pub(super) fn assign(
        &mut self,
        here: &Here<'_, '_>,
        fields: &Fields<'_>,
        place: &str,
        available: Available,
    ) -> Option<Template> {
        let node = fields.object.get("Assign")?;
        let site = fields.site.field("Assign");
        let Some(object) = node.as_object() else {
            self.findings.schema("Expected value of type Object", &site, &node.span);
            return None;
        };
        for member in object.effective() {
            let name = match here.language {
                QueryLanguage::JsonPath => member.key.strip_suffix(".$").unwrap_or(&member.key),
                QueryLanguage::Jsonata => &member.key,
            };
            let site = site.field(&member.key);
            self.variable_name(name, &site, &member.key_span);
            self.assignments.push(Assignment {
                workflow: here.scope.workflow,
                state: here.id,
                name: name.to_owned(),
                site,
                span: member.key_span.clone(),
            });
        }
        Some(as_object(self.template(here.language, node, &site, place, available), node))
    }

    fn variable_name(&mut self, name: &str, site: &Site, span: &Range<usize>) {
        let max = self.options.limits.variable_name_chars_max;
        if name == "states" {
            const MESSAGE: &str = "Cannot assign to reserved variable '$states'.";
            self.findings.error(Code::ReservedVariableName, MESSAGE, site, span);
        } else if !is_identifier(name) {
            let message =
                format!("Invalid variable name '{name}': the variable name contains invalid characters.");
            self.findings.error(Code::InvalidVariableName, message, site, span);
        } else if name.chars().count() > max {
            let message =
                format!("Invalid variable name '{name}': the variable name is longer than {max} characters.");
            self.findings.error(Code::InvalidVariableName, message, site, span);
        }
    }

    /// An inner scope may not assign what an outer one assigns, wherever in the outer one that stands. The
    /// Parallel or Map around the inner scope does not count: it assigns when the inner variables are gone
    /// (recorded: a branch and the Catch of its Parallel assign the same name).
    pub(super) fn check_assignments(&mut self) {
        let mut assigned: HashMap<(WorkflowId, &str), HashSet<StateId>> = HashMap::new();
        for assignment in &self.assignments {
            let states = assigned.entry((assignment.workflow, &assignment.name)).or_default();
            states.insert(assignment.state);
        }
        for assignment in &self.assignments {
            let mut inner = assignment.workflow;
            while let Some((container, outer)) = self.outer(inner) {
                let by = assigned.get(&(outer, assignment.name.as_str()));
                if by.is_some_and(|states| states.iter().any(|state| *state != container)) {
                    let message = format!(
                        "The variable name '{}' was already defined in a parent scope.",
                        assignment.name
                    );
                    self.findings.error(
                        Code::DuplicateVariableName,
                        message,
                        &assignment.site,
                        &assignment.span,
                    );
                    break;
                }
                inner = outer;
            }
        }
    }

    /// The scope whose variables a scope sees, and the state of it that holds the scope.
    fn outer(&self, scope: WorkflowId) -> Option<(StateId, WorkflowId)> {
        if self.sealed.contains(&scope) {
            return None;
        }
        self.parents.get(&scope).copied()
    }
}

/// An `Assign` without any expression is an object of literals too, so that variables can be taken one by one.
fn as_object(template: Template, node: &Node) -> Template {
    match (template, node.as_object()) {
        (Template::Literal(_), Some(object)) => Template::Object(
            object
                .effective()
                .map(|member| {
                    (Arc::from(&*member.key), Template::Literal(Payload::from_value(member.value.to_value())))
                })
                .collect(),
        ),
        (template, _) => template,
    }
}

/// An identifier as of UAX #31.
fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| unicode_ident::is_xid_start(c) || c == '_');
    first && chars.all(unicode_ident::is_xid_continue)
}

/// Which variables each state reads, as DescribeStateMachine's `variableReferences` shows it: states that
/// read none are left out, names are sorted.
pub fn variable_references(program: &Program) -> BTreeMap<String, Vec<String>> {
    let reading = program.states.iter().filter(|state| !state.variables.is_empty());
    reading
        .map(|state| (state.name.to_string(), state.variables.iter().map(|name| name.to_string()).collect()))
        .collect()
}
